//! Thunks, and the methods of [`Function`] that make them.

use core::fmt;
use core::ptr;

use crate::abi::{Abi, FnPtr};
use crate::buffer::ExecBuffer;
use crate::error::Error;
use crate::ffi;
use crate::function::Function;
use crate::pool::ExecPool;

/// The code of a thunk, and the owner `O` of the function that it calls, its target.
///
/// A thunk is called with one ABI and calls its target with another. It is for callers other than Rust, such as the C
/// library's `qsort` or the Windows API, and for machine code that calls functions of the system. (Rust itself calls
/// `extern "sysv64"` and `extern "win64"` functions directly on every x86-64 system.)
///
/// [`Function::to_native`], [`Function::to_abi`] and their variants return a `Function<G, Thunk<O>>`. Use
/// [`Function::from_fn`] first if the target is a plain function pointer. If the two ABIs are the same, no code is made
/// and the thunk is the target itself. Otherwise it takes 16 or 32 bytes in a pool (a page, where pools have no
/// regions). By default, all thunks share a pool of the library.
///
/// If the signature is known only at run time, use [`DynThunk`](crate::dynamic::DynThunk), which takes it as text:
/// `"d(pid)"`.
///
/// # Unwinding
///
/// Panics, exceptions, `longjmp` and backtraces pass through a thunk, and gdb shows its name. In Rust, a panic can only
/// pass if both types are `-unwind` types, such as `extern "C-unwind"`: a panic that leaves an `extern "C"` function
/// aborts the process. [`FnPtr`] explains `"win64-unwind"`.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::{ExecPool, Function};
///
/// // Code with the Win64 convention, called with the System V convention.
/// let pool = ExecPool::new()?;
/// let buffer = pool.publish(&[
///     0x48, 0x8d, 0x04, 0x11, // lea rax, [rcx + rdx]
///     0xc3, //                   ret
/// ])?;
/// // SAFETY: The bytes are such a function.
/// let add = unsafe { buffer.into_function::<extern "win64" fn(u64, u64) -> u64>() };
/// let thunk = add.into_abi::<extern "sysv64" fn(u64, u64) -> u64>()?; // owns the code, too
/// assert_eq!(thunk.call(40, 2), 42);
///
/// // A function of this program, for code that calls with the Win64 convention.
/// extern "sysv64" fn double(number: u64) -> u64 {
///     2 * number
/// }
/// let double = Function::from_fn(double as extern "sysv64" fn(u64) -> u64);
/// let thunk = double.into_abi::<extern "win64" fn(u64) -> u64>()?;
/// assert_eq!(thunk.call(21), 42);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use]
pub struct Thunk<O> {
    // Declared before `target`, and therefore dropped first: the thunk calls what `target` owns.
    code: Option<ExecBuffer>,
    target: O,
}

impl<O> Thunk<O> {
    /// Returns the code of the thunk, or `None` if the ABIs are the same and the thunk is the target itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::Function;
    ///
    /// extern "C" fn nothing() {}
    ///
    /// let thunk = Function::from_fn(nothing as extern "C" fn()).into_native()?;
    /// assert!(thunk.owner().code().is_none());
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn code(&self) -> Option<&ExecBuffer> {
        self.code.as_ref()
    }

    /// Returns the owner of the target.
    ///
    /// # Examples
    ///
    /// See [`into_target`](Self::into_target).
    pub fn target(&self) -> &O {
        &self.target
    }

    /// Drops the thunk and returns the owner of the target.
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?; // x86: ret
    /// // SAFETY: Nothing is called.
    /// let thunk = unsafe { buffer.into_function::<extern "C" fn()>() }.into_native()?;
    /// assert_eq!(thunk.owner().target().len(), 1);
    /// let mut buffer = thunk.into_owner().into_target();
    /// buffer.rewrite(0, &[0xcc])?;
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn into_target(self) -> O {
        self.target
    }
}

/// Formats the code of the thunk.
impl<O> fmt::Debug for Thunk<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thunk").field("code", &self.code).finish_non_exhaustive()
    }
}

impl<F: FnPtr, O> Function<F, O> {
    /// Makes a thunk with the C convention of this target, for APIs that take a C function pointer. The thunk borrows
    /// this handle.
    ///
    /// # Errors
    ///
    /// The errors of [`ExecPool::publish`].
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
    /// // SAFETY: The bytes are a Win64 function that adds two integers.
    /// let add = unsafe { buffer.function::<extern "win64" fn(u32, u32) -> u32>() };
    /// let thunk = add.to_native()?;
    /// // SAFETY: The pointer is not used after the thunk is dropped.
    /// let pointer: extern "C" fn(u32, u32) -> u32 = unsafe { thunk.as_fn() };
    /// assert_eq!(pointer(40, 2), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_thunk_new")]
    pub fn to_native(&self) -> Result<Function<F::Native, Thunk<&O>>, Error> {
        self.by_ref().into_native()
    }

    /// Makes a thunk with the C convention of this target, for APIs that take a C function pointer. The thunk owns this
    /// handle's owner.
    ///
    /// # Errors
    ///
    /// The errors of [`ExecPool::publish`]. On failure, the owner is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::{ExecBuffer, Function, Thunk};
    ///
    /// struct Callback {
    ///     function: Function<extern "C" fn(u32) -> u32, Thunk<ExecBuffer>>,
    /// }
    ///
    /// let buffer = ExecBuffer::new(&[0x8d, 0x41, 1, 0xc3])?; // lea eax, [rcx + 1]; ret
    /// // SAFETY: The bytes are such a function.
    /// let increment = unsafe { buffer.into_function::<extern "win64" fn(u32) -> u32>() };
    /// let callback = Callback { function: increment.into_native()? };
    /// assert_eq!(callback.function.call(41), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_thunk_new")]
    pub fn into_native(self) -> Result<Function<F::Native, Thunk<O>>, Error> {
        self.into_abi()
    }

    /// Makes a thunk like [`into_native`](Self::into_native), in the given pool.
    ///
    /// # Errors
    ///
    /// The errors of [`ExecPool::publish`]. On failure, the owner is dropped.
    ///
    /// # Examples
    ///
    /// See [`into_abi_in`](Self::into_abi_in).
    #[doc(alias = "execbuf_thunk_new")]
    pub fn into_native_in(self, pool: &ExecPool) -> Result<Function<F::Native, Thunk<O>>, Error> {
        self.into_abi_in(pool)
    }

    /// Makes a thunk with another ABI. `G` is the function's type with that ABI. The thunk borrows this handle.
    ///
    /// # Errors
    ///
    /// The errors of [`ExecPool::publish`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// let buffer = execbuf::ExecBuffer::new(&[0x8d, 0x47, 1, 0xc3])?; // lea eax, [rdi + 1]; ret
    /// // SAFETY: The bytes are such a function.
    /// let increment = unsafe { buffer.function::<extern "sysv64" fn(u32) -> u32>() };
    /// let thunk = increment.to_abi::<extern "win64" fn(u32) -> u32>()?;
    /// assert_eq!(thunk.call(41), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_thunk_new")]
    pub fn to_abi<G: FnPtr<Native = F::Native>>(&self) -> Result<Function<G, Thunk<&O>>, Error> {
        self.by_ref().into_abi()
    }

    /// Makes a thunk with another ABI. `G` is the function's type with that ABI. The thunk owns this handle's owner.
    ///
    /// # Errors
    ///
    /// The errors of [`ExecPool::publish`]. On failure, the owner is dropped.
    ///
    /// # Examples
    ///
    /// See [`Thunk`].
    #[doc(alias = "execbuf_thunk_new")]
    pub fn into_abi<G: FnPtr<Native = F::Native>>(self) -> Result<Function<G, Thunk<O>>, Error> {
        self.cross(None)
    }

    /// Makes a thunk like [`into_abi`](Self::into_abi), in the given pool, such as a pool near the code that calls the
    /// thunk. To make a thunk that borrows this handle, call it on [`by_ref`](Self::by_ref).
    ///
    /// # Errors
    ///
    /// The errors of [`ExecPool::publish`]. On failure, the owner is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::{ExecPool, Function};
    ///
    /// extern "sysv64" fn double(number: u64) -> u64 {
    ///     2 * number
    /// }
    ///
    /// let pool = ExecPool::new()?;
    /// let double = Function::from_fn(double as extern "sysv64" fn(u64) -> u64);
    /// let thunk = double.into_abi_in::<extern "win64" fn(u64) -> u64>(&pool)?;
    /// assert!(pool.lookup(thunk.as_ptr()).is_some());
    /// assert_eq!(thunk.call(21), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_thunk_new")]
    pub fn into_abi_in<G: FnPtr<Native = F::Native>>(
        self,
        pool: &ExecPool,
    ) -> Result<Function<G, Thunk<O>>, Error> {
        self.cross(Some(pool))
    }

    fn cross<G: FnPtr<Native = F::Native>>(self, pool: Option<&ExecPool>) -> Result<Function<G, Thunk<O>>, Error> {
        let target = self.as_ptr();
        let code = code(pool, G::RAW_SIGNATURE, G::ABI, F::ABI, target)?;
        let entry = code.as_ref().map_or(target, ExecBuffer::as_ptr);
        let owner = Thunk { code, target: self.into_owner() };
        // SAFETY: At the entry is a thunk of type `G`, or the function itself if the ABIs are the same. The signatures
        // are the same, or the types would have different `Native`s. The owner keeps both alive. Threads that may have
        // the owner may have `O`, and so may call the function.
        Ok(unsafe { Function::from_parts(entry, owner) })
    }
}

/// The code of a thunk, in a pool or in the one that all thunks share. `None` if the ABIs are the same.
#[inline]
pub(crate) fn code(
    pool: Option<&ExecPool>,
    signature: &ffi::execbuf_signature,
    caller_abi: Abi,
    callee_abi: Abi,
    target: *const u8,
) -> Result<Option<ExecBuffer>, Error> {
    if caller_abi == callee_abi {
        return Ok(None);
    }
    let (caller_abi, callee_abi) = (caller_abi.raw(), callee_abi.raw());
    let pool = pool.map_or(ptr::null_mut(), ExecPool::as_raw);
    // SAFETY: The handle and the report are writable, and the pool exists or is null. The target is only stored.
    // Nobody else has what was just published.
    let code = unsafe {
        ExecBuffer::made_by(|raw, error| {
            ffi::execbuf_thunk_new(pool, raw, signature, caller_abi, callee_abi, target.cast(), error)
        })
    };
    code.map(Some)
}
