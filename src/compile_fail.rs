//! Programs that must not compile, each with its error code. A nightly rustdoc compares the codes:
//! `RUSTC_BOOTSTRAP=1 cargo test --doc --target-dir target/nightly`.

mod changes;
mod lifetimes;
mod promises;
mod threads;
mod types;
