//! Helpers for the tests: machine code to publish, the mappings of the process, and child processes.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test program uses only a part of this module")]

pub mod child;
pub mod example;
#[cfg(target_os = "linux")]
pub mod harden;
pub mod maps;
pub mod markdown;
pub mod numbered;
mod output;
pub mod random;
mod reserve;
pub mod signatures;

pub use output::{say, skip};
pub use random::Random;
pub use reserve::reserve;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Returns whether the tests were cross-compiled, and may run in an emulator.
pub fn is_cross() -> bool {
    let [target, host] = [env!("EXECBUF_TARGET"), env!("EXECBUF_HOST")];
    target != host
}

/// Returns whether `sh` and `cc` can build and run C programs for this system. If not, prints a SKIP line.
pub fn can_compile(what: &str) -> bool {
    if cfg!(not(unix)) || is_cross() {
        skip(&format!("{what}: only native builds on Unix can run them"));
        return false;
    }
    let found = std::process::Command::new("sh").args(["-c", "command -v cc"]).output();
    let can = found.is_ok_and(|output| output.status.success());
    if !can {
        skip(&format!("{what}: no sh, or no cc"));
    }
    can
}

/// Returns whether this test can read about its own process: the mappings, and the path of the program. If not, prints a
/// SKIP line.
pub fn has_proc() -> bool {
    let has = cfg!(not(target_os = "linux")) || std::path::Path::new("/proc/self/maps").exists();
    if !has {
        // The test harness names a thread after its test.
        skip(&format!("{}: /proc is not mounted", std::thread::current().name().unwrap_or("a test")));
    }
    has
}

/// Blocks the other tests of this program that call it, until the guard is dropped.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the code of an `extern "C" fn() -> u32` that returns `value`, which is less than 65,536.
#[cfg(target_arch = "x86_64")]
pub fn returning(value: u32) -> Vec<u8> {
    let [a, b, c, d] = value.to_le_bytes();
    vec![
        0xb8, a, b, c, d,    //   mov eax, value
        0xc3, //               ret
    ]
}

/// Returns the code of an `extern "C" fn() -> u32` that returns `value`, which is less than 65,536.
#[cfg(target_arch = "aarch64")]
pub fn returning(value: u32) -> Vec<u8> {
    let words = [
        0x5280_0000 | value << 5, // mov w0, #value
        0xd65f_03c0,              // ret
    ];
    words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
}

/// Returns the code of an `extern "C" fn() -> u32` that returns `number`, followed by traps. `length` is the total
/// length, at least [`SHORTEST`].
pub fn function(number: u32, length: usize) -> Vec<u8> {
    let mut code = TRAP.repeat(length.div_ceil(4));
    code.truncate(length);
    rename(&mut code, number);
    code
}

/// The minimum length of a [`function`].
pub const SHORTEST: usize = if cfg!(target_arch = "x86_64") { 6 } else { 12 };

/// Makes a [`function`] return another number.
pub fn rename(code: &mut [u8], number: u32) {
    #[cfg(target_arch = "x86_64")]
    let head = returning(number);
    #[cfg(target_arch = "aarch64")]
    let head: Vec<u8> = [
        0x5280_0000 | (number & 0xffff) << 5, // mov w0, #low
        0x72a0_0000 | (number >> 16) << 5,    // movk w0, #high, lsl #16
        0xd65f_03c0,                          // ret
    ]
    .iter()
    .flat_map(|word: &u32| word.to_le_bytes())
    .collect();
    code[..head.len()].copy_from_slice(&head);
}

/// Returns the code of a function that jumps to `target`, and therefore has the type of `target`.
#[cfg(target_arch = "x86_64")]
pub fn jump_to(target: *const u8) -> Vec<u8> {
    let mut code = vec![0x48, 0xb8]; //               mov rax, target
    code.extend((target as u64).to_le_bytes());
    code.extend([0xff, 0xe0]); //                     jmp rax
    code
}

/// Returns the code of a function that jumps to `target`, and therefore has the type of `target`.
#[cfg(target_arch = "aarch64")]
pub fn jump_to(target: *const u8) -> Vec<u8> {
    let mut code: Vec<u8> = [
        0x5800_0050_u32, // ldr x16, #8
        0xd61f_0200,     // br x16
    ]
    .iter()
    .flat_map(|word| word.to_le_bytes())
    .collect();
    code.extend((target as u64).to_le_bytes());
    code
}

/// The trap instructions around published code.
#[cfg(target_arch = "x86_64")]
pub const TRAP: [u8; 4] = [0xcc; 4]; // int3
/// The trap instructions around published code.
#[cfg(target_arch = "aarch64")]
pub const TRAP: [u8; 4] = [0x00, 0x00, 0x20, 0xd4]; // brk #0

/// Publishes the code of [`returning`].
pub fn publish(value: u32) -> execbuf::ExecBuffer {
    execbuf::ExecBuffer::new(&returning(value)).expect("this system allows executable memory")
}

/// Calls a buffer that begins with the code of [`returning`] or [`function`].
pub fn call(buffer: &execbuf::ExecBuffer) -> u32 {
    // SAFETY: The test published such a function.
    unsafe { buffer.function::<extern "C" fn() -> u32>() }.call()
}
