//! Descriptions of published code.

mod line;

use core::ptr;

use crate::ffi::{self, execbuf_unwind};
pub use line::Line;

/// What the author of a piece of code knows of it. Everything is borrowed for the call that takes the description, and
/// copied there.
///
/// # Examples
///
/// A panic passes through published code:
///
/// ```
/// # #[cfg(all(target_arch = "x86_64", unix, panic = "unwind"))] {
/// use execbuf::{ExecPool, Info, Unwind};
///
/// extern "C-unwind" fn fails() {
///     std::panic::panic_any(42);
/// }
///
/// let pool = ExecPool::new()?;
/// let code = pool.publish_with(
///     &[
///         0x55, //             push rbp
///         0x48, 0x89, 0xe5, // mov rbp, rsp
///         0xff, 0xd7, //       call rdi
///         0x5d, //             pop rbp
///         0xc3, //             ret
///     ],
///     &Info::new().name("caller").unwind(Unwind::FramePointer),
/// )?;
/// // SAFETY: The bytes are a function that calls its argument, and the description is true.
/// let caller = unsafe { code.function::<extern "C-unwind" fn(extern "C-unwind" fn())>() };
/// let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| caller.call(fails)));
/// assert_eq!(*caught.unwrap_err().downcast::<i32>().unwrap(), 42);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[doc(alias = "execbuf_info")]
pub struct Info<'a> {
    name: &'a str,
    unwind: Unwind<'a>,
    lines: &'a [Line<'a>],
}

/// How unwinders get from a piece of code to its caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "execbuf_unwind")]
pub enum Unwind<'a> {
    /// Nothing is known: unwinders stop at the code.
    #[default]
    Unknown,
    /// The code begins with `push rbp; mov rbp, rsp`, perhaps after an `endbr64`, or on AArch64 with
    /// `stp x29, x30, [sp, #-size]!; mov x29, sp`, perhaps after a `bti c`. It keeps this frame pointer in all of it, and
    /// changes no other register that calls preserve. The beginning is checked.
    FramePointer,
    /// The code never moves the stack pointer, and changes no register that calls preserve. On AArch64 and RISC-V it
    /// makes no calls.
    NoFrame,
    /// The code subtracts `size` bytes from the stack pointer once, at its beginning, and adds them once, at its end. It
    /// changes no register that calls preserve.
    Fixed {
        /// The size of the frame, without the return address: a multiple of 8.
        size: u32,
        /// The length of the code up to the end of the instruction that subtracts.
        prologue: u32,
        /// The length of the code behind the instruction that adds.
        epilogue: u32,
    },
    /// A finished `.eh_frame` section: CIEs and FDEs, with absolute addresses, or with addresses relative to where the
    /// bytes are. `csrc/include/execbuf.h` says which forms are accepted. An empty one says nothing.
    EhFrame(&'a [u8]),
    /// On Windows on x86-64: a finished `UNWIND_INFO` structure of all of the code, with the data of its handler if it has
    /// one. The address of the handler is relative to the beginning of the code; the handler's data stay as they are, and
    /// `ImageBase` may be before the code. An empty one says nothing.
    UnwindInfo(&'a [u8]),
}

impl<'a> Info<'a> {
    /// Returns a description that says nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { name: "", unwind: Unwind::Unknown, lines: &[] }
    }

    /// Sets the name of the function, of at most 65535 bytes, which [`tools`](crate::tools) are told.
    #[must_use]
    pub const fn name(mut self, name: &'a str) -> Self {
        self.name = name;
        self
    }

    /// Says how to unwind through the code.
    #[must_use]
    pub const fn unwind(mut self, unwind: Unwind<'a>) -> Self {
        self.unwind = unwind;
        self
    }

    /// Says which lines of source the code comes from, for debuggers and profilers. The offsets of the lines ascend; of
    /// several with the same offset, the last one counts.
    ///
    /// They are copied only if a [tool](crate::tools) or an observer is told of the code.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecPool, Info, Line};
    ///
    /// let lines = [Line::new(0, "loop.bf", 1), Line::new(2, "loop.bf", 4)];
    /// let pool = ExecPool::new()?;
    /// let buffer = pool.publish_with(&[0x90, 0x90, 0xc3], &Info::new().name("loop").lines(&lines))?;
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub const fn lines(mut self, lines: &'a [Line<'a>]) -> Self {
        self.lines = lines;
        self
    }

    /// Returns the description for C. Its pointers are valid as long as what this one borrows.
    pub(crate) fn to_raw(self) -> ffi::execbuf_info {
        let mut raw = ffi::execbuf_info {
            size: size_of::<ffi::execbuf_info>(),
            name: self.name.as_ptr().cast(),
            name_length: self.name.len(),
            unwind: execbuf_unwind::EXECBUF_UNWIND_UNKNOWN,
            frame_size: 0,
            prologue: 0,
            epilogue: 0,
            table: ptr::null(),
            table_length: 0,
            lines: self.lines.as_ptr().cast(),
            line_count: self.lines.len(),
        };
        match self.unwind {
            Unwind::Unknown => {}
            Unwind::FramePointer => raw.unwind = execbuf_unwind::EXECBUF_UNWIND_FRAME_POINTER,
            Unwind::NoFrame => raw.unwind = execbuf_unwind::EXECBUF_UNWIND_NO_FRAME,
            Unwind::Fixed { size, prologue, epilogue } => {
                raw.unwind = execbuf_unwind::EXECBUF_UNWIND_FIXED;
                (raw.frame_size, raw.prologue, raw.epilogue) = (size, prologue, epilogue);
            }
            Unwind::EhFrame(table) => {
                raw.unwind = execbuf_unwind::EXECBUF_UNWIND_EH_FRAME;
                (raw.table, raw.table_length) = (table.as_ptr().cast(), table.len());
            }
            Unwind::UnwindInfo(table) => {
                raw.unwind = execbuf_unwind::EXECBUF_UNWIND_UNWIND_INFO;
                (raw.table, raw.table_length) = (table.as_ptr().cast(), table.len());
            }
        }
        raw
    }
}
