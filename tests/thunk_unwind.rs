//! Panics and backtraces through thunks, registers that thunks preserve, and thunks in gdb.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::float_cmp, reason = "the numbers are passed on unchanged")]

mod support;

use std::arch::asm;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use execbuf::dynamic::{Caller, DynClosure, Invocation};
use execbuf::{Abi, ExecBuffer, FnPtr, Function};
use support::{has_proc, skip};

/// Makes the compiler keep values in registers across a panic: more values than there are preserved registers. (Without
/// optimisation the values are in memory.)
macro_rules! in_registers {
    ($floats:ident, $integers:ident) => {
        let [a, b, c, d, e, f, g, h] = &mut $floats;
        let [i, j, k, l, m] = &mut $integers;
        // SAFETY: The assembly consists only of comments.
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

/// Counts drops, to check that unwinding runs destructors.
struct Guard<'a>(&'a std::cell::Cell<u32>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

type Native = unsafe extern "C-unwind" fn(u64, f64);
// Outside of Windows, only `unsafe` "win64-unwind" types implement `FnPtr`.
#[cfg(not(windows))]
type Foreign = unsafe extern "win64-unwind" fn(u64, f64);
#[cfg(windows)]
type Foreign = unsafe extern "sysv64-unwind" fn(u64, f64);

extern "C-unwind" fn panics(number: u64, other: f64) {
    panic_any((number, other));
}

/// Calls from the native convention to the foreign one, and from there back to a native function that panics. The
/// function in between is machine code without a frame, because compilers emit no correct unwind tables for functions
/// of the foreign convention.
#[test]
fn panics_pass_through_thunks() {
    let back = Function::from_fn(panics as Native).into_abi::<Foreign>().unwrap();
    let buffer = ExecBuffer::new(&support::jump_to(back.as_ptr())).unwrap();
    // SAFETY: The code jumps to a function of this type.
    let there = unsafe { buffer.function::<Foreign>() }.into_native().unwrap();
    let dropped = std::cell::Cell::new(0);
    for number in 1..=3 {
        let mut floats = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5];
        let mut integers = [1_u64, 2, 3, 4, 5];
        in_registers!(floats, integers);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _guard = Guard(&dropped);
            // SAFETY: No frame that makes a Win64 call catches the panic, or drops values while it passes.
            unsafe { there.call(number.into(), 0.5) };
        }));
        let payload = caught.unwrap_err().downcast::<(u64, f64)>().expect("the payload has this type");
        in_registers!(floats, integers);
        assert_eq!((*payload, dropped.get()), ((number.into(), 0.5), number));
        assert_eq!((floats, integers), ([1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5], [1, 2, 3, 4, 5]));
    }
}

/// Takes a backtrace and checks that it contains the caller of the thunks.
#[inline(never)]
extern "C" fn innermost(number: u64) -> u64 {
    let trace = std::backtrace::Backtrace::force_capture().to_string();
    // A program without symbols has no names.
    let has_names = trace.contains("thunk_unwind::innermost");
    let has_caller = trace.contains("::caller_of_the_thunks");
    if !has_names {
        skip("names in a backtrace: this program is without symbols");
    }
    assert!(has_caller || !has_names, "{trace}");
    std::hint::black_box(number + 1)
}

#[cfg(not(windows))]
type ForeignU64 = extern "win64" fn(u64) -> u64;
#[cfg(windows)]
type ForeignU64 = extern "sysv64" fn(u64) -> u64;

#[inline(never)]
fn caller_of_the_thunks<O>(thunk: &Function<extern "C" fn(u64) -> u64, O>) -> u64 {
    std::hint::black_box(thunk.call(41))
}

#[test]
fn backtraces_pass_through_thunks() {
    let back = Function::from_fn(innermost as extern "C" fn(u64) -> u64).into_abi::<ForeignU64>().unwrap();
    let there = back.to_native().unwrap();
    assert_eq!(caller_of_the_thunks(&there), 42);
}

#[test]
fn backtraces_pass_through_dynamic_calls() {
    #[inline(never)]
    fn caller_of_the_thunks(caller: &Caller, function: *const u8) -> u64 {
        let mut args = caller.args();
        args.set(0, 41_u64).unwrap();
        // SAFETY: The function has this signature and ABI.
        std::hint::black_box(unsafe { args.call(function) }.unwrap())
    }
    let back = Function::from_fn(innermost as extern "C" fn(u64) -> u64).into_abi::<ForeignU64>().unwrap();
    let signature = "L(L)".parse().unwrap();
    for (abi, function) in [(Abi::NATIVE, innermost as *const u8), (ForeignU64::ABI, back.as_ptr())] {
        assert_eq!(caller_of_the_thunks(&Caller::new(&signature, abi).unwrap(), function), 42);
    }
}

/// Closures of both conventions; the second one is called by a thunk.
#[test]
fn backtraces_pass_through_closures_for_run_time_signatures() {
    let answer = |call: &mut Invocation<'_>| call.set_result(innermost(call.arg(0).unwrap())).unwrap();
    let signature = "L(L)".parse().unwrap();
    let native = DynClosure::new(&signature, Abi::NATIVE, answer).unwrap();
    let native = native.into_function::<extern "C" fn(u64) -> u64>().unwrap();
    assert_eq!(caller_of_the_thunks(&native), 42);
    let foreign = DynClosure::new(&signature, ForeignU64::ABI, answer).unwrap();
    let there = foreign.into_function::<ForeignU64>().unwrap().into_native().unwrap();
    assert_eq!(caller_of_the_thunks(&there), 42);
}

/// The target of a thunk with the Win64 convention.
#[cfg(not(windows))]
#[inline(never)]
extern "C" fn add_one(number: u64) -> u64 {
    std::hint::black_box(number) + 1
}

#[cfg(not(windows))]
#[test]
fn a_thunk_preserves_the_registers_of_a_win64_caller() {
    let thunk = Function::from_fn(add_one as extern "C" fn(u64) -> u64);
    let thunk = thunk.into_abi::<extern "win64" fn(u64) -> u64>().unwrap();
    let result: u64;
    let (mut rdi, mut rsi, mut xmm6, mut xmm15) = (0x1d1_u64, 0x151_u64, 6.5, 15.5);
    // SAFETY: This is a call with the Win64 convention: the stack is aligned, and all registers that the callee may
    // change are declared. There is no shadow space, but the thunk does not use it.
    unsafe {
        asm!("call {}", in(reg) thunk.as_ptr(), inout("rcx") 41_u64 => _, inout("rdi") rdi, inout("rsi") rsi,
            inout("xmm6") xmm6, inout("xmm15") xmm15, out("rax") result, out("rdx") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
            out("xmm5") _);
    }
    assert_eq!((result, rdi, rsi, xmm6, xmm15), (42, 0x1d1, 0x151, 6.5, 15.5));
}

/// Runs a test of this file in gdb, stops in a function, and returns the output of gdb's commands. If gdb does not work
/// here, prints a SKIP line and returns `None`.
fn in_gdb(test: &str, function: &str, commands: &[&str]) -> Option<String> {
    if cfg!(not(target_os = "linux")) || support::is_cross() {
        skip("gdb: only for native programs on Linux");
        return None;
    }
    if !has_proc() {
        return None;
    }
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new("gdb")
        .args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "set breakpoint pending on"])
        .args(["-ex", &format!("break thunk_unwind::{function}"), "-ex", "run", "-ex", "backtrace"])
        .args(commands.iter().flat_map(|command| ["-ex", command]))
        .arg("--args")
        .arg(program)
        .args(["--exact", test])
        .output();
    let Ok(output) = output else {
        skip("gdb: it is not installed");
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
    let Some(text) = in_gdb("a_thunk_preserves_the_registers_of_a_win64_caller", "add_one", &commands) else {
        return;
    };
    for value in ["$1 = 0x1d1", "$2 = 0x151", "$3 = 6.5", "$4 = 15.5"] {
        assert!(text.lines().any(|line| line == value), "no {value}: {text}");
    }
}

#[test]
fn gdb_shows_the_names_of_dynamic_calls() {
    let Some(text) = in_gdb("backtraces_pass_through_dynamic_calls", "innermost", &[]) else { return };
    let (_, frames) = text.split_once("#0 ").expect("a backtrace");
    let place = |name| frames.find(name).unwrap_or_else(|| panic!("no {name}: {text}"));
    let name = if cfg!(windows) { "execbuf_call_win64" } else { "execbuf_call_sysv64" };
    let places = [
        place("thunk_unwind::innermost"),
        place(name),
        place("dynamic::caller::Caller::call_raw"),
        place("thunk_unwind::backtraces_pass_through_dynamic_calls"),
    ];
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn gdb_shows_the_names_of_closures_for_run_time_signatures() {
    let test = "backtraces_pass_through_closures_for_run_time_signatures";
    let Some(text) = in_gdb(test, "innermost", &["continue", "backtrace"]) else { return };
    let (native, foreign) = text.rsplit_once("#0 ").expect("two backtraces");
    for (frames, name) in [(native, "execbuf_closure_sysv64"), (foreign, "execbuf_closure_win64")] {
        let place = |name| frames.find(name).unwrap_or_else(|| panic!("no {name}: {text}"));
        let places = [place(name), place("thunk_unwind::caller_of_the_thunks")];
        assert!(places.is_sorted(), "{text}");
    }
}

#[test]
fn gdb_shows_the_names_of_thunks() {
    let Some(text) = in_gdb("backtraces_pass_through_thunks", "innermost", &[]) else { return };
    let (_, frames) = text.split_once("#0 ").expect("a backtrace");
    let place = |name| frames.find(name).unwrap_or_else(|| panic!("no {name}: {text}"));
    let places = [
        place("thunk_unwind::innermost"),
        place("execbuf_thunk_win64_to_sysv64"),
        place("execbuf_thunk_sysv64_to_win64"),
        place("thunk_unwind::caller_of_the_thunks"),
        place("thunk_unwind::backtraces_pass_through_thunks"),
    ];
    assert!(places.is_sorted(), "{text}");
}
