//! The owner of a piece of published code.

use alloc::boxed::Box;
use core::fmt;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ptr;
use core::slice;

use crate::error::{BoxError, Error, check};
use crate::ffi;

/// How often `assemble` calls the closure.
const ATTEMPTS: usize = 8;

/// One piece of published machine code, in a dedicated mapping or in an [`ExecPool`](crate::ExecPool).
///
/// The code starts at a multiple of 16. The memory around it holds trap instructions, from 16 bytes before the
/// first byte to the end of the last page, so code that runs over its end stops there.
///
/// Dropping the buffer frees the code, and cannot fail. The borrow checker guarantees that no
/// [`Function`](crate::Function) of it is left.
///
/// # Threads and fork
///
/// An `ExecBuffer` is `Send` and `Sync`. Only [`rewrite`](Self::rewrite) changes it, and takes `&mut`. After `fork`,
/// both processes can call and drop what was published before, and can rewrite it unless it is in a pool. Neither sees
/// what the other does.
///
/// # Examples
///
/// See the [crate's page](crate).
#[must_use = "dropping the buffer frees the code"]
#[repr(transparent)]
#[doc(alias = "execbuf")]
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
    /// Copies machine code into a dedicated mapping and makes it executable.
    ///
    /// # Errors
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): there are no bytes.
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): there are nearly `isize::MAX` bytes.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory): the system has no memory, address space or mappings left.
    /// - [`Denied`](crate::ErrorKind::Denied): the system refused every way to make memory executable.
    /// - [`ReadImpliesExec`](crate::ErrorKind::ReadImpliesExec), [`Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?; // x86: ret
    /// assert_eq!(buffer.as_ref(), [0xc3]);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_new")]
    pub fn new(code: &[u8]) -> Result<Self, Error> {
        // SAFETY: The handle and the report can be written, and `code` is readable for its length; what was just published
        // nobody else has.
        unsafe { Self::made_by(|raw, error| ffi::execbuf_new(raw, code.as_ptr().cast(), code.len(), error)) }
    }

    /// Publishes code that depends on its own address: for assemblers that are told where the code will be.
    ///
    /// The closure is told an address and returns the code for it. If the code does not fit into the memory that was
    /// reserved there, the closure is called again, with the address of a larger reservation. Usually that happens at most
    /// once. Nothing may be written to, read from or called at the address before `assemble` returns.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and
    ///
    /// - [`AssembleFailed`](crate::ErrorKind::AssembleFailed): the closure returned an error, which is the
    ///   [source](core::error::Error::source) of this one.
    /// - [`Unsettled`](crate::ErrorKind::Unsettled): the closure was called eight times, and returned longer code each
    ///   time.
    ///
    /// # Panics
    ///
    /// Only if the closure does. The memory is freed.
    ///
    /// # Examples
    ///
    /// A function that returns its own address:
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use std::convert::Infallible;
    /// use execbuf::ExecBuffer;
    ///
    /// let buffer = ExecBuffer::assemble(|address| {
    ///     let mut code = vec![0x48, 0xb8]; //                     mov rax, address
    ///     code.extend((address as u64).to_le_bytes());
    ///     code.push(0xc3); //                                     ret
    ///     Ok::<_, Infallible>(code)
    /// })?;
    /// // SAFETY: The bytes are a function without arguments that returns a 64-bit integer.
    /// let address = unsafe { buffer.function::<extern "C" fn() -> u64>() };
    /// assert_eq!(address.call(), buffer.as_ptr() as u64);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_reserve")]
    #[doc(alias = "execbuf_publish")]
    pub fn assemble<B, E>(assemble: impl FnMut(usize) -> Result<B, E>) -> Result<Self, Error>
    where
        B: AsRef<[u8]>,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        // What fits into one page, with what surrounds it.
        let capacity = 4096 - 64;
        // SAFETY: `execbuf_reserve` reserves as many bytes.
        unsafe {
            Self::assemble_in(capacity, assemble, |raw, capacity, error| {
                ffi::execbuf_reserve(raw, capacity, error)
            })
        }
    }

    /// `assemble`, with a first guess of the code's length and a function that reserves memory.
    ///
    /// # Safety
    ///
    /// If `reserve` succeeds, it has written the handle of a reservation for so many bytes that nobody else has. If not,
    /// it has written the report, and no handle or that of no buffer.
    pub(crate) unsafe fn assemble_in<B, E>(
        mut capacity: usize,
        mut assemble: impl FnMut(usize) -> Result<B, E>,
        reserve: impl Fn(*mut ffi::execbuf, usize, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error>
    where
        B: AsRef<[u8]>,
        E: Into<BoxError>,
    {
        for _ in 0..ATTEMPTS {
            // Its drop frees the reservation, whatever happens. It is no buffer before `execbuf_publish`, and nobody else
            // gets it before.
            let mut buffer = Self { raw: EMPTY };
            check(|error| reserve(&raw mut buffer.raw, capacity, error))?;
            let code = assemble(buffer.raw.entry.addr()).map_err(|error| Error::assemble_failed(error.into()))?;
            let code = code.as_ref();
            if code.len() <= capacity {
                let (bytes, length) = (code.as_ptr().cast(), code.len());
                // SAFETY: The handle and the report can be written, and `code` is readable for its length.
                check(|error| unsafe { ffi::execbuf_publish(&raw mut buffer.raw, bytes, length, error) })?;
                return Ok(buffer);
            }
            capacity = code.len();
        }
        Err(Error::unsettled())
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

    /// Makes a buffer of a handle of the C API, for use with [`ffi`]. Dropping the buffer frees it.
    ///
    /// # Safety
    ///
    /// - The handle is the one of a published buffer, not of a reservation.
    /// - Nobody else frees or rewrites it, or makes a buffer of it.
    /// - Nobody calls its code after the buffer is dropped or rewritten.
    ///
    /// # Examples
    ///
    /// See [`into_raw`](Self::into_raw).
    #[inline]
    pub unsafe fn from_raw(raw: ffi::execbuf) -> Self {
        Self { raw }
    }

    /// Gives up the buffer and returns its handle of the C API, for use with [`ffi`]. The caller frees it.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecBuffer, ffi};
    ///
    /// let raw = ExecBuffer::new(&[0x90, 0xc3])?.into_raw(); // x86: nop; ret
    /// // SAFETY: The handle can be read.
    /// assert_eq!(unsafe { ffi::execbuf_length(&raw) }, 2);
    /// // SAFETY: It came from a buffer, and is not used any more.
    /// let buffer = unsafe { ExecBuffer::from_raw(raw) };
    /// assert_eq!(buffer.len(), 2);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use = "the code stays mapped until the handle is freed"]
    pub fn into_raw(self) -> ffi::execbuf {
        let buffer = ManuallyDrop::new(self);
        ffi::execbuf { ..buffer.raw }
    }

    /// Replaces a part of the code, from `offset` on.
    ///
    /// The call takes `&mut`, so the borrow checker proves that no function of this buffer is in use.
    ///
    /// On Linux the new pages are finished elsewhere and moved into the old place in one step.
    ///
    /// # Errors
    ///
    /// The old code is in place and can be called, except after `Lost`.
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): there are no bytes.
    /// - [`OutOfBounds`](crate::ErrorKind::OutOfBounds): the new bytes extend beyond the end of the code.
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
    #[doc(alias = "execbuf_rewrite")]
    pub fn rewrite(&mut self, offset: usize, code: &[u8]) -> Result<(), Error> {
        let (bytes, length) = (code.as_ptr().cast(), code.len());
        // SAFETY: The handle and the report can be written, and `code` is readable for its length. Nobody runs the
        // code: a `Function` borrows or owns `self`, and `unsafe` code has promised not to call it after a rewrite.
        check(|error| unsafe { ffi::execbuf_rewrite(&raw mut self.raw, offset, bytes, length, error) })
    }

    /// Returns the address of the first byte of code. It is a multiple of 16.
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?;
    /// assert_eq!(buffer.as_ptr() as usize % 16, 0);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "execbuf_entry")]
    pub fn as_ptr(&self) -> *const u8 {
        self.raw.entry.cast()
    }

    /// Returns the length of the code in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(execbuf::ExecBuffer::new(&[0xc3])?.len(), 1);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "execbuf_length")]
    #[expect(clippy::len_without_is_empty, reason = "there is no empty code")]
    pub fn len(&self) -> usize {
        self.raw.length
    }
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
