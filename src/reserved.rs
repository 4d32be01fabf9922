//! Memory whose address is known before the code that goes there.

use alloc::boxed::Box;
use core::{fmt, mem};

use crate::buffer::{EMPTY, ExecBuffer};
use crate::error::{BoxError, Error, PublishError, check};
use crate::ffi;
use crate::info::Info;

mod all;

/// How often `assemble` calls the closure before it gives up.
const ATTEMPTS: usize = 8;

/// The size of the first reservation of `assemble`: together with the traps around it, it fits into one page.
pub(crate) const FIRST_CAPACITY: usize = 4096 - 64;

/// Memory for a piece of code, at its final address. It is charged to the process or the pool, but holds no code yet.
///
/// [`ExecBuffer::reserve`], [`ExecPool::reserve`](crate::ExecPool::reserve) and
/// [`ExecPool::reserve_batch`](crate::ExecPool::reserve_batch) make reservations. Publishing turns one into an
/// [`ExecBuffer`], or returns it with the error. Dropping it gives the memory back.
///
/// A reservation is `Send` and `Sync`. After a `fork`, both processes may publish in it, or drop it. In the child,
/// publishing fails with [`Frozen`](crate::ErrorKind::Frozen) if the memory is in a region of a pool that the system
/// does not let it copy.
///
/// # Examples
///
/// Functions that call each other: reserve all, write the code with the addresses, publish all or none.
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::{ExecPool, Reserved};
///
/// /// A function of a number n: if n is 0 it returns `at_zero`, else it jumps to `other` with n - 1.
/// fn emit(at_zero: u8, other: usize) -> Vec<u8> {
///     let mut code = vec![
///         0x85, 0xff, //                              test edi, edi
///         0x74, 0x0e, //                              je zero
///         0xff, 0xcf, //                              dec edi
///         0x48, 0xb8, //                              mov rax, other
///     ];
///     code.extend((other as u64).to_le_bytes());
///     code.extend([
///         0xff, 0xe0, //                              jmp rax
///         0xb8, at_zero, 0, 0, 0,    //       zero:   mov eax, at_zero
///         0xc3, //                                    ret
///     ]);
///     code
/// }
///
/// let pool = ExecPool::new()?;
/// let even = pool.reserve(32)?;
/// let odd = pool.reserve(32)?;
/// let is_even = emit(1, odd.address());
/// let is_odd = emit(0, even.address());
/// let buffers = Reserved::publish_all(vec![(even, is_even), (odd, is_odd)])?;
/// // SAFETY: The bytes are a System V function, and `buffers` keeps the function that it calls.
/// let is_even = unsafe { buffers[0].function::<extern "sysv64" fn(u32) -> u32>() };
/// assert_eq!((is_even.call(10), is_even.call(7)), (1, 0));
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use = "dropping the reservation gives the memory back"]
#[doc(alias("execbuf_reserve", "execbuf_pool_reserve"))]
pub struct Reserved {
    /// The handle of a reserved buffer that only this value frees, or no buffer.
    raw: ffi::execbuf,
    capacity: usize,
}

// SAFETY: The memory belongs to the process, not to a thread, and the C functions may be called from any thread.
unsafe impl Send for Reserved {}
// SAFETY: `&Reserved` only gives the address and the capacity.
unsafe impl Sync for Reserved {}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: Only this value has the handle, so it is not stale and the call succeeds, as it does if the handle is
        // that of no buffer. Nobody runs code there, since there is none.
        unsafe { ffi::execbuf_free(&raw mut self.raw) };
    }
}

impl Reserved {
    /// Makes the reservation of a handle.
    ///
    /// # Safety
    ///
    /// The handle is that of a reserved buffer of this capacity, which nobody else has.
    pub(crate) unsafe fn from_raw(raw: ffi::execbuf, capacity: usize) -> Self {
        Self { raw, capacity }
    }

    /// Returns the reservation that a C call makes.
    ///
    /// # Safety
    ///
    /// If the call succeeds, it writes the handle of a new reservation of this capacity, which nobody else has. If it
    /// fails, it writes the report.
    pub(crate) unsafe fn made_by(
        capacity: usize,
        call: impl FnOnce(*mut ffi::execbuf, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error> {
        let mut raw = EMPTY;
        check(|error| call(&raw mut raw, error))?;
        // SAFETY: The call succeeded, so it has written such a handle.
        Ok(unsafe { Self::from_raw(raw, capacity) })
    }

    /// Returns the address that the first byte of code will have. It is a multiple of 16. Nothing may be read, written or
    /// called there before code is published.
    ///
    /// # Examples
    ///
    /// ```
    /// let reserved = execbuf::ExecBuffer::reserve(16)?;
    /// let address = reserved.address();
    /// assert_eq!(reserved.publish(&[0xc3])?.as_ptr() as usize, address); // x86: ret
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn address(&self) -> usize {
        self.raw.entry.addr()
    }

    /// Returns the greatest length of code that can be published here, in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(execbuf::ExecPool::new()?.reserve(100)?.capacity(), 100);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Copies machine code to the reserved memory and makes it executable.
    ///
    /// A dedicated mapping then shrinks to the pages that the code needs. In a region of a pool, the code keeps the memory
    /// of the reservation.
    ///
    /// # Errors
    ///
    /// The error returns the reservation, which can be published again.
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): `code` is empty.
    /// - [`Capacity`](crate::ErrorKind::Capacity): `code` is longer than the capacity.
    /// - [`Frozen`](crate::ErrorKind::Frozen): a parent of this process made the reservation in a pool, and the system does
    ///   not let the memory be copied.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory), [`Denied`](crate::ErrorKind::Denied): as for [`ExecBuffer::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ErrorKind, ExecBuffer};
    ///
    /// let reserved = ExecBuffer::reserve(2)?;
    /// let (reserved, error) = reserved.publish(&[0x90, 0x90, 0xc3]).unwrap_err().into_parts();
    /// assert_eq!(error.kind(), ErrorKind::Capacity);
    /// assert_eq!(reserved.publish(&[0x90, 0xc3])?.len(), 2); // x86: nop; ret
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_publish")]
    pub fn publish(self, code: &[u8]) -> Result<ExecBuffer, PublishError<Self>> {
        let (bytes, length) = (code.as_ptr().cast(), code.len());
        // SAFETY: The handle and the report are writable, and `code` is readable for its length.
        unsafe { self.published_by(|raw, error| ffi::execbuf_publish(raw, bytes, length, error)) }
    }

    /// As [`publish`](Self::publish), and describes the code, before it can run.
    ///
    /// # Errors
    ///
    /// The errors of [`publish`](Self::publish) and [`ExecBuffer::describe`]. The error returns the reservation.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecPool, Info, Unwind};
    ///
    /// let reserved = ExecPool::new()?.reserve(16)?;
    /// // The `.eh_frame` table of a compiler would contain `reserved.address()`.
    /// let buffer = reserved.publish_with(&[0xc3], &Info::new().name("returns").unwind(Unwind::Unknown))?; // x86: ret
    /// assert_eq!(buffer.len(), 1);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_publish_with")]
    pub fn publish_with(self, code: &[u8], info: &Info<'_>) -> Result<ExecBuffer, PublishError<Self>> {
        let (bytes, length, info) = (code.as_ptr().cast(), code.len(), info.to_raw());
        // SAFETY: As in `publish`, and what the description points to is borrowed.
        unsafe {
            self.published_by(|raw, error| ffi::execbuf_publish_with(raw, bytes, length, &raw const info, error))
        }
    }

    /// Publishes with a C call.
    ///
    /// # Safety
    ///
    /// If the call succeeds, the buffer of the handle is published. If it fails, it is still reserved, and the report is
    /// written.
    unsafe fn published_by(
        mut self,
        call: impl FnOnce(*mut ffi::execbuf, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<ExecBuffer, PublishError<Self>> {
        match check(|error| call(&raw mut self.raw, error)) {
            // SAFETY: The buffer is published, and `self` gives its handle up.
            Ok(()) => Ok(unsafe { ExecBuffer::from_raw(mem::replace(&mut self.raw, EMPTY)) }),
            Err(error) => Err(PublishError::new(self, error)),
        }
    }
}

/// Formats the address and the capacity.
impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("entry", &self.raw.entry).field("capacity", &self.capacity).finish()
    }
}

impl ExecBuffer {
    /// Reserves a dedicated mapping for code that depends on its own address, or on those of other reservations.
    ///
    /// # Errors
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): `capacity` is 0.
    /// - The other errors of [`new`](Self::new). [`Denied`](crate::ErrorKind::Denied) means that the system refused to map
    ///   memory; whether it lets the memory become executable shows when code is published.
    ///
    /// # Examples
    ///
    /// See [`Reserved`].
    #[doc(alias = "execbuf_reserve")]
    pub fn reserve(capacity: usize) -> Result<Reserved, Error> {
        // SAFETY: `execbuf_reserve` reserves as many bytes.
        unsafe { Reserved::made_by(capacity, |raw, error| ffi::execbuf_reserve(raw, capacity, error)) }
    }

    /// Publishes code that depends on its own address.
    ///
    /// The closure receives an address and returns the code for that address. If the code does not fit into the memory
    /// reserved there, `assemble` reserves exactly the length of the code, and calls the closure again with the new
    /// address. It usually does so at most once: again only if the code is longer at the new address. Do not write, read
    /// or call anything at the address before `assemble` returns.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new), and:
    ///
    /// - [`AssembleFailed`](crate::ErrorKind::AssembleFailed): the closure returned an error, which is the
    ///   [source](core::error::Error::source) of this error.
    /// - [`Unsettled`](crate::ErrorKind::Unsettled): in each of eight calls, the closure returned code that was longer
    ///   than its reservation.
    ///
    /// # Panics
    ///
    /// Panics if the closure panics, or if `as_ref` or the destructor of the code does. The memory is freed.
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
        assemble_in(FIRST_CAPACITY, assemble, Self::reserve)
    }
}

/// Implements `assemble`. `capacity` is the size of the first reservation, and `reserve` makes reservations.
pub(crate) fn assemble_in<B, E>(
    mut capacity: usize,
    mut assemble: impl FnMut(usize) -> Result<B, E>,
    reserve: impl Fn(usize) -> Result<Reserved, Error>,
) -> Result<ExecBuffer, Error>
where
    B: AsRef<[u8]>,
    E: Into<BoxError>,
{
    for _ in 0..ATTEMPTS {
        let reserved = reserve(capacity)?;
        let code = assemble(reserved.address()).map_err(|error| Error::assemble_failed(error.into()))?;
        let bytes = code.as_ref();
        if bytes.len() <= capacity {
            let buffer = reserved.publish(bytes)?;
            // This may panic, and a returned value would then leak (rust-lang/rust#47949).
            drop(code);
            return Ok(buffer);
        }
        capacity = bytes.len();
    }
    Err(Error::unsettled())
}
