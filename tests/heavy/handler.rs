//! The code of closures that call handlers, which the tests decode. `EXECBUF_SEED` sets the seed of the random numbers.
#![cfg(target_arch = "x86_64")]

#[path = "../support/random.rs"]
mod random;
#[path = "../support/signatures.rs"]
mod signatures;

use execbuf::dynamic::DynClosure;
use execbuf::{Abi, Signature};
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register,
};

use crate::random::Random;
use crate::signatures::{number, random_signature, random_signature_of_values};

/// Returns the instructions of a closure's adapter, from where its stub jumps to.
fn adapter(text: &str, abi: Abi) -> Vec<Instruction> {
    let signature: Signature = text.parse().unwrap();
    let closure = DynClosure::new(&signature, abi, |_| {}).unwrap();
    let mut start = closure.as_ptr();
    // SAFETY: The stub is published, and ends with a jump, which is found before other bytes are read.
    for instruction in &mut Decoder::with_ip(64, unsafe { bytes(start, 32) }, start.addr() as u64, 0) {
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::UnconditionalBranch => {
                start = std::ptr::with_exposed_provenance(usize::try_from(instruction.near_branch64()).unwrap());
                break;
            }
            other => panic!("a stub far from its adapter: {other:?}"),
        }
    }
    let left = 4096 - start.addr() % 4096;
    // SAFETY: The adapter is live, is followed by other bytes of a page, and ends with a ret.
    let mut instructions = decode(unsafe { bytes(start, left) });
    if instructions.last().unwrap().flow_control() != FlowControl::Return {
        // SAFETY: As above: the code goes on in the next page.
        instructions = decode(unsafe { bytes(start, left + 4096) });
    }
    instructions
}

/// # Safety
///
/// They can be read, and nobody changes them.
unsafe fn bytes<'a>(start: *const u8, length: usize) -> &'a [u8] {
    // SAFETY: The caller guarantees it.
    unsafe { std::slice::from_raw_parts(start, length) }
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
            check_instructions(&text, &adapter(&text, abi), abi);
        }
    }
}

fn check_instructions(text: &str, instructions: &[Instruction], abi: Abi) {
    let result_pointer = if abi == Abi::SysV64 { Register::RDI } else { Register::RCX };
    let mut info = InstructionInfoFactory::new();
    let mut depth = 8; // the return address
    let mut is_called = false;
    for (index, instruction) in instructions.iter().enumerate() {
        assert!(!instruction.is_invalid() && !instruction.is_ip_rel_memory_operand(), "{text}: {instruction:?}");
        match instruction.flow_control() {
            FlowControl::Next => depth -= i64::from(instruction.stack_pointer_increment()),
            // A loop that zeroes a value.
            FlowControl::ConditionalBranch => {
                let target = instruction.near_branch_target();
                let starts = instructions[..index].iter().map(Instruction::ip);
                assert!(instruction.mnemonic() == Mnemonic::Jne && starts.rev().take(4).any(|ip| ip == target));
            }
            FlowControl::IndirectCall => {
                let target = (instruction.memory_base(), instruction.memory_displacement64());
                assert!(!is_called && target == (Register::R11, 0), "{text}");
                assert_eq!(depth % 16, 0, "{text}: the stack is not aligned at the call");
                is_called = true;
            }
            FlowControl::Return => assert!(index + 1 == instructions.len() && depth == 8, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
        match (instruction.mnemonic(), instruction.op0_register()) {
            (Mnemonic::Sub, Register::RSP) => depth += i64::try_from(instruction.immediate(1)).unwrap(),
            (Mnemonic::Add, Register::RSP) => depth -= i64::try_from(instruction.immediate(1)).unwrap(),
            _ => {}
        }
        assert!((8..4096).contains(&depth), "{text}: the frame must be smaller than a page");
        if instruction.flow_control() == FlowControl::Next {
            for memory in info.info(instruction).used_memory() {
                let writes =
                    !matches!(memory.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
                let is_result = memory.base() == if is_called { Register::RAX } else { result_pointer };
                assert!(!writes || is_result || memory.base() == Register::RSP, "{text}: {instruction:?}");
            }
        }
        let aligned = matches!(instruction.code(), Code::Movaps_xmm_xmmm128 | Code::Movaps_xmmm128_xmm);
        if aligned && (instruction.op0_kind() == OpKind::Memory || instruction.op1_kind() == OpKind::Memory) {
            let from_entry = i64::try_from(instruction.memory_displacement64()).unwrap() - depth;
            assert_eq!(from_entry % 16, 0, "{text}: {instruction:?}");
        }
    }
    assert!(is_called, "{text}");
}

/// Counts the instructions of closures with 0 to 4 integers: one for each, the frame, the context, the two addresses, the
/// call and the result, which is zeroed before. The stub has three more.
#[test]
fn closures_have_few_instructions() {
    let saves = if cfg!(windows) { 0 } else { 24 }; // a Win64 function preserves rdi, rsi and ten vectors
    for (integers, text) in ["l()", "l(l)", "l(ll)", "l(lll)", "l(llll)"].iter().enumerate() {
        assert_eq!(adapter(text, Abi::SysV64).len(), 12 + integers);
        assert_eq!(adapter(text, Abi::Win64).len(), 12 + integers + saves);
    }
    assert_eq!(adapter("i(bBhi)", Abi::SysV64).len(), 12 + 2 * 4); // one more to extend each
    assert_eq!(adapter("v()", Abi::SysV64).len(), 10);
}
