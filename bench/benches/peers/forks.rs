//! Forks of a process that has pools.

use std::io;
use std::time::Instant;

use execbuf::{ExecBuffer, ExecPool};

use crate::Result;
use crate::libraries::{Library, RDTSC};
use crate::memory::Snapshot;
use crate::paired::{self, Contender, Effort, Sample};
use crate::report::{Report, thousands};

/// How much to measure.
pub(crate) struct Plan {
    /// The numbers of pools that have a function.
    pub(crate) pools: &'static [usize],
    /// The number of pools without code.
    pub(crate) empty: usize,
    /// The number of forks after each of which a function is published and kept.
    pub(crate) kept: usize,
}

pub(crate) fn all(report: &mut Report, effort: Effort, plan: &Plan) -> Result<()> {
    let mut contenders = vec![contender("fork, no pool".to_string(), beside(0, false))];
    for &count in plan.pools {
        let row = format!("fork, {} pools with a function each", thousands(count));
        contenders.push(contender(row, beside(count, true)));
    }
    let row = format!("fork, {} pools without code", thousands(plan.empty));
    contenders.push(contender(row, beside(plan.empty, false)));
    paired::measure(report, effort, contenders);

    let row = |text: &str| format!("first publish after a fork, {text}");
    let contenders = vec![
        contender(row("in the parent, the child is gone"), first_publish(Place::ParentAlone)?),
        contender(row("in the parent, the child lives"), first_publish(Place::Parent)?),
        contender(row("in the child"), first_publish(Place::Child)?),
    ];
    paired::measure(report, effort, contenders);
    keep(report, plan.kept)
}

fn contender(row: String, sample: Sample) -> Contender {
    Contender { row, library: ExecPool::NAME, sample: Ok(sample) }
}

/// The child of a fork, which waits until this value is dropped.
struct Child {
    process: libc::pid_t,
    /// The child ends when the parent closes this end of a pipe.
    pipe: libc::c_int,
}

impl Child {
    /// Forks. The child does its work, and exits when the parent has dropped the result. Also returns the time that the
    /// call took in the parent, in nanoseconds.
    fn start(work: impl FnOnce()) -> Result<(Self, f64)> {
        let mut ends = [0; 2];
        // SAFETY: The array has two elements.
        if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error().into());
        }
        let start = Instant::now();
        // SAFETY: No other thread runs, so the child may do what the parent may.
        let process = unsafe { libc::fork() };
        let time = start.elapsed().as_secs_f64() * 1e9;
        if process == 0 {
            // SAFETY: The descriptors are open, and the byte is writable. The child ends without destructors, because the
            // parent's files and threads are not its own.
            unsafe {
                libc::close(ends[1]);
                work();
                let mut byte = 0_u8;
                libc::read(ends[0], (&raw mut byte).cast(), 1);
                libc::_exit(0);
            }
        }
        let error = io::Error::last_os_error();
        // SAFETY: The descriptor is open.
        unsafe { libc::close(ends[0]) };
        let child = Self { process, pipe: ends[1] };
        if process < 0 { Err(error.into()) } else { Ok((child, time)) }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: The descriptor is open. The process is a child, unless the fork failed.
        unsafe {
            libc::close(self.pipe);
            if self.process > 0 {
                libc::waitpid(self.process, std::ptr::null_mut(), 0);
            }
        }
    }
}

/// The time of a fork in the parent, with new pools each time, because a fork changes the state of a pool.
fn beside(count: usize, with_code: bool) -> Sample {
    Box::new(move || {
        let pools = (0..count).map(|_| Ok(ExecPool::new()?)).collect::<Result<Vec<_>>>()?;
        let publish = |pool: &ExecPool| Ok(pool.publish(&RDTSC)?);
        let _code: Vec<ExecBuffer> =
            if with_code { pools.iter().map(publish).collect::<Result<_>>()? } else { Vec::new() };
        Child::start(|| ()).map(|(_, time)| time)
    })
}

/// Where the code is published.
#[derive(Clone, Copy)]
enum Place {
    ParentAlone,
    Parent,
    Child,
}

/// The time of the first publish after a fork. All code is released before the next sample.
fn first_publish(place: Place) -> Result<Sample> {
    let pool = ExecPool::new()?;
    let code = pool.publish(&RDTSC)?;
    Ok(Box::new(move || {
        let _ = &code;
        let (mut reader, mut writer) = io::pipe()?;
        let (child, _) = match place {
            Place::Child => Child::start(|| {
                // The parent sees the end of the file if this fails.
                if let Ok(time) = publish(&pool) {
                    let _ = io::Write::write_all(&mut writer, &time.to_ne_bytes());
                }
                // SAFETY: As in `Child::start`.
                unsafe { libc::_exit(0) };
            })?,
            Place::Parent | Place::ParentAlone => Child::start(|| ())?,
        };
        if matches!(place, Place::Child) {
            drop(writer);
            let mut bytes = [0; 8];
            io::Read::read_exact(&mut reader, &mut bytes)?;
            return Ok(f64::from_ne_bytes(bytes));
        }
        // Dropping the child waits for its end.
        let _living = matches!(place, Place::Parent).then_some(child);
        publish(&pool)
    }))
}

/// Returns the time of a publish in nanoseconds.
fn publish(pool: &ExecPool) -> Result<f64> {
    let start = Instant::now();
    let code = pool.publish(&RDTSC)?;
    let time = start.elapsed();
    drop(code);
    Ok(time.as_secs_f64() * 1e9)
}

/// What forks cost the parent if it publishes a function after each of them, and keeps it.
fn keep(report: &mut Report, count: usize) -> Result<()> {
    let pool = ExecPool::new()?;
    let mut code = vec![pool.publish(&RDTSC)?];
    code.reserve(count);
    let before = Snapshot::take()?;
    for _ in 0..count {
        drop(Child::start(|| ())?);
        code.push(pool.publish(&RDTSC)?);
    }
    let after = Snapshot::take()?;
    let row = |what: &str| format!("{what} after {} forks that each keep a function", thousands(count));
    let mappings = after.mappings.saturating_sub(before.mappings);
    report.set(&row("additional mappings"), ExecPool::NAME, Ok(thousands(mappings)));
    let memory = after.memory.saturating_sub(before.memory) / count;
    report.set(&row("memory for each function"), ExecPool::NAME, Ok(format!("{} bytes", thousands(memory))));
    Ok(())
}
