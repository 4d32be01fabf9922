//! Thunks against the compilers' own code for both conventions, on random signatures, and by a decoder.
//!
//! `EXECBUF_THUNKS` is how many signatures there are to be (100), `EXECBUF_SEED` where the random
//! numbers begin. The C compiler is `EXECBUF_CC`, or cc, and clang if there is one; what it makes is run by `EXECBUF_RUNNER`, if that is set.
#![cfg(target_arch = "x86_64")]

#[path = "support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, mem, ptr};

use execbuf::ffi::{self, execbuf_abi, execbuf_status};
use execbuf::{Signature, Type};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::support::Random;

const SYSV64: execbuf_abi = execbuf_abi::EXECBUF_ABI_SYSV64;
const WIN64: execbuf_abi = execbuf_abi::EXECBUF_ABI_WIN64;
const BOTH: [(execbuf_abi, execbuf_abi); 2] = [(SYSV64, WIN64), (WIN64, SYSV64)];

fn number(variable: &str, usual: u64) -> u64 {
    env::var(variable).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// A signature as the C library parses it.
fn parse(text: &str) -> ffi::execbuf_signature {
    let text = std::ffi::CString::new(text).expect("no zero");
    // SAFETY: A signature is plain numbers.
    let mut signature: ffi::execbuf_signature = unsafe { mem::zeroed() };
    // SAFETY: It can be written, and the text ends with a zero.
    let status = unsafe { ffi::execbuf_signature_parse(&raw mut signature, text.as_ptr(), ptr::null_mut()) };
    assert_eq!(status, execbuf_status::EXECBUF_OK, "{text:?}");
    signature
}

/// Somewhere.
const TARGET: u64 = 0x1234_5678_9abc_def0;

fn emit(text: &str, entered: execbuf_abi, abi: execbuf_abi) -> Vec<u8> {
    let signature = parse(text);
    let target = ptr::without_provenance(usize::try_from(TARGET).expect("64 bits"));
    let emit = |out: &mut [u8]| {
        let mut length = 0;
        let (room, capacity) = (out.as_mut_ptr().cast(), out.len());
        let (length_out, signature, error) = (&raw mut length, &raw const signature, ptr::null_mut());
        // SAFETY: All that is written is there, and the signature is one.
        let status =
            unsafe { ffi::execbuf_thunk_emit(room, capacity, length_out, signature, entered, abi, target, error) };
        (status, length)
    };
    let (status, length) = emit(&mut []);
    assert_eq!(status, execbuf_status::EXECBUF_E_CAPACITY);
    let mut code = vec![0; length + 1];
    assert_eq!(emit(&mut code), (execbuf_status::EXECBUF_OK, length));
    assert_eq!(code.pop(), Some(0), "nothing is written behind the end");
    let mut short = vec![0; length - 1];
    assert_eq!(emit(&mut short), (execbuf_status::EXECBUF_E_CAPACITY, length));
    assert!(short.iter().all(|&byte| byte == 0), "nothing is written if not all fits");
    code
}

/// A random signature; `variadic` ones have the types that C passes there.
fn random_signature(random: &mut Random) -> String {
    const SCALARS: &[u8] = b"?bBhHiIlLpfd";
    let count = match random.of(0..20) {
        0 => random.of(0..128),
        1..=4 => random.of(9..25),
        _ => random.of(0..9),
    };
    // Some with few kinds of types, so that one kind of register runs out.
    let types = match random.of(0..6) {
        0 => &SCALARS[10..],
        1 => &SCALARS[..7],
        _ => SCALARS,
    };
    let letter = |random: &mut Random, from: &[u8]| char::from(from[random.of(0..from.len())]);
    let fixed = if count > 1 && random.of(0..8) == 0 { random.of(1..count) } else { count };
    let mut text = String::new();
    text.push(letter(random, b"v?bBhHiIlLpfd"));
    text.push('(');
    for index in 0..count {
        if index == fixed {
            text.push('.');
        }
        text.push(letter(random, if index < fixed { types } else { b"iIlLpd" }));
    }
    text.push(')');
    text
}

#[test]
fn every_instruction_decodes_and_none_depends_on_its_address() {
    let mut random = Random(number("EXECBUF_SEED", 1));
    for _ in 0..2000 {
        let text = random_signature(&mut random);
        for (entered, abi) in [(SYSV64, WIN64), (WIN64, SYSV64), (SYSV64, SYSV64), (WIN64, WIN64)] {
            check_instructions(&text, &emit(&text, entered, abi), entered == abi);
        }
    }
}

fn check_instructions(text: &str, code: &[u8], is_jump: bool) {
    let instructions: Vec<Instruction> = Decoder::with_ip(64, code, 0x1000, DecoderOptions::NONE).iter().collect();
    assert_eq!(instructions.iter().map(Instruction::len).sum::<usize>(), code.len(), "{text}");
    let mut depth = 8; // of the return address
    for (index, instruction) in instructions.iter().enumerate() {
        assert!(!instruction.is_invalid() && !instruction.is_ip_rel_memory_operand(), "{text}: {instruction:?}");
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::IndirectCall => {
                assert!(!is_jump && instruction.op0_register() == Register::R11);
                assert_eq!(depth % 16, 0, "{text}: the stack is not aligned at the call");
            }
            FlowControl::IndirectBranch => assert!(is_jump && index + 1 == instructions.len()),
            FlowControl::Return => assert!(!is_jump && index + 1 == instructions.len()),
            other => panic!("{text}: {other:?}"),
        }
        if instruction.flow_control() == FlowControl::Next {
            depth -= i64::from(instruction.stack_pointer_increment());
        }
        match (instruction.mnemonic(), instruction.op0_register()) {
            (Mnemonic::Sub, Register::RSP) => {
                depth += i64::try_from(instruction.immediate(1)).expect("it is small");
            }
            (Mnemonic::Add, Register::RSP) => {
                depth -= i64::try_from(instruction.immediate(1)).expect("it is small");
            }
            _ => {}
        }
        assert!((0..4096).contains(&depth), "{text}: a frame is less than a page");
        let aligned = matches!(instruction.code(), Code::Movaps_xmm_xmmm128 | Code::Movaps_xmmm128_xmm);
        if aligned && (instruction.op0_kind() == OpKind::Memory || instruction.op1_kind() == OpKind::Memory) {
            let from_entry = i64::try_from(instruction.memory_displacement64()).expect("it is small") - depth;
            assert_eq!(from_entry % 16, 0, "{text}: {instruction:?}");
        }
    }
    assert_eq!(instructions[0].mnemonic(), Mnemonic::Endbr64);
    assert_eq!((instructions[1].op0_register(), instructions[1].immediate(1)), (Register::R11, TARGET));
}

/// The length of thunks for functions of so many integers.
#[test]
fn thunks_are_as_short_as_what_compilers_make() {
    let count = |text: &str, entered, abi| {
        let code = emit(text, entered, abi);
        Decoder::new(64, &code, DecoderOptions::NONE).iter().count()
    };
    for (integers, text) in ["v()", "v(l)", "v(ll)", "v(lll)", "v(llll)"].iter().enumerate() {
        // Compilers make 4 and 28 instructions and one for each argument; endbr64 and the load of r11 are ours.
        assert_eq!(count(text, SYSV64, WIN64), 4 + integers + 2);
        assert_eq!(count(text, WIN64, SYSV64), 28 + integers + 2);
    }
}

#[test]
fn signatures_are_what_their_text_says() {
    let mut random = Random(number("EXECBUF_SEED", 2));
    for _ in 0..2000 {
        let text = random_signature(&mut random);
        let signature: Signature = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(signature.to_string(), text);
        assert_eq!(signature.result().letter(), text.chars().next().expect("it is not empty"));
    }
    let signature: Signature = "d(p.id)".parse().expect("it is right");
    assert_eq!((signature.result(), signature.fixed()), (Type::F64, Some(1)));
    assert_eq!(signature.arguments(), [Type::Pointer, Type::I32, Type::F64]);
    assert_eq!("v(.)".parse::<Signature>().expect("it is right").to_string(), "v(.)");
}

#[test]
fn wrong_text_is_an_error_that_says_where_and_why() {
    let wrong = [
        ("", "at byte 0: the text ends here; a type is missing"),
        ("i", "at byte 1: '(' is missing"),
        ("i(pp", "at byte 4: the text ends here; ')' is missing"),
        ("i(pp)x", "at byte 5: more text than one signature"),
        ("i(pp)\0", "at byte 5: more text than one signature"),
        ("i(\0)", "at byte 2: no type has this letter"),
        ("i( p)", "at byte 2: no type has this letter"),
        ("i(é)", "at byte 2: no type has this letter"),
        ("i(p.i.i)", "at byte 5: a second full stop"),
        ("i(pv)", "argument 2: void is no argument; \"v()\" has none"),
        ("x()", "result: i128 is not supported yet; pass a pointer"),
        ("v(pX)", "argument 2: u128 is not supported yet; pass a pointer"),
        ("v(m)", "argument 1: vectors of 128 bits are not supported yet; pass a pointer"),
        ("v(pp{ii})", "argument 3: structs are not supported yet; pass a pointer"),
        ("v(long)", "argument 1: long has 4 bytes on Windows and 8 elsewhere; use i or l"),
        ("long double()", "result: long double has no form that compilers agree on for Win64; use d"),
        ("v(iwchar_t)", "argument 2: wchar_t has 2 bytes on Windows and 4 elsewhere; use H or i"),
        ("v(va_list)", "argument 1: va_list is another thing in each convention; pass the arguments, or an array"),
        ("v(p.f)", "argument 2: in \"...\", C passes int, or double; write i, I or d"),
        ("v(p.ib)", "argument 3: in \"...\", C passes int, or double; write i, I or d"),
    ];
    for (text, message) in wrong {
        let error = text.parse::<Signature>().expect_err(text);
        assert!(error.to_string().ends_with(&format!("({message})")), "{text}: {error}");
    }
    let many = |count| format!("v({})", "i".repeat(count));
    assert_eq!(many(127).parse::<Signature>().expect("it is right").arguments().len(), 127);
    assert_eq!(many(128).parse::<Signature>().expect_err("too many").kind(), execbuf::ErrorKind::Signature);
}

/// The C type of a letter.
fn c_type(letter: char) -> &'static str {
    match letter {
        'v' => "void",
        '?' => "_Bool",
        'b' => "int8_t",
        'B' => "uint8_t",
        'h' => "int16_t",
        'H' => "uint16_t",
        'i' => "int32_t",
        'I' => "uint32_t",
        'l' => "int64_t",
        'L' => "uint64_t",
        'p' => "void *",
        'f' => "float",
        'd' => "double",
        _ => panic!("no letter: {letter}"),
    }
}

/// A value of this type out of 64 bits, which may be dirty.
fn from_bits(letter: char, bits: &str) -> String {
    match letter {
        '?' => format!("(_Bool)({bits} & 1)"),
        'f' => format!("f32_of({bits})"),
        'd' => format!("f64_of({bits})"),
        'p' => format!("(void *)(uintptr_t){bits}"),
        _ => format!("({}){bits}", c_type(letter)),
    }
}

/// The bits of a value of this type, widened as its type says.
fn to_bits(letter: char, value: &str) -> String {
    match letter {
        'f' => format!("bits_of_f32({value})"),
        'd' => format!("bits_of_f64({value})"),
        'p' => format!("(uint64_t)(uintptr_t)({value})"),
        _ => format!("(uint64_t)(int64_t)({value})"),
    }
}

/// A function that is the target of a thunk for a signature, and one that calls it.
fn generate(program: &mut String, index: usize, text: &str, entered: execbuf_abi) -> std::fmt::Result {
    let quoted = text.replace('?', "\\?"); // else there are trigraphs
    let (attribute, other) = if entered == SYSV64 { ("SYSV64", "WIN64") } else { ("WIN64", "SYSV64") };
    let (result, rest) = text.split_at(1);
    let result = result.chars().next().expect("it has one");
    let all: Vec<char> = rest.chars().filter(char::is_ascii_alphabetic).chain([]).collect();
    let all: Vec<char> =
        if rest.contains('?') { rest.chars().filter(|c| !"().".contains(*c)).collect() } else { all };
    let fixed = rest.find('.').map_or(all.len(), |at| at - 1);
    let names = |range: &[char]| {
        let named: Vec<_> = range.iter().enumerate().map(|(i, &t)| format!("{} a{i}", c_type(t))).collect();
        if named.is_empty() { "void".to_owned() } else { named.join(", ") }
    };
    let variadic = fixed < all.len();
    let dots = if variadic { ", ..." } else { "" };

    writeln!(program, "static {other} {} target_{index}({}{dots}) {{", c_type(result), names(&all[..fixed]))?;
    if variadic {
        writeln!(program, "    {other}_LIST list;\n    {other}_START(list, a{});", fixed - 1)?;
        for (i, &letter) in all.iter().enumerate().skip(fixed) {
            let c_type = c_type(letter);
            writeln!(program, "    {c_type} a{i} = {other}_ARGUMENT(list, {c_type});")?;
        }
    }
    for (i, &letter) in all.iter().enumerate() {
        writeln!(program, "    got[{i}] = {};", to_bits(letter, &format!("a{i}")))?;
    }
    writeln!(program, "    LOOK_AT_STACK({});\n    CLOBBER_{other}();", all.len())?;
    if result != 'v' {
        writeln!(program, "    return {};", from_bits(result, "sent_result"))?;
    }
    writeln!(program, "}}\n\nstatic void call_{index}(void) {{")?;
    writeln!(program, "    typedef {attribute} {} (*function)({});", c_type(result), names(&all))?;
    writeln!(
        program,
        "    function thunk_of = (function)prepare(\"{quoted}\", EXECBUF_ABI_{attribute}, EXECBUF_ABI_{other}, \
         (void (*)(void))target_{index});"
    )?;
    let values: Vec<_> = all.iter().enumerate().map(|(i, &t)| from_bits(t, &format!("sent[{i}]"))).collect();
    let call = format!("thunk_of({})", values.join(", "));
    if result == 'v' {
        writeln!(program, "    {call};")?;
    } else {
        writeln!(program, "    {} result = {call};", c_type(result))?;
        let wanted = to_bits(result, &from_bits(result, "sent_result"));
        writeln!(program, "    expect(\"{quoted}\", 0, {}, {wanted});", to_bits(result, "result"))?;
    }
    for (i, &letter) in all.iter().enumerate() {
        let wanted = to_bits(letter, &from_bits(letter, &format!("sent[{i}]")));
        writeln!(program, "    expect(\"{quoted}\", {}, got[{i}], {wanted});", i + 1)?;
    }
    writeln!(program, "    conclude(\"{quoted}\", {}, EXECBUF_ABI_{attribute});\n}}\n", all.len())
}

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

fn program(signatures: u64, seed: u64) -> String {
    let mut random = Random(seed);
    let mut program = String::from("#include \"crossing.h\"\n\n");
    let known = KNOWN.iter().map(|&text| text.to_owned());
    let random = (0..signatures).map(|_| random_signature(&mut random));
    let mut calls = 0;
    for text in known.chain(random) {
        for (entered, _) in BOTH {
            generate(&mut program, calls, &text, entered).expect("a string has room");
            calls += 1;
        }
    }
    program.push_str("int main(void) {\n");
    for index in 0..calls {
        let _ = writeln!(program, "    call_{index}();");
    }
    program.push_str("    return 0;\n}\n");
    program
}

/// A command as a part of a file's name.
fn as_file(command: &str) -> String {
    command.replace(['/', ' '], "_")
}

/// A compiler, and the library as it makes it.
struct Compiler {
    name: String,
    objects: Vec<PathBuf>,
}

impl Compiler {
    fn new(name: String) -> Self {
        let csrc = Path::new(env!("CARGO_MANIFEST_DIR")).join("csrc");
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("objects-{}", as_file(&name)));
        fs::create_dir_all(&out).expect("it can be made");
        let mut sources: Vec<_> =
            fs::read_dir(&csrc).expect("it is there").map(|entry| entry.expect("readable").path()).collect();
        sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
        sources.push(csrc.join("prim/prim.c"));
        let objects = sources
            .iter()
            .map(|source| out.join(source.file_name().expect("it has one")).with_extension("o"))
            .collect();
        let compiler = Self { name, objects };
        compiler.compile(compiler.command().current_dir(out).args(["-O1", "-c"]).args(sources));
        compiler
    }

    fn command(&self) -> Command {
        let mut words = self.name.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    fn compile(&self, command: &mut Command) {
        let output = command
            .args(["-std=c11", "-w"])
            .args(env::var("CFLAGS").unwrap_or_default().split_whitespace().filter(|flag| *flag != "-Werror"))
            .output()
            .expect("the compiler is there");
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
    }

    /// Compiles and runs a program.
    fn run(&self, optimisation: &str, source: &Path, seed: u64) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = source.with_extension(format!("{}{optimisation}.exe", as_file(&self.name)));
        self.compile(
            self.command()
                .args([optimisation, &format!("-DSEED={seed}u"), "-pthread", "-I"])
                .args([root.join("csrc/include").as_os_str(), "-I".as_ref(), root.join("tests/c").as_os_str()])
                .arg(source)
                .args(&self.objects)
                .args(["-o".as_ref(), program.as_os_str()]),
        );
        let runner = env::var("EXECBUF_RUNNER").unwrap_or_default();
        let mut words = runner.split_whitespace().map(PathBuf::from).chain([program]);
        let output =
            Command::new(words.next().expect("at least the program")).args(words).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {optimisation}, {}: {text}", self.name, source.display());
    }
}

#[test]
fn compilers_agree_with_thunks() {
    if !support::can_compile("thunks against the compilers' code") {
        return;
    }
    let (signatures, seed) = (number("EXECBUF_THUNKS", 100), number("EXECBUF_SEED", 1));
    support::say(&format!("{signatures} signatures, EXECBUF_SEED={seed}"));
    let mut names = vec![env::var("EXECBUF_CC").unwrap_or_else(|_| "cc".to_owned())];
    if env::var_os("EXECBUF_CC").is_none() && Command::new("clang").arg("--version").output().is_ok() {
        names.push("clang".to_owned());
    }
    let compilers: Vec<_> = names.into_iter().map(Compiler::new).collect();
    // Each program has signatures of its own.
    let programs = signatures.div_ceil(250);
    for number in 0..programs {
        let seed = seed.wrapping_mul(1000) + number;
        let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crossing{seed}.c"));
        fs::write(&source, program(signatures / programs, seed)).expect("the directory is there");
        for compiler in &compilers {
            for optimisation in ["-O0", "-O2"] {
                compiler.run(optimisation, &source, seed);
            }
        }
    }
}
