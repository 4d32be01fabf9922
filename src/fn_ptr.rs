//! The function pointer types that published code may have.

use core::ptr::NonNull;

use crate::function::{Function, OwnedFunction};
use crate::signature::{Abi, Signature, Type};
use crate::thunk::Thunk;

/// A type that an argument of published code may have.
///
/// Implemented for integers of fixed width and of pointer width, `bool`, floats, pointers to sized data and the
/// function pointers that are [`FnPtr`]. References are left out: with them, a function pointer type is generic
/// over a lifetime, and no trait can tell that. Pass pointers.
///
/// # Safety
///
/// Values of the type are passed and returned in every ABI exactly as those of the Rust type that belongs to
/// [`TYPE`](Self::TYPE). You may implement it for a `#[repr(transparent)]` struct around such a type.
///
/// # Examples
///
/// ```
/// use execbuf::{AbiType, FnPtr, Type};
///
/// #[repr(transparent)]
/// struct Register(u64);
///
/// // SAFETY: It is transparent.
/// unsafe impl AbiType for Register {
///     const TYPE: Type = <u64 as AbiType>::TYPE;
/// }
///
/// assert_eq!(<extern "C" fn(Register)>::SIGNATURE.to_string(), "v(L)");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no place in the signature of published code",
    note = "integers, bool, floats, pointers and function pointers have; pass `*const T` instead of `&T`"
)]
pub unsafe trait AbiType {
    /// What the type is to an ABI.
    const TYPE: Type;
}

/// A type that the result of published code may have: any [`AbiType`], or `()` for none.
///
/// # Examples
///
/// ```
/// use execbuf::{AbiResult, Type};
///
/// assert_eq!(<() as AbiResult>::TYPE, Type::Void);
/// assert_eq!(<f32 as AbiResult>::TYPE, Type::F32);
/// ```
///
/// # Safety
///
/// As for [`AbiType`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the result of published code",
    note = "integers, bool, floats, pointers, function pointers and `()` can"
)]
pub unsafe trait AbiResult {
    /// What the type is to an ABI.
    const TYPE: Type;
}

// SAFETY: The two traits make the same promise.
unsafe impl<T: AbiType> AbiResult for T {
    const TYPE: Type = T::TYPE;
}

// SAFETY: A function that returns `()` has no result in every ABI.
unsafe impl AbiResult for () {
    const TYPE: Type = Type::Void;
}

macro_rules! abi_types {
    ($($rust:ty => $abi:expr,)*) => {$(
        // SAFETY: The variant is named for the type.
        unsafe impl AbiType for $rust {
            const TYPE: Type = $abi;
        }
    )*};
}

abi_types! {
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

macro_rules! abi_pointers {
    ($($pointer:ty),*) => {$(
        // SAFETY: Pointers to sized data are one address.
        unsafe impl<T> AbiType for $pointer {
            const TYPE: Type = Type::Pointer;
        }
    )*};
}

abi_pointers!(*const T, *mut T, NonNull<T>, Option<NonNull<T>>);

mod sealed {
    pub trait Sealed {}
}

/// A function pointer type that published code may have.
///
/// Implemented for `extern "C"` and `extern "system"`, on x86-64 also for `extern "sysv64"`, `extern "win64"` and
/// `extern "efiapi"`, all but the last also as `"C-unwind"` and so on, safe and `unsafe`, with up to twelve arguments that are [`AbiType`] and a result that is
/// [`AbiResult`]. Rust itself bridges the ABI at the call: code for either convention can be called on every
/// x86-64 system. (These pages list only those with up to two arguments.)
///
/// Not for the Rust ABI, which is not stable, nor for closures.
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
    message = "published code can't be called as `{Self}`",
    note = "it takes a function pointer type with an ABI, up to twelve arguments and no references, such as \
            `extern \"C\" fn(u64, *const u8) -> u64`"
)]
pub unsafe trait FnPtr: Copy + Send + Sync + sealed::Sealed {
    /// The calling convention.
    const ABI: Abi;
    /// The types of the result and of the arguments.
    const SIGNATURE: Signature;
    /// The same function type but for the ABI, which is this target's: `extern "C"`, or `extern "C-unwind"` if the type
    /// says that panics and exceptions may leave the function. Types with the same `Native` differ in the ABI only.
    type Native: FnPtr<Native = Self::Native>;

    /// The function pointer for an address.
    ///
    /// # Safety
    ///
    /// At the address there is a function of this type.
    #[doc(hidden)]
    unsafe fn from_address(address: *const u8) -> Self;

    /// The address of the function.
    #[doc(hidden)]
    fn address(self) -> *const u8;
}

/// Everything there is for one function pointer type: `FnPtr`, itself and its `Option` as an argument, and `call`
/// on both handles.
macro_rules! fn_ptr {
    ($abi:expr, $native:literal, ($($qualifier:tt)*), [$($unsafe:ident)?], ($($name:ident: $argument:ident),*)) => {
        impl<R: AbiResult $(, $argument: AbiType)*> sealed::Sealed
            for $($qualifier)* fn($($argument),*) -> R {}

        // SAFETY: The constants say what the type says.
        unsafe impl<R: AbiResult $(, $argument: AbiType)*> FnPtr for $($qualifier)* fn($($argument),*) -> R {
            const ABI: Abi = $abi;
            const SIGNATURE: Signature = Signature::new(R::TYPE, &[$($argument::TYPE),*]);
            type Native = $($unsafe)? extern $native fn($($argument),*) -> R;

            #[inline]
            unsafe fn from_address(address: *const u8) -> Self {
                // SAFETY: The caller says that there is a function of this type; function pointers and data
                // pointers have one representation on every platform that execbuf supports.
                unsafe { core::mem::transmute::<*const u8, Self>(address) }
            }

            #[inline]
            fn address(self) -> *const u8 {
                self as *const u8
            }
        }

        // SAFETY: A function pointer is one address.
        unsafe impl<R: AbiResult $(, $argument: AbiType)*> AbiType for $($qualifier)* fn($($argument),*) -> R {
            const TYPE: Type = Type::Pointer;
        }

        // SAFETY: An optional function pointer is one address, null for `None`.
        unsafe impl<R: AbiResult $(, $argument: AbiType)*> AbiType
            for Option<$($qualifier)* fn($($argument),*) -> R>
        {
            const TYPE: Type = Type::Pointer;
        }

        impl<R: AbiResult $(, $argument: AbiType)*> Function<'_, $($qualifier)* fn($($argument),*) -> R> {
            fn_ptr!(@call [$($unsafe)?] ($($name: $argument),*));
        }

        impl<R: AbiResult $(, $argument: AbiType)*> OwnedFunction<$($qualifier)* fn($($argument),*) -> R> {
            fn_ptr!(@call [$($unsafe)?] ($($name: $argument),*));
        }

        impl<R: AbiResult $(, $argument: AbiType)*> Thunk<'_, $($qualifier)* fn($($argument),*) -> R> {
            fn_ptr!(@call [$($unsafe)?] ($($name: $argument),*));
        }
    };
    (@call [] ($($name:ident: $argument:ident),*)) => {
        /// Calls the published code.
        #[inline]
        #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
        pub fn call(&self $(, $name: $argument)*) -> R {
            (self.pointer())($($name),*)
        }
    };
    (@call [unsafe] ($($name:ident: $argument:ident),*)) => {
        /// Calls the published code.
        ///
        /// # Safety
        ///
        /// What the code demands of its caller.
        #[inline]
        #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
        pub unsafe fn call(&self $(, $name: $argument)*) -> R {
            // SAFETY: The caller keeps what the code demands.
            unsafe { (self.pointer())($($name),*) }
        }
    };
}

/// `fn_ptr!` for one ABI, safe and unsafe, and for every number of arguments up to those given.
macro_rules! fn_ptrs {
    ($abi:expr, $extern:literal, $native:literal, ($($name:ident: $argument:ident),*)) => {
        fn_ptr!($abi, $native, (extern $extern), [], ($($name: $argument),*));
        fn_ptr!($abi, $native, (unsafe extern $extern), [unsafe], ($($name: $argument),*));
        fn_ptrs!(@fewer $abi, $extern, $native, ($($name: $argument),*));
    };
    (@fewer $abi:expr, $extern:literal, $native:literal, ()) => {};
    (@fewer $abi:expr, $extern:literal, $native:literal, (
        $first:ident: $type:ident $(, $name:ident: $argument:ident)*
    )) => {
        fn_ptrs!($abi, $extern, $native, ($($name: $argument),*));
    };
}

/// `fn_ptrs!` for the given ABIs with up to twelve arguments; for rustdoc with two, so that its pages stay readable.
macro_rules! abis {
    ($($extern:literal, $native:literal => $abi:expr),*) => {$(
        #[cfg(doc)]
        fn_ptrs!($abi, $extern, $native, (a: A, b: B));
        #[cfg(not(doc))]
        fn_ptrs!($abi, $extern, $native, (
            a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, i: I, j: J, k: K, l: L
        ));
    )*};
}

abis!("C", "C" => Abi::NATIVE, "C-unwind", "C-unwind" => Abi::NATIVE);
// On 32-bit Windows it is another convention, stdcall.
#[cfg(not(all(windows, target_arch = "x86")))]
abis!("system", "C" => Abi::NATIVE, "system-unwind", "C-unwind" => Abi::NATIVE);
#[cfg(target_arch = "x86_64")]
abis!("sysv64", "C" => Abi::SysV64, "win64", "C" => Abi::Win64, "efiapi", "C" => Abi::Win64);
#[cfg(target_arch = "x86_64")]
abis!("sysv64-unwind", "C-unwind" => Abi::SysV64, "win64-unwind", "C-unwind" => Abi::Win64);
