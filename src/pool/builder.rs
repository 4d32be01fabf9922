//! Options of pools.

use alloc::boxed::Box;
use alloc::ffi::CString;
use core::{mem, ptr};

use super::ExecPool;
use crate::backend::{Backend, set};
use crate::error::{Error, check};
use crate::ffi;
use crate::placement::Placement;

/// A builder of [`ExecPool`]s with options.
///
/// # Examples
///
/// A pool whose code reaches functions of this program by relative calls:
///
/// ```
/// use execbuf::ExecPool;
///
/// extern "C" fn helper() {}
///
/// let pool = ExecPool::builder().near(helper as *const u8).name("jit").build()?;
/// let buffer = pool.publish(&[0xc3])?; // x86: ret
/// let distance = (buffer.as_ptr() as isize) - (helper as *const () as isize);
/// assert!(i32::try_from(distance).is_ok());
/// assert_eq!(pool.name(), "jit");
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "this makes no pool before `build`"]
#[doc(alias = "execbuf_pool_options")]
pub struct ExecPoolBuilder {
    placement: Placement,
    reach: usize,
    name: Option<Box<[u8]>>,
    backends: u32,
    protection_key: bool,
    not_inherited: bool,
}

impl ExecPoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            placement: Placement::default(),
            reach: 0,
            name: None,
            backends: 0,
            protection_key: false,
            not_inherited: false,
        }
    }

    /// Places all code within 2 GiB of this address, so that 32-bit relative calls reach the address from any byte of
    /// the code, and any byte of the code from the address. Short for a [`placement`](Self::placement) of
    /// [`Placement::near`].
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn near(self, address: *const u8) -> Self {
        self.placement(Placement::near(address))
    }

    /// Sets the addresses that the code may have.
    ///
    /// # Examples
    ///
    /// See [`Placement`].
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Places all code of the pool within this many bytes, so that every piece of code reaches every other one by a
    /// branch. Give at least the size of all code. The pool keeps its range until all of its code is freed. 0 sets no
    /// limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), execbuf::Error> {
    /// use execbuf::ExecPool;
    ///
    /// let pool = ExecPool::builder().reach(128 << 20).build()?;
    /// let one = pool.publish(&[0xc3])?; // x86: ret
    /// let other = pool.publish(&vec![0xc3; 1 << 20])?;
    /// assert!(one.as_ptr().addr().abs_diff(other.as_ptr().addr()) < 128 << 20);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reach(mut self, bytes: usize) -> Self {
        self.reach = bytes;
        self
    }

    /// Sets the name of the pool: at most 63 bytes, without a zero byte. The default is `execbuf`. On Linux, the name is
    /// also that of the pool's memfds in `/proc/self/maps`.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.as_bytes().into());
        self
    }

    /// Restricts the pool to these backends, for regions and for dedicated mappings, of those that the process may use
    /// (see [`set_backends`](crate::set_backends)). An empty slice allows all, which is the default. Restrict a pool if
    /// tools must see its code:
    ///
    /// - Debuggers such as gdb set breakpoints only in private memory: [`Backend::Flip`]. On Linux such a pool has no
    ///   regions: each buffer has a dedicated mapping, as from [`ExecBuffer::new`](crate::ExecBuffer::new).
    /// - perf applies `/tmp/perf-PID.map` to anonymous memory only: [`Backend::Flip`] and [`Backend::Alias`].
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{Backend, ExecPool};
    ///
    /// let debugged = std::env::var_os("DEBUG_JIT").is_some();
    /// let backends: &[Backend] = if debugged { &[Backend::Flip, Backend::MapJit] } else { &[] };
    /// let pool = ExecPool::builder().backends(backends).build()?;
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn backends(mut self, backends: &[Backend]) -> Self {
        self.backends = set(backends);
        self
    }

    /// Guards the writable mappings of the pool with a protection key of the processor: a thread can access them only
    /// while it is in a function that writes to the pool. Every other access crashes, also one of another thread at the
    /// same time. The default is `false`.
    ///
    /// This requires x86-64 Linux 4.9 and a processor with protection keys. All pools share one key. Publishing and
    /// dropping a small function takes about 100 ns more, of which [`ExecPool::publish_batch`] saves most. The C header
    /// says what keys protect against, and how they concern signal handlers and programs that use keys of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ErrorKind, ExecPool};
    ///
    /// match ExecPool::builder().protection_key(true).build() {
    ///     Ok(pool) => assert_eq!(pool.publish(&[0xc3])?.len(), 1), // x86: ret
    ///     Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported), // never a pool without the key
    /// }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn protection_key(mut self, wanted: bool) -> Self {
        self.protection_key = wanted;
        self
    }

    /// Keeps the code of the pool from the children of a fork: a child can neither read nor call what was published
    /// before. There, buffers of that code can only be dropped; [`ExecBuffer::rewrite`](crate::ExecBuffer::rewrite)
    /// fails with [`NotInherited`](crate::ErrorKind::NotInherited). What the child publishes in the pool is its own. The
    /// default is `false`.
    ///
    /// In a child, calling a function of the pool that was published before the fork raises a fault, as would a call of
    /// code that was dropped. A fork is `unsafe` for this reason, among others.
    ///
    /// # Examples
    ///
    /// ```
    /// let secret = execbuf::ExecPool::builder().not_inherited(true).build()?;
    /// assert_eq!(secret.publish(&[0xc3])?.len(), 1); // x86: ret
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn not_inherited(mut self, wanted: bool) -> Self {
        self.not_inherited = wanted;
        self
    }

    /// Creates the pool.
    ///
    /// # Errors
    ///
    /// The errors of [`ExecPool::new`], and:
    ///
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): the name is longer than 63 bytes.
    /// - [`ZeroByte`](crate::ErrorKind::ZeroByte): the name contains a zero byte.
    /// - [`TooFar`](crate::ErrorKind::TooFar): no address satisfies all conditions of the placement.
    /// - [`Null`](crate::ErrorKind::Null): the placement has a distance, but no address.
    /// - [`Backends`](crate::ErrorKind::Backends): none of the backends may be used here.
    /// - [`Unsupported`](crate::ErrorKind::Unsupported): there is no protection key, or the system cannot keep code from
    ///   children. The error names `pkey_alloc`, `protection_key` or `not_inherited`.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[doc(alias = "execbuf_pool_new")]
    pub fn build(self) -> Result<ExecPool, Error> {
        let name = self.name.map(CString::new).transpose().map_err(|_| Error::zero_byte("name"))?;
        let options = ffi::execbuf_pool_options {
            size: mem::size_of::<ffi::execbuf_pool_options>(),
            placement: self.placement.to_raw(),
            reach: self.reach,
            name: name.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
            backends: self.backends,
            protection_key: u32::from(self.protection_key),
            not_inherited: u32::from(self.not_inherited),
            reserved: 0,
        };
        let mut pool = ptr::null_mut();
        // SAFETY: `pool` and the report are writable, and the options and their name exist during the call.
        check(|error| unsafe { ffi::execbuf_pool_new(&raw mut pool, &raw const options, error) })?;
        // SAFETY: The pool is new, and nobody else has it.
        Ok(unsafe { ExecPool::from_raw(pool) })
    }
}
