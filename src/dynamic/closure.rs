//! Closures whose signature is known only at run time.

use alloc::vec::Vec;
use core::ffi::c_void;
use core::fmt;
use core::ptr::{self, NonNull};

use super::invocation::Invocation;
use super::values::Value;
use crate::abi::{Abi, AbiReturn, FnPtr, Signature};
use crate::closure::{Bound, Owned};
use crate::error::Error;
use crate::ffi;
use crate::function::Function;

/// A closure as a C function pointer whose signature is known only at run time.
///
/// It does for a [`Signature`] value, which may have been parsed from text, what [`Closure`](crate::Closure) does for a
/// function pointer type: the bindings of an interpreter give it to a C library that wants a callback. A call runs the
/// handler, which reads the arguments and sets the result by an [`Invocation`].
///
/// The function takes its memory from a pool of the library: 32 bytes. The handler is in a box. Closures whose arguments are
/// moved alike share machine code. It is freed when this is dropped. There may be millions.
///
/// A panic of the handler aborts the process, as in every `extern "C"` function. `DynClosure` is `Send` and `Sync`, because
/// the handler has to be, and borrows what that borrows.
///
/// # Unwinding
///
/// Backtraces pass through a call, and gdb shows its code as `execbuf_closure_sysv64` or `execbuf_closure_win64`.
///
/// # Examples
///
/// ```
/// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
/// use execbuf::Abi;
/// use execbuf::dynamic::DynClosure;
///
/// let factor = 2.0;
/// let closure = DynClosure::new(&"d(di)".parse()?, Abi::NATIVE, |call| {
///     let number: f64 = call.arg(0).expect("a double");
///     let shift: i32 = call.arg(1).expect("an int");
///     call.set_result(factor * number + f64::from(shift)).expect("a double");
/// })?;
///
/// // A C function that takes a callback gets `closure.as_ptr()`. Rust calls it by its type:
/// let function = closure.function::<extern "C" fn(f64, i32) -> f64>()?;
/// assert_eq!(function.call(20.0, 2), 42.0);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use = "C has no function to call once it is dropped"]
#[doc(alias = "execbuf_closure_new")]
pub struct DynClosure<'a> {
    abi: Abi,
    owned: Owned<Context<Handler<'a>>>,
}

/// A handler whose type was erased.
type Handler<'a> = dyn Fn(&mut Invocation<'_>) + Send + Sync + 'a;

// SAFETY: The handler is `Send` and `Sync`. The rest is never changed, and any thread may free it.
unsafe impl Send for DynClosure<'_> {}
// SAFETY: As above.
unsafe impl Sync for DynClosure<'_> {}

/// What a stub points to.
struct Context<H: ?Sized> {
    signature: Signature,
    values: Vec<Value>,
    answer: Value,
    handler: H,
}

/// What the machine code calls. A panic cannot leave it.
///
/// # Safety
///
/// The context is that of a closure which exists, and has such a handler. The others are what the C library passes.
unsafe extern "C" fn shim<H: Fn(&mut Invocation<'_>)>(
    context: *mut c_void,
    arguments: *const ffi::execbuf_slot,
    result: *mut ffi::execbuf_slot,
) {
    // SAFETY: The caller guarantees that it is there, and it is only used by `&`.
    let Context { signature, values, answer, handler } = unsafe { &*context.cast::<Context<H>>() };
    // SAFETY: The C library passes the slots of a call of this signature, and memory for the result, which is all zero.
    let mut call = unsafe { Invocation::new(signature, values, *answer, arguments.cast(), result.cast()) };
    handler(&mut call);
}

impl<'a> DynClosure<'a> {
    /// Makes a function with this signature and ABI, which calls the handler.
    ///
    /// Of a variadic signature, the handler gets the arguments that are in it. It cannot find out how many the caller passes.
    ///
    /// Like `Box::new`, this aborts if no memory is left for what the handler captures.
    ///
    /// # Errors
    ///
    /// - [`Abi`](crate::ErrorKind::Abi): the target is neither x86-64 nor AArch64, or it is AArch64 Windows.
    /// - [`Signature`](crate::ErrorKind::Signature): the values need more than a page of stack or of code.
    /// - The errors of [`ExecPool::publish`](crate::ExecPool::publish).
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[doc(alias = "execbuf_closure_new")]
    pub fn new<H>(signature: &Signature, abi: Abi, handler: H) -> Result<Self, Error>
    where
        H: Fn(&mut Invocation<'_>) + Send + Sync + 'a,
    {
        let context = Context {
            signature: signature.clone(),
            values: Value::of_arguments(signature.arguments()),
            answer: Value::of_result(signature.result()),
            handler,
        };
        let owned = signature.with_raw(|signature| {
            // SAFETY: The handle and the report are writable. The handler and the context are only stored. Nobody else has what
            // was just published.
            unsafe {
                Owned::new(context, |raw, context, error| {
                    let (pool, abi, handler) = (ptr::null_mut(), abi.raw(), Some(shim::<H> as _));
                    ffi::execbuf_closure_new(pool, raw, signature, abi, handler, context, error)
                })
            }
        })?;
        Ok(Self { abi: abi.resolve(), owned: owned.map(|owned| owned as NonNull<Bound<Context<Handler<'a>>>>) })
    }

    /// Returns the address of the function. Call it with the closure's [`signature`](Self::signature) and
    /// [`abi`](Self::abi), while the closure exists.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::Abi;
    /// use execbuf::dynamic::{Caller, DynClosure};
    ///
    /// let signature = "i(i)".parse()?;
    /// let closure = DynClosure::new(&signature, Abi::NATIVE, |call| {
    ///     let number: i32 = call.arg(0).expect("an int");
    ///     call.set_result(number + 1).expect("an int");
    /// })?;
    /// let caller = Caller::new(&signature, Abi::NATIVE)?;
    /// let mut args = caller.args();
    /// args.set(0, 41)?;
    /// // SAFETY: The closure has this signature and ABI, and exists.
    /// assert_eq!(unsafe { args.call::<i32>(closure.as_ptr()) }?, 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.owned.entry()
    }

    /// Returns the signature of the function.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::{Abi, dynamic::DynClosure};
    ///
    /// let closure = DynClosure::new(&"v(p)".parse()?, Abi::NATIVE, |_| {})?;
    /// assert_eq!((closure.signature().to_string().as_str(), closure.abi()), ("v(p)", Abi::NATIVE));
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn signature(&self) -> &Signature {
        // SAFETY: The context exists, and calls use it by `&`, too.
        unsafe { &(*self.owned.context()).signature }
    }

    /// Returns the ABI of the function.
    ///
    /// # Examples
    ///
    /// See [`signature`](Self::signature).
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// Returns a typed handle that borrows the closure. Calling it is safe, unless its type is `unsafe`.
    ///
    /// A handler that dereferences its arguments should have an `unsafe` function type, because `p` stands for any pointer.
    /// The result cannot be a `NonNull` or a function pointer for the same reason: the handler may set any pointer. That is
    /// checked when the program is compiled.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch): the signature of `F` is not the closure's, the ABI of `F` is not
    /// [`abi`](Self::abi), or the signature is variadic.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn function<F: FnPtr>(&self) -> Result<Function<F, &Self>, Error> {
        self.check::<F>()?;
        // SAFETY: The code is a function of this type, and every result of a handler is a valid one. It is borrowed, and any
        // thread may call the handler.
        Ok(unsafe { Function::from_parts(self.as_ptr(), self) })
    }

    /// Returns a typed handle that owns the closure.
    ///
    /// # Errors
    ///
    /// As for [`function`](Self::function). On failure, the closure is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::{Abi, dynamic::DynClosure};
    ///
    /// let closure = DynClosure::new(&"L()".parse()?, Abi::NATIVE, |call| call.set_result(42_u64).expect("a u64"))?;
    /// let function = closure.into_function::<extern "C" fn() -> u64>()?;
    /// assert_eq!(function.call(), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn into_function<F: FnPtr>(self) -> Result<Function<F, Self>, Error> {
        self.check::<F>()?;
        // SAFETY: As in `function`. The handle owns the closure, whose code and context do not move.
        Ok(unsafe { Function::from_parts(self.as_ptr(), self) })
    }

    /// Checks that the function can be called as `F`.
    fn check<F: FnPtr>(&self) -> Result<(), Error> {
        const {
            assert!(
                <F::Return as AbiReturn>::ANY_BITS,
                "the handler may return any pointer: let the result be `*const T` or `Option<NonNull<T>>`"
            );
        }
        let (wanted, signature) = (F::SIGNATURE, self.signature());
        if wanted.result() != signature.result() || wanted.arguments() != signature.arguments() {
            return Err(Error::mismatch("signature"));
        }
        if F::ABI != self.abi {
            return Err(Error::mismatch("ABI"));
        }
        if signature.fixed().is_some() {
            return Err(Error::mismatch("\"...\""));
        }
        Ok(())
    }
}

/// Formats the address, the signature and the ABI.
impl fmt::Debug for DynClosure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynClosure")
            .field("address", &self.as_ptr())
            .field("signature", self.signature())
            .field("abi", &self.abi)
            .finish_non_exhaustive()
    }
}
