//! Rust closures as C function pointers.

mod context;
mod once;
mod traits;

use alloc::boxed::Box;
use core::ffi::c_void;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};

use crate::abi::FnPtr;
use crate::buffer::ExecBuffer;
use crate::error::{Error, check};
use crate::ffi;
use crate::function::Function;
use context::{Exclusive, Shared};
pub use once::ClosureOnce;
pub use traits::{ClosureFn, ClosureFnMut, ClosureFnOnce};

/// Makes a function of type `F` that calls a shim with a context.
///
/// # Safety
///
/// The handle and the report are writable.
unsafe fn bind<F: FnPtr>(
    raw: *mut ffi::execbuf,
    shim: *const u8,
    context: *mut c_void,
    error: *mut ffi::execbuf_error,
) -> ffi::execbuf_status {
    // SAFETY: Function pointers and data pointers have the same representation on every platform that execbuf supports.
    let shim = unsafe { mem::transmute::<*const u8, ffi::execbuf_function>(shim) };
    let (signature, abi, last) = (F::RAW_SHIM_SIGNATURE, F::ABI.raw(), ffi::EXECBUF_LAST);
    // SAFETY: As the caller guarantees. The function and the context are only stored.
    unsafe { ffi::execbuf_bind(ptr::null_mut(), raw, signature, abi, shim, context, last, error) }
}

/// The code of a closure, and what its stub points to.
pub(crate) struct Bound<T: ?Sized> {
    // Declared before the context, and therefore dropped first.
    code: ExecBuffer,
    context: T,
}

/// The box of a closure. A raw pointer, because the stub has another one.
///
/// The handle of the code is in the box, too, so that a closure is one pointer and quickly moved. Two words that were just
/// stored one by one, and are loaded together for a move, keep the processor waiting.
pub(crate) struct Owned<T: ?Sized>(NonNull<Bound<T>>, PhantomData<Bound<T>>);

impl<T> Owned<T> {
    /// Moves a context into a box, and makes the code.
    ///
    /// # Safety
    ///
    /// `make` gets the handle to write, the context, and the report. If it succeeds, nobody else has the handle.
    pub(crate) unsafe fn new(
        context: T,
        make: impl FnOnce(*mut ffi::execbuf, *mut c_void, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error> {
        let bound = Box::into_raw(Box::<Bound<T>>::new_uninit()).cast::<Bound<T>>();
        // SAFETY: The memory is that of a `Bound<T>`.
        let (code, address) = unsafe { (&raw mut (*bound).code, &raw mut (*bound).context) };
        // SAFETY: It is writable.
        unsafe { address.write(context) };
        // An `ExecBuffer` is its handle.
        if let Err(error) = check(|error| make(code.cast(), address.cast(), error)) {
            // SAFETY: There is no code, so nobody uses the context. The memory comes from a box.
            let (context, memory) =
                unsafe { (address.read(), Box::from_raw(bound.cast::<MaybeUninit<Bound<T>>>())) };
            drop(memory);
            drop(context);
            return Err(error);
        }
        // SAFETY: The memory is not null.
        Ok(Self(unsafe { NonNull::new_unchecked(bound) }, PhantomData))
    }

    /// Frees the code and returns the context.
    fn into_inner(self) -> T {
        let bound = ManuallyDrop::new(self).0;
        // SAFETY: Both are initialised, the memory comes from a box, and nobody else owns it.
        let Bound { code, context } = *unsafe { Box::from_raw(bound.as_ptr()) };
        drop(code);
        context
    }
}

impl<T: ?Sized> Owned<T> {
    /// Returns the entry of the code.
    pub(crate) fn entry(&self) -> *const u8 {
        // SAFETY: The box exists, and nobody changes the handle.
        unsafe { &(*self.0.as_ptr()).code }.as_ptr()
    }

    /// Returns the address of the context.
    pub(crate) fn context(&self) -> *mut T {
        // SAFETY: The box exists.
        unsafe { &raw mut (*self.0.as_ptr()).context }
    }

    /// Changes the type of the pointer, and nothing else.
    pub(crate) fn map<U: ?Sized>(self, convert: impl FnOnce(NonNull<Bound<T>>) -> NonNull<Bound<U>>) -> Owned<U> {
        Owned(convert(ManuallyDrop::new(self).0), PhantomData)
    }
}

impl<T: ?Sized> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: As in `into_inner`; and nobody calls the closure any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Makes the code of a closure, which is a function of type `F` that calls a shim.
fn make<F: FnPtr, T>(shim: *const u8, context: T) -> Result<Owned<T>, Error> {
    // SAFETY: The handle and the report are writable. Nobody else has what was just published.
    unsafe { Owned::new(context, |raw, context, error| bind::<F>(raw, shim, context, error)) }
}

macro_rules! conversions {
    ($name:ident, $trait:ident, $context:ident) => {
        impl<F: FnPtr, C> $name<F, C> {
            /// Makes an `extern "C"` function with the arguments and the result of the closure.
            ///
            /// Like `Box::new`, this aborts if no memory is left for what the closure captures.
            ///
            /// # Errors
            ///
            /// - [`Abi`](crate::ErrorKind::Abi): the target is neither x86-64 nor AArch64, or it is AArch64 Windows.
            /// - [`Signature`](crate::ErrorKind::Signature): structs that are passed by value do not fit into a page of
            ///   stack.
            /// - The errors of [`ExecPool::publish`](crate::ExecPool::publish).
            ///
            /// # Examples
            ///
            /// See the [type](Self).
            #[doc(alias = "execbuf_bind")]
            pub fn new<A>(callback: C) -> Result<Self, Error>
            where
                C: $trait<A, Output = F::Return, Extern = F>,
                F: FnPtr<Args = A>,
            {
                Self::make(F::shim::<$context<C>>(), callback)
            }

            /// Makes a function of any type: of another ABI, `unsafe`, or `"C-unwind"`, which lets panics out.
            ///
            /// # Errors
            ///
            /// As for [`new`](Self::new).
            ///
            /// # Examples
            ///
            /// ```
            /// # #[cfg(target_arch = "x86_64")] {
            #[doc = concat!("use execbuf::", stringify!($name), ";")]
            ///
            #[doc = concat!("type Double = ", stringify!($name), "<unsafe extern \"win64\" fn(*mut u64), fn(*mut u64)>;")]
            /// // SAFETY: Callers pass a valid pointer.
            /// let double = Double::typed(|number| unsafe { *number *= 2 })?;
            /// let mut number = 21;
            /// // SAFETY: The pointer is valid, and this is the only call.
            /// unsafe { double.as_fn()(&mut number) };
            /// assert_eq!(number, 42);
            /// # }
            /// # Ok::<(), execbuf::Error>(())
            /// ```
            #[doc(alias = "execbuf_bind")]
            pub fn typed(callback: C) -> Result<Self, Error>
            where
                C: $trait<F::Args, Output = F::Return>,
            {
                Self::make(F::shim::<$context<C>>(), callback)
            }
        }

        /// Formats the address of the function.
        impl<F: FnPtr, C> fmt::Debug for $name<F, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.address()).finish()
            }
        }
    };
}
use conversions;

/// A `Fn` closure as a C function pointer.
///
/// It is for callbacks without an argument for user data, and for those that run at the same time on several threads or
/// call themselves. The function takes 32 bytes from a pool of the library, and a box for what the closure captures and 24
/// bytes more. They are freed when this is dropped. There may be millions.
///
/// The closure is called through a stub and a shim that the compiler has made for the type of the function. The stub jumps
/// to the shim if the context fits into a register after the arguments: with System V's convention up to five integers
/// and pointers, with Win64's up to three arguments, on AArch64 up to seven integers and pointers. Otherwise it calls the
/// shim and copies the arguments that are on the stack.
///
/// A panic aborts the process, as in every `extern "C"` function. It leaves functions of an `-unwind` type.
///
/// `Closure` is `Send` and `Sync` as the closure is, and borrows what that borrows.
///
/// # Examples
///
/// ```
/// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
/// use execbuf::Closure;
///
/// let factor = 2;
/// let scale = Closure::new(|number: i32, shift: u8| -> i32 { factor * number << shift })?;
/// let function = scale.function();
/// assert_eq!(function.call(5, 2), 40);
///
/// // SAFETY: The pointer is used while `scale` exists.
/// let pointer: extern "C" fn(i32, u8) -> i32 = unsafe { scale.as_fn() };
/// assert_eq!(pointer(5, 2), 40);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use = "C has no function to call once it is dropped"]
pub struct Closure<F: FnPtr, C> {
    owned: Owned<Shared<C>>,
    marker: PhantomData<F>,
}

// SAFETY: Whoever has it may call the closure through `&C` and drop it, which threads may if `C` is `Sync` and `Send`.
unsafe impl<F: FnPtr, C: Send> Send for Closure<F, C> {}
// SAFETY: Through `&Closure` the closure is only called, through `&C`.
unsafe impl<F: FnPtr, C: Sync> Sync for Closure<F, C> {}

conversions!(Closure, ClosureFn, Shared);

const _: () = assert!(mem::size_of::<Closure<extern "C" fn(), u64>>() == mem::size_of::<*const u8>());

impl<F: FnPtr, C> Closure<F, C> {
    fn make(shim: *const u8, callback: C) -> Result<Self, Error> {
        Ok(Self { owned: make::<F, _>(shim, Shared(callback))?, marker: PhantomData })
    }

    fn address(&self) -> *const u8 {
        self.owned.entry()
    }

    /// Returns a handle that borrows the closure. Calling it is safe, unless its type is `unsafe`: a handle can be used only
    /// while the closure exists, and by threads that may have a `&C`.
    ///
    /// A closure that dereferences its arguments should be [`typed`](Self::typed) as an `unsafe` function.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn function(&self) -> Function<F, &Self> {
        // SAFETY: The code is a function of this type, and is borrowed. The handle is `Send` and `Sync` if `C` is `Sync`.
        unsafe { Function::from_parts(self.address(), self) }
    }

    /// Returns a handle that owns the closure.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::{Closure, Function};
    ///
    /// struct Watcher {
    ///     on_event: Function<extern "C" fn(i32), Box<dyn Send + Sync>>, // the type of a closure has no name
    /// }
    ///
    /// let (events, received) = std::sync::mpsc::channel();
    /// let on_event = Closure::new(move |event: i32| events.send(event).unwrap())?;
    /// let watcher = Watcher { on_event: on_event.into_function().boxed() };
    /// watcher.on_event.call(42);
    /// assert_eq!(received.recv().unwrap(), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn into_function(self) -> Function<F, Self> {
        // SAFETY: As in `function`. The handle owns the closure, whose code and context do not move.
        unsafe { Function::from_parts(self.address(), self) }
    }

    /// Returns the function pointer.
    ///
    /// # Safety
    ///
    /// - Nobody calls it after the closure is dropped, or after what it borrows is gone.
    /// - If `C` is not `Sync`, nobody calls it on another thread while this thread uses the closure; nor on any thread but
    ///   this one if `C` is not `Send` either.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub unsafe fn as_fn(&self) -> F {
        // SAFETY: The code is a function of this type.
        unsafe { F::from_address(self.address()) }
    }
}

/// An `FnMut` closure as a C function pointer.
///
/// It is for callbacks that run one after the other, such as the comparison of `qsort`. There is no safe way to call it,
/// because nothing but a promise keeps it from being called while a call is running. For a safe call, put a `RefCell` or
/// a `Mutex` into a [`Closure`].
///
/// It is `Send` and `Sync` if the closure is `Send`. What else holds for [`Closure`] holds for this type.
///
/// # Examples
///
/// ```
/// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
/// use execbuf::ClosureMut;
///
/// /// A C function with a callback that has no argument for user data.
/// extern "C" fn repeat(callback: extern "C" fn(i32)) {
///     (1..=3).for_each(|number| callback(number));
/// }
///
/// let mut sum = 0;
/// let add = ClosureMut::new(|number: i32| sum += number)?;
/// // SAFETY: `repeat` calls it while it runs, and one call ends before the next one begins.
/// repeat(unsafe { add.as_fn() });
/// drop(add);
/// assert_eq!(sum, 6);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use = "C has no function to call once it is dropped"]
pub struct ClosureMut<F: FnPtr, C> {
    owned: Owned<Exclusive<C>>,
    marker: PhantomData<F>,
}

// SAFETY: Whoever has it may call the closure and drop it, which another thread may do if `C` is `Send`.
unsafe impl<F: FnPtr, C: Send> Send for ClosureMut<F, C> {}
// SAFETY: Through `&ClosureMut` nothing can be done but by `as_fn`, whose callers promise more.
unsafe impl<F: FnPtr, C: Send> Sync for ClosureMut<F, C> {}

conversions!(ClosureMut, ClosureFnMut, Exclusive);

impl<F: FnPtr, C> ClosureMut<F, C> {
    fn make(shim: *const u8, callback: C) -> Result<Self, Error> {
        Ok(Self { owned: make::<F, _>(shim, Exclusive::new(callback))?, marker: PhantomData })
    }

    fn address(&self) -> *const u8 {
        self.owned.entry()
    }

    /// Returns the function pointer.
    ///
    /// # Safety
    ///
    /// - Nobody calls it after the closure is dropped, or after what it borrows is gone.
    /// - No call begins before the last one has ended. With debug assertions, one that does ends the process with a
    ///   message.
    /// - If `C` is not `Send`, nobody calls it on another thread.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub unsafe fn as_fn(&self) -> F {
        // SAFETY: The code is a function of this type.
        unsafe { F::from_address(self.address()) }
    }

    /// Returns the closure, and frees the function.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::ClosureMut;
    ///
    /// let mut count = 0;
    /// let next = ClosureMut::new(move || -> i32 {
    ///     count += 1;
    ///     count
    /// })?;
    /// // SAFETY: This is the only call.
    /// assert_eq!(unsafe { next.as_fn()() }, 1);
    /// let mut next = next.into_inner();
    /// assert_eq!(next(), 2);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn into_inner(self) -> C {
        self.owned.into_inner().into_inner()
    }
}
