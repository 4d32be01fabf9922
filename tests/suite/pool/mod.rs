//! Tests of pools. `tests/pool.rs` runs them without restrictions, `tests/hardened.rs` in child processes that have
//! given up rights. Where pools have no regions, each buffer has a dedicated mapping.

#![allow(dead_code, unreachable_pub, reason = "only one of the two programs uses the lists of tests")]
#![allow(clippy::wildcard_imports, reason = "each file needs nearly all of these imports")]

use crate::support::{Random, SHORTEST, TRAP, call, child, function, maps, rename, reserve, returning, skip};
use execbuf::{Backend, ErrorKind, ExecBuffer, ExecPool, Place, ffi};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ptr;

macro_rules! suite {
    ($(fn $name:ident() $body:block)*) => {
        $(pub fn $name() $body)*

        /// The name and function of every test in this file.
        pub const ALL: &[(&str, fn())] = &[$((stringify!($name), $name)),*];

        mod tests {
            $(#[test] fn $name() {
                if !crate::support::has_proc() {
                    return;
                }
                // Only one test runs at a time, because tests count the mappings of the process.
                let _alone = crate::support::alone();
                super::$name()
            })*
        }
    };
}

mod assemble;
mod described;
mod handles;
mod memory;
mod near;
mod publish;
mod query;
mod raw;
mod sharing;

/// The names and functions of the tests in a file.
type Tests = &'static [(&'static str, fn())];

/// All tests, by file.
pub const ALL: &[Tests] =
    &[publish::ALL, memory::ALL, query::ALL, assemble::ALL, near::ALL, sharing::ALL, handles::ALL, described::ALL];

fn pool() -> ExecPool {
    ExecPool::new().expect("this system allows executable memory")
}

fn publish(pool: &ExecPool, value: u32) -> ExecBuffer {
    pool.publish(&returning(value)).expect("this system allows executable memory")
}

/// Returns whether pools have regions on this system.
fn has_regions() -> bool {
    let pool = pool();
    let _buffer = publish(&pool, 1);
    pool.stats().regions() > 0
}
