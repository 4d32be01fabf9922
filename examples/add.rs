//! Calls published code with arguments: with the C convention of the system and, on x86-64, with both conventions.

use execbuf::ExecBuffer;

/// Adds two integers that arrive in rdi and rsi.
#[cfg(target_arch = "x86_64")]
const ADD_SYSV64: [u8; 5] = [
    0x48, 0x8d, 0x04, 0x37, // lea rax, [rdi + rsi]
    0xc3, //                   ret
];

/// Adds two integers that arrive in rcx and rdx.
#[cfg(target_arch = "x86_64")]
const ADD_WIN64: [u8; 5] = [
    0x48, 0x8d, 0x04, 0x11, // lea rax, [rcx + rdx]
    0xc3, //                   ret
];

#[cfg(all(target_arch = "x86_64", not(windows)))]
const ADD: [u8; 5] = ADD_SYSV64;
#[cfg(all(target_arch = "x86_64", windows))]
const ADD: [u8; 5] = ADD_WIN64;
#[cfg(target_arch = "aarch64")]
const ADD: [u8; 8] = [
    0x00, 0x00, 0x01, 0x8b, // add x0, x0, x1
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

fn main() -> Result<(), execbuf::Error> {
    let native = ExecBuffer::new(&ADD)?;
    // SAFETY: The bytes are a function with the C convention of the system that adds two integers.
    let add = unsafe { native.function::<extern "C" fn(u64, u64) -> u64>() };
    println!("extern \"C\"       40 + 2 = {}", add.call(40, 2));

    #[cfg(target_arch = "x86_64")]
    {
        let (sysv64, win64) = (ExecBuffer::new(&ADD_SYSV64)?, ExecBuffer::new(&ADD_WIN64)?);
        // SAFETY: The bytes are functions with these conventions that add two integers.
        let (add_sysv64, add_win64) = unsafe {
            (
                sysv64.function::<extern "sysv64" fn(u64, u64) -> u64>(),
                win64.function::<extern "win64" fn(u64, u64) -> u64>(),
            )
        };
        println!("extern \"sysv64\"  40 + 2 = {}", add_sysv64.call(40, 2));
        println!("extern \"win64\"   40 + 2 = {}", add_win64.call(40, 2));
    }
    Ok(())
}
