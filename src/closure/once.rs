//! Closures that are called once.

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::context::Once;
use super::traits::ClosureFnOnce;
use super::{bind, conversions};
use crate::abi::FnPtr;
use crate::buffer::ExecBuffer;
use crate::error::Error;

/// An `FnOnce` closure as a C function pointer that is called once, such as the start routine of a thread.
///
/// A second call ends the process with a message. If nobody is left to drop the handle after the call,
/// [`detach`](Self::detach) leaves that to the call.
///
/// It is `Send` and `Sync` if the closure is `Send`. What else holds for [`Closure`](crate::Closure) holds for this type.
///
/// # Examples
///
/// ```
/// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
/// use execbuf::ClosureOnce;
///
/// let text = String::from("captured");
/// let routine = ClosureOnce::new(move |_: *mut u8| -> usize { text.into_bytes().len() })?;
/// // SAFETY: The pointer is called once.
/// let pointer: extern "C" fn(*mut u8) -> usize = unsafe { routine.as_fn() };
/// let thread = std::thread::spawn(move || pointer(std::ptr::null_mut()));
/// routine.detach();
/// assert_eq!(thread.join().unwrap(), 8);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use = "C has no function to call once it is dropped"]
pub struct ClosureOnce<F: FnPtr, C> {
    pointer: F,
    context: NonNull<Once<C>>,
    marker: PhantomData<C>,
}

// SAFETY: As for `ClosureMut`.
unsafe impl<F: FnPtr, C: Send> Send for ClosureOnce<F, C> {}
// SAFETY: As for `ClosureMut`.
unsafe impl<F: FnPtr, C: Send> Sync for ClosureOnce<F, C> {}

conversions!(ClosureOnce, ClosureFnOnce, Once);

impl<F: FnPtr, C> ClosureOnce<F, C> {
    fn make(shim: *const u8, callback: C) -> Result<Self, Error> {
        // A raw pointer, because the stub has another one.
        let context = NonNull::from(Box::leak(Box::new(Once::new(callback))));
        // SAFETY: The handle and the report are writable. Nobody else has what was just published.
        let made =
            unsafe { ExecBuffer::made_by(|raw, error| bind::<F>(raw, shim, context.as_ptr().cast(), error)) };
        let code = match made {
            Ok(code) => code,
            Err(error) => {
                // SAFETY: There is no code that could call it.
                drop(unsafe { Once::take(context.as_ptr()) });
                return Err(error);
            }
        };
        // SAFETY: The code is a function of this type.
        let pointer = unsafe { F::from_address(code.as_ptr()) };
        // SAFETY: The context exists, and nobody has the code yet.
        unsafe { context.as_ref().set_code(code) };
        Ok(Self { pointer, context, marker: PhantomData })
    }

    fn address(&self) -> *const u8 {
        self.pointer.address()
    }

    /// Returns the function pointer.
    ///
    /// # Safety
    ///
    /// - Nobody calls it after the handle is dropped, or after what the closure borrows is gone. A call that is running
    ///   then goes on.
    /// - After [`detach`](Self::detach), the function is called at most once in all.
    /// - If `C` is not `Send`, nobody calls it on another thread.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub unsafe fn as_fn(&self) -> F {
        self.pointer
    }

    /// Leaves the memory to the call, which frees it as it begins. If the call has begun already, this frees it. If there is
    /// none, the closure and the function leak.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn detach(self)
    where
        C: Send + 'static,
    {
        let context = ManuallyDrop::new(self).context;
        // SAFETY: The handle is not used any more.
        unsafe { Once::detach(context.as_ptr()) };
    }

    /// Returns the closure, or `None` if it was called, and frees the function.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::ClosureOnce;
    ///
    /// let text = String::from("captured");
    /// let length = ClosureOnce::new(move || text.len())?;
    /// let closure = length.into_inner().expect("nobody has called it");
    /// assert_eq!(closure(), 8);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn into_inner(self) -> Option<C> {
        let context = ManuallyDrop::new(self).context;
        // SAFETY: The handle is not used any more, so no call begins, as callers of `as_fn` have promised.
        unsafe { Once::take(context.as_ptr()) }
    }
}

impl<F: FnPtr, C> Drop for ClosureOnce<F, C> {
    fn drop(&mut self) {
        // SAFETY: As in `into_inner`.
        drop(unsafe { Once::take(self.context.as_ptr()) });
    }
}
