//! Constants and data in pools.

use super::ExecPool;
use crate::data::{Constants, Data, StagedConstants};
use crate::error::Error;
use crate::ffi;

impl ExecPool {
    /// Copies constants into read-only memory near the pool's code: at the places where its code may lie, and within its
    /// [reach](crate::ExecPoolBuilder::reach). The address is a multiple of `align`.
    ///
    /// This makes two system calls. For many constants, make one piece of all of them.
    ///
    /// # Errors
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): `bytes` is empty.
    /// - [`Alignment`](crate::ErrorKind::Alignment): `align` is not a power of two, or exceeds the size of a page.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory): no memory, address space or mappings are left.
    /// - [`TooFar`](crate::ErrorKind::TooFar): no free range is where the pool's code may lie.
    /// - [`Denied`](crate::ErrorKind::Denied): the system refused a call.
    /// - [`ReadImpliesExec`](crate::ErrorKind::ReadImpliesExec): all readable memory would be executable.
    ///
    /// # Examples
    ///
    /// See [`Constants`].
    #[doc(alias = "execbuf_pool_constants")]
    pub fn constants(&self, bytes: &[u8], align: usize) -> Result<Constants, Error> {
        let (first, length) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: The pool exists, the handle and the report are writable, and `bytes` is readable.
        unsafe {
            Constants::made_by(|raw, error| {
                ffi::execbuf_pool_constants(self.as_raw(), raw, first, length, align, error)
            })
        }
    }

    /// Makes memory near the pool's code for constants that contain addresses: [`StagedConstants`], which are written in
    /// place and then published.
    ///
    /// Each piece has a mapping of its own, so for many constants, make one piece of all of them.
    ///
    /// # Errors
    ///
    /// The errors of [`data`](Self::data).
    ///
    /// # Examples
    ///
    /// See [`StagedConstants`].
    #[doc(alias = "execbuf_pool_stage_constants")]
    pub fn stage_constants(&self, size: usize, align: usize) -> Result<StagedConstants, Error> {
        // SAFETY: The pool exists, and the handle and the report are writable.
        unsafe {
            StagedConstants::made_by(|raw, error| {
                ffi::execbuf_pool_stage_constants(self.as_raw(), raw, size, align, error)
            })
        }
    }

    /// Makes writable data near the pool's code, as [`constants`](Self::constants) does. They are zero. This makes no
    /// system call unless the pool needs memory. [`stats`](Self::stats) counts neither constants nor data.
    ///
    /// # Errors
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): `size` is 0.
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): `size` exceeds the largest that is supported.
    /// - The other errors of [`constants`](Self::constants).
    ///
    /// # Examples
    ///
    /// See [`Data`].
    #[doc(alias = "execbuf_pool_data")]
    pub fn data(&self, size: usize, align: usize) -> Result<Data, Error> {
        // SAFETY: The pool exists, and the handle and the report are writable.
        unsafe { Data::made_by(|raw, error| ffi::execbuf_pool_data(self.as_raw(), raw, size, align, error)) }
    }
}
