//! Calls functions of the C library by signatures that are text, as the bindings of an interpreter do. Each line of the
//! script is a function, its signature, and arguments. For the last one, the program prints
//!
//! ```text
//! snprintf i(pLp.id) text 64 %d,%g 42 1.5 = 6, 42,1.5
//! ```

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))]
mod call {
    use core::ffi::{c_char, c_double, c_int, c_longlong};
    use std::error::Error;
    use std::ffi::{CStr, CString};

    use execbuf::dynamic::Caller;
    use execbuf::{Abi, Signature, Type};

    const SCRIPT: &str = "\
abs i(i) -5
llabs l(l) -5
toupper i(i) 97
strlen L(p) hello
atoi i(p) 42
strtoll l(ppi) ff null 16
strcmp i(pp) same same
sqrt d(d) 2
pow d(dd) 2 10
atan2 d(dd) 1 1
ldexp d(di) 0.75 4
div {ii}(ii) 17 5
snprintf i(pLp.id) text 64 %d,%g 42 1.5";

    #[repr(C)]
    struct Division {
        quotient: c_int,
        rest: c_int,
    }

    // MSVC defines snprintf in a library of its own.
    #[cfg_attr(target_env = "msvc", link(name = "legacy_stdio_definitions"))]
    unsafe extern "C" {
        fn abs(number: c_int) -> c_int;
        fn llabs(number: c_longlong) -> c_longlong;
        fn toupper(letter: c_int) -> c_int;
        fn strlen(text: *const c_char) -> usize;
        fn atoi(text: *const c_char) -> c_int;
        fn strtoll(text: *const c_char, end: *mut *mut c_char, base: c_int) -> c_longlong;
        fn strcmp(one: *const c_char, other: *const c_char) -> c_int;
        fn sqrt(number: c_double) -> c_double;
        fn pow(base: c_double, exponent: c_double) -> c_double;
        fn atan2(y: c_double, x: c_double) -> c_double;
        fn ldexp(number: c_double, exponent: c_int) -> c_double;
        fn div(number: c_int, divisor: c_int) -> Division;
        fn snprintf(text: *mut c_char, size: usize, format: *const c_char, ...) -> c_int;
    }

    /// Returns the address of a function, as `dlsym` does.
    fn find(name: &str) -> Option<*const u8> {
        Some(match name {
            "abs" => abs as *const u8,
            "llabs" => llabs as *const u8,
            "toupper" => toupper as *const u8,
            "strlen" => strlen as *const u8,
            "atoi" => atoi as *const u8,
            "strtoll" => strtoll as *const u8,
            "strcmp" => strcmp as *const u8,
            "sqrt" => sqrt as *const u8,
            "pow" => pow as *const u8,
            "atan2" => atan2 as *const u8,
            "ldexp" => ldexp as *const u8,
            "div" => div as *const u8,
            "snprintf" => snprintf as *const u8,
            _ => return None,
        })
    }

    /// Runs a line of the script.
    fn run(line: &str) -> Result<String, Box<dyn Error>> {
        let mut words = line.split(' ');
        let name = words.next().ok_or("no name")?;
        let signature: Signature = words.next().ok_or("no signature")?.parse()?;
        let words: Vec<CString> = words.map(CString::new).collect::<Result<_, _>>()?;
        let mut text = [0_u8; 64];

        let caller = Caller::new(&signature, Abi::NATIVE)?;
        let mut args = caller.args();
        for (index, (kind, word)) in signature.arguments().iter().zip(&words).enumerate() {
            let value = word.to_str()?;
            match kind {
                Type::I32 => args.set(index, value.parse::<i32>()?)?,
                Type::I64 => args.set(index, value.parse::<i64>()?)?,
                Type::U64 => args.set(index, value.parse::<u64>()?)?,
                Type::F64 => args.set(index, value.parse::<f64>()?)?,
                Type::Pointer if value == "null" => args.set(index, core::ptr::null::<u8>())?,
                Type::Pointer if value == "text" => args.set(index, text.as_mut_ptr())?,
                Type::Pointer => args.set(index, word.as_ptr())?,
                other => return Err(format!("the script has no values of the type {other}").into()),
            };
        }

        let function = find(name).ok_or("there is no such function")?;
        // SAFETY: The functions have the signatures in the script, and these are good arguments for them.
        let result = unsafe {
            match signature.result() {
                Type::I32 => args.call::<i32>(function)?.to_string(),
                Type::I64 => args.call::<i64>(function)?.to_string(),
                Type::U64 => args.call::<u64>(function)?.to_string(),
                Type::F64 => args.call::<f64>(function)?.to_string(),
                _ => {
                    let mut bytes = [0; 8];
                    args.call_bytes(function, &mut bytes)?;
                    format!("{bytes:?}")
                }
            }
        };
        Ok(match CStr::from_bytes_until_nul(&text)?.to_str()? {
            "" => result,
            written => format!("{result}, {written}"),
        })
    }

    pub(super) fn main() -> Result<(), Box<dyn Error>> {
        for line in SCRIPT.lines() {
            println!("{line} = {}", run(line)?);
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))]
    call::main()?;
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows)))))]
    println!("dynamic calls need x86-64 or AArch64");
    Ok(())
}
