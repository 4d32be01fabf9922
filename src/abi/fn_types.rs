//! The function pointer types, and what they are to C.

use super::{Abi, AbiReturn, AbiType, Context, FnPtr, Signature, Type, sealed};
use crate::ffi;
use crate::signature::raw_signature;

/// Returns the type of an argument for C, or fails to compile if there is none.
const fn not_void(argument: &Type) -> ffi::execbuf_type {
    assert!(!matches!(argument, Type::Void), "the `TYPE` of an argument is `Type::Void`");
    argument.raw()
}

/// The type of an argument or result as a reference.
struct TypeOf<T>(T);

impl<T: AbiReturn> TypeOf<T> {
    const TYPE: &'static Type = &T::TYPE;
}

/// Invokes a macro for every function pointer type: each ABI, safe and `unsafe`, with 0 to 12 arguments. The macro's
/// arguments are the attributes for its items, `unsafe` or nothing, the ABI as a literal, the native ABI as a literal,
/// the `Abi`, and the function's arguments.
macro_rules! fn_types {
    ($each:ident) => {
        fn_types!(@abi $each, [], "C", "C", Abi::NATIVE);
        fn_types!(@abi $each, [#[doc(hidden)]], "C-unwind", "C-unwind", Abi::NATIVE);
        // On 32-bit Windows, "system" means stdcall, which has no `Abi`.
        #[cfg(not(all(windows, target_arch = "x86")))]
        fn_types!(@abi $each, [#[doc(hidden)]], "system", "C", Abi::NATIVE);
        #[cfg(not(all(windows, target_arch = "x86")))]
        fn_types!(@abi $each, [#[doc(hidden)]], "system-unwind", "C-unwind", Abi::NATIVE);
        #[cfg(target_arch = "x86_64")]
        fn_types!(@abi $each, [#[doc(hidden)]], "sysv64", "C", Abi::SysV64);
        #[cfg(target_arch = "x86_64")]
        fn_types!(@abi $each, [#[doc(hidden)]], "sysv64-unwind", "C-unwind", Abi::SysV64);
        #[cfg(target_arch = "x86_64")]
        fn_types!(@abi $each, [#[doc(hidden)]], "win64", "C", Abi::Win64);
        // Elsewhere, rustc does not pass structs and 128-bit integers as UEFI does.
        #[cfg(all(target_arch = "x86_64", windows))]
        fn_types!(@abi $each, [#[doc(hidden)]], "efiapi", "C", Abi::Win64);
        // Outside of Windows, no unwinder restores the registers that Win64 preserves, so safe code must not unwind
        // through a Win64 call (rust-lang/rust#144371).
        #[cfg(all(target_arch = "x86_64", windows))]
        fn_types!(@arguments $each, [#[doc(hidden)]], [], "win64-unwind", "C-unwind", Abi::Win64);
        #[cfg(target_arch = "x86_64")]
        fn_types!(@arguments $each, [#[doc(hidden)]], [unsafe], "win64-unwind", "C-unwind", Abi::Win64);
    };
    (@abi $each:ident, $shown:tt, $extern:literal, $native:literal, $abi:expr) => {
        fn_types!(@arguments $each, $shown, [], $extern, $native, $abi);
        fn_types!(@arguments $each, $shown, [unsafe], $extern, $native, $abi);
    };
    (@arguments $each:ident, $shown:tt, $unsafe:tt, $extern:literal, $native:literal, $abi:expr) => {
        fn_types!(@each $each, $unsafe, $extern, $native, $abi, [
            [[#[doc(hidden)]] ()]
            [[#[doc(hidden)]] (a: A)]
            [$shown (a: A, b: B)]
            [[#[doc(hidden)]] (a: A, b: B, c: C)]
            [[#[doc(hidden)]] (a: A, b: B, c: C, d: D)]
            [[#[doc(hidden)]] (a: A, b: B, c: C, d: D, e: E)]
            [[#[doc(hidden)]] (a: A, b: B, c: C, d: D, e: E, f: F)]
            [[#[doc(hidden)]] (a: A, b: B, c: C, d: D, e: E, f: F, g: G)]
            [[#[doc(hidden)]] (a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H)]
            [[#[doc(hidden)]] (a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, i: I)]
            [[#[doc(hidden)]] (a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, i: I, j: J)]
            [[#[doc(hidden)]] (a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, i: I, j: J, k: K)]
            [[#[doc(hidden)]] (a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, i: I, j: J, k: K, l: L)]
        ]);
    };
    (@each $each:ident, $unsafe:tt, $extern:literal, $native:literal, $abi:expr, [
        $([$shown:tt $arguments:tt])*
    ]) => {
        $($each!($shown, $unsafe, $extern, $native, $abi, $arguments);)*
    };
}
pub(crate) use fn_types;

macro_rules! fn_ptr {
    ([$($shown:tt)*], [$($unsafe:tt)?], $extern:literal, $native:literal, $abi:expr,
        ($($name:ident: $argument:ident),*)) => {
        impl<R: AbiReturn $(, $argument: AbiType)*> sealed::Sealed
            for $($unsafe)? extern $extern fn($($argument),*) -> R {}

        $($shown)*
        // SAFETY: The constants describe the type.
        unsafe impl<R: AbiReturn $(, $argument: AbiType)*> FnPtr
            for $($unsafe)? extern $extern fn($($argument),*) -> R
        {
            const ABI: Abi = $abi;
            const SIGNATURE: Signature = Signature::from_static(R::TYPE, Self::ARGUMENTS);
            type Native = $($unsafe)? extern $native fn($($argument),*) -> R;
            type Args = ($($argument,)*);
            type Return = R;
            const ARGUMENTS: &'static [Type] = {
                let _ = Self::RAW_ARGUMENTS; // checks the types
                &[$(<$argument as AbiType>::TYPE),*]
            };
            const RAW_ARGUMENTS: &'static [ffi::execbuf_type] = &[$(not_void(TypeOf::<$argument>::TYPE)),*];
            const RAW_SIGNATURE: &'static ffi::execbuf_signature =
                &raw_signature(TypeOf::<R>::TYPE.raw(), Self::RAW_ARGUMENTS);
            const RAW_SHIM_SIGNATURE: &'static ffi::execbuf_signature = &raw_signature(
                TypeOf::<R>::TYPE.raw(),
                &[$(not_void(TypeOf::<$argument>::TYPE),)* Type::Pointer.raw()],
            );

            #[inline]
            unsafe fn from_address(address: *const u8) -> Self {
                // SAFETY: The caller guarantees that a function of this type is there. Function pointers and data
                // pointers have the same representation on every platform that execbuf supports.
                unsafe { core::mem::transmute::<*const u8, Self>(address) }
            }

            #[inline]
            fn address(self) -> *const u8 {
                self as *const u8
            }

            fn shim<Callee: Context<Self::Args, R>>() -> *const u8 {
                unsafe extern $extern fn shim<Callee: Context<($($argument,)*), R>, R $(, $argument)*>(
                    $($name: $argument,)* context: *mut Callee,
                ) -> R {
                    // SAFETY: Only stubs of closures call this, with their contexts. Who calls those vouches for the rest.
                    unsafe { Callee::call(context, ($($name,)*)) }
                }
                shim::<Callee, R $(, $argument)*> as *const u8
            }
        }

        $($shown)*
        // SAFETY: A function pointer is one address. Not every address is a function pointer: `ANY_BITS` is `false`.
        unsafe impl<R: AbiReturn $(, $argument: AbiType)*> AbiType
            for $($unsafe)? extern $extern fn($($argument),*) -> R
        {
            const TYPE: Type = Type::Pointer;
        }

        $($shown)*
        // SAFETY: An optional function pointer is one address, null for `None`. `ANY_BITS` is `false`, as above.
        unsafe impl<R: AbiReturn $(, $argument: AbiType)*> AbiType
            for Option<$($unsafe)? extern $extern fn($($argument),*) -> R>
        {
            const TYPE: Type = Type::Pointer;
        }
    };
}

fn_types!(fn_ptr);
