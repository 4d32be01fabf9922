//! `call`, for every function type and every owner.

use crate::abi::{AbiReturn, AbiType, fn_types};
use crate::function::Function;

macro_rules! call {
    ([$($shown:tt)*], [], $extern:literal, $native:literal, $abi:expr, ($($name:ident: $argument:ident),*)) => {
        $($shown)*
        impl<R: AbiReturn $(, $argument: AbiType)*, Owner> Function<extern $extern fn($($argument),*) -> R, Owner> {
            /// Calls the function.
            ///
            /// Every [`FnPtr`](crate::FnPtr) type has a `call` with the type's own arguments and result. This page
            /// shows the one of `extern "C"` with two arguments; the others look the same. It compiles to one indirect
            /// call, and keeps the owner borrowed until the function returns.
            ///
            /// # Examples
            ///
            /// See [`Function`].
            #[inline]
            #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
            pub fn call(&self $(, $name: $argument)*) -> R {
                (self.pointer())($($name),*)
            }
        }
    };
    ([$($shown:tt)*], [unsafe], $extern:literal, $native:literal, $abi:expr,
        ($($name:ident: $argument:ident),*)) => {
        $($shown)*
        impl<R: AbiReturn $(, $argument: AbiType)*, Owner>
            Function<unsafe extern $extern fn($($argument),*) -> R, Owner>
        {
            /// Calls the function. It is `unsafe` because the function's type is.
            ///
            /// # Safety
            ///
            /// The call keeps the function's own conditions, such as which pointers are valid arguments.
            ///
            /// # Examples
            ///
            /// See [`Function`].
            #[inline]
            #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
            pub unsafe fn call(&self $(, $name: $argument)*) -> R {
                // SAFETY: The caller keeps the function's conditions.
                unsafe { (self.pointer())($($name),*) }
            }
        }
    };
}

fn_types!(call);
