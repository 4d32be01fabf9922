//! [`Placement`]: which addresses code may have.

use alloc::boxed::Box;
use core::ops::RangeInclusive;
use core::ptr;

use crate::buffer::ExecBuffer;
use crate::error::Error;
use crate::ffi;
use crate::reserved::{FIRST_CAPACITY, Reserved, assemble_in};

/// Which addresses code may have, for [`ExecBuffer::new_at`](crate::ExecBuffer::new_at) and
/// [`ExecPoolBuilder::placement`](crate::ExecPoolBuilder::placement). The default is any address.
///
/// Every free address range that satisfies the conditions can be found. If there is none, the error is
/// [`TooFar`](crate::ErrorKind::TooFar), and its [`culprit`](crate::Error::culprit) says what was searched:
///
/// - `placement`: all of the addresses (Linux, Windows), or 512 of them (other systems).
/// - `open(/proc/self/maps)`: 512 of them, because Linux could not list the mappings.
///
/// On Linux, the range into which the heap of the program grows is used only if there is no other one, and the 128 MiB
/// below the stack are not used.
///
/// # Examples
///
/// Code in the lowest 4 GiB, whose addresses fit into 32 bits:
///
/// ```
/// # // Executables of macOS on arm64 have no memory there, and sanitizers use it.
/// # #[cfg(all(target_os = "linux", target_pointer_width = "64"))] {
/// use execbuf::{ExecBuffer, Placement};
///
/// let low = Placement::default().range(0..=u32::MAX as usize);
/// let buffer = ExecBuffer::new_at(&[0xc3], low)?; // x86: ret
/// assert!(u32::try_from(buffer.as_ptr() as usize).is_ok());
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[doc(alias = "execbuf_placement")]
pub struct Placement {
    near: usize,
    distance: usize,
    lowest: usize,
    highest: usize,
}

impl Placement {
    /// Less than 2 GiB away from an address, so that relative branches of x86-64 reach it.
    ///
    /// # Examples
    ///
    /// See [`within`](Self::within).
    #[must_use]
    pub fn near(address: *const u8) -> Self {
        Self { near: address.addr(), ..Self::default() }
    }

    /// Changes the distance from the address of [`near`](Self::near): every byte of code is less than `distance` bytes
    /// away from it.
    ///
    /// Branches reach 2 GiB on x86-64, 128 MiB on AArch64 and 1 MiB on RISC-V. Without `near`, making the buffer or the
    /// pool fails with [`Null`](crate::ErrorKind::Null).
    ///
    /// # Examples
    ///
    /// Code that reaches a function of this program by a branch of AArch64:
    ///
    /// ```
    /// use execbuf::{ExecBuffer, Placement};
    ///
    /// extern "C" fn helper() {}
    ///
    /// let address = helper as *const u8;
    /// let buffer = ExecBuffer::new_at(&[0xc3], Placement::near(address).within(128 << 20))?; // x86: ret
    /// assert!(buffer.as_ptr().addr().abs_diff(address.addr()) < 128 << 20);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub const fn within(self, distance: usize) -> Self {
        Self { distance, ..self }
    }

    /// Only addresses in this range, both ends included.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub const fn range(self, addresses: RangeInclusive<usize>) -> Self {
        let (lowest, highest) = (*addresses.start(), *addresses.end());
        // For C, a highest address of 0 sets no limit. Here it leaves no address.
        if highest == 0 { Self { lowest: 2, highest: 1, ..self } } else { Self { lowest, highest, ..self } }
    }

    pub(crate) fn to_raw(self) -> ffi::execbuf_placement {
        ffi::execbuf_placement {
            near_to: ptr::without_provenance(self.near),
            distance: self.distance,
            lowest: self.lowest,
            highest: self.highest,
        }
    }
}

impl ExecBuffer {
    /// As [`new`](Self::new), at an address that satisfies conditions.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new), and:
    ///
    /// - [`TooFar`](crate::ErrorKind::TooFar): no free address range satisfies the conditions.
    /// - [`Null`](crate::ErrorKind::Null): the placement has a distance, but no address.
    ///
    /// # Examples
    ///
    /// See [`Placement`].
    #[doc(alias = "execbuf_new_at")]
    pub fn new_at(code: &[u8], placement: Placement) -> Result<Self, Error> {
        let placement = placement.to_raw();
        // SAFETY: As in `new`, and the placement exists during the call.
        unsafe {
            Self::made_by(|raw, error| {
                ffi::execbuf_new_at(raw, code.as_ptr().cast(), code.len(), &raw const placement, error)
            })
        }
    }

    /// As [`reserve`](Self::reserve), at an address that satisfies conditions.
    ///
    /// # Errors
    ///
    /// The errors of [`reserve`](Self::reserve), and:
    ///
    /// - [`TooFar`](crate::ErrorKind::TooFar): no free address range satisfies the conditions.
    /// - [`Null`](crate::ErrorKind::Null): the placement has a distance, but no address.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecBuffer, Placement};
    ///
    /// extern "C" fn helper() {}
    ///
    /// let reserved = ExecBuffer::reserve_at(16, Placement::near(helper as *const u8))?;
    /// let distance = (reserved.address() as isize) - (helper as *const () as isize);
    /// assert!(i32::try_from(distance).is_ok());
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_reserve_at")]
    pub fn reserve_at(capacity: usize, placement: Placement) -> Result<Reserved, Error> {
        let placement = placement.to_raw();
        // SAFETY: `execbuf_reserve_at` reserves as many bytes, and the placement exists during the call.
        unsafe {
            Reserved::made_by(capacity, |raw, error| {
                ffi::execbuf_reserve_at(raw, capacity, &raw const placement, error)
            })
        }
    }

    /// As [`assemble`](Self::assemble), at an address that satisfies conditions.
    ///
    /// # Errors
    ///
    /// The errors of [`assemble`](Self::assemble), and:
    ///
    /// - [`TooFar`](crate::ErrorKind::TooFar): no free address range satisfies the conditions.
    /// - [`Null`](crate::ErrorKind::Null): the placement has a distance, but no address.
    ///
    /// # Panics
    ///
    /// As [`assemble`](Self::assemble).
    ///
    /// # Examples
    ///
    /// A jump to a function of this program:
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::{ExecBuffer, Placement};
    ///
    /// extern "C" fn answer() -> i32 {
    ///     42
    /// }
    ///
    /// let target = answer as *const u8;
    /// let buffer = ExecBuffer::assemble_at(Placement::near(target), |address| {
    ///     let distance = i32::try_from(target as isize - (address as isize + 5))?;
    ///     let mut code = vec![0xe9]; //                           jmp target
    ///     code.extend(distance.to_le_bytes());
    ///     Ok::<_, std::num::TryFromIntError>(code)
    /// })?;
    /// // SAFETY: The code jumps to a function of this type.
    /// let jump = unsafe { buffer.function::<extern "C" fn() -> i32>() };
    /// assert_eq!(jump.call(), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn assemble_at<B, E>(
        placement: Placement,
        assemble: impl FnMut(usize) -> Result<B, E>,
    ) -> Result<Self, Error>
    where
        B: AsRef<[u8]>,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        assemble_in(FIRST_CAPACITY, assemble, |capacity| Self::reserve_at(capacity, placement))
    }
}
