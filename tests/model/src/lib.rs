//! A model of the parts of the library that use no lock of the system, and a program that explores it exhaustively.
//!
//! The parts are translated by hand into programs of a few atomic operations (`lock`, `pool`). Each operation names the
//! function in `csrc/` that it stands for. The explorer (`explore`) runs a few such threads in all interleavings, and lets
//! the memory do all that a memory model permits. There are two: `tso` is that of x86, `views` is weaker than that of
//! `AArch64`. Whoever changes one of these functions changes its program, too.
//!
//! Every order (acquire, release) and every fence of the programs has a name and can be left out. `tests/` does so with
//! each, and expects that the explorer finds a failure. So the programs have no order that the properties do not need;
//! where the C code has a stronger one, a comment says so.
//!
//! `EXECBUF_MODEL_TRACES=1 .ci/model` prints the shortest way to each failure.

mod explore;
#[cfg(test)]
mod litmus;
mod memory;
mod program;
mod tso;
mod views;

pub mod lock;
pub mod pool;
pub mod pool_scenarios;

pub use explore::{Failure, Outcome, Scenario, explore};
pub use tso::Tso;
pub use views::Views;
