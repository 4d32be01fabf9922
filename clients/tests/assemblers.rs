//! Code of assemblers that depends on its own address.
#![cfg(target_arch = "x86_64")]

use std::convert::Infallible;

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};
use execbuf::ExecPool;
use iced_x86::code_asm::{CodeAssembler, rax, rdi};

extern "sysv64" fn three_times(number: u64) -> u64 {
    3 * number
}

fn pool_near_three_times() -> ExecPool {
    ExecPool::builder().near(three_times as *const u8).build().unwrap()
}

#[test]
fn iced_jumps_to_a_function_of_the_program() {
    let pool = pool_near_three_times();
    let mut code = CodeAssembler::new(64).unwrap();
    code.add(rdi, rdi).unwrap();
    code.mov(rax, three_times as *const () as u64).unwrap();
    code.jmp(three_times as *const () as u64).unwrap();
    let buffer = pool.assemble(|address| code.assemble(address as u64)).unwrap();
    assert!(buffer.len() < 20, "the jump is a short one");
    // SAFETY: The code goes on in a function of this type.
    let function = unsafe { buffer.function::<extern "sysv64" fn(u64) -> u64>() };
    assert_eq!(function.call(7), 42);
}

#[test]
fn dynasm_calls_a_function_of_the_program() {
    let pool = pool_near_three_times();
    let buffer = pool
        .assemble(|address| {
            let mut code = dynasmrt::VecAssembler::<dynasmrt::x64::X64Relocation>::new(address);
            dynasm!(code
                ; .arch x64
                ; add rdi, 1
                ; mov rax, QWORD three_times as *const () as i64
                ; test rdi, rdi
                ; jz >zero
                ; jmp rax
                ; zero:
                ; ret
            );
            Ok::<_, Infallible>(code.finalize().unwrap())
        })
        .unwrap();
    // SAFETY: The code goes on in a function of this type.
    let function = unsafe { buffer.function::<extern "sysv64" fn(u64) -> u64>() };
    assert_eq!(function.call(13), 42);
}
