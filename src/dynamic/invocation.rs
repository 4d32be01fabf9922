//! Calls of closures whose signature is known only at run time.

use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
use core::{ptr, slice};

use super::values::{self, Value};
use crate::abi::{AbiType, Signature};
use crate::error::Error;

/// A call that the handler of a [`DynClosure`](super::DynClosure) answers: its arguments and its result.
///
/// # Examples
///
/// A struct is read and written as a type that [`abi_struct!`](crate::abi_struct) defines, or as bytes:
///
/// ```
/// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
/// use execbuf::dynamic::DynClosure;
/// use execbuf::{Abi, ErrorKind, abi_struct};
///
/// abi_struct! {
///     pub struct Point {
///         pub x: f64,
///         pub y: f64,
///     }
/// }
///
/// let closure = DynClosure::new(&"{dd}({dd}d)".parse()?, Abi::NATIVE, |call| {
///     let Point { x, y } = call.arg(0).expect("a point");
///     let factor: f64 = call.arg(1).expect("a factor");
///     assert_eq!(call.arg_bytes(0).expect("a point")[..8], x.to_ne_bytes());
///     assert_eq!(call.arg::<i32>(1).unwrap_err().kind(), ErrorKind::Mismatch);
///     call.set_result(Point { x: factor * x, y: factor * y }).expect("a point");
/// })?;
/// let scale = closure.function::<extern "C" fn(Point, f64) -> Point>()?;
/// assert_eq!(scale.call(Point { x: 1.5, y: 2.5 }, 2.0).y, 5.0);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
pub struct Invocation<'i> {
    signature: &'i Signature,
    values: &'i [Value],
    answer: Value,
    slots: *const MaybeUninit<u64>,
    result: *mut u8,
    /// The memory of the result.
    memory: PhantomData<&'i mut u8>,
}

impl<'i> Invocation<'i> {
    /// # Safety
    ///
    /// `values` and `answer` are those of the signature. The slots have the arguments of a call; they, and what they have the
    /// addresses of, exist while `'i`. At `result` is memory for a result, and nobody else has it.
    #[inline]
    pub(super) unsafe fn new(
        signature: &'i Signature,
        values: &'i [Value],
        answer: Value,
        slots: *const MaybeUninit<u64>,
        result: *mut u8,
    ) -> Self {
        Self { signature, values, answer, slots, result, memory: PhantomData }
    }

    /// Returns the signature of the closure.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::{Abi, Type, dynamic::DynClosure};
    ///
    /// /// Returns the sum of any number of integers.
    /// let sum = |text: &str| {
    ///     DynClosure::new(&text.parse()?, Abi::NATIVE, |call| {
    ///         let count = call.signature().arguments().len();
    ///         let sum = (0..count).map(|index| call.arg::<i64>(index).expect("an integer")).sum::<i64>();
    ///         call.set_result(sum).expect("an integer");
    ///     })
    /// };
    /// assert_eq!(sum("l(ll)")?.function::<extern "C" fn(i64, i64) -> i64>()?.call(40, 2), 42);
    /// assert_eq!(sum("l()")?.function::<extern "C" fn() -> i64>()?.call(), 0);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn signature(&self) -> &'i Signature {
        self.signature
    }

    /// Returns an argument, counted from 0.
    ///
    /// `T` cannot be a `NonNull` or a function pointer, nor a struct that has one, because a caller may pass any pointer for
    /// `p`: ask for a `*const T` or an `Option<NonNull<T>>`. That is checked when the program is compiled.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch): there is no such argument, or it has another type.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[inline]
    pub fn arg<T: AbiType>(&self, index: usize) -> Result<T, Error> {
        const {
            assert!(T::ANY_BITS, "a caller may pass any pointer: ask for `*const T` or `Option<NonNull<T>>`");
        }
        let Some(value) = self.values.get(index) else { return Err(mismatch("index")) };
        if !value.is::<T>(|| &self.signature.arguments()[index]) {
            return Err(mismatch("argument"));
        }
        // SAFETY: There is a value of this type, and whatever the caller passed is a valid `T`.
        Ok(unsafe { self.address(value, mem::size_of::<T>()).cast::<T>().read_unaligned() })
    }

    /// Returns the bytes of an argument, counted from 0: those that it has in memory. `None`: there is no such argument.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn arg_bytes(&self, index: usize) -> Option<&'i [u8]> {
        let value = self.values.get(index)?;
        // SAFETY: There are so many bytes, and nobody changes them during the call. Machine code that the compiler does not
        // know has passed the value, so all of its bytes have a value, also those of padding.
        Some(unsafe { slice::from_raw_parts(self.address(value, value.size), value.size) })
    }

    /// Sets the result. If this is not called, the result is zero.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch): the result has another type. It stays what it was.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[inline]
    pub fn set_result<T: AbiType>(&mut self, value: T) -> Result<(), Error> {
        if !self.answer.is::<T>(|| self.signature.result()) {
            return Err(mismatch("result"));
        }
        // SAFETY: There is memory for a value of this type.
        unsafe { self.result.cast::<T>().write_unaligned(value) };
        Ok(())
    }

    /// Sets the result to a value as bytes: those that it has in memory.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch): the size of the result is not the number of bytes, or a byte that is a `bool`
    /// is neither 0 nor 1. The result stays what it was.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::{Abi, dynamic::DynClosure};
    ///
    /// let closure = DynClosure::new(&"i()".parse()?, Abi::NATIVE, |call| {
    ///     call.set_result_bytes(&42_i32.to_ne_bytes()).expect("four bytes");
    ///     assert!(call.set_result_bytes(&[0; 8]).is_err());
    /// })?;
    /// assert_eq!(closure.function::<extern "C" fn() -> i32>()?.call(), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn set_result_bytes(&mut self, value: &[u8]) -> Result<(), Error> {
        if value.len() != self.answer.size || !values::are_value(self.signature.result(), value) {
            return Err(mismatch("result"));
        }
        // SAFETY: There are so many bytes. The slice cannot overlap with them, which only this invocation has.
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), self.result, value.len()) };
        Ok(())
    }

    /// Returns where an argument of this size is. The size is a constant for the compiler if the type is.
    #[inline]
    fn address(&self, value: &Value, size: usize) -> *const u8 {
        // SAFETY: The call has the slots of all arguments.
        let slot = unsafe { self.slots.add(value.slot) };
        if !Value::is_address(size) {
            return slot.cast();
        }
        // SAFETY: The slot of such an argument has the address of its value.
        unsafe { slot.cast::<*const u8>().read() }
    }
}

#[cold]
fn mismatch(what: &'static str) -> Error {
    Error::mismatch(what)
}

/// Formats the signature.
impl fmt::Debug for Invocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation").field("signature", self.signature).finish_non_exhaustive()
    }
}
