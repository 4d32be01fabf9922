//! Dynamic calls and closures that need no thunk.

use std::env;

use super::known::{KNOWN, KNOWN_VALUES};
use super::support::{self, Random, signatures::number};
use super::types::random_type;
use super::{Compiler, compilers_with, divide, is_for_aarch64, values, work};

impl Compiler {
    /// Returns whether the compiler passes these types as the convention says. clang 14 for x86-64 passes 128-bit
    /// integers in memory wrongly. With optimisation, gcc 12's `va_arg` for AArch64 does not read structs of vectors.
    pub(crate) fn is_right(&self, signature: &values::Signature) -> bool {
        let is_clang = self.name().contains("clang");
        if is_for_aarch64() {
            !(is_clang && signature.uses_padding()) && (is_clang || !signature.has_variadic_structs_with("m"))
        } else {
            !is_clang || !(signature.has("xX") || signature.uses_padding())
        }
    }
}

/// Returns whether the programs are for Windows.
fn is_windows() -> bool {
    cfg!(windows) || env::var("EXECBUF_CC").is_ok_and(|compiler| compiler.contains("mingw"))
}

/// Tests dynamic calls of functions of the system's convention: on AArch64, and everywhere without machine code. (The
/// programs for thunks test them, too.)
#[test]
fn dynamic_calls_agree_with_compiled_code() {
    if cfg!(target_vendor = "apple") || !support::can_compile("dynamic calls against compiled code") {
        return;
    }
    let (count, seed) = (number("EXECBUF_THUNKS", 60), number("EXECBUF_SEED", 1));
    let variants: &[&str] = if is_windows() { &[""] } else { &["", "-DEXECBUF_PRIM_STUB"] };
    for (index, variant) in variants.iter().enumerate() {
        let mut compilers = compilers_with(seed, &format!("calls{index}"), variant);
        compilers.retain(|compiler| !compiler.is_rust);
        work(divide(&compilers, count, seed, |compiler, random, count, number| {
            let known = KNOWN.iter().chain(KNOWN_VALUES).map(|text| values::Signature::parse(text));
            let more = (0..count).map(|_| values::Signature::random(random));
            let all: Vec<_> = known.chain(more).filter(|signature| compiler.is_right(signature)).collect();
            (compiler, format!("calls{index}_{number}"), Box::new(move || values::program_of_calls(&all)))
        }));
    }
}

/// Tests closures at every position, and functions that drop an argument, of functions of the system's convention, with
/// all types. (The programs for thunks test those of both conventions of x86-64.)
#[test]
fn closures_of_the_system_agree_with_compiled_code() {
    if cfg!(target_vendor = "apple") || !support::can_compile("closures against compiled code") {
        return;
    }
    let (count, seed) = (number("EXECBUF_THUNKS", 60), number("EXECBUF_SEED", 1));
    let mut compilers = compilers_with(seed, "bound", "");
    compilers.retain(|compiler| !compiler.is_rust);
    work(divide(&compilers, count, seed, |compiler, random, count, number| {
        let known = KNOWN.iter().chain(KNOWN_VALUES).map(|text| values::Signature::parse(text));
        let more = (0..count).map(|_| values::Signature::random(random));
        let all: Vec<_> = known.chain(more).filter(|signature| compiler.is_right(signature)).collect();
        // Known signatures get the context at each position, before, between and behind the others.
        let each = all.into_iter().enumerate().flat_map(|(at, signature)| with_contexts(signature, at, random));
        let each: Vec<_> = each.collect();
        let extra = |signature: &values::Signature| loop {
            let (position, extra) = (random.of(0..signature.fixed + 1), random_type(random, b"?bBhHiIlLpfd"));
            if compiler.is_right(&signature.clone().with_argument_at(position, extra.clone())) {
                break (position, extra);
            }
        };
        let extras = each.iter().map(extra).collect();
        let text = values::program_of_closures(&each, extras);
        (compiler, format!("bound_{number}"), Box::new(move || text))
    }));
}

/// Returns a signature with the context at a random position, or at all, if it is one of the known ones.
fn with_contexts(signature: values::Signature, at: usize, random: &mut Random) -> Vec<values::Signature> {
    if at >= KNOWN.len() + KNOWN_VALUES.len() {
        return vec![signature.with_context(random)];
    }
    (0..=signature.arguments.len()).map(|position| signature.clone().with_context_at(position)).collect()
}
