//! What the stubs of closures point to.

use core::cell::UnsafeCell;
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::traits::{ClosureFn, ClosureFnMut, ClosureFnOnce};
use crate::abi::Context;
use crate::buffer::ExecBuffer;

/// Ends the process: a panic cannot leave a function with this ABI.
#[cold]
extern "C" fn fail(message: &'static &'static str) -> ! {
    panic!("{message}");
}

/// Of a [`Closure`](super::Closure).
pub(crate) struct Shared<C>(pub(crate) C);

impl<A, C: ClosureFn<A>> Context<A, C::Output> for Shared<C> {
    #[inline]
    unsafe fn call(context: *mut Self, arguments: A) -> C::Output {
        // SAFETY: The closure exists, as the caller guarantees, and is only used by `&`.
        unsafe { &*context }.0.invoke(arguments)
    }
}

/// Of a [`ClosureMut`](super::ClosureMut).
pub(crate) struct Exclusive<C> {
    /// Whether a call is running. Only used with debug assertions.
    is_running: AtomicBool,
    callback: UnsafeCell<C>,
}

impl<C> Exclusive<C> {
    pub(crate) fn new(callback: C) -> Self {
        Self { is_running: AtomicBool::new(false), callback: UnsafeCell::new(callback) }
    }

    pub(crate) fn into_inner(self) -> C {
        self.callback.into_inner()
    }

    fn begin(&self) -> Running<'_> {
        if cfg!(debug_assertions) && self.is_running.swap(true, Ordering::Relaxed) {
            fail(&"a `ClosureMut` was called while a call of it was running");
        }
        Running(&self.is_running)
    }
}

/// A call, also one that ends by a panic.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
}

impl<A, C: ClosureFnMut<A>> Context<A, C::Output> for Exclusive<C> {
    #[inline]
    unsafe fn call(context: *mut Self, arguments: A) -> C::Output {
        // SAFETY: The closure exists, as the caller guarantees.
        let this = unsafe { &*context };
        let _running = this.begin();
        // SAFETY: The caller guarantees that no other call is running, so nobody else has a reference.
        unsafe { &mut *this.callback.get() }.invoke_mut(arguments)
    }
}

/// A call has begun.
const CALLED: u8 = 1;
/// A call has taken the closure, and does not use the context any more.
const TAKEN: u8 = 2;
/// The handle does not use the context any more.
const LEFT: u8 = 4;

/// Of a [`ClosureOnce`](super::ClosureOnce): shared by the handle and the call. The one that uses it last frees it, with
/// the code.
pub(crate) struct Once<C> {
    state: AtomicU8,
    code: UnsafeCell<Option<ExecBuffer>>,
    callback: UnsafeCell<ManuallyDrop<C>>,
}

impl<C> Once<C> {
    pub(crate) fn new(callback: C) -> Self {
        let callback = UnsafeCell::new(ManuallyDrop::new(callback));
        Self { state: AtomicU8::new(0), code: UnsafeCell::new(None), callback }
    }

    /// Stores the code.
    ///
    /// # Safety
    ///
    /// The code has not been called, and nobody else has a reference to the context.
    pub(crate) unsafe fn set_code(&self, code: ExecBuffer) {
        // SAFETY: As the caller guarantees.
        unsafe { *self.code.get() = Some(code) };
    }

    /// Frees the context and the code, but not the closure.
    ///
    /// # Safety
    ///
    /// The context comes from `Box::into_raw`, and nobody uses it any more.
    unsafe fn free(context: *mut Self) {
        // SAFETY: As the caller guarantees. The closure is `ManuallyDrop`.
        drop(unsafe { alloc::boxed::Box::from_raw(context) });
    }

    /// Ends the use of the context by the handle. The code stays if nobody has called it.
    ///
    /// # Safety
    ///
    /// The context comes from `Box::into_raw`. The handle calls this once, and does not use the context afterwards.
    pub(crate) unsafe fn detach(context: *mut Self) {
        // SAFETY: Whoever uses the context last frees it, and that is not the call before this.
        let before = unsafe { &*context }.state.fetch_or(LEFT, Ordering::AcqRel);
        if before & TAKEN != 0 {
            // SAFETY: The call does not use the context any more.
            unsafe { Self::free(context) };
        }
    }

    /// As [`detach`](Self::detach), but takes the closure if nobody has called it.
    ///
    /// # Safety
    ///
    /// As for `detach`. No call begins during this or afterwards.
    pub(crate) unsafe fn take(context: *mut Self) -> Option<C> {
        // SAFETY: As in `detach`.
        let this = unsafe { &*context };
        if this.state.load(Ordering::Acquire) & CALLED != 0 {
            // SAFETY: The caller guarantees it.
            unsafe { Self::detach(context) };
            return None;
        }
        // SAFETY: No call begins, so the closure is not taken by one, and the context is used by nobody else.
        unsafe {
            let callback = ManuallyDrop::take(&mut *this.callback.get());
            Self::free(context);
            Some(callback)
        }
    }
}

impl<A, C: ClosureFnOnce<A>> Context<A, C::Output> for Once<C> {
    #[inline]
    unsafe fn call(context: *mut Self, arguments: A) -> C::Output {
        // SAFETY: The caller guarantees that the context exists: the handle does, or this is the only call.
        let this = unsafe { &*context };
        if this.state.fetch_or(CALLED, Ordering::AcqRel) & CALLED != 0 {
            fail(&"a `ClosureOnce` was called twice");
        }
        // SAFETY: This is the first call, and the handle takes the closure only if there is none.
        let callback = ManuallyDrop::into_inner(unsafe { ptr::read(this.callback.get()) });
        if this.state.fetch_or(TAKEN, Ordering::AcqRel) & LEFT != 0 {
            // SAFETY: The handle does not use the context any more. Code of a closure may be freed while it is called.
            unsafe { Self::free(context) };
        }
        callback.invoke_once(arguments)
    }
}
