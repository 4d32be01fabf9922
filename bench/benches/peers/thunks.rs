//! Measures calls from one convention to the other, in time and instructions.

use std::hint::black_box;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use execbuf::{ExecBuffer, ExecPool, Function};

use crate::Result;
use crate::instructions::count;
use crate::libraries::{Library, Thunks};
use crate::report::Report;

type SysV = extern "sysv64" fn(u64, u64, u64, u64) -> u64;
type Win64 = extern "win64" fn(u64, u64, u64, u64) -> u64;

/// A System V function that adds four integers.
const SYSV64: [u8; 11] = [
    0x48, 0x8d, 0x04, 0x37, // lea rax, [rdi + rsi]
    0x48, 0x01, 0xd0, //       add rax, rdx
    0x48, 0x01, 0xc8, //       add rax, rcx
    0xc3, //                   ret
];

/// A Win64 function that adds four integers.
const WIN64: [u8; 11] = [
    0x48, 0x8d, 0x04, 0x11, // lea rax, [rcx + rdx]
    0x4c, 0x01, 0xc0, //       add rax, r8
    0x4c, 0x01, 0xc8, //       add rax, r9
    0xc3, //                   ret
];

/// The address of the function that `to_win64` or `to_sysv64` calls.
static TARGET: AtomicU64 = AtomicU64::new(0);

fn target<F: Copy>() -> F {
    // SAFETY: `call` stores a function of this type.
    unsafe { mem::transmute_copy(&TARGET.load(Ordering::Relaxed)) }
}

extern "sysv64" fn to_win64(a: u64, b: u64, c: u64, d: u64) -> u64 {
    target::<Win64>()(a, b, c, d)
}

extern "win64" fn to_sysv64(a: u64, b: u64, c: u64, d: u64) -> u64 {
    target::<SysV>()(a, b, c, d)
}

/// A closure that makes calls, each of which depends on the result of the previous one. It is a macro so that each
/// pointer gets its own loop.
macro_rules! calls {
    ($function:expr) => {
        |turns: u64| (0..turns).fold(0, |sum: u64, turn| $function(sum, turn, 3, 4))
    };
}
pub(crate) use calls;

pub(crate) fn call(report: &mut Report) -> Result<()> {
    let pool = ExecPool::new()?;
    let sysv64: ExecBuffer = pool.publish(&SYSV64)?;
    let win64: ExecBuffer = pool.publish(&WIN64)?;
    // SAFETY: The bytes are such functions, and they outlive the pointers.
    let (sysv64, win64) = unsafe { (sysv64.function::<SysV>().as_fn(), win64.function::<Win64>().as_fn()) };
    let to_win64_thunk = Function::from_fn(win64).into_abi::<SysV>()?;
    let to_sysv64_thunk = Function::from_fn(sysv64).into_abi::<Win64>()?;
    // SAFETY: The thunks outlive the pointers.
    let (called_by_sysv64, called_by_win64) = unsafe { (to_win64_thunk.as_fn(), to_sysv64_thunk.as_fn()) };

    let row = "call with 4 integers, without crossing";
    measure(report, row, ExecPool::NAME, calls!(black_box(sysv64)))?;

    let row = "call with 4 integers, from System V to Win64";
    TARGET.store(win64 as usize as u64, Ordering::Relaxed);
    let rustc = measure(report, row, "rustc", calls!(black_box(to_win64 as SysV)))?;
    let thunk = measure(report, row, Thunks::NAME, calls!(black_box(called_by_sysv64)))?;
    assert!(thunk <= rustc + 5, "the thunk takes {thunk} instructions, rustc's code {rustc}");
    #[cfg(feature = "libffi")]
    measure(report, row, "libffi", libffi::to_win64(win64))?;

    let row = "call with 4 integers, from Win64 to System V";
    TARGET.store(sysv64 as usize as u64, Ordering::Relaxed);
    let rustc = measure(report, row, "rustc", calls!(black_box(to_sysv64 as Win64)))?;
    let thunk = measure(report, row, Thunks::NAME, calls!(black_box(called_by_win64)))?;
    assert!(thunk <= rustc + 5, "the thunk takes {thunk} instructions, rustc's code {rustc}");
    #[cfg(feature = "libffi")]
    {
        let closure = libffi::to_sysv64()?;
        // SAFETY: libffi makes a function of this type, which outlives the pointer.
        let called_by_win64: Win64 = unsafe { mem::transmute(*closure.code_ptr()) };
        measure(report, row, "libffi", calls!(black_box(called_by_win64)))?;
    }
    Ok(())
}

/// Adds the time and the number of instructions of a call to the table. Returns the number of instructions.
pub(crate) fn measure(
    report: &mut Report,
    row: &str,
    column: &'static str,
    calls: impl Fn(u64) -> u64,
) -> Result<u64> {
    report.time(row, column, |turns| {
        let start = Instant::now();
        black_box(calls(turns));
        Ok(start.elapsed())
    });
    // The instructions outside of the loop cancel out.
    let instructions = count(|| black_box(calls(black_box(3))))?.1 - count(|| black_box(calls(black_box(2))))?.1;
    report.set(&format!("{row}, instructions"), column, Ok(instructions));
    Ok(instructions)
}

#[cfg(feature = "libffi")]
mod libffi {
    use super::Win64;
    use crate::Result;
    use libffi::middle::{Builder, Closure, CodePtr, Type, arg};
    use libffi::{low, raw};

    fn signature() -> Builder {
        Builder::new()
            .args([Type::u64(), Type::u64(), Type::u64(), Type::u64()])
            .res(Type::u64())
            .abi(raw::ffi_abi_FFI_GNUW64)
    }

    /// Does the same as `calls!`, with `ffi_call`.
    pub(super) fn to_win64(target: Win64) -> impl Fn(u64) -> u64 {
        let cif = signature().into_cif();
        let target = CodePtr::from_ptr(target as *const _);
        move |turns| {
            (0..turns).fold(0, |sum: u64, turn| {
                let arguments = [arg(&sum), arg(&turn), arg(&3_u64), arg(&4_u64)];
                // SAFETY: The target is a function with this signature.
                unsafe { cif.call(target, &arguments) }
            })
        }
    }

    unsafe extern "C" fn add(
        _: &low::ffi_cif,
        result: &mut u64,
        arguments: *const *const std::ffi::c_void,
        _: &(),
    ) {
        // SAFETY: There are four arguments of this type.
        *result = (0..4).map(|index| unsafe { *(*arguments.add(index)).cast::<u64>() }).sum();
    }

    pub(super) fn to_sysv64() -> Result<Closure<'static>> {
        signature().try_into_closure(add, &()).map_err(|error| format!("{error:?}").into())
    }
}
