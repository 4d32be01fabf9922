//! The choice of backends for the process.

use crate::backend::{Backend, set};
use crate::error::{Error, check};
use crate::ffi;

/// Chooses which backends the process may use. The others are never tried. An empty slice allows all.
///
/// This is for sandboxes that kill the process for a system call by which a backend fails, instead of refusing it. The
/// choice must be made before the first buffer or pool. Without this call, the environment variable `EXECBUF_BACKENDS`
/// is read then: names as `Display` writes them, separated by commas, such as `memfd,alias`. Programs that run with
/// rights that their user lacks ignore it. If it is wrong, functions that make buffers and pools return
/// [`Backends`](crate::ErrorKind::Backends), and [`Error::culprit`] is `EXECBUF_BACKENDS`. No thread may change the
/// environment during the first use. [`probe()`](crate::probe()) is no use.
///
/// # Errors
///
/// - [`Backends`](crate::ErrorKind::Backends): this platform has none of these backends, or a buffer or pool was made
///   before.
/// - [`Unsupported`](crate::ErrorKind::Unsupported): see there.
///
/// # Examples
///
/// ```standalone_crate
/// use execbuf::{Backend, ExecBuffer};
///
/// execbuf::set_backends(&[Backend::Flip, Backend::MapJit])?;
/// let buffer = ExecBuffer::new(&[0xc3])?;
/// assert!(execbuf::set_backends(&[]).is_err()); // too late
/// # Ok::<(), execbuf::Error>(())
/// ```
#[doc(alias = "execbuf_set_backends")]
pub fn set_backends(backends: &[Backend]) -> Result<(), Error> {
    // SAFETY: The report is writable.
    check(|error| unsafe { ffi::execbuf_set_backends(set(backends), error) })
}
