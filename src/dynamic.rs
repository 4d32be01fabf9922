//! Calls, closures and thunks of functions whose signature is known only at run time.
//!
//! A [`Caller`] calls functions of a [`Signature`] that may have been parsed from text, with arguments that are set one by
//! one ([`Args`]). A [`DynClosure`] is such a function, and runs a Rust closure that answers each [`Invocation`]. A
//! [`DynThunk`] converts between calling conventions.

use core::fmt;

use crate::abi::{Abi, FnPtr, Signature};
use crate::buffer::ExecBuffer;
use crate::error::Error;
use crate::function::Function;
use crate::pool::ExecPool;
use crate::thunk;

mod args;
mod caller;
mod closure;
mod invocation;
mod values;

pub use args::Args;
pub use caller::Caller;
pub use closure::DynClosure;
pub use invocation::Invocation;

/// A thunk whose signature is known only at run time, and the owner of its target.
///
/// It does for a [`Signature`] value what [`Thunk`](crate::Thunk) does for a function pointer type. The target is the
/// function that the thunk calls.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::dynamic::DynThunk;
/// use execbuf::{Abi, Signature};
///
/// extern "sysv64" fn scale(number: u64, factor: f64) -> u64 {
///     (number as f64 * factor) as u64
/// }
///
/// let signature: Signature = "L(Ld)".parse()?;
/// let thunk = DynThunk::builder(&signature)
///     .caller_abi(Abi::Win64)
///     .callee_abi(Abi::SysV64)
///     .build(scale as *const u8)?;
/// // SAFETY: The function has this signature and is never freed.
/// let function = unsafe { thunk.function::<extern "win64" fn(u64, f64) -> u64>() }?;
/// assert_eq!(function.call(28, 1.5), 42);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use]
pub struct DynThunk<O = ()> {
    entry: *const u8,
    signature: Signature,
    caller_abi: Abi,
    // Declared before `owner`, and therefore dropped first: the thunk calls what `owner` owns.
    code: Option<ExecBuffer>,
    owner: O,
}

// SAFETY: The entry is only an address. The caller of `function` guarantees that every thread that may have the owner
// may call the code.
unsafe impl<O: Send> Send for DynThunk<O> {}
// SAFETY: As above. No method changes anything through `&self`.
unsafe impl<O: Sync> Sync for DynThunk<O> {}

impl DynThunk {
    /// Returns a builder of thunks for functions with a signature.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn builder(signature: &Signature) -> DynThunkBuilder<'_> {
        DynThunkBuilder { signature, caller_abi: Abi::NATIVE, callee_abi: Abi::NATIVE, pool: None }
    }

    /// Attaches an owner that keeps the target alive.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::dynamic::DynThunk;
    /// use execbuf::{Abi, ExecBuffer};
    ///
    /// let add = ExecBuffer::new(&[
    ///     0x48, 0x8d, 0x04, 0x11, // lea rax, [rcx + rdx]
    ///     0xc3, //                   ret
    /// ])?;
    /// let signature = "L(LL)".parse()?;
    /// let builder = DynThunk::builder(&signature).caller_abi(Abi::SysV64).callee_abi(Abi::Win64);
    /// let thunk = builder.build(add.as_ptr())?.with_owner(add);
    /// // SAFETY: The bytes are a function with Win64's convention and this signature.
    /// let function = unsafe { thunk.into_function::<extern "sysv64" fn(u64, u64) -> u64>() }?;
    /// assert_eq!(function.call(40, 2), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn with_owner<O>(self, owner: O) -> DynThunk<O> {
        let Self { entry, signature, caller_abi, code, owner: () } = self;
        DynThunk { entry, signature, caller_abi, code, owner }
    }
}

impl<O> DynThunk<O> {
    /// Returns the address of the thunk. Call it with the thunk's [`signature`](Self::signature) and
    /// [`caller_abi`](Self::caller_abi).
    ///
    /// # Examples
    ///
    /// See [`caller_abi`](Self::caller_abi).
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.entry
    }

    /// Returns the signature of the thunk and of its target.
    ///
    /// # Examples
    ///
    /// See [`caller_abi`](Self::caller_abi).
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Returns the ABI that callers of the thunk use.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{Abi, dynamic::DynThunk};
    ///
    /// extern "C" fn nothing() {}
    ///
    /// let thunk = DynThunk::builder(&"v()".parse()?).build(nothing as *const u8)?;
    /// assert_eq!(thunk.caller_abi(), Abi::NATIVE);
    /// assert_eq!(thunk.signature().to_string(), "v()");
    /// assert_eq!(thunk.as_ptr(), nothing as *const u8); // the ABIs are the same
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn caller_abi(&self) -> Abi {
        self.caller_abi
    }

    /// Returns the owner of the target.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecBuffer, dynamic::DynThunk};
    ///
    /// let buffer = ExecBuffer::new(&[0xc3])?; // x86: ret
    /// let thunk = DynThunk::builder(&"v()".parse()?).build(buffer.as_ptr())?.with_owner(buffer);
    /// assert_eq!(thunk.owner().len(), 1);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn owner(&self) -> &O {
        &self.owner
    }

    /// Returns a typed handle that borrows the thunk.
    ///
    /// The thunk of a variadic target is not variadic: it takes exactly the arguments of its signature. If the two ABIs
    /// are the same, no code is made and the thunk is the variadic target itself, which no [`FnPtr`] type describes.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch): the signature of `F` is not the thunk's, the ABI of `F` is not
    /// [`caller_abi`](Self::caller_abi), or the signature is variadic and the two ABIs are the same.
    ///
    /// # Safety
    ///
    /// - The target meets the conditions of [`ExecBuffer::function`], with the thunk's signature and the callee's ABI.
    /// - The target exists, unchanged, as long as the thunk.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub unsafe fn function<F: FnPtr>(&self) -> Result<Function<F, &Self>, Error> {
        self.check::<F>()?;
        // SAFETY: The entry is a thunk of this type, or the target itself, for which the caller vouches. It exists
        // while `self` is borrowed.
        Ok(unsafe { Function::from_parts(self.entry, self) })
    }

    /// Returns a typed handle that owns the thunk.
    ///
    /// # Errors
    ///
    /// As for [`function`](Self::function). On failure, the thunk and its owner are dropped.
    ///
    /// # Safety
    ///
    /// As for [`function`](Self::function).
    ///
    /// # Examples
    ///
    /// See [`with_owner`](DynThunk::with_owner).
    pub unsafe fn into_function<F: FnPtr>(self) -> Result<Function<F, Self>, Error> {
        self.check::<F>()?;
        // SAFETY: As in `function`. The handle owns the thunk.
        Ok(unsafe { Function::from_parts(self.entry, self) })
    }

    /// Checks that the thunk can be called as `F`.
    fn check<F: FnPtr>(&self) -> Result<(), Error> {
        let signature = F::SIGNATURE;
        if signature.result() != self.signature.result() || signature.arguments() != self.signature.arguments() {
            return Err(Error::mismatch("signature"));
        }
        if F::ABI != self.caller_abi {
            return Err(Error::mismatch("ABI"));
        }
        if self.code.is_none() && self.signature.fixed().is_some() {
            return Err(Error::mismatch("\"...\""));
        }
        Ok(())
    }
}

/// Formats the address, the signature, the caller's ABI and the code.
impl<O> fmt::Debug for DynThunk<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynThunk")
            .field("entry", &self.entry)
            .field("signature", &self.signature)
            .field("caller_abi", &self.caller_abi)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// A builder of [`DynThunk`]s. Both ABIs default to [`Abi::NATIVE`].
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::dynamic::DynThunk;
/// use execbuf::{Abi, ExecPool};
///
/// extern "sysv64" fn negate(number: i32) -> i32 {
///     -number
/// }
///
/// let pool = ExecPool::new()?;
/// let signature = "i(i)".parse()?;
/// let builder = DynThunk::builder(&signature).caller_abi(Abi::Win64).callee_abi(Abi::SysV64).pool(&pool);
/// let thunk = builder.build(negate as *const u8)?;
/// assert!(pool.lookup(thunk.as_ptr()).is_some());
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "this makes no thunk before `build`"]
pub struct DynThunkBuilder<'a> {
    signature: &'a Signature,
    caller_abi: Abi,
    callee_abi: Abi,
    pool: Option<&'a ExecPool>,
}

impl<'a> DynThunkBuilder<'a> {
    /// Sets the ABI that callers of the thunk use.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn caller_abi(mut self, abi: Abi) -> Self {
        self.caller_abi = abi;
        self
    }

    /// Sets the ABI of the target.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn callee_abi(mut self, abi: Abi) -> Self {
        self.callee_abi = abi;
        self
    }

    /// Sets the pool that holds the thunk's code. By default, all thunks share a pool of the library.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn pool(mut self, pool: &'a ExecPool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Makes a thunk for the function at `target`. This is safe because nothing calls the function yet; the obligations
    /// are those of [`DynThunk::function`].
    ///
    /// # Errors
    ///
    /// - [`Null`](crate::ErrorKind::Null): `target` is null.
    /// - [`Abi`](crate::ErrorKind::Abi): the ABIs differ, and this architecture does not have both of them.
    /// - The errors of [`ExecPool::publish`].
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[doc(alias = "execbuf_thunk_new")]
    pub fn build(&self, target: *const u8) -> Result<DynThunk, Error> {
        if target.is_null() {
            return Err(Error::null(c"target"));
        }
        // Whether `code` makes an adapter, and what `function` accepts, depends on a comparison of the two.
        let (caller_abi, callee_abi) = (self.caller_abi.resolve(), self.callee_abi.resolve());
        let code = self
            .signature
            .with_raw(|signature| thunk::code(self.pool, signature, caller_abi, callee_abi, target))?;
        Ok(DynThunk {
            entry: code.as_ref().map_or(target, ExecBuffer::as_ptr),
            signature: self.signature.clone(),
            caller_abi,
            code,
            owner: (),
        })
    }
}
