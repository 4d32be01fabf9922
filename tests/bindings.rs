//! Compares the committed bindings with what bindgen generates from the header for each target. Needs the feature
//! `bindgen`.

#[cfg(feature = "bindgen")]
#[test]
fn committed_bindings_are_current_for_every_target() {
    let committed = include_str!("../src/bindings.rs");
    let generated = [
        ("this target", include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"))),
        ("Windows, GNU", include_str!(concat!(env!("OUT_DIR"), "/bindings-x86_64-pc-windows-gnu.rs"))),
        ("Windows, MSVC", include_str!(concat!(env!("OUT_DIR"), "/bindings-x86_64-pc-windows-msvc.rs"))),
        ("AArch64 Linux", include_str!(concat!(env!("OUT_DIR"), "/bindings-aarch64-unknown-linux-gnu.rs"))),
    ];
    for (target, bindings) in generated {
        assert!(
            committed == bindings,
            "src/bindings.rs differs from what bindgen generates for {target}; if csrc/include/execbuf.h has changed, copy \
             {}/bindings.rs to src/bindings.rs",
            env!("OUT_DIR"),
        );
    }
}

#[cfg(not(feature = "bindgen"))]
#[test]
fn committed_bindings_are_current_for_every_target() {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIP: comparing the bindings needs libclang and `--features bindgen`");
}
