//! Tests thunks with random signatures against compiled code. The tests generate programs in which the same compiler
//! compiles the callers and the targets of thunks, and run them. `tests/c/crossing.h` documents what the programs
//! check.
//!
//! `EXECBUF_THUNKS` sets the number of signatures (default 60), which are divided among the compilers; each signature
//! is tested in both directions. `EXECBUF_SEED` sets the seed of the random numbers (default 1). The compilers are cc,
//! clang and rustc; `EXECBUF_CC` replaces them with one C compiler, and `EXECBUF_RUNNER` runs its programs.
#![cfg(target_arch = "x86_64")]

mod arm;
mod c;
mod compilers;
mod edits;
mod rust;
mod rust_values;
#[path = "../support/mod.rs"]
mod support;
mod types;
mod values;

use std::process::Command;
use std::{env, thread};

use compilers::{
    CROSSING, Compiler, PROGRAM, can_compile, compilers, compilers_with, divide, is_windows, objects, rustc, work,
};
use edits::Edit;
use support::Random;
use support::signatures::{number, random_signature};

/// Signatures that other libraries handled incorrectly: alternating integers and floats, floats on the stack, small
/// integers, one argument more than there are registers of its kind.
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

/// The same for types with members, 128-bit integers and vectors.
const KNOWN_VALUES: &[&str] = &[
    "{f}({f}{d}{ff})",
    "{ff}({fi}{if}{fff})",
    "{d}({dd}{dl}{ld})",
    "{dl}(d{ld}l)",
    "{m}({m}m)",
    "m(mmmmmmmmmm)",
    "x(xX)",
    "X(lllllxl)",
    "v(lllllxxlX)",
    "v(lllll{ll}l{ll})",
    "v(ddddddd{dd}d{dd})",
    "v(llll{ll}l{dl})", // with a pointer before it, the first struct is on the stack
    "x(llllx{ld}d)",
    "{[3l]}(lll{ll}{ld}i)",
    "{bbb}({b}{bb}{bbb}{bbbb}{bbbbb}{bbbbbb}{bbbbbbb})",
    "{[5b]}({[9b]}{[10b]}{[11b]}{[12b]}{[13b]}{[14b]}{[15b]})",
    "{[6b]}(l{[17b]}{[23b]}{[33b]})",
    "{[7b]}(llll{[7b]}{[3b]}{[15b]})",
    "{[15b]}({lh}{lb}{dhb})",
    "{[13b]}(bBhH{hb})",
    "{hb}(llllll{hb}bBhH)",
    "<lm>(<lm><dm><m[2d]>)",
    "<fi>(<d><ld><f[3b]>)",
    "@16{l}(@16{l}l@16{d}d)",
    "{@16l}(lllllll@16{b}{@16bb})",
    "!{bi}(!{bi}!{id}!{ii}!2{hi})",
    "!{bHb}(!{bHb}!{bi!{bi}})",
    "!{bHb}({ll}{ll}ll)", // a cycle of registers
    "!{bl}(l!{bl}!1{bi[3b]})",
    "{[3l]}({[3l]}l{[40b]}{[300b]})",
    "{[300b]}(d{[300b]}{[100b]}{[65b]}{[63b]})",
    "v(@16{[40l]}b@16{[3l]})",
    "i(p.{ll}{dd}{ld}xm{[3l]}i)",
    "{ll}(p{f}.d{f}{d}d)",
    "{ld}(ll.ddddddddd{dd}x)",
];

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
    /// There is no thunk: `execbuf_call` calls the target, which has the convention of the system.
    Packed,
}

/// Each program has the known signatures, and different random ones.
#[test]
fn thunks_agree_with_compiled_code() {
    if !can_compile() {
        return;
    }
    let seed = number("EXECBUF_SEED", 1);
    let compilers = compilers(seed, "agree");
    work(divide(&compilers, seed, |compiler, random, count, number| {
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
/// (llvm-project#76017). So its programs have neither. Rust before 1.86 returns them by Win64's convention in
/// memory (rust-lang/rust#134290), so its programs have no such results.
#[test]
fn thunks_agree_with_compiled_code_on_structs() {
    if !can_compile() {
        return;
    }
    let seed = number("EXECBUF_SEED", 1);
    let compilers = compilers(seed, "structs");
    work(divide(&compilers, seed, |compiler, random, count, number| {
        let is_rust = compiler.is_rust;
        let known = KNOWN_VALUES.iter().map(|text| values::Signature::parse(text));
        let more = (0..count).map(|_| values::Signature::random(random));
        let all: Vec<_> = known.chain(more).filter(|signature| compiler.is_right(signature)).collect();
        let write = move || if is_rust { rust_values::program(&all) } else { values::program(&all) };
        (compiler, format!("structs{number}"), Box::new(write))
    }));
}

/// Compares the layouts of AArch64 with the code of gcc, which an emulator runs.
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
    let seed = number("EXECBUF_SEED", 1);
    let objects = objects(&words, seed, "arm", "tests/c/arm_layouts.c", "");
    let compilers = ["-O0", "-O2"].map(|level| Compiler {
        command: words.iter().chain(&[level]).map(ToString::to_string).collect(),
        is_rust: false,
        objects: objects.clone(),
        runner: "qemu-aarch64".to_owned(),
    });
    work(divide(&compilers, seed, |compiler, random, count, number| {
        let known = KNOWN.iter().chain(KNOWN_VALUES).map(|text| values::Signature::parse(text));
        let more = (0..count).map(|i| {
            let scalars = random_signature(random);
            if i % 4 == 0 { values::Signature::parse(&scalars) } else { values::Signature::random(random) }
        });
        let all: Vec<_> = known.chain(more).collect();
        (compiler, format!("arm{number}"), Box::new(move || arm::program(&all)))
    }));
}

/// Tests dynamic calls of functions of the system's convention: on AArch64, and everywhere without machine code. (The
/// programs for thunks test them, too.)
#[test]
fn dynamic_calls_agree_with_compiled_code() {
    if cfg!(target_vendor = "apple") || !support::can_compile("dynamic calls against compiled code") {
        return;
    }
    let seed = number("EXECBUF_SEED", 1);
    let variants: &[&str] = if is_windows() { &[""] } else { &["", "-DEXECBUF_PRIM_STUB"] };
    for (index, variant) in variants.iter().enumerate() {
        let mut compilers = compilers_with(seed, &format!("calls{index}"), variant);
        compilers.retain(|compiler| !compiler.is_rust);
        work(divide(&compilers, seed, |compiler, random, count, number| {
            let known = KNOWN.iter().chain(KNOWN_VALUES).map(|text| values::Signature::parse(text));
            let more = (0..count).map(|_| values::Signature::random(random));
            let all: Vec<_> = known.chain(more).filter(|signature| compiler.is_right(signature)).collect();
            (compiler, format!("calls{index}_{number}"), Box::new(move || values::program_of_calls(&all)))
        }));
    }
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
