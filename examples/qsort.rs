//! Calls the C library's `qsort` with a comparison function whose machine code has the foreign convention: Win64 on
//! Linux, System V on Windows.

#[cfg(target_arch = "x86_64")]
mod sort {
    use core::ffi::{c_int, c_void};

    use execbuf::ExecBuffer;

    /// Compares two 32-bit integers for `qsort`: the result is negative, 0 or positive.
    #[cfg(not(windows))]
    const COMPARE: [u8; 19] = [
        0x8b, 0x01, //       mov eax, [rcx]
        0x3b, 0x02, //       cmp eax, [rdx]
        0x0f, 0x9f, 0xc0, // setg al
        0x0f, 0x9c, 0xc1, // setl cl
        0x0f, 0xb6, 0xc0, // movzx eax, al
        0x0f, 0xb6, 0xc9, // movzx ecx, cl
        0x29, 0xc8, //       sub eax, ecx
        0xc3, //             ret
    ];
    #[cfg(not(windows))]
    type Compare = extern "win64" fn(*const c_void, *const c_void) -> c_int;

    #[cfg(windows)]
    const COMPARE: [u8; 19] = [
        0x8b, 0x07, //       mov eax, [rdi]
        0x3b, 0x06, //       cmp eax, [rsi]
        0x0f, 0x9f, 0xc0, // setg al
        0x0f, 0x9c, 0xc1, // setl cl
        0x0f, 0xb6, 0xc0, // movzx eax, al
        0x0f, 0xb6, 0xc9, // movzx ecx, cl
        0x29, 0xc8, //       sub eax, ecx
        0xc3, //             ret
    ];
    #[cfg(windows)]
    type Compare = extern "sysv64" fn(*const c_void, *const c_void) -> c_int;

    unsafe extern "C" {
        fn qsort(
            base: *mut c_void,
            count: usize,
            size: usize,
            compare: extern "C" fn(*const c_void, *const c_void) -> c_int,
        );
    }

    pub(super) fn main() -> Result<(), execbuf::Error> {
        let buffer = ExecBuffer::new(&COMPARE)?;
        // SAFETY: The bytes are such a function.
        let compare = unsafe { buffer.function::<Compare>() }.into_native()?;
        let mut numbers = [31, -41, 59, i32::MIN, 26, -53, 58, i32::MAX, 97, -93];
        // SAFETY: The array has this length and element size, and the thunk exists until qsort returns.
        unsafe { qsort(numbers.as_mut_ptr().cast(), numbers.len(), size_of::<i32>(), compare.as_fn()) };
        println!("{numbers:?}");
        assert!(numbers.is_sorted());
        Ok(())
    }
}

fn main() -> Result<(), execbuf::Error> {
    #[cfg(target_arch = "x86_64")]
    sort::main()?;
    #[cfg(not(target_arch = "x86_64"))]
    println!("only x86-64 has two calling conventions");
    Ok(())
}
