//! Closures that call handlers: callers that compilers have compiled, and no thunk.

use super::known::{KNOWN, KNOWN_VALUES};
use super::support::signatures::{number, random_signature};
use super::{CallerAbi, Signature, can_compile, compilers, divide, rust, support, values, work};

/// Tests closures of both conventions that call handlers, with all types; if rustc compiles the callers, with those of one
/// word.
#[test]
fn handlers_get_what_compiled_code_passes() {
    if can_compile() {
        agree("handlers", &[CallerAbi::SysV64, CallerAbi::Win64]);
    }
}

/// The same for closures of the system's convention: on AArch64, the only one.
#[test]
fn handlers_of_the_system_get_what_compiled_code_passes() {
    if cfg!(not(target_vendor = "apple")) && support::can_compile("handlers against compiled code") {
        agree("handlers_native", &[CallerAbi::Packed]);
    }
}

fn agree(test: &str, abis: &'static [CallerAbi]) {
    let (count, seed) = (number("EXECBUF_THUNKS", 60), number("EXECBUF_SEED", 1));
    let mut compilers = compilers(seed, test);
    if abis.contains(&CallerAbi::Packed) {
        compilers.retain(|compiler| !compiler.is_rust); // which calls closures of both conventions
    }
    work(divide(&compilers, count, seed, |compiler, random, count, number| {
        let name = format!("{test}{number}");
        if compiler.is_rust {
            let known = KNOWN.iter().map(|&text| text.to_owned());
            let all: Vec<_> = known.chain((0..count).map(|_| random_signature(random))).collect();
            let all: Vec<_> = all.iter().map(|text| Signature::new(text)).collect();
            return (compiler, name, Box::new(move || rust::program_of_handlers(&all)));
        }
        let known = KNOWN.iter().chain(KNOWN_VALUES).map(|text| values::Signature::parse(text));
        let more = (0..count).map(|i| {
            let scalars = random_signature(random);
            if i % 3 == 0 { values::Signature::parse(&scalars) } else { values::Signature::random(random) }
        });
        let all: Vec<_> = known.chain(more).filter(|signature| compiler.is_right(signature)).collect();
        (compiler, name, Box::new(move || values::program_of_handlers(&all, abis)))
    }));
}
