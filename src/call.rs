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
            /// page shows only the one for `extern "C"` with two arguments. It compiles to one indirect call, and
            /// borrows the owner until the function returns.
            ///
            /// # Safety
            ///
            /// If the type of the function is `unsafe`, `call` is `unsafe` too: the caller meets the function's own
            /// conditions, such as which pointers are valid arguments.
            ///
            /// # Examples
            ///
            /// ```
            /// # #[cfg(target_arch = "x86_64")] {
            /// use execbuf::ExecBuffer;
            ///
            /// let buffer = ExecBuffer::new(&[
            ///     0x8b, 0x07, // mov eax, [rdi]
            ///     0xc3, //       ret
            /// ])?;
            /// // SAFETY: The bytes are a System V function that loads a 32-bit integer from a valid pointer.
            /// let load = unsafe { buffer.function::<unsafe extern "sysv64" fn(*const i32) -> i32>() };
            /// // SAFETY: The pointer is valid.
            /// assert_eq!(unsafe { load.call(&42) }, 42);
            /// # }
            /// # Ok::<(), execbuf::Error>(())
            /// ```
            #[inline]
            #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
            pub fn call(&self $(, $name: $argument)*) -> R {
                (self.pointer())($($name),*)
            }
        }
    };
    // The documentation shows one `call`, the safe one.
    ([$($shown:tt)*], [unsafe], $extern:literal, $native:literal, $abi:expr,
        ($($name:ident: $argument:ident),*)) => {
        #[doc(hidden)]
        impl<R: AbiReturn $(, $argument: AbiType)*, Owner>
            Function<unsafe extern $extern fn($($argument),*) -> R, Owner>
        {
            /// Calls the function. This method is `unsafe` because the function's type is `unsafe`.
            ///
            /// # Safety
            ///
            /// The caller meets the function's own conditions, such as which pointers are valid arguments.
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
