//! Runs `tests/suite/pool` without restrictions on the process.

#[path = "suite/pool/mod.rs"]
mod pool;
mod support;
