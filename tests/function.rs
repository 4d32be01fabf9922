//! Calls through typed handles: every ABI, number of arguments and result type, and the constants of `FnPtr`.

mod support;

use execbuf::{Abi, AbiType, ExecBuffer, FnPtr, Signature, Type};
use std::collections::HashSet;
use std::ffi::c_void;
use std::ptr::NonNull;
use support::jump_to;

/// For one ABI and arguments of the given types: publishes code that jumps to a Rust function of that ABI, calls it,
/// and checks the sum of the arguments that the function received.
macro_rules! arguments_arrive {
    ($extern:literal, $($name:ident: $type:ty = $value:expr),*) => {{
        extern $extern fn target($($name: $type),*) -> f64 {
            0.0 $(+ ($name as f64))*
        }
        type F = extern $extern fn($($type),*) -> f64;
        let buffer = ExecBuffer::new(&jump_to(target as F as *const u8)).unwrap();
        // SAFETY: The code jumps to a function of this type.
        let function = unsafe { buffer.function::<F>() };
        let expected = 0.0 $(+ ($value as f64))*;
        assert_eq!(function.call($($value),*), expected, "{}", stringify!($extern $($type)*));
        // SAFETY: As above. The same code also implements the `unsafe` type.
        let function = unsafe { buffer.function::<unsafe extern $extern fn($($type),*) -> f64>() };
        // SAFETY: The target has no conditions.
        assert_eq!(unsafe { function.call($($value),*) }, expected);
        // SAFETY: As above.
        let function = unsafe { buffer.into_function::<F>() };
        assert_eq!(function.by_ref().call($($value),*), expected);
        assert_eq!(function.shared().clone().call($($value),*), expected);
        assert_eq!(F::SIGNATURE.arguments(), [$(<$type as AbiType>::TYPE),*]);
    }};
}

/// Invokes `arguments_arrive!` with all the given arguments, then without the first, and so on down to no arguments.
macro_rules! with_fewer_and_fewer {
    ($extern:literal,) => { arguments_arrive!($extern,) };
    ($extern:literal, $name:ident: $type:ty = $value:expr $(, $names:ident: $types:ty = $values:expr)*) => {
        arguments_arrive!($extern, $name: $type = $value $(, $names: $types = $values)*);
        with_fewer_and_fewer!($extern, $($names: $types = $values),*);
    };
}

macro_rules! every_argument_arrives {
    ($($test:ident: $extern:literal),*) => {$(
        #[test]
        #[allow(clippy::cast_precision_loss, clippy::cast_lossless, clippy::unnecessary_cast, reason = "small numbers")]
        #[allow(clippy::too_many_arguments, clippy::float_cmp, reason = "twelve arguments, sums of powers of two")]
        fn $test() {
            // The values are powers of two, so that every subset of them has a different sum.
            with_fewer_and_fewer!($extern,
                a: u64 = 1, b: f64 = 2.0, c: i32 = 4, d: f32 = 8.0, e: u16 = 16, f: i64 = 32,
                g: f64 = 64.0, h: u8 = 128, i: f32 = 256.0, j: u32 = 512, k: f64 = 1024.0, l: i16 = 2048
            );
            with_fewer_and_fewer!($extern,
                a: i64 = -1, b: i64 = -2, c: i64 = -4, d: i64 = -8, e: i64 = -16, f: i64 = -32,
                g: i64 = -64, h: i64 = -128, i: i64 = -256, j: i64 = -512, k: i64 = -1024, l: i64 = -2048
            );
            with_fewer_and_fewer!($extern,
                a: f64 = 0.5, b: f64 = 1.0, c: f64 = 2.0, d: f64 = 4.0, e: f64 = 8.0, f: f64 = 16.0,
                g: f64 = 32.0, h: f64 = 64.0, i: f64 = 128.0, j: f64 = 256.0, k: f64 = 512.0, l: f64 = 1024.0
            );
        }
    )*};
}

every_argument_arrives!(every_argument_of_extern_c_arrives: "C", every_argument_of_extern_system_arrives: "system");
#[cfg(target_arch = "x86_64")]
every_argument_arrives!(
    every_argument_of_extern_sysv64_arrives: "sysv64",
    every_argument_of_extern_win64_arrives: "win64"
);
#[cfg(all(target_arch = "x86_64", windows))]
every_argument_arrives!(every_argument_of_extern_efiapi_arrives: "efiapi");

#[cfg(target_arch = "x86_64")]
#[test]
fn code_of_either_convention_can_be_called_on_every_system() {
    let sysv64 = ExecBuffer::new(&[
        0x48, 0x89, 0xf8, // mov rax, rdi
        0x48, 0x29, 0xf0, // sub rax, rsi
        0xc3, //             ret
    ])
    .unwrap();
    let win64 = ExecBuffer::new(&[
        0x48, 0x89, 0xc8, // mov rax, rcx
        0x48, 0x29, 0xd0, // sub rax, rdx
        0xc3, //             ret
    ])
    .unwrap();
    // SAFETY: Each is such a function.
    unsafe {
        assert_eq!(sysv64.function::<extern "sysv64" fn(u64, u64) -> u64>().call(50, 8), 42);
        assert_eq!(win64.function::<extern "win64" fn(u64, u64) -> u64>().call(50, 8), 42);
    }
}

#[test]
#[allow(clippy::float_cmp, reason = "the values are exact")]
fn results_of_every_type_are_returned() {
    macro_rules! comes_back {
        ($($type:ty: $value:expr),*) => {$({
            extern "C" fn target() -> $type { $value }
            let buffer = ExecBuffer::new(&jump_to(target as extern "C" fn() -> $type as *const u8)).unwrap();
            // SAFETY: The code jumps to a function of this type.
            let function = unsafe { buffer.function::<extern "C" fn() -> $type>() };
            assert_eq!(function.call(), $value, "{}", stringify!($type));
        })*};
    }
    comes_back!(
        (): (), bool: true, i8: -1, u8: 200, i16: -300, u16: 60_000, i32: -100_000, u32: 4_000_000_000,
        i64: i64::MIN, u64: u64::MAX, isize: -5, usize: 5, f32: 1.5, f64: -2.25,
        *const u8: std::ptr::null(), *mut c_void: std::ptr::without_provenance_mut(8),
        NonNull<u8>: NonNull::dangling(), Option<NonNull<u8>>: None
    );
}

#[test]
fn function_pointers_can_be_arguments() {
    extern "C" fn twice(function: extern "C" fn(u64) -> u64, argument: u64) -> u64 {
        function(function(argument))
    }
    extern "C" fn triple(number: u64) -> u64 {
        3 * number
    }
    type F = extern "C" fn(extern "C" fn(u64) -> u64, u64) -> u64;
    let buffer = ExecBuffer::new(&jump_to(twice as F as *const u8)).unwrap();
    // SAFETY: The code jumps to a function of this type.
    assert_eq!(unsafe { buffer.function::<F>() }.call(triple, 5), 45);
    assert_eq!(F::SIGNATURE.to_string(), "L(pL)");
}

#[test]
fn abi_and_signature_are_constants() {
    const SIGNATURE: Signature = <extern "C" fn(*const c_void, i32, f64) -> u64>::SIGNATURE;
    const ABI: Abi = <unsafe extern "C" fn()>::ABI;
    assert_eq!(SIGNATURE.to_string(), "L(pid)");
    assert_eq!(*SIGNATURE.result(), Type::U64);
    assert_eq!(ABI, Abi::NATIVE);
    assert_eq!(<extern "system" fn()>::ABI, Abi::NATIVE);
    assert_eq!(<extern "C" fn()>::SIGNATURE.to_string(), "v()");
    assert_eq!(<extern "C" fn(bool, i8, u8, i16, u16, u32, i64, f32)>::SIGNATURE.to_string(), "v(?bBhHIlf)");
    assert_eq!(<extern "C" fn(usize, isize)>::SIGNATURE.to_string(), "v(Ll)");
    assert_eq!(SIGNATURE, <extern "system" fn(*mut u8, i32, f64) -> u64>::SIGNATURE);
    assert_ne!(SIGNATURE, <extern "C" fn(*mut u8, i32, f64) -> i64>::SIGNATURE);
    assert_ne!(SIGNATURE, <extern "C" fn(*mut u8, i32, f32) -> u64>::SIGNATURE);
    assert_eq!(<extern "C" fn(Option<extern "C" fn()>)>::SIGNATURE.to_string(), "v(p)");
    assert_eq!(format!("{SIGNATURE:?}"), "Signature(L(pid))");
    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(<extern "sysv64" fn()>::ABI, Abi::SysV64);
        assert_eq!(<extern "win64" fn()>::ABI, Abi::Win64);
        #[cfg(windows)]
        assert_eq!(<extern "efiapi" fn()>::ABI, Abi::Win64);
        assert_eq!(Abi::NATIVE, if cfg!(windows) { Abi::Win64 } else { Abi::SysV64 });
    }
    #[cfg(not(target_arch = "x86_64"))]
    assert_eq!(Abi::NATIVE, Abi::C);
}

#[test]
fn equal_signatures_have_equal_hashes() {
    let parsed: Signature = "L(pid)".parse().unwrap();
    let mut set = HashSet::from([parsed, "L(p.id)".parse().unwrap()]);
    assert!(!set.insert(<extern "C" fn(*const u8, i32, f64) -> u64>::SIGNATURE));
    assert!(set.insert(<extern "C" fn(*const u8, i32, f64) -> i64>::SIGNATURE));
    assert_eq!(set.len(), 3);
}

#[test]
fn any_bits_is_true_only_for_types_without_invalid_values() {
    assert_eq!(
        [u8::ANY_BITS, i64::ANY_BITS, usize::ANY_BITS, f32::ANY_BITS, f64::ANY_BITS, bool::ANY_BITS],
        [true; 6]
    );
    assert_eq!([<*const u8>::ANY_BITS, <*mut u8>::ANY_BITS, <Option<NonNull<u8>>>::ANY_BITS], [true; 3]);
    let functions = [<extern "C" fn()>::ANY_BITS, <unsafe extern "C" fn()>::ANY_BITS];
    let options = [<Option<extern "C" fn()>>::ANY_BITS, <Option<unsafe extern "C" fn()>>::ANY_BITS];
    assert_eq!((<NonNull<u8>>::ANY_BITS, functions, options), (false, [false; 2], [false; 2]));
    let results = [<() as execbuf::AbiReturn>::ANY_BITS, <NonNull<u8> as execbuf::AbiReturn>::ANY_BITS];
    assert_eq!(results, [true, false]);
}
