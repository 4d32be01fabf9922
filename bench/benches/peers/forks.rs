//! Forks of a process that has pools. Each sample comes from a new process: a process that has had many pools keeps memory of
//! the heap, and forks more slowly.

use std::process::Command;
use std::time::Instant;
use std::{env, io};

use execbuf::{ExecBuffer, ExecPool};

use crate::Result;
use crate::libraries::{Library, RDTSC};
use crate::memory::Snapshot;
use crate::paired::{self, Contender, Effort};
use crate::report::{Report, thousands};

/// The first argument of such a process.
pub(crate) const CHILD: &str = "measure-forks";

/// What such a process measures.
const POOLS: &str = "pools";
const EMPTY: &str = "empty pools";
const PARENT_ALONE: &str = "in the parent, the child is gone";
const PARENT: &str = "in the parent, the child lives";
const IN_CHILD: &str = "in the child";
const KEEP: &str = "keep";

/// The number of forks in each process that measures the first publish. It returns the median.
const FORKS: usize = 21;

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
    let mut contenders = vec![contender("fork, no pool".to_string(), POOLS, 0)];
    for &count in plan.pools {
        contenders.push(contender(format!("fork, {} pools with a function each", thousands(count)), POOLS, count));
    }
    contenders.push(contender(format!("fork, {} pools without code", thousands(plan.empty)), EMPTY, plan.empty));
    paired::measure(report, effort, contenders);

    let first = |task| contender(format!("first publish after a fork, {task}"), task, FORKS);
    paired::measure(report, effort, [PARENT_ALONE, PARENT, IN_CHILD].map(first).into());

    let [mappings, memory] = in_new_process(KEEP, plan.kept)?[..] else {
        return Err("two figures expected".into());
    };
    let row = |what: &str| format!("{what} after {} forks that each keep a function", thousands(plan.kept));
    report.set(&row("additional mappings"), ExecPool::NAME, Ok(format!("{mappings:.0}")));
    report.set(&row("memory for each function"), ExecPool::NAME, Ok(format!("{memory:.0} bytes")));
    Ok(())
}

fn contender(row: String, task: &'static str, count: usize) -> Contender {
    let sample = move || Ok(*in_new_process(task, count)?.first().ok_or("no figure")?);
    Contender { row, library: ExecPool::NAME, sample: Ok(Box::new(sample)) }
}

/// Starts a process that measures, and returns its figures.
fn in_new_process(task: &str, count: usize) -> Result<Vec<f64>> {
    let output = Command::new(env::current_exe()?).args([CHILD, task, &count.to_string()]).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    String::from_utf8(output.stdout)?.split_whitespace().map(|figure| Ok(figure.parse()?)).collect()
}

/// Runs in that process: measures, and prints the figures.
pub(crate) fn child(task: &str, count: &str) -> Result<()> {
    let count = count.parse()?;
    match task {
        POOLS | EMPTY => println!("{}", beside(count, task == POOLS)?),
        KEEP => {
            let (mappings, memory) = keep(count)?;
            println!("{mappings} {memory}");
        }
        _ => println!("{}", first_publish(task, count)?),
    }
    Ok(())
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

/// The time of a fork in the parent, which has pools.
fn beside(count: usize, with_code: bool) -> Result<f64> {
    let pools = (0..count).map(|_| Ok(ExecPool::new()?)).collect::<Result<Vec<_>>>()?;
    let publish = |pool: &ExecPool| Ok(pool.publish(&RDTSC)?);
    let _code: Vec<ExecBuffer> =
        if with_code { pools.iter().map(publish).collect::<Result<_>>()? } else { Vec::new() };
    Child::start(|| ()).map(|(_, time)| time)
}

/// The median time of the first publish after a fork. The code is released before the next fork, except for one function.
fn first_publish(task: &str, count: usize) -> Result<f64> {
    let pool = ExecPool::new()?;
    let _code = pool.publish(&RDTSC)?;
    let mut times = (0..count).map(|_| first_publish_after_a_fork(&pool, task)).collect::<Result<Vec<_>>>()?;
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[count / 2])
}

fn first_publish_after_a_fork(pool: &ExecPool, task: &str) -> Result<f64> {
    if task == IN_CHILD {
        let (mut reader, mut writer) = io::pipe()?;
        let _child = Child::start(|| {
            // The parent sees the end of the file if this fails, because the child ends.
            if let Ok(time) = publish(pool) {
                let _ = io::Write::write_all(&mut writer, &time.to_ne_bytes());
            }
            // SAFETY: As in `Child::start`.
            unsafe { libc::_exit(0) };
        })?;
        drop(writer);
        let mut bytes = [0; 8];
        io::Read::read_exact(&mut reader, &mut bytes)?;
        return Ok(f64::from_ne_bytes(bytes));
    }
    let (child, _) = Child::start(|| ())?;
    // Dropping the child waits for its end.
    let _living = (task == PARENT).then_some(child);
    publish(pool)
}

/// Returns the time of a publish in nanoseconds.
fn publish(pool: &ExecPool) -> Result<f64> {
    let start = Instant::now();
    let code = pool.publish(&RDTSC)?;
    let time = start.elapsed();
    drop(code);
    Ok(time.as_secs_f64() * 1e9)
}

/// Publishes a function after each of many forks, and keeps it. Returns the additional mappings, and the additional memory
/// for each function.
fn keep(count: usize) -> Result<(usize, usize)> {
    let pool = ExecPool::new()?;
    let mut code = vec![pool.publish(&RDTSC)?];
    code.reserve(count);
    let before = Snapshot::take()?;
    for _ in 0..count {
        drop(Child::start(|| ())?);
        code.push(pool.publish(&RDTSC)?);
    }
    let after = Snapshot::take()?;
    Ok((after.mappings.saturating_sub(before.mappings), after.memory.saturating_sub(before.memory) / count))
}
