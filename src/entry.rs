//! The methods of [`ExecBuffer`] that make functions of its code.

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
    /// You vouch for what nobody can check:
    ///
    /// - The code implements the signature and the ABI of `F`: it takes these arguments and returns this result. If
    ///   [`AbiReturn::ANY_BITS`](crate::AbiReturn::ANY_BITS) of the result is `false`, the result is a valid value of its
    ///   type: a `NonNull` is not null, and a function pointer is one.
    /// - The code keeps the ABI's rules. It preserves the registers that the ABI says are preserved, returns with the
    ///   stack pointer and the direction flag as the ABI says, aligns the stack for its own calls, and uses the red zone
    ///   only where the system has one.
    /// - Whatever the code uses by address (other code, data, callbacks) lives as long as the owner of the handle. Use
    ///   [`Function::and`] to make more things part of the owner.
    /// - Nobody else borrows data that the code writes, and nobody else writes data that the code reads, except as Rust's
    ///   rules for threads allow.
    /// - If `F` is not an `unsafe` function type, calling the code is sound with any arguments, any number of times, from
    ///   any thread, and from several threads at once.
    /// - If `F` is not an `-unwind` type, no panic or exception leaves the code. If it is, an unwinder can find its way
    ///   through the code: unwind tables for it are registered, or it has no frame that would need them.
    /// - No [`rewrite`](Self::rewrite) of this buffer has failed with [`Lost`](crate::ErrorKind::Lost).
    ///
    /// # Examples
    ///
    /// See the [crate's page](crate).
    #[doc(alias = "execbuf_entry")]
    pub unsafe fn function<F: FnPtr>(&self) -> Function<F, &Self> {
        // SAFETY: The caller vouches for the code. It stays in place while `self` is borrowed.
        unsafe { Function::from_parts(self.as_ptr(), self) }
    }

    /// Returns the function that begins `offset` bytes behind the first byte. The handle borrows the buffer.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`](crate::ErrorKind::OutOfBounds): the offset is not less than [`len`](Self::len).
    ///
    /// # Safety
    ///
    /// As for [`function`](Self::function), for the code from that offset on.
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
    /// // SAFETY: A function without arguments that returns a 32-bit integer begins there.
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

    /// Turns the buffer into a function that owns it. Nothing is allocated.
    ///
    /// Use it for functions that are stored, or sent to other threads. Use [`Function::shared`] to get clones.
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
        // SAFETY: The caller vouches for the code. It stays in place while the buffer exists, wherever the handle moves.
        unsafe { Function::from_parts(self.as_ptr(), self) }
    }

    /// Turns the buffer into a function that owns it and begins `offset` bytes behind the first byte.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`](crate::ErrorKind::OutOfBounds): the offset is not less than [`len`](Self::len). The buffer is
    /// dropped.
    ///
    /// # Safety
    ///
    /// As for [`function`](Self::function), for the code from that offset on.
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
    /// // SAFETY: A function without arguments that returns a 32-bit integer begins there.
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

    /// Returns the function that begins `offset` bytes behind the first byte. The handle shares the ownership of the
    /// buffer, so functions at several offsets can be stored independently.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`](crate::ErrorKind::OutOfBounds): the offset is not less than [`len`](Self::len).
    ///
    /// # Safety
    ///
    /// As for [`function`](Self::function), for the code from that offset on.
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
        // SAFETY: The caller vouches for the code. It stays in place while the buffer exists. `Arc` hands out no `&mut`
        // that could rewrite it while another handle owns it.
        Ok(unsafe { Function::from_parts(address, Arc::clone(self)) })
    }

    /// The address of a byte of the code.
    fn address_at(&self, offset: usize) -> Result<*const u8, Error> {
        if offset >= self.len() {
            return Err(Error::out_of_bounds(c"offset"));
        }
        Ok(self.as_ptr().wrapping_add(offset))
    }
}
