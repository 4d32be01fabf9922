//! Typed handles of published functions.

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;

use crate::buffer::ExecBuffer;
use crate::error::Error;
use crate::fn_ptr::FnPtr;
use crate::thunk::Thunk;

/// A published function that borrows its [`ExecBuffer`].
///
/// `call` is there for every [`FnPtr`], with the arguments and the result of its type, and compiles to one
/// indirect call. It is `unsafe` if the type is. The function pointer itself could outlive the code, so it takes
/// `unsafe` to get it.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::ExecBuffer;
///
/// let buffer = ExecBuffer::new(&[
///     0x48, 0x8d, 0x04, 0x37, // lea rax, [rdi + rsi]
///     0xc3, //                   ret
/// ])?;
/// // SAFETY: The bytes are a System V function that adds two integers.
/// let add = unsafe { buffer.function::<extern "sysv64" fn(u64, u64) -> u64>() };
/// assert_eq!(add.call(40, 2), 42); // on Windows, too
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct Function<'a, F: FnPtr> {
    pointer: F,
    buffer: PhantomData<&'a ExecBuffer>,
}

impl<'a, F: FnPtr> Function<'a, F> {
    /// # Safety
    ///
    /// At the entry there is a function of type `F`, and it stays there as long as the lifetime that the caller
    /// gives the handle.
    pub(crate) unsafe fn new(entry: *const u8) -> Self {
        // SAFETY: The caller says so.
        Self { pointer: unsafe { F::from_address(entry) }, buffer: PhantomData }
    }

    #[inline]
    pub(crate) fn pointer(&self) -> F {
        self.pointer
    }

    /// The function pointer itself, for third parties that take one.
    ///
    /// # Safety
    ///
    /// Nobody calls it after the buffer is dropped or rewritten.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::ExecBuffer;
    ///
    /// let buffer = ExecBuffer::new(&[
    ///     0x8d, 0x47, 0x01, // lea eax, [rdi + 1]
    ///     0xc3, //             ret
    /// ])?;
    /// // SAFETY: The bytes are such a function, and the buffer outlives the calls.
    /// let increment = unsafe { buffer.function::<extern "sysv64" fn(u32) -> u32>().as_fn() };
    /// let numbers: Vec<u32> = [1, 2, 3].into_iter().map(|number| increment(number)).collect();
    /// assert_eq!(numbers, [2, 3, 4]);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub unsafe fn as_fn(&self) -> F {
        self.pointer
    }

    /// The address of the function, for printing and comparing.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.pointer.address()
    }

    /// A plain C function pointer for it, for third parties. Rust itself needs none: it can call the function as it is.
    ///
    /// # Errors
    ///
    /// Those of [`Thunk::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::ExecBuffer;
    ///
    /// let buffer = ExecBuffer::new(&[
    ///     0x8d, 0x04, 0x11, // lea eax, [rcx + rdx]
    ///     0xc3, //             ret
    /// ])?;
    /// // SAFETY: The bytes are a function by Win64's convention that adds two integers.
    /// let add = unsafe { buffer.function::<extern "win64" fn(u32, u32) -> u32>() };
    /// let thunk = add.to_native()?;
    /// // SAFETY: The pointer is not used after the thunk.
    /// let pointer: extern "C" fn(u32, u32) -> u32 = unsafe { thunk.as_fn() };
    /// assert_eq!(pointer(40, 2), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn to_native(&self) -> Result<Thunk<'a, F::Native>, Error> {
        self.to()
    }

    /// As [`to_native`](Self::to_native), for those who call by any ABI there is.
    ///
    /// # Errors
    ///
    /// Those of [`Thunk::new`].
    ///
    /// # Examples
    ///
    /// See [`Thunk`].
    pub fn to<G: FnPtr<Native = F::Native>>(&self) -> Result<Thunk<'a, G>, Error> {
        Thunk::of(self.pointer, None)
    }
}

/// Shows the address.
impl<F: FnPtr> fmt::Debug for Function<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.as_ptr()).finish()
    }
}

/// A published function that owns its [`ExecBuffer`], together with its clones. The code is unmapped when the last
/// of them is dropped.
///
/// `call` is as for [`Function`]. The handle is `Send` and `Sync`. Making one allocates its reference count, which
/// aborts like all of Rust's where there is no memory.
///
/// # Examples
///
/// See [`ExecBuffer::into_function`].
#[must_use]
pub struct OwnedFunction<F: FnPtr> {
    pointer: F,
    buffer: Arc<ExecBuffer>,
}

impl<F: FnPtr> OwnedFunction<F> {
    /// # Safety
    ///
    /// At the entry, which lies in the buffer, there is a function of type `F`.
    pub(crate) unsafe fn new(entry: *const u8, buffer: ExecBuffer) -> Self {
        // SAFETY: The caller says so.
        Self { pointer: unsafe { F::from_address(entry) }, buffer: Arc::new(buffer) }
    }

    #[inline]
    pub(crate) fn pointer(&self) -> F {
        self.pointer
    }

    /// The function pointer itself, for third parties that take one.
    ///
    /// # Safety
    ///
    /// Nobody calls it after the last handle of the buffer is dropped, or was turned back into a buffer that is then
    /// dropped or rewritten.
    ///
    /// # Examples
    ///
    /// See [`Function::as_fn`].
    pub unsafe fn as_fn(&self) -> F {
        self.pointer
    }

    /// The buffer, if no other handle owns it too, so that it can be rewritten.
    ///
    /// # Errors
    ///
    /// The handle itself, if there are others.
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?; // x86: ret
    /// // SAFETY: Nothing is called.
    /// let function = unsafe { buffer.into_function::<extern "C" fn()>() };
    /// let clone = function.clone();
    /// let function = function.try_into_buffer().unwrap_err();
    /// drop(clone);
    /// let mut buffer = function.try_into_buffer().unwrap();
    /// buffer.rewrite(0, &[0xcc])?;
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn try_into_buffer(self) -> Result<ExecBuffer, Self> {
        let Self { pointer, buffer } = self;
        Arc::try_unwrap(buffer).map_err(|buffer| Self { pointer, buffer })
    }

    /// The address of the function, for printing and comparing.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.pointer.address()
    }

    /// As [`Function::to_native`]. The thunk owns the buffer, too.
    ///
    /// # Errors
    ///
    /// Those of [`Thunk::new`].
    ///
    /// # Examples
    ///
    /// See [`Thunk`].
    pub fn to_native(&self) -> Result<Thunk<'static, F::Native>, Error> {
        self.to()
    }

    /// As [`Function::to`]. The thunk owns the buffer, too.
    ///
    /// # Errors
    ///
    /// Those of [`Thunk::new`].
    ///
    /// # Examples
    ///
    /// See [`Thunk`].
    pub fn to<G: FnPtr<Native = F::Native>>(&self) -> Result<Thunk<'static, G>, Error> {
        Thunk::of(self.pointer, Some(Arc::clone(&self.buffer)))
    }

    pub(crate) fn shared_buffer(&self) -> Arc<ExecBuffer> {
        Arc::clone(&self.buffer)
    }

    /// The buffer that the function lives in.
    pub fn buffer(&self) -> &ExecBuffer {
        &self.buffer
    }

    /// Another function in the same buffer, `offset` bytes behind the buffer's first byte. The two own the buffer
    /// together.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`](crate::ErrorKind::OutOfBounds): the offset is not less than the buffer's length.
    ///
    /// # Safety
    ///
    /// As for [`ExecBuffer::function`], of the code from that offset on.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// let buffer = execbuf::ExecBuffer::new(&[
    ///     0xb8, 1, 0, 0, 0, // mov eax, 1
    ///     0xc3, //             ret
    ///     0xb8, 2, 0, 0, 0, // mov eax, 2
    ///     0xc3, //             ret
    /// ])?;
    /// // SAFETY: The bytes are two functions without arguments that return 32-bit integers.
    /// let (first, second) = unsafe {
    ///     let first = buffer.into_function::<extern "C" fn() -> u32>();
    ///     let second = first.function_at::<extern "C" fn() -> u32>(6)?;
    ///     (first, second)
    /// };
    /// drop(first);
    /// assert_eq!(second.call(), 2);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub unsafe fn function_at<G: FnPtr>(&self, offset: usize) -> Result<OwnedFunction<G>, Error> {
        // SAFETY: The caller vouches for the code at the offset.
        let function = unsafe { self.buffer.function_at::<G>(offset) }?;
        Ok(OwnedFunction { pointer: function.pointer(), buffer: Arc::clone(&self.buffer) })
    }
}

impl<F: FnPtr> Clone for OwnedFunction<F> {
    fn clone(&self) -> Self {
        Self { pointer: self.pointer, buffer: Arc::clone(&self.buffer) }
    }
}

/// Shows the address and the buffer.
impl<F: FnPtr> fmt::Debug for OwnedFunction<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedFunction").field("pointer", &self.as_ptr()).field("buffer", &self.buffer).finish()
    }
}
