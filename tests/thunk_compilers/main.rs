//! Thunks against what compilers make of both conventions, on random signatures. Programs are generated in which the
//! compilers' own code is at both ends, compiled and run; `tests/c/crossing.h` says what they look at.
//!
//! `EXECBUF_THUNKS` is how many signatures there are to be (60), of which each compiler gets its share, and each signature is
//! crossed in both directions. `EXECBUF_SEED` is where the random numbers begin (1). The compilers are cc, clang and rustc, or
//! `EXECBUF_CC` instead, whose programs are run by `EXECBUF_RUNNER`.
#![cfg(target_arch = "x86_64")]

mod c;
mod rust;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs, thread};

use support::Random;
use support::signatures::{number, random_signature};

/// Signatures on which other libraries have failed: mixed integers and floats by place, floats on the stack, small
/// integers, one more than there are registers of a kind.
const KNOWN: &[&str] = &[
    "v()",
    "d(dlldd)",
    "v(ifif)",
    "v(fifififi)",
    "d(ffffffffff)",
    "v(llllllddddddddld)",
    "i(b)",
    "i(BbHh?)",
    "i(llllbBhH?)",
    "i(llllllllbBhH?)",
    "f(llllffff)",
    "?(?)",
    "b(b)",
    "H(H)",
    "i(p.d)",
    "i(p.iddd)",
    "d(d.ddddddddd)",
    "l(l.lllllllll)",
];

/// So many signatures are in one program.
const PROGRAM: usize = 250;

/// A function that is called through a thunk.
struct Signature {
    text: String,
    /// What the thunk is told.
    moved: String,
    result: char,
    arguments: Vec<char>,
    /// How many arguments stand before `...`; all of them, if there is none.
    fixed: usize,
}

impl Signature {
    fn new(text: &str) -> Self {
        let mut letters = text.chars();
        let result = letters.next().expect("it has a result");
        let arguments: Vec<char> = letters.clone().filter(|letter| !"(.)".contains(*letter)).collect();
        let fixed = text.find('.').map_or(arguments.len(), |at| at - 2);
        Self { text: text.to_owned(), moved: text.to_owned(), result, arguments, fixed }
    }

    fn is_variadic(&self) -> bool {
        self.fixed < self.arguments.len()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Entered {
    SysV64,
    Win64,
}

/// Something that compiles a program, in a certain way.
#[derive(Clone)]
struct Compiler {
    command: Vec<String>,
    is_rust: bool,
    /// The library and `crossing.c`, compiled.
    objects: Vec<PathBuf>,
}

impl Compiler {
    fn name(&self) -> String {
        self.command.join(" ")
    }

    fn generate(&self, signatures: &[Signature]) -> String {
        if self.is_rust { rust::program(signatures) } else { c::program(signatures) }
    }

    /// Compiles a program and runs it. What it has to say against a thunk is the error.
    fn run(&self, name: &str, signatures: &[Signature]) -> Result<(), String> {
        let source = directory().join(name).with_extension(if self.is_rust { "rs" } else { "c" });
        let program = source.with_extension("exe");
        fs::write(&source, self.generate(signatures)).expect("the directory is there");
        let mut command = self.command();
        command.arg(&source).arg("-o").arg(&program);
        if self.is_rust {
            let object = |path: &PathBuf| format!("-Clink-arg={}", path.display());
            command.args(["--edition=2024", "-Awarnings"]).args(self.objects.iter().map(object));
        } else {
            command.args(["-std=c11", "-w", "-pthread"]).args(includes()).args(&self.objects);
        }
        succeed(&mut command);
        let runner = env::var("EXECBUF_RUNNER").unwrap_or_default();
        let mut words = runner.split_whitespace().map(PathBuf::from).chain([program]);
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

/// The options by which C finds the headers.
fn includes() -> [String; 2] {
    let root = env!("CARGO_MANIFEST_DIR");
    [format!("-I{root}/csrc/include"), format!("-I{root}/tests/c")]
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Compiles the library and `crossing.c`, for one test: others may run meanwhile.
fn objects(compiler: &[&str], seed: u64, test: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = directory().join(format!("{test}_{}", compiler.join("_").replace('/', "_")));
    fs::create_dir_all(&out).expect("it can be made");
    let sources = ["csrc/execbuf.c", "tests/c/crossing.c"].map(|file| root.join(file));
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).current_dir(&out).args(["-std=c11", "-w", "-O1", "-c"]);
    succeed(command.arg(format!("-DSEED={seed}u")).args(includes()).args(&sources));
    let object = |source: &PathBuf| out.join(source.file_name().expect("it has one")).with_extension("o");
    sources.iter().map(object).collect()
}

/// All compilers there are, each without and with optimisation.
fn compilers(seed: u64) -> Vec<Compiler> {
    let given = env::var("EXECBUF_CC").ok();
    let mut names = vec![given.as_deref().unwrap_or("cc")];
    if given.is_none() && Command::new("clang").arg("--version").output().is_ok() {
        names.push("clang");
    }
    let mut compilers = Vec::new();
    for name in names {
        let words: Vec<&str> = name.split_whitespace().collect();
        let objects = objects(&words, seed, "agree");
        for level in ["-O0", "-O2"] {
            let command = words.iter().chain([&level]).map(ToString::to_string).collect();
            compilers.push(Compiler { command, is_rust: false, objects: objects.clone() });
        }
    }
    if given.is_none() {
        compilers.extend(["0", "2"].map(|level| rustc(level, compilers[0].objects.clone())));
    }
    compilers
}

fn rustc(level: &str, objects: Vec<PathBuf>) -> Compiler {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    Compiler { command: vec![rustc, format!("-Copt-level={level}")], is_rust: true, objects }
}

/// Whether such programs can be compiled here; if not, says so.
fn can_compile() -> bool {
    let what = "thunks against the compilers' code";
    if cfg!(target_vendor = "apple") {
        support::skip(&format!("{what}: the assembler's names are others here"));
    }
    support::can_compile(what) && cfg!(not(target_vendor = "apple"))
}

#[test]
fn compilers_agree_with_thunks() {
    if !can_compile() {
        return;
    }
    let (count, seed) = (number("EXECBUF_THUNKS", 60), number("EXECBUF_SEED", 1));
    let compilers = compilers(seed);
    let share = usize::try_from(count).expect("it fits").div_ceil(compilers.len());
    let names: Vec<_> = compilers.iter().map(Compiler::name).collect();
    support::say(&format!("{share} signatures for each of {}; EXECBUF_SEED={seed}", names.join(", ")));

    // Each program has signatures of its own, and those that are known.
    let mut jobs = Vec::new();
    for (index, compiler) in compilers.iter().enumerate() {
        let mut random = Random(seed.wrapping_mul(1000) + index as u64);
        for start in (0..share).step_by(PROGRAM) {
            let known = KNOWN.iter().map(|&text| text.to_owned());
            let more = (start..share.min(start + PROGRAM)).map(|_| random_signature(&mut random));
            let all: Vec<_> = known.chain(more).map(|text| Signature::new(&text)).collect();
            jobs.push((compiler, format!("crossing{index}_{start}"), all));
        }
    }
    let jobs = Mutex::new(jobs);
    let work = || {
        loop {
            let job = jobs.lock().expect("no thread panics with it").pop();
            let Some((compiler, name, signatures)) = job else { break };
            compiler.run(&name, &signatures).unwrap_or_else(|error| panic!("{error}"));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
}

/// So the extension of small integers is needed, and these programs notice if it is missing: here the thunk is told
/// that they are integers of 32 bits.
#[test]
fn functions_of_rustc_get_wrong_integers_if_nobody_extends_them() {
    if env::var_os("EXECBUF_CC").is_some() || !can_compile() {
        return;
    }
    let rustc = rustc("2", objects(&["cc"], 1, "extend"));
    for (text, moved) in [("i(b)", "i(i)"), ("I(B)", "I(I)"), ("i(h)", "i(i)"), ("I(H)", "I(I)"), ("?(?)", "?(I)")]
    {
        let mut signature = Signature::new(text);
        rustc.run("extended", &[Signature::new(text)]).expect("so it is right");
        moved.clone_into(&mut signature.moved);
        let error = rustc.run("not_extended", &[signature]).expect_err(text);
        assert!(error.contains(&format!("{text} called by Win64: argument 1 is ")), "{error}");
    }
}
