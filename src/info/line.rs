//! Lines of source that code comes from.

use core::fmt;
use core::marker::PhantomData;
use core::slice;

use crate::ffi;

/// Where code comes from: the code from `offset` on, up to the next entry or the end of the code, comes from this line.
#[derive(Clone, Copy)]
#[repr(transparent)]
#[doc(alias = "execbuf_line")]
pub struct Line<'a> {
    raw: ffi::execbuf_line,
    file: PhantomData<&'a [u8]>,
}

// SAFETY: It is a number and a borrowed slice, which nobody changes.
unsafe impl Send for Line<'_> {}
// SAFETY: As above.
unsafe impl Sync for Line<'_> {}

impl<'a> Line<'a> {
    /// Returns the entry for a line of a file, of which the code from `offset` on comes.
    ///
    /// Lines are counted from 1 on; 0: the code comes from no line. The path has at most 65535 bytes.
    #[must_use]
    pub const fn new(offset: usize, file: &'a str, line: u32) -> Self {
        let raw =
            ffi::execbuf_line { offset, file: file.as_ptr().cast(), file_length: file.len(), line, reserved: 0 };
        Self { raw, file: PhantomData }
    }

    /// Returns the offset in the code.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.raw.offset
    }

    /// Returns the path of the file: UTF-8 if it was given in Rust, but C programs may give any bytes.
    #[must_use]
    pub const fn file(&self) -> &'a [u8] {
        if self.raw.file_length == 0 {
            return &[];
        }
        // SAFETY: The entry has a path of this length as long as it is borrowed.
        unsafe { slice::from_raw_parts(self.raw.file.cast(), self.raw.file_length) }
    }

    /// Returns the number of the line; 0: none.
    #[must_use]
    pub const fn line(&self) -> u32 {
        self.raw.line
    }
}

impl PartialEq for Line<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.offset(), self.file(), self.line()) == (other.offset(), other.file(), other.line())
    }
}

impl Eq for Line<'_> {}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("offset", &self.offset())
            .field("file", &format_args!("\"{}\"", self.file().escape_ascii()))
            .field("line", &self.line())
            .finish()
    }
}
