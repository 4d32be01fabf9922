//! What pools do that other buffers do not, to be run as it is (`tests/pool.rs`) and in children that have given up
//! rights (`tests/hardened.rs`). Where the system has no regions, buffers of pools have pages of their own.

#![allow(dead_code, unreachable_pub, reason = "the list is for one of the two")]
#![allow(clippy::wildcard_imports, reason = "each file needs nearly all of this one")]

use crate::support::{Random, SHORTEST, TRAP, call, child, function, maps, rename, reserve, returning, skip};
use execbuf::{Backend, ErrorKind, ExecBuffer, ExecPool, Place, ffi};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ptr;

macro_rules! suite {
    ($(fn $name:ident() $body:block)*) => {
        $(pub fn $name() $body)*

        /// Every test of this file by name.
        pub const ALL: &[(&str, fn())] = &[$((stringify!($name), $name)),*];

        mod tests {
            $(#[test] fn $name() {
                // One at a time: they count the process's mappings.
                let _alone = crate::support::alone();
                super::$name()
            })*
        }
    };
}

mod assemble;
mod handles;
mod memory;
mod near;
mod publish;
mod query;
mod raw;
mod sharing;

/// The tests of a file by name.
type Tests = &'static [(&'static str, fn())];

/// Every test by name, file by file.
pub const ALL: &[Tests] =
    &[publish::ALL, memory::ALL, query::ALL, assemble::ALL, near::ALL, sharing::ALL, handles::ALL];

fn pool() -> ExecPool {
    ExecPool::new().expect("this system allows executable memory")
}

fn publish(pool: &ExecPool, value: u32) -> ExecBuffer {
    pool.publish(&returning(value)).expect("this system allows executable memory")
}

/// Whether pools have regions here.
fn has_regions() -> bool {
    let pool = pool();
    let _buffer = publish(&pool, 1);
    pool.stats().regions() > 0
}
