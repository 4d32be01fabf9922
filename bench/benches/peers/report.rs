//! The table of all figures. Criterion measures the times.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};

use crate::Result;

/// The table: a row for each measurement, a column for each library, both in the order of their first figures.
pub(crate) struct Report {
    criterion: Criterion,
    directory: PathBuf,
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<(&'static str, String)>)>,
}

impl Report {
    pub(crate) fn new(quick: bool) -> Result<Self> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
        // Removes the figures of earlier runs, so that none is mistaken for one of this run, or compared with it.
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        let milliseconds = if quick { 50 } else { 1000 };
        let criterion = Criterion::default()
            .output_directory(&directory)
            .sample_size(if quick { 10 } else { 50 })
            .warm_up_time(Duration::from_millis(milliseconds))
            .measurement_time(Duration::from_millis(3 * milliseconds));
        Ok(Self { criterion, directory, columns: Vec::new(), rows: Vec::new() })
    }

    /// Adds a figure to the table, or the reason why there is none.
    pub(crate) fn set(&mut self, row: &str, library: &'static str, figure: Result<impl Display>) {
        let text = figure.map_or_else(|error| error.to_string(), |figure| figure.to_string());
        if !self.columns.contains(&library) {
            self.columns.push(library);
        }
        let cell = (library, text);
        match self.rows.iter_mut().find(|(name, _)| name == row) {
            Some((_, cells)) => cells.push(cell),
            None => self.rows.push((row.to_string(), vec![cell])),
        }
    }

    /// Measures a time and adds it to the table. The closure runs the given number of turns, and returns how long they
    /// took.
    pub(crate) fn time(
        &mut self,
        row: &str,
        library: &'static str,
        take: impl FnMut(u64) -> Result<Duration>,
    ) -> Option<f64> {
        let time = self.measure(row, library, take);
        let given = time.as_ref().ok().copied();
        self.set(row, library, time.map(Time));
        given
    }

    /// Returns the median time of a turn in nanoseconds.
    fn measure(&mut self, row: &str, library: &str, mut take: impl FnMut(u64) -> Result<Duration>) -> Result<f64> {
        take(1)?;
        let mut failure = None;
        self.criterion.bench_with_input(BenchmarkId::new(row, library), &(), |bencher, ()| {
            bencher.iter_custom(|turns| {
                take(turns).unwrap_or_else(|error| {
                    failure = Some(error);
                    // Criterion cannot be stopped, and divides by this time.
                    Duration::from_nanos(turns)
                })
            });
        });
        if let Some(error) = failure {
            return Err(error);
        }
        let file = self.directory.join(row).join(library).join("new/estimates.json");
        let estimates: serde_json::Value = serde_json::from_str(&fs::read_to_string(file)?)?;
        Ok(estimates["median"]["point_estimate"].as_f64().ok_or("criterion gives no median")?)
    }
}

/// Formats the machine, the table and the notes as Markdown.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n| |", machine().unwrap_or_else(|error| error.to_string()))?;
        for library in &self.columns {
            write!(f, " {} |", with_version(library))?;
        }
        writeln!(f, "\n|---|{}", "---:|".repeat(self.columns.len()))?;
        for (name, cells) in &self.rows {
            write!(f, "| {name} |")?;
            for column in &self.columns {
                let cell = cells.iter().find(|(library, _)| library == column);
                write!(f, " {} |", cell.map_or("", |(_, text)| text))?;
            }
            writeln!(f)?;
        }
        write!(f, "\n{NOTES}")
    }
}

/// Returns the name of a library with its version in Cargo.lock: the last one, if other packages use older ones.
fn with_version(library: &str) -> String {
    let lock = include_str!("../../../Cargo.lock");
    let (_, package) = lock.rsplit_once(&format!("name = \"{library}\"\nversion = \"")).unwrap_or_default();
    let version = package.split('"').next().unwrap_or_default();
    format!("{library} {version}").trim_end().to_string()
}

/// A time in nanoseconds.
pub(crate) struct Time(pub(crate) f64);

/// Explains the figures.
const NOTES: &str = "\
- Times are per piece of code or per call. With several threads on one pool, or a pool for each, they are the times of each
  thread; where threads pass code to each other, those between two pieces.
- A time with two others in brackets is a median with the quartiles, of samples of all libraries in turn, A B A B. \"Relative\"
  figures are quotients of two samples of the same turn. Other times are criterion's medians.
- Memory is the growth of the process (`Pss` in /proc/self/smaps), including all bookkeeping but not the handles.
- `jit-allocator2` has no lock: one thread uses it directly, except in the rows about threads, where it is in a `Mutex`.
- `ExecPool, from C`: the calls of the C API, without the safe types. `AsmJit`: its `JitAllocator`, with the options that
  jit-allocator2 has by default.
- Threads pass code to each other in batches of 256, by queues of 16 batches.
- In the rows about forks, the child of a fork ends at once, or waits until the parent has published. Libraries that share memory
  with the child are not measured there.
- `Thunk`: one of many thunks with the same signature. `rustc`: the code that the compiler emits to call a function of the
  other convention. `libffi`: `ffi_call`, and from Win64 a closure.
- `Closure` and `Caller`: execbuf's closures, and its calls by slots (`Caller::call_raw`). `DynClosure`: its closures by a signature
  that is text, answered by `Invocation`, and, from C, by slots.
- Instructions are those between one call and the next, counted with the processor's trap flag.
- `closure-ffi` and `libffi` publish a function that calls a Rust closure, instead of bytes.
- `malloc` and `mimalloc` show the cost of the same writes in ordinary memory, traps and cache misses included. Nothing is
  executable.
- \"live code overlaps\": in a check before the measurement, two live pieces of code shared memory.
";

/// Formats the time with three digits.
impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            ns if ns < 999.5 => (ns, "ns"),
            ns if ns < 999.5e3 => (ns / 1e3, "µs"),
            ns => (ns / 1e6, "ms"),
        };
        let digits = if number < 9.995 { 2 } else { usize::from(number < 99.95) };
        write!(f, "{number:.digits$} {unit}")
    }
}

/// Formats a number with separators: 1000000 as 1,000,000.
pub(crate) fn thousands(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", thousands(number / 1000), number % 1000) }
}

/// Describes the machine.
fn machine() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = processors.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split_once(": ")).ok_or("a processor without a name")?.1;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {} cores, Linux {}", models.len(), kernel.trim()))
}
