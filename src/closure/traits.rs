//! The closures that C can call.

use crate::abi::{AbiReturn, AbiType, FnPtr};

/// A closure that can be called through a shared reference: a `Fn` with the arguments `A`, which is a tuple.
///
/// It is implemented for closures with up to twelve [`AbiType`] arguments and an [`AbiReturn`] result. `A` follows from
/// the closure if the types of its arguments are written down.
///
/// # Examples
///
/// See [`Closure`](crate::Closure).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called by C",
    label = "not a `Fn` closure with these arguments",
    note = "write the type of each argument, `|a: i32, b: *const u8| …`; each must be an `AbiType`, and the result an \
            `AbiReturn`",
    note = "a closure that changes what it captures is for `ClosureMut`, one that consumes it for `ClosureOnce`"
)]
pub trait ClosureFn<A> {
    /// The result.
    type Output: AbiReturn;
    /// The `extern "C"` function pointer type with these arguments and this result.
    type Extern: FnPtr<Args = A, Return = Self::Output>;
    #[doc(hidden)]
    fn invoke(&self, arguments: A) -> Self::Output;
}

/// A closure that can be called through a mutable reference: an `FnMut` with the arguments `A`. See [`ClosureFn`].
///
/// # Examples
///
/// See [`ClosureMut`](crate::ClosureMut).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called by C",
    label = "not an `FnMut` closure with these arguments",
    note = "write the type of each argument, `|a: i32, b: *const u8| …`; each must be an `AbiType`, and the result an \
            `AbiReturn`"
)]
pub trait ClosureFnMut<A> {
    /// The result.
    type Output: AbiReturn;
    /// The `extern "C"` function pointer type with these arguments and this result.
    type Extern: FnPtr<Args = A, Return = Self::Output>;
    #[doc(hidden)]
    fn invoke_mut(&mut self, arguments: A) -> Self::Output;
}

/// A closure that can be called once: an `FnOnce` with the arguments `A`. See [`ClosureFn`].
///
/// # Examples
///
/// See [`ClosureOnce`](crate::ClosureOnce).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called by C",
    label = "not a closure with these arguments",
    note = "write the type of each argument, `|a: i32, b: *const u8| …`; each must be an `AbiType`, and the result an \
            `AbiReturn`"
)]
pub trait ClosureFnOnce<A> {
    /// The result.
    type Output: AbiReturn;
    /// The `extern "C"` function pointer type with these arguments and this result.
    type Extern: FnPtr<Args = A, Return = Self::Output>;
    #[doc(hidden)]
    fn invoke_once(self, arguments: A) -> Self::Output;
}

macro_rules! closures {
    ($(($($name:ident: $argument:ident),*))*) => {$(
        impl<C: Fn($($argument),*) -> R, R: AbiReturn $(, $argument: AbiType)*> ClosureFn<($($argument,)*)> for C {
            type Output = R;
            type Extern = extern "C" fn($($argument),*) -> R;

            #[inline]
            fn invoke(&self, ($($name,)*): ($($argument,)*)) -> R {
                self($($name),*)
            }
        }

        impl<C: FnMut($($argument),*) -> R, R: AbiReturn $(, $argument: AbiType)*> ClosureFnMut<($($argument,)*)>
            for C
        {
            type Output = R;
            type Extern = extern "C" fn($($argument),*) -> R;

            #[inline]
            fn invoke_mut(&mut self, ($($name,)*): ($($argument,)*)) -> R {
                self($($name),*)
            }
        }

        impl<C: FnOnce($($argument),*) -> R, R: AbiReturn $(, $argument: AbiType)*> ClosureFnOnce<($($argument,)*)>
            for C
        {
            type Output = R;
            type Extern = extern "C" fn($($argument),*) -> R;

            #[inline]
            fn invoke_once(self, ($($name,)*): ($($argument,)*)) -> R {
                self($($name),*)
            }
        }
    )*};
}

closures! {
    ()
    (a1: A1)
    (a1: A1, a2: A2)
    (a1: A1, a2: A2, a3: A3)
    (a1: A1, a2: A2, a3: A3, a4: A4)
    (a1: A1, a2: A2, a3: A3, a4: A4, a5: A5)
    (a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6)
    (a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7)
    (a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8)
    (a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9)
    (a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10)
    (a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11)
    (a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12)
}
