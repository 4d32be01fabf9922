//! Calls of functions whose signature is known only at run time.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::ptr::{self, NonNull};

use super::args::Args;
use crate::abi::{Abi, Signature};
use crate::error::{Error, check};
use crate::ffi;

/// Calls functions of one signature and ABI, whatever their addresses.
///
/// Use it where the types of a function are known only at run time: in the bindings of an interpreter, for example. Set
/// the arguments in [`args`](Self::args), and call.
///
/// Making a caller is mostly a look-up: all callers whose arguments are moved alike share machine code in a pool of the
/// library. No code is made for a function that is called. A clone is the same caller, and threads may share it.
///
/// Where the system refuses to make memory executable, calls work nevertheless, but take longer. (Not on
/// Windows.)
///
/// # Unwinding
///
/// Backtraces pass through a call, and gdb shows its code as `execbuf_call_sysv64`, `execbuf_call_win64` or `execbuf_call_native`. Neither a panic
/// nor an exception may leave the function, because Rust's side of the call is one of an `extern "C"` function.
///
/// # Examples
///
/// ```
/// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
/// use execbuf::Abi;
/// use execbuf::dynamic::Caller;
///
/// extern "C" fn scale(number: u64, factor: f64) -> u64 {
///     (number as f64 * factor) as u64
/// }
///
/// let caller = Caller::new(&"L(Ld)".parse()?, Abi::NATIVE)?;
/// let mut args = caller.args();
/// args.set(0, 28_u64)?.set(1, 1.5)?;
/// // SAFETY: The function has this signature and ABI.
/// let scaled = unsafe { args.call::<u64>(scale as *const u8) }?;
/// assert_eq!(scaled, 42);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "execbuf_caller")]
pub struct Caller(Arc<Inner>);

struct Inner {
    raw: NonNull<ffi::execbuf_caller>,
    signature: Signature,
    abi: Abi,
    arguments: Vec<Place>,
    argument_slots: usize,
    result_slots: usize,
    result_size: usize,
}

/// Where an argument is: its first slot, and its size in bytes.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) slot: usize,
    pub(super) size: usize,
}

impl Place {
    /// Whether the slot has the address of the value.
    pub(super) fn is_address(self) -> bool {
        self.size > 16
    }
}

// SAFETY: A caller is never changed, and C lets threads share it, and any thread free it.
unsafe impl Send for Inner {}
// SAFETY: As above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: `execbuf_caller_new` made it, and it is freed once. Calls borrow this value.
        unsafe { ffi::execbuf_caller_free(self.raw.as_ptr()) };
    }
}

impl Caller {
    /// Makes a caller for functions with this signature and ABI.
    ///
    /// # Errors
    ///
    /// - [`Abi`](crate::ErrorKind::Abi): this architecture does not have the ABI, or is neither x86-64 nor AArch64; or the system is
    ///   Windows on AArch64.
    /// - [`Signature`](crate::ErrorKind::Signature): the values need more than a page of stack.
    /// - The errors of [`ExecPool::publish`](crate::ExecPool::publish).
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[doc(alias = "execbuf_caller_new")]
    pub fn new(signature: &Signature, abi: Abi) -> Result<Self, Error> {
        let mut made = ptr::null_mut();
        signature.with_raw(|raw| {
            // SAFETY: `made`, the layout and the report are writable, and the signature is valid.
            check(|error| unsafe { ffi::execbuf_caller_new(&raw mut made, raw, abi.raw(), error) })
        })?;
        // SAFETY: The call has made it.
        let raw = unsafe { NonNull::new_unchecked(made) };
        let mut inner = Inner {
            raw,
            signature: signature.clone(),
            abi: abi.resolve(),
            arguments: Vec::new(),
            argument_slots: 0,
            result_slots: 0,
            result_size: 0,
        };
        // The sizes of types do not depend on the convention.
        let mut layout = EMPTY_LAYOUT;
        signature.with_raw(|raw| {
            let sysv64 = ffi::execbuf_abi::EXECBUF_ABI_SYSV64;
            // SAFETY: The layout and the report are writable, and the signature is valid.
            check(|error| unsafe { ffi::execbuf_layout_of(raw, &raw mut layout, sysv64, error) })
        })?;
        inner.result_size = layout.result.size as usize;
        // SAFETY: The caller exists, and the numbers are writable.
        unsafe {
            ffi::execbuf_caller_slots(made, &raw mut inner.argument_slots, &raw mut inner.result_slots);
        }
        let place = |index| {
            let mut size = 0;
            // SAFETY: As above.
            let slot = unsafe { ffi::execbuf_caller_argument(made, index, &raw mut size) };
            Place { slot, size }
        };
        inner.arguments = (0..signature.arguments().len()).map(place).collect();
        Ok(Self(Arc::new(inner)))
    }

    /// Returns the signature of the functions.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::{Abi, dynamic::Caller};
    ///
    /// let caller = Caller::new(&"i(p.id)".parse()?, Abi::NATIVE)?;
    /// assert_eq!((caller.signature().to_string().as_str(), caller.abi()), ("i(p.id)", Abi::NATIVE));
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.0.signature
    }

    /// Returns the ABI of the functions.
    ///
    /// # Examples
    ///
    /// See [`signature`](Self::signature).
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.0.abi
    }

    /// Returns the arguments of a call, which are all zero. They may serve for many calls.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn args(&self) -> Args<'_> {
        Args::new(self)
    }

    /// Returns the numbers of slots of 8 bytes that [`call_raw`](Self::call_raw) reads and writes.
    ///
    /// # Examples
    ///
    /// See [`call_raw`](Self::call_raw).
    #[must_use]
    #[doc(alias = "execbuf_caller_slots")]
    pub fn slots(&self) -> (usize, usize) {
        (self.0.argument_slots, self.0.result_slots)
    }

    /// Calls a function with slots of 8 bytes. Nothing is checked. It is meant for interpreters that keep their values
    /// in slots.
    ///
    /// Each argument begins in the next slot. A value of at most 16 bytes is in one or two slots, with the bytes that it
    /// has in memory; bytes behind it do not matter. Of a longer value, the slot has the address. A result of an integer
    /// type or `bool` is extended to 64 bits. Any other result has the bytes that it has in memory, whatever its size.
    ///
    /// # Safety
    ///
    /// - `function` is the address of a function with this signature and ABI, and calling it with these arguments is
    ///   sound.
    /// - `slots` and `result` have as many slots as [`slots`](Self::slots) says. They may be null if there are none.
    /// - The slots of the arguments have what is described above. The result can be written. If its type is aligned to
    ///   16 bytes, so is `result`.
    /// - No panic or exception leaves the function.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))] {
    /// use execbuf::{Abi, dynamic::Caller};
    ///
    /// extern "C" fn minus(one: i32, other: i32) -> i32 {
    ///     one - other
    /// }
    ///
    /// let caller = Caller::new(&"i(ii)".parse()?, Abi::NATIVE)?;
    /// assert_eq!(caller.slots(), (2, 1));
    /// let mut result = 0;
    /// // SAFETY: The function has this signature and ABI, and the slots are as many as it needs.
    /// unsafe { caller.call_raw(minus as *const u8, [40, 42].as_ptr(), &raw mut result) };
    /// assert_eq!(result as i64, -2);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[inline]
    #[doc(alias = "execbuf_call")]
    pub unsafe fn call_raw(&self, function: *const u8, slots: *const u64, result: *mut u64) {
        // SAFETY: Function pointers and data pointers have the same representation on every platform that execbuf
        // supports; null is `None`.
        let function = unsafe { mem::transmute::<*const u8, ffi::execbuf_function>(function) };
        // SAFETY: The caller exists. The rest is what the caller of this function guarantees.
        unsafe { ffi::execbuf_call(self.0.raw.as_ptr(), function, slots.cast(), result.cast()) };
    }

    /// Where an argument is, or `None` if the signature has no such argument.
    pub(super) fn place(&self, index: usize) -> Option<Place> {
        self.0.arguments.get(index).copied()
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.0.arguments
    }

    /// The size of the result in bytes.
    pub(super) fn result_size(&self) -> usize {
        self.0.result_size
    }
}

/// `EXECBUF_LAYOUT_INIT`.
const EMPTY_LAYOUT: ffi::execbuf_layout = {
    let nowhere = ffi::execbuf_location {
        where_: 0,
        number: 0,
        offset: 0,
        is_reference: 0,
        size: 0,
        second_where: 0,
        second_number: 0,
        reserved: 0,
    };
    ffi::execbuf_layout {
        size: mem::size_of::<ffi::execbuf_layout>(),
        stack_size: 0,
        vector_count: 0,
        result: nowhere,
        result_pointer: nowhere,
        arguments: [nowhere; ffi::EXECBUF_MAX_ARGUMENTS as usize],
    }
};

/// Formats the signature and the ABI.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("signature", &self.0.signature)
            .field("abi", &self.0.abi)
            .finish_non_exhaustive()
    }
}
