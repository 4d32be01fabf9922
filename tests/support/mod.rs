//! What the tests share: machine code to publish, a look at the process's mappings, and children that may die.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "every test program uses a part of it")]

pub mod child;
#[cfg(target_os = "linux")]
pub mod harden;
pub mod maps;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Says that something was not tested, past the test harness's capture.
pub fn skip(why: &str) {
    say(&format!("\nSKIP: {why}")); // libtest may be in the middle of a line
}

/// Whether this is compiled on another system than it runs on.
pub fn is_cross() -> bool {
    let [target, host] = [env!("EXECBUF_TARGET"), env!("EXECBUF_HOST")];
    target != host
}

/// Whether C programs for this system can be built and run here by `sh` and `cc`; if not, says so.
pub fn can_compile(what: &str) -> bool {
    let can = cfg!(unix) && !is_cross();
    if !can {
        skip(&format!("{what}: only where a Unix system compiles for itself"));
    }
    can
}

/// Keeps the other tests of this program from running.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line past the test harness's capture.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Code for `extern "C" fn() -> u32` that returns `value`, which is less than 65,536.
#[cfg(target_arch = "x86_64")]
pub fn returning(value: u32) -> Vec<u8> {
    let [a, b, c, d] = value.to_le_bytes();
    vec![
        0xb8, a, b, c, d,    //   mov eax, value
        0xc3, //               ret
    ]
}

/// Code for `extern "C" fn() -> u32` that returns `value`, which is less than 65,536.
#[cfg(target_arch = "aarch64")]
pub fn returning(value: u32) -> Vec<u8> {
    let words = [
        0x5280_0000 | value << 5, // mov w0, #value
        0xd65f_03c0,              // ret
    ];
    words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
}

/// Code for a function of any type that goes on at `target`, with all arguments in place.
#[cfg(target_arch = "x86_64")]
pub fn jump_to(target: *const u8) -> Vec<u8> {
    let mut code = vec![0x48, 0xb8]; //               mov rax, target
    code.extend((target as u64).to_le_bytes());
    code.extend([0xff, 0xe0]); //                     jmp rax
    code
}

/// Code for a function of any type that goes on at `target`, with all arguments in place.
#[cfg(target_arch = "aarch64")]
pub fn jump_to(target: *const u8) -> Vec<u8> {
    let mut code: Vec<u8> = [
        0x5800_0050_u32, // ldr x16, 8 bytes on
        0xd61f_0200,     // br x16
    ]
    .iter()
    .flat_map(|word| word.to_le_bytes())
    .collect();
    code.extend((target as u64).to_le_bytes());
    code
}

/// The trap instruction that surrounds published code.
#[cfg(target_arch = "x86_64")]
pub const TRAP: [u8; 4] = [0xcc; 4]; // int3
/// The trap instruction that surrounds published code.
#[cfg(target_arch = "aarch64")]
pub const TRAP: [u8; 4] = [0x00, 0x00, 0x20, 0xd4]; // brk #0

/// Publishes [`returning`].
pub fn publish(value: u32) -> execbuf::ExecBuffer {
    execbuf::ExecBuffer::new(&returning(value)).expect("this system allows executable memory")
}

/// Calls a buffer that holds [`returning`] at its start.
pub fn call(buffer: &execbuf::ExecBuffer) -> u32 {
    // SAFETY: The test published such a function.
    unsafe { buffer.function::<extern "C" fn() -> u32>() }.call()
}
