//! Calling conventions, types and signatures, and the function pointer types that use them.
//!
//! Every [`FnPtr`] type provides its [`Abi`] and its [`Signature`] as constants.
//!
//! ```
//! use execbuf::abi::{Abi, FnPtr};
//!
//! type F = extern "C" fn(u64, f64) -> u64;
//! assert_eq!(F::ABI, Abi::NATIVE);
//! assert_eq!(F::SIGNATURE.to_string(), "L(Ld)");
//! ```

use core::ptr::NonNull;

use crate::ffi;
use crate::signature::raw_signature;
pub use crate::signature::{Abi, Signature};
pub use crate::types::{Counted, Members, Type};

/// A type that can be an argument of a function.
///
/// The implementors are integers of fixed width and of pointer width, `bool`, floats, vectors of 128 bits, pointers to
/// sized data, `NonNull`, `Option<NonNull>`, and the function pointer types that implement [`FnPtr`], also in an `Option`.
/// [`abi_struct!`](crate::abi_struct) implements it for structs. On x86-64, `i128` and `u128` implement it if the compiler has
/// LLVM 21 or later, as Rust 1.91 has: older ones do not always pass them as C compilers do (llvm/llvm-project#123935).
/// References do not implement it, because a function pointer type with a reference is generic over a lifetime, which
/// this trait cannot express. Pass pointers instead.
///
/// # Safety
///
/// - Every ABI passes and returns values of the type exactly like values of the Rust type that belongs to
///   [`TYPE`](Self::TYPE). A `#[repr(transparent)]` struct around such a type qualifies.
/// - [`TYPE`](Self::TYPE) is not [`Type::Void`]. The constants of [`FnPtr`] check this during compilation.
/// - If [`ANY_BITS`](Self::ANY_BITS) is `true`, every value of [`TYPE`](Self::TYPE) is a valid value of the type.
///
/// # Examples
///
/// ```
/// use execbuf::{AbiType, FnPtr, Type};
///
/// #[derive(Clone, Copy)]
/// #[repr(transparent)]
/// struct Register(u64);
///
/// // SAFETY: The struct is transparent, and every `u64` is a valid `Register`.
/// unsafe impl AbiType for Register {
///     const TYPE: Type = <u64 as AbiType>::TYPE;
///     const ANY_BITS: bool = true;
/// }
///
/// assert_eq!(<extern "C" fn(Register)>::SIGNATURE.to_string(), "v(L)");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a function that execbuf calls",
    label = "not an `AbiType`",
    note = "these can: integers, `bool`, floats, pointers to sized data, `NonNull`, `Option<NonNull>` and `extern` \
            function pointers",
    note = "`i128` and `u128` can if rustc has LLVM 21 or later",
    note = "for a struct by value, define it with `execbuf::abi_struct!`",
    note = "instead of `&T` write `*const T` or `NonNull<T>`"
)]
pub unsafe trait AbiType: Copy {
    /// The type that determines how the ABI passes values.
    ///
    /// # Examples
    ///
    /// See the [trait](Self).
    const TYPE: Type;

    /// Whether every value of [`TYPE`](Self::TYPE) is a valid value of this type.
    ///
    /// It is `false` for `NonNull` and function pointers: [`Type::Pointer`] does not distinguish them from other
    /// pointers. Code that knows a signature only at run time must not produce such values. A function pointer of a
    /// safe type also points to code that is never freed or changed, because safe code can keep it for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::ptr::NonNull;
    /// use execbuf::AbiType;
    ///
    /// assert!(<*const u8>::ANY_BITS && !<NonNull<u8>>::ANY_BITS);
    /// ```
    const ANY_BITS: bool = false;
}

/// A type that can be the result of a function: any [`AbiType`], or `()` for no result.
///
/// # Examples
///
/// ```
/// use execbuf::{AbiReturn, Type};
///
/// assert_eq!(<() as AbiReturn>::TYPE, Type::Void);
/// assert_eq!(<f32 as AbiReturn>::TYPE, Type::F32);
/// ```
///
/// # Safety
///
/// As for [`AbiType`], except that [`TYPE`](Self::TYPE) can be [`Type::Void`] if the type has no data.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a function that execbuf calls",
    note = "these types can: `()`, and every type that can be an argument"
)]
pub unsafe trait AbiReturn {
    /// The type that determines how the ABI passes values.
    ///
    /// # Examples
    ///
    /// See the [trait](Self).
    const TYPE: Type;

    /// Whether every value of [`TYPE`](Self::TYPE) is a valid value of this type. See [`AbiType::ANY_BITS`].
    const ANY_BITS: bool;
}

// SAFETY: The two traits have the same obligations.
unsafe impl<T: AbiType> AbiReturn for T {
    const TYPE: Type = T::TYPE;
    const ANY_BITS: bool = T::ANY_BITS;
}

// SAFETY: A function that returns `()` has no result in every ABI.
unsafe impl AbiReturn for () {
    const TYPE: Type = Type::Void;
    const ANY_BITS: bool = true;
}

macro_rules! scalars {
    ($($rust:ty => $type:expr,)*) => {$(
        // SAFETY: The variant corresponds to the type. Every bit pattern is a valid integer or float, and every value
        // of `Type::Bool` is a valid `bool`.
        unsafe impl AbiType for $rust {
            const TYPE: Type = $type;
            const ANY_BITS: bool = true;
        }
    )*};
}

scalars! {
    bool => Type::Bool,
    i8 => Type::I8,
    u8 => Type::U8,
    i16 => Type::I16,
    u16 => Type::U16,
    i32 => Type::I32,
    u32 => Type::U32,
    i64 => Type::I64,
    u64 => Type::U64,
    isize => if cfg!(target_pointer_width = "64") { Type::I64 } else { Type::I32 },
    usize => if cfg!(target_pointer_width = "64") { Type::U64 } else { Type::U32 },
    f32 => Type::F32,
    f64 => Type::F64,
}

#[cfg(execbuf_i128)]
scalars! {
    i128 => Type::I128,
    u128 => Type::U128,
}

macro_rules! pointers {
    ($($pointer:ty => $any_bits:literal),*) => {$(
        // SAFETY: A pointer to sized data is one address. Every address is valid, except null for `NonNull`.
        unsafe impl<T> AbiType for $pointer {
            const TYPE: Type = Type::Pointer;
            const ANY_BITS: bool = $any_bits;
        }
    )*};
}

pointers!(*const T => true, *mut T => true, NonNull<T> => false, Option<NonNull<T>> => true);

mod sealed {
    pub trait Sealed {}
}

/// A function pointer type that published code can have.
///
/// The implementors are `extern "C"`, `extern "system"`, and on x86-64 also `extern "sysv64"`, `extern "win64"` and
/// `extern "efiapi"` function pointers, safe and `unsafe`, with up to twelve [`AbiType`] arguments and an [`AbiReturn`]
/// result. On 32-bit Windows, `extern "system"` is missing, because it has no [`Abi`] there. The compiler emits each
/// call in the convention of the type, so Rust can call code of both conventions on every x86-64 system.
///
/// The `-unwind` variants of these ABIs (`"C-unwind"` and so on) also implement it. A panic passes through published code
/// only if the code is [described](crate::Info); otherwise the panic aborts the process. Outside of Windows, only the
/// `unsafe` types with `"win64-unwind"` do: no unwinder there restores `rdi`, `rsi` and `xmm6` to `xmm15`. A frame that
/// makes such a call must therefore not catch a panic that passes through the call, nor drop values while it passes
/// (rust-lang/rust#144371).
///
/// The Rust ABI is not stable, so `fn` types without `extern` don't implement it, and neither do closures.
///
/// This page shows only the two implementations for `extern "C"` and `unsafe extern "C"` with two arguments.
///
/// # Examples
///
/// ```
/// use execbuf::{Abi, FnPtr};
///
/// type F = extern "C" fn(u64, f64) -> u64;
/// assert_eq!(F::ABI, Abi::NATIVE);
/// assert_eq!(F::SIGNATURE.to_string(), "L(Ld)");
/// ```
///
/// # Safety
///
/// The trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function pointer type that execbuf can call",
    note = "write `extern \"C\" fn(…) -> …` with up to 12 arguments, not `fn(…)`; \"system\", \"sysv64\", \"win64\", \
            \"efiapi\" and the \"-unwind\" variants also work",
    note = "arguments and result must be `AbiType`; a reference makes the type generic over a lifetime, so pass a \
            pointer",
    note = "cast a function item to its pointer type: `f as extern \"C\" fn(…) -> …`",
    note = "outside of Windows, \"win64-unwind\" functions must be `unsafe` (rust-lang/rust#144371)"
)]
pub unsafe trait FnPtr: Copy + Send + Sync + sealed::Sealed {
    /// The calling convention.
    ///
    /// # Examples
    ///
    /// See the [trait](Self).
    const ABI: Abi;
    /// The types of the result and the arguments.
    ///
    /// # Examples
    ///
    /// See the [trait](Self).
    const SIGNATURE: Signature;
    /// The same function type with the C convention of this target: `extern "C"`, or `extern "C-unwind"` if panics may
    /// leave the function. Types with the same `Native` differ only in the convention.
    type Native: FnPtr<Native = Self::Native>;

    #[doc(hidden)]
    const ARGUMENTS: &'static [Type];

    #[doc(hidden)]
    const RAW_ARGUMENTS: &'static [ffi::execbuf_type];

    #[doc(hidden)]
    const RAW_SIGNATURE: &'static ffi::execbuf_signature;

    /// # Safety
    ///
    /// A function of this type is at the address.
    #[doc(hidden)]
    unsafe fn from_address(address: *const u8) -> Self;

    #[doc(hidden)]
    fn address(self) -> *const u8;
}

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
        #[cfg(target_arch = "x86_64")]
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
            const ARGUMENTS: &'static [Type] = {
                let _ = Self::RAW_ARGUMENTS; // checks the types
                &[$(<$argument as AbiType>::TYPE),*]
            };
            const RAW_ARGUMENTS: &'static [ffi::execbuf_type] = &[$(not_void(TypeOf::<$argument>::TYPE)),*];
            const RAW_SIGNATURE: &'static ffi::execbuf_signature =
                &raw_signature(TypeOf::<R>::TYPE.raw(), Self::RAW_ARGUMENTS);

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
