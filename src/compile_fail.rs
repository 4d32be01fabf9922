//! Programs that must not compile, each with the expected error code. Only a nightly rustdoc checks the codes:
//! `RUSTC_BOOTSTRAP=1 cargo test --doc --target-dir target/nightly`.

mod changes;
mod closures;
mod data;
mod dynamic;
mod lifetimes;
mod promises;
mod reservations;
mod staged;
mod structs;
mod threads;
mod types;
