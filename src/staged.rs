//! Memory that is written in place, at the address where the code will run.

use core::ops::{Deref, DerefMut};
use core::{fmt, mem, ptr, slice};

use crate::buffer::{EMPTY, ExecBuffer};
use crate::error::{Error, PublishError, check};
use crate::ffi;

/// Memory for code that is written and patched in place: at its final address, writable, and not executable. It is a
/// slice of bytes, which are zero at first.
///
/// [`ExecBuffer::stage`] and [`ExecPool::stage`](crate::ExecPool::stage) make it, and so does [`ExecBuffer::unpublish`] of
/// published code. [`publish`](Self::publish) turns it into an [`ExecBuffer`]. It has pages of its own, which are never
/// writable and executable at the same time. Dropping it gives them back.
///
/// Use it for generators that take one pointer for both writing and running. Others need less memory with
/// [`Reserved`](crate::Reserved): many pieces of code then share a page.
///
/// # Threads and fork
///
/// `Staged` is `Send` and `Sync`, like a `Box<[u8]>`. After a `fork`, both processes may write, publish and drop it, and
/// neither sees what the other one writes. In a child that does not inherit the memory
/// ([`not_inherited`](crate::ExecPoolBuilder::not_inherited)), using the bytes ends the process; it can only be dropped.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::ExecBuffer;
///
/// let mut staged = ExecBuffer::stage(4096)?;
/// staged[..2].copy_from_slice(&[0x48, 0xb8]); //               mov rax, address
/// let address = staged.address() as u64;
/// staged[2..10].copy_from_slice(&address.to_le_bytes());
/// staged[10] = 0xc3; //                                        ret
/// let buffer = staged.publish(11)?;
/// // SAFETY: The bytes are a function without arguments that returns a 64-bit integer.
/// let function = unsafe { buffer.function::<extern "C" fn() -> u64>() };
/// assert_eq!(function.call(), address);
///
/// let mut staged = buffer.unpublish()?; // nothing borrows the code any more
/// staged[2..10].copy_from_slice(&7_u64.to_le_bytes());
/// let buffer = staged.publish(11)?;
/// // SAFETY: As above.
/// let function = unsafe { buffer.function::<extern "C" fn() -> u64>() };
/// assert_eq!(function.call(), 7);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use = "dropping the staged memory gives it back"]
#[doc(alias("execbuf_stage", "execbuf_pool_stage"))]
pub struct Staged {
    /// The handle of a staged buffer that only this value frees, or no buffer.
    raw: ffi::execbuf,
    capacity: usize,
}

// SAFETY: The memory belongs to the process, not to a thread, and the C functions may be called from any thread.
unsafe impl Send for Staged {}
// SAFETY: Safe code can only read through `&Staged`. Who writes through `as_mut_ptr` does so in unsafe code, and vouches for
// the absence of data races.
unsafe impl Sync for Staged {}

impl Drop for Staged {
    fn drop(&mut self) {
        // SAFETY: Only this value has the handle, so it is not stale and the call succeeds, as it does if the handle is
        // that of no buffer. Nobody runs code there, since the memory is not executable, and no slice of it is borrowed.
        unsafe { ffi::execbuf_free(&raw mut self.raw) };
    }
}

impl Staged {
    /// Returns the staged buffer that a C call makes.
    ///
    /// # Safety
    ///
    /// If the call succeeds, it writes the handle of a new staged buffer of this capacity, which nobody else has. If it
    /// fails, it writes the report.
    pub(crate) unsafe fn made_by(
        capacity: usize,
        call: impl FnOnce(*mut ffi::execbuf, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error> {
        let mut raw = EMPTY;
        check(|error| call(&raw mut raw, error))?;
        Ok(Self { raw, capacity })
    }

    /// Returns the address of the first byte, which is also that of the code. It is a multiple of 16.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn address(&self) -> usize {
        self.raw.entry.addr()
    }

    /// Returns the pointer to the first byte, for generators that write through pointers. It is valid for the length of
    /// the slice, until the memory is published or dropped. To write through it is unsafe: no slice of the memory may be in
    /// use then, and no other thread may access the same bytes.
    ///
    /// It takes `&self`, so several pointers may be kept while the memory is staged.
    ///
    /// # Examples
    ///
    /// ```
    /// let staged = execbuf::ExecBuffer::stage(2)?;
    /// let (first, second) = (staged.as_mut_ptr(), staged.as_mut_ptr().wrapping_add(1));
    /// // SAFETY: The memory has two bytes, and nothing else uses them.
    /// unsafe {
    ///     second.write(0xc3); // x86: ret
    ///     first.write(0x90); //  nop
    /// }
    /// assert_eq!(staged.publish(2)?.as_ref(), [0x90, 0xc3]);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.raw.entry.cast_mut().cast()
    }

    /// Makes the first `len` bytes executable and not writable. What is behind them in the last page becomes traps, and the
    /// pages behind that are given back. [`ExecBuffer::describe`] describes the code.
    ///
    /// # Errors
    ///
    /// The error returns the staged memory with all of its bytes.
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): `len` is 0.
    /// - [`Capacity`](crate::ErrorKind::Capacity): `len` is more than the length of the slice.
    /// - [`NotInherited`](crate::ErrorKind::NotInherited): see there.
    /// - [`NoMemory`](crate::ErrorKind::NoMemory), [`Denied`](crate::ErrorKind::Denied): as for [`ExecBuffer::new`].
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[doc(alias = "execbuf_publish_staged")]
    pub fn publish(mut self, len: usize) -> Result<ExecBuffer, PublishError<Self>> {
        // SAFETY: The handle and the report are writable. No slice of the memory is borrowed, and who kept a pointer has
        // promised in unsafe code not to write through it from now on.
        match check(|error| unsafe { ffi::execbuf_publish_staged(&raw mut self.raw, len, error) }) {
            // SAFETY: The buffer is published, and `self` gives its handle up.
            Ok(()) => Ok(unsafe { ExecBuffer::from_raw(mem::replace(&mut self.raw, EMPTY)) }),
            Err(error) => Err(PublishError::new(self, error)),
        }
    }
}

/// Returns the bytes that can be written.
impl Deref for Staged {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: Staged memory is readable and initialised: with zeros, with what was written, or with the code that was
        // published there. It lives as long as `self`, and does not change while that is borrowed.
        unsafe { slice::from_raw_parts(self.as_mut_ptr(), self.capacity) }
    }
}

impl DerefMut for Staged {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above, and it is writable. `self` is borrowed mutably, so nothing else uses the bytes.
        unsafe { slice::from_raw_parts_mut(self.as_mut_ptr(), self.capacity) }
    }
}

/// Formats the address and the length, never the bytes.
impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("entry", &self.raw.entry).field("len", &self.capacity).finish()
    }
}

impl ExecBuffer {
    /// Maps memory for code that is written in place, at its final address.
    ///
    /// # Errors
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): `capacity` is 0.
    /// - [`Unsupported`](crate::ErrorKind::Unsupported): also on macOS on AArch64, where a program cannot write such pages.
    /// - The other errors of [`new`](Self::new). [`Denied`](crate::ErrorKind::Denied) means that the system refused to map
    ///   memory; whether it lets the memory become executable shows when it is published.
    ///
    /// # Examples
    ///
    /// See [`Staged`].
    #[doc(alias = "execbuf_stage")]
    pub fn stage(capacity: usize) -> Result<Staged, Error> {
        // SAFETY: `execbuf_stage` stages as many bytes, and the placement may be null.
        unsafe { Staged::made_by(capacity, |raw, error| ffi::execbuf_stage(raw, capacity, ptr::null(), error)) }
    }

    /// Makes the code writable again, and no longer executable, at the same address and with the same bytes. The slice is as
    /// long as the code was. A description of the code ends.
    ///
    /// The method takes `self`, so the borrow checker proves that no function of this buffer is in use. To change a few
    /// bytes, [`rewrite`](Self::rewrite) suffices.
    ///
    /// # Errors
    ///
    /// The error returns the buffer, which can still be called.
    ///
    /// - [`Unsupported`](crate::ErrorKind::Unsupported): the code is in a region of a pool, where other code is in the same
    ///   pages; or as for [`stage`](Self::stage).
    /// - [`NoMemory`](crate::ErrorKind::NoMemory): no memory, address space or mappings are left.
    /// - [`Denied`](crate::ErrorKind::Denied): the system refused the call that the error names.
    /// - [`NotInherited`](crate::ErrorKind::NotInherited), [`Lost`](crate::ErrorKind::Lost): see there.
    ///
    /// # Examples
    ///
    /// See [`Staged`].
    #[doc(alias = "execbuf_unpublish")]
    pub fn unpublish(self) -> Result<Staged, PublishError<Self>> {
        let capacity = self.len();
        let mut raw = self.into_raw();
        // SAFETY: The handle and the report are writable. Nobody runs the code, for the reasons in `rewrite`; and who uses
        // its bytes borrows the buffer, or has promised in unsafe code that they stay as they are meanwhile.
        match check(|error| unsafe { ffi::execbuf_unpublish(&raw mut raw, error) }) {
            Ok(()) => Ok(Staged { raw, capacity }),
            // SAFETY: The buffer is still published, and nobody else has its handle.
            Err(error) => Err(PublishError::new(unsafe { Self::from_raw(raw) }, error)),
        }
    }
}
