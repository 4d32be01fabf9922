//! Generates programs in C.

use std::fmt::Write as _;

use super::{CallerAbi, Edit, Signature};

/// Writes a program whose callers call thunks, or functions that edit the list of arguments and call thunks.
pub(crate) fn program(signatures: &[Signature]) -> String {
    // gcc takes several times as long if functions of the two conventions alternate.
    let [mut of_sysv64, mut of_win64, mut calls, mut main] = [const { String::new() }; 4];
    for (index, signature) in signatures.iter().enumerate() {
        for (caller_abi, suffix, targets) in
            [(CallerAbi::SysV64, "s", &mut of_win64), (CallerAbi::Win64, "w", &mut of_sysv64)]
        {
            let name = format!("{index}{suffix}");
            write_target(targets, &name, signature, caller_abi).expect("writing to a string cannot fail");
            for edit in Edit::all(signature.context) {
                let name = format!("{name}{}", edit.suffix());
                write_call(&mut calls, &name, signature, caller_abi, edit)
                    .and_then(|()| writeln!(&mut main, "        call_{name}();"))
                    .expect("writing to a string cannot fail");
            }
        }
    }
    let main = format!("    for (; shares < 2; shares++) {{\n{main}    }}\n    return 0;");
    format!("#include \"crossing.h\"\n\n{of_win64}{of_sysv64}{calls}int main(void) {{\n{main}\n}}\n")
}

/// Returns the attributes of the caller's ABI and of the target's ABI.
pub(crate) fn attributes(caller_abi: CallerAbi) -> (&'static str, &'static str) {
    match caller_abi {
        CallerAbi::SysV64 => ("SYSV64", "WIN64"),
        CallerAbi::Win64 => ("WIN64", "SYSV64"),
        CallerAbi::Packed => ("NATIVE", "NATIVE"),
    }
}

fn parameters(types: &[char]) -> String {
    let named: Vec<_> = types.iter().enumerate().map(|(i, &letter)| format!("{} a{i}", type_of(letter))).collect();
    if named.is_empty() { "void".to_owned() } else { named.join(", ") }
}

/// Writes the target of a thunk.
fn write_target(
    program: &mut String,
    name: &str,
    signature: &Signature,
    caller_abi: CallerAbi,
) -> std::fmt::Result {
    let (_, other) = attributes(caller_abi);
    let Signature { result, arguments, fixed, .. } = signature;
    let dots = if signature.is_variadic() { ", ..." } else { "" };
    let named = parameters(&arguments[..*fixed]);
    writeln!(program, "static {other} {} target_{name}({named}{dots}) {{", type_of(*result))?;
    if signature.is_variadic() {
        writeln!(program, "    {other}_LIST list;\n    {other}_START(list, a{});", fixed - 1)?;
        for (i, &letter) in arguments.iter().enumerate().skip(*fixed) {
            let c_type = type_of(letter);
            writeln!(program, "    {c_type} a{i} = {other}_ARGUMENT(list, {c_type});")?;
        }
    }
    for (i, &letter) in arguments.iter().enumerate() {
        writeln!(program, "    got[{i}] = {};", to_bits(letter, &format!("a{i}")))?;
    }
    writeln!(program, "    LOOK_AT_STACK({});\n    CLOBBER_{other}();", arguments.len())?;
    if *result != 'v' {
        writeln!(program, "    return {};", from_bits(*result, "sent_result"))?;
    }
    writeln!(program, "}}\n")
}

/// Writes a function that calls the target through a thunk, and before through what edits the arguments. `name` ends with
/// the edit's suffix, and the target's does not.
fn write_call(
    program: &mut String,
    name: &str,
    signature: &Signature,
    caller_abi: CallerAbi,
    edit: Edit,
) -> std::fmt::Result {
    let (attribute, other) = attributes(caller_abi);
    let Signature { text, declared, result, arguments, .. } = signature;
    let (text, declared) = (text.replace('?', "\\?"), declared.replace('?', "\\?")); // prevents trigraphs
    let target =
        format!("(void (*)(void))target_{}", name.strip_suffix(edit.suffix()).expect("it has the suffix"));
    let passed: Vec<_> = (0..arguments.len()).filter(|&i| edit.passes(i)).collect();
    let types: Vec<_> = passed.iter().map(|&i| arguments[i]).collect();
    writeln!(program, "static void call_{name}(void) {{")?;
    writeln!(program, "    typedef {attribute} {} (*function)({});", type_of(*result), parameters(&types))?;
    writeln!(
        program,
        "    function thunk = (function){};",
        edit.prepare(&format!("\"{text}\""), &format!("\"{declared}\""), attribute, &target)
    )?;
    let value = |&i: &usize| from_bits(arguments[i], &format!("sent[{i}]"));
    let call = format!("thunk({})", passed.iter().map(value).collect::<Vec<_>>().join(", "));
    if *result == 'v' {
        writeln!(program, "    {call};\n    conclude(0);")?;
    } else {
        writeln!(program, "    conclude({});", to_bits(*result, &call))?;
    }
    writeln!(program, "    call_packed(\"{text}\", EXECBUF_ABI_{other}, {target});\n    conclude_call();\n}}\n")
}

pub(crate) fn type_of(letter: char) -> &'static str {
    match letter {
        'v' => "void",
        '?' => "_Bool",
        'b' => "int8_t",
        'B' => "uint8_t",
        'h' => "int16_t",
        'H' => "uint16_t",
        'i' => "int32_t",
        'I' => "uint32_t",
        'l' => "int64_t",
        'L' => "uint64_t",
        'p' => "void *",
        'f' => "float",
        'd' => "double",
        'x' => "__int128",
        'X' => "unsigned __int128",
        'm' => "vector",
        _ => panic!("no letter: {letter}"),
    }
}

/// Returns an expression that converts 64 bits, whose upper bits are arbitrary, to a value of this type.
pub(crate) fn from_bits(letter: char, bits: &str) -> String {
    match letter {
        '?' => format!("(_Bool)({bits} & 1)"),
        'f' => format!("f32_of({bits})"),
        'd' => format!("f64_of({bits})"),
        'p' => format!("(void *)(uintptr_t){bits}"),
        _ => format!("({}){bits}", type_of(letter)),
    }
}

/// Returns an expression that converts a value of this type to 64 bits, extended according to its signedness.
pub(crate) fn to_bits(letter: char, value: &str) -> String {
    match letter {
        'f' => format!("bits_of_f32({value})"),
        'd' => format!("bits_of_f64({value})"),
        'p' => format!("(uint64_t)(uintptr_t)({value})"),
        _ => format!("(uint64_t)(int64_t)({value})"),
    }
}

/// The first part of the name of a function that passes values, or their addresses in place of some.
pub(crate) fn prefix(by_address: bool) -> &'static str {
    if by_address { "by_address" } else { "call" }
}
