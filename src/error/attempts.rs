//! The attempts of an error.

use alloc::alloc::{Layout, alloc};
use alloc::boxed::Box;
use core::ptr;

use crate::ffi::{self, execbuf_backend};

type List = [ffi::execbuf_attempt; ffi::EXECBUF_MAX_ATTEMPTS as usize];

/// The array of a report without attempts.
pub(super) const EMPTY: List =
    [ffi::execbuf_attempt { backend: execbuf_backend::EXECBUF_BACKEND_NONE, os_error: 0, call: ptr::null() };
        ffi::EXECBUF_MAX_ATTEMPTS as usize];

/// The attempts of a report. They are on the heap, so that a `Result` with an error is small: most calls succeed, and few
/// errors have attempts.
pub(super) struct Attempts(Option<Box<Filled>>);

struct Filled {
    list: List,
    count: u32,
}

impl Attempts {
    pub(super) const NONE: Self = Self(None);

    /// Copies the attempts of a report. Without memory for them, there are none.
    pub(super) fn of(report: &ffi::execbuf_error) -> Self {
        let (list, count) = (report.attempts, report.attempt_count);
        if count == 0 { Self::NONE } else { Self(try_box(Filled { list, count })) }
    }

    /// Returns the array of a report, and how many of its attempts are filled.
    pub(super) fn to_raw(&self) -> (List, u32) {
        self.0.as_ref().map_or((EMPTY, 0), |filled| (filled.list, filled.count))
    }

    /// Returns those that are filled.
    pub(super) fn as_slice(&self) -> &[ffi::execbuf_attempt] {
        self.0.as_ref().and_then(|filled| filled.list.get(..filled.count as usize)).unwrap_or_default()
    }
}

/// Moves attempts to the heap; `None` if there is no memory. (`Box::new` would end the process.)
fn try_box(attempts: Filled) -> Option<Box<Filled>> {
    #[expect(clippy::cast_ptr_alignment, reason = "the layout has the alignment of the type")]
    // SAFETY: The size of the type is not zero.
    let memory = unsafe { alloc(Layout::new::<Filled>()) }.cast::<Filled>();
    if memory.is_null() {
        return None;
    }
    // SAFETY: The global allocator has just returned the memory, for the layout of the type, and nobody else has it. It is
    // initialised before it becomes a box.
    unsafe {
        memory.write(attempts);
        Some(Box::from_raw(memory))
    }
}
