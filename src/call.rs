//! The method `call` of [`Function`], for every function type and every owner.

use crate::abi::{AbiReturn, AbiType, fn_types};
use crate::function::Function;

macro_rules! call {
    ([$($shown:tt)*], [], $extern:literal, $native:literal, $abi:expr, ($($name:ident: $argument:ident),*)) => {
        $($shown)*
        impl<R: AbiReturn $(, $argument: AbiType)*, Owner> Function<extern $extern fn($($argument),*) -> R, Owner> {
            /// Calls the function.
            ///
            /// `call` exists for every [`FnPtr`](crate::FnPtr) type and has the arguments and result of that type. This
            /// page shows only the two for `extern "C"` and `unsafe extern "C"` with two arguments. It compiles to one
            /// indirect call, and borrows the owner until the function returns.
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
            /// Calls the function. This method is `unsafe` because the function's type is `unsafe`.
            ///
            /// # Safety
            ///
            /// The caller meets the function's own conditions, such as which pointers are valid arguments.
            ///
            /// # Examples
            ///
            /// See [`Function`].
            #[inline]
            #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
            pub unsafe fn call(&self $(, $name: $argument)*) -> R {
                // SAFETY: The caller meets the function's conditions.
                unsafe { (self.pointer())($($name),*) }
            }
        }
    };
}

fn_types!(call);
