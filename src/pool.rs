//! Many pieces of code in a few mappings.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr;

use crate::buffer::{EMPTY, ExecBuffer};
use crate::error::{Attempt, Backend, Error, backend, check};
use crate::ffi;

/// A pool: many pieces of code in a few mappings, published without a system call.
///
/// What it publishes are ordinary [`ExecBuffer`]s. They outlive the pool; its memory goes when the last of them is
/// dropped. Clones are handles of the same pool.
///
/// Code starts at multiples of 16. Between pieces of code, and where one was dropped, are trap instructions. A place
/// is used again only after all processors have forgotten its old instructions.
///
/// Memory comes from the system in regions of some MiB, of which only the parts in use take memory; each has an
/// executable mapping and a writable one at a random address, which only execbuf knows. On Linux (5.1 or later, with memfd)
/// and Windows the system refuses for ever to make the executable one writable. Where there can be no second mapping, and
/// for large code (256 KiB on 64-bit Linux), each buffer gets pages of its own, as by [`ExecBuffer::new`]. A region goes back
/// to the system with its last buffer.
///
/// # Threads and fork
///
/// A pool is `Send` and `Sync`. The first thread that takes its lock eight times in a row, mostly the one that publishes, takes
/// it without an atomic instruction from then on, unless others come often.
///
/// A `fork` freezes what is there in both processes, since they share it: frozen code can be called and dropped, but
/// [rewriting](ExecBuffer::rewrite) it is an error. New code goes to new regions.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::ExecPool;
///
/// let pool = ExecPool::new()?;
/// let functions = (0..1000_u32)
///     .map(|number| {
///         let mut code = [0xb8, 0, 0, 0, 0, 0xc3]; // mov eax, number; ret
///         code[1..5].copy_from_slice(&number.to_le_bytes());
///         let buffer = pool.publish(&code)?;
///         // SAFETY: The bytes are a function without arguments that returns a 32-bit integer.
///         Ok(unsafe { buffer.into_function::<extern "C" fn() -> u32>() })
///     })
///     .collect::<Result<Vec<_>, execbuf::Error>>()?;
/// assert_eq!(functions.iter().map(|function| function.call()).sum::<u32>(), 499_500);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Clone)]
pub struct ExecPool {
    raw: Arc<Raw>,
}

/// Owns the pool.
struct Raw(*mut ffi::execbuf_pool);

// SAFETY: The C functions may be called from any thread.
unsafe impl Send for Raw {}
// SAFETY: As above, also at once; only `execbuf_pool_free` may not, and it is called when nobody else has the pool.
unsafe impl Sync for Raw {}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: The pool is ours, and nobody uses it any more.
        unsafe { ffi::execbuf_pool_free(self.0) };
    }
}

impl ExecPool {
    /// Makes a pool. Memory for code is taken at the first use.
    ///
    /// # Errors
    ///
    /// - [`NoMemory`](crate::ErrorKind::NoMemory): there is no memory for the pool itself.
    /// - [`Denied`](crate::ErrorKind::Denied), [`ReadImpliesExec`](crate::ErrorKind::ReadImpliesExec),
    ///   [`Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Makes a pool with options.
    ///
    /// # Examples
    ///
    /// See [`ExecPoolBuilder`].
    pub fn builder() -> ExecPoolBuilder {
        ExecPoolBuilder { near: ptr::null(), name: None }
    }

    /// Copies machine code into the pool and makes it executable.
    ///
    /// # Errors
    ///
    /// Those of [`ExecBuffer::new`], and [`TooFar`](crate::ErrorKind::TooFar): there is no address space near the address
    /// that the pool is to be near to.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[inline]
    pub fn publish(&self, code: &[u8]) -> Result<ExecBuffer, Error> {
        let (bytes, length) = (code.as_ptr().cast(), code.len());
        // SAFETY: The pool lives, the handle and the report can be written, and `code` is readable for its length; what
        // was just published nobody else has.
        unsafe {
            ExecBuffer::made_by(|raw, error| ffi::execbuf_pool_publish(self.raw.0, raw, bytes, length, error))
        }
    }

    /// Publishes several pieces of code, all or none. Where publishing takes a barrier (AArch64), one serves all.
    ///
    /// # Errors
    ///
    /// Those of [`publish`](Self::publish), for the first piece of code that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let buffers = pool.publish_batch(&[&[0xc3], &[0x90, 0xc3]])?; // x86: ret; nop, ret
    /// assert_eq!(buffers[1].len(), 2);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn publish_batch(&self, codes: &[&[u8]]) -> Result<Vec<ExecBuffer>, Error> {
        let count = codes.len();
        let mut pieces: Vec<ffi::execbuf_code> = Vec::new();
        let mut buffers: Vec<ExecBuffer> = Vec::new();
        if pieces.try_reserve_exact(count).is_err() || buffers.try_reserve_exact(count).is_err() {
            return Err(Error::no_memory(c"count"));
        }
        pieces.extend(
            codes.iter().map(|code| ffi::execbuf_code { bytes: code.as_ptr().cast(), length: code.len() }),
        );
        // An `ExecBuffer` is the C handle and nothing else.
        let out: *mut ffi::execbuf = buffers.as_mut_ptr().cast();
        // SAFETY: The pool lives, `out` has room for `count` handles, the report can be written, and each piece of code
        // is readable for its length.
        check(|error| unsafe { ffi::execbuf_pool_publish_batch(self.raw.0, out, pieces.as_ptr(), count, error) })?;
        // SAFETY: There is room for `count` buffers, which were just published, and nobody else has them.
        unsafe { buffers.set_len(count) };
        Ok(buffers)
    }

    /// Publishes code whose final address has to be known while it is written. See [`ExecBuffer::build`].
    ///
    /// The room that the code gets stays as large as `capacity`, which is therefore better not much too large.
    ///
    /// # Errors
    ///
    /// Those of [`ExecBuffer::build`] and [`publish`](Self::publish), and [`Frozen`](crate::ErrorKind::Frozen): the closure
    /// forked the process, and this is the child.
    ///
    /// # Panics
    ///
    /// Only if the closure does. The memory is given back.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let mut told = 0;
    /// let buffer = pool.build(16, |address, code| {
    ///     told = address;
    ///     code[0] = 0xc3; // x86: ret
    ///     Ok(1)
    /// })?;
    /// assert_eq!(buffer.as_ptr() as usize, told);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn build<B>(&self, capacity: usize, build: B) -> Result<ExecBuffer, Error>
    where
        B: FnOnce(usize, &mut [u8]) -> Result<usize, Box<dyn core::error::Error + Send + Sync>>,
    {
        let mut raw = EMPTY;
        // SAFETY: The pool lives, and `raw` and the report can be written.
        check(|error| unsafe { ffi::execbuf_pool_reserve(self.raw.0, &raw mut raw, capacity, error) })?;
        // SAFETY: The buffer was just reserved, and nobody else has it.
        unsafe { ExecBuffer::fill(raw, capacity, build) }
    }

    /// Finds the piece of code that contains an address: for unwinders and profilers, but not in signal handlers.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let buffer = pool.publish(&[0x90, 0xc3])?; // x86: nop, ret
    /// let place = pool.lookup(buffer.as_ptr().wrapping_add(1)).unwrap();
    /// assert_eq!((place.entry, place.len), (buffer.as_ptr(), 2));
    /// assert_eq!(pool.lookup(buffer.as_ptr().wrapping_add(2)), None);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn lookup(&self, address: *const u8) -> Option<Place> {
        let mut place = ffi::execbuf_place { entry: ptr::null(), length: 0 };
        // SAFETY: The pool lives, and `place` can be written. The address is only compared.
        let found = unsafe { ffi::execbuf_pool_lookup(self.raw.0, address.cast(), &raw mut place) };
        (found != 0).then_some(Place { entry: place.entry.cast(), len: place.length })
    }

    /// Returns the pool of the C API, for use with [`ffi`] while this handle, or a clone of it, lives.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::ffi::CStr;
    /// use execbuf::{ExecPool, ffi};
    ///
    /// let pool = ExecPool::builder().name("jit").build()?;
    /// // SAFETY: The pool lives.
    /// let name = unsafe { CStr::from_ptr(ffi::execbuf_pool_name(pool.as_raw())) };
    /// assert_eq!(name, c"jit");
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn as_raw(&self) -> *mut ffi::execbuf_pool {
        self.raw.0
    }

    /// The pool's name.
    ///
    /// # Examples
    ///
    /// See [`ExecPoolBuilder`].
    #[must_use]
    pub fn name(&self) -> &str {
        // SAFETY: It is a string that lives as long as the pool, and came from a `str`.
        unsafe { CStr::from_ptr(ffi::execbuf_pool_name(self.raw.0)) }.to_str().unwrap_or_default()
    }

    /// What the pool has at the moment. Takes time in proportion to how much it has, and keeps others waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let buffer = pool.publish(&[0xc3; 100])?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.live, stats.bytes), (1, 100));
    /// assert!(stats.committed >= stats.bytes);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let mut stats = MaybeUninit::uninit();
        // SAFETY: The pool lives, and `stats` can be written.
        unsafe { ffi::execbuf_pool_get_stats(self.raw.0, stats.as_mut_ptr()) };
        // SAFETY: The function has filled it.
        let stats = unsafe { stats.assume_init() };
        PoolStats {
            live: stats.live,
            bytes: stats.bytes,
            reserved: stats.reserved,
            committed: stats.committed,
            bookkeeping: stats.bookkeeping,
            regions: stats.regions,
            frozen: stats.frozen,
            own_pages: stats.own_pages,
            backend: backend(stats.backend),
            attempts: Error::report(stats.why).attempts().collect(),
        }
    }
}

/// Shows the name.
impl fmt::Debug for ExecPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecPool").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Makes an [`ExecPool`] with options.
///
/// # Examples
///
/// A pool whose code reaches functions of this program by relative calls:
///
/// ```
/// use execbuf::ExecPool;
///
/// extern "C" fn helper() {}
///
/// let pool = ExecPool::builder().near(helper as *const u8).name("jit").build()?;
/// let buffer = pool.publish(&[0xc3])?; // x86: ret
/// let distance = (buffer.as_ptr() as isize) - (helper as *const () as isize);
/// assert!(i32::try_from(distance).is_ok());
/// assert_eq!(pool.name(), "jit");
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "this makes no pool before `build`"]
pub struct ExecPoolBuilder {
    near: *const u8,
    name: Option<Box<[u8]>>,
}

// SAFETY: The address is only compared.
unsafe impl Send for ExecPoolBuilder {}
// SAFETY: As above.
unsafe impl Sync for ExecPoolBuilder {}

impl ExecPoolBuilder {
    /// All code is to lie within 2 GiB of this address, so that a relative call of 32 bits reaches from any byte of the
    /// one to the other.
    pub fn near(mut self, address: *const u8) -> Self {
        self.near = address;
        self
    }

    /// The name of the pool, at most 63 bytes without a zero. Where the system can show it, as in Linux'
    /// `/proc/self/maps`, it does.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.as_bytes().into());
        self
    }

    /// Makes the pool.
    ///
    /// # Errors
    ///
    /// Those of [`ExecPool::new`], and [`TooLarge`](crate::ErrorKind::TooLarge): the name is too long, or contains a zero.
    pub fn build(self) -> Result<ExecPool, Error> {
        let name = self.name.map(CString::new).transpose().map_err(|_| Error::too_large(c"name"))?;
        let options = ffi::execbuf_pool_options {
            near_to: self.near.cast(),
            name: name.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
        };
        let mut pool = ptr::null_mut();
        // SAFETY: `pool` and the report can be written, and the options and the name in them live during the call.
        check(|error| unsafe { ffi::execbuf_pool_new(&raw mut pool, &raw const options, error) })?;
        Ok(ExecPool { raw: Arc::new(Raw(pool)) })
    }
}

/// Where a piece of code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub entry: *const u8,
    /// How many bytes are published.
    pub len: usize,
}

/// What an [`ExecPool`] has at the moment. Sizes are in bytes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PoolStats {
    /// Buffers that are not dropped.
    pub live: usize,
    /// The sum of their lengths; of buffers that are being built, of their capacities.
    pub bytes: usize,
    /// Address space of the regions, counted once, and of pages that buffers have for themselves.
    pub reserved: usize,
    /// Memory that has been set aside for code, free or not: the part of `reserved` that was ever touched.
    pub committed: usize,
    /// Memory for the pool's own book-keeping.
    pub bookkeeping: usize,
    /// Regions.
    pub regions: usize,
    /// How many of them a fork has frozen.
    pub frozen: usize,
    /// Buffers that have pages of their own.
    pub own_pages: usize,
    /// How the newest region was made; `None` before that.
    pub backend: Option<Backend>,
    /// Why not in a better way, or why there is none: the attempts that failed when the last one was made.
    pub attempts: Vec<Attempt>,
}

impl PoolStats {
    /// Memory that was set aside and is not code: rounding, traps, and what is free.
    #[must_use]
    pub fn waste(&self) -> usize {
        self.committed.saturating_sub(self.bytes)
    }
}
