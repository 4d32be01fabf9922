//! Passes structs by value: to machine code, and to the C library through a thunk.

#[cfg(target_arch = "x86_64")]
mod structs {
    use core::ffi::c_int;

    use execbuf::{ExecBuffer, FnPtr, Function, abi_struct};

    abi_struct! {
        #[derive(Debug)]
        struct Point {
            x: f64,
            y: f64,
        }
    }

    abi_struct! {
        struct Segment<P> {
            from: P,
            to: P,
        }
    }

    /// C's `div_t`, as bindgen writes it.
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    struct Quotient {
        quot: c_int,
        rem: c_int,
    }

    // SAFETY: The struct is `#[repr(C)]`, and all members are valid.
    abi_struct! { unsafe impl Quotient { quot: c_int, rem: c_int } }

    unsafe extern "C" {
        safe fn div(number: c_int, by: c_int) -> Quotient;
    }

    /// Returns the lengths of a segment in both directions: System V passes it in memory, and the result in xmm0 and xmm1.
    const LENGTHS: [u8; 25] = [
        0xf2, 0x0f, 0x10, 0x44, 0x24, 0x18, // movsd xmm0, [rsp + 24]
        0xf2, 0x0f, 0x10, 0x4c, 0x24, 0x20, // movsd xmm1, [rsp + 32]
        0xf2, 0x0f, 0x5c, 0x44, 0x24, 0x08, // subsd xmm0, [rsp + 8]
        0xf2, 0x0f, 0x5c, 0x4c, 0x24, 0x10, // subsd xmm1, [rsp + 16]
        0xc3, //                               ret
    ];

    pub(super) fn main() -> Result<(), execbuf::Error> {
        type Lengths = extern "sysv64" fn(Segment<Point>) -> Point;
        type Win64Lengths = extern "win64" fn(Segment<Point>) -> Point;

        let buffer = ExecBuffer::new(&LENGTHS)?;
        // SAFETY: The bytes are such a function.
        let lengths = unsafe { buffer.function::<Lengths>() };
        let segment = Segment { from: Point { x: 1.0, y: 2.0 }, to: Point { x: 4.0, y: 6.0 } };
        println!("{} is {:?}", Lengths::SIGNATURE, lengths.call(segment));

        // In Win64's convention, both structs are in memory, and the caller passes their addresses.
        let thunk = lengths.to_abi::<Win64Lengths>()?;
        println!("for Win64's callers, too: {:?}", thunk.call(segment));

        // The C library's function, for callers of either convention.
        let div = Function::from_fn(div as extern "C" fn(c_int, c_int) -> Quotient);
        let by_sysv64 = div.to_abi::<extern "sysv64" fn(c_int, c_int) -> Quotient>()?;
        let by_win64 = div.to_abi::<extern "win64" fn(c_int, c_int) -> Quotient>()?;
        println!("17 / 5 is {:?}, and -17 / 5 is {:?}", by_sysv64.call(17, 5), by_win64.call(-17, 5));
        Ok(())
    }
}

fn main() -> Result<(), execbuf::Error> {
    #[cfg(target_arch = "x86_64")]
    structs::main()?;
    #[cfg(not(target_arch = "x86_64"))]
    println!("only x86-64 has two calling conventions");
    Ok(())
}
