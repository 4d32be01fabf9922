//! Function pointers of one ABI for functions of another.

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::ptr;

use crate::buffer::ExecBuffer;
use crate::error::Error;
use crate::ffi;
use crate::fn_ptr::FnPtr;
use crate::function::{Function, OwnedFunction};
use crate::signature::{Abi, Signature};

/// A function pointer of type `F` for a function with the same signature and another ABI: for third parties, who call
/// by their own.
///
/// Rust needs none: it calls `extern "sysv64"` and `extern "win64"` functions as they are, on every x86-64 system. A
/// thunk is for `qsort`, for a callback of the Windows API, for code at run time that calls functions of the system.
///
/// It is made by [`Function::to_native`] and its like, or of a plain function pointer by [`Thunk::new`]. If the ABI is
/// the same, it is the function itself. It takes 16 or 32 bytes in a pool that all thunks share (where pools have no
/// regions, a page), and a call costs what crossing costs where a compiler writes it, and a few instructions.
///
/// What it calls lives as long: it borrows a [`Function`]'s buffer, and owns an [`OwnedFunction`]'s.
///
/// # Unwinding
///
/// Panics, exceptions, `longjmp` and backtraces pass through a thunk, and debuggers know it. In Rust that takes types
/// such as `extern "C-unwind"` on both sides: a panic that leaves an `extern "C"` function ends the process.
///
/// Outside of Windows, a frame that itself calls by Win64's convention must not catch what came through that call, nor
/// drop anything on the way: no unwinder there restores `rdi`, `rsi` and `xmm6` to `xmm15`, which its compiler believes
/// to be preserved (rust-lang/rust#144371). Frames further out are right.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::{ExecPool, Thunk};
///
/// // Code for Windows' convention, called with System V's.
/// let pool = ExecPool::new()?;
/// let buffer = pool.publish(&[
///     0x48, 0x8d, 0x04, 0x11, // lea rax, [rcx + rdx]
///     0xc3, //                   ret
/// ])?;
/// // SAFETY: The bytes are such a function.
/// let add = unsafe { buffer.into_function::<extern "win64" fn(u64, u64) -> u64>() };
/// let thunk = add.to::<extern "sysv64" fn(u64, u64) -> u64>()?;
/// drop(add); // the thunk owns the code, too
/// assert_eq!(thunk.call(40, 2), 42);
///
/// // A function of this program, for code that calls with Windows' convention.
/// extern "sysv64" fn double(number: u64) -> u64 {
///     2 * number
/// }
/// let thunk = Thunk::<extern "win64" fn(u64) -> u64>::new(double as extern "sysv64" fn(u64) -> u64)?;
/// assert_eq!(thunk.call(21), 42);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
///
/// It can't outlive what it borrows:
///
/// ```compile_fail,E0505
/// # use execbuf::ExecBuffer;
/// let buffer = ExecBuffer::new(&[0xc3]).unwrap();
/// let thunk = unsafe { buffer.function::<extern "C" fn()>() }.to_native().unwrap();
/// drop(buffer);
/// thunk.call();
/// ```
#[must_use]
pub struct Thunk<'a, F: FnPtr> {
    pointer: F,
    /// The code, if it is more than the function itself.
    code: Option<ExecBuffer>,
    /// What it calls, if that is ours. Dropped after the code.
    _target: Option<Arc<ExecBuffer>>,
    _borrowed: PhantomData<&'a ExecBuffer>,
}

impl<F: FnPtr> Thunk<'static, F> {
    /// A thunk for a plain function pointer.
    ///
    /// # Errors
    ///
    /// Those of [`ExecPool::publish`](crate::ExecPool::publish).
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn new<G: FnPtr<Native = F::Native>>(function: G) -> Result<Self, Error> {
        Self::of(function, None)
    }
}

impl<F: FnPtr> Thunk<'_, F> {
    /// A thunk for a function that lives as long as the lifetime that the caller gives it, or in the buffer.
    pub(crate) fn of<G: FnPtr<Native = F::Native>>(
        function: G,
        target: Option<Arc<ExecBuffer>>,
    ) -> Result<Self, Error> {
        let address = function.address();
        let code = cross(&const { F::SIGNATURE.raw() }, F::ABI, G::ABI, address)?;
        let entry = code.as_ref().map_or(address, ExecBuffer::as_ptr);
        // SAFETY: At the entry there is the function itself, which then has this ABI, or a thunk with this ABI; and the
        // signatures are the same, or there would be two different `Native`s.
        let pointer = unsafe { F::from_address(entry) };
        Ok(Self { pointer, code, _target: target, _borrowed: PhantomData })
    }

    #[inline]
    pub(crate) fn pointer(&self) -> F {
        self.pointer
    }

    /// The function pointer itself.
    ///
    /// # Safety
    ///
    /// Nobody calls it after the thunk is dropped.
    ///
    /// # Examples
    ///
    /// See [`Function::to_native`].
    pub unsafe fn as_fn(&self) -> F {
        self.pointer
    }

    /// The address of the thunk, for printing and comparing.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.pointer.address()
    }

    /// The thunk as a handle that borrows it.
    pub fn function(&self) -> Function<'_, F> {
        // SAFETY: There is a function of this type, and it stays there while the handle borrows the thunk.
        unsafe { Function::new(self.as_ptr()) }
    }
}

/// Shows the address and the thunk's own code, if it has any.
impl<F: FnPtr> fmt::Debug for Thunk<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thunk").field("pointer", &self.as_ptr()).field("code", &self.code).finish()
    }
}

/// The code of a thunk, or `None` if the ABIs are the same.
#[inline]
fn cross(
    signature: &ffi::execbuf_signature,
    entered: Abi,
    abi: Abi,
    target: *const u8,
) -> Result<Option<ExecBuffer>, Error> {
    if entered == abi {
        return Ok(None);
    }
    let (entered, abi, pool) = (entered.raw(), abi.raw(), ptr::null_mut());
    // SAFETY: The handle and the report can be written; the pool may be null; the target is only stored; what was just
    // published nobody else has.
    let code = unsafe {
        ExecBuffer::made_by(|raw, error| {
            ffi::execbuf_thunk_new(raw, pool, signature, entered, abi, target.cast(), error)
        })
    };
    code.map(Some)
}

/// A thunk whose signature is known at run time only.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::{Abi, DynThunk, Signature};
///
/// extern "sysv64" fn scale(number: u64, factor: f64) -> u64 {
///     (number as f64 * factor) as u64
/// }
/// let signature: Signature = "L(Ld)".parse()?;
/// let thunk = DynThunk::new(&signature, Abi::Win64, Abi::SysV64, scale as *const u8)?;
/// // SAFETY: The function has this signature, and so has the thunk.
/// let function = unsafe { thunk.function::<extern "win64" fn(u64, f64) -> u64>() }?;
/// assert_eq!(function.call(28, 1.5), 42);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use]
pub struct DynThunk {
    entry: *const u8,
    signature: Signature,
    entered: Abi,
    code: Option<ExecBuffer>,
    /// What it calls, if that is ours. Dropped after the code.
    target: Option<Arc<ExecBuffer>>,
}

// SAFETY: The entry is an address of code, which any thread may call, if the caller's promise says so.
unsafe impl Send for DynThunk {}
// SAFETY: As above; nothing changes.
unsafe impl Sync for DynThunk {}

impl DynThunk {
    /// A thunk that is called by the ABI `entered` and calls the target by `abi`. Calling it takes `unsafe`; the target
    /// has to live until then.
    ///
    /// # Errors
    ///
    /// - [`Null`](crate::ErrorKind::Null): there is no target.
    /// - [`Abi`](crate::ErrorKind::Abi): the ABIs differ, and this machine lacks one of them.
    /// - Those of [`ExecPool::publish`](crate::ExecPool::publish).
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn new(signature: &Signature, entered: Abi, abi: Abi, target: *const u8) -> Result<Self, Error> {
        if target.is_null() {
            return Err(Error::null(c"target"));
        }
        let code = cross(&signature.raw(), entered, abi, target)?;
        let entry = code.as_ref().map_or(target, ExecBuffer::as_ptr);
        Ok(Self { entry, signature: *signature, entered, code, target: None })
    }

    /// As [`new`](Self::new) for a function in a buffer, which the thunk then owns, too. `G` may be any type: what
    /// counts are the signature and the ABI that are given.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::{Abi, DynThunk, ExecBuffer};
    ///
    /// let buffer = ExecBuffer::new(&[
    ///     0x48, 0x8d, 0x04, 0x11, // lea rax, [rcx + rdx]
    ///     0xc3, //                   ret
    /// ])?;
    /// // SAFETY: It is not called by this type.
    /// let add = unsafe { buffer.into_function::<unsafe extern "C" fn()>() };
    /// let thunk = DynThunk::owning(&"L(LL)".parse()?, Abi::SysV64, Abi::Win64, &add)?;
    /// drop(add);
    /// // SAFETY: The bytes are a function by Win64's convention with this signature.
    /// let function = unsafe { thunk.function::<extern "sysv64" fn(u64, u64) -> u64>() }?;
    /// assert_eq!(function.call(40, 2), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn owning<G: FnPtr>(
        signature: &Signature,
        entered: Abi,
        abi: Abi,
        target: &OwnedFunction<G>,
    ) -> Result<Self, Error> {
        let mut thunk = Self::new(signature, entered, abi, target.as_ptr())?;
        thunk.target = Some(target.shared_buffer());
        Ok(thunk)
    }

    /// The address to be called, with the signature and the ABI that the thunk was made for, while it lives.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.entry
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The ABI that it is called by.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.entered
    }

    /// The thunk as a typed handle that borrows it. If the target is variadic, the thunk is not: it takes the arguments of
    /// its signature. But where the ABIs are the same, there is only the target, and no type here for that.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch): `F` has another signature, or another ABI than the thunk is called by.
    ///
    /// # Safety
    ///
    /// As for [`ExecBuffer::function`], of the target: it has the signature and the ABI that the thunk was made for, and
    /// lives as long as the handle is used.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub unsafe fn function<F: FnPtr>(&self) -> Result<Function<'_, F>, Error> {
        if F::SIGNATURE.result() != self.signature.result()
            || F::SIGNATURE.arguments() != self.signature.arguments()
        {
            return Err(Error::mismatch("signature"));
        }
        if F::ABI != self.entered {
            return Err(Error::mismatch("ABI"));
        }
        if self.code.is_none() && self.signature.fixed().is_some() {
            return Err(Error::mismatch("\"...\""));
        }
        // SAFETY: There is a thunk of this type, or the target itself, for which the caller vouches; and it stays there
        // while the handle borrows `self`.
        Ok(unsafe { Function::new(self.entry) })
    }
}

/// Shows the address and what the thunk is for.
impl fmt::Debug for DynThunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynThunk")
            .field("entry", &self.entry)
            .field("signature", &self.signature)
            .field("entered", &self.entered)
            .field("code", &self.code)
            .field("target", &self.target)
            .finish()
    }
}
