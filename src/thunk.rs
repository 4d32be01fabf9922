//! Function pointers of one ABI for functions of another, and the methods of [`Function`] that make them.

use core::fmt;
use core::ptr;

use crate::abi::{Abi, FnPtr};
use crate::buffer::ExecBuffer;
use crate::error::Error;
use crate::ffi;
use crate::function::Function;
use crate::pool::ExecPool;

/// The owner of a thunk: its code, and the owner `O` of the function that it calls.
///
/// A thunk is a function pointer of one ABI for a function of another ABI, for callers other than Rust. (Rust calls
/// `extern "sysv64"` and `extern "win64"` functions directly on every x86-64 system.) Use thunks for `qsort`, for a
/// callback of the Windows API, or for machine code that calls functions of the system.
///
/// [`Function::to_native`] and its relatives make a `Function<G, Thunk<O>>`. Use [`Function::from_fn`] first if the
/// target is a plain function pointer. If the ABIs are the same, the thunk is the function itself. Otherwise it takes 16
/// or 32 bytes in a pool that all thunks share (a page, where pools have no regions), or in a pool of yours.
///
/// If the signature is known only at run time, use [`DynThunk`](crate::dynamic::DynThunk), which takes it as text:
/// `"d(pid)"`.
///
/// # Unwinding
///
/// Panics, exceptions, `longjmp` and backtraces pass through a thunk, and debuggers know it. In Rust, panics need types
/// such as `extern "C-unwind"` on both sides: a panic that leaves an `extern "C"` function ends the process. About
/// `"win64-unwind"`, see [`FnPtr`].
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::{ExecPool, Function};
///
/// // Code for Windows' convention, called with System V's.
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
/// // A function of this program, for code that calls with Windows' convention.
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
    // Declared, and so dropped, before the owner of what it calls.
    code: Option<ExecBuffer>,
    target: O,
}

impl<O> Thunk<O> {
    /// Returns the thunk's own code, or `None` if the ABIs are the same and the thunk is the function itself.
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

    /// Returns the owner of the function that the thunk calls.
    ///
    /// # Examples
    ///
    /// See [`into_target`](Self::into_target).
    pub fn target(&self) -> &O {
        &self.target
    }

    /// Drops the thunk and returns the owner of the function that it called.
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

/// Shows the thunk's own code.
impl<O> fmt::Debug for Thunk<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thunk").field("code", &self.code).finish_non_exhaustive()
    }
}

impl<F: FnPtr, O> Function<F, O> {
    /// Makes a plain C function pointer for the function, for third parties. The thunk borrows this handle.
    ///
    /// # Errors
    ///
    /// Those of [`ExecPool::publish`].
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
    /// // SAFETY: The bytes are a function with Win64's convention that adds two integers.
    /// let add = unsafe { buffer.function::<extern "win64" fn(u32, u32) -> u32>() };
    /// let thunk = add.to_native()?;
    /// // SAFETY: The pointer is not used after the thunk.
    /// let pointer: extern "C" fn(u32, u32) -> u32 = unsafe { thunk.as_fn() };
    /// assert_eq!(pointer(40, 2), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_thunk_new")]
    pub fn to_native(&self) -> Result<Function<F::Native, Thunk<&O>>, Error> {
        self.by_ref().into_native()
    }

    /// Makes a plain C function pointer for the function, for third parties. The thunk owns this handle's owner.
    ///
    /// # Errors
    ///
    /// Those of [`ExecPool::publish`]. The owner is dropped.
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

    /// Does what [`into_native`](Self::into_native) does, in a pool of yours: near the code that calls it, for example.
    ///
    /// # Errors
    ///
    /// Those of [`ExecPool::publish`]. The owner is dropped.
    ///
    /// # Examples
    ///
    /// See [`into_abi_in`](Self::into_abi_in).
    #[doc(alias = "execbuf_thunk_new")]
    pub fn into_native_in(self, pool: &ExecPool) -> Result<Function<F::Native, Thunk<O>>, Error> {
        self.into_abi_in(pool)
    }

    /// Makes a function pointer of another ABI for the function. `G` is the function's type but for the ABI. The thunk
    /// borrows this handle.
    ///
    /// # Errors
    ///
    /// Those of [`ExecPool::publish`].
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

    /// Makes a function pointer of another ABI for the function. `G` is the function's type but for the ABI. The thunk
    /// owns this handle's owner.
    ///
    /// # Errors
    ///
    /// Those of [`ExecPool::publish`]. The owner is dropped.
    ///
    /// # Examples
    ///
    /// See [`Thunk`].
    #[doc(alias = "execbuf_thunk_new")]
    pub fn into_abi<G: FnPtr<Native = F::Native>>(self) -> Result<Function<G, Thunk<O>>, Error> {
        self.cross(None)
    }

    /// Does what [`into_abi`](Self::into_abi) does, in a pool of yours: near the code that calls it, for example. Use
    /// [`by_ref`](Self::by_ref) first if the thunk is to borrow this handle.
    ///
    /// # Errors
    ///
    /// Those of [`ExecPool::publish`]. The owner is dropped.
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
        // SAFETY: At the entry is a thunk of type `G`, or the function itself if the ABIs are the same. The signatures are
        // the same, or the types would have different `Native`s. The owner keeps both alive. Threads that may have the
        // owner may have `O`, and so may call the function.
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
    // SAFETY: The handle and the report can be written, and the pool lives or is null. The target is only stored. Nobody
    // else has what was just published.
    let code = unsafe {
        ExecBuffer::made_by(|raw, error| {
            ffi::execbuf_thunk_new(pool, raw, signature, caller_abi, callee_abi, target.cast(), error)
        })
    };
    code.map(Some)
}
