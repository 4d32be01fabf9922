//! The table of all figures, and criterion's clock for those that are times.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};

use crate::Result;

/// A row for each figure, a column for each library, both in the order in which they come.
pub(crate) struct Report {
    criterion: Criterion,
    directory: PathBuf,
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<(&'static str, String)>)>,
}

impl Report {
    pub(crate) fn new(quick: bool) -> Result<Self> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
        // No figure of an earlier run can be taken for one of this run, or be compared with it.
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

    /// Puts a figure into the table, or why there is none.
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

    /// Measures a time and puts it into the table. The closure takes so many turns, and says how long they took.
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

    /// The median of the nanoseconds that a turn takes.
    fn measure(&mut self, row: &str, library: &str, mut take: impl FnMut(u64) -> Result<Duration>) -> Result<f64> {
        take(1)?;
        let mut failure = None;
        self.criterion.bench_with_input(BenchmarkId::new(row, library), &(), |bencher, ()| {
            bencher.iter_custom(|turns| {
                take(turns).unwrap_or_else(|error| {
                    failure = Some(error);
                    // Criterion can't be stopped, and can't divide by zero.
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

/// The table and what belongs to it, as Markdown.
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

/// A peer with the version that Cargo chose for it.
fn with_version(library: &str) -> String {
    let lock = include_str!("../../../Cargo.lock");
    let (_, package) = lock.split_once(&format!("name = \"{library}\"\nversion = \"")).unwrap_or_default();
    let version = package.split('"').next().unwrap_or_default();
    format!("{library} {version}").trim_end().to_string()
}

/// Nanoseconds.
pub(crate) struct Time(pub(crate) f64);

/// What one should know about the figures.
const NOTES: &str = "\
- Times are criterion's medians, per piece of code or call. Two threads: the time that each of them sees.
- Memory is what the process has grown by (`Pss` in /proc/self/smaps), with all book-keeping, without the handles.
- `jit-allocator2` has no lock of its own: it is used without one by one thread, and in a `Mutex` by two.
- `Thunk`: one of many with the same signature. `rustc` crosses by the code that the compiler makes for calls of a function of the
  other convention; `libffi` by `ffi_call`, and from Win64 by a closure.
- Instructions are what the processor executes from one call to the next, by its trap flag.
- `closure-ffi` and `libffi` publish a function that calls a Rust closure, instead of bytes.
- `malloc` stands for what the same writes take in ordinary memory, on this machine's caches: nothing is executable.
- \"live code overlaps\": in a test before the measurement, two pieces of code got the same memory.
";

/// With three digits.
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

/// 1000000 as 1,000,000.
pub(crate) fn thousands(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", thousands(number / 1000), number % 1000) }
}

/// What all this was measured on.
fn machine() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = processors.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split_once(": ")).ok_or("a processor without a name")?.1;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {} cores, Linux {}", models.len(), kernel.trim()))
}
