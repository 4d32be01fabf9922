//! Tests of the public API. Each test runs with dedicated buffers and with a pool. `tests/buffer.rs` runs them without
//! restrictions, `tests/hardened.rs` in child processes that have given up rights.

#![allow(dead_code, unreachable_pub, reason = "only one of the two programs uses the lists of tests")]
#![allow(clippy::wildcard_imports, reason = "each file needs nearly all of these imports")]

use crate::support::numbered::can_copy;
use crate::support::{Random, SHORTEST, TRAP, call, child, function, maps, reserve, returning, skip};
use execbuf::{Error, ErrorKind, ExecBuffer, ExecPool, Reserved, Staged};
use std::convert::Infallible;

/// How a test makes its buffers.
pub enum Maker {
    /// Each buffer has a dedicated mapping.
    Dedicated,
    /// All buffers are in a pool.
    Pool(ExecPool),
}

impl Maker {
    pub fn pool() -> Self {
        Self::Pool(ExecPool::new().expect("this system allows executable memory"))
    }

    fn take(&self, code: &[u8]) -> Result<ExecBuffer, Error> {
        match self {
            Self::Dedicated => ExecBuffer::new(code),
            Self::Pool(pool) => pool.publish(code),
        }
    }

    fn room(&self, capacity: usize) -> Reserved {
        let made = match self {
            Self::Dedicated => ExecBuffer::reserve(capacity),
            Self::Pool(pool) => pool.reserve(capacity),
        };
        made.expect("this system allows executable memory")
    }

    fn stage(&self, capacity: usize) -> Staged {
        let made = match self {
            Self::Dedicated => ExecBuffer::stage(capacity),
            Self::Pool(pool) => pool.stage(capacity),
        };
        made.expect("this system allows executable memory")
    }

    fn reserve(&self, capacity: usize, fill: impl FnOnce(usize, &mut [u8]) -> usize) -> Result<ExecBuffer, Error> {
        match self {
            Self::Dedicated => reserve(None, capacity, fill),
            Self::Pool(pool) => reserve(Some(pool), capacity, fill),
        }
    }

    fn assemble<B: AsRef<[u8]>, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &self,
        assemble: impl FnMut(usize) -> Result<B, E>,
    ) -> Result<ExecBuffer, Error> {
        match self {
            Self::Dedicated => ExecBuffer::assemble(assemble),
            Self::Pool(pool) => pool.assemble(assemble),
        }
    }

    fn publish(&self, value: u32) -> ExecBuffer {
        self.take(&returning(value)).expect("this system allows executable memory")
    }

    /// Calls [`child::crashing`] for a test of a module.
    fn crashing(&self, module: &str, test: &str, body: impl FnOnce()) -> child::End {
        let group = if let Self::Dedicated = self { "tests" } else { "pooled" };
        let (_, module) = module.split_once("::").expect("the path has the program and the module");
        child::crashing(&format!("{module}::{group}::{test}"), body)
    }

    /// Rewrites code that returned `old` before a fork. Returns what it must return now: code in a pool's region is
    /// frozen if the region cannot be copied.
    fn rewrite_after_fork(&self, buffer: &mut ExecBuffer, old: u32, new: u32) -> u32 {
        let result = buffer.rewrite(0, &returning(new));
        match self {
            Self::Pool(pool) if pool.stats().regions() > 0 && !can_copy() => {
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
        let group = if let Self::Dedicated = self { "" } else { " of a pool" };
        crate::support::skip(&format!("fork{group}: this system does not fork"));
    }

    /// Returns whether the code at an address was freed.
    fn is_freed(&self, address: *const u8) -> bool {
        match self {
            Self::Pool(pool) if pool.stats().regions() > 0 => pool.lookup(address).is_none(),
            _ => maps::at(address).is_none_or(|mapping| !mapping.executable),
        }
    }
}

macro_rules! suite {
    ($(fn $name:ident($maker:ident) $body:block)*) => {
        $(pub fn $name($maker: &Maker) $body)*

        /// The name and function of every test in this file.
        pub const ALL: &[(&str, fn(&Maker))] = &[$((stringify!($name), $name)),*];

        mod tests {
            $(#[test] fn $name() {
                if !crate::support::has_proc() {
                    return;
                }
                // Only one test runs at a time, because tests count the mappings of the process.
                let _alone = crate::support::alone();
                super::$name(&super::Maker::Dedicated)
            })*
        }

        mod pooled {
            $(#[test] fn $name() {
                if !crate::support::has_proc() {
                    return;
                }
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
mod reserve;
mod rewrite;
mod staged;
mod threads;

/// The names and functions of the tests in a file.
type Tests = &'static [(&'static str, fn(&Maker))];

/// All tests, by file.
pub const ALL: &[Tests] =
    &[publish::ALL, assemble::ALL, reserve::ALL, rewrite::ALL, staged::ALL, errors::ALL, threads::ALL, fork::ALL];
