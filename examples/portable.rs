//! Uses the same System V machine code on Linux and Windows: Rust calls the code directly, C can call it through a
//! thunk, and the code calls the C library through another thunk.

#[cfg(target_arch = "x86_64")]
mod portable {
    use execbuf::{Error, ExecBuffer, ExecPool, Function};

    /// Returns `scale * (a - b + c - d + e - f + g - h)`. Six integers arrive in registers, two on the stack, and the
    /// scale in xmm0.
    const ALTERNATE: [u8; 35] = [
        0x48, 0x29, 0xf7, //             sub rdi, rsi
        0x48, 0x01, 0xd7, //             add rdi, rdx
        0x48, 0x29, 0xcf, //             sub rdi, rcx
        0x4c, 0x01, 0xc7, //             add rdi, r8
        0x4c, 0x29, 0xcf, //             sub rdi, r9
        0x48, 0x03, 0x7c, 0x24, 0x08, // add rdi, [rsp + 8]
        0x48, 0x2b, 0x7c, 0x24, 0x10, // sub rdi, [rsp + 16]
        0xf2, 0x48, 0x0f, 0x2a, 0xcf, // cvtsi2sd xmm1, rdi
        0xf2, 0x0f, 0x59, 0xc1, //       mulsd xmm0, xmm1
        0xc3, //                         ret
    ];

    type Alternate = extern "sysv64" fn(i64, i64, i64, i64, i64, i64, i64, i64, f64) -> f64;
    /// The same type with the C convention of the system.
    type PlainAlternate = extern "C" fn(i64, i64, i64, i64, i64, i64, i64, i64, f64) -> f64;

    unsafe extern "C" {
        /// Returns `number` times 2 to the power of `exponent`. This is a function of the C library.
        safe fn ldexp(number: f64, exponent: i32) -> f64;
    }

    /// Publishes code that calls `ldexp` with its own argument and 5.
    fn times_32(pool: &ExecPool, ldexp: extern "sysv64" fn(f64, i32) -> f64) -> Result<ExecBuffer, Error> {
        let mut code = [
            0xbf, 5, 0, 0, 0, //                       mov edi, 5
            0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, //     mov rax, ldexp
            0xff, 0xe0, //                             jmp rax
        ];
        code[7..15].copy_from_slice(&(ldexp as usize).to_le_bytes());
        pool.publish(&code)
    }

    pub(super) fn main() -> Result<(), Error> {
        let pool = ExecPool::new()?;

        // Rust needs no thunk: the type determines the convention of the call.
        let buffer = pool.publish(&ALTERNATE)?;
        // SAFETY: The bytes are such a function.
        let alternate = unsafe { buffer.function::<Alternate>() };
        println!("called by Rust:    {}", alternate.call(128, 64, 32, 16, 8, 4, 2, 1, 0.5));

        // Other callers need a thunk. On Linux the thunk is the function itself.
        let thunk = alternate.to_native()?;
        // SAFETY: The pointer is called while the thunk exists.
        let plain: PlainAlternate = unsafe { thunk.as_fn() };
        println!("called as by C:    {}", plain(128, 64, 32, 16, 8, 4, 2, 1, 0.5));

        // The code needs a thunk for the function that it calls.
        let ldexp = Function::from_fn(ldexp as extern "C" fn(f64, i32) -> f64);
        let ldexp = ldexp.into_abi::<extern "sysv64" fn(f64, i32) -> f64>()?;
        // SAFETY: The code is called while the thunk exists.
        let buffer = times_32(&pool, unsafe { ldexp.as_fn() })?;
        // SAFETY: The bytes are such a function.
        let times_32 = unsafe { buffer.function::<extern "sysv64" fn(f64) -> f64>() };
        println!("calls the library: {}", times_32.call(1.328_125));
        Ok(())
    }
}

fn main() -> Result<(), execbuf::Error> {
    #[cfg(target_arch = "x86_64")]
    portable::main()?;
    #[cfg(not(target_arch = "x86_64"))]
    println!("only x86-64 has two calling conventions");
    Ok(())
}
