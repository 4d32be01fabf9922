//! The error type of the crate.

use alloc::boxed::Box;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::mem::MaybeUninit;
use core::{ptr, str};

use crate::backend::{Attempt, nonzero, static_str};
use crate::ffi::{self, execbuf_status};

mod attempts;
#[cfg(feature = "std")]
mod io;
mod kind;
mod publish;

use attempts::Attempts;
pub use kind::ErrorKind;
pub(crate) use kind::kind;
pub use publish::PublishError;

/// An error returned by a closure of the caller.
pub(crate) type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// The error of a failed operation.
///
/// `Display` writes what is wrong and what to do about it, the argument or system call at fault, and the failed
/// attempts. It does not write the error of a closure, which is the [source](core::error::Error::source).
///
/// # Examples
///
/// ```
/// use execbuf::{ErrorKind, ExecBuffer};
///
/// let error = ExecBuffer::new(&[]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Empty);
/// assert!(error.to_string().ends_with("(length)"));
/// ```
#[doc(alias = "execbuf_error")]
#[doc(alias = "execbuf_error_describe")]
pub struct Error(Repr);

/// The bit of a report's position that says that the rest is an index.
const INDEX: u32 = 1 << 31;

enum Repr {
    /// A report of the C library whose status is not `EXECBUF_OK`. Fields of a struct could not share a word with the tag.
    Report { status: execbuf_status, os_error: i32, position: u32, culprit: *const c_char, attempts: Attempts },
    /// A report whose status is `EXECBUF_E_TYPE`, about a member of a type. It has a path in place of attempts.
    Member { position: u32, culprit: *const c_char, path: [u8; 8] },
    /// The error that the closure of `assemble` returned.
    Assemble(BoxError),
    /// An error that only Rust code detects: its kind and its culprit.
    Rust(ErrorKind, Option<&'static str>),
}

// SAFETY: The pointers in a report point to static strings.
unsafe impl Send for Error {}
// SAFETY: As above.
unsafe impl Sync for Error {}

impl Error {
    /// Returns the kind of the error.
    ///
    /// # Examples
    ///
    /// See [`ErrorKind`].
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Repr::Report { status, .. } => kind(*status),
            Repr::Member { .. } => kind(execbuf_status::EXECBUF_E_TYPE),
            Repr::Assemble(_) => ErrorKind::AssembleFailed,
            Repr::Rust(kind, _) => *kind,
        }
    }

    /// Returns the error code of the failed system call, if there was one: an `errno` value, or on Windows the value of
    /// `GetLastError`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(execbuf::ExecBuffer::new(&[]).unwrap_err().os_error(), None); // no system call was made
    /// ```
    #[must_use]
    pub fn os_error(&self) -> Option<i32> {
        match &self.0 {
            Repr::Report { os_error, .. } => nonzero(*os_error),
            Repr::Member { .. } | Repr::Assemble(_) | Repr::Rust(..) => None,
        }
    }

    /// Returns the name of the argument or the system call at fault, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = execbuf::ExecPool::builder().name("a\0b").build().unwrap_err();
    /// assert_eq!((error.kind(), error.culprit()), (execbuf::ErrorKind::ZeroByte, Some("name")));
    /// ```
    #[must_use]
    pub fn culprit(&self) -> Option<&'static str> {
        match &self.0 {
            // SAFETY: The strings of a report are static.
            Repr::Report { culprit, .. } | Repr::Member { culprit, .. } => unsafe { static_str(*culprit) },
            Repr::Assemble(_) => None,
            Repr::Rust(_, culprit) => *culprit,
        }
    }

    /// Returns the position of the fault. In a [`Signature`](crate::Signature): a byte offset for [`ErrorKind::Syntax`],
    /// the number of an argument for [`ErrorKind::Signature`]. In an unwind table: a byte offset, for
    /// [`ErrorKind::Unwind`]. In the lines of a description: the index of a line. Of functions that do many things at once,
    /// such as [`Reserved::publish_all`](crate::Reserved::publish_all): the index of the one at fault.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = "d(p?".parse::<execbuf::Signature>().unwrap_err();
    /// assert_eq!(error.position(), Some(4));
    /// ```
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        match &self.0 {
            Repr::Report { position, .. }
                if position & INDEX != 0
                    || matches!(
                        self.kind(),
                        ErrorKind::Syntax | ErrorKind::Signature | ErrorKind::Unwind | ErrorKind::Lines
                    )
                    || self.culprit() == Some("file") =>
            {
                usize::try_from(position & !INDEX).ok()
            }
            Repr::Member { position, .. } => usize::try_from(*position).ok(),
            _ => None,
        }
    }

    /// Returns the failed attempts to make memory executable, in the order in which they were made. If no memory is left
    /// for the list of attempts, it is empty, and the rest of the error is as usual.
    ///
    /// # Examples
    ///
    /// See [`Attempt`].
    pub fn attempts(&self) -> impl Iterator<Item = Attempt> + '_ {
        let attempts = match &self.0 {
            Repr::Report { attempts, .. } => attempts.as_slice(),
            Repr::Member { .. } | Repr::Assemble(_) | Repr::Rust(..) => &[],
        };
        // SAFETY: The strings of a report are static.
        unsafe { Attempt::all(attempts) }
    }

    /// Converts an error report of the C API, for use with [`ffi`].
    ///
    /// # Safety
    ///
    /// A function of [`ffi`] failed and filled the report.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::mem::MaybeUninit;
    /// use core::ptr;
    /// use execbuf::{Error, ErrorKind, ffi};
    ///
    /// let mut buffer = ffi::execbuf { entry: ptr::null(), length: 0, id: 0 };
    /// let mut report = MaybeUninit::uninit();
    /// // SAFETY: The handle and the report are writable. The function fails, and fills the report.
    /// let error = unsafe {
    ///     ffi::execbuf_reserve(&raw mut buffer, 0, report.as_mut_ptr());
    ///     Error::from_raw(report.assume_init())
    /// };
    /// assert_eq!((error.kind(), error.culprit()), (ErrorKind::Empty, Some("capacity")));
    /// ```
    #[must_use]
    #[cold]
    pub unsafe fn from_raw(report: ffi::execbuf_error) -> Self {
        // SAFETY: The caller guarantees it.
        unsafe { Self::copy_of(&report) }
    }

    /// Does the same, with the same condition, without a second copy of the report on the stack.
    #[cold]
    #[inline(never)]
    unsafe fn copy_of(report: &ffi::execbuf_error) -> Self {
        let ffi::execbuf_error { status, os_error, culprit, position, path, .. } = *report;
        if path[0] != 0 {
            return Self(Repr::Member { position, culprit, path });
        }
        Self(Repr::Report { status, os_error, position, culprit, attempts: Attempts::of(report) })
    }

    pub(crate) fn no_memory(culprit: &'static CStr) -> Self {
        Self::of(execbuf_status::EXECBUF_E_NO_MEMORY, culprit)
    }

    pub(crate) fn out_of_bounds(culprit: &'static CStr) -> Self {
        Self::of(execbuf_status::EXECBUF_E_OUT_OF_BOUNDS, culprit)
    }

    pub(crate) fn null(culprit: &'static CStr) -> Self {
        Self::of(execbuf_status::EXECBUF_E_NULL, culprit)
    }

    pub(crate) fn mismatch(what: &'static str) -> Self {
        Self(Repr::Rust(ErrorKind::Mismatch, Some(what)))
    }

    pub(crate) fn zero_byte(culprit: &'static str) -> Self {
        Self(Repr::Rust(ErrorKind::ZeroByte, Some(culprit)))
    }

    pub(crate) fn unsettled() -> Self {
        Self(Repr::Rust(ErrorKind::Unsettled, None))
    }

    pub(crate) fn assemble_failed(source: BoxError) -> Self {
        Self(Repr::Assemble(source))
    }

    /// Returns an error detected by Rust code, in the form of a C report, so that C writes its message.
    fn of(status: execbuf_status, culprit: &'static CStr) -> Self {
        Self(Repr::Report {
            status,
            os_error: 0,
            position: 0,
            culprit: culprit.as_ptr(),
            attempts: Attempts::NONE,
        })
    }
}

/// Makes a C call, and converts its report if it fails. The call must fill the report when it fails.
#[inline]
pub(crate) fn check(call: impl FnOnce(*mut ffi::execbuf_error) -> execbuf_status) -> Result<(), Error> {
    let mut report = MaybeUninit::uninit();
    if call(report.as_mut_ptr()) == execbuf_status::EXECBUF_OK {
        return Ok(());
    }
    // SAFETY: Every function of the C library that takes a report fills it when it fails.
    Err(unsafe { Error::copy_of(report.assume_init_ref()) })
}

/// As [`check`], for a call that does many things: the position in its report is the index of the one at fault.
pub(crate) fn check_batch(call: impl FnOnce(*mut ffi::execbuf_error) -> execbuf_status) -> Result<(), Error> {
    check(call).map_err(|mut error| {
        if let Repr::Report { position, .. } = &mut error.0 {
            *position |= INDEX;
        }
        error
    })
}

/// `EXECBUF_ERROR_INIT`.
const EMPTY_REPORT: ffi::execbuf_error = ffi::execbuf_error {
    status: execbuf_status::EXECBUF_OK,
    os_error: 0,
    culprit: ptr::null(),
    position: 0,
    attempt_count: 0,
    attempts: attempts::EMPTY,
    path: [0; 8],
    reserved: [0; 2],
};

/// Writes the text of a report.
fn write_report(f: &mut fmt::Formatter<'_>, report: &ffi::execbuf_error) -> fmt::Result {
    let mut text = [0_u8; 1024];
    // SAFETY: The report is initialised, and `text` is writable for the given length.
    let length =
        unsafe { ffi::execbuf_error_describe(ptr::from_ref(report), text.as_mut_ptr().cast(), text.len()) };
    let kept = &text[..length.min(text.len() - 1)];
    f.write_str(str::from_utf8(kept).unwrap_or("execbuf failed"))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Report { status, os_error, position, culprit, attempts } => {
                let (attempts, attempt_count) = attempts.to_raw();
                let report = ffi::execbuf_error {
                    status: *status,
                    os_error: *os_error,
                    culprit: *culprit,
                    position: position & !INDEX,
                    attempt_count,
                    attempts,
                    ..EMPTY_REPORT
                };
                write_report(f, &report)
            }
            Repr::Member { position, culprit, path } => {
                let (status, position) = (execbuf_status::EXECBUF_E_TYPE, *position);
                write_report(
                    f,
                    &ffi::execbuf_error { status, culprit: *culprit, position, path: *path, ..EMPTY_REPORT },
                )
            }
            Repr::Assemble(_) => f.write_str("the closure that assembles the code failed"),
            Repr::Rust(kind, culprit) => {
                let culprit = culprit.unwrap_or_default();
                match kind {
                    ErrorKind::Mismatch if culprit == "index" => {
                        f.write_str("the signature has no argument with this number (index)")
                    }
                    ErrorKind::Mismatch if culprit == "argument" || culprit == "result" => {
                        write!(f, "the type or the size is not that of the signature's {culprit}")
                    }
                    ErrorKind::Mismatch => {
                        write!(f, "the function type is not the thunk's; give one with the same {culprit}")
                    }
                    ErrorKind::ZeroByte => write!(f, "the text contains a zero byte; remove it ({culprit})"),
                    _ => f.write_str(
                        "the code was longer at each address; make its length depend less on the address",
                    ),
                }
            }
        }
    }
}

/// Formats the kind, then the text of `Display` and the error that the closure of `assemble` returned.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self}", self.kind())?;
        if let Repr::Assemble(source) = &self.0 {
            write!(f, ": {source}")?;
        }
        f.write_str(")")
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.0 {
            Repr::Report { .. } | Repr::Member { .. } | Repr::Rust(..) => None,
            Repr::Assemble(source) => Some(&**source),
        }
    }
}

#[cfg(test)]
mod tests;
