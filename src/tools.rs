//! What debuggers, profilers and the program itself are told of described code.
//!
//! Tools learn of code with a description ([`Info`](crate::Info)): only its author knows a name for it. Other code costs
//! nothing here. There are two ways to switch tools on, both for the whole process:
//!
//! - The environment variable `EXECBUF_TOOLS`, so that a finished program can be profiled: names separated by commas, as
//!   in `EXECBUF_TOOLS=gdb,perf`. It is read once, when the first buffer or pool is made or this module is first used.
//!   Programs that run with rights that their user lacks ignore it. [`variable_failure`] tells if a name is unknown.
//! - [`Tools`], in the program.
//!
//! Tools are told of code that is described after that. A tool that fails never makes another function fail: it is
//! switched off, and [`failures`] tells why. [`observe`] is for tools that this module does not know. Tools in the process
//! itself, as a profiler or a handler of crashes, ask [`symbol`] for names.

use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::c_void;
use core::fmt;
use core::ptr::{self, NonNull};
use core::slice;

use crate::error::{Error, check};
use crate::ffi::{self, execbuf_event_kind};
use crate::info::Line;

mod symbol;

pub use symbol::{Symbol, symbol};

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tool {
    /// gdb and lldb: [`Tools::gdb`].
    Gdb,
    /// Profilers, by names: [`Tools::perf_map`].
    PerfMap,
    /// perf, by names and instructions: [`Tools::jitdump`].
    Jitdump,
}

impl Tool {
    const ALL: [Self; 3] = [Self::Gdb, Self::PerfMap, Self::Jitdump];

    const fn bit(self) -> u32 {
        match self {
            Self::Gdb => ffi::EXECBUF_TOOL_GDB,
            Self::PerfMap => ffi::EXECBUF_TOOL_PERF,
            Self::Jitdump => ffi::EXECBUF_TOOL_JITDUMP,
        }
    }
}

/// Tools to be switched on or off for the process.
///
/// # Examples
///
/// ```no_run
/// use execbuf::tools::{self, Tools};
/// use execbuf::{ExecPool, Info};
///
/// if let Err(error) = Tools::new().gdb().perf_map().enable() {
///     eprintln!("the profiler will show no names: {error}");
/// }
/// let pool = ExecPool::new()?;
/// let buffer = pool.publish_with(&[0xc3], &Info::new().name("nothing"))?;
/// for (tool, error) in tools::failures() {
///     eprintln!("{tool:?}: {error}");
/// }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use = "this switches nothing on before `enable`"]
#[doc(alias = "execbuf_tools")]
pub struct Tools<'a> {
    which: u32,
    directory: Option<&'a str>,
    limit: u64,
}

impl<'a> Tools<'a> {
    /// Returns a set without tools.
    pub const fn new() -> Self {
        Self { which: 0, directory: None, limit: 0 }
    }

    const fn with(mut self, tool: Tool) -> Self {
        self.which |= tool.bit();
        self
    }

    /// Adds gdb, and other debuggers that know its interface for compilers: they show names, and unwind through
    /// described frames. In the environment variable it is `gdb`. Not on Windows and macOS, and not on 32-bit systems.
    ///
    /// Debuggers set breakpoints in private memory only: see [`backends`](crate::ExecPoolBuilder::backends).
    pub const fn gdb(self) -> Self {
        self.with(Tool::Gdb)
    }

    /// Adds profilers that read the file `/tmp/perf-PID.map`, such as `perf report`. In the environment variable it is
    /// `perf`. The file has a line for each piece of described code, with address, length and name. Nothing is ever
    /// removed, so if memory is used again, the profiler may see the name of code that was there before. A child of a
    /// fork has a file of its own. The file stays when the process ends. Not on Windows.
    ///
    /// perf uses the file for anonymous memory only. So unless the program or `EXECBUF_BACKENDS` chooses backends,
    /// [`Memfd`](crate::Backend::Memfd) is not used. That has no effect if the tool is switched on after the first
    /// buffer or pool: then make pools with [`backends`](crate::ExecPoolBuilder::backends).
    pub const fn perf_map(self) -> Self {
        self.with(Tool::PerfMap)
    }

    /// Adds perf, by a dump of the code itself, so that `perf annotate` shows instructions. In the environment variable it
    /// is `jitdump`. Record with `perf record -k 1`, then run `perf inject --jit -i perf.data -o perf.jit.data`. Linux only.
    ///
    /// With `perf record --call-graph dwarf`, perf unwinds through code with [`Info::unwind`](crate::Info::unwind). While the
    /// tool is on, pools leave about 100 bytes behind such code, which perf takes for its table. Code in other memory has a
    /// table in the dump only if there is room behind it.
    ///
    /// The dump of a process is the file `jit-PID.dump` in a new directory `execbuf-XXXXXX`, which is made in `directory`.
    /// If only the environment switches the tool on, it is made in the directory `JITDUMPDIR`, or else in the current one.
    /// `perf inject` writes a file there for each piece of code. A child of a fork has a dump of its own. All of this stays
    /// when the process ends. If the process has a dump already, `directory` has no effect.
    pub const fn jitdump(mut self, directory: &'a str) -> Self {
        self.directory = Some(directory);
        self.with(Tool::Jitdump)
    }

    /// Sets the greatest size of the dump in bytes; 0: any. The tool fails at the first record that does not fit.
    pub const fn jitdump_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Switches these tools on, in addition to those that are on. Their earlier failures are forgotten.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](crate::ErrorKind::Unsupported): this platform does not have one of them, or the set is empty.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory), [`Denied`](crate::ErrorKind::Denied): no fork handlers can be
    ///   registered.
    /// - [`ZeroByte`](crate::ErrorKind::ZeroByte): the directory contains a zero byte.
    #[doc(alias = "execbuf_tools_enable")]
    pub fn enable(self) -> Result<(), Error> {
        let directory = self.directory.map(CString::new).transpose().map_err(|_| Error::zero_byte("directory"))?;
        let raw = ffi::execbuf_tools {
            size: size_of::<ffi::execbuf_tools>(),
            which: self.which,
            reserved: 0,
            jitdump_directory: directory.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
            jitdump_limit: self.limit,
        };
        // SAFETY: The structure is complete, and the report is writable.
        check(|error| unsafe { ffi::execbuf_tools_enable(&raw const raw, error) })
    }

    /// Switches these tools off. They are not told of code any more, only that code of which they know is freed.
    #[doc(alias = "execbuf_tools_disable")]
    pub fn disable(self) {
        // SAFETY: The function takes any value.
        unsafe { ffi::execbuf_tools_disable(self.which) };
    }
}

fn failure(bit: u32) -> Option<Error> {
    // SAFETY: The report is writable.
    check(|error| unsafe { ffi::execbuf_tool_failure(bit, error) }).err()
}

/// Returns the first failure of each tool since it was switched on, of kind [`Tool`](crate::ErrorKind::Tool).
/// [`Error::culprit`] is the call that failed, or `EXECBUF_TOOLS` if this platform does not have a tool that the
/// environment variable names.
#[doc(alias = "execbuf_tool_failure")]
pub fn failures() -> impl Iterator<Item = (Tool, Error)> {
    Tool::ALL.into_iter().filter_map(|tool| Some((tool, failure(tool.bit())?)))
}

/// Returns an error if the environment variable `EXECBUF_TOOLS` has an unknown name, which is ignored.
#[must_use]
pub fn variable_failure() -> Option<Error> {
    failure(0)
}

/// What has happened to described code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "execbuf_event_kind")]
pub enum EventKind {
    /// Code with a description was published. The call that published it has not returned yet.
    Published,
    /// Code that was published before got a description.
    Described,
    /// The description ends, because the code is about to be freed, was rewritten, or gets another description. Memory
    /// that is freed is not used again before the callback returns.
    Ended,
}

/// What an observer is told of a piece of described code.
#[derive(Clone, Copy)]
#[doc(alias = "execbuf_event")]
pub struct Event<'a> {
    kind: EventKind,
    raw: &'a ffi::execbuf_event,
}

impl<'a> Event<'a> {
    /// Returns what has happened.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// Returns the address of the code.
    #[must_use]
    pub fn address(&self) -> usize {
        self.raw.buffer.entry.addr()
    }

    /// Returns the length of the code.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no code is empty")]
    pub const fn len(&self) -> usize {
        self.raw.buffer.length
    }

    /// Returns the code; `None` for [`Ended`](EventKind::Ended), after which the memory may not be readable.
    #[must_use]
    pub fn code(&self) -> Option<&'a [u8]> {
        // SAFETY: During the call the buffer is live and published, and nobody rewrites it.
        let code = || unsafe { slice::from_raw_parts(self.raw.buffer.entry.cast(), self.raw.buffer.length) };
        (self.kind != EventKind::Ended).then(code)
    }

    /// Returns the name in the description: of [`Info`](crate::Info) it is UTF-8, but C programs may give any bytes.
    #[must_use]
    pub const fn name(&self) -> &'a [u8] {
        // SAFETY: The event has a name of this length during the call.
        unsafe { slice::from_raw_parts(self.raw.name.cast(), self.raw.name_length) }
    }

    /// Returns the lines of source in the description. There are none at the end of code that was described before a tool
    /// was on or somebody observed.
    #[must_use]
    pub const fn lines(&self) -> &'a [Line<'a>] {
        if self.raw.line_count == 0 {
            return &[];
        }
        // SAFETY: The event has this number of lines during the call. A `Line` is an `execbuf_line`.
        unsafe { slice::from_raw_parts(self.raw.lines.cast(), self.raw.line_count) }
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("kind", &self.kind)
            .field("address", &self.raw.buffer.entry)
            .field("length", &self.raw.buffer.length)
            .field("name", &format_args!("\"{}\"", self.name().escape_ascii()))
            .finish()
    }
}

/// An observer, from [`observe`]. Dropping it ends it.
///
/// Other threads may be in the callback, or about to call it, when it is dropped. The last of them drops the callback.
#[must_use = "dropping it ends the observation"]
#[doc(alias = "execbuf_unobserve")]
pub struct Observer {
    raw: NonNull<ffi::execbuf_observer>,
}

// SAFETY: Any thread may end an observer, and the callback is `Send` and `Sync`.
unsafe impl Send for Observer {}
// SAFETY: A shared observer can do nothing.
unsafe impl Sync for Observer {}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // SAFETY: The observer is ended once, here.
        unsafe { ffi::execbuf_unobserve(self.raw.as_ptr()) };
    }
}

/// Has a closure called for all code that is described from now on (see [`Info`](crate::Info)), by whichever thread: for
/// profilers that want to be told of code at run time, such as `VTune` and Tracy.
///
/// Code without a description is not announced: nobody knows a name for it, and it costs nothing here. An empty `Info`
/// suffices for code to be announced.
///
/// The closure runs in the thread that publishes, describes, rewrites or frees the code. Other threads may call it at
/// the same time. For one address, the end of one description comes before the announcement of the next one. An
/// observer may be told of the end of code that was described before it began to observe.
///
/// The closure may publish and free code; for described code it is called again, inside. If it panics, the process is
/// aborted. It must not fork.
///
/// # Errors
///
/// - [`NoMemory`](crate::ErrorKind::NoMemory): no memory is left.
/// - [`Denied`](crate::ErrorKind::Denied): no fork handlers can be registered.
///
/// # Examples
///
/// ```
/// use execbuf::tools::{self, EventKind};
/// use execbuf::{ExecPool, Info};
/// use std::sync::{Arc, Mutex};
///
/// let names = Arc::new(Mutex::new(Vec::new()));
/// let noted = Arc::clone(&names);
/// let observer = tools::observe(move |event| {
///     if event.kind() == EventKind::Published {
///         noted.lock().unwrap().push(String::from_utf8_lossy(event.name()).into_owned());
///     }
/// })?;
/// let pool = ExecPool::new()?;
/// let buffer = pool.publish_with(&[0xc3], &Info::new().name("observed"))?;
/// drop(observer);
/// assert!(names.lock().unwrap().iter().any(|name| name == "observed"));
/// # Ok::<(), execbuf::Error>(())
/// ```
#[doc(alias = "execbuf_observe")]
pub fn observe<C: Fn(&Event<'_>) + Send + Sync + 'static>(callback: C) -> Result<Observer, Error> {
    let context = Box::into_raw(Box::new(callback)).cast::<c_void>();
    let mut raw = ptr::null_mut();
    // SAFETY: `call` and `release` take a box of this closure, which stays until `release` is called.
    let status = check(|error| unsafe {
        ffi::execbuf_observe(&raw mut raw, Some(call::<C>), Some(release::<C>), context, error)
    });
    if let Err(error) = status {
        // SAFETY: There is no observer, so nobody else has the box.
        unsafe { release::<C>(context) };
        return Err(error);
    }
    // SAFETY: After a success there is an observer.
    Ok(Observer { raw: unsafe { NonNull::new_unchecked(raw) } })
}

/// # Safety
///
/// `context` points to a `C`, and `raw` to an event that is valid during the call.
unsafe extern "C" fn call<C: Fn(&Event<'_>)>(context: *mut c_void, raw: *const ffi::execbuf_event) {
    // SAFETY: The caller guarantees both. The closure is `Sync`, so threads may share it.
    let (callback, raw) = unsafe { (&*context.cast::<C>(), &*raw) };
    let kind = match raw.kind {
        execbuf_event_kind::EXECBUF_EVENT_PUBLISHED => EventKind::Published,
        execbuf_event_kind::EXECBUF_EVENT_DESCRIBED => EventKind::Described,
        execbuf_event_kind::EXECBUF_EVENT_ENDED => EventKind::Ended,
        _ => return, // of a later version
    };
    callback(&Event { kind, raw });
}

/// # Safety
///
/// `context` is a box of a `C` that nobody else has.
unsafe extern "C" fn release<C>(context: *mut c_void) {
    // SAFETY: The caller guarantees it.
    drop(unsafe { Box::from_raw(context.cast::<C>()) });
}
