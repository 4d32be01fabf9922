//! Constants that are written in place.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::slice;

use super::{Constants, Raw};
use crate::error::{Error, PublishError, check};
use crate::ffi;

/// Memory for constants that contain addresses: of code, or of each other. It is a slice of bytes, which are zero at
/// first. [`ExecPool::stage_constants`](crate::ExecPool::stage_constants) makes it, and [`publish`](Self::publish) turns it
/// into [`Constants`]. Dropping it gives the memory back.
///
/// It is `Send` and `Sync`, like a `Box<[u8]>`. In a child of a fork that does not inherit the memory
/// ([`not_inherited`](crate::ExecPoolBuilder::not_inherited)), using the bytes ends the process.
///
/// # Examples
///
/// A table of pointers to functions:
///
/// ```
/// use execbuf::ExecPool;
///
/// let pool = ExecPool::new()?;
/// let mut table = pool.stage_constants(16, 8)?; // code that uses it can already know its address
/// let functions = [pool.publish(&[0xc3])?, pool.publish(&[0x90, 0xc3])?]; // x86: ret; nop, ret
/// for (entry, function) in table.chunks_exact_mut(8).zip(&functions) {
///     entry.copy_from_slice(&(function.as_ptr() as u64).to_ne_bytes());
/// }
/// let table = table.publish()?; // nobody can change it any more
/// assert_eq!(table.as_ref()[..8], (functions[0].as_ptr() as u64).to_ne_bytes());
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use]
#[doc(alias = "execbuf_data")]
pub struct StagedConstants(Raw);

impl StagedConstants {
    /// Returns the constants that a C call makes.
    ///
    /// # Safety
    ///
    /// As [`Raw::made_by`]; the call stages constants.
    pub(crate) unsafe fn made_by(
        call: impl FnOnce(*mut ffi::execbuf_data, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error> {
        // SAFETY: The caller guarantees it.
        unsafe { Raw::made_by(call) }.map(Self)
    }

    /// Returns the address of the first byte, which the published constants will have, too.
    #[must_use]
    pub fn address(&self) -> usize {
        self.0.0.address.addr()
    }

    /// Makes the constants read-only. This makes one system call.
    ///
    /// # Errors
    ///
    /// The error returns the constants, which are still staged.
    ///
    /// - [`NoMemory`](crate::ErrorKind::NoMemory): the system has no memory left for that.
    /// - [`Denied`](crate::ErrorKind::Denied): the system refused the call.
    /// - [`NotInherited`](crate::ErrorKind::NotInherited): this process is a child of a fork, and the pool keeps its memory
    ///   from children.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[doc(alias = "execbuf_publish_constants")]
    pub fn publish(self) -> Result<Constants, PublishError<Self>> {
        // SAFETY: The handle is live and the report writable. Nobody writes the bytes: `self` is not borrowed.
        if let Err(error) = check(|error| unsafe { ffi::execbuf_publish_constants(&raw const self.0.0, error) }) {
            return Err(PublishError::new(self, error));
        }
        let staged = ManuallyDrop::new(self);
        // SAFETY: The value is read once, since it is not dropped.
        Ok(Constants(unsafe { ptr::read(&raw const staged.0) }))
    }
}

impl Deref for StagedConstants {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: The bytes are readable and initialised, with zeros at first, as long as `self` lives, and do not change
        // while it is borrowed.
        unsafe { slice::from_raw_parts(self.0.0.address.cast(), self.0.0.length) }
    }
}

impl DerefMut for StagedConstants {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above, and they are writable. `self` is borrowed mutably, so nothing else uses them.
        unsafe { slice::from_raw_parts_mut(self.0.0.address.cast(), self.0.0.length) }
    }
}

/// Formats the address and the length, never the bytes.
impl fmt::Debug for StagedConstants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedConstants")
            .field("address", &self.0.0.address)
            .field("len", &self.0.0.length)
            .finish()
    }
}
