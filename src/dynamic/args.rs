//! The arguments of dynamic calls.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr;

use super::caller::{Caller, Place};
use crate::abi::{AbiReturn, AbiType};
use crate::error::Error;

/// The arguments of a call by a [`Caller`]: as many as its signature has, and of the same types. Those that were not set
/// are zero.
///
/// # Examples
///
/// ```
/// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
/// use execbuf::dynamic::Caller;
/// use execbuf::{Abi, ErrorKind};
///
/// extern "C" fn minus(one: i32, other: i32) -> i32 {
///     one - other
/// }
///
/// let caller = Caller::new(&"i(ii)".parse()?, Abi::NATIVE)?;
/// let mut args = caller.args();
/// assert_eq!(args.set(0, 1.5).unwrap_err().kind(), ErrorKind::Mismatch);
/// assert_eq!(args.set(2, 1).unwrap_err().kind(), ErrorKind::Mismatch);
/// args.set(0, 45)?.set(1, 3)?;
/// // SAFETY: The function has this signature and ABI.
/// assert_eq!(unsafe { args.call::<i32>(minus as *const u8) }?, 42);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use = "these call nothing before `call`"]
pub struct Args<'c> {
    caller: &'c Caller,
    /// The slots, then the values whose addresses are in slots. A value may have padding. The vector is never moved to
    /// other memory, because its length never changes.
    memory: Vec<MaybeUninit<u64>>,
}

/// Two slots, aligned as every result.
#[derive(Clone, Copy)]
#[repr(align(16))]
struct Pair {
    _slots: [MaybeUninit<u64>; 2],
}

/// A result of a type, and enough space behind it for the slots of a short one.
#[repr(C)]
struct ResultSlots<R> {
    value: MaybeUninit<R>,
    _rest: Pair,
}

impl<'c> Args<'c> {
    pub(super) fn new(caller: &'c Caller) -> Self {
        let slots = caller.slots().0;
        let words = |place: &Place| if place.is_address() { place.size.div_ceil(8) } else { 0 };
        let all = slots + caller.places().iter().map(words).sum::<usize>();
        let mut memory = vec![MaybeUninit::new(0); all];
        let start = memory.as_mut_ptr();
        let mut next = slots;
        for place in caller.places().iter().filter(|place| place.is_address()) {
            // SAFETY: The slot and the value are in the vector, which is aligned for a pointer.
            unsafe { start.add(place.slot).cast::<*mut MaybeUninit<u64>>().write(start.add(next)) };
            next += words(place);
        }
        Self { caller, memory }
    }

    /// Sets an argument, counted from 0.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch): there is no such argument, or it has another type.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn set<T: AbiType>(&mut self, index: usize, value: T) -> Result<&mut Self, Error> {
        let place = self.caller.place(index).ok_or_else(no_argument)?;
        if T::TYPE != self.caller.signature().arguments()[index] {
            return Err(Error::mismatch("argument"));
        }
        // SAFETY: The memory has space for a value of this type, which is what the type stands for.
        unsafe { self.value(place).cast::<T>().write_unaligned(value) };
        Ok(self)
    }

    /// Sets an argument, counted from 0, to a value as bytes: those that it has in memory.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch): there is no such argument, or its size is not the number of bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::{Abi, dynamic::Caller};
    ///
    /// #[repr(C)]
    /// struct Point {
    ///     x: f64,
    ///     y: f64,
    /// }
    ///
    /// extern "C" fn area(point: Point) -> f64 {
    ///     point.x * point.y
    /// }
    ///
    /// let caller = Caller::new(&"d({dd})".parse()?, Abi::NATIVE)?;
    /// let mut args = caller.args();
    /// let mut bytes = [0; 16];
    /// bytes[..8].copy_from_slice(&6_f64.to_ne_bytes());
    /// bytes[8..].copy_from_slice(&7_f64.to_ne_bytes());
    /// args.set_bytes(0, &bytes)?;
    /// // SAFETY: The function has this signature and ABI.
    /// assert_eq!(unsafe { args.call::<f64>(area as *const u8) }?, 42.0);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn set_bytes(&mut self, index: usize, value: &[u8]) -> Result<&mut Self, Error> {
        let place = self.caller.place(index).ok_or_else(no_argument)?;
        if value.len() != place.size {
            return Err(Error::mismatch("argument"));
        }
        // SAFETY: The memory has space for so many bytes, and nobody else has it.
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), self.value(place), value.len()) };
        Ok(self)
    }

    /// Returns where the value of an argument is.
    fn value(&mut self, place: Place) -> *mut u8 {
        // SAFETY: The vector has the slots of all arguments. There is no reference to its elements, which would end the use of
        // the addresses in them.
        let slot = unsafe { self.memory.as_mut_ptr().add(place.slot) };
        if !place.is_address() {
            return slot.cast();
        }
        // SAFETY: `new` has written the address, and nothing else has been written to this slot.
        unsafe { slot.cast::<*mut u8>().read() }
    }

    /// Calls the function at an address.
    ///
    /// # Errors
    ///
    /// Nothing is called if there is an error:
    ///
    /// - [`Mismatch`](crate::ErrorKind::Mismatch): the result in the signature has another type.
    /// - [`Null`](crate::ErrorKind::Null): the address is null.
    ///
    /// # Safety
    ///
    /// - At the address is a function with the signature and the ABI of the [`Caller`].
    /// - Calling it with these arguments is sound, including those that were not set and are zero.
    /// - Every value that it returns is a valid `R`.
    /// - No panic or exception leaves it.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[doc(alias = "execbuf_call")]
    pub unsafe fn call<R: AbiReturn>(&self, function: *const u8) -> Result<R, Error> {
        if R::TYPE != *self.caller.signature().result() {
            return Err(Error::mismatch("result"));
        }
        let mut result = MaybeUninit::<ResultSlots<R>>::uninit();
        // SAFETY: The space is aligned as the pair. A value of at most 16 bytes has at most two slots, and of a longer one, no
        // byte behind it is written. The caller guarantees the rest.
        unsafe { self.call_checked(function, result.as_mut_ptr().cast()) }?;
        // SAFETY: The call has written a value of this type, or the type has no data.
        Ok(unsafe { (&raw const (*result.as_ptr()).value).cast::<R>().read() })
    }

    /// Calls the function at an address, and writes the bytes of its result, which are as many as its type has.
    ///
    /// # Errors
    ///
    /// Nothing is called if there is an error:
    ///
    /// - [`Mismatch`](crate::ErrorKind::Mismatch): the size of the result is not the length of the slice.
    /// - [`Null`](crate::ErrorKind::Null): the address is null.
    ///
    /// # Safety
    ///
    /// As for [`call`](Self::call), except for the type `R`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::{Abi, dynamic::Caller};
    ///
    /// #[repr(C)]
    /// struct Division {
    ///     quotient: i32,
    ///     rest: i32,
    /// }
    ///
    /// extern "C" fn divide(number: i32, divisor: i32) -> Division {
    ///     Division { quotient: number / divisor, rest: number % divisor }
    /// }
    ///
    /// let caller = Caller::new(&"{ii}(ii)".parse()?, Abi::NATIVE)?;
    /// let mut args = caller.args();
    /// args.set(0, 17)?.set(1, 5)?;
    /// let mut result = [0; 8];
    /// // SAFETY: The function has this signature and ABI.
    /// unsafe { args.call_bytes(divide as *const u8, &mut result) }?;
    /// assert_eq!(result[..4], 3_i32.to_ne_bytes());
    /// assert_eq!(result[4..], 2_i32.to_ne_bytes());
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub unsafe fn call_bytes(&self, function: *const u8, result: &mut [u8]) -> Result<(), Error> {
        if result.len() != self.caller.result_size() {
            return Err(Error::mismatch("result"));
        }
        let slots = self.caller.slots().1;
        let mut memory = vec![Pair { _slots: [MaybeUninit::new(0); 2] }; slots.div_ceil(2)];
        // SAFETY: There are as many slots as the result has. The caller guarantees the rest.
        unsafe { self.call_checked(function, memory.as_mut_ptr().cast()) }?;
        // SAFETY: Machine code that the compiler does not know has written the value, so all of its bytes have a value,
        // also those of padding.
        unsafe { ptr::copy_nonoverlapping(memory.as_ptr().cast(), result.as_mut_ptr(), result.len()) };
        Ok(())
    }

    /// Calls a function, unless its address is null.
    ///
    /// # Safety
    ///
    /// As for [`Caller::call_raw`].
    unsafe fn call_checked(&self, function: *const u8, result: *mut u64) -> Result<(), Error> {
        if function.is_null() {
            return Err(Error::null(c"function"));
        }
        // SAFETY: The slots are those of this caller. The rest is what the caller of this function guarantees.
        unsafe { self.caller.call_raw(function, self.memory.as_ptr().cast(), result) };
        Ok(())
    }
}

fn no_argument() -> Error {
    Error::mismatch("index")
}

/// Formats the caller.
impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").field("caller", &self.caller).finish_non_exhaustive()
    }
}
