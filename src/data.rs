//! Constants and data of pools.

use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::slice;

use crate::error::{Error, check};
use crate::ffi;

mod staged;

pub use staged::StagedConstants;

/// Owns constants or data of the C API.
struct Raw(ffi::execbuf_data);

impl Raw {
    /// Returns what a C call makes.
    ///
    /// # Safety
    ///
    /// If the call succeeds, it writes the handle of constants or data that nobody else has. If it fails, it writes the
    /// report.
    unsafe fn made_by(
        call: impl FnOnce(*mut ffi::execbuf_data, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error> {
        let mut raw = MaybeUninit::uninit();
        check(|error| call(raw.as_mut_ptr(), error))?;
        // SAFETY: The call succeeded, so it has written the handle.
        Ok(Self(unsafe { raw.assume_init() }))
    }

    fn into_raw(self) -> ffi::execbuf_data {
        let raw = ManuallyDrop::new(self);
        ffi::execbuf_data { ..raw.0 }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: Only this value has the handle, so it is not stale. Whoever uses the memory in published code has
        // promised in `unsafe` code to keep this value.
        unsafe { ffi::execbuf_data_free(&raw mut self.0) };
    }
}

// SAFETY: The handle is a number and an address. The memory may be freed by any thread.
unsafe impl Send for Raw {}
// SAFETY: A shared reference only reads the handle. What it lends of the memory, `Constants` and `Data` say.
unsafe impl Sync for Raw {}

/// Read-only bytes near code: [`ExecPool::constants`](crate::ExecPool::constants) makes them.
///
/// The memory is never executable. It is freed when this value is dropped, and may outlive the pool. Code that reads it
/// needs it as long as it may run: add a borrow of this value with [`Function::and`](crate::Function::and).
///
/// `Constants` is `Send` and `Sync`, because nobody can change the bytes.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::{Error, ExecPool};
///
/// let pool = ExecPool::builder().reach(1 << 31).build()?; // so that code can address what is near
/// let pi = pool.constants(&3.14_f64.to_le_bytes(), 8)?;
/// let buffer = pool.assemble(|address| {
///     let offset = i32::try_from(pi.address().wrapping_sub(address + 8) as isize).expect("within reach");
///     let mut code = vec![0xf2, 0x0f, 0x10, 0x05]; // movsd xmm0, [rip + offset]
///     code.extend(offset.to_le_bytes());
///     code.push(0xc3); //                             ret
///     Ok::<_, Error>(code)
/// })?;
/// // SAFETY: The bytes are such a function. They read only the constants, which the handle borrows.
/// let function = unsafe { buffer.function::<extern "C" fn() -> f64>() }.and(&pi);
/// assert_eq!(function.call(), 3.14); // `pi` cannot be dropped before
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use]
#[doc(alias("execbuf_data", "execbuf_data_free"))]
pub struct Constants(Raw);

impl Constants {
    /// Returns the constants that a C call makes.
    ///
    /// # Safety
    ///
    /// As [`Raw::made_by`]; the call makes constants.
    pub(crate) unsafe fn made_by(
        call: impl FnOnce(*mut ffi::execbuf_data, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error> {
        // SAFETY: The caller guarantees it.
        unsafe { Raw::made_by(call) }.map(Self)
    }

    /// Returns the address of the first byte.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn address(&self) -> usize {
        self.0.0.address.addr()
    }

    /// Returns the handle of the C API and gives up ownership, for use with [`ffi`]. The caller must free it.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecPool, ffi};
    ///
    /// let mut raw = ExecPool::new()?.constants(&[1, 2], 1)?.into_raw();
    /// assert_eq!(raw.length, 2);
    /// // SAFETY: Nobody uses the constants.
    /// unsafe { ffi::execbuf_data_free(&mut raw) };
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use = "the memory stays until the handle is freed"]
    pub fn into_raw(self) -> ffi::execbuf_data {
        self.0.into_raw()
    }
}

/// Returns the bytes.
impl AsRef<[u8]> for Constants {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: The bytes are readable and initialised, and nobody can write them.
        unsafe { slice::from_raw_parts(self.0.0.address.cast(), self.0.0.length) }
    }
}

/// Formats the address and the length, never the bytes.
impl fmt::Debug for Constants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constants").field("address", &self.0.0.address).field("len", &self.0.0.length).finish()
    }
}

/// Writable bytes near code: [`ExecPool::data`](crate::ExecPool::data) makes them.
///
/// The memory is never executable, and zero at first. It is freed when this value is dropped, and may outlive the pool.
/// Code that uses it needs it as long as it may run: add a borrow of this value with
/// [`Function::and`](crate::Function::and). Code may write it at any time, so a shared reference lends no slice, only the
/// address; an exclusive one proves that no such function is left.
///
/// `Data` is `Send`, because the memory belongs to no thread, and `Sync`, because a shared reference gives nobody access:
/// who reads or writes by the address does so in `unsafe` code.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::{Error, ExecPool};
///
/// let pool = ExecPool::builder().reach(1 << 31).build()?; // so that code can address what is near
/// let mut counter = pool.data(8, 8)?;
/// let buffer = pool.assemble(|address| {
///     let offset = i32::try_from(counter.address().wrapping_sub(address + 7) as isize).expect("within reach");
///     let mut code = vec![0x48, 0xff, 0x05]; // inc qword ptr [rip + offset]
///     code.extend(offset.to_le_bytes());
///     code.push(0xc3); //                       ret
///     Ok::<_, Error>(code)
/// })?;
/// // SAFETY: The bytes are such a function. They write only the counter, which the handle borrows.
/// let count = unsafe { buffer.function::<extern "C" fn()>() }.and(&counter);
/// count.call();
/// count.call();
/// assert_eq!(counter.as_mut_slice()[0], 2); // `count` is not used any more
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use]
#[doc(alias("execbuf_data", "execbuf_data_free"))]
pub struct Data(Raw);

#[expect(clippy::len_without_is_empty, reason = "there are no empty data")]
impl Data {
    /// Returns the data that a C call makes.
    ///
    /// # Safety
    ///
    /// As [`Raw::made_by`]; the call makes writable data.
    pub(crate) unsafe fn made_by(
        call: impl FnOnce(*mut ffi::execbuf_data, *mut ffi::execbuf_error) -> ffi::execbuf_status,
    ) -> Result<Self, Error> {
        // SAFETY: The caller guarantees it.
        unsafe { Raw::made_by(call) }.map(Self)
    }

    /// Returns the address of the first byte.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn address(&self) -> usize {
        self.0.0.address.addr()
    }

    /// Returns a pointer to the first byte, for reading and writing while code may use the data, too.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::sync::atomic::{AtomicU64, Ordering};
    ///
    /// let pool = execbuf::ExecPool::new()?;
    /// let data = pool.data(8, 8)?;
    /// // SAFETY: The data are aligned and live as long as the reference. They are used atomically only.
    /// let counter = unsafe { AtomicU64::from_ptr(data.as_ptr().cast()) };
    /// counter.fetch_add(1, Ordering::Relaxed);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.0.address.cast()
    }

    /// Returns the number of bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(execbuf::ExecPool::new()?.data(100, 8)?.len(), 100);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.0.length
    }

    /// Returns the bytes. No function that borrows the data is left, so nobody else uses them.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: The memory is readable, writable and initialised. Who uses it by the address, as published code does, has
        // promised in `unsafe` code to respect borrows: functions that use it borrow or own this value.
        unsafe { slice::from_raw_parts_mut(self.as_ptr(), self.len()) }
    }

    /// Returns the handle of the C API and gives up ownership, for use with [`ffi`]. The caller must free it.
    ///
    /// # Examples
    ///
    /// See [`Constants::into_raw`].
    #[must_use = "the memory stays until the handle is freed"]
    pub fn into_raw(self) -> ffi::execbuf_data {
        self.0.into_raw()
    }
}

/// Formats the address and the length, never the bytes.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data").field("address", &self.as_ptr()).field("len", &self.len()).finish()
    }
}
