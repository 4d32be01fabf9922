//! The owner of a piece of published code.

use alloc::vec::Vec;
use core::fmt;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ptr;
use core::slice;

use crate::error::{Error, check, check_batch};
use crate::ffi;
use crate::info::Info;

/// One piece of published machine code, in a dedicated mapping or in an [`ExecPool`](crate::ExecPool).
///
/// The code starts at an address that is a multiple of 16. In a dedicated mapping, trap instructions surround it, from
/// 16 bytes before its first byte to the end of the last page, so code that runs past its end stops there. In a pool,
/// trap instructions fill the gaps between pieces of code.
///
/// Dropping the buffer frees the code and cannot fail. The borrow checker guarantees that no
/// [`Function`](crate::Function) still refers to it.
///
/// # Threads and fork
///
/// An `ExecBuffer` is `Send` and `Sync`. Only [`rewrite`](Self::rewrite) changes the code, and it takes `&mut`. After
/// `fork`, both processes can call, rewrite and drop existing buffers (those in a pool with the limits that
/// [`ExecPool`](crate::ExecPool#threads-and-fork) names). Neither process sees the changes of the other.
///
/// # Examples
///
/// See the [crate's page](crate).
#[must_use = "dropping the buffer frees the code"]
#[repr(transparent)]
#[doc(alias("execbuf", "execbuf_free"))]
pub struct ExecBuffer {
    /// The handle of a published buffer. Only this value frees it.
    raw: ffi::execbuf,
}

// SAFETY: The memory belongs to the process, not to a thread, and the C functions may be called from any thread.
unsafe impl Send for ExecBuffer {}
// SAFETY: `&ExecBuffer` only allows reading and calling the code; the functions that change it take `&mut`.
unsafe impl Sync for ExecBuffer {}

impl ExecBuffer {
    /// Copies machine code into a dedicated mapping and makes it executable.
    ///
    /// # Errors
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): `code` is empty.
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): the length, with the traps around the code, exceeds `isize::MAX`
    ///   bytes.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory): no memory, address space or mappings are left.
    /// - [`Denied`](crate::ErrorKind::Denied): the system refused every way to make memory executable.
    /// - [`ReadImpliesExec`](crate::ErrorKind::ReadImpliesExec), [`Unsupported`](crate::ErrorKind::Unsupported): see
    ///   there.
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
        // SAFETY: The handle and the report are writable, and `code` is readable for its length. Nobody else has the
        // new buffer.
        unsafe { Self::made_by(|raw, error| ffi::execbuf_new(raw, code.as_ptr().cast(), code.len(), error)) }
    }

    /// Returns the buffer that a C call publishes.
    ///
    /// # Safety
    ///
    /// If the call succeeds, it writes the handle of a published buffer that nobody else has. If it fails, it writes
    /// the report.
    #[inline]
    pub(crate) unsafe fn made_by(
        call: impl FnOnce(*mut ffi::execbuf, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error> {
        let mut raw = MaybeUninit::uninit();
        check(|error| call(raw.as_mut_ptr(), error))?;
        // SAFETY: The call succeeded, so it has written the handle of such a buffer.
        Ok(unsafe { Self::from_raw(read_words(&raw)) })
    }

    /// Takes ownership of a buffer of the C API, for use with [`ffi`]. Dropping the `ExecBuffer` frees it.
    ///
    /// # Safety
    ///
    /// - The handle refers to a published buffer, not to a reservation.
    /// - Nobody else frees or rewrites the buffer, or passes its handle to `from_raw`.
    /// - Nobody calls the code after the `ExecBuffer` is dropped or rewritten.
    ///
    /// # Examples
    ///
    /// See [`into_raw`](Self::into_raw).
    #[inline]
    pub unsafe fn from_raw(raw: ffi::execbuf) -> Self {
        Self { raw }
    }

    /// Returns the handle of the C API and gives up ownership, for use with [`ffi`]. The caller must free the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecBuffer, ffi};
    ///
    /// let raw = ExecBuffer::new(&[0x90, 0xc3])?.into_raw(); // x86: nop; ret
    /// // SAFETY: The handle is readable.
    /// assert_eq!(unsafe { ffi::execbuf_length(&raw) }, 2);
    /// // SAFETY: The handle came from a buffer, and is not used again.
    /// let buffer = unsafe { ExecBuffer::from_raw(raw) };
    /// assert_eq!(buffer.len(), 2);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use = "the code stays mapped until the handle is freed"]
    pub fn into_raw(self) -> ffi::execbuf {
        let buffer = ManuallyDrop::new(self);
        ffi::execbuf { ..buffer.raw }
    }

    /// Overwrites a part of the code, starting `offset` bytes after its first byte. A description of the code ends.
    ///
    /// The method takes `&mut self`, so the borrow checker proves that no function of this buffer is in use.
    ///
    /// In a region of a pool, the bytes are copied in place through the pool's writable mapping. A dedicated mapping is
    /// never modified while it is executable: on Linux, new pages replace the old ones in one step; elsewhere, and if a
    /// policy of Linux refuses `mremap`, the pages become writable, then executable again.
    ///
    /// # Errors
    ///
    /// After every error except `Lost`, the old code is still in place and can be called.
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): `code` is empty.
    /// - [`OutOfBounds`](crate::ErrorKind::OutOfBounds): the new bytes extend beyond the end of the old code.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory), [`Denied`](crate::ErrorKind::Denied): as for [`new`](Self::new).
    /// - [`Frozen`](crate::ErrorKind::Frozen): the buffer is in a region of an [`ExecPool`](crate::ExecPool) that another
    ///   process shares since a `fork`, and the system does not let it be copied.
    /// - [`Lost`](crate::ErrorKind::Lost): the system twice refused to make the pages executable again. This happens
    ///   only where pages cannot be replaced in one step (Windows, macOS, the BSDs, Linux without `mremap`). Calling the
    ///   code now crashes.
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
        // SAFETY: The handle and the report are writable, and `code` is readable for its length. Nobody runs the code:
        // every `Function` of it borrows or owns `self`. Everyone else who uses the code by address has promised in
        // `unsafe` code that it stays unchanged as long as they can run it.
        check(|error| unsafe { ffi::execbuf_rewrite(&raw mut self.raw, offset, bytes, length, error) })
    }

    /// Makes many changes, in the order of the slices: for each buffer, offsets and the bytes that go there. In regions of
    /// pools, one barrier serves all of them, where each [`rewrite`](Self::rewrite) needs its own.
    ///
    /// # Errors
    ///
    /// The errors of [`rewrite`](Self::rewrite). All changes are checked before the first is made, so most errors mean that
    /// none was made. There are two exceptions: the system refuses a call that the change of a dedicated mapping needs, or
    /// another thread forks meanwhile and the system does not let the memory be copied. Then the changes before the
    /// [position](Error::position) of the error are made, counted through all buffers from 0.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::{ExecBuffer, ExecPool};
    ///
    /// let pool = ExecPool::new()?;
    /// let code = [
    ///     0xb8, 1, 0, 0, 0, //   mov eax, 1
    ///     0x05, 1, 0, 0, 0, //   add eax, 1
    ///     0xc3, //               ret
    /// ];
    /// let (mut one, mut other) = (pool.publish(&code)?, pool.publish(&code)?);
    /// ExecBuffer::rewrite_batch(&mut [(&mut one, &[(1, &[40]), (6, &[2])]), (&mut other, &[(1, &[6])])])?;
    /// // SAFETY: The bytes are functions without arguments that return a 32-bit integer.
    /// let results = unsafe { [&one, &other].map(|buffer| buffer.function::<extern "C" fn() -> u32>().call()) };
    /// assert_eq!(results, [42, 7]);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_rewrite_batch")]
    #[expect(clippy::type_complexity, reason = "a type of its own would say less")]
    pub fn rewrite_batch(changes: &mut [(&mut Self, &[(usize, &[u8])])]) -> Result<(), Error> {
        let count = changes.iter().map(|(_, parts)| parts.len()).sum();
        let mut raws: Vec<ffi::execbuf_change> = Vec::new();
        if raws.try_reserve_exact(count).is_err() {
            return Err(Error::no_memory(c"count"));
        }
        for (buffer, parts) in changes {
            let buffer = &raw mut buffer.raw;
            raws.extend(parts.iter().map(|&(offset, code)| ffi::execbuf_change {
                buffer,
                offset,
                code: code.as_ptr().cast(),
                length: code.len(),
            }));
        }
        // SAFETY: The handles and the report are writable, and all code is readable. As for `rewrite`, nobody runs the code.
        check_batch(|error| unsafe { ffi::execbuf_rewrite_batch(raws.as_ptr(), count, error) })
    }

    /// Describes the code: how to unwind through it, so that panics, exceptions and backtraces pass. A description that
    /// it has already is replaced. The description ends with a [`rewrite`](Self::rewrite), and when the buffer is dropped.
    ///
    /// # Errors
    ///
    /// - [`Unwind`](crate::ErrorKind::Unwind): the unwind information is malformed, or does not fit the code. Tables for
    ///   code of at most 32 KiB in a pool describe one function; `csrc/include/execbuf.h` lists all conditions.
    /// - [`Unsupported`](crate::ErrorKind::Unsupported): this system does not unwind by this kind of information.
    /// - [`Lines`](crate::ErrorKind::Lines): the offsets of the lines descend, or one lies behind the code.
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): the name, the table or the name of a file is too long.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory): no memory is left.
    /// - [`Denied`](crate::ErrorKind::Denied): the unwinder does not find the code, a fault of libgcc 13.0 to 14.2. The
    ///   code then has no description.
    /// - [`Lost`](crate::ErrorKind::Lost): a rewrite has failed with it.
    ///
    /// # Examples
    ///
    /// See [`Info`].
    #[doc(alias = "execbuf_describe")]
    pub fn describe(&mut self, info: &Info<'_>) -> Result<(), Error> {
        let info = info.to_raw();
        // SAFETY: The handle and the report are writable, and what the description points to is borrowed. Nobody runs the
        // code, for the reasons in `rewrite`. Whether the description is true, callers of `function` vouch for.
        check(|error| unsafe { ffi::execbuf_describe(&raw mut self.raw, &raw const info, error) })
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

/// Reads a handle that was just written, word by word. Moving the whole handle would load two words at once, which a
/// processor cannot forward from two separate stores: the load would wait until both stores reach the cache.
///
/// # Safety
///
/// The handle is initialised.
#[inline]
unsafe fn read_words(raw: &MaybeUninit<ffi::execbuf>) -> ffi::execbuf {
    let raw = raw.as_ptr();
    // SAFETY: The caller guarantees that the handle is initialised, and it is borrowed, so nothing writes it. The reads
    // are volatile so that the compiler does not merge them.
    unsafe {
        ffi::execbuf {
            entry: (&raw const (*raw).entry).read_volatile(),
            length: (&raw const (*raw).length).read_volatile(),
            id: (&raw const (*raw).id).read_volatile(),
        }
    }
}

/// A handle that refers to no buffer.
pub(crate) const EMPTY: ffi::execbuf = ffi::execbuf { entry: ptr::null(), length: 0, id: 0 };

impl Drop for ExecBuffer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Only this value has the handle, so it is not stale and the call succeeds. No function of the buffer
        // is left, because functions borrow or own it.
        unsafe { ffi::execbuf_free(&raw mut self.raw) };
    }
}

/// Returns the bytes of the code.
impl AsRef<[u8]> for ExecBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: Published code is readable, initialised, and does not change while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

/// Formats the address and the length, never the bytes.
impl fmt::Debug for ExecBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecBuffer").field("entry", &self.as_ptr()).field("len", &self.len()).finish()
    }
}

/// `ExecPool::publish_batch` relies on this: an `ExecBuffer` contains only the C handle.
const _: () = assert!(mem::size_of::<ExecBuffer>() == mem::size_of::<ffi::execbuf>());
