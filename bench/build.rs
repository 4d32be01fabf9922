//! Compiles the adapter of `AsmJit`, if the feature and the library are there.

fn main() {
    println!("cargo:rustc-check-cfg=cfg(has_asmjit)");
    println!("cargo:rerun-if-changed=asmjit.cpp");
    #[cfg(feature = "asmjit")]
    asmjit();
}

#[cfg(feature = "asmjit")]
fn asmjit() {
    println!("cargo:rerun-if-changed=/usr/include/asmjit/asmjit.h"); // It may be installed later.
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).file("asmjit.cpp").cargo_warnings(false);
    // If it does not compile, AsmJit is not installed. The benchmark says then that it skips AsmJit.
    if build.try_compile("bench_asmjit").is_ok() {
        println!("cargo:rustc-link-lib=asmjit");
        println!("cargo:rustc-cfg=has_asmjit");
    }
}
