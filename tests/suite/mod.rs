//! The public API's tests, to be run as they are (`tests/buffer.rs`) and in children that have given up rights
//! (`tests/hardened.rs`).

#![allow(dead_code, unreachable_pub, reason = "the list is for one of the two")]
#![allow(clippy::wildcard_imports, reason = "each file needs nearly all of this one")]

use crate::support::{SHORTEST, TRAP, call, child, function, maps, reserve, returning};
use execbuf::{Error, ErrorKind, ExecBuffer, ExecPool};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::convert::Infallible;

/// Where a test gets its buffers from.
pub enum Maker {
    /// Each has pages of its own.
    Own,
    /// They are published in a pool.
    Pool(ExecPool),
}

impl Maker {
    pub fn pool() -> Self {
        Self::Pool(ExecPool::new().expect("this system allows executable memory"))
    }

    fn take(&self, code: &[u8]) -> Result<ExecBuffer, Error> {
        match self {
            Self::Own => ExecBuffer::new(code),
            Self::Pool(pool) => pool.publish(code),
        }
    }

    fn reserve(&self, capacity: usize, fill: impl FnOnce(usize, &mut [u8]) -> usize) -> Result<ExecBuffer, Error> {
        match self {
            Self::Own => reserve(None, capacity, fill),
            Self::Pool(pool) => reserve(Some(pool), capacity, fill),
        }
    }

    fn assemble<B: AsRef<[u8]>, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &self,
        assemble: impl FnMut(usize) -> Result<B, E>,
    ) -> Result<ExecBuffer, Error> {
        match self {
            Self::Own => ExecBuffer::assemble(assemble),
            Self::Pool(pool) => pool.assemble(assemble),
        }
    }

    fn publish(&self, value: u32) -> ExecBuffer {
        self.take(&returning(value)).expect("this system allows executable memory")
    }

    /// [`child::crashing`] for a test of a module.
    fn crashing(&self, module: &str, test: &str, body: impl FnOnce()) -> child::End {
        let group = if let Self::Own = self { "tests" } else { "pooled" };
        let (_, module) = module.split_once("::").expect("the name of the program, and that of the module");
        child::crashing(&format!("{module}::{group}::{test}"), body)
    }

    /// Rewrites code that returned `old` before a fork. Returns what it is to return now: in a pool's region it is frozen.
    fn rewrite_after_fork(&self, buffer: &mut ExecBuffer, old: u32, new: u32) -> u32 {
        let result = buffer.rewrite(0, &returning(new));
        match self {
            Self::Pool(pool) if pool.stats().regions() > 0 => {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Frozen);
                old
            }
            _ => {
                result.unwrap();
                new
            }
        }
    }

    #[cfg(not(unix))]
    fn skip_fork(&self) {
        let group = if let Self::Own = self { "" } else { " of a pool" };
        crate::support::skip(&format!("fork{group}: this system has none"));
    }

    /// Whether there is no code at an address any more.
    fn is_gone(&self, address: *const u8) -> bool {
        match self {
            Self::Pool(pool) if pool.stats().regions() > 0 => pool.lookup(address).is_none(),
            _ => maps::at(address).is_none_or(|mapping| !mapping.executable),
        }
    }
}

macro_rules! suite {
    ($(fn $name:ident($maker:ident) $body:block)*) => {
        $(pub fn $name($maker: &Maker) $body)*

        /// Every test of this file by name.
        pub const ALL: &[(&str, fn(&Maker))] = &[$((stringify!($name), $name)),*];

        mod tests {
            $(#[test] fn $name() {
                // One at a time: they count the process's mappings.
                let _alone = crate::support::alone();
                super::$name(&super::Maker::Own)
            })*
        }

        mod pooled {
            $(#[test] fn $name() {
                let _alone = crate::support::alone();
                super::$name(&super::Maker::pool())
            })*
        }
    };
}

mod assemble;
mod errors;
mod fork;
mod publish;
mod rewrite;
mod threads;

/// The tests of a file by name.
type Tests = &'static [(&'static str, fn(&Maker))];

/// Every test by name, file by file.
pub const ALL: &[Tests] = &[publish::ALL, assemble::ALL, rewrite::ALL, errors::ALL, threads::ALL, fork::ALL];
