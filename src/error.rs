//! What can go wrong, and what was tried.

use alloc::boxed::Box;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr;
use core::str;

use crate::ffi::{self, execbuf_backend, execbuf_status};

/// The kind of an [`Error`].
///
/// # Examples
///
/// ```
/// use execbuf::{ErrorKind, ExecBuffer};
///
/// let error = ExecBuffer::build(16, |_, _| Ok(17)).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Capacity);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The code is empty.
    Empty,
    /// The length is larger than any buffer can be.
    TooLarge,
    /// The offset or the end lies outside the buffer.
    OutOfBounds,
    /// The closure of [`build`](crate::ExecBuffer::build) claims more bytes than it had room for.
    Capacity,
    /// The closure of [`build`](crate::ExecBuffer::build) returned an error.
    BuildFailed,
    /// No memory, address space or mappings left.
    NoMemory,
    /// The system refuses what executable memory takes, in every way there is; see [`Error::attempts`], or
    /// [`Error::culprit`] if there are none.
    Denied,
    /// The process has the `READ_IMPLIES_EXEC` personality, in which all memory is executable.
    ReadImpliesExec,
    /// execbuf does not know how to publish code on this platform.
    Unsupported,
    /// A rewrite failed and the old code could not be made executable again.
    Lost,
    /// The code is a pool's and was live during a `fork`, so both processes share its memory and neither may change it.
    Frozen,
    /// There is no address space left within 2 GiB of the address that the pool is to be near to.
    TooFar,
    /// The text of a [`Signature`](crate::Signature) is wrong; [`Error::position`] is the offset.
    Syntax,
    /// A [`Signature`](crate::Signature) has a type that can't cross calling conventions, [`Error::position`] being the
    /// argument's number, from 1 on, or 0 for the result; or it has too many arguments.
    Signature,
    /// The calling convention is not one that a thunk can cross from or to on this machine.
    Abi,
    /// The function type is not that of the [`DynThunk`](crate::dynamic::DynThunk).
    Mismatch,
    /// The address of a function is null.
    Null,
    /// A handle was altered, or freed through [`ffi`], behind the back of the safe types.
    InvalidHandle,
}

/// A way of making code executable. `Display` writes its short name.
///
/// # Examples
///
/// ```
/// assert_eq!(execbuf::Backend::Memfd.to_string(), "memfd");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The pages' protection is changed: `mprotect` or `VirtualProtect`.
    Flip,
    /// Linux: the code lies in a memfd, sealed and mapped.
    Memfd,
    /// Linux: the pages are filled through a second mapping that `mremap` makes.
    Alias,
    /// macOS on AArch64: `MAP_JIT` with the per-thread write protection.
    MapJit,
    /// Windows, for pools: a section with an executable and a writable view.
    Section,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = match self {
            Self::Flip => execbuf_backend::EXECBUF_BACKEND_FLIP,
            Self::Memfd => execbuf_backend::EXECBUF_BACKEND_MEMFD,
            Self::Alias => execbuf_backend::EXECBUF_BACKEND_ALIAS,
            Self::MapJit => execbuf_backend::EXECBUF_BACKEND_MAP_JIT,
            Self::Section => execbuf_backend::EXECBUF_BACKEND_SECTION,
        };
        // SAFETY: The function takes any value.
        let name = unsafe { ffi::execbuf_backend_name(backend) };
        // SAFETY: It returns a string that lives for ever.
        f.write_str(unsafe { static_str(name) }.unwrap_or("?"))
    }
}

/// One failed attempt to make code executable.
///
/// # Examples
///
/// ```
/// fn report(error: &execbuf::Error) {
///     for attempt in error.attempts() {
///         eprintln!("{}: {} failed ({:?})", attempt.backend(), attempt.call(), attempt.os_error());
///     }
/// }
/// # report(&execbuf::ExecBuffer::new(&[]).unwrap_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    backend: Backend,
    call: &'static str,
    os_error: Option<i32>,
}

impl Attempt {
    /// The way that was tried.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The system call that failed, or the check that spoke against trying.
    #[must_use]
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// The system's code for the failure: an `errno` value, on Windows that of `GetLastError`.
    #[must_use]
    pub fn os_error(&self) -> Option<i32> {
        self.os_error
    }
}

/// What went wrong.
///
/// `Display` says what it means, what to do, which argument or system call was at fault, and lists the attempts.
///
/// # Examples
///
/// ```
/// use execbuf::{ErrorKind, ExecBuffer};
///
/// let error = ExecBuffer::new(&[]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Empty);
/// assert_eq!(error.to_string(), "the code is empty; give at least one byte (length)");
/// ```
pub struct Error(Repr);

enum Repr {
    /// A report of the C library, which has a status other than `EXECBUF_OK`.
    Report(ffi::execbuf_error),
    /// What the closure of `build` returned.
    Build(Box<dyn core::error::Error + Send + Sync>),
    /// In what a function type differs from a thunk's.
    Mismatch(&'static str),
}

// SAFETY: The pointers in a report are to strings that live for ever and never change.
unsafe impl Send for Error {}
// SAFETY: As above.
unsafe impl Sync for Error {}

impl Error {
    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Repr::Report(report) => kind(report.status),
            Repr::Build(_) => ErrorKind::BuildFailed,
            Repr::Mismatch(_) => ErrorKind::Mismatch,
        }
    }

    /// The system's code for the failure, if a system call failed: an `errno` value, on Windows that of
    /// `GetLastError`.
    #[must_use]
    pub fn os_error(&self) -> Option<i32> {
        match &self.0 {
            Repr::Report(report) => nonzero(report.os_error),
            Repr::Build(_) | Repr::Mismatch(_) => None,
        }
    }

    /// The argument or the system call at fault, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = execbuf::ExecBuffer::build(0, |_, _| Ok(0)).unwrap_err();
    /// assert_eq!((error.culprit(), error.os_error()), (Some("capacity"), None));
    /// ```
    #[must_use]
    pub fn culprit(&self) -> Option<&'static str> {
        match &self.0 {
            // SAFETY: The report's strings live for ever.
            Repr::Report(report) => unsafe { static_str(report.culprit) },
            Repr::Build(_) => None,
            Repr::Mismatch(what) => Some(what),
        }
    }

    /// Where in a [`Signature`](crate::Signature) the fault is; see [`ErrorKind::Syntax`] and [`ErrorKind::Signature`].
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
            Repr::Report(report) if matches!(self.kind(), ErrorKind::Syntax | ErrorKind::Signature) => {
                usize::try_from(report.position).ok()
            }
            _ => None,
        }
    }

    /// Every way of making the code executable that was tried, in that order, with the reason why it failed.
    pub fn attempts(&self) -> impl Iterator<Item = Attempt> + '_ {
        let attempts = match &self.0 {
            Repr::Report(report) => report.attempts.get(..report.attempt_count as usize).unwrap_or_default(),
            Repr::Build(_) | Repr::Mismatch(_) => &[],
        };
        attempts.iter().filter_map(|attempt| {
            Some(Attempt {
                backend: backend(attempt.backend)?,
                // SAFETY: The report's strings live for ever.
                call: unsafe { static_str(attempt.call) }?,
                os_error: nonzero(attempt.os_error),
            })
        })
    }

    /// An error of the C library.
    #[cold]
    pub(crate) fn report(report: ffi::execbuf_error) -> Self {
        Self(Repr::Report(report))
    }

    pub(crate) fn no_memory(culprit: &'static CStr) -> Self {
        Self::of(execbuf_status::EXECBUF_E_NO_MEMORY, culprit)
    }

    pub(crate) fn too_large(culprit: &'static CStr) -> Self {
        Self::of(execbuf_status::EXECBUF_E_TOO_LARGE, culprit)
    }

    pub(crate) fn out_of_bounds(culprit: &'static CStr) -> Self {
        Self::of(execbuf_status::EXECBUF_E_OUT_OF_BOUNDS, culprit)
    }

    pub(crate) fn mismatch(what: &'static str) -> Self {
        Self(Repr::Mismatch(what))
    }

    pub(crate) fn null(culprit: &'static CStr) -> Self {
        Self::of(execbuf_status::EXECBUF_E_NULL, culprit)
    }

    pub(crate) fn build_failed(source: Box<dyn core::error::Error + Send + Sync>) -> Self {
        Self(Repr::Build(source))
    }

    /// An error that Rust code found, in the form of the C library's.
    fn of(status: execbuf_status, culprit: &'static CStr) -> Self {
        let attempt = ffi::execbuf_attempt {
            backend: execbuf_backend::EXECBUF_BACKEND_NONE,
            os_error: 0,
            call: ptr::null(),
        };
        Self(Repr::Report(ffi::execbuf_error {
            status,
            os_error: 0,
            culprit: culprit.as_ptr(),
            position: 0,
            attempt_count: 0,
            attempts: [attempt; ffi::EXECBUF_MAX_ATTEMPTS as usize],
        }))
    }
}

/// Makes a C call that fills a report, and turns a failure into an error. The call must fill the report if it fails.
#[inline]
pub(crate) fn check(call: impl FnOnce(*mut ffi::execbuf_error) -> execbuf_status) -> Result<(), Error> {
    let mut report = MaybeUninit::uninit();
    if call(report.as_mut_ptr()) == execbuf_status::EXECBUF_OK {
        return Ok(());
    }
    // SAFETY: Every function of the C library that takes a report fills it when it fails.
    Err(Error::report(unsafe { report.assume_init() }))
}

pub(crate) fn kind(status: execbuf_status) -> ErrorKind {
    match status {
        execbuf_status::EXECBUF_E_EMPTY => ErrorKind::Empty,
        execbuf_status::EXECBUF_E_TOO_LARGE => ErrorKind::TooLarge,
        execbuf_status::EXECBUF_E_OUT_OF_BOUNDS => ErrorKind::OutOfBounds,
        execbuf_status::EXECBUF_E_CAPACITY => ErrorKind::Capacity,
        execbuf_status::EXECBUF_E_NO_MEMORY => ErrorKind::NoMemory,
        execbuf_status::EXECBUF_E_DENIED => ErrorKind::Denied,
        execbuf_status::EXECBUF_E_READ_IMPLIES_EXEC => ErrorKind::ReadImpliesExec,
        execbuf_status::EXECBUF_E_UNSUPPORTED => ErrorKind::Unsupported,
        execbuf_status::EXECBUF_E_LOST => ErrorKind::Lost,
        execbuf_status::EXECBUF_E_FROZEN => ErrorKind::Frozen,
        execbuf_status::EXECBUF_E_TOO_FAR => ErrorKind::TooFar,
        execbuf_status::EXECBUF_E_SYNTAX => ErrorKind::Syntax,
        execbuf_status::EXECBUF_E_TYPE | execbuf_status::EXECBUF_E_ARGUMENTS => ErrorKind::Signature,
        execbuf_status::EXECBUF_E_ABI => ErrorKind::Abi,
        execbuf_status::EXECBUF_E_NULL => ErrorKind::Null,
        // STALE, NOT_PUBLISHED, PUBLISHED and THUNK: the safe types never make such calls.
        _ => ErrorKind::InvalidHandle,
    }
}

pub(crate) fn backend(backend: execbuf_backend) -> Option<Backend> {
    match backend {
        execbuf_backend::EXECBUF_BACKEND_FLIP => Some(Backend::Flip),
        execbuf_backend::EXECBUF_BACKEND_MEMFD => Some(Backend::Memfd),
        execbuf_backend::EXECBUF_BACKEND_ALIAS => Some(Backend::Alias),
        execbuf_backend::EXECBUF_BACKEND_MAP_JIT => Some(Backend::MapJit),
        execbuf_backend::EXECBUF_BACKEND_SECTION => Some(Backend::Section),
        _ => None,
    }
}

pub(crate) fn nonzero(code: i32) -> Option<i32> {
    (code != 0).then_some(code)
}

/// # Safety
///
/// `text` is null or a string that lives for ever.
pub(crate) unsafe fn static_str(text: *const c_char) -> Option<&'static str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: The caller says that it is a string that lives for ever.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Report(report) => {
                let mut text = [0_u8; 1024];
                // SAFETY: The report is initialised, and `text` has room for the length that is given.
                let length = unsafe {
                    ffi::execbuf_error_describe(&raw const *report, text.as_mut_ptr().cast(), text.len())
                };
                let kept = &text[..length.min(text.len() - 1)];
                f.write_str(str::from_utf8(kept).unwrap_or("execbuf failed"))
            }
            Repr::Build(source) => write!(f, "the closure that builds the code failed: {source}"),
            Repr::Mismatch(what) => {
                write!(f, "the function type is not the thunk's; give one with the same {what}")
            }
        }
    }
}

/// Shows the kind and what `Display` shows.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.kind())
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.0 {
            Repr::Report(_) | Repr::Mismatch(_) => None,
            Repr::Build(source) => Some(&**source),
        }
    }
}

#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NoMemory | ErrorKind::TooFar => std::io::ErrorKind::OutOfMemory,
            ErrorKind::Denied | ErrorKind::ReadImpliesExec => std::io::ErrorKind::PermissionDenied,
            ErrorKind::Unsupported => std::io::ErrorKind::Unsupported,
            ErrorKind::Empty
            | ErrorKind::TooLarge
            | ErrorKind::OutOfBounds
            | ErrorKind::Capacity
            | ErrorKind::Syntax
            | ErrorKind::Signature
            | ErrorKind::Abi
            | ErrorKind::Mismatch
            | ErrorKind::Null => std::io::ErrorKind::InvalidInput,
            ErrorKind::BuildFailed | ErrorKind::Lost | ErrorKind::Frozen | ErrorKind::InvalidHandle => {
                std::io::ErrorKind::Other
            }
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    /// An error as the C library reports it.
    fn reported(status: execbuf_status) -> Error {
        Error::of(status, c"somebody")
    }

    #[test]
    fn every_status_has_its_kind() {
        use execbuf_status as s;
        let kinds = [
            (s::EXECBUF_E_NULL, ErrorKind::Null),
            (s::EXECBUF_E_EMPTY, ErrorKind::Empty),
            (s::EXECBUF_E_TOO_LARGE, ErrorKind::TooLarge),
            (s::EXECBUF_E_OUT_OF_BOUNDS, ErrorKind::OutOfBounds),
            (s::EXECBUF_E_CAPACITY, ErrorKind::Capacity),
            (s::EXECBUF_E_STALE, ErrorKind::InvalidHandle),
            (s::EXECBUF_E_NOT_PUBLISHED, ErrorKind::InvalidHandle),
            (s::EXECBUF_E_PUBLISHED, ErrorKind::InvalidHandle),
            (s::EXECBUF_E_NO_MEMORY, ErrorKind::NoMemory),
            (s::EXECBUF_E_DENIED, ErrorKind::Denied),
            (s::EXECBUF_E_READ_IMPLIES_EXEC, ErrorKind::ReadImpliesExec),
            (s::EXECBUF_E_UNSUPPORTED, ErrorKind::Unsupported),
            (s::EXECBUF_E_LOST, ErrorKind::Lost),
            (s::EXECBUF_E_FROZEN, ErrorKind::Frozen),
            (s::EXECBUF_E_TOO_FAR, ErrorKind::TooFar),
            (s::EXECBUF_E_SYNTAX, ErrorKind::Syntax),
            (s::EXECBUF_E_TYPE, ErrorKind::Signature),
            (s::EXECBUF_E_ARGUMENTS, ErrorKind::Signature),
            (s::EXECBUF_E_ABI, ErrorKind::Abi),
            (s::EXECBUF_E_THUNK, ErrorKind::InvalidHandle),
        ];
        // The statuses are numbered without gaps, so this says that none is missing.
        for (number, (status, kind)) in (1..).zip(kinds) {
            assert_eq!(status.0, -number);
            assert_eq!(reported(status).kind(), kind);
        }
        // SAFETY: The function takes any value, and returns a string.
        let after = unsafe { CStr::from_ptr(ffi::execbuf_status_name(execbuf_status(-1 - 20))) };
        assert_eq!((kinds.len(), after), (20, c"EXECBUF_E_?"));
    }

    #[test]
    fn errors_of_the_system_keep_their_code_and_become_io_errors() {
        let Repr::Report(mut report) = reported(execbuf_status::EXECBUF_E_DENIED).0 else { unreachable!() };
        report.os_error = 13;
        report.attempt_count = 1;
        report.attempts[0] = ffi::execbuf_attempt {
            backend: execbuf_backend::EXECBUF_BACKEND_MAP_JIT,
            os_error: 0,
            call: c"self-test".as_ptr(),
        };
        let error = Error(Repr::Report(report));
        assert_eq!((error.os_error(), error.culprit()), (Some(13), Some("somebody")));
        let attempts: alloc::vec::Vec<_> = error.attempts().collect();
        assert_eq!((attempts[0].backend(), attempts[0].call()), (Backend::MapJit, "self-test"));
        assert_eq!(attempts[0].os_error(), None);
        assert!(error.to_string().ends_with("(map-jit: self-test)"), "{error}");
        assert!(format!("{error:?}").starts_with("Denied(this system refuses"), "{error:?}");
        assert!(core::error::Error::source(&error).is_none());
        #[cfg(feature = "std")]
        for (status, kind) in [
            (execbuf_status::EXECBUF_E_EMPTY, std::io::ErrorKind::InvalidInput),
            (execbuf_status::EXECBUF_E_TOO_LARGE, std::io::ErrorKind::InvalidInput),
            (execbuf_status::EXECBUF_E_OUT_OF_BOUNDS, std::io::ErrorKind::InvalidInput),
            (execbuf_status::EXECBUF_E_CAPACITY, std::io::ErrorKind::InvalidInput),
            (execbuf_status::EXECBUF_E_DENIED, std::io::ErrorKind::PermissionDenied),
            (execbuf_status::EXECBUF_E_NO_MEMORY, std::io::ErrorKind::OutOfMemory),
            (execbuf_status::EXECBUF_E_READ_IMPLIES_EXEC, std::io::ErrorKind::PermissionDenied),
            (execbuf_status::EXECBUF_E_UNSUPPORTED, std::io::ErrorKind::Unsupported),
            (execbuf_status::EXECBUF_E_LOST, std::io::ErrorKind::Other),
            (execbuf_status::EXECBUF_E_FROZEN, std::io::ErrorKind::Other),
            (execbuf_status::EXECBUF_E_TOO_FAR, std::io::ErrorKind::OutOfMemory),
            (execbuf_status::EXECBUF_E_SYNTAX, std::io::ErrorKind::InvalidInput),
            (execbuf_status::EXECBUF_E_TYPE, std::io::ErrorKind::InvalidInput),
        ] {
            assert_eq!(std::io::Error::from(reported(status)).kind(), kind);
        }
    }

    #[test]
    fn backends_have_their_c_names() {
        let backends = [Backend::Flip, Backend::Memfd, Backend::Alias, Backend::MapJit, Backend::Section];
        assert_eq!(backends.map(|b| b.to_string()), ["flip", "memfd", "alias", "map-jit", "section"]);
        assert_eq!(backend(execbuf_backend::EXECBUF_BACKEND_NONE), None);
    }

    #[test]
    fn the_version_is_the_crates() {
        // SAFETY: It returns a string.
        let version = unsafe { CStr::from_ptr(ffi::execbuf_version()) };
        assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
        assert_eq!(ffi::EXECBUF_VERSION, version.to_bytes_with_nul());
    }
}
