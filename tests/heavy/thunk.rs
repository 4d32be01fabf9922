//! The code of thunks, which the tests decode. `EXECBUF_SEED` sets the seed of the random numbers.
#![cfg(target_arch = "x86_64")]

#[path = "../support/random.rs"]
mod random;
#[path = "../support/signatures.rs"]
mod signatures;

use std::{mem, ptr};

use execbuf::ffi::{self, execbuf_abi, execbuf_status};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::random::Random;
use crate::signatures::{number, random_signature, random_signature_of_values};

const SYSV64: execbuf_abi = execbuf_abi::EXECBUF_ABI_SYSV64;
const WIN64: execbuf_abi = execbuf_abi::EXECBUF_ABI_WIN64;

/// A signature parsed by the C library.
struct Parsed(*mut ffi::execbuf_signature);

impl Drop for Parsed {
    fn drop(&mut self) {
        // SAFETY: `parse` made the signature, and nobody else frees it.
        unsafe { ffi::execbuf_signature_free(self.0) };
    }
}

fn parse(text: &str) -> Parsed {
    let text = std::ffi::CString::new(text).expect("the text has no zero byte");
    let mut signature = ptr::null_mut();
    // SAFETY: The pointer is writable, and the text ends with a zero byte.
    let status = unsafe { ffi::execbuf_signature_parse(&raw mut signature, text.as_ptr(), ptr::null_mut()) };
    assert_eq!(status, execbuf_status::EXECBUF_OK, "{text:?}");
    Parsed(signature)
}

/// An arbitrary address, which is never called.
const TARGET: u64 = 0x1234_5678_9abc_def0;

fn emit(text: &str, caller_abi: execbuf_abi, callee_abi: execbuf_abi) -> Vec<u8> {
    let signature = parse(text);
    let target = ptr::without_provenance(usize::try_from(TARGET).expect("64 bits"));
    let emit = |out: &mut [u8]| {
        let mut length = 0;
        let (bytes, capacity) = (out.as_mut_ptr().cast(), out.len());
        let (length_out, signature, error) = (&raw mut length, signature.0, ptr::null_mut());
        // SAFETY: `out` is writable for its length, `length` is writable, and the signature is valid.
        let status = unsafe {
            ffi::execbuf_thunk_emit(signature, bytes, capacity, length_out, caller_abi, callee_abi, target, error)
        };
        (status, length)
    };
    let (status, length) = emit(&mut []);
    assert_eq!(status, execbuf_status::EXECBUF_E_CAPACITY);
    let mut code = vec![0; length + 1];
    assert_eq!(emit(&mut code), (execbuf_status::EXECBUF_OK, length));
    assert_eq!(code.pop(), Some(0), "nothing is written after the end");
    let mut short = vec![0; length - 1];
    assert_eq!(emit(&mut short), (execbuf_status::EXECBUF_E_CAPACITY, length));
    assert!(short.iter().all(|&byte| byte == 0), "nothing is written if the code does not fit");
    code
}

#[test]
fn every_instruction_decodes_and_is_position_independent() {
    let mut random = Random(number("EXECBUF_SEED", 1));
    for round in 0..4000 {
        let text =
            if round % 2 == 0 { random_signature(&mut random) } else { random_signature_of_values(&mut random) };
        for (caller_abi, callee_abi) in [(SYSV64, WIN64), (WIN64, SYSV64), (SYSV64, SYSV64), (WIN64, WIN64)] {
            check_instructions(&text, &emit(&text, caller_abi, callee_abi), caller_abi == callee_abi);
        }
    }
}

fn check_instructions(text: &str, code: &[u8], is_jump: bool) {
    let instructions: Vec<Instruction> = Decoder::with_ip(64, code, 0x1000, DecoderOptions::NONE).iter().collect();
    assert_eq!(instructions.iter().map(Instruction::len).sum::<usize>(), code.len(), "{text}");
    let mut depth = 8; // the return address
    for (index, instruction) in instructions.iter().enumerate() {
        assert!(!instruction.is_invalid() && !instruction.is_ip_rel_memory_operand(), "{text}: {instruction:?}");
        match instruction.flow_control() {
            FlowControl::Next => {}
            // A loop that copies a value.
            FlowControl::ConditionalBranch => {
                let target = instruction.near_branch_target();
                let starts = instructions[..index].iter().map(Instruction::ip);
                assert!(instruction.mnemonic() == Mnemonic::Jne && starts.rev().take(4).any(|ip| ip == target));
            }
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
        assert!((0..4096).contains(&depth), "{text}: the frame must be smaller than a page");
        let aligned = matches!(instruction.code(), Code::Movaps_xmm_xmmm128 | Code::Movaps_xmmm128_xmm);
        if aligned && (instruction.op0_kind() == OpKind::Memory || instruction.op1_kind() == OpKind::Memory) {
            let from_entry = i64::try_from(instruction.memory_displacement64()).expect("it is small") - depth;
            assert_eq!(from_entry % 16, 0, "{text}: {instruction:?}");
        }
    }
    assert_eq!(instructions[0].mnemonic(), Mnemonic::Endbr64);
    assert_eq!((instructions[1].op0_register(), instructions[1].immediate(1)), (Register::R11, TARGET));
}

/// A pool of the C library.
struct Pool(*mut ffi::execbuf_pool);

impl Pool {
    fn new() -> Self {
        let mut pool = ptr::null_mut();
        // SAFETY: The pool is writable; the options and the report may be null.
        let status = unsafe { ffi::execbuf_pool_new(&raw mut pool, ptr::null(), ptr::null_mut()) };
        assert_eq!(status, execbuf_status::EXECBUF_OK);
        Self(pool)
    }

    fn publish(&self, code: &[u8]) -> ffi::execbuf {
        // SAFETY: All zero is a valid handle.
        let mut buffer = unsafe { mem::zeroed() };
        // SAFETY: The pool exists, the handle is writable, and the code is readable for its length.
        let status = unsafe {
            ffi::execbuf_pool_publish(self.0, &raw mut buffer, code.as_ptr().cast(), code.len(), ptr::null_mut())
        };
        assert_eq!(status, execbuf_status::EXECBUF_OK);
        buffer
    }

    fn thunk(&self, text: &str, caller_abi: execbuf_abi, callee_abi: execbuf_abi, target: u64) -> ffi::execbuf {
        let (signature, target) =
            (parse(text), ptr::without_provenance(usize::try_from(target).expect("64 bits")));
        // SAFETY: All zero is a valid handle.
        let mut thunk = unsafe { mem::zeroed() };
        // SAFETY: The pool exists, the handle is writable, and the signature is valid.
        let status = unsafe {
            ffi::execbuf_thunk_new(
                self.0,
                &raw mut thunk,
                signature.0,
                caller_abi,
                callee_abi,
                target,
                ptr::null_mut(),
            )
        };
        assert_eq!(status, execbuf_status::EXECBUF_OK);
        thunk
    }

    /// Makes a closure, or a function that drops an argument: the first one or the last one, which is a pointer.
    fn edited(&self, text: &str, abi: execbuf_abi, inserts: bool, position: u32) -> ffi::execbuf {
        unsafe extern "C" fn nothing() {}
        let (signature, context) = (parse(text), ptr::without_provenance_mut(0x55));
        // SAFETY: All zero is a valid handle.
        let mut edited = unsafe { mem::zeroed() };
        let (out, function, error) = (&raw mut edited, Some(nothing as unsafe extern "C" fn()), ptr::null_mut());
        // SAFETY: The pool exists, the handle is writable, and the signature is valid.
        let status = unsafe {
            if inserts {
                ffi::execbuf_bind(self.0, out, signature.0, abi, function, context, position, error)
            } else {
                ffi::execbuf_drop_argument(self.0, out, signature.0, abi, function, position, error)
            }
        };
        assert_eq!(status, execbuf_status::EXECBUF_OK, "{text}");
        edited
    }

    /// Returns the published code from an address to the end of its buffer.
    fn code_at(&self, address: u64) -> &[u8] {
        let address: *const u8 = ptr::with_exposed_provenance(usize::try_from(address).expect("64 bits"));
        // SAFETY: All zero is a valid place.
        let mut place: ffi::execbuf_place = unsafe { mem::zeroed() };
        place.size = mem::size_of_val(&place);
        // SAFETY: The pool exists, and the place is writable.
        let status = unsafe { ffi::execbuf_pool_lookup(self.0, &raw mut place, address.cast()) };
        assert_eq!(status, execbuf_status::EXECBUF_OK);
        let offset = address as usize - place.entry as usize;
        // SAFETY: The code is published, and nobody changes it.
        unsafe { std::slice::from_raw_parts(address, place.length - offset) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: Only this value has the pool.
        unsafe { ffi::execbuf_pool_free(self.0) };
    }
}

fn free(mut buffer: ffi::execbuf) {
    // SAFETY: The handle is writable, and nobody calls the code.
    assert_eq!(unsafe { ffi::execbuf_free(&raw mut buffer) }, execbuf_status::EXECBUF_OK);
}

/// Decodes a thunk and follows its jumps. Returns the target that it loads into r11, and the code after that.
fn follow(pool: &Pool, thunk: &ffi::execbuf) -> (u64, Vec<u8>) {
    let mut address = thunk.entry as u64;
    let mut loaded = [0; 16];
    loop {
        let code = pool.code_at(address);
        let instruction = Decoder::with_ip(64, code, address, DecoderOptions::NONE).decode();
        let register = |operand: Register| operand as usize - Register::RAX as usize;
        match (instruction.mnemonic(), instruction.op0_kind()) {
            (Mnemonic::Endbr64, _) => {}
            (Mnemonic::Lea, _) if instruction.is_ip_rel_memory_operand() => {
                loaded[register(instruction.op0_register())] = instruction.ip_rel_memory_address();
            }
            (Mnemonic::Mov, OpKind::Register) if instruction.op1_kind() == OpKind::Immediate64 => {
                loaded[register(instruction.op0_register())] = instruction.immediate64();
            }
            (Mnemonic::Jmp, OpKind::Register) if instruction.op0_register() == Register::R10 => {
                address = loaded[register(Register::R10)];
                continue;
            }
            (Mnemonic::Jmp, OpKind::NearBranch64) => {
                address = instruction.near_branch64();
                continue;
            }
            _ => return (loaded[register(Register::R11)], code.to_vec()),
        }
        address = instruction.next_ip();
    }
}

/// A stub and its adapter together are equivalent to the code of `execbuf_thunk_emit`, wherever they and the target
/// are.
#[test]
fn a_stub_leads_to_an_adapter_that_is_the_rest_of_an_emitted_thunk() {
    let pool = Pool::new();
    let near = pool.publish(&[0xc3]); // ret
    let mut random = Random(number("EXECBUF_SEED", 3));
    let mut live = Vec::new();
    for index in 0..1000 {
        let text = random_signature(&mut random);
        for (caller_abi, callee_abi) in [(SYSV64, WIN64), (WIN64, SYSV64), (SYSV64, SYSV64), (WIN64, WIN64)] {
            for target in [near.entry as u64, TARGET] {
                let thunk = pool.thunk(&text, caller_abi, callee_abi, target);
                let (reached, rest) = follow(&pool, &thunk);
                let whole = emit(&text, caller_abi, callee_abi);
                let start = 4 + 10; // endbr64 and mov r11, target
                assert_eq!(reached, target, "{text}");
                assert!(rest.starts_with(&whole[start..]), "{text}: {rest:x?}");
                live.push(thunk);
            }
        }
        // Free some thunks, so that later ones reuse their addresses.
        if index % 3 == 0 {
            let middle = live.len() / 2;
            free(live.swap_remove(middle));
        }
    }
    live.into_iter().for_each(free);
    free(near);
}

/// Counts the instructions of thunks for functions with 0 to 4 integers.
#[test]
fn thunks_have_as_many_instructions_as_compiled_code() {
    let count = |text: &str, caller_abi, callee_abi| {
        let code = emit(text, caller_abi, callee_abi);
        Decoder::new(64, &code, DecoderOptions::NONE).iter().count()
    };
    for (integers, text) in ["v()", "v(l)", "v(ll)", "v(lll)", "v(llll)"].iter().enumerate() {
        // Compilers emit 4 and 28 instructions, one for each argument, and three for a frame pointer, if they are told
        // to. A thunk adds endbr64 and the load of r11.
        assert_eq!(count(text, SYSV64, WIN64), 4 + integers + 3 + 2);
        assert_eq!(count(text, WIN64, SYSV64), 28 + integers + 3 + 2);
    }
}

/// Decodes the code of an adapter up to where it leaves.
fn adapter_of(pool: &Pool, edited: &ffi::execbuf) -> Vec<Instruction> {
    let (_, code) = follow(pool, edited);
    let mut instructions = Vec::new();
    for instruction in &mut Decoder::with_ip(64, &code, 0x1000, DecoderOptions::NONE) {
        instructions.push(instruction);
        if matches!(instruction.flow_control(), FlowControl::Return | FlowControl::IndirectBranch) {
            break;
        }
    }
    instructions
}

/// Where an adapter of a closure finds its target: in the cell, at r11. The other adapters have it in r11.
fn is_target(instruction: &Instruction, inserts: bool) -> bool {
    if inserts {
        (instruction.memory_base(), instruction.memory_displacement64()) == (Register::R11, 0)
    } else {
        instruction.op0_register() == Register::R11
    }
}

#[test]
fn every_instruction_of_a_closure_decodes_and_leaves_the_stack_as_it_was() {
    let pool = Pool::new();
    let mut random = Random(number("EXECBUF_SEED", 5));
    let mut jumps = 0;
    for round in 0..2000 {
        let values = round % 2 == 1;
        let text = if values { random_signature_of_values(&mut random) } else { random_signature(&mut random) };
        if text.len() > 127 {
            continue; // it may have no room for a pointer
        }
        let (head, tail) = text.split_once('(').expect("a signature");
        let first = round % 4 < 2;
        let text = if first { format!("{head}(p{tail}") } else { format!("{}p)", &text[..text.len() - 1]) };
        for (abi, inserts) in [(SYSV64, true), (WIN64, true), (SYSV64, false), (WIN64, false)] {
            let edited = pool.edited(&text, abi, inserts, if first { 0 } else { ffi::EXECBUF_LAST });
            let instructions = adapter_of(&pool, &edited);
            let mut depth = 8; // the return address
            for (index, instruction) in instructions.iter().enumerate() {
                assert!(!instruction.is_invalid() && !instruction.is_ip_rel_memory_operand(), "{text}");
                let is_last = index + 1 == instructions.len();
                match instruction.flow_control() {
                    FlowControl::Next | FlowControl::ConditionalBranch => {
                        depth -= i64::from(instruction.stack_pointer_increment());
                    }
                    FlowControl::IndirectCall => {
                        assert!(is_target(instruction, inserts) && depth % 16 == 0, "{text}");
                    }
                    FlowControl::IndirectBranch => {
                        assert!(is_target(instruction, inserts) && is_last && depth == 8, "{text}");
                        jumps += 1;
                    }
                    FlowControl::Return => assert!(is_last && depth == 8, "{text}"),
                    other => panic!("{text}: {other:?}"),
                }
                if instruction.op0_register() == Register::RSP && instruction.op_count() == 2 {
                    let size = i64::try_from(instruction.immediate(1)).expect("it is small");
                    depth += if instruction.mnemonic() == Mnemonic::Sub { size } else { -size };
                }
                assert!((8..4096).contains(&depth), "{text}");
            }
            free(edited);
        }
    }
    assert!(jumps > 1000, "most adapters have no frame");
}

/// A closure with the context behind up to five integers executes five instructions with System V's convention: three of
/// the stub, and two of the adapter. One before them is one move for each.
#[test]
fn closures_of_few_integers_move_registers_and_jump() {
    let pool = Pool::new();
    let count = |text: &str, abi, position| {
        let edited = pool.edited(text, abi, true, position);
        let count = adapter_of(&pool, &edited).len();
        free(edited);
        count
    };
    for (integers, text) in ["v(p)", "v(lp)", "v(llp)", "v(lllp)", "v(llllp)", "v(lllllp)"].iter().enumerate() {
        assert_eq!(count(text, SYSV64, ffi::EXECBUF_LAST), 2);
        assert!(integers > 3 || count(text, WIN64, ffi::EXECBUF_LAST) == 2);
        let text = format!("v(p{})", "l".repeat(integers));
        assert_eq!(count(&text, SYSV64, 0), 2 + integers);
        assert!(integers > 3 || count(&text, WIN64, 0) == 2 + integers);
    }
}
