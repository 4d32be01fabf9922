//! What pools do that other buffers do not, on the system as it is.

#[path = "suite/pool/mod.rs"]
mod pool;
mod support;
