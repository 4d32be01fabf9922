//! Measures memory. Each figure comes from a separate process.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Command;

use execbuf::ExecPool;
use jit_allocator2::JitAllocator;

use crate::churn::{Churn, MIXED};
use crate::libraries::{ClosureFfi, Library, POOL, Thunks};
use crate::report::{Report, thousands};
use crate::{PEERS, Plan, Result};

/// The first argument of such a process.
pub(crate) const CHILD: &str = "measure-memory";

/// Measures a library with one of the two tasks and a number of pieces of code. Returns rows of the table with their
/// figures.
pub(crate) type Measure = fn(&str, usize) -> Result<Vec<(String, String)>>;

/// The task of publishing functions of 10 bytes.
const SMALL: &str = "a function of 10 bytes";
/// The task of publishing code of mixed lengths, then freeing and replacing pieces ten times as often.
const CHURN: &str = "a byte of code after 10 turns for each piece";

/// The libraries that place many functions in a page.
const DENSE: &[&str] = &[
    ExecPool::NAME,
    Thunks::NAME,
    <Box<JitAllocator>>::NAME,
    #[cfg(has_asmjit)]
    crate::shared::AsmJit::NAME,
    ClosureFfi::NAME,
];

pub(crate) fn all(report: &mut Report, plan: &Plan) -> Result<()> {
    for &count in plan.small {
        // With the other libraries, a million functions would need 4 GiB.
        for peer in PEERS.iter().filter(|peer| count <= 10_000 || DENSE.contains(&peer.name)) {
            start(report, SMALL, peer.name, count)?;
        }
    }
    for &count in plan.memory {
        start(report, CHURN, ExecPool::NAME, count)?;
        start(report, CHURN, <Box<JitAllocator>>::NAME, count)?;
        #[cfg(has_asmjit)]
        start(report, CHURN, crate::shared::AsmJit::NAME, count)?;
    }
    Ok(())
}

/// Starts a process that measures, and adds its figures to the table.
fn start(report: &mut Report, task: &str, library: &'static str, count: usize) -> Result<()> {
    let child = Command::new(env::current_exe()?).args([CHILD, task, library, &count.to_string()]).output()?;
    if child.status.success() {
        for (row, figure) in String::from_utf8(child.stdout)?.lines().filter_map(|line| line.split_once('\t')) {
            report.set(row, library, Ok(figure));
        }
    } else {
        let text = String::from_utf8_lossy(&child.stderr);
        let error = text.lines().next().map_or_else(|| child.status.to_string(), str::to_string);
        report.set(&memory_row(task, count), library, Result::<&str>::Err(error.into()));
    }
    Ok(())
}

fn memory_row(task: &str, count: usize) -> String {
    format!("memory for {task}, {} live", thousands(count))
}

/// Runs in the child process: measures, and prints the rows and their figures.
pub(crate) fn child(task: &str, library: &str, count: &str) -> Result<()> {
    let peer = PEERS.iter().find(|peer| peer.name == library).ok_or("no such library")?;
    for (row, figure) in (peer.memory)(task, count.parse()?)? {
        println!("{row}\t{figure}");
    }
    Ok(())
}

pub(crate) fn measure<L: Library>(task: &str, count: usize) -> Result<Vec<(String, String)>> {
    let (lengths, turns) = if task == SMALL { (10..11, 0) } else { (MIXED, 10 * count) };
    Churn::<L>::check(&lengths)?;
    let churn = Churn::<L>::new(count, &lengths)?;
    let before = Snapshot::take()?;
    let mut churn = churn.filled()?;
    for _ in 0..turns {
        churn.turn()?;
    }
    let after = Snapshot::take()?;

    let live = format!("{} live", thousands(count));
    let memory = after.memory.saturating_sub(before.memory) as f64;
    let own = churn.library.own_figures();
    if task == SMALL {
        let each = |memory: f64| format!("{:.0} bytes", memory / count as f64);
        let mappings = thousands(after.mappings.saturating_sub(before.mappings));
        let own = own.map(|(_, bookkeeping)| {
            let row = format!("the same, from the pool's mappings and `bookkeeping`, {live}");
            (row, each((after.pool + bookkeeping) as f64))
        });
        let rows = [
            (memory_row(task, count), each(memory)),
            (format!("additional mappings of the process, {live}"), mappings),
        ];
        Ok(rows.into_iter().chain(own).collect())
    } else {
        let each = |memory: f64| format!("{:.2} bytes", memory / churn.requested() as f64);
        let mapped = after.executable.saturating_sub(before.executable) as f64;
        let own = own.map(|(resident, _)| (format!("the same, from `resident`, {live}"), each(resident as f64)));
        let rows = [
            (memory_row(task, count), each(memory)),
            (format!("executable address space for it, {live}"), each(mapped)),
        ];
        Ok(rows.into_iter().chain(own).collect())
    }
}

/// Figures of the process from /proc/self/smaps. Sizes are in bytes.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) mappings: usize,
    /// The size of executable mappings.
    executable: usize,
    /// Resident memory. A page that is mapped twice counts once.
    pub(crate) memory: usize,
    /// Resident memory of the mappings with the pool's name.
    pool: usize,
}

impl Snapshot {
    pub(crate) fn take() -> Result<Self> {
        let mut snapshot = Self::default();
        let (mut executable, mut pool) = (false, false);
        for line in BufReader::new(File::open("/proc/self/smaps")?).lines() {
            let line = line?;
            let mut words = line.split_ascii_whitespace();
            let (Some(first), Some(second)) = (words.next(), words.next()) else { continue };
            let size = || Result::Ok(second.parse::<usize>()? * 1024);
            match first {
                "Size:" if executable => snapshot.executable += size()?,
                "Pss:" => {
                    snapshot.memory += size()?;
                    snapshot.pool += if pool { size()? } else { 0 };
                }
                // The first line of a mapping has its address range and its protection.
                _ if !first.ends_with(':') => {
                    snapshot.mappings += 1;
                    executable = second.contains('x');
                    pool = line.contains(POOL);
                }
                _ => {}
            }
        }
        Ok(snapshot)
    }
}
