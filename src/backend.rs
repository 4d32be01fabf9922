//! Backends, which are the ways of making memory executable, and failed attempts to use them.

use core::ffi::{CStr, c_char};
use core::fmt;

use crate::ffi::{self, execbuf_backend};

/// A way of making memory executable. `Display` writes its short name.
///
/// # Examples
///
/// ```
/// assert_eq!(execbuf::Backend::Memfd.to_string(), "memfd");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "execbuf_backend")]
#[doc(alias = "execbuf_backend_name")]
pub enum Backend {
    /// `mprotect` or `VirtualProtect` changes the protection of the pages.
    Flip,
    /// Linux: maps a sealed memfd that contains the code. FreeBSD, pools only: maps a memfd twice.
    Memfd,
    /// Linux; NetBSD, pools only: fills the pages through a second mapping made by `mremap`.
    Alias,
    /// macOS on AArch64: uses `MAP_JIT` with the per-thread write protection.
    MapJit,
    /// Windows, for pools: maps a section twice, as an executable and a writable view.
    Section,
}

impl Backend {
    fn raw(self) -> execbuf_backend {
        match self {
            Self::Flip => execbuf_backend::EXECBUF_BACKEND_FLIP,
            Self::Memfd => execbuf_backend::EXECBUF_BACKEND_MEMFD,
            Self::Alias => execbuf_backend::EXECBUF_BACKEND_ALIAS,
            Self::MapJit => execbuf_backend::EXECBUF_BACKEND_MAP_JIT,
            Self::Section => execbuf_backend::EXECBUF_BACKEND_SECTION,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: The function takes any value.
        let name = unsafe { ffi::execbuf_backend_name(self.raw()) };
        // SAFETY: The function returns a static string.
        f.write_str(unsafe { static_str(name) }.unwrap_or("?"))
    }
}

/// One failed attempt to make memory executable.
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
#[doc(alias = "execbuf_attempt")]
pub struct Attempt {
    backend: Backend,
    call: &'static str,
    os_error: Option<i32>,
}

impl Attempt {
    /// Converts an attempt of a report; `None` if the backend is unknown.
    ///
    /// # Safety
    ///
    /// `raw.call` is null or a static string.
    pub(crate) unsafe fn from_raw(raw: &ffi::execbuf_attempt) -> Option<Self> {
        Some(Self {
            backend: backend(raw.backend)?,
            // SAFETY: The caller guarantees it.
            call: unsafe { static_str(raw.call) }?,
            os_error: nonzero(raw.os_error),
        })
    }

    /// Converts the attempts of a report.
    ///
    /// # Safety
    ///
    /// As for [`from_raw`](Self::from_raw), for each of them.
    pub(crate) unsafe fn all(raw: &[ffi::execbuf_attempt]) -> impl Iterator<Item = Self> + '_ {
        // SAFETY: The caller guarantees it.
        raw.iter().filter_map(|attempt| unsafe { Self::from_raw(attempt) })
    }

    /// Returns the backend that was tried.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns the system call that failed, or the check that ruled the backend out.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// Returns the system's code for the failure: an `errno` value, or on Windows the value of `GetLastError`.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn os_error(&self) -> Option<i32> {
        self.os_error
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

/// Returns the set of the C API that contains these backends.
pub(crate) fn set(backends: &[Backend]) -> u32 {
    backends.iter().fold(0, |set, backend| set | 1 << backend.raw().0)
}

pub(crate) fn nonzero(code: i32) -> Option<i32> {
    (code != 0).then_some(code)
}

/// Borrows a C string; `None` if it is null or not UTF-8.
///
/// # Safety
///
/// `text` is null or a static string.
pub(crate) unsafe fn static_str(text: *const c_char) -> Option<&'static str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: The caller guarantees that it is a static string.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}
