//! Dynamic calls, which need no thunk.

use std::env;

use super::known::{KNOWN, KNOWN_VALUES};
use super::support::{self, signatures::number};
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
