//! Whose code an address is in.

use core::str;

use crate::ffi;

/// A piece of published code, as [`symbol`] found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    entry: *const u8,
    length: usize,
    offset: usize,
    name: &'a str,
}

impl<'a> Symbol<'a> {
    /// Returns the name from the code's description, or the beginning that fitted; an empty one if it has none. Code that
    /// was described in C may have a name that is not UTF-8: then this is the part before the first wrong byte.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// Returns how many bytes the address lies behind the first byte of the code.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the address of the first byte of the code.
    #[must_use]
    pub const fn entry(&self) -> *const u8 {
        self.entry
    }

    /// Returns the length of the code in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "published code is never empty")]
    pub const fn len(&self) -> usize {
        self.length
    }
}

/// Finds the published code, of any pool or none, that contains an address. The name is copied to `space`.
///
/// It takes no lock, makes no system call and allocates nothing, so a signal handler may call it, whatever it interrupted:
/// a profiler, or a handler that reports a crash, as in `examples/backtrace.rs`. A return address may lie behind the end of
/// its function, so look up the address before it.
///
/// The call finds all code that is published before it begins and dropped after it ends.
///
/// # Examples
///
/// ```
/// use execbuf::{ExecPool, Info, tools};
///
/// let pool = ExecPool::new()?;
/// let code = pool.publish_with(&[0x90, 0xc3], &Info::new().name("nothing"))?; // x86: nop, ret
/// let mut space = [0; 64];
/// let symbol = tools::symbol(code.as_ptr().wrapping_add(1), &mut space).unwrap();
/// assert_eq!((symbol.name(), symbol.offset()), ("nothing", 1));
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use]
#[doc(alias = "execbuf_find")]
#[doc(alias = "execbuf_name")]
pub fn symbol(address: *const u8, space: &mut [u8]) -> Option<Symbol<'_>> {
    let mut buffer = ffi::execbuf { entry: core::ptr::null(), length: 0, id: 0 };
    // SAFETY: `buffer` is writable. The address is only compared.
    if unsafe { ffi::execbuf_find(address.cast(), &raw mut buffer) } != ffi::execbuf_status::EXECBUF_OK {
        return None;
    }
    let mut length = 0;
    // SAFETY: The array and `length` are writable. If another thread frees the buffer meanwhile, it has no name.
    let _ =
        unsafe { ffi::execbuf_name(&raw const buffer, space.as_mut_ptr().cast(), space.len(), &raw mut length) };
    // A zero ends a name that was cut.
    let bytes = &space[..length.min(space.len().saturating_sub(1))];
    let name = match str::from_utf8(bytes) {
        Ok(name) => name,
        Err(error) => str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    let entry: *const u8 = buffer.entry.cast();
    Some(Symbol { entry, length: buffer.length, offset: address as usize - entry as usize, name })
}
