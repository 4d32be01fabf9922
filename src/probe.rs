//! What this machine and this process allow.

use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;

use crate::error::{Backend, ErrorKind, backend, kind, nonzero, static_str};
use crate::ffi::{self, execbuf_status};

/// Finds out what this machine and this process allow: tries each [`Backend`] on a small piece of memory, and asks the
/// system for what has to do with it.
///
/// Nothing is kept. Nothing is tried that is writable and executable at once, so an audit log gets no line but what
/// publishing would cause. Policies can change at any time; what a probe says is how it was at that moment.
///
/// It makes some dozens of system calls, and on Linux reads files of `/proc` and `/sys`: not for a sandbox that kills
/// whoever makes an unusual call.
///
/// The example `doctor` prints what it finds, with advice.
///
/// # Examples
///
/// ```
/// let probe = execbuf::probe();
/// for probed in probe.buffer() {
///     match probed.call() {
///         None => println!("{} works", probed.backend()),
///         Some(call) => println!("{}: {call} failed ({:?})", probed.backend(), probed.os_error()),
///     }
/// }
/// assert_eq!(probe.buffer_backend().is_some(), execbuf::ExecBuffer::new(&[0xc3]).is_ok());
/// ```
#[must_use]
pub fn probe() -> Probe {
    let mut raw = MaybeUninit::uninit();
    // SAFETY: The report can be written.
    unsafe { ffi::execbuf_probe_system(raw.as_mut_ptr()) };
    // SAFETY: The function has filled it.
    let raw = unsafe { raw.assume_init() };
    // SAFETY: It came from `execbuf_probe_system`.
    unsafe { Probe::from_raw(&raw) }
}

/// What a machine and a process allow; see [`probe`].
#[derive(Debug, Clone)]
pub struct Probe {
    error: Option<ErrorKind>,
    buffer: Vec<Probed>,
    pool: Vec<Probed>,
    facts: Vec<(&'static str, String)>,
}

impl Probe {
    /// # Safety
    ///
    /// `execbuf_probe_system` filled the report.
    unsafe fn from_raw(raw: &ffi::execbuf_probe) -> Self {
        let results = |results: &[ffi::execbuf_probe_result], count: u32| {
            // SAFETY: The caller says so.
            results.iter().take(count as usize).filter_map(|raw| unsafe { Probed::from_raw(raw) }).collect()
        };
        let facts = raw.facts.iter().take(raw.fact_count as usize).filter_map(|fact| {
            // SAFETY: The names in a report are strings that live for ever.
            let name = unsafe { static_str(fact.name) }?;
            // SAFETY: The values end with a zero, and live as long as the report.
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

    /// Why nothing was tried, if that is so: [`ReadImpliesExec`](ErrorKind::ReadImpliesExec),
    /// [`Unsupported`](ErrorKind::Unsupported), or that forks can't be watched for.
    #[must_use]
    pub fn error(&self) -> Option<ErrorKind> {
        self.error
    }

    /// The backends of [`ExecBuffer`](crate::ExecBuffer), in the order in which they are tried. The first that works is
    /// used.
    #[must_use]
    pub fn buffer(&self) -> &[Probed] {
        &self.buffer
    }

    /// The backends of the regions of an [`ExecPool`](crate::ExecPool), in the order in which they are tried. If none
    /// works, each piece of code gets pages of its own, as an [`ExecBuffer`](crate::ExecBuffer) does.
    #[must_use]
    pub fn pool(&self) -> &[Probed] {
        &self.pool
    }

    /// The backend that [`ExecBuffer`](crate::ExecBuffer) uses; `None`: it can't publish.
    #[must_use]
    pub fn buffer_backend(&self) -> Option<Backend> {
        first_that_works(&self.buffer)
    }

    /// The backend of the regions of an [`ExecPool`](crate::ExecPool); `None`: there are no regions.
    ///
    /// # Examples
    ///
    /// ```
    /// let probe = execbuf::probe();
    /// match (probe.pool_backend(), probe.buffer_backend()) {
    ///     (Some(backend), _) => println!("regions made by {backend}"),
    ///     (None, Some(backend)) => println!("pages of its own for each piece of code, made by {backend}"),
    ///     (None, None) => println!("nothing works: {:?}", probe.error()),
    /// }
    /// ```
    #[must_use]
    pub fn pool_backend(&self) -> Option<Backend> {
        first_that_works(&self.pool)
    }

    /// What policies, limits and sizes there are, as far as the process may know: names and values. They are for people
    /// to read, and may change with the version.
    ///
    /// # Examples
    ///
    /// ```
    /// for (name, value) in execbuf::probe().facts() {
    ///     println!("{name}: {value}"); // "page size: 4096"
    /// }
    /// ```
    pub fn facts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.facts.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

fn first_that_works(results: &[Probed]) -> Option<Backend> {
    results.iter().find(|probed| probed.works()).map(Probed::backend)
}

/// What a [`Probe`] knows of one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    backend: Backend,
    call: Option<&'static str>,
    os_error: Option<i32>,
}

impl Probed {
    /// # Safety
    ///
    /// The call is null or a string that lives for ever.
    unsafe fn from_raw(raw: &ffi::execbuf_probe_result) -> Option<Self> {
        Some(Self {
            backend: backend(raw.backend)?,
            // SAFETY: The caller says so.
            call: unsafe { static_str(raw.call) },
            os_error: nonzero(raw.os_error),
        })
    }

    /// Which one.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether it works here: code was written, called, rewritten and called again.
    #[must_use]
    pub fn works(&self) -> bool {
        self.call.is_none()
    }

    /// Why it does not work: the system call that failed, or the check that spoke against trying.
    #[must_use]
    pub fn call(&self) -> Option<&'static str> {
        self.call
    }

    /// Why it does not work: the system's code, an `errno` value, on Windows that of `GetLastError`.
    #[must_use]
    pub fn os_error(&self) -> Option<i32> {
        self.os_error
    }
}
