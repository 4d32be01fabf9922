//! Functions whose signature is known only at run time.

use core::fmt;

use crate::abi::{Abi, FnPtr, Signature};
use crate::buffer::ExecBuffer;
use crate::error::Error;
use crate::function::Function;
use crate::pool::ExecPool;
use crate::thunk;

/// A [`Thunk`](crate::Thunk) whose signature is known only at run time, and what owns the function that it calls.
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
/// // SAFETY: The function has this signature and lives for ever.
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
    // Declared, and so dropped, before the owner of what it calls.
    code: Option<ExecBuffer>,
    owner: O,
}

// SAFETY: The entry is only an address. Whoever makes a `Function` of it vouches that any thread may call the code which
// may have the owner.
unsafe impl<O: Send> Send for DynThunk<O> {}
// SAFETY: As above. Nothing changes through `&self`.
unsafe impl<O: Sync> Sync for DynThunk<O> {}

impl DynThunk {
    /// Begins a thunk for functions of a signature.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn builder(signature: &Signature) -> DynThunkBuilder<'_> {
        DynThunkBuilder { signature, caller_abi: Abi::NATIVE, callee_abi: Abi::NATIVE, pool: None }
    }

    /// Gives the thunk an owner of the function that it calls.
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
    /// Returns the address to call, with the signature and the caller's ABI that the thunk was made for.
    ///
    /// # Examples
    ///
    /// See [`caller_abi`](Self::caller_abi).
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.entry
    }

    /// Returns the signature.
    ///
    /// # Examples
    ///
    /// See [`caller_abi`](Self::caller_abi).
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Returns the ABI that callers use.
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

    /// Returns the owner of the function that the thunk calls.
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
    /// The thunk of a variadic function is not variadic itself: it takes the arguments of its signature. If the ABIs are
    /// the same, there is only the variadic function, and no [`FnPtr`] is its type.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch): `F` has another signature than the thunk, or another ABI than its
    /// callers, or the signature is variadic and the ABIs are the same.
    ///
    /// # Safety
    ///
    /// - As for [`ExecBuffer::function`], for the function that the thunk calls, with the signature and the callee's ABI
    ///   that the thunk was made for.
    /// - That function lives as long as the thunk, or as its owner.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub unsafe fn function<F: FnPtr>(&self) -> Result<Function<F, &Self>, Error> {
        self.check::<F>()?;
        // SAFETY: At the entry is a thunk of this type, or the target itself, for which the caller vouches. It is there
        // while `self` is borrowed.
        Ok(unsafe { Function::from_parts(self.entry, self) })
    }

    /// Returns a typed handle that owns the thunk.
    ///
    /// # Errors
    ///
    /// As for [`function`](Self::function). The thunk is dropped.
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

    /// Whether the thunk can be called as `F`.
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

/// Shows the address and what the thunk is for.
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

/// Makes [`DynThunk`]s. Both ABIs are [`Abi::NATIVE`] unless they are set.
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
    pub fn caller_abi(mut self, abi: Abi) -> Self {
        self.caller_abi = abi;
        self
    }

    /// Sets the ABI of the function that the thunk calls.
    pub fn callee_abi(mut self, abi: Abi) -> Self {
        self.callee_abi = abi;
        self
    }

    /// Sets the pool for the thunk's code. Otherwise it is in a pool that all thunks share.
    pub fn pool(mut self, pool: &'a ExecPool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Makes a thunk for a function. Making it is safe because calling it is not: see [`DynThunk::function`].
    ///
    /// # Errors
    ///
    /// - [`Null`](crate::ErrorKind::Null): `target` is null.
    /// - [`Abi`](crate::ErrorKind::Abi): the ABIs differ, and this machine lacks one of them.
    /// - Those of [`ExecPool::publish`].
    #[doc(alias = "execbuf_thunk_new")]
    pub fn build(&self, target: *const u8) -> Result<DynThunk, Error> {
        if target.is_null() {
            return Err(Error::null(c"target"));
        }
        let code = self
            .signature
            .with_raw(|signature| thunk::code(self.pool, signature, self.caller_abi, self.callee_abi, target))?;
        Ok(DynThunk {
            entry: code.as_ref().map_or(target, ExecBuffer::as_ptr),
            signature: self.signature.clone(),
            caller_abi: self.caller_abi,
            code,
            owner: (),
        })
    }
}
