//! Dynamic calls: `dynamic::Caller` and `dynamic::Args`. `thunk_compilers` tests many signatures.
#![cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))]
#![allow(clippy::float_cmp, reason = "the numbers are exact")]

use std::ffi::{CStr, c_char, c_int};
use std::ptr::{self, NonNull};
use std::thread;

use execbuf::dynamic::{Args, Caller};
use execbuf::{Abi, Error, ErrorKind};

fn caller(text: &str, abi: Abi) -> Caller {
    Caller::new(&text.parse().unwrap(), abi).unwrap()
}

extern "C" fn mix(small: i8, short: u16, float: f32, pointer: *const u8, double: f64, is_one: bool) -> f64 {
    let sum = f64::from(small) + f64::from(short) + f64::from(float) + double + f64::from(u8::from(is_one));
    sum + f64::from(u16::try_from(pointer.addr()).unwrap())
}

#[cfg(all(target_arch = "x86_64", windows))]
extern "sysv64" fn mix_foreign(
    small: i8,
    short: u16,
    float: f32,
    pointer: *const u8,
    double: f64,
    is_one: bool,
) -> f64 {
    mix(small, short, float, pointer, double, is_one)
}

#[cfg(all(target_arch = "x86_64", not(windows)))]
extern "win64" fn mix_foreign(
    small: i8,
    short: u16,
    float: f32,
    pointer: *const u8,
    double: f64,
    is_one: bool,
) -> f64 {
    mix(small, short, float, pointer, double, is_one)
}

#[test]
fn arguments_of_all_sizes_are_passed_to_each_convention() {
    for (abi, function) in [
        (Abi::NATIVE, mix as *const u8),
        #[cfg(target_arch = "x86_64")]
        (if cfg!(windows) { Abi::SysV64 } else { Abi::Win64 }, mix_foreign as *const u8),
    ] {
        let caller = caller("d(bHfpd?)", abi);
        let mut args = caller.args();
        let pointer: *const u8 = ptr::without_provenance(1000);
        args.set(0, -1_i8).unwrap().set(1, 65535_u16).unwrap().set(2, 0.5_f32).unwrap();
        args.set(3, pointer).unwrap().set(4, 0.25).unwrap().set(5, true).unwrap();
        // SAFETY: The function has this signature and ABI.
        assert_eq!(unsafe { args.call::<f64>(function) }.unwrap(), 66535.75);
        args.set(0, 1_i8).unwrap(); // the others are kept
        // SAFETY: As above.
        assert_eq!(unsafe { args.call::<f64>(function) }.unwrap(), 66537.75);
    }
}

#[test]
fn arguments_that_were_not_set_are_zero() {
    let caller = caller("d(bHfpd?)", Abi::C);
    // SAFETY: The function has this signature and ABI.
    assert_eq!(unsafe { caller.args().call::<f64>(mix as *const u8) }.unwrap(), 0.0);
}

extern "C" fn nothing() {}

extern "C" fn minus_two() -> i8 {
    -2
}

#[test]
fn results_have_their_types() {
    // SAFETY: The functions have these signatures.
    unsafe {
        caller("v()", Abi::C).args().call::<()>(nothing as *const u8).unwrap();
        assert_eq!(caller("b()", Abi::C).args().call::<i8>(minus_two as *const u8).unwrap(), -2);
        let mut slot = 0;
        caller("b()", Abi::C).call_raw(minus_two as *const u8, ptr::null(), &raw mut slot);
        assert_eq!(slot.to_ne_bytes(), (-2_i64).to_ne_bytes());
        let mut byte = [0];
        caller("b()", Abi::C).args().call_bytes(minus_two as *const u8, &mut byte).unwrap();
        assert_eq!(byte, [254]);
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Large {
    numbers: [u16; 33],
}

extern "C" fn reverse(mut large: Large, last: u16) -> Large {
    large.numbers.reverse();
    large.numbers[32] = last;
    large
}

fn bytes_of(large: &Large) -> Vec<u8> {
    large.numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

#[test]
fn long_values_are_passed_and_returned_as_bytes() {
    let caller = caller("{[33H]}({[33H]}H)", Abi::NATIVE);
    assert_eq!(caller.slots(), (2, 9));
    let large = Large { numbers: std::array::from_fn(|i| u16::try_from(i).unwrap()) };
    let mut args = caller.args();
    args.set_bytes(0, &bytes_of(&large)).unwrap().set(1, 7_u16).unwrap();
    let mut args = vec![args].pop().unwrap(); // it may move
    let mut result = vec![0; 66];
    // SAFETY: The function has this signature.
    unsafe { args.call_bytes(reverse as *const u8, &mut result) }.unwrap();
    assert_eq!(result, bytes_of(&reverse(large, 7)));
    args.set_bytes(0, &result).unwrap();
    // SAFETY: As above.
    unsafe { args.call_bytes(reverse as *const u8, &mut result) }.unwrap();
    assert_eq!(result, bytes_of(&reverse(reverse(large, 7), 7)));
}

fn mismatch<T>(result: Result<T, Error>, culprit: &str) {
    let error = result.err().unwrap();
    assert_eq!((error.kind(), error.culprit()), (ErrorKind::Mismatch, Some(culprit)));
    assert!(error.to_string().contains(culprit), "{error}");
}

#[test]
fn what_differs_from_the_signature_is_an_error_and_calls_nothing() {
    extern "C" fn never(_: i32, _: *const u8) -> i32 {
        panic!("it is called")
    }
    let caller = caller("i(ip)", Abi::NATIVE);
    let mut args = caller.args();
    mismatch(args.set(2, 1).map(drop), "index");
    mismatch(args.set(usize::MAX, 1).map(drop), "index");
    mismatch(args.set(0, 1_u32).map(drop), "argument");
    mismatch(args.set(0, 1_i64).map(drop), "argument");
    mismatch(args.set(1, 1_u64).map(drop), "argument");
    mismatch(args.set_bytes(0, &[0; 3]).map(drop), "argument");
    mismatch(args.set_bytes(0, &[0; 8]).map(drop), "argument");
    mismatch(args.set_bytes(2, &[]).map(drop), "index");
    args.set(1, NonNull::<u8>::dangling()).unwrap();
    // SAFETY: Nothing is called.
    unsafe {
        mismatch(args.call::<u32>(never as *const u8), "result");
        mismatch(args.call::<()>(never as *const u8), "result");
        mismatch(args.call_bytes(never as *const u8, &mut [0; 3]), "result");
        mismatch(args.call_bytes(never as *const u8, &mut [0; 8]), "result");
        for error in
            [args.call::<i32>(ptr::null()).unwrap_err(), args.call_bytes(ptr::null(), &mut [0; 4]).unwrap_err()]
        {
            assert_eq!((error.kind(), error.culprit()), (ErrorKind::Null, Some("function")));
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn conventions_of_another_machine_are_refused() {
    for abi in [Abi::SysV64, Abi::Win64] {
        let error = Caller::new(&"v()".parse().unwrap(), abi).unwrap_err();
        assert_eq!((error.kind(), error.culprit()), (ErrorKind::Abi, Some("abi")));
    }
}

#[test]
fn values_that_need_more_than_a_page_of_stack_are_refused() {
    let error = Caller::new(&"v(i{[5000b]})".parse().unwrap(), Abi::NATIVE).unwrap_err();
    assert_eq!((error.kind(), error.position()), (ErrorKind::Signature, Some(2)));
}

#[cfg_attr(target_env = "msvc", link(name = "legacy_stdio_definitions"))]
unsafe extern "C" {
    fn snprintf(text: *mut c_char, size: usize, format: *const c_char, ...) -> c_int;
}

#[test]
fn variadic_functions_are_called() {
    let caller = caller("i(pLp.idp)", Abi::NATIVE);
    let mut text = [0_u8; 64];
    let mut args = caller.args();
    args.set(0, text.as_mut_ptr()).unwrap().set(1, text.len()).unwrap().set(2, c"%d %.1f %s".as_ptr()).unwrap();
    args.set(3, -42).unwrap().set(4, 1.5).unwrap().set(5, c"x".as_ptr()).unwrap();
    // SAFETY: The function has this signature, and these are good arguments.
    let length = unsafe { args.call::<i32>(snprintf as *const u8) }.unwrap();
    assert_eq!((length, CStr::from_bytes_until_nul(&text).unwrap()), (9, c"-42 1.5 x"));
}

extern "C" fn add(one: u64, other: u64) -> u64 {
    one + other
}

#[test]
fn threads_share_a_caller_and_may_free_it() {
    let caller = caller("L(LL)", Abi::NATIVE);
    let work = |caller: Caller| {
        for number in 0..100_u64 {
            let mut args = caller.args();
            args.set(0, number).unwrap().set(1, 1_u64).unwrap();
            // SAFETY: The function has this signature.
            assert_eq!(unsafe { args.call::<u64>(add as *const u8) }.unwrap(), number + 1);
        }
    };
    let threads: Vec<_> = (0..4).map(|_| caller.clone()).map(|clone| thread::spawn(move || work(clone))).collect();
    drop(caller);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn callers_and_arguments_are_send_and_sync() {
    fn check<T: Send + Sync + std::fmt::Debug>() {}
    check::<Caller>();
    check::<Args>();
    let caller = caller("i(p.d)", Abi::C);
    assert_eq!(
        format!("{caller:?}"),
        format!("Caller {{ signature: Signature(i(p.d)), abi: {:?}, .. }}", Abi::NATIVE)
    );
    assert!(format!("{:?}", caller.args()).starts_with("Args { caller: Caller {"));
}
