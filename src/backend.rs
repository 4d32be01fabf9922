//! Ways of making memory executable, and attempts that failed.

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
    /// The protection of the pages changes: `mprotect` or `VirtualProtect`.
    Flip,
    /// Linux: the code is in a sealed memfd that is mapped.
    Memfd,
    /// Linux: the pages are filled through a second mapping, which `mremap` makes.
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
    /// An attempt in a report. `None`: the backend is unknown.
    ///
    /// # Safety
    ///
    /// The call is null or a string that lives for ever.
    pub(crate) unsafe fn from_raw(raw: &ffi::execbuf_attempt) -> Option<Self> {
        Some(Self {
            backend: backend(raw.backend)?,
            // SAFETY: The caller guarantees it.
            call: unsafe { static_str(raw.call) }?,
            os_error: nonzero(raw.os_error),
        })
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

    /// Returns the system call that failed, or the check that made an attempt pointless.
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
