//! Pools: many pieces of code in a few mappings.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ffi::CStr;
use core::fmt;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ptr;

use crate::buffer::ExecBuffer;
use crate::error::Error;
use crate::ffi;
use crate::info::Info;
use crate::reserved::assemble_in;
use crate::stats::{Place, PoolStats};

mod batch;
mod builder;
mod data;
mod reserve;

pub use builder::ExecPoolBuilder;

/// A pool: many pieces of code in a few mappings. Publishing makes no system call unless the pool needs memory.
///
/// It publishes ordinary [`ExecBuffer`]s, which can outlive it. A clone of an `ExecPool` is a handle of the same pool.
///
/// Code starts at multiples of 16. Trap instructions fill the gaps between pieces of code, and overwrite dropped code.
/// The space of dropped code is in quarantine, and not reused, until every processor has discarded the old instructions.
///
/// Memory comes from the system in regions of 32 KiB to 8 MiB; only pages that were ever used take memory. A region has an
/// executable mapping and a hidden writable mapping at a random address. On Linux (5.1 or later, with memfd) and Windows,
/// the executable mapping can never become writable. Code gets a dedicated mapping, as with [`ExecBuffer::new`], if it is
/// larger than 256 KiB (on 64-bit Linux), or if the system cannot map memory twice. When its last buffer is dropped, a
/// region returns to the system; one of at most 1 MiB of memory stays for the next code.
///
/// # Threads and fork
///
/// A pool is `Send` and `Sync`. On Linux, each thread that publishes has a part of the pool of its own, so that threads
/// do not wait for each other. On other systems all threads share a lock.
///
/// After a `fork`, both processes share the memory of regions, and neither writes to it. On Linux, a process that changes a
/// region first makes it its own, at the same addresses: it copies the code, unless no other process with the memory lives.
/// Elsewhere, or if the copy is refused, new code goes to new regions, and [rewriting](ExecBuffer::rewrite) code that
/// existed before is an error.
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
#[doc(alias("execbuf_pool", "execbuf_pool_free"))]
pub struct ExecPool {
    raw: Arc<Raw>,
}

/// Owns a pool of the C API.
struct Raw(*mut ffi::execbuf_pool);

// SAFETY: The C functions may be called from any thread.
unsafe impl Send for Raw {}
// SAFETY: They may also run concurrently, except `execbuf_pool_free`, which only `drop` calls.
unsafe impl Sync for Raw {}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: This value owns the pool, and nobody uses it any more.
        unsafe { ffi::execbuf_pool_free(self.0) };
    }
}

impl ExecPool {
    /// Creates a pool with default options. It requests memory for code at its first use.
    ///
    /// # Errors
    ///
    /// - [`NoMemory`](crate::ErrorKind::NoMemory): no memory is left for the pool itself.
    /// - [`Denied`](crate::ErrorKind::Denied), [`ReadImpliesExec`](crate::ErrorKind::ReadImpliesExec),
    ///   [`Unsupported`](crate::ErrorKind::Unsupported): see there.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[doc(alias = "execbuf_pool_new")]
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Returns a builder of pools with options.
    ///
    /// # Examples
    ///
    /// See [`ExecPoolBuilder`].
    pub fn builder() -> ExecPoolBuilder {
        ExecPoolBuilder::new()
    }

    /// Copies machine code into the pool and makes it executable.
    ///
    /// # Errors
    ///
    /// The errors of [`ExecBuffer::new`], and [`TooFar`](crate::ErrorKind::TooFar): no free range is
    /// where the pool's code may lie.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[inline]
    #[doc(alias = "execbuf_pool_publish")]
    pub fn publish(&self, code: &[u8]) -> Result<ExecBuffer, Error> {
        let (bytes, length) = (code.as_ptr().cast(), code.len());
        // SAFETY: The pool exists, the handle and the report are writable, `code` is readable, and nobody has the result.
        unsafe {
            ExecBuffer::made_by(|raw, error| ffi::execbuf_pool_publish(self.raw.0, raw, bytes, length, error))
        }
    }

    /// As [`publish`](Self::publish), and describes the code.
    ///
    /// # Errors
    ///
    /// The errors of [`publish`](Self::publish) and [`ExecBuffer::describe`]. Then nothing is published.
    ///
    /// # Examples
    ///
    /// See [`Info`].
    #[doc(alias = "execbuf_pool_publish_with")]
    pub fn publish_with(&self, code: &[u8], info: &Info<'_>) -> Result<ExecBuffer, Error> {
        let (bytes, length, info) = (code.as_ptr().cast(), code.len(), info.to_raw());
        // SAFETY: As in `publish`, and what the description points to is borrowed.
        unsafe {
            ExecBuffer::made_by(|raw, error| {
                ffi::execbuf_pool_publish_with(self.raw.0, raw, bytes, length, &raw const info, error)
            })
        }
    }

    /// Publishes code that depends on its own address. See [`ExecBuffer::assemble`].
    ///
    /// # Errors
    ///
    /// The errors of [`ExecBuffer::assemble`] and [`publish`](Self::publish), and [`Frozen`](crate::ErrorKind::Frozen):
    /// the closure forked the process, this is the child, and the system does not let it copy the reserved memory.
    ///
    /// # Panics
    ///
    /// Panics if the closure panics. The memory is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let mut expected = 0;
    /// let buffer = pool.assemble(|address| {
    ///     expected = address;
    ///     Ok::<_, execbuf::Error>([0xc3]) // x86: ret
    /// })?;
    /// assert_eq!(buffer.as_ptr() as usize, expected);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn assemble<B, E>(&self, assemble: impl FnMut(usize) -> Result<B, E>) -> Result<ExecBuffer, Error>
    where
        B: AsRef<[u8]>,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        // A slot keeps the size of its reservation, so the first one is that of the smallest slot.
        assemble_in(16, assemble, |capacity| self.reserve(capacity))
    }

    /// Finds the piece of code that contains an address. It takes no lock, makes no system call and allocates
    /// nothing, so a signal handler may call it, whatever it interrupted. It finds all code that is published before
    /// the call and dropped after it.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let buffer = pool.publish(&[0x90, 0xc3])?; // x86: nop, ret
    /// let place = pool.lookup(buffer.as_ptr().wrapping_add(1)).unwrap();
    /// assert_eq!((place.entry(), place.len()), (buffer.as_ptr(), 2));
    /// assert_eq!(pool.lookup(buffer.as_ptr().wrapping_add(2)), None);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "execbuf_pool_lookup")]
    pub fn lookup(&self, address: *const u8) -> Option<Place> {
        let size = mem::size_of::<ffi::execbuf_place>();
        let mut place = ffi::execbuf_place { size, entry: ptr::null(), length: 0 };
        // SAFETY: The pool exists, and `place` is writable. The address is only compared.
        let status = unsafe { ffi::execbuf_pool_lookup(self.raw.0, &raw mut place, address.cast()) };
        (status == ffi::execbuf_status::EXECBUF_OK).then(|| Place::from_raw(&place))
    }

    /// Returns the pool of the C API, for use with [`ffi`]. It is valid while this handle or a clone of it exists.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::ffi::CStr;
    /// use execbuf::{ExecPool, ffi};
    ///
    /// let pool = ExecPool::builder().name("jit").build()?;
    /// // SAFETY: The pool exists.
    /// let name = unsafe { CStr::from_ptr(ffi::execbuf_pool_name(pool.as_raw())) };
    /// assert_eq!(name, c"jit");
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn as_raw(&self) -> *mut ffi::execbuf_pool {
        self.raw.0
    }

    /// Takes ownership of a pool of the C API, for use with [`ffi`]. The last clone frees it.
    ///
    /// # Safety
    ///
    /// `pool` is a pool that has not been freed, and nobody else frees it.
    ///
    /// # Examples
    ///
    /// See [`try_into_raw`](Self::try_into_raw).
    #[must_use]
    pub unsafe fn from_raw(pool: *mut ffi::execbuf_pool) -> Self {
        Self { raw: Arc::new(Raw(pool)) }
    }

    /// Returns the pool of the C API and gives up ownership, for use with [`ffi`]. The caller must free the pool.
    ///
    /// # Errors
    ///
    /// Returns this handle if it has clones.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::ExecPool;
    ///
    /// let pool = ExecPool::builder().name("jit").build()?;
    /// let clone = pool.clone();
    /// let pool = pool.try_into_raw().unwrap_err();
    /// drop(clone);
    /// let raw = pool.try_into_raw().unwrap();
    /// // SAFETY: The pool was not freed, and `raw` is not used again.
    /// let pool = unsafe { ExecPool::from_raw(raw) };
    /// assert_eq!(pool.name(), "jit");
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn try_into_raw(self) -> Result<*mut ffi::execbuf_pool, Self> {
        match Arc::try_unwrap(self.raw) {
            Ok(raw) => Ok(ManuallyDrop::new(raw).0),
            Err(raw) => Err(Self { raw }),
        }
    }

    /// Returns the pool's name.
    ///
    /// # Examples
    ///
    /// See [`ExecPoolBuilder`].
    #[must_use]
    #[doc(alias = "execbuf_pool_name")]
    pub fn name(&self) -> &str {
        // SAFETY: The name is a string that exists as long as the pool.
        unsafe { CStr::from_ptr(ffi::execbuf_pool_name(self.raw.0)) }.to_str().unwrap_or_default()
    }

    /// Returns the current statistics. The pool keeps these numbers as they change, so the call is fast however many
    /// buffers there are, and stops other threads for a moment only.
    ///
    /// # Examples
    ///
    /// See [`PoolStats`].
    #[must_use]
    #[doc(alias = "execbuf_pool_get_stats")]
    pub fn stats(&self) -> PoolStats {
        let mut stats = MaybeUninit::<ffi::execbuf_pool_stats>::uninit();
        // SAFETY: The pool exists, and `stats` is writable and contains its size. The function fills the rest.
        unsafe {
            (&raw mut (*stats.as_mut_ptr()).size).write(mem::size_of::<ffi::execbuf_pool_stats>());
            ffi::execbuf_pool_get_stats(self.raw.0, stats.as_mut_ptr());
            PoolStats::from_raw(stats.assume_init())
        }
    }

    /// Returns the sum of the lengths of all live buffers. A reservation counts with its capacity. The rest of
    /// [`PoolStats::resident`] is rounding, traps and free memory.
    ///
    /// This looks at every buffer, but no other thread waits for it.
    ///
    /// # Examples
    ///
    /// See [`PoolStats`].
    #[must_use]
    #[doc(alias = "execbuf_pool_code_bytes")]
    pub fn code_bytes(&self) -> usize {
        // SAFETY: The pool exists.
        unsafe { ffi::execbuf_pool_code_bytes(self.raw.0) }
    }
}

/// Formats the name.
impl fmt::Debug for ExecPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecPool").field("name", &self.name()).finish_non_exhaustive()
    }
}
