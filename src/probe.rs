//! Probing which backends work on this machine and in this process.

use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::{self, MaybeUninit};

use crate::backend::{Backend, backend, nonzero, static_str};
use crate::error::{ErrorKind, kind};
use crate::ffi::{self, execbuf_status};

/// Tries each [`Backend`] on a small piece of memory, and reads the system's policies and limits.
///
/// It keeps no memory, file or state. It never requests memory that is writable and executable, so it causes no entry
/// in an audit log that publishing would not also cause. The report can become outdated, because policies can change at
/// any time.
///
/// It makes dozens of system calls, and on Linux reads files in `/proc` and `/sys`. Do not call it in a sandbox that
/// kills processes for unusual system calls.
///
/// The example `doctor` prints the report with advice.
///
/// # Examples
///
/// ```
/// let probe = execbuf::probe();
/// for report in probe.buffer() {
///     match report.call() {
///         None => println!("{} works", report.backend()),
///         Some(call) => println!("{}: {call} failed ({:?})", report.backend(), report.os_error()),
///     }
/// }
/// assert_eq!(probe.buffer_backend().is_some(), execbuf::ExecBuffer::new(&[0xc3]).is_ok());
/// ```
#[must_use]
#[doc(alias = "execbuf_probe_system")]
pub fn probe() -> Probe {
    let mut raw = MaybeUninit::<ffi::execbuf_probe>::uninit();
    // SAFETY: The report is writable and contains its size. The function fills the rest.
    let raw = unsafe {
        (&raw mut (*raw.as_mut_ptr()).size).write(mem::size_of::<ffi::execbuf_probe>());
        ffi::execbuf_probe_system(raw.as_mut_ptr());
        raw.assume_init()
    };
    // SAFETY: `execbuf_probe_system` has filled the report.
    unsafe { Probe::from_raw(&raw) }
}

/// A report of the backends that work on this machine and in this process. [`probe()`] returns it.
///
/// # Examples
///
/// See [`probe()`].
#[derive(Debug, Clone)]
#[doc(alias = "execbuf_probe")]
pub struct Probe {
    error: Option<ErrorKind>,
    buffer: Vec<BackendReport>,
    pool: Vec<BackendReport>,
    facts: Vec<(&'static str, String)>,
}

impl Probe {
    /// # Safety
    ///
    /// `execbuf_probe_system` filled the report.
    unsafe fn from_raw(raw: &ffi::execbuf_probe) -> Self {
        let results = |results: &[ffi::execbuf_probe_result], count: u32| {
            // SAFETY: The strings of a report are static.
            results.iter().take(count as usize).filter_map(|raw| unsafe { BackendReport::from_raw(raw) }).collect()
        };
        let facts = raw.facts.iter().take(raw.fact_count as usize).filter_map(|fact| {
            // SAFETY: The names in a report are static strings.
            let name = unsafe { static_str(fact.name) }?;
            // SAFETY: The values end with a zero byte, and exist as long as the report.
            let value = unsafe { CStr::from_ptr(fact.value.as_ptr()) };
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self {
            error: (raw.status != execbuf_status::EXECBUF_OK).then(|| kind(raw.status)),
            buffer: results(&raw.buffer, raw.buffer_count),
            pool: results(&raw.pool, raw.pool_count),
            facts: facts.collect(),
        }
    }

    /// Returns the reason why no backend was tried, or `None` if they were:
    /// [`ReadImpliesExec`](ErrorKind::ReadImpliesExec), [`Unsupported`](ErrorKind::Unsupported), or the reason why fork
    /// handlers could not be installed.
    ///
    /// # Examples
    ///
    /// See [`pool_backend`](Self::pool_backend).
    #[must_use]
    pub fn error(&self) -> Option<ErrorKind> {
        self.error
    }

    /// Returns a report for each backend of [`ExecBuffer`](crate::ExecBuffer), in the order in which they are tried.
    /// The first backend that works is used.
    ///
    /// # Examples
    ///
    /// See [`probe()`].
    #[must_use]
    pub fn buffer(&self) -> &[BackendReport] {
        &self.buffer
    }

    /// Returns a report for each backend of the regions of an [`ExecPool`](crate::ExecPool), in the order in which they
    /// are tried. If none works, each piece of code gets a dedicated mapping.
    ///
    /// # Examples
    ///
    /// See [`BackendReport`].
    #[must_use]
    pub fn pool(&self) -> &[BackendReport] {
        &self.pool
    }

    /// Returns the backend that [`ExecBuffer`](crate::ExecBuffer) uses, or `None` if none works.
    ///
    /// # Examples
    ///
    /// See [`probe()`].
    #[must_use]
    pub fn buffer_backend(&self) -> Option<Backend> {
        first_that_works(&self.buffer)
    }

    /// Returns the backend that the regions of an [`ExecPool`](crate::ExecPool) use, or `None` if none works.
    ///
    /// # Examples
    ///
    /// ```
    /// let probe = execbuf::probe();
    /// match (probe.pool_backend(), probe.buffer_backend()) {
    ///     (Some(backend), _) => println!("regions made by {backend}"),
    ///     (None, Some(backend)) => println!("a dedicated mapping for each piece of code, made by {backend}"),
    ///     (None, None) => println!("nothing works: {:?}", probe.error()),
    /// }
    /// ```
    #[must_use]
    pub fn pool_backend(&self) -> Option<Backend> {
        first_that_works(&self.pool)
    }

    /// Returns names and values of policies, limits and sizes, as far as the process may read them. They are meant for
    /// people, and can change in any version.
    ///
    /// # Examples
    ///
    /// ```
    /// for (name, value) in execbuf::probe().facts() {
    ///     println!("{name}: {value}"); // "page size: 4096"
    /// }
    /// ```
    #[doc(alias = "execbuf_fact")]
    pub fn facts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.facts.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

fn first_that_works(results: &[BackendReport]) -> Option<Backend> {
    results.iter().find(|report| report.works()).map(BackendReport::backend)
}

/// The result of trying one backend.
///
/// # Examples
///
/// ```
/// for report in execbuf::probe().pool() {
///     println!("{}: works: {}", report.backend(), report.works());
///     if let Some(call) = report.call() {
///         println!("  {call}: {:?}", report.os_error());
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "execbuf_probe_result")]
pub struct BackendReport {
    backend: Backend,
    call: Option<&'static str>,
    os_error: Option<i32>,
}

impl BackendReport {
    /// # Safety
    ///
    /// `raw.call` is null or a static string.
    unsafe fn from_raw(raw: &ffi::execbuf_probe_result) -> Option<Self> {
        Some(Self {
            backend: backend(raw.backend)?,
            // SAFETY: The caller guarantees it.
            call: unsafe { static_str(raw.call) },
            os_error: nonzero(raw.os_error),
        })
    }

    /// Returns the backend.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns whether the backend works: code was written, called, rewritten and called again.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn works(&self) -> bool {
        self.call.is_none()
    }

    /// Returns the system call that failed, or the check that ruled the backend out; `None` if the backend works.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn call(&self) -> Option<&'static str> {
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
