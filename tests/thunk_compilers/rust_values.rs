//! Generates programs in Rust for signatures with types that have members. They ignore the `...` of a signature.

use std::fmt::Write as _;

use super::CallerAbi;
use super::rust::{HEAD, from_bits, to_bits, type_of};
use super::types::Type;
use super::values::Signature;

const MORE: &str = r"
unsafe extern {
    static sent_values: [[u8; 320]; 128];
    static mut got_values: [[u8; 320]; 128];
    fn check_value(number: u32, mask: *const i8);
}

unsafe fn value<T>(number: usize) -> T {
    unsafe { (&raw const sent_values[number]).cast::<T>().read_unaligned() }
}

#[inline(always)]
unsafe fn report_value<T>(number: usize, value: T) {
    unsafe { (&raw mut got_values[number]).cast::<T>().write_unaligned(value) };
}
";

/// Definitions of types in Rust.
struct Definitions {
    text: String,
    count: usize,
}

impl Definitions {
    /// Returns the name of a type in Rust, or `None` if Rust has no such type: a member with an alignment of its own, or
    /// a struct that is packed and aligned.
    fn name(&mut self, value: &Type) -> Option<String> {
        Some(match value {
            Type::Scalar(letter) => type_of(*letter).to_owned(),
            Type::Complex(letter) => {
                let part = Type::Scalar(*letter);
                self.define(&Type::Struct(vec![part.clone(), part]), "")?
            }
            Type::Array(count, element) => format!("[{}; {count}]", self.name(element)?),
            Type::Packed(limit, inner) => self.define(inner, &format!(", packed({limit})"))?,
            Type::Aligned(align, inner) => self.define(inner, &format!(", align({align})"))?,
            Type::Struct(_) | Type::Union(_) => self.define(value, "")?,
        })
    }

    fn define(&mut self, value: &Type, attribute: &str) -> Option<String> {
        let (Type::Struct(members) | Type::Union(members)) = value else { return None };
        let keyword = if matches!(value, Type::Struct(_)) { "struct" } else { "union" };
        let mut list = String::new();
        for (i, member) in members.iter().enumerate() {
            let _ = write!(list, " m{i}: {},", self.name(member)?);
        }
        let name = format!("Type{}", self.count);
        self.count += 1;
        let _ = write!(self.text, "#[repr(C{attribute})]\n#[derive(Clone, Copy)]\n{keyword} {name} {{{list} }}\n");
        Some(name)
    }
}

/// Returns a program for those of the signatures that Rust has.
pub(crate) fn program(signatures: &[Signature]) -> String {
    let mut definitions = Definitions { text: String::new(), count: 0 };
    let [mut pairs, mut main] = [const { String::new() }; 2];
    for (index, signature) in signatures.iter().enumerate() {
        let result = definitions.name(&signature.result);
        let arguments: Option<Vec<_>> =
            signature.arguments.iter().map(|argument| definitions.name(argument)).collect();
        let (Some(result), Some(arguments)) = (result, arguments) else { continue };
        for (caller_abi, suffix) in [(CallerAbi::SysV64, "s"), (CallerAbi::Win64, "w")] {
            let name = format!("{index}{suffix}");
            write_pair(&mut pairs, &name, signature, (&result, &arguments), caller_abi)
                .expect("writing to a string cannot fail");
            let _ = writeln!(main, "        call_{name}();");
        }
    }
    let types = definitions.text;
    let main = format!("    while shares < 2 {{\n{main}        shares += 1;\n    }}");
    format!("{HEAD}{MORE}{types}{pairs}fn main() {{\n    unsafe {{\n{main}\n    }}\n}}\n")
}

/// Writes the target of a thunk, and a function that calls it through the thunk.
fn write_pair(
    program: &mut String,
    name: &str,
    signature: &Signature,
    (result_type, types): (&str, &[String]),
    caller_abi: CallerAbi,
) -> std::fmt::Result {
    let (abi, other, number) =
        if caller_abi == CallerAbi::SysV64 { ("sysv64", "win64", 1) } else { ("win64", "sysv64", 2) };
    let text = signature.text().replace('.', "");
    let parameters: Vec<_> = types.iter().enumerate().map(|(i, name)| format!("a{i}: {name}")).collect();
    writeln!(program, "\n#[inline(never)]")?;
    writeln!(
        program,
        "unsafe extern \"{other}\" fn target_{name}({}) -> {result_type} {{\n    unsafe {{",
        parameters.join(", ")
    )?;
    for (i, argument) in signature.arguments.iter().enumerate() {
        match argument {
            Type::Scalar(letter) if argument.is_word() => {
                writeln!(program, "        report({i}, {});", to_bits(*letter, &format!("a{i}")))?;
            }
            _ => writeln!(program, "        report_value({}, a{i});", i + 1)?,
        }
    }
    writeln!(program, "        look_at_stack({});\n        clobber_{other}!();", types.len())?;
    match &signature.result {
        Type::Scalar(letter) if signature.result.is_word() => {
            writeln!(program, "        {}\n    }}\n}}\n", from_bits(*letter, "result()"))?;
        }
        _ => writeln!(program, "        value::<{result_type}>(0)\n    }}\n}}\n")?,
    }

    writeln!(program, "unsafe fn call_{name}() {{\n    unsafe {{")?;
    writeln!(program, "        type F = unsafe extern \"{abi}\" fn({}) -> {result_type};", types.join(", "))?;
    writeln!(
        program,
        "        let thunk: F = transmute(prepare(c\"{text}\".as_ptr(), c\"{text}\".as_ptr(), {number}, \
         target_{name} as *const ()));"
    )?;
    let value = |(i, argument): (usize, &Type)| match argument {
        Type::Scalar(letter) if argument.is_word() => from_bits(*letter, &format!("argument({i})")),
        _ => format!("value::<{}>({})", types[i], i + 1),
    };
    let values: Vec<_> = signature.arguments.iter().enumerate().map(value).collect();
    writeln!(program, "        let result = thunk({});", values.join(", "))?;
    let concluded = match &signature.result {
        Type::Scalar(letter) if signature.result.is_word() => to_bits(*letter, "result"),
        _ => {
            writeln!(program, "        report_value(0, result);")?;
            "0".to_owned()
        }
    };
    let mut checks = String::new();
    for (number, value) in std::iter::once(&signature.result).chain(&signature.arguments).enumerate() {
        if !value.is_word() {
            writeln!(checks, "        check_value({number}, c\"{}\".as_ptr());", value.mask())?;
        }
    }
    writeln!(program, "{checks}        conclude({concluded});")?;
    writeln!(program, "        call_packed(c\"{text}\".as_ptr(), {}, target_{name} as *const ());", 3 - number)?;
    writeln!(program, "{checks}        conclude_call();\n    }}\n}}")
}
