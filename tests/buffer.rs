//! The suite, on the system as it is.

mod suite;
mod support;
