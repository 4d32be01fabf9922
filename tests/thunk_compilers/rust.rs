//! Generates programs in Rust. Rust cannot define variadic functions, so these programs ignore the `...` of a
//! signature.

use std::fmt::Write as _;

use super::{CallerAbi, Signature};

/// The counterpart of `crossing.h`.
pub(crate) const HEAD: &str = r#"
use std::arch::asm;
use std::hint::black_box;
use std::mem::transmute;

unsafe extern "C" {
    static mut sent: [u64; 127];
    static mut sent_result: u64;
    static mut got: [u64; 127];
    static mut got_count: u32;
    static mut is_aligned: u32;
    static mut shares: i32;
    fn prepare(text: *const i8, declared: *const i8, caller_abi: i32, target: *const ()) -> *const ();
    fn prepare_handler(text: *const i8, caller_abi: i32) -> *const ();
    fn conclude(result: u64);
    fn call_packed(text: *const i8, abi: i32, target: *const ());
    fn conclude_call();
}

unsafe fn argument(index: usize) -> u64 {
    unsafe { (&raw const sent).cast::<u64>().add(index).read_volatile() }
}

unsafe fn result() -> u64 {
    unsafe { (&raw const sent_result).read_volatile() }
}

#[inline(always)]
unsafe fn report(index: usize, bits: u64) {
    unsafe { (&raw mut got).cast::<u64>().add(index).write(bits) };
}

#[repr(align(16))]
struct Aligned([u8; 16]);

#[inline(always)]
unsafe fn look_at_stack(count: u32) {
    let probe = Aligned([0; 16]);
    unsafe {
        is_aligned = u32::from(black_box(&raw const probe as usize) % 16 == 0);
        got_count = count;
    }
}

macro_rules! clobber_win64 {
    ($($more:literal => $register:tt),*) => {
        asm!(
            "mov rax, -1", "mov rcx, rax", "mov rdx, rax", "mov r8, rax", "mov r9, rax", "mov r10, rax", "mov r11, rax",
            "pcmpeqd xmm0, xmm0", "movaps xmm1, xmm0", "movaps xmm2, xmm0", "movaps xmm3, xmm0", "movaps xmm4, xmm0",
            "movaps xmm5, xmm0", $($more,)*
            out("rax") _, out("rcx") _, out("rdx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            $(out($register) _,)*
        )
    };
}

macro_rules! clobber_sysv64 {
    () => {
        clobber_win64!(
            "mov rdi, rax" => "rdi", "mov rsi, rax" => "rsi", "movaps xmm6, xmm0" => "xmm6", "movaps xmm7, xmm0" => "xmm7",
            "movaps xmm8, xmm0" => "xmm8", "movaps xmm9, xmm0" => "xmm9", "movaps xmm10, xmm0" => "xmm10",
            "movaps xmm11, xmm0" => "xmm11", "movaps xmm12, xmm0" => "xmm12", "movaps xmm13, xmm0" => "xmm13",
            "movaps xmm14, xmm0" => "xmm14", "movaps xmm15, xmm0" => "xmm15"
        )
    };
}
"#;

pub(crate) fn program(signatures: &[Signature]) -> String {
    let mut program = HEAD.to_owned();
    let mut main = String::new();
    for (index, signature) in signatures.iter().enumerate() {
        for (caller_abi, suffix) in [(CallerAbi::SysV64, "s"), (CallerAbi::Win64, "w")] {
            let name = format!("{index}{suffix}");
            write_pair(&mut program, &name, signature, caller_abi).expect("writing to a string cannot fail");
            let _ = writeln!(main, "        call_{name}();");
        }
    }
    program
        + "fn main() {\n    unsafe {\n    while shares < 2 {\n"
        + &main
        + "        shares += 1;\n    }\n    }\n}\n"
}

/// Returns a program that calls closures with handlers, twice: see `values::program_of_handlers`.
pub(crate) fn program_of_handlers(signatures: &[Signature]) -> String {
    let mut program = HEAD.to_owned();
    let mut main = String::new();
    for (index, signature) in signatures.iter().enumerate() {
        for (number, abi) in [(1, "sysv64"), (2, "win64")] {
            let Signature { text, result, arguments, .. } = signature;
            let text = text.replace('.', "");
            let types: Vec<_> = arguments.iter().map(|&letter| type_of(letter)).collect();
            let value = |(i, &letter)| from_bits(letter, &format!("argument({i})"));
            let values: Vec<_> = arguments.iter().enumerate().map(value).collect();
            let function = format!("unsafe extern \"{abi}\" fn({}) -> {}", types.join(", "), type_of(*result));
            let _ = writeln!(
                program,
                "\nunsafe fn call_{index}_{abi}() {{\n    unsafe {{\n        type F = {function};\n        let closure: F = \
                 transmute(prepare_handler(c\"{text}\".as_ptr(), {number}));\n        let result = closure({});\n        \
                 conclude({});\n    }}\n}}",
                values.join(", "),
                to_bits(*result, "result")
            );
            let _ = writeln!(main, "        call_{index}_{abi}();");
        }
    }
    program + "fn main() {\n    for _ in 0..2 {\n    unsafe {\n" + &main + "    }\n    }\n}\n"
}

/// Writes the target of a thunk, and a function that calls it through the thunk.
fn write_pair(program: &mut String, name: &str, signature: &Signature, caller_abi: CallerAbi) -> std::fmt::Result {
    let (abi, other, number) =
        if caller_abi == CallerAbi::SysV64 { ("sysv64", "win64", 1) } else { ("win64", "sysv64", 2) };
    let Signature { text, declared, result, arguments, .. } = signature;
    let (text, declared) = (text.replace('.', ""), declared.replace('.', ""));
    let (result, result_type) = (*result, type_of(*result));
    let types: Vec<_> = arguments.iter().map(|&letter| type_of(letter)).collect();
    let parameters: Vec<_> = types.iter().enumerate().map(|(i, name)| format!("a{i}: {name}")).collect();

    writeln!(program, "\n#[inline(never)]")?;
    writeln!(
        program,
        "unsafe extern \"{other}\" fn target_{name}({}) -> {result_type} {{",
        parameters.join(", ")
    )?;
    writeln!(program, "    unsafe {{")?;
    for (i, &letter) in arguments.iter().enumerate() {
        writeln!(program, "        report({i}, {});", to_bits(letter, &format!("a{i}")))?;
    }
    writeln!(program, "        look_at_stack({});\n        clobber_{other}!();", arguments.len())?;
    writeln!(program, "        {}\n    }}\n}}\n", from_bits(result, "result()"))?;

    writeln!(program, "unsafe fn call_{name}() {{\n    unsafe {{")?;
    writeln!(program, "        type F = unsafe extern \"{abi}\" fn({}) -> {result_type};", types.join(", "))?;
    writeln!(
        program,
        "        let thunk: F = transmute(prepare(c\"{text}\".as_ptr(), c\"{declared}\".as_ptr(), {number}, \
         target_{name} as *const ()));"
    )?;
    let values: Vec<_> =
        arguments.iter().enumerate().map(|(i, &letter)| from_bits(letter, &format!("argument({i})"))).collect();
    writeln!(program, "        let result = thunk({});", values.join(", "))?;
    writeln!(program, "        conclude({});", to_bits(result, "result"))?;
    writeln!(
        program,
        "        call_packed(c\"{text}\".as_ptr(), {}, target_{name} as *const ());\n        conclude_call();\n    }}\n}}",
        3 - number
    )
}

pub(crate) fn type_of(letter: char) -> &'static str {
    match letter {
        'v' => "()",
        '?' => "bool",
        'b' => "i8",
        'B' => "u8",
        'h' => "i16",
        'H' => "u16",
        'i' => "i32",
        'I' => "u32",
        'l' => "i64",
        'L' => "u64",
        'p' => "*const u8",
        'f' => "f32",
        'd' => "f64",
        'x' => "i128",
        'X' => "u128",
        'm' => "std::arch::x86_64::__m128",
        _ => panic!("no letter: {letter}"),
    }
}

/// Returns an expression that converts 64 bits, whose upper bits are arbitrary, to a value of this type.
pub(crate) fn from_bits(letter: char, bits: &str) -> String {
    match letter {
        'v' => "()".to_owned(),
        '?' => format!("({bits} & 1 != 0)"),
        'f' => format!("f32::from_bits({bits} as u32)"),
        'd' => format!("f64::from_bits({bits})"),
        'p' => format!("({bits} as usize as *const u8)"),
        _ => format!("({bits} as {})", type_of(letter)),
    }
}

/// Returns an expression that converts a value of this type to 64 bits, extended according to its signedness.
pub(crate) fn to_bits(letter: char, value: &str) -> String {
    match letter {
        'v' => "0".to_owned(),
        'f' => format!("u64::from({value}.to_bits())"),
        'd' => format!("{value}.to_bits()"),
        'p' => format!("{value} as usize as u64"),
        'b' | 'h' | 'i' | 'l' => format!("{value} as i64 as u64"),
        _ => format!("{value} as u64"),
    }
}
