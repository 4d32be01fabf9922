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

mod fn_types;

use core::ptr::NonNull;

use crate::ffi;
pub use crate::signature::{Abi, Signature};
pub use crate::types::{Counted, Members, Type};
pub(crate) use fn_types::fn_types;

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
/// The implementors are `extern "C"`, `extern "system"`, and on x86-64 also `extern "sysv64"` and `extern "win64"` function
/// pointers, safe and `unsafe`, with up to twelve [`AbiType`] arguments and an [`AbiReturn`] result. On 32-bit Windows,
/// `extern "system"` is missing, because it has no [`Abi`] there. The compiler emits each call in the convention of the
/// type, so Rust can call code of both conventions on every x86-64 system.
///
/// On x86-64 Windows `extern "efiapi"` is one, too. Elsewhere, write `extern "win64"` for functions of UEFI: rustc (1.95)
/// passes structs and 128-bit integers to `"efiapi"` functions there by neither convention.
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
            the \"-unwind\" variants and, on Windows, \"efiapi\" also work",
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
    /// The arguments as a tuple.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::FnPtr;
    ///
    /// let arguments: <extern "C" fn(u64, f64) -> u64 as FnPtr>::Args = (1, 2.0);
    /// let result: <extern "C" fn(u64, f64) -> u64 as FnPtr>::Return = 3;
    /// # let _ = (arguments, result);
    /// ```
    type Args;
    /// The result.
    ///
    /// # Examples
    ///
    /// See [`Args`](Self::Args).
    type Return: AbiReturn;

    #[doc(hidden)]
    const ARGUMENTS: &'static [Type];

    #[doc(hidden)]
    const RAW_ARGUMENTS: &'static [ffi::execbuf_type];

    #[doc(hidden)]
    const RAW_SIGNATURE: &'static ffi::execbuf_signature;

    /// The signature of [`shim`](Self::shim).
    #[doc(hidden)]
    const RAW_SHIM_SIGNATURE: &'static ffi::execbuf_signature;

    /// # Safety
    ///
    /// A function of this type is at the address.
    #[doc(hidden)]
    unsafe fn from_address(address: *const u8) -> Self;

    #[doc(hidden)]
    fn address(self) -> *const u8;

    /// The address of a function of this type with one more argument, the last: a pointer to the context, which it calls
    /// with the others. A panic leaves it if it may leave functions of this type, and otherwise aborts the process.
    #[doc(hidden)]
    fn shim<C: Context<Self::Args, Self::Return>>() -> *const u8;
}

/// What a closure that is called by C points to. `closure` implements it.
#[doc(hidden)]
pub trait Context<A, R> {
    /// Calls the closure.
    ///
    /// # Safety
    ///
    /// The context is that of a closure which may be called now, on this thread.
    unsafe fn call(context: *mut Self, arguments: A) -> R;
}
