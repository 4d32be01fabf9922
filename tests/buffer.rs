//! Runs `tests/suite` without restrictions on the process.

mod suite;
mod support;
