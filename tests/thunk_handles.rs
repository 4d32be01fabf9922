//! Typed thunks: Rust at both ends, who owns what, what passes through, and what a debugger sees.

mod support;

use execbuf::{Abi, DynThunk, ErrorKind, ExecBuffer, ExecPool, Function, OwnedFunction, Signature, Thunk};
use support::{function, skip};

/// Thunks of both kinds are sent and shared.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Thunk<'static, extern "C" fn()>>();
    is_send_and_sync::<DynThunk>();
};

#[test]
fn of_the_same_abi_a_thunk_is_the_function() {
    let buffer = ExecBuffer::new(&function(42, 16)).unwrap();
    // SAFETY: The bytes are such a function.
    let function: Function<'_, extern "C" fn() -> u32> = unsafe { buffer.function() };
    let thunk = function.to_native().unwrap();
    assert_eq!((thunk.as_ptr(), thunk.call()), (buffer.as_ptr(), 42));
    assert!(format!("{thunk:?}").ends_with("code: None }"), "{thunk:?}");
    let system = function.to::<extern "system" fn() -> u32>().unwrap();
    assert_eq!((system.as_ptr(), system.function().call()), (buffer.as_ptr(), 42));

    let thunk = DynThunk::new(&"I()".parse().unwrap(), Abi::NATIVE, Abi::NATIVE, buffer.as_ptr()).unwrap();
    assert_eq!(
        (thunk.as_ptr(), thunk.abi(), thunk.signature().to_string()),
        (buffer.as_ptr(), Abi::NATIVE, "I()".into())
    );
    // SAFETY: The function has this type.
    assert_eq!(unsafe { thunk.function::<extern "C" fn() -> u32>() }.unwrap().call(), 42);
}

#[test]
fn a_thunk_keeps_its_function_alive() {
    let pool = ExecPool::new().unwrap();
    let buffer = pool.publish(&function(42, 16)).unwrap();
    // SAFETY: The bytes are such a function.
    let owned: OwnedFunction<extern "C" fn() -> u32> = unsafe { buffer.into_function() };
    let thunk = owned.to_native().unwrap();
    let dynamic = DynThunk::owning(&"I()".parse().unwrap(), Abi::NATIVE, Abi::NATIVE, &owned).unwrap();
    let owned = owned.try_into_buffer().expect_err("the thunks own it, too");
    drop(owned);
    assert_eq!((pool.stats().live, thunk.call()), (1, 42));
    drop(thunk);
    assert_eq!(pool.stats().live, 1);
    // SAFETY: The function has this type.
    assert_eq!(unsafe { dynamic.function::<extern "C" fn() -> u32>() }.unwrap().call(), 42);
    drop(dynamic);
    assert_eq!(pool.stats().live, 0);
}

#[test]
fn wrong_use_is_an_error() {
    let signature: Signature = "I(i)".parse().unwrap();
    let error = DynThunk::new(&signature, Abi::NATIVE, Abi::NATIVE, std::ptr::null()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Null);
    assert!(error.to_string().contains("target"), "{error}");

    let buffer = ExecBuffer::new(&function(42, 16)).unwrap();
    let thunk = DynThunk::new(&signature, Abi::NATIVE, Abi::NATIVE, buffer.as_ptr()).unwrap();
    // SAFETY: Nothing is called.
    unsafe {
        let error = thunk.function::<extern "C" fn() -> u32>().unwrap_err();
        assert_eq!(error.to_string(), "the function type is not the thunk's; give one with the same signature");
        assert_eq!(thunk.function::<extern "C" fn(u32) -> u32>().unwrap_err().kind(), ErrorKind::Mismatch);
        assert!(thunk.function::<extern "C" fn(i32) -> u32>().is_ok());
    }

    // Elsewhere, neither of the two is there.
    for (entered, abi) in [(Abi::SysV64, Abi::Win64), (Abi::Win64, Abi::SysV64)] {
        let thunk = DynThunk::new(&signature, entered, abi, buffer.as_ptr());
        if cfg!(target_arch = "x86_64") {
            let thunk = thunk.unwrap();
            // SAFETY: Nothing is called.
            let function = unsafe { thunk.function::<extern "C" fn(i32) -> u32>() };
            let kind = function.map_err(|error| error.kind()).map(|_| ());
            assert_eq!(kind, if entered == Abi::NATIVE { Ok(()) } else { Err(ErrorKind::Mismatch) });
        } else {
            assert_eq!(thunk.unwrap_err().kind(), ErrorKind::Abi);
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn thunks_cross() {
    skip("thunks that cross: there are none on this architecture");
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::float_cmp, reason = "the numbers are passed on, not computed")]
mod crossing {
    use super::*;
    use std::arch::asm;
    use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

    /// A function of one ABI is called through a thunk of the other: its arguments arrive, and its result comes back.
    macro_rules! crosses {
        ($(($($name:ident: $type:ty = $value:expr),*) -> $result_type:ty = $result:expr;)*) => {$(
            crosses!(@one "sysv64", "win64", ($($name: $type = $value),*) -> $result_type = $result);
            crosses!(@one "win64", "sysv64", ($($name: $type = $value),*) -> $result_type = $result);
        )*};
        (@one $entered:literal, $abi:literal, ($($name:ident: $type:ty = $value:expr),*)
            -> $result_type:ty = $result:expr) => {{
            #[inline(never)]
            extern $abi fn target($($name: $type),*) -> $result_type {
                $(assert_eq!(std::hint::black_box($name), $value, "{}", stringify!($name));)*
                $result
            }
            type F = extern $entered fn($($type),*) -> $result_type;
            type G = extern $abi fn($($type),*) -> $result_type;
            let thunk = Thunk::<F>::new(target as G).unwrap();
            assert_eq!(thunk.call($(std::hint::black_box($value)),*), $result);
            // And back.
            let back = thunk.function().to::<G>().unwrap();
            assert_eq!(back.call($(std::hint::black_box($value)),*), $result);
            // The same by the signature's text.
            let text = <F as execbuf::FnPtr>::SIGNATURE.to_string();
            let (entered, abi) = (<F as execbuf::FnPtr>::ABI, <G as execbuf::FnPtr>::ABI);
            let dynamic = DynThunk::new(&text.parse().unwrap(), entered, abi, target as G as *const u8).unwrap();
            // SAFETY: The target has this type, but for the ABI.
            let function = unsafe { dynamic.function::<F>() }.unwrap();
            assert_eq!(function.call($(std::hint::black_box($value)),*), $result);
        }};
    }

    #[test]
    fn arguments_and_results_cross() {
        crosses! {
            () -> () = ();
            () -> u64 = u64::MAX;
            () -> f64 = -0.5;
            () -> f32 = 0.25;
            () -> bool = true;
            () -> i8 = -3;
            () -> *const u8 = std::ptr::without_provenance(0x1234_5678_9abc_def0);
            (a: bool = true, b: bool = false) -> bool = false;
            (a: i8 = -1, b: u8 = 255, c: i16 = -2, d: u16 = 65534, e: i32 = -3, f: u32 = 7) -> i16 = -4;
            (a: i8 = -1, b: u8 = 255, c: i16 = -2, d: u16 = 65534, e: i8 = -3, f: u8 = 254, g: i16 = -5, h: u16 = 6, i: bool = true) -> u8 = 200;
            (a: f64 = 1.5, b: i32 = -2) -> f64 = 6.0;
            (a: i32 = -2, b: f64 = 1.5) -> f64 = 6.5;
            (a: f32 = 1.5, b: i64 = -2, c: f32 = 2.5, d: i64 = -3, e: f32 = 3.5, f: i64 = -4) -> f32 = 7.0;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4) -> u64 = 5;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4, e: u64 = 5) -> u64 = 6;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4, e: u64 = 5, f: u64 = 6, g: u64 = 7) -> u64 = 8;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4, e: u64 = 5, f: u64 = 6, g: u64 = 7, h: u64 = 8,
                i: u64 = 9, j: u64 = 10, k: u64 = 11, l: u64 = 12) -> u64 = 13;
            (a: f64 = 1.0, b: f64 = 2.0, c: f64 = 3.0, d: f64 = 4.0, e: f64 = 5.0, f: f64 = 6.0, g: f64 = 7.0,
                h: f64 = 8.0, i: f64 = 9.0, j: f64 = 10.0, k: f64 = 11.0, l: f64 = 12.0) -> f64 = 13.0;
            (a: f32 = 1.0, b: f64 = 2.0, c: u64 = 3, d: f32 = 4.0, e: f64 = 5.0, f: i8 = -6, g: f32 = 7.0,
                h: f64 = 8.0, i: u16 = 9, j: f32 = 10.0, k: f64 = 11.0, l: bool = true) -> f32 = 13.0;
        }
    }

    #[test]
    fn a_thunk_of_published_code_owns_it() {
        let pool = ExecPool::new().unwrap();
        let buffer = pool
            .publish(&[
                0x48, 0x8d, 0x04, 0x11, // lea rax, [rcx + rdx]
                0xc3, //                   ret
            ])
            .unwrap();
        // SAFETY: The bytes are such a function.
        let add: OwnedFunction<extern "win64" fn(u64, u64) -> u64> = unsafe { buffer.into_function() };
        let thunk = add.to::<extern "sysv64" fn(u64, u64) -> u64>().unwrap();
        let dynamic = DynThunk::owning(&"L(LL)".parse().unwrap(), Abi::SysV64, Abi::Win64, &add).unwrap();
        drop(add);
        assert_eq!((thunk.call(40, 2), pool.stats().live), (42, 1));
        drop(thunk);
        // SAFETY: As above.
        let function = unsafe { dynamic.function::<extern "sysv64" fn(u64, u64) -> u64>() }.unwrap();
        assert_eq!((function.call(40, 2), pool.stats().live), (42, 1));
        drop(dynamic);
        assert_eq!(pool.stats().live, 0);
    }

    /// The C library's `snprintf`, called as by Windows with an integer and a float.
    #[cfg(unix)]
    #[test]
    fn a_variadic_function_is_called_with_the_arguments_of_the_signature() {
        type Format = extern "win64" fn(*mut u8, u64, *const u8, i32, f64) -> i32;
        let signature = "i(pLp.id)".parse().unwrap();
        let thunk = DynThunk::new(&signature, Abi::Win64, Abi::SysV64, libc::snprintf as *const u8).unwrap();
        // SAFETY: With these types, the function has this signature.
        let format = unsafe { thunk.function::<Format>() }.unwrap();
        let mut text = [0_u8; 32];
        let native = DynThunk::new(&signature, Abi::NATIVE, Abi::NATIVE, libc::snprintf as *const u8).unwrap();
        // SAFETY: Nothing is called.
        let error =
            unsafe { native.function::<extern "C" fn(*mut u8, u64, *const u8, i32, f64) -> i32>() }.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        let length = format.call(text.as_mut_ptr(), 32, c"%d %.2f".as_ptr().cast(), -7, 2.25);
        assert_eq!((length, &text[..8]), (7, &b"-7 2.25\0"[..]));
    }

    #[test]
    fn threads_make_call_and_drop_thunks() {
        extern "win64" fn integer(number: u64) -> u64 {
            number + 1
        }
        extern "win64" fn float(number: f64) -> f64 {
            number + 1.0
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..500_u32 {
                        let one =
                            Thunk::<extern "sysv64" fn(u64) -> u64>::new(integer as extern "win64" fn(u64) -> u64);
                        let other =
                            Thunk::<extern "sysv64" fn(f64) -> f64>::new(float as extern "win64" fn(f64) -> f64);
                        assert_eq!(one.unwrap().call(number.into()), u64::from(number) + 1);
                        assert_eq!(other.unwrap().call(number.into()), f64::from(number) + 1.0);
                    }
                });
            }
        });
    }

    /// Values that are in registers across a panic: more than there are that are preserved, which the compiler does not
    /// know. (Without optimisation they are in memory.)
    macro_rules! in_registers {
        ($floats:ident, $integers:ident) => {
            let [a, b, c, d, e, f, g, h] = &mut $floats;
            let [i, j, k, l, m] = &mut $integers;
            // SAFETY: It does nothing.
            unsafe {
                asm!(
                    "/* {} {} {} {} {} {} {} {} */",
                    inout(xmm_reg) * a,
                    inout(xmm_reg) * b,
                    inout(xmm_reg) * c,
                    inout(xmm_reg) * d,
                    inout(xmm_reg) * e,
                    inout(xmm_reg) * f,
                    inout(xmm_reg) * g,
                    inout(xmm_reg) * h
                );
                asm!(
                    "/* {} {} {} {} {} */",
                    inout(reg) * i,
                    inout(reg) * j,
                    inout(reg) * k,
                    inout(reg) * l,
                    inout(reg) * m
                );
            }
        };
    }

    /// Counts what is dropped while a panic passes.
    struct Guard<'a>(&'a std::cell::Cell<u32>);

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    type Native = extern "C-unwind" fn(u64, f64);
    #[cfg(not(windows))]
    type Foreign = extern "win64-unwind" fn(u64, f64);
    #[cfg(windows)]
    type Foreign = extern "sysv64-unwind" fn(u64, f64);

    extern "C-unwind" fn panics(number: u64, other: f64) {
        panic_any((number, other));
    }

    /// From a function of the system's convention to one of the other, and from there back to one that panics. The functions
    /// between are machine code without a frame, since no compiler's function of the other convention unwinds properly.
    #[test]
    fn panics_pass_through_thunks() {
        let back = Thunk::<Foreign>::new(panics as Native).unwrap();
        let buffer = ExecBuffer::new(&support::jump_to(back.as_ptr())).unwrap();
        // SAFETY: It goes on in a function of this type.
        let there = unsafe { buffer.function::<Foreign>() }.to_native().unwrap();
        let dropped = std::cell::Cell::new(0);
        for number in 1..=3 {
            let mut floats = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5];
            let mut integers = [1_u64, 2, 3, 4, 5];
            in_registers!(floats, integers);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _guard = Guard(&dropped);
                there.call(number.into(), 0.5);
            }));
            let payload = caught.unwrap_err().downcast::<(u64, f64)>().expect("it is the payload");
            in_registers!(floats, integers);
            assert_eq!((*payload, dropped.get()), ((number.into(), 0.5), number));
            assert_eq!((floats, integers), ([1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5], [1, 2, 3, 4, 5]));
        }
    }

    /// Where two functions stand in a backtrace.
    #[inline(never)]
    extern "C" fn innermost(number: u64) -> u64 {
        let trace = std::backtrace::Backtrace::force_capture().to_string();
        // A program without symbols has no names.
        let known = trace.contains("crossing::innermost");
        let seen = trace.contains("crossing::behind_the_thunks");
        if !known {
            skip("names in a backtrace: there are none here");
        }
        assert!(seen || !known, "{trace}");
        std::hint::black_box(number + 1)
    }

    #[cfg(not(windows))]
    type ForeignU64 = extern "win64" fn(u64) -> u64;
    #[cfg(windows)]
    type ForeignU64 = extern "sysv64" fn(u64) -> u64;

    #[inline(never)]
    fn behind_the_thunks(thunk: &Thunk<'_, extern "C" fn(u64) -> u64>) -> u64 {
        std::hint::black_box(thunk.call(41))
    }

    #[test]
    fn backtraces_pass_through_thunks() {
        let back = Thunk::<ForeignU64>::new(innermost as extern "C" fn(u64) -> u64).unwrap();
        let there = back.function().to_native().unwrap();
        assert_eq!(behind_the_thunks(&there), 42);
    }

    /// A thunk that is entered by the system's other convention, and registers that only Win64 preserves.
    #[inline(never)]
    extern "C" fn add_one(number: u64) -> u64 {
        std::hint::black_box(number) + 1
    }

    #[cfg(not(windows))]
    #[test]
    fn a_win64_caller_finds_its_registers() {
        let thunk = Thunk::<extern "win64" fn(u64) -> u64>::new(add_one as extern "C" fn(u64) -> u64).unwrap();
        let result: u64;
        let (mut rdi, mut rsi, mut xmm6, mut xmm15) = (0x1d1_u64, 0x151_u64, 6.5, 15.5);
        // SAFETY: It is a call by Win64's convention, for which the stack is aligned; the thunk does not use the room for
        // arguments that it would have.
        unsafe {
            asm!("call {}", in(reg) thunk.as_ptr(), inout("rcx") 41_u64 => _, inout("rdi") rdi, inout("rsi") rsi,
                inout("xmm6") xmm6, inout("xmm15") xmm15, out("rax") result, out("rdx") _, out("r8") _, out("r9") _,
                out("r10") _, out("r11") _, out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
                out("xmm5") _);
        }
        assert_eq!((result, rdi, rsi, xmm6, xmm15), (42, 0x1d1, 0x151, 6.5, 15.5));
    }

    /// Runs a test above in gdb, which stops in a function, and returns what gdb writes to these commands.
    /// `None`, said aloud: there is no gdb that works.
    fn in_gdb(test: &str, function: &str, commands: &[&str]) -> Option<String> {
        if cfg!(not(target_os = "linux")) || support::is_cross() {
            skip("gdb: only on Linux, where it runs itself");
            return None;
        }
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new("gdb")
            .args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "set breakpoint pending on"])
            .args(["-ex", &format!("break thunk_handles::crossing::{function}"), "-ex", "run", "-ex", "backtrace"])
            .args(commands.iter().flat_map(|command| ["-ex", command]))
            .arg("--args")
            .arg(program)
            .args(["--exact", test])
            .output();
        let Ok(output) = output else {
            skip("gdb: there is none");
            return None;
        };
        let written = String::from_utf8_lossy(&output.stdout).into_owned();
        if !written.contains("#0 ") {
            let errors = String::from_utf8_lossy(&output.stderr);
            skip(&format!("gdb: it could not run the program: {}", errors.lines().last().unwrap_or_default()));
            return None;
        }
        Some(written)
    }

    #[cfg(not(windows))]
    #[test]
    fn gdb_finds_the_registers_of_a_win64_caller() {
        let frame = "frame function execbuf_thunk_win64_to_sysv64";
        let commands =
            [frame, "up", "print/x $rdi", "print/x $rsi", "print $xmm6.v2_double[0]", "print $xmm15.v2_double[0]"];
        let Some(text) = in_gdb("crossing::a_win64_caller_finds_its_registers", "add_one", &commands) else {
            return;
        };
        for value in ["$1 = 0x1d1", "$2 = 0x151", "$3 = 6.5", "$4 = 15.5"] {
            assert!(text.lines().any(|line| line == value), "no {value}: {text}");
        }
    }

    #[test]
    fn gdb_knows_thunks() {
        let Some(text) = in_gdb("crossing::backtraces_pass_through_thunks", "innermost", &[]) else { return };
        let (_, frames) = text.split_once("#0 ").expect("a backtrace");
        let place = |name| frames.find(name).unwrap_or_else(|| panic!("no {name}: {text}"));
        let places = [
            place("crossing::innermost"),
            place("execbuf_thunk_win64_to_sysv64"),
            place("execbuf_thunk_sysv64_to_win64"),
            place("crossing::behind_the_thunks"),
            place("crossing::backtraces_pass_through_thunks"),
        ];
        assert!(places.is_sorted(), "{text}");
    }
}
