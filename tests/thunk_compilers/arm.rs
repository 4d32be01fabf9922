//! Generates programs in C that compare the layouts of AArch64 with what a compiler emits; `tests/c/arm_layouts.h`
//! documents what they check.

use std::fmt::Write as _;

use super::types::{Definitions, Type};
use super::values::Signature;

pub(crate) fn program(signatures: &[Signature]) -> String {
    let mut definitions = Definitions::new();
    let [mut functions, mut main] = [const { String::new() }; 2];
    for (index, signature) in signatures.iter().enumerate() {
        write_call(&mut functions, &mut definitions, index, signature).expect("writing to a string cannot fail");
        let _ = writeln!(main, "    call_{index}();");
    }
    let types = definitions.text;
    // The stack is read above the arguments, where it must exist.
    let main = format!("    volatile char room[8192];\n    room[0] = 0;\n{main}    return room[0];");
    format!("#include \"arm_layouts.h\"\n\n{types}\n{functions}int main(void) {{\n{main}\n}}\n")
}

/// Writes a function that returns the result, and one that passes the arguments.
fn write_call(
    program: &mut String,
    definitions: &mut Definitions,
    index: usize,
    signature: &Signature,
) -> std::fmt::Result {
    let Signature { result, arguments, fixed, .. } = signature;
    let result_type = definitions.name(result);
    let types: Vec<_> = arguments.iter().map(|argument| definitions.name(argument)).collect();
    let is_void = matches!(result, Type::Scalar('v'));
    writeln!(program, "static {result_type} make_{index}(void) {{")?;
    if !is_void {
        writeln!(program, "    {result_type} r;\n    memcpy(&r, sent_values[0], sizeof r);\n    return r;")?;
    }
    writeln!(program, "}}\n")?;

    let text = signature.text().replace('?', "\\?"); // prevents trigraphs
    let masks: Vec<_> =
        std::iter::once(result).chain(arguments).map(|value| format!("\"{}\"", value.mask())).collect();
    writeln!(program, "static void call_{index}(void) {{")?;
    writeln!(program, "    static const char *const masks[] = {{{}}};", masks.join(", "))?;
    writeln!(program, "    prepare(\"{text}\", masks);")?;
    for (i, c_type) in types.iter().enumerate() {
        writeln!(program, "    {c_type} a{i};\n    memcpy(&a{i}, sent_values[{}], sizeof a{i});", i + 1)?;
        writeln!(program, "    SAME_SIZE({}, sizeof a{i});", arguments[i].size())?;
    }
    let names: Vec<_> = (0..types.len()).map(|i| format!("a{i}")).collect();
    let mut parameters = types[..*fixed].join(", ");
    if *fixed < types.len() {
        parameters += ", ...";
    } else if types.is_empty() {
        "void".clone_into(&mut parameters);
    }
    // The call's result is not used: capture returns none.
    writeln!(program, "    ((void (*)({parameters}))capture)({});", names.join(", "))?;
    writeln!(program, "    check_result((void (*)(void))make_{index});\n}}\n")
}
