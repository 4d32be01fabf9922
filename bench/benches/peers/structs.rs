//! Calls from one convention to the other with a struct as argument and result.

use std::hint::black_box;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

use execbuf::{AbiType, Function, abi_struct};

use crate::Result;
use crate::libraries::{Library, Thunks};
use crate::report::Report;
use crate::thunks::measure;

type SysV<S> = extern "sysv64" fn(S) -> S;
type Win64<S> = extern "win64" fn(S) -> S;

abi_struct! {
    /// System V passes it in two registers, Win64 by address.
    struct Pair {
        first: f64,
        second: f64,
    }
}

abi_struct! {
    /// System V passes it on the stack, Win64 by address.
    struct Quad {
        numbers: [u64; 4],
    }
}

/// A struct, and what the functions that are called do with it.
trait Step: AbiType {
    const START: Self;
    fn step(self) -> Self;
    fn bits(self) -> u64;
}

impl Step for Pair {
    const START: Self = Self { first: 0.0, second: 1.0 };

    fn step(self) -> Self {
        Self { first: self.second, second: self.first + 1.0 }
    }

    fn bits(self) -> u64 {
        self.first.to_bits()
    }
}

impl Step for Quad {
    const START: Self = Self { numbers: [1, 2, 3, 4] };

    fn step(self) -> Self {
        let [a, b, c, d] = self.numbers;
        Self { numbers: [b, c, d, a.wrapping_add(1)] }
    }

    fn bits(self) -> u64 {
        self.numbers[0]
    }
}

extern "sysv64" fn sysv64<S: Step>(value: S) -> S {
    value.step()
}

extern "win64" fn win64<S: Step>(value: S) -> S {
    value.step()
}

/// The address of the function that `to_win64` or `to_sysv64` calls.
static TARGET: AtomicU64 = AtomicU64::new(0);

extern "sysv64" fn to_win64<S: Step>(value: S) -> S {
    // SAFETY: `call_with` stores a function of this type.
    let target: Win64<S> = unsafe { mem::transmute(TARGET.load(Ordering::Relaxed)) };
    target(value)
}

extern "win64" fn to_sysv64<S: Step>(value: S) -> S {
    // SAFETY: As above.
    let target: SysV<S> = unsafe { mem::transmute(TARGET.load(Ordering::Relaxed)) };
    target(value)
}

/// A closure that makes calls, each with the result of the one before.
macro_rules! calls {
    ($function:expr) => {{
        let function = black_box($function);
        move |turns: u64| (0..turns).fold(S::START, |value, _| function(value)).bits()
    }};
}

pub(crate) fn call(report: &mut Report) -> Result<()> {
    call_with::<Pair>(report, "call with a struct of two doubles")?;
    call_with::<Quad>(report, "call with a struct of 32 bytes")
}

fn call_with<S: Step>(report: &mut Report, name: &str) -> Result<()> {
    let row = format!("{name}, from System V to Win64");
    let target: Win64<S> = win64;
    TARGET.store(target as usize as u64, Ordering::Relaxed);
    let thunk = Function::from_fn(target).into_abi::<SysV<S>>()?;
    // SAFETY: The thunk outlives the pointer.
    let called_by_sysv64 = unsafe { thunk.as_fn() };
    measure(report, &row, "rustc", calls!(to_win64::<S> as SysV<S>))?;
    measure(report, &row, Thunks::NAME, calls!(called_by_sysv64))?;

    let row = format!("{name}, from Win64 to System V");
    let target: SysV<S> = sysv64;
    TARGET.store(target as usize as u64, Ordering::Relaxed);
    let thunk = Function::from_fn(target).into_abi::<Win64<S>>()?;
    // SAFETY: The thunk outlives the pointer.
    let called_by_win64 = unsafe { thunk.as_fn() };
    measure(report, &row, "rustc", calls!(to_sysv64::<S> as Win64<S>))?;
    measure(report, &row, Thunks::NAME, calls!(called_by_win64))?;
    Ok(())
}
