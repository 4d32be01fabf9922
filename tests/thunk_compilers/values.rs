//! Generates programs in C for signatures with types that have members.
//!
//! Win64 passes most of these values by address. So each call is also written with pointers in their place. A caller
//! passes those of values, and of memory for the result, that end where a page ends, before one that cannot be
//! accessed. A target checks that they are multiples of 16.

use std::fmt::Write as _;

use super::c::{attributes, from_bits, prefix, to_bits};
use super::edits::random_position;
use super::support::Random;
use super::types::{Definitions, Type, is_reference, is_returned_in_memory, random_type};
use super::{CallerAbi, Edit};

#[derive(Clone)]
pub(crate) struct Signature {
    pub(crate) result: Type,
    pub(crate) arguments: Vec<Type>,
    /// The number of arguments before `...`; all of them if the function is not variadic.
    pub(crate) fixed: usize,
    /// The position of a pointer that closures insert.
    pub(crate) context: Option<usize>,
}

impl Signature {
    pub(crate) fn parse(text: &str) -> Self {
        let (result, rest) = Type::parse(text);
        let (mut arguments, mut fixed, mut rest) = (Vec::new(), None, &rest[1..]);
        while !rest.starts_with(')') {
            if let Some(more) = rest.strip_prefix('.') {
                (fixed, rest) = (Some(arguments.len()), more);
            } else {
                let (argument, more) = Type::parse(rest);
                arguments.push(argument);
                rest = more;
            }
        }
        Self { result, fixed: fixed.unwrap_or(arguments.len()), arguments, context: None }
    }

    pub(crate) fn random(random: &mut Random) -> Self {
        let count = if random.of(0..6) == 0 { random.of(8..20) } else { random.of(0..8) };
        let fixed = if count > 1 && random.of(0..8) == 0 { random.of(1..count) } else { count };
        let scalars: &[u8] = if random.of(0..4) == 0 { b"lLp" } else { b"?bBhHiIlLpfd" };
        let mut arguments = Vec::new();
        while arguments.len() < count {
            let is_fixed = arguments.len() < fixed;
            let argument = random_type(random, if is_fixed { scalars } else { b"iIlLpd" });
            // gcc's va_arg reads structs that are aligned to 16 with instructions that fault at other addresses.
            if is_fixed || argument.align() < 16 || matches!(argument, Type::Scalar(_)) {
                arguments.push(argument);
            }
        }
        let is_void = random.of(0..8) == 0;
        let result = if is_void { Type::Scalar('v') } else { random_type(random, b"?bBhHiIlLpfd") };
        Self { result, arguments, fixed, context: None }
    }

    /// Inserts the pointer that closures insert.
    pub(crate) fn with_context(self, random: &mut Random) -> Self {
        let position = random_position(random, self.arguments.len());
        self.with_context_at(position)
    }

    pub(crate) fn with_context_at(self, position: usize) -> Self {
        Self { context: Some(position), ..self.with_argument_at(position, Type::Scalar('p')) }
    }

    pub(crate) fn with_argument_at(mut self, position: usize, argument: Type) -> Self {
        self.fixed += usize::from(position <= self.fixed);
        self.arguments.insert(position, argument);
        self
    }

    fn is_variadic(&self) -> bool {
        self.fixed < self.arguments.len()
    }

    pub(crate) fn has(&self, letters: &str) -> bool {
        self.result.has(letters) || self.arguments.iter().any(|argument| argument.has(letters))
    }

    /// Returns whether a struct or union that stands for `...` has one of these types.
    pub(crate) fn has_variadic_structs_with(&self, letters: &str) -> bool {
        let is_one = |argument: &Type| !matches!(argument, Type::Scalar(_)) && argument.has(letters);
        self.arguments[self.fixed..].iter().any(is_one)
    }

    /// Whether a union has a member whose padding another member uses.
    pub(crate) fn uses_padding(&self) -> bool {
        self.result.uses_padding() || self.arguments.iter().any(Type::uses_padding)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}(", self.result.text());
        for (index, argument) in self.arguments.iter().enumerate() {
            text += if self.is_variadic() && index == self.fixed { "." } else { "" };
            text += &argument.text();
        }
        text + ")"
    }
}

pub(crate) fn program(signatures: &[Signature]) -> String {
    let mut definitions = Definitions::new();
    let [mut targets, mut calls, mut main] = [const { String::new() }; 3];
    for (index, signature) in signatures.iter().enumerate() {
        for (caller_abi, suffix) in [(CallerAbi::SysV64, "s"), (CallerAbi::Win64, "w")] {
            let name = format!("{index}{suffix}");
            let types = Types::new(&mut definitions, signature);
            let writer = Writer { signature, types, name, caller_abi, extra: None };
            writer.target(&mut targets, false).expect("writing to a string cannot fail");
            if caller_abi == CallerAbi::SysV64 {
                writer.target(&mut targets, true).expect("writing to a string cannot fail");
            }
            for by_address in [false, true] {
                for edit in Edit::all(signature.context) {
                    writer.call(&mut calls, by_address, edit).expect("writing to a string cannot fail");
                    let _ = writeln!(main, "        {}_{}{}();", prefix(by_address), writer.name, edit.suffix());
                }
            }
        }
    }
    let main = format!("    for (; shares < 2; shares++) {{\n{main}    }}\n    return 0;");
    let types = definitions.text;
    format!("#include \"crossing.h\"\n\n{types}\n{targets}{calls}int main(void) {{\n{main}\n}}\n")
}

/// Returns a program that makes dynamic calls of functions of the system's convention.
pub(crate) fn program_of_calls(signatures: &[Signature]) -> String {
    let mut definitions = Definitions::new();
    let [mut targets, mut calls] = [const { String::new() }; 2];
    for (index, signature) in signatures.iter().enumerate() {
        let (types, name) = (Types::new(&mut definitions, signature), index.to_string());
        let writer = Writer { signature, types, name, caller_abi: CallerAbi::Packed, extra: None };
        writer.target(&mut targets, false).expect("writing to a string cannot fail");
        writer.packed_call(&mut calls, "target").expect("writing to a string cannot fail");
    }
    let types = definitions.text;
    format!("#include \"crossing.h\"\n\n{types}\n{targets}int main(void) {{\n{calls}    return 0;\n}}\n")
}

/// Returns a program that calls functions of the system's convention through closures, whose context is known, and through
/// functions that drop an argument: the context, or another one, an extra.
pub(crate) fn program_of_closures(signatures: &[Signature], extras: Vec<(usize, Type)>) -> String {
    let mut definitions = Definitions::new();
    let [mut targets, mut calls, mut main] = [const { String::new() }; 3];
    for (index, (signature, (position, extra))) in signatures.iter().zip(extras).enumerate() {
        let (types, name) = (Types::new(&mut definitions, signature), index.to_string());
        let extra = Some((definitions.name(&extra), extra));
        let writer = Writer { signature, types, name, caller_abi: CallerAbi::Packed, extra };
        writer.target(&mut targets, false).expect("writing to a string cannot fail");
        for edit in Edit::all(signature.context).into_iter().chain([Edit::Drop(position)]) {
            writer.call(&mut calls, false, edit).expect("writing to a string cannot fail");
            let _ = writeln!(main, "    call_{index}{}();", edit.suffix());
        }
    }
    let types = definitions.text;
    format!("#include \"crossing.h\"\n\n{types}\n{targets}{calls}int main(void) {{\n{main}    return 0;\n}}\n")
}

/// Returns a program that calls closures with handlers, by these conventions.
pub(crate) fn program_of_handlers(signatures: &[Signature], abis: &[CallerAbi]) -> String {
    let mut definitions = Definitions::new();
    let [mut calls, mut main] = [const { String::new() }; 2];
    for (index, signature) in signatures.iter().enumerate() {
        for &caller_abi in abis {
            let name = format!("{index}{}", attributes(caller_abi).0);
            let types = Types::new(&mut definitions, signature);
            let writer = Writer { signature, types, name, caller_abi, extra: None };
            // System V also passes the address of memory for a result of more than 16 bytes.
            let is_sysv64 = caller_abi == CallerAbi::SysV64;
            let has_addresses = caller_abi == CallerAbi::Win64 || is_sysv64 && signature.result.size() > 16;
            for by_address in if has_addresses { &[false, true][..] } else { &[false] } {
                writer.call(&mut calls, *by_address, Edit::Handler).expect("writing to a string cannot fail");
                let _ = writeln!(main, "        {}_{}_handler();", prefix(*by_address), writer.name);
            }
        }
    }
    // Twice, since the handler writes some results and not others.
    let main = format!("    for (int turn = 0; turn < 2; turn++) {{\n{main}    }}\n    return 0;");
    let types = definitions.text;
    format!("#include \"crossing.h\"\n\n{types}\n{calls}int main(void) {{\n{main}\n}}\n")
}

/// The types of a signature in C.
struct Types {
    result: String,
    arguments: Vec<String>,
}

impl Types {
    fn new(definitions: &mut Definitions, signature: &Signature) -> Self {
        let result = definitions.name(&signature.result);
        let arguments = signature.arguments.iter().map(|argument| definitions.name(argument)).collect();
        Self { result, arguments }
    }
}

struct Writer<'a> {
    signature: &'a Signature,
    types: Types,
    name: String,
    caller_abi: CallerAbi,
    /// The type of an argument that only the caller has, in C and by itself.
    extra: Option<(String, Type)>,
}

impl Writer<'_> {
    /// Writes the beginning of a target up to where it has its arguments.
    fn start(&self, program: &mut String, by_address: bool, is_variadic: bool) -> std::fmt::Result {
        let Self { signature: Signature { arguments, fixed, .. }, types, name, caller_abi, .. } = self;
        let (_, other) = attributes(*caller_abi);
        let takes_address = |i: usize| by_address && is_reference(&arguments[i]);
        let type_of = |i: usize| if takes_address(i) { "void *" } else { &types.arguments[i] };
        let count = if is_variadic { *fixed } else { arguments.len() };
        let named: Vec<_> = (0..count).map(|i| format!("{} a{i}", type_of(i))).collect();
        let named = if named.is_empty() { "void".to_owned() } else { named.join(", ") };
        let dots = if is_variadic { ", ..." } else { "" };
        let start = if by_address { "target_by_address" } else { "target" };
        writeln!(program, "static {other} {} {start}_{name}({named}{dots}) {{", types.result)?;
        if is_variadic {
            writeln!(program, "    {other}_LIST list;\n    {other}_START(list, a{});", fixed - 1)?;
        }
        for (i, c_type) in types.arguments.iter().enumerate().skip(count) {
            if takes_address(i) {
                writeln!(program, "    void *a{i} = {other}_ARGUMENT(list, void *);")?;
            } else if other == "WIN64" && is_reference(&arguments[i]) {
                // Outside of Windows, gcc forgets that these are passed by address.
                writeln!(program, "    {c_type} a{i} = *({c_type} *){other}_ARGUMENT(list, void *);")?;
            } else {
                writeln!(program, "    {c_type} a{i} = {other}_ARGUMENT(list, {c_type});")?;
            }
        }
        Ok(())
    }

    /// Writes the target of a thunk. `by_address`: it is Win64, and takes addresses where that passes them.
    fn target(&self, program: &mut String, by_address: bool) -> std::fmt::Result {
        let Self { signature: Signature { result, arguments, fixed, .. }, types, caller_abi, .. } = self;
        let (_, other) = attributes(*caller_abi);
        let takes_address = |i: usize| by_address && is_reference(&arguments[i]);
        if other == "SYSV64" && arguments[*fixed..].iter().any(is_reference) {
            // On Windows, gcc believes that these are passed by address. The places are the same without "...".
            writeln!(program, "#if defined(_WIN32)")?;
            self.start(program, by_address, false)?;
            writeln!(program, "#else")?;
            self.start(program, by_address, true)?;
            writeln!(program, "#endif")?;
        } else {
            self.start(program, by_address, self.signature.is_variadic())?;
        }
        for (i, argument) in arguments.iter().enumerate() {
            match argument {
                Type::Scalar(letter) if argument.is_word() => {
                    writeln!(program, "    got[{i}] = {};", to_bits(*letter, &format!("a{i}")))?;
                }
                _ if takes_address(i) => {
                    writeln!(program, "    memcpy(got_values[{}], a{i}, {});", i + 1, argument.size())?;
                    writeln!(program, "    misaligned += (uintptr_t)a{i} % 16 != 0;")?;
                }
                _ => writeln!(program, "    memcpy(got_values[{}], &a{i}, sizeof a{i});", i + 1)?,
            }
        }
        let clobber = format!("    LOOK_AT_STACK({});\n    CLOBBER_{other}();", arguments.len());
        match result {
            Type::Scalar('v') => writeln!(program, "{clobber}")?,
            Type::Scalar(letter) if result.is_word() => {
                writeln!(program, "{clobber}\n    return {};", from_bits(*letter, "sent_result"))?;
            }
            _ => {
                let load = format!("{} r;\n    memcpy(&r, sent_values[0], sizeof r);", types.result);
                writeln!(program, "{clobber}\n    {load}\n    return r;")?;
            }
        }
        writeln!(program, "}}\n")
    }

    /// Writes a function that calls the target through a thunk, and before through what edits the arguments.
    fn call(&self, program: &mut String, by_address: bool, edit: Edit) -> std::fmt::Result {
        let Self { signature: Signature { result, arguments, .. }, types, name, caller_abi, .. } = self;
        let (attribute, _) = attributes(*caller_abi);
        let text = format!("\"{}\"", self.signature.text().replace('?', "\\?")); // prevents trigraphs
        let is_win64 = *caller_abi == CallerAbi::Win64;
        let is_in_memory = if is_win64 {
            is_returned_in_memory(result)
        } else {
            matches!(edit, Edit::Handler) && result.size() > 16
        };
        let passes_result = by_address && is_in_memory;
        let passes = |argument: &Type| by_address && is_win64 && is_reference(argument);
        let target = if by_address && !is_win64 { "target_by_address" } else { "target" };
        let mut parameters = if passes_result { vec!["void *"] } else { Vec::new() };
        for (_, (argument, c_type)) in
            arguments.iter().zip(&types.arguments).enumerate().filter(|(i, _)| edit.passes(*i))
        {
            parameters.push(if passes(argument) { "void *" } else { c_type });
        }
        let mut declared = text.clone();
        if let (Edit::Drop(at), Some((c_type, extra))) = (edit, &self.extra) {
            parameters.insert(at, c_type);
            let longer = self.signature.clone().with_argument_at(at, extra.clone());
            declared = format!("\"{}\"", longer.text().replace('?', "\\?"));
        }
        if matches!(edit, Edit::Handler) && self.signature.is_variadic() {
            parameters.truncate(self.signature.fixed + usize::from(passes_result));
            parameters.push("...");
        }
        let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters.join(", ") };
        let result_type = if passes_result { "void *" } else { &types.result };
        writeln!(program, "static void {}_{name}{}(void) {{", prefix(by_address), edit.suffix())?;
        writeln!(program, "    typedef {attribute} {result_type} (*function)({parameters});")?;
        writeln!(
            program,
            "    function thunk = (function){};",
            edit.prepare(&text, &declared, attribute, &format!("(void (*)(void)){target}_{name}"))
        )?;
        let mut values = Vec::new();
        if passes_result {
            writeln!(program, "    void *where = at_end(0, {});", result.size())?;
            values.push("where".to_owned());
        }
        for (i, argument) in arguments.iter().enumerate().filter(|(i, _)| edit.passes(*i)) {
            match argument {
                Type::Scalar(letter) if argument.is_word() => {
                    values.push(from_bits(*letter, &format!("sent[{i}]")));
                }
                _ if passes(argument) => values.push(format!("at_end({}, {})", i + 1, argument.size())),
                _ => {
                    let c_type = &types.arguments[i];
                    writeln!(
                        program,
                        "    {c_type} a{i};\n    memcpy(&a{i}, sent_values[{}], sizeof a{i});",
                        i + 1
                    )?;
                    writeln!(program, "    SAME_SIZE({}, sizeof a{i});", argument.size())?;
                    values.push(format!("a{i}"));
                }
            }
        }
        if let (Edit::Drop(at), Some((c_type, _))) = (edit, &self.extra) {
            writeln!(program, "    {c_type} extra;\n    memset(&extra, 1, sizeof extra);")?;
            values.insert(at, "extra".to_owned());
        }
        let call = format!("thunk({})", values.join(", "));
        let mut concluded = "0";
        match result {
            Type::Scalar('v') => writeln!(program, "    {call};")?,
            Type::Scalar(letter) if result.is_word() => {
                writeln!(program, "    uint64_t result = {};", to_bits(*letter, &call))?;
                concluded = "result";
            }
            _ if passes_result => {
                writeln!(program, "    check_address({call}, where);")?;
                writeln!(program, "    memcpy(got_values[0], where, {});", result.size())?;
            }
            _ => {
                writeln!(program, "    {} result = {call};", types.result)?;
                writeln!(program, "    memcpy(got_values[0], &result, sizeof result);")?;
            }
        }
        self.checks(program)?;
        writeln!(program, "    conclude({concluded});")?;
        if !matches!(edit, Edit::Handler) {
            self.packed_call(program, target)?;
        }
        writeln!(program, "}}\n")
    }

    /// Writes a dynamic call of a target.
    fn packed_call(&self, program: &mut String, target: &str) -> std::fmt::Result {
        let (_, other) = attributes(self.caller_abi);
        let text = self.signature.text().replace('?', "\\?"); // prevents trigraphs
        let name = &self.name;
        writeln!(program, "    call_packed(\"{text}\", EXECBUF_ABI_{other}, (void (*)(void)){target}_{name});")?;
        self.checks(program)?;
        writeln!(program, "    conclude_call();")
    }

    /// Writes the comparison of values that are no words.
    fn checks(&self, program: &mut String) -> std::fmt::Result {
        let Signature { result, arguments, .. } = self.signature;
        for (number, value) in std::iter::once(result).chain(arguments).enumerate() {
            if !value.is_word() {
                writeln!(program, "    check_value({number}, \"{}\");", value.mask())?;
            }
        }
        Ok(())
    }
}
