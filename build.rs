//! Compiles the C library, and with the feature `bindgen` generates its bindings.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let csrc = Path::new(&variable("CARGO_MANIFEST_DIR")).join("csrc");
    println!("cargo::rerun-if-changed=csrc");
    println!("cargo::rerun-if-env-changed=DOCS_RS");
    println!("cargo::metadata=include={}", csrc.join("include").display());
    // The tests build C programs for the same target.
    println!("cargo::rustc-env=EXECBUF_TARGET={}", variable("TARGET"));
    println!("cargo::rustc-env=EXECBUF_HOST={}", variable("HOST"));
    // Whether rustc passes 128-bit integers as C compilers do. LLVM before 21 may place what follows one on the stack
    // elsewhere (llvm/llvm-project#123935); Rust before 1.86 returns one from a Win64 function in memory
    // (rust-lang/rust#134290).
    println!("cargo::rustc-check-cfg=cfg(execbuf_i128)");
    if variable("CARGO_CFG_TARGET_ARCH") != "x86_64" || llvm_version() >= 21 {
        println!("cargo::rustc-cfg=execbuf_i128");
    }

    // docs.rs and Miri do not link, and may not have a C compiler for the target.
    let linked = env::var_os("DOCS_RS").is_none() && env::var("CARGO_CFG_MIRI").is_err();
    if linked {
        compile(&csrc);
    }
    #[cfg(feature = "bindgen")]
    bindings::generate(&csrc);
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name}: {error}"))
}

/// Returns the major version of the compiler's LLVM, or 0 if it does not say. Rust 1.91 has LLVM 21; Linux distributions
/// choose their own.
fn llvm_version() -> u32 {
    let output =
        Command::new(variable("RUSTC")).arg("-vV").output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: ")).unwrap_or_default();
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

fn compile(csrc: &Path) {
    let mut build = cc::Build::new();
    build.std("c11").include(csrc.join("include"));
    // A library that contains the crate does not export the C API. Rust still links to hidden symbols.
    build.flag_if_supported("-fvisibility=hidden").define("EXECBUF_API", "");
    let source = csrc.join("execbuf.c");
    match without_lto(&build, &source) {
        Some(object) => cc::Build::new().object(object).compile("execbuf"),
        None => build.file(source).compile("execbuf"),
    }
    // In glibc before 2.34 and on the BSDs, pthread_atfork is in a separate library; other systems ignore the option.
    let unix = env::var_os("CARGO_CFG_UNIX").is_some();
    if unix && variable("CARGO_CFG_TARGET_OS") != "android" {
        println!("cargo::rustc-link-lib=pthread");
    }
}

/// Compiles the source to an object file with machine code if CFLAGS asks for link-time optimisation, as the builds of
/// Linux distributions do, or if it names a file with options, which may ask for it. rustc's linker can't read the object
/// files of `-flto`. cc puts CFLAGS behind all flags of the build script, so the opposite flag must be added by hand.
fn without_lto(build: &cc::Build, source: &Path) -> Option<PathBuf> {
    let mut command = build.get_compiler().to_command();
    let asks = |argument: &OsStr| ["-flto", "@"].iter().any(|start| argument.to_string_lossy().starts_with(start));
    if !command.get_args().any(asks) {
        return None;
    }
    let object = Path::new(&variable("OUT_DIR")).join("execbuf.o");
    command.arg("-fno-lto").arg("-c").arg(source).arg("-o").arg(&object);
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
    Some(object)
}

#[cfg(feature = "bindgen")]
mod bindings {
    use std::path::{Path, PathBuf};

    use super::variable;

    /// Writes `OUT_DIR/bindings.rs` for the target, and another file for each target whose bindings the tests compare.
    pub(super) fn generate(csrc: &Path) {
        let out = PathBuf::from(variable("OUT_DIR"));
        write(csrc, &variable("TARGET"), &out.join("bindings.rs"));
        for target in ["x86_64-pc-windows-gnu", "x86_64-pc-windows-msvc", "aarch64-unknown-linux-gnu"] {
            write(csrc, target, &out.join(format!("bindings-{target}.rs")));
        }
    }

    fn write(csrc: &Path, target: &str, file: &Path) {
        let header = csrc.join("include/execbuf.h");
        bindgen::Builder::default()
            .header(header.to_str().expect("the path is UTF-8"))
            // libclang has the freestanding headers for every target, and the header needs no others.
            .clang_args(["-ffreestanding", "-fparse-all-comments", "-target", target])
            .allowlist_type("execbuf.*")
            .allowlist_function("execbuf_.*")
            .allowlist_var("EXECBUF_.*")
            .default_enum_style(bindgen::EnumVariation::NewType { is_bitfield: false, is_global: false })
            .no_copy("execbuf")
            .layout_tests(false)
            .use_core()
            .merge_extern_blocks(true)
            .formatter(bindgen::Formatter::Prettyplease)
            .generate()
            .unwrap_or_else(|error| panic!("{}: {error}", header.display()))
            .write_to_file(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}
