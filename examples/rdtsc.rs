//! Publishes machine code that reads the processor's time-stamp counter (on AArch64, the virtual counter), and calls
//! it.

use execbuf::ExecBuffer;

#[cfg(target_arch = "x86_64")]
const CODE: [u8; 10] = [
    0x0f, 0x31, //             rdtsc          edx:eax = counter
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, //       or rax, rdx
    0xc3, //                   ret
];

#[cfg(target_arch = "aarch64")]
const CODE: [u8; 8] = [
    0x40, 0xe0, 0x3b, 0xd5, // mrs x0, cntvct_el0
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

fn main() -> Result<(), execbuf::Error> {
    let buffer = ExecBuffer::new(&CODE)?;
    // SAFETY: The bytes are a function without arguments that returns a 64-bit integer.
    let counter = unsafe { buffer.function::<extern "C" fn() -> u64>() };

    let first = counter.call();
    let second = counter.call();
    println!("first reading   {first}");
    println!("second reading  {second}");
    println!("difference      {}", second - first);
    Ok(())
}
