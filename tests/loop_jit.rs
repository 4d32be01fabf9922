//! Tests of the compiler in `examples/loop_jit`: its parser and its machine code. It also runs the example's own tests.
//! `tests/heavy/loop_jit.rs` compares the machine code of random programs with the interpreter.

#![allow(unreachable_pub, dead_code, reason = "the modules of the example")]

#[cfg(target_arch = "aarch64")]
#[path = "../examples/loop_jit/aarch64.rs"]
mod aarch64;
#[path = "../examples/loop_jit/compiler.rs"]
mod compiler;
#[path = "../examples/loop_jit/program.rs"]
mod program;
#[path = "support/mod.rs"]
mod support;
#[path = "../examples/loop_jit/tests.rs"]
mod tests;
#[cfg(target_arch = "x86_64")]
#[path = "../examples/loop_jit/x86_64.rs"]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64::Compiled;

use std::path::Path;
use std::process::Command;

use execbuf::ExecBuffer;
use program::{DEEPEST, MOST_TOKENS, Program, interpret};
#[cfg(target_arch = "x86_64")]
use x86_64::Compiled;

fn run(program: &Program, n: u64) -> u64 {
    let buffer = ExecBuffer::new(&compiler::compile(program)).unwrap();
    // SAFETY: The compiler makes functions of this type.
    unsafe { buffer.function::<Compiled>() }.call(n)
}

/// Runs a text as machine code and in the interpreter, which must agree.
fn result(source: &str, n: u64) -> u64 {
    let program = Program::parse(source).unwrap();
    let result = run(&program, n);
    assert_eq!(Some(result), interpret(&program, n, u64::MAX));
    result
}

#[test]
fn programs_compute_their_result() {
    assert_eq!(result("", 7), 0);
    assert_eq!(result("result = n", u64::MAX), u64::MAX);
    assert_eq!(result("result = 2 + 3 * 4 - (5 - 1)", 0), 10);
    assert_eq!(result("result = 10 - 3 - 2", 0), 5);
    assert_eq!(result("i = 0 repeat n { i = i + 1 result = result + i * i }", 1000), 333_833_500);
    assert_eq!(result("repeat n { repeat n { result = result + 1 } }", 30), 900);
    assert_eq!(result("größe_1 = 3 result = größe_1", 0), 3);
}

#[test]
fn values_wrap_around() {
    assert_eq!(result("result = 0 - 1", 0), u64::MAX);
    assert_eq!(result("result = n + n", 1 << 63), 0);
    assert_eq!(result("result = n * n", u64::MAX), 1);
    assert_eq!(result("result = 18446744073709551615", 0), u64::MAX);
}

#[test]
fn the_count_of_a_loop_is_computed_once_and_may_be_zero() {
    assert_eq!(result("repeat n { n = n + 1 result = result + 1 }", 3), 3);
    assert_eq!(result("result = 5 repeat 0 { result = 6 }", 0), 5);
}

#[test]
fn errors_name_the_line() {
    let error = |source: &str| Program::parse(source).unwrap_err();
    assert_eq!(error("\nx = }"), "line 2: expected a number, a name or '(', but found '}'");
    assert_eq!(error("x = 1 }"), "line 1: expected a statement, but found '}'");
    assert_eq!(error("repeat 2 { x = 1\n"), "line 1: expected '}', but found the end of the program");
    assert_eq!(error("7 = 1"), "line 1: expected a name or 'repeat', but found '7'");
    assert_eq!(error("repeat = 1"), "line 1: expected a number, a name or '(', but found '='");
    assert_eq!(error("x = 18446744073709551616"), "line 1: not a number of 64 bits");
    assert_eq!(error("x = 1a"), "line 1: not a number of 64 bits");
    assert_eq!(error("x"), "line 1: expected '=', but found the end of the program");
    assert_eq!(error("x = 1 ü"), "line 1: expected '=', but found the end of the program");
    assert_eq!(error("x = 1 € 2"), "line 1: expected a name or 'repeat', but found '€'");
}

#[test]
fn the_compiler_in_c_agrees() {
    if !support::can_compile("the compiler in C") || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loop_jit");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("loop_jit");
    let command =
        "cc -std=c11 -Wall -Wextra -Werror -I csrc/include examples/c/loop_jit.c csrc/execbuf.c -pthread -o";
    let compiled =
        Command::new("sh").args(["-c", &format!("{command} \"$0\"")]).arg(&file).current_dir(root).status();
    assert!(compiled.unwrap().success());
    let run = |source: &str, n: u64| {
        let program = directory.join("program.loop");
        std::fs::write(&program, source).unwrap();
        let output = Command::new(&file).arg(&program).arg(n.to_string()).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    for source in [
        "",
        "result = 2 + 3 * 4 - (5 - 1) - 1",
        "repeat n { n = n + 1 repeat i { result = result + n * i } i = i + 1 }",
        "repeat 0 { result = 6 } result = result - 1",
    ] {
        assert!(run(source, 7).ends_with(&format!("f(7) = {}\n", result(source, 7))), "{source}");
    }
    assert_eq!(run("\nx = }", 7), "loop_jit: line 2: expected a name, at }\n");
    assert_eq!(run("repeat 2 { x = 1", 7), "loop_jit: line 1: expected '}', at the end\n");
    assert_eq!(
        run("x = 18446744073709551616", 7),
        "loop_jit: line 1: not a number of 64 bits, at 18446744073709551616\n"
    );
    assert_eq!(run(&"(".repeat(1000), 7), "loop_jit: line 1: expected a name, at (\n");
    assert_eq!(run(&format!("x = {}", "(".repeat(1000)), 7), "loop_jit: line 1: nested too deeply, at (\n");
    assert_eq!(run(&"x = 1 ".repeat(10_000), 7), "loop_jit: line 1: the program is too long, at x\n");
    assert!(run(&" ".repeat(65_536), 7).ends_with("program.loop: cannot be read, or is too long\n"));
}

#[test]
fn large_programs_are_errors_and_overflow_no_stack() {
    let nested = |depth| format!("result = {}1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(result(&nested(DEEPEST), 0), 1);
    assert_eq!(Program::parse(&nested(DEEPEST + 1)).unwrap_err(), "line 1: nested too deeply");
    let loops = |depth| format!("{} result = 1 {}", "repeat 1 { ".repeat(depth), "}".repeat(depth));
    assert_eq!(result(&loops(DEEPEST), 0), 1);
    assert_eq!(Program::parse(&loops(DEEPEST + 1)).unwrap_err(), "line 1: nested too deeply");
    let sum = |count: usize| format!("result = 1 {}", "+ 1".repeat(count));
    assert_eq!(result(&sum((MOST_TOKENS - 3) / 2), 0), 999);
    assert!(Program::parse(&sum(MOST_TOKENS)).is_err());
    let all: Vec<String> = (0..MOST_TOKENS / 3).map(|number| format!("v{number} = {number}")).collect();
    assert_eq!(result(&all.join(" "), 0), 0);
}
