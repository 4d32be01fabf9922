//! The methods of [`ExecBuffer`] that return typed functions.

use alloc::sync::Arc;

use crate::abi::FnPtr;
use crate::buffer::ExecBuffer;
use crate::error::Error;
use crate::function::Function;

impl ExecBuffer {
    /// Returns the function that begins at the first byte. The handle borrows the buffer.
    ///
    /// # Safety
    ///
    /// - The code implements the signature and the ABI of `F`: it takes these arguments and returns this result. If
    ///   [`AbiReturn::ANY_BITS`](crate::AbiReturn::ANY_BITS) of the result is `false`, the result is a valid value of
    ///   its type: a `NonNull` is not null, and a function pointer points to a function of its type.
    /// - Every function pointer of a safe type that the code returns, stores or passes on points to a function that is
    ///   never freed or changed, and that any thread may call: safe code can keep the pointer for ever. For functions
    ///   of a buffer, use an `unsafe extern` type or an address.
    /// - The code follows the rules of the ABI. It preserves the registers that the ABI requires, returns with the
    ///   stack pointer and the direction flag that the ABI requires, aligns the stack for its own calls, and uses the
    ///   red zone only on systems that have one (not on Windows).
    /// - As long as the returned handle or one made from it exists, everything that the code uses by address (other
    ///   code, data, callbacks) lives, and none of the code changes. The owner guarantees this; [`Function::and`] adds
    ///   more to it.
    /// - The code accesses memory according to Rust's rules for aliasing and data races: nobody else borrows data while
    ///   the code writes it, and nobody else writes data while the code reads it. The owner is borrowed during every
    ///   call, and [`Function::owner`] lends it to anybody. Data of the owner that the code writes is therefore atomic,
    ///   in an `UnsafeCell`, or private to the owner's type.
    /// - If `F` is not an `unsafe` function type, calling the code is sound with any arguments, any number of times,
    ///   from any thread, and from several threads at once.
    /// - If `F` is not an `-unwind` type, no panic or exception leaves the code.
    /// - The description of the code (see [`Info`](crate::Info)), if it has one, is true. Without one, unwinders stop at
    ///   the code: a panic of a function that it calls aborts the process.
    /// - No [`rewrite`](Self::rewrite) of this buffer has failed with [`Lost`](crate::ErrorKind::Lost).
    ///
    /// # Examples
    ///
    /// See the [crate's page](crate).
    #[doc(alias = "execbuf_entry")]
    pub unsafe fn function<F: FnPtr>(&self) -> Function<F, &Self> {
        // SAFETY: The caller vouches for the code, which stays in place while `self` is borrowed.
        unsafe { Function::from_parts(self.as_ptr(), self) }
    }

    /// Returns the function that begins `offset` bytes after the first byte. The handle borrows the buffer.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`](crate::ErrorKind::OutOfBounds): `offset` is not less than [`len`](Self::len).
    ///
    /// # Safety
    ///
    /// As for [`function`](Self::function), for the code at `offset`.
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
    /// // SAFETY: A function without arguments that returns a 32-bit integer begins at this offset.
    /// let second = unsafe { buffer.function_at::<extern "C" fn() -> u32>(6) }?;
    /// assert_eq!(second.call(), 2);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_entry")]
    pub unsafe fn function_at<F: FnPtr>(&self, offset: usize) -> Result<Function<F, &Self>, Error> {
        let address = self.address_at(offset)?;
        // SAFETY: As in `function`.
        Ok(unsafe { Function::from_parts(address, self) })
    }

    /// Turns the buffer into a function that owns it. This allocates nothing.
    ///
    /// Use it for functions that are stored or sent to other threads. [`Function::shared`] makes the function
    /// cloneable.
    ///
    /// # Safety
    ///
    /// As for [`function`](Self::function).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// let buffer = execbuf::ExecBuffer::new(&[
    ///     0xb8, 42, 0, 0, 0, // mov eax, 42
    ///     0xc3, //              ret
    /// ])?;
    /// // SAFETY: The bytes are a function without arguments that returns a 32-bit integer.
    /// let function = unsafe { buffer.into_function::<extern "C" fn() -> u32>() };
    /// assert_eq!(std::thread::spawn(move || function.call()).join().unwrap(), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_entry")]
    pub unsafe fn into_function<F: FnPtr>(self) -> Function<F, Self> {
        // SAFETY: The caller vouches for the code. The code stays in place while the buffer exists, even if the handle
        // moves.
        unsafe { Function::from_parts(self.as_ptr(), self) }
    }

    /// Turns the buffer into a function that owns it and begins `offset` bytes after the first byte.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`](crate::ErrorKind::OutOfBounds): `offset` is not less than [`len`](Self::len). The buffer is
    /// dropped.
    ///
    /// # Safety
    ///
    /// As for [`function`](Self::function), for the code at `offset`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// let buffer = execbuf::ExecBuffer::new(&[
    ///     42, 0, 0, 0, 0, 0, 0, 0, //       a constant
    ///     0x8b, 0x05, 0xf2, 255, 255, 255, // mov eax, [rip - 14]
    ///     0xc3, //                          ret
    /// ])?;
    /// // SAFETY: A function without arguments that returns a 32-bit integer begins at this offset.
    /// let function = unsafe { buffer.into_function_at::<extern "C" fn() -> u32>(8) }?;
    /// assert_eq!(function.call(), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_entry")]
    pub unsafe fn into_function_at<F: FnPtr>(self, offset: usize) -> Result<Function<F, Self>, Error> {
        let address = self.address_at(offset)?;
        // SAFETY: As in `into_function`.
        Ok(unsafe { Function::from_parts(address, self) })
    }

    /// Returns the function that begins `offset` bytes after the first byte. The handle shares ownership of the buffer,
    /// so functions at several offsets can be stored independently.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`](crate::ErrorKind::OutOfBounds): `offset` is not less than [`len`](Self::len).
    ///
    /// # Safety
    ///
    /// As for [`function`](Self::function), for the code at `offset`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use std::sync::Arc;
    ///
    /// let buffer = Arc::new(execbuf::ExecBuffer::new(&[
    ///     0xb8, 1, 0, 0, 0, // mov eax, 1
    ///     0xc3, //             ret
    ///     0xb8, 2, 0, 0, 0, // mov eax, 2
    ///     0xc3, //             ret
    /// ])?);
    /// // SAFETY: The bytes are two functions without arguments that return 32-bit integers.
    /// let (first, second) = unsafe {
    ///     (
    ///         buffer.shared_function_at::<extern "C" fn() -> u32>(0)?,
    ///         buffer.shared_function_at::<extern "C" fn() -> u32>(6)?,
    ///     )
    /// };
    /// drop((buffer, first));
    /// assert_eq!(second.call(), 2);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_entry")]
    pub unsafe fn shared_function_at<F: FnPtr>(
        self: &Arc<Self>,
        offset: usize,
    ) -> Result<Function<F, Arc<Self>>, Error> {
        let address = self.address_at(offset)?;
        // SAFETY: The caller vouches for the code, which stays in place while the buffer exists. `Arc` gives no `&mut`
        // to the buffer, so nobody can rewrite it while another handle owns it.
        Ok(unsafe { Function::from_parts(address, Arc::clone(self)) })
    }

    /// Returns the address of a byte of the code.
    fn address_at(&self, offset: usize) -> Result<*const u8, Error> {
        if offset >= self.len() {
            return Err(Error::out_of_bounds(c"offset"));
        }
        Ok(self.as_ptr().wrapping_add(offset))
    }
}
