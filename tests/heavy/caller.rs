//! The code of dynamic calls, which the tests decode. `EXECBUF_SEED` sets the seed of the random numbers.
#![cfg(all(target_arch = "x86_64", not(windows)))]

#[path = "../support/random.rs"]
mod random;
#[path = "../support/signatures.rs"]
mod signatures;

use execbuf::{Abi, ffi};
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register,
};

use crate::random::Random;
use crate::signatures::{number, random_signature, random_signature_of_values};

/// Returns the instructions of the adapter that calls functions with a signature.
fn adapter(text: &str, abi: Abi) -> Vec<Instruction> {
    let abi =
        if abi == Abi::Win64 { ffi::execbuf_abi::EXECBUF_ABI_WIN64 } else { ffi::execbuf_abi::EXECBUF_ABI_SYSV64 };
    let c_text = std::ffi::CString::new(text).unwrap();
    let (mut signature, mut caller) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: The pointers are writable, the text ends with a zero byte, and the reports may be null. The first member
    // of a caller is the address of its code, which is followed by other bytes of a page and ends with a ret.
    unsafe {
        let ok = ffi::execbuf_status::EXECBUF_OK;
        assert_eq!(
            ffi::execbuf_signature_parse(&raw mut signature, c_text.as_ptr(), std::ptr::null_mut()),
            ok,
            "{text}"
        );
        assert_eq!(ffi::execbuf_caller_new(&raw mut caller, signature, abi, std::ptr::null_mut()), ok, "{text}");
        let start = caller.cast::<*const u8>().read();
        let left = 4096 - start.addr() % 4096;
        let mut instructions = decode(std::slice::from_raw_parts(start, left));
        if instructions.last().unwrap().flow_control() != FlowControl::Return {
            instructions = decode(std::slice::from_raw_parts(start, left + 4096)); // the code goes on in the next page
        }
        ffi::execbuf_caller_free(caller);
        ffi::execbuf_signature_free(signature);
        instructions
    }
}

/// Decodes up to the first ret.
fn decode(bytes: &[u8]) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    for instruction in &mut Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE) {
        instructions.push(instruction);
        if instruction.flow_control() == FlowControl::Return {
            break;
        }
    }
    instructions
}

#[test]
fn every_instruction_decodes_and_writes_only_to_the_frame_and_to_the_result() {
    let mut random = Random(number("EXECBUF_SEED", 1));
    for round in 0..4000 {
        let text =
            if round % 2 == 0 { random_signature(&mut random) } else { random_signature_of_values(&mut random) };
        for abi in [Abi::SysV64, Abi::Win64] {
            check_instructions(&text, &adapter(&text, abi));
        }
    }
}

fn check_instructions(text: &str, instructions: &[Instruction]) {
    let mut info = InstructionInfoFactory::new();
    let mut depth = 8; // the return address
    let mut is_called = false;
    for (index, instruction) in instructions.iter().enumerate() {
        assert!(!instruction.is_invalid() && !instruction.is_ip_rel_memory_operand(), "{text}: {instruction:?}");
        match instruction.flow_control() {
            FlowControl::Next => depth -= i64::from(instruction.stack_pointer_increment()),
            // A loop that copies a value.
            FlowControl::ConditionalBranch => {
                let target = instruction.near_branch_target();
                let starts = instructions[..index].iter().map(Instruction::ip);
                assert!(instruction.mnemonic() == Mnemonic::Jne && starts.rev().take(4).any(|ip| ip == target));
            }
            FlowControl::IndirectCall => {
                assert!(!is_called && instruction.memory_base() == Register::RSP, "{text}");
                assert_eq!(depth % 16, 0, "{text}: the stack is not aligned at the call");
                is_called = true;
            }
            FlowControl::Return => assert_eq!(index + 1, instructions.len()),
            other => panic!("{text}: {other:?}"),
        }
        if (instruction.mnemonic(), instruction.op0_register()) == (Mnemonic::Sub, Register::RSP) {
            depth += i64::try_from(instruction.immediate(1)).expect("it is small");
        }
        assert!((0..4096).contains(&depth), "{text}: the frame must be smaller than a page");
        if instruction.flow_control() == FlowControl::Next {
            for memory in info.info(instruction).used_memory() {
                let writes =
                    !matches!(memory.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
                let is_result = is_called && memory.base() == Register::R10;
                assert!(!writes || is_result || memory.base() == Register::RSP, "{text}: {instruction:?}");
            }
        }
        let aligned = matches!(instruction.code(), Code::Movaps_xmm_xmmm128 | Code::Movaps_xmmm128_xmm);
        assert!(
            !aligned || (instruction.op0_kind() != OpKind::Memory && instruction.op1_kind() != OpKind::Memory),
            "{text}: {instruction:?}"
        );
    }
    assert!(is_called && instructions[0].mnemonic() == Mnemonic::Endbr64, "{text}");
}

/// Counts the instructions of calls with 0 to 4 integers: one for each, and those of the frame and the result.
/// `execbuf_call` has one jump more.
#[test]
fn calls_have_few_instructions() {
    for (integers, text) in ["l()", "l(l)", "l(ll)", "l(lll)", "l(llll)"].iter().enumerate() {
        assert_eq!(adapter(text, Abi::SysV64).len(), 10 + integers);
        assert_eq!(adapter(text, Abi::Win64).len(), 11 + integers);
    }
    assert_eq!(adapter("v()", Abi::SysV64).len(), 8);
}
