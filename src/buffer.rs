//! The owner of a piece of published code.

use alloc::boxed::Box;
use core::alloc::Layout;
use core::fmt;
use core::mem::{self, MaybeUninit};
use core::ptr::{self, NonNull};
use core::slice;

use crate::error::{Error, check};
use crate::ffi;

/// One piece of published machine code, in memory of its own or of an [`ExecPool`](crate::ExecPool).
///
/// The code starts at a multiple of 16. The memory around it holds trap instructions, from 16 bytes before the
/// first byte to the end of the last page, so code that runs over its end stops there.
///
/// Dropping the buffer unmaps it; that cannot fail. The borrow checker sees to it that no [`Function`](crate::Function) of it is
/// left.
///
/// # Threads and fork
///
/// An `ExecBuffer` is `Send` and `Sync`: it is only read after it is made, except by [`rewrite`](Self::rewrite),
/// which needs `&mut`. After `fork` both processes can call, drop and (but for buffers of a pool) rewrite what was
/// published before, and neither sees what the other does.
///
/// # Examples
///
/// See the [crate's page](crate).
#[must_use = "the code is unmapped when the buffer is dropped"]
#[repr(transparent)]
pub struct ExecBuffer {
    /// Names a published buffer that nobody else frees.
    raw: ffi::execbuf,
}

// SAFETY: The handle names memory that belongs to the process, not to a thread, and the C functions may be called
// from any thread.
unsafe impl Send for ExecBuffer {}
// SAFETY: Through `&ExecBuffer` the code is only read and called; the functions that change it take `&mut`.
unsafe impl Sync for ExecBuffer {}

impl ExecBuffer {
    /// Copies machine code into memory of its own and makes it executable.
    ///
    /// # Errors
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): there are no bytes.
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): there are nearly `isize::MAX` bytes.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory): the system has no memory, address space or mappings left.
    /// - [`Denied`](crate::ErrorKind::Denied): the system refuses executable memory in every way there is.
    /// - [`ReadImpliesExec`](crate::ErrorKind::ReadImpliesExec), [`Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?; // x86: ret
    /// assert_eq!(buffer.as_ref(), [0xc3]);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn new(code: &[u8]) -> Result<Self, Error> {
        // SAFETY: The handle and the report can be written, and `code` is readable for its length; what was just published
        // nobody else has.
        unsafe { Self::made_by(|raw, error| ffi::execbuf_new(raw, code.as_ptr().cast(), code.len(), error)) }
    }

    /// Publishes code whose final address has to be known while it is written, such as code that calls a function
    /// elsewhere by its distance.
    ///
    /// The closure gets that address and `capacity` zeroed bytes of scratch memory to write the code to; it
    /// returns how many of them are code. They are then copied to the address. Nothing may be written to, read
    /// from or called at the address before `build` returns.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), with `capacity` in the place of the length, and
    ///
    /// - [`BuildFailed`](crate::ErrorKind::BuildFailed): the closure returned an error, which is the
    ///   [source](core::error::Error::source) of this one.
    /// - [`Capacity`](crate::ErrorKind::Capacity): the closure claims to have written more than `capacity` bytes.
    /// - [`Empty`](crate::ErrorKind::Empty): the closure says it wrote nothing.
    ///
    /// # Panics
    ///
    /// Only if the closure does. The memory is given back.
    ///
    /// # Examples
    ///
    /// A function that returns its own address:
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::ExecBuffer;
    ///
    /// let buffer = ExecBuffer::build(16, |address, code| {
    ///     code[..2].copy_from_slice(&[0x48, 0xb8]); //           mov rax, address
    ///     code[2..10].copy_from_slice(&(address as u64).to_le_bytes());
    ///     code[10] = 0xc3; //                                    ret
    ///     Ok(11)
    /// })?;
    /// // SAFETY: The bytes are a function without arguments that returns a 64-bit integer.
    /// let whereabouts = unsafe { buffer.function::<extern "C" fn() -> u64>() };
    /// assert_eq!(whereabouts.call(), buffer.as_ptr() as u64);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn build<B>(capacity: usize, build: B) -> Result<Self, Error>
    where
        B: FnOnce(usize, &mut [u8]) -> Result<usize, Box<dyn core::error::Error + Send + Sync>>,
    {
        let mut raw = EMPTY;
        // SAFETY: `raw` and the report can be written.
        check(|error| unsafe { ffi::execbuf_reserve(&raw mut raw, capacity, error) })?;
        // SAFETY: The buffer was just reserved, and nobody else has it.
        unsafe { Self::fill(raw, capacity, build) }
    }

    /// The second half of `build`: fills a reserved buffer.
    ///
    /// # Safety
    ///
    /// As for [`from_raw`](Self::from_raw), but the buffer is reserved, with the given capacity.
    pub(crate) unsafe fn fill<B>(raw: ffi::execbuf, capacity: usize, build: B) -> Result<Self, Error>
    where
        B: FnOnce(usize, &mut [u8]) -> Result<usize, Box<dyn core::error::Error + Send + Sync>>,
    {
        // From here on the reservation is given back whatever happens.
        let mut buffer = Self { raw };
        let mut scratch = zeros(capacity).ok_or_else(|| Error::no_memory(c"scratch memory"))?;
        let length = build(buffer.raw.entry.addr(), &mut scratch).map_err(Error::build_failed)?;
        let code: *const u8 = scratch.as_ptr();
        // SAFETY: The handle and the report can be written, and `code` is readable for `capacity` bytes, of which
        // no more are read: a larger `length` is an error.
        check(|error| unsafe { ffi::execbuf_publish(&raw mut buffer.raw, code.cast(), length, error) })?;
        Ok(buffer)
    }

    /// The buffer that a C call makes.
    ///
    /// # Safety
    ///
    /// If it succeeds, the call writes the handle of a published buffer that nobody else has; if not, the report.
    #[inline]
    pub(crate) unsafe fn made_by(
        call: impl FnOnce(*mut ffi::execbuf, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error> {
        let mut raw = MaybeUninit::uninit();
        check(|error| call(raw.as_mut_ptr(), error))?;
        // SAFETY: It succeeded, so the handle was written, and it names such a buffer.
        Ok(unsafe { Self::from_raw(read_words(&raw)) })
    }

    /// # Safety
    ///
    /// The handle names a published buffer, and nobody else frees it or calls its code without a promise of his own.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: ffi::execbuf) -> Self {
        Self { raw }
    }

    /// Replaces a part of the code, from `offset` on.
    ///
    /// The borrow checker proves that no function of this buffer is in use: the call needs `&mut`, and functions
    /// borrow the buffer.
    ///
    /// On Linux the new pages are finished elsewhere and moved into the old place in one step.
    ///
    /// # Errors
    ///
    /// The old code is in place and can be called, except after `Lost`.
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): there are no bytes.
    /// - [`OutOfBounds`](crate::ErrorKind::OutOfBounds): the new bytes reach over the end of the code.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory), [`Denied`](crate::ErrorKind::Denied) as for
    ///   [`new`](Self::new).
    /// - [`Frozen`](crate::ErrorKind::Frozen): the buffer is an [`ExecPool`](crate::ExecPool)'s, and the process has
    ///   forked since the pool took its memory, so that both processes share it.
    /// - [`Lost`](crate::ErrorKind::Lost): only where the system has no way to replace pages in one step
    ///   (Windows, macOS, the BSDs), and it twice refused to make the pages executable again. The code can no
    ///   longer be called: calling it crashes.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// let mut buffer = execbuf::ExecBuffer::new(&[
    ///     0xb8, 1, 0, 0, 0, // mov eax, 1
    ///     0xc3, //             ret
    /// ])?;
    /// buffer.rewrite(1, &2_u32.to_le_bytes())?;
    /// // SAFETY: The bytes are a function without arguments that returns a 32-bit integer.
    /// let function = unsafe { buffer.function::<extern "C" fn() -> u32>() };
    /// assert_eq!(function.call(), 2);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn rewrite(&mut self, offset: usize, code: &[u8]) -> Result<(), Error> {
        let (bytes, length) = (code.as_ptr().cast(), code.len());
        // SAFETY: The handle and the report can be written, and `code` is readable for its length. Nobody runs the
        // code: that would take a `Function`, which borrows `self`, or `unsafe` code that is bound by the rules of
        // `function` and `as_fn`.
        check(|error| unsafe { ffi::execbuf_rewrite(&raw mut self.raw, offset, bytes, length, error) })
    }

    /// The address of the first byte of code, a multiple of 16.
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?;
    /// assert_eq!(buffer.as_ptr() as usize % 16, 0);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.raw.entry.cast()
    }

    /// The length of the code in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(execbuf::ExecBuffer::new(&[0xc3])?.len(), 1);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is no empty code")]
    pub fn len(&self) -> usize {
        self.raw.length
    }
}

/// So many zeros on the heap, or `None` if there is no memory. Pages that nobody touches cost nothing.
fn zeros(count: usize) -> Option<Box<[u8]>> {
    let layout = Layout::array::<u8>(count).ok()?;
    if count == 0 {
        return Some(Box::default());
    }
    // SAFETY: The layout's size is not 0.
    let memory = NonNull::new(unsafe { alloc::alloc::alloc_zeroed(layout) })?;
    // SAFETY: The memory comes from the global allocator, with the layout that a box of so many bytes has, and is
    // initialised. Nobody else has it.
    Some(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(memory.as_ptr(), count)) })
}

/// Reads a handle that was just written, one word after the other. A move of the whole handle would load two words at
/// once, and a processor can't do that before both stores have left its store buffer.
///
/// # Safety
///
/// The handle is initialised.
#[inline]
unsafe fn read_words(raw: &MaybeUninit<ffi::execbuf>) -> ffi::execbuf {
    let raw = raw.as_ptr();
    // SAFETY: As the caller says; and nothing else writes it, since it is borrowed. Volatile, so that the compiler does
    // not make it one move again.
    unsafe {
        ffi::execbuf {
            entry: (&raw const (*raw).entry).read_volatile(),
            length: (&raw const (*raw).length).read_volatile(),
            id: (&raw const (*raw).id).read_volatile(),
        }
    }
}

/// The handle of no buffer.
pub(crate) const EMPTY: ffi::execbuf = ffi::execbuf { entry: ptr::null(), length: 0, id: 0 };

impl Drop for ExecBuffer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The handle is ours alone, so it is not stale and this succeeds; no function of the buffer is left: they
        // borrowed it.
        unsafe { ffi::execbuf_free(&raw mut self.raw) };
    }
}

/// Reads the code.
impl AsRef<[u8]> for ExecBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: Published code is readable, initialised, and does not change while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

/// Shows the address and the length, never the bytes.
impl fmt::Debug for ExecBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecBuffer").field("entry", &self.as_ptr()).field("len", &self.len()).finish()
    }
}

/// `ExecBuffer` is the C handle and nothing else; `ExecPool::publish_batch` relies on it.
const _: () = assert!(mem::size_of::<ExecBuffer>() == mem::size_of::<ffi::execbuf>());
