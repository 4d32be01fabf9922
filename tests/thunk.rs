//! Signatures, and thunks as bytes: what a decoder says of them. `EXECBUF_SEED` is where the random numbers begin.
#![cfg(target_arch = "x86_64")]

#[path = "support/mod.rs"]
mod support;

use std::{mem, ptr};

use execbuf::ffi::{self, execbuf_abi, execbuf_status};
use execbuf::{Signature, Type};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::support::Random;
use crate::support::signatures::{number, random_signature};

const SYSV64: execbuf_abi = execbuf_abi::EXECBUF_ABI_SYSV64;
const WIN64: execbuf_abi = execbuf_abi::EXECBUF_ABI_WIN64;

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
