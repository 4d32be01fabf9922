//! Measures times.

use std::hint::black_box;
use std::time::{Duration, Instant};

use execbuf::ExecPool;

use crate::Result;
use crate::libraries::{Library, RDTSC};
use crate::report::Report;

/// The name of a library, and its time in nanoseconds.
pub(crate) type Bar = (&'static str, f64);

/// Publishes and releases one function at a time, by one thread.
pub(crate) fn publish<L: Library>(report: &mut Report) -> Option<Bar> {
    let mut library = L::new().and_then(called_once);
    let time = report.time("publish and release 10 bytes, one thread", L::NAME, |turns| {
        let library = library.as_mut().map_err(|error| error.to_string())?;
        repeat(turns, || {
            let code = library.publish(&RDTSC)?;
            black_box(L::entry(&code));
            library.release(code)
        })
    });
    time.map(|time| (L::NAME, time))
}

/// Checks that code published by the library can be called.
fn called_once<L: Library>(mut library: L) -> Result<L> {
    let code = library.publish(&RDTSC)?;
    black_box(L::run(&code));
    library.release(code)?;
    Ok(library)
}

/// Returns how long a number of turns takes, including dropping their results.
pub(crate) fn repeat<T>(turns: u64, mut turn: impl FnMut() -> Result<T>) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..turns {
        drop(black_box(turn()?));
    }
    Ok(start.elapsed())
}

/// Publishes many pieces of code, with one call for each or with one call for all, and releases them.
pub(crate) fn batch(report: &mut Report) -> Result<()> {
    let codes: [&[u8]; 1000] = [&[0xc3; 64]; 1000]; // ret, repeated
    let pool = ExecPool::new()?;
    report.time("publish and release 1,000 × 64 bytes, per piece", ExecPool::NAME, |turns| {
        let time = repeat(turns, || {
            let mut buffers = Vec::with_capacity(codes.len());
            for code in codes {
                buffers.push(pool.publish(code)?);
            }
            Ok(buffers)
        });
        Ok(time? / 1000)
    });
    report.time("publish and release 1,000 × 64 bytes by publish_batch", ExecPool::NAME, |turns| {
        Ok(repeat(turns, || Ok(pool.publish_batch(&codes)?))? / 1000)
    });
    Ok(())
}

/// Calls the same machine code in several ways. Each call depends on the result of the previous one.
pub(crate) fn call(report: &mut Report) -> Result<()> {
    type Add = extern "sysv64" fn(u64, u64) -> u64;

    let add = [
        0x48, 0x8d, 0x04, 0x37, // lea rax, [rdi + rsi]
        0xc3, //                   ret
    ];
    let pool = ExecPool::new()?;
    // SAFETY: The bytes are such a function, which accepts any arguments.
    let owned = unsafe { pool.publish(&add)?.into_function::<Add>() };
    // SAFETY: As above.
    let function = unsafe { owned.owner().function::<Add>() };
    // SAFETY: `owned` outlives the pointer.
    let pointer = unsafe { function.as_fn() };

    let mut row = |row, calls: &dyn Fn(u64) -> u64| {
        report.time(row, ExecPool::NAME, |turns| {
            let start = Instant::now();
            black_box(calls(turns));
            Ok(start.elapsed())
        });
    };
    row("call through a function pointer", &|turns| (0..turns).fold(0, |sum, turn| pointer(sum, turn)));
    row("call through Function", &|turns| (0..turns).fold(0, |sum, turn| function.call(sum, turn)));
    row("call through an owned Function", &|turns| (0..turns).fold(0, |sum, turn| owned.call(sum, turn)));
    Ok(())
}
