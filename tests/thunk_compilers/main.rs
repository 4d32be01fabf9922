//! Tests thunks with random signatures against compiled code. The tests generate programs in which the same compiler
//! compiles the callers and the targets of thunks, and run them. `tests/c/crossing.h` documents what the programs
//! check.
//!
//! `EXECBUF_THUNKS` sets the number of signatures of each test (default 60), which are divided among the compilers; each
//! signature is tested in both directions. `EXECBUF_SEED` sets the seed of the random numbers (default 1). The compilers are cc,
//! clang and rustc; `EXECBUF_CC` replaces them with one C compiler, and `EXECBUF_RUNNER` runs its programs.
#![cfg(target_arch = "x86_64")]

mod arm;
mod c;
mod calls;
mod decoded;
mod edits;
mod handlers;
mod known;
mod rust;
mod rust_values;
#[path = "../support/mod.rs"]
mod support;
mod types;
mod values;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs, thread};

use edits::Edit;
use known::{KNOWN, KNOWN_VALUES};
use support::Random;
use support::signatures::{number, random_signature};

/// The part of the programs for thunks that is not generated.
const CROSSING: &str = "tests/c/crossing.c";

/// The maximum number of random signatures in one program.
const PROGRAM: usize = 250;

/// The signature of a function that is called through a thunk.
struct Signature {
    text: String,
    /// The text from which the thunk is made. It differs from `text` only to show that a test can fail.
    declared: String,
    result: char,
    arguments: Vec<char>,
    /// The number of arguments before `...`; all of them if the function is not variadic.
    fixed: usize,
    /// The position of a pointer that closures insert.
    context: Option<usize>,
}

impl Signature {
    fn new(text: &str) -> Self {
        let mut letters = text.chars();
        let result = letters.next().expect("it has a result");
        let arguments: Vec<char> = letters.clone().filter(|letter| !"(.)".contains(*letter)).collect();
        let fixed = text.find('.').map_or(arguments.len(), |at| at - 2);
        Self { text: text.to_owned(), declared: text.to_owned(), result, arguments, fixed, context: None }
    }

    /// As `new`, with one more argument, which closures insert.
    fn with_context(text: &str, random: &mut Random) -> Self {
        let (text, position) = edits::with_context(text, random);
        Self { context: Some(position), ..Self::new(&text) }
    }

    fn is_variadic(&self) -> bool {
        self.fixed < self.arguments.len()
    }
}

/// The ABI of a thunk's callers. The target has the other one.
#[derive(Clone, Copy, PartialEq)]
enum CallerAbi {
    SysV64,
    Win64,
    /// There is no thunk: `execbuf_call` or a closure calls the target, which has the convention of the system.
    Packed,
}

/// A compiler with its options.
#[derive(Clone)]
struct Compiler {
    command: Vec<String>,
    is_rust: bool,
    /// The object files of the library and of the part of the programs that is not generated.
    objects: Vec<PathBuf>,
    /// Runs the programs, if it is not empty.
    runner: String,
}

impl Compiler {
    fn name(&self) -> String {
        self.command.join(" ")
    }

    /// As [`Self::run_text`], with a program for these signatures.
    fn run(&self, name: &str, signatures: &[Signature]) -> Result<(), String> {
        self.run_text(name, &if self.is_rust { rust::program(signatures) } else { c::program(signatures) })
    }

    /// Compiles a program and runs it. If a thunk is wrong, the error contains the program's output.
    fn run_text(&self, name: &str, text: &str) -> Result<(), String> {
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

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("crossing")
}

/// Returns the options with the include directories.
fn includes() -> [String; 2] {
    let root = env!("CARGO_MANIFEST_DIR");
    [format!("-I{root}/csrc/include"), format!("-I{root}/tests/c")]
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Compiles the library and a file of `tests/c` into a directory of this test, because other tests may run at the same
/// time. The variant is an option for the library, or empty.
fn objects(compiler: &[&str], seed: u64, test: &str, source: &str, variant: &str) -> Vec<PathBuf> {
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
fn compilers(seed: u64, test: &str) -> Vec<Compiler> {
    compilers_with(seed, test, "")
}

/// The same, with an option for the library.
fn compilers_with(seed: u64, test: &str, variant: &str) -> Vec<Compiler> {
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

fn rustc(level: &str, objects: Vec<PathBuf>) -> Compiler {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    Compiler {
        command: vec![rustc, format!("-Copt-level={level}")],
        is_rust: true,
        objects,
        runner: String::new(),
    }
}

/// Returns whether `EXECBUF_CC` compiles for AArch64, which has no thunks.
fn is_for_aarch64() -> bool {
    env::var("EXECBUF_CC").is_ok_and(|compiler| compiler.contains("aarch64"))
}

/// Returns whether these programs can be compiled here. If not, prints a SKIP line.
fn can_compile() -> bool {
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
type Job<'a> = (&'a Compiler, String, Box<dyn FnOnce() -> String + Send>);

/// Does the jobs, as many at a time as there are processors.
fn work(jobs: Vec<Job<'_>>) {
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
fn divide<'a>(
    compilers: &'a [Compiler],
    count: u64,
    seed: u64,
    mut each: impl FnMut(&'a Compiler, &mut Random, usize, &str) -> Job<'a>,
) -> Vec<Job<'a>> {
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

/// Each program has the known signatures, and different random ones.
#[test]
fn thunks_agree_with_compiled_code() {
    if !can_compile() {
        return;
    }
    let (count, seed) = (number("EXECBUF_THUNKS", 60), number("EXECBUF_SEED", 1));
    let compilers = compilers(seed, "agree");
    work(divide(&compilers, count, seed, |compiler, random, count, number| {
        let known = KNOWN.iter().map(|&text| text.to_owned());
        let more = (0..count).map(|_| random_signature(random));
        let all: Vec<_> = known.chain(more).map(|text| Signature::new(&text)).collect();
        let is_rust = compiler.is_rust;
        let write = move || if is_rust { rust::program(&all) } else { c::program(&all) };
        (compiler, format!("crossing{number}"), Box::new(write))
    }));
}

/// The same for values that are longer than a word, or have members.
///
/// clang 14 passes 128-bit integers in memory at addresses that are no multiples of 16, or partly in a register, which
/// is wrong (llvm-project#41784, #59011). It also loses the bytes of a union that are padding in its longest member
/// (llvm-project#76017). So its programs have neither. rustc with LLVM before 21 has its own faults with 128-bit integers
/// (llvm-project#123935, rust#134290).
#[test]
fn thunks_agree_with_compiled_code_on_structs() {
    if !can_compile() {
        return;
    }
    let (count, seed) = (number("EXECBUF_THUNKS", 60), number("EXECBUF_SEED", 1));
    let compilers = compilers(seed, "structs");
    work(divide(&compilers, count, seed, |compiler, random, count, number| {
        let (is_rust, is_clang) = (compiler.is_rust, compiler.name().contains("clang"));
        let agrees = |signature: &values::Signature| {
            let is_wrong = is_clang || is_rust && cfg!(not(execbuf_i128));
            !(is_wrong && signature.has("xX") || is_clang && signature.uses_padding())
        };
        let known = KNOWN_VALUES.iter().map(|text| values::Signature::parse(text));
        let more = (0..count).map(|_| values::Signature::random(random));
        let all: Vec<_> = known.chain(more).filter(agrees).collect();
        let write = move || if is_rust { rust_values::program(&all) } else { values::program(&all) };
        (compiler, format!("structs{number}"), Box::new(write))
    }));
}

/// Compares the layouts of AArch64 with the code of gcc, which an emulator runs: a quarter as many signatures.
#[test]
fn layouts_of_aarch64_agree_with_compiled_code() {
    let words = ["aarch64-linux-gnu-gcc", "-static"];
    let missing =
        [words[0], "qemu-aarch64"].into_iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(tool) = missing {
        return support::skip(&format!("AArch64: layouts: no {tool}"));
    }
    if env::var_os("EXECBUF_CC").is_some() {
        return;
    }
    let (count, seed) = (number("EXECBUF_THUNKS", 60) / 4, number("EXECBUF_SEED", 1));
    let objects = objects(&words, seed, "arm", "tests/c/arm_layouts.c", "");
    let compilers = ["-O0", "-O2"].map(|level| Compiler {
        command: words.iter().chain(&[level]).map(ToString::to_string).collect(),
        is_rust: false,
        objects: objects.clone(),
        runner: "qemu-aarch64".to_owned(),
    });
    work(divide(&compilers, count, seed, |compiler, random, count, number| {
        let known = KNOWN.iter().chain(KNOWN_VALUES).map(|text| values::Signature::parse(text));
        let more = (0..count).map(|i| {
            let scalars = random_signature(random);
            if i % 4 == 0 { values::Signature::parse(&scalars) } else { values::Signature::random(random) }
        });
        let all: Vec<_> = known.chain(more).collect();
        (compiler, format!("arm{number}"), Box::new(move || arm::program(&all)))
    }));
}

/// Closures at every position, and functions that drop an argument, with all types and both conventions. The target and
/// the caller are compiled, and the thunk between them is one that the tests above look at.
#[test]
fn closures_agree_with_compiled_code() {
    if !can_compile() {
        return;
    }
    let (count, seed) = (number("EXECBUF_THUNKS", 60), number("EXECBUF_SEED", 1));
    let compilers: Vec<_> = compilers(seed, "closures").into_iter().filter(|compiler| !compiler.is_rust).collect();
    let share = usize::try_from(count).expect("it fits").div_ceil(2 * compilers.len());
    thread::scope(|scope| {
        for (index, compiler) in compilers.iter().enumerate() {
            scope.spawn(move || {
                let mut random = Random(seed.wrapping_mul(1000) + index as u64);
                for start in (0..share).step_by(PROGRAM) {
                    let more = start..share.min(start + PROGRAM);
                    let known = KNOWN.iter().map(|&text| text.to_owned());
                    let texts: Vec<_> = known.chain(more.clone().map(|_| random_signature(&mut random))).collect();
                    let words: Vec<_> = texts
                        .iter()
                        .map(|text| Signature::with_context(text, &mut random))
                        .filter(|signature| signature.arguments.len() < 128)
                        .collect();
                    compiler
                        .run(&format!("closures{index}_{start}"), &words)
                        .unwrap_or_else(|error| panic!("{error}"));
                    let known = KNOWN_VALUES.iter().map(|text| values::Signature::parse(text));
                    let all: Vec<_> = known.chain(more.map(|_| values::Signature::random(&mut random))).collect();
                    let all: Vec<_> = all
                        .into_iter()
                        .filter(|signature| compiler.is_right(signature))
                        .map(|signature| signature.with_context(&mut random))
                        .collect();
                    compiler
                        .run_text(&format!("closures_of_structs{index}_{start}"), &values::program(&all))
                        .unwrap_or_else(|error| panic!("{error}"));
                }
            });
        }
    });
}

/// Shows that thunks must extend small integers, and that these programs detect a missing extension: here the thunk is
/// made for 32-bit integers, which it does not extend.
#[test]
fn functions_of_rustc_read_wrong_integers_if_the_thunk_does_not_extend_them() {
    if env::var_os("EXECBUF_CC").is_some() || !can_compile() {
        return;
    }
    let rustc = rustc("2", objects(&["cc"], 1, "extend", CROSSING, ""));
    for (text, declared) in
        [("i(b)", "i(i)"), ("I(B)", "I(I)"), ("i(h)", "i(i)"), ("I(H)", "I(I)"), ("?(?)", "?(I)")]
    {
        let mut signature = Signature::new(text);
        rustc.run("extended", &[Signature::new(text)]).expect("with extension, the integers are right");
        declared.clone_into(&mut signature.declared);
        let error = rustc.run("not_extended", &[signature]).expect_err(text);
        assert!(error.contains(&format!("{text} called by Win64: argument 1 is ")), "{error}");
    }
}
