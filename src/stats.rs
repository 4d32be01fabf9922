//! Statistics of a pool, and the places of its code.

use alloc::vec::Vec;

use crate::backend::{Attempt, Backend, backend};
use crate::ffi;

/// The address and length of a piece of code. [`ExecPool::lookup`](crate::ExecPool::lookup) returns it.
///
/// # Examples
///
/// See [`ExecPool::lookup`](crate::ExecPool::lookup).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "execbuf_place")]
pub struct Place {
    entry: *const u8,
    len: usize,
}

// SAFETY: The address is only a number. Reading the code at it requires `unsafe`.
unsafe impl Send for Place {}
// SAFETY: As above.
unsafe impl Sync for Place {}

#[expect(clippy::len_without_is_empty, reason = "there is no empty code")]
impl Place {
    pub(crate) fn from_raw(raw: &ffi::execbuf_place) -> Self {
        Self { entry: raw.entry.cast(), len: raw.length }
    }

    /// Returns the address of the first byte of the code.
    ///
    /// # Examples
    ///
    /// See [`ExecPool::lookup`](crate::ExecPool::lookup).
    #[must_use]
    pub fn entry(&self) -> *const u8 {
        self.entry
    }

    /// Returns the length of the code in bytes.
    ///
    /// # Examples
    ///
    /// See [`ExecPool::lookup`](crate::ExecPool::lookup).
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }
}

/// Statistics of an [`ExecPool`](crate::ExecPool). Sizes are in bytes.
///
/// # Examples
///
/// ```
/// let pool = execbuf::ExecPool::new()?;
/// let buffer = pool.publish(&[0xc3; 100])?;
/// let stats = pool.stats();
/// assert_eq!((stats.live(), pool.code_bytes()), (1, 100));
/// assert!(stats.mapped() >= stats.resident() && stats.resident() >= pool.code_bytes());
/// match stats.backend() {
///     Some(backend) => println!("{} regions, made by {backend}", stats.regions()),
///     None => println!("{} dedicated mappings: {:?}", stats.dedicated(), stats.attempts()),
/// }
/// println!("{} bytes of bookkeeping, {} shared regions", stats.bookkeeping(), stats.frozen());
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "execbuf_pool_stats")]
pub struct PoolStats {
    live: usize,
    mapped: usize,
    resident: usize,
    bookkeeping: usize,
    regions: usize,
    frozen: usize,
    dedicated: usize,
    backend: Option<Backend>,
    attempts: Vec<Attempt>,
}

macro_rules! getters {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty;)*) => {$(
        $(#[doc = $doc])+
        ///
        /// # Examples
        ///
        /// See the [type](Self).
        #[must_use]
        pub fn $name(&self) -> $type {
            self.$name
        }
    )*};
}

impl PoolStats {
    /// # Safety
    ///
    /// `execbuf_pool_get_stats` has filled the statistics.
    pub(crate) unsafe fn from_raw(raw: ffi::execbuf_pool_stats) -> Self {
        let why = raw.why.attempts.get(..raw.why.attempt_count as usize).unwrap_or_default();
        Self {
            live: raw.live,
            mapped: raw.mapped,
            resident: raw.resident,
            bookkeeping: raw.bookkeeping,
            regions: raw.regions,
            frozen: raw.frozen,
            dedicated: raw.dedicated,
            backend: backend(raw.backend),
            // SAFETY: The function has filled the report, too. Its strings are static.
            attempts: unsafe { Attempt::all(why) }.collect(),
        }
    }

    getters! {
        /// Returns the number of live buffers, which are published or reserved and not freed. It includes the adapters
        /// that thunks share.
        live: usize;
        /// Returns the size of all regions and dedicated mappings. A region counts once, although it is mapped twice.
        mapped: usize;
        /// Returns the size of the memory behind `mapped` that was ever touched, whether it is in use or free.
        resident: usize;
        /// Returns the size of the pool's own data structures.
        bookkeeping: usize;
        /// Returns the number of regions.
        regions: usize;
        /// Returns the number of regions that another process shares since a fork, as far as the system tells.
        frozen: usize;
        /// Returns the number of buffers with a dedicated mapping.
        dedicated: usize;
        /// Returns the backend of the newest region, or `None` if the pool has never had a region.
        backend: Option<Backend>;
    }

    /// Returns the attempts that failed when the pool last created a region. They show why an earlier backend in the
    /// order was not used, or why there is no region.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }
}
