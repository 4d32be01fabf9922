//! Compiles the programs and runs them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs, thread};

use crate::support::signatures::number;
use crate::support::{self, Random};
use crate::{Signature, c, rust, values};

/// The part of the programs for thunks that is not generated.
pub(crate) const CROSSING: &str = "tests/c/crossing.c";

/// The maximum number of random signatures in one program.
pub(crate) const PROGRAM: usize = 250;

/// A compiler with its options.
#[derive(Clone)]
pub(crate) struct Compiler {
    pub(crate) command: Vec<String>,
    pub(crate) is_rust: bool,
    /// The object files of the library and of the part of the programs that is not generated.
    pub(crate) objects: Vec<PathBuf>,
    /// Runs the programs, if it is not empty.
    pub(crate) runner: String,
}

impl Compiler {
    pub(crate) fn name(&self) -> String {
        self.command.join(" ")
    }

    /// As [`Self::run_text`], with a program for these signatures.
    pub(crate) fn run(&self, name: &str, signatures: &[Signature]) -> Result<(), String> {
        self.run_text(name, &if self.is_rust { rust::program(signatures) } else { c::program(signatures) })
    }

    /// Compiles a program and runs it. If a thunk is wrong, the error contains the program's output.
    pub(crate) fn run_text(&self, name: &str, text: &str) -> Result<(), String> {
        let source = directory().join(name).with_extension(if self.is_rust { "rs" } else { "c" });
        let program = source.with_extension("exe");
        fs::write(&source, text).expect("the directory is there");
        let mut command = self.command();
        command.arg(&source).arg("-o").arg(&program);
        if self.is_rust {
            let object = |path: &PathBuf| format!("-Clink-arg={}", path.display());
            command.args(["--edition=2024", "-Awarnings"]).args(self.objects.iter().map(object));
            // glibc's pthread_atfork is in the static part of libc, which linkers search only for the objects before it.
            command.arg("-Clink-arg=-lc");
        } else {
            command.args(["-std=c11", "-w", "-pthread"]).args(includes()).args(&self.objects);
        }
        succeed(&mut command);
        let mut words = self.runner.split_whitespace().map(PathBuf::from).chain([program]);
        let output =
            Command::new(words.next().expect("at least the program")).args(words).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stderr);
        let failure = format!("{}, {}: {}: {text}", self.name(), source.display(), output.status);
        output.status.success().then_some(()).ok_or(failure)
    }

    /// Returns whether the compiler passes these types as the convention says. clang 14 for x86-64 passes 128-bit
    /// integers in memory and some unions wrongly, and Rust before 1.86 results of 128 bits. With optimisation, gcc 12's
    /// `va_arg` for AArch64 does not read structs of vectors.
    pub(crate) fn is_right(&self, signature: &values::Signature) -> bool {
        let is_clang = self.name().contains("clang");
        if is_for_aarch64() {
            !(is_clang && signature.uses_padding()) && (is_clang || !signature.has_variadic_structs_with("m"))
        } else {
            let is_wrong = is_clang && (signature.has("xX") || signature.uses_padding());
            let is_old = self.is_rust && cfg!(not(execbuf_win64_i128));
            !(is_wrong || is_old && signature.returns("xX"))
        }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
    }
}

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("crossing")
}

/// Returns the options with the include directories.
pub(crate) fn includes() -> [String; 2] {
    let root = env!("CARGO_MANIFEST_DIR");
    [format!("-I{root}/csrc/include"), format!("-I{root}/tests/c")]
}

pub(crate) fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Compiles the library and a file of `tests/c` into a directory of this test, because other tests may run at the same
/// time. The variant is an option for the library, or empty.
pub(crate) fn objects(compiler: &[&str], seed: u64, test: &str, source: &str, variant: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = directory().join(format!("{test}_{}", compiler.join("_").replace('/', "_")));
    fs::create_dir_all(&out).expect("the directory can be created");
    let sources = ["csrc/execbuf.c", source].map(|file| root.join(file));
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).current_dir(&out).args(["-std=c11", "-w", "-O1", "-c"]);
    command.args((!variant.is_empty()).then_some(variant));
    succeed(command.arg(format!("-DSEED={seed}u")).args(includes()).args(&sources));
    let object = |source: &PathBuf| out.join(source.file_name().expect("it has one")).with_extension("o");
    sources.iter().map(object).collect()
}

/// Returns all available compilers, each without and with optimisation.
pub(crate) fn compilers(seed: u64, test: &str) -> Vec<Compiler> {
    compilers_with(seed, test, "")
}

/// The same, with an option for the library.
pub(crate) fn compilers_with(seed: u64, test: &str, variant: &str) -> Vec<Compiler> {
    let given = env::var("EXECBUF_CC").ok();
    let mut names = vec![given.as_deref().unwrap_or("cc")];
    if given.is_none() && Command::new("clang").arg("--version").output().is_ok() {
        names.push("clang");
    }
    let runner = env::var("EXECBUF_RUNNER").unwrap_or_default();
    let mut compilers = Vec::new();
    for name in names {
        let words: Vec<&str> = name.split_whitespace().collect();
        let objects = objects(&words, seed, test, CROSSING, variant);
        for level in ["-O0", "-O2"] {
            let command = words.iter().chain([&level]).map(ToString::to_string).collect();
            compilers.push(Compiler { command, is_rust: false, objects: objects.clone(), runner: runner.clone() });
        }
    }
    if given.is_none() {
        compilers.extend(["0", "2"].map(|level| rustc(level, compilers[0].objects.clone())));
    }
    compilers
}

pub(crate) fn rustc(level: &str, objects: Vec<PathBuf>) -> Compiler {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    Compiler {
        command: vec![rustc, format!("-Copt-level={level}")],
        is_rust: true,
        objects,
        runner: String::new(),
    }
}

/// Returns whether the programs are for Windows.
pub(crate) fn is_windows() -> bool {
    cfg!(windows) || env::var("EXECBUF_CC").is_ok_and(|compiler| compiler.contains("mingw"))
}

/// Returns whether `EXECBUF_CC` compiles for AArch64, which has no thunks.
pub(crate) fn is_for_aarch64() -> bool {
    env::var("EXECBUF_CC").is_ok_and(|compiler| compiler.contains("aarch64"))
}

/// Returns whether these programs can be compiled here. If not, prints a SKIP line.
pub(crate) fn can_compile() -> bool {
    let what = "thunks against compiled code";
    if is_for_aarch64() {
        support::skip(&format!("{what}: AArch64 has none"));
        return false;
    }
    if cfg!(target_vendor = "apple") {
        support::skip(&format!("{what}: assembler names differ on this system"));
    }
    support::can_compile(what) && cfg!(not(target_vendor = "apple"))
}

/// A program that is compiled and run: the compiler, its name and how to write it.
pub(crate) type Job<'a> = (&'a Compiler, String, Box<dyn FnOnce() -> String + Send>);

/// Does the jobs, as many at a time as there are processors.
pub(crate) fn work(jobs: Vec<Job<'_>>) {
    let jobs = Mutex::new(jobs);
    let work = || {
        loop {
            let job = jobs.lock().expect("no thread panics with it").pop();
            let Some((compiler, name, write)) = job else { break };
            compiler.run_text(&name, &write()).unwrap_or_else(|error| panic!("{error}"));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
}

/// Divides the random signatures among the compilers, and these among programs: calls `each` with a compiler, its random
/// numbers, how many signatures the program has, and what its name ends in.
pub(crate) fn divide<'a>(
    compilers: &'a [Compiler],
    seed: u64,
    mut each: impl FnMut(&'a Compiler, &mut Random, usize, &str) -> Job<'a>,
) -> Vec<Job<'a>> {
    let count = number("EXECBUF_THUNKS", 60);
    let share = usize::try_from(count).expect("it fits").div_ceil(compilers.len());
    let names: Vec<_> = compilers.iter().map(Compiler::name).collect();
    support::say(&format!("{share} signatures for each of {}; EXECBUF_SEED={seed}", names.join(", ")));
    let mut jobs = Vec::new();
    for (index, compiler) in compilers.iter().enumerate() {
        let mut random = Random(seed.wrapping_mul(1000) + index as u64);
        for start in (0..share).step_by(PROGRAM) {
            let count = PROGRAM.min(share - start);
            jobs.push(each(compiler, &mut random, count, &format!("{index}_{start}")));
        }
    }
    jobs
}
