//! The adapters of AArch64, which GNU objdump decodes.

use std::env;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::support::{self, Random, signatures::number};
use super::{directory, objects, succeed, values};

const OBJDUMP: &str = "aarch64-linux-gnu-objdump";

/// Returns the bytes of adapters, as `tests/c/arm_dump.c` prints them.
fn adapters(lines: &str) -> Vec<Vec<u8>> {
    let program = directory().join("arm_dump");
    let objects = objects(&["cc"], 1, "decoded", "tests/c/arm_dump.c", "");
    succeed(Command::new("cc").args(objects).args(["-pthread", "-o"]).arg(&program));
    let mut child =
        Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("there is a pipe");
    let lines = lines.to_owned();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).expect("it reads"));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it does not panic");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("these are numbers");
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

/// Decodes instructions: each is a mnemonic, a tab, and operands.
fn decode(code: &[u8]) -> Vec<String> {
    let file = directory().join("decoded.bin");
    std::fs::write(&file, code).expect("the directory is there");
    let output = Command::new(OBJDUMP).args(["-D", "-b", "binary", "-m", "aarch64"]).arg(&file).output();
    let text = String::from_utf8(output.expect("it starts").stdout).expect("it is ASCII");
    let instruction = |line: &str| line.splitn(3, '\t').nth(2).map(|rest| rest.trim_end().to_owned());
    text.lines()
        .filter(|line| line.starts_with(' '))
        .map(|line| instruction(line).expect("three columns"))
        .collect()
}

/// Checks one adapter, which calls its target, or jumps to it.
fn check(name: &str, instructions: &[String]) {
    let mut is_called = false;
    assert_eq!(instructions[0], "bti\tc", "{name}");
    for (at, instruction) in instructions.iter().enumerate() {
        let fail = |what: &str| panic!("{name}: {what}: {at}: {instruction}\n{}", instructions.join("\n"));
        let (mnemonic, operands) = instruction.split_once('\t').unwrap_or((instruction, ""));
        match mnemonic {
            "blr" | "br" if !is_called && ["x16", "x17"].contains(&operands) => is_called = true,
            "str" | "strb" | "strh" => {
                let base = operands.split_once('[').expect("it has an address").1;
                let base = base.trim_end_matches(']').split(',').next().expect("there is one");
                // x11 has the address of a copy in the frame; x29 that of where the result's address is kept; and behind
                // the call, x9 has that address.
                let is_of_call = base == "x11" || base == "x29" && at < 6 || base == "x9" && is_called;
                // x8 has the address of the result's memory, and x9 that of a slot that is not aligned to 16.
                let is_of_handler = name.starts_with("handler") && !is_called && ["x8", "x9"].contains(&base);
                if !(base == "sp" || is_of_call || is_of_handler) {
                    fail("stores elsewhere");
                }
            }
            "ldr" | "ldrb" | "ldrh" | "ldrsb" | "ldrsh" | "ldrsw" | "movi" | "movk" | "mov" | "add" | "sub"
            | "cbnz" | "bti" => {}
            "sxtb" | "sxth" | "sxtw" | "uxtb" | "uxth" | "ubfx" | "and"
                if is_called || name.starts_with("handler") => {}
            "stp" if at == 1 && operands == "x29, x30, [sp, #-32]!" => {}
            "ldp" if at + 2 == instructions.len() && operands == "x29, x30, [sp], #32" => {}
            "ret" if at + 1 == instructions.len() && is_called => {}
            _ => fail("an instruction that no adapter has"),
        }
        let is_kept = |register: &str| {
            let (kind, number) = register.split_at(register.len().min(1));
            let number = number.split('.').next().and_then(|text| text.parse::<u32>().ok());
            match kind {
                "x" | "w" => number.is_some_and(|number| (18..29).contains(&number)),
                "b" | "h" | "s" | "d" | "q" | "v" => number.is_some_and(|number| (8..16).contains(&number)),
                _ => false,
            }
        };
        let words = operands.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        if words.filter(|word| !word.is_empty()).any(is_kept) {
            fail("a register that calls preserve, or that the system uses");
        }
    }
    let last = instructions.last().expect("it is not empty");
    assert!(is_called && (last == "ret" || last.starts_with("br\t")), "{name}: {last}");
}

#[test]
fn every_instruction_of_aarch64_decodes() {
    let has_objdump = Command::new(OBJDUMP).arg("--version").output().is_ok();
    if !has_objdump || env::var_os("EXECBUF_CC").is_some() || !support::can_compile("adapters of AArch64") {
        return support::skip(&format!("AArch64: instructions: no {OBJDUMP}, or other compilers"));
    }
    let mut random = Random(number("EXECBUF_SEED", 1));
    let mut lines = String::new();
    for round in 0..4000 {
        let signature = values::Signature::random(&mut random);
        let count = signature.arguments.len();
        let _ = match round % 4 {
            0 => writeln!(lines, "call 0 {}", signature.text()),
            1 => writeln!(lines, "handler 0 {}", signature.text()),
            2 => {
                let signature = signature.with_context(&mut random);
                writeln!(lines, "insert {} {}", signature.context.expect("it has one"), signature.text())
            }
            _ if count == 0 => continue,
            _ => writeln!(lines, "drop {} {}", random.of(0..count), signature.text()),
        };
    }
    let adapters = adapters(&lines);
    assert_eq!(adapters.len(), lines.lines().count());
    // One piece of code for objdump: the boundaries are known by the lengths.
    let mut instructions = decode(&adapters.concat()).into_iter();
    for (name, adapter) in lines.lines().zip(&adapters) {
        if !adapter.is_empty() {
            check(name, &instructions.by_ref().take(adapter.len() / 4).collect::<Vec<_>>());
        }
    }
    assert!(instructions.next().is_none());
}
