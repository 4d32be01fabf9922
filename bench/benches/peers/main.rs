//! Benchmarks of execbuf and of other libraries that make code executable.
//!
//! `cargo bench -p execbuf-bench` runs for some minutes and prints a table. It writes the table to `bench/results.md`
//! and the charts to `docs/speed.svg` and `docs/threads.svg`. With `EXECBUF_BENCH_QUICK=1` it runs for a minute, only to
//! check that everything works, and writes these files to the target directory.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the machine code is for x86-64, and the memory figures come from Linux' /proc");

mod chart;
mod churn;
mod closures;
mod descriptions;
mod forks;
mod instructions;
mod libraries;
mod memory;
mod paired;
mod report;
mod shared;
mod speed;
mod structs;
mod threads;
mod thunks;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, error, fs};

use execbuf::ExecPool;
use jit_allocator2::JitAllocator;

use libraries::{ClosureFfi, Dynasm, Library, Memmap, Region, Single, Thunks};
use paired::Effort;
use report::Report;
use speed::Bar;

type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

/// The number of live pieces of code in each benchmark.
struct Plan {
    quick: bool,
    /// For the times of freeing one piece of code and publishing another.
    churn: &'static [usize],
    /// For the memory after ten such operations for each piece.
    memory: &'static [usize],
    /// For the memory of 10-byte functions.
    small: &'static [usize],
    /// For what is measured in turns.
    effort: Effort,
    forks: forks::Plan,
    /// For the memory of descriptions.
    described: usize,
}

impl Plan {
    fn new() -> Self {
        if env::var_os("EXECBUF_BENCH_QUICK").is_some() {
            Self {
                quick: true,
                churn: &[1_000, 20_000],
                memory: &[1_000],
                small: &[10_000],
                effort: Effort { rounds: 3, time: Duration::from_millis(2) },
                forks: forks::Plan { pools: &[10], empty: 100, kept: 20 },
                described: 1_000,
            }
        } else {
            Self {
                quick: false,
                churn: &[1_000, 20_000, 100_000, 400_000],
                memory: &[1_000, 20_000, 100_000],
                small: &[10_000, 1_000_000],
                effort: Effort { rounds: 61, time: Duration::from_millis(20) },
                forks: forks::Plan { pools: &[100, 800], empty: 8_000, kept: 1_000 },
                described: 100_000,
            }
        }
    }

    /// Returns the path of a file to write. A quick run writes to the target directory instead.
    fn output(&self, path: &str) -> PathBuf {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let name = path.file_name().expect("the path of a file");
        if self.quick { Path::new(env!("CARGO_TARGET_TMPDIR")).join(name) } else { path }
    }
}

/// The measurements that every library has.
struct Peer {
    name: &'static str,
    publish: fn(&mut Report) -> Option<Bar>,
    memory: memory::Measure,
}

const fn peer<L: Library>() -> Peer {
    Peer { name: L::NAME, publish: speed::publish::<L>, memory: memory::measure::<L> }
}

const PEERS: &[Peer] = &[
    peer::<ExecPool>(),
    peer::<Single>(),
    peer::<Thunks>(),
    peer::<Box<JitAllocator>>(),
    #[cfg(has_asmjit)]
    peer::<shared::AsmJit>(),
    peer::<Memmap>(),
    peer::<Region>(),
    peer::<Dynasm>(),
    peer::<ClosureFfi>(),
    #[cfg(feature = "libffi")]
    peer::<libraries::LibFfi>(),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [memory::CHILD, task, library, count] = arguments[..] {
        return memory::child(task, library, count).inspect_err(|error| {
            // The parent puts the first line into the table.
            eprintln!("{error}");
        });
    }
    if let [forks::CHILD, task, count] = arguments[..] {
        return forks::child(task, count);
    }
    if cfg!(all(feature = "asmjit", not(has_asmjit))) {
        println!("SKIP: AsmJit: it is not installed, or there is no C++ compiler");
    }
    let plan = Plan::new();
    let mut report = Report::new(plan.quick)?;
    let bars: Vec<Bar> = PEERS.iter().filter_map(|peer| (peer.publish)(&mut report)).collect();
    let throughput = threads::all(&mut report, plan.effort);
    forks::all(&mut report, plan.effort, &plan.forks)?;
    speed::batch(&mut report)?;
    descriptions::all(&mut report, plan.effort, plan.described)?;
    let lines = churn::speed(&mut report, plan.effort, plan.churn);
    speed::call(&mut report)?;
    thunks::call(&mut report)?;
    structs::call(&mut report)?;
    closures::all(&mut report)?;
    memory::all(&mut report, &plan)?;

    print!("\n{report}");
    fs::write(plan.output("bench/results.md"), report.to_string())?;
    chart::draw(&plan.output("docs/speed.svg"), &bars, &lines)?;
    chart::draw_threads(&plan.output("docs/threads.svg"), &throughput)
}
