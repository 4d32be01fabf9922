//! Values that describe signatures and calling conventions.

use alloc::ffi::CString;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::hash::{Hash, Hasher};
use core::ptr::NonNull;
use core::str::FromStr;
use core::{mem, ptr, slice};

use crate::error::{Error, check};
use crate::ffi;
use crate::types::Type;

/// The maximum number of arguments of a [`Signature`].
const MAX_ARGUMENTS: usize = ffi::EXECBUF_MAX_ARGUMENTS as usize;

/// The types of a function's result and arguments.
///
/// A signature is the constant [`FnPtr::SIGNATURE`](crate::FnPtr::SIGNATURE) of a function pointer type, or is parsed
/// from text. The text consists of the type of the result and, in parentheses, the types of the arguments, each as
/// [`Type`] describes. In the signature of a variadic function, a full stop precedes the arguments that are passed as
/// `...`.
///
/// # Examples
///
/// ```
/// use core::ffi::c_void;
/// use execbuf::{FnPtr, Type};
///
/// type F = extern "C" fn(*const c_void, i32, f64) -> u64;
/// assert_eq!(F::SIGNATURE.to_string(), "L(pid)");
/// assert_eq!(F::SIGNATURE.arguments(), [Type::Pointer, Type::I32, Type::F64]);
/// assert_eq!(*F::SIGNATURE.result(), Type::U64);
/// assert_eq!(F::SIGNATURE, "L(pid)".parse()?);
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "execbuf_signature")]
pub struct Signature(Repr);

#[derive(Clone)]
enum Repr {
    /// The signature of a function pointer type.
    Static { result: Type, arguments: &'static [Type] },
    /// A parsed signature, also in the form of C.
    Parsed { result: Type, arguments: Arc<[Type]>, fixed: Option<usize>, raw: Arc<Parsed> },
}

/// A signature that the C library has parsed.
struct Parsed(NonNull<ffi::execbuf_signature>);

// SAFETY: The signature is never changed, and C lets threads share it.
unsafe impl Send for Parsed {}
// SAFETY: As above.
unsafe impl Sync for Parsed {}

impl Drop for Parsed {
    fn drop(&mut self) {
        // SAFETY: `execbuf_signature_parse` made the signature. It is freed once, when nothing borrows it.
        unsafe { ffi::execbuf_signature_free(self.0.as_ptr()) };
    }
}

impl Signature {
    /// Returns the signature of a function pointer type.
    pub(crate) const fn from_static(result: Type, arguments: &'static [Type]) -> Self {
        Self(Repr::Static { result, arguments })
    }

    /// Returns the type of the result, which is [`Type::Void`] if there is none.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub const fn result(&self) -> &Type {
        match &self.0 {
            Repr::Static { result, .. } | Repr::Parsed { result, .. } => result,
        }
    }

    /// Returns the types of the arguments.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn arguments(&self) -> &[Type] {
        match &self.0 {
            Repr::Static { arguments, .. } => arguments,
            Repr::Parsed { arguments, .. } => arguments,
        }
    }

    /// Returns the number of arguments before the `...` of a variadic function, or `None` if the function is not
    /// variadic.
    ///
    /// # Examples
    ///
    /// ```
    /// let printf: execbuf::Signature = "i(p.id)".parse()?;
    /// assert_eq!((printf.arguments().len(), printf.fixed()), (3, Some(1)));
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub const fn fixed(&self) -> Option<usize> {
        match &self.0 {
            Repr::Static { .. } => None,
            Repr::Parsed { fixed, .. } => *fixed,
        }
    }

    /// Calls a function with the signature in the form of the C library.
    pub(crate) fn with_raw<R>(&self, call: impl FnOnce(&ffi::execbuf_signature) -> R) -> R {
        match &self.0 {
            Repr::Static { result, arguments: types } => {
                let mut arguments = [Type::Void.raw(); MAX_ARGUMENTS];
                for (raw, argument) in arguments.iter_mut().zip(*types) {
                    *raw = argument.raw();
                }
                call(&raw_signature(result.raw(), &arguments[..types.len()]))
            }
            // SAFETY: The signature lives as long as `raw`, and nobody changes it.
            Repr::Parsed { raw, .. } => call(unsafe { raw.0.as_ref() }),
        }
    }

    /// Converts a signature that the C library has parsed.
    fn from_parsed(parsed: Parsed) -> Self {
        // SAFETY: The signature is valid, its arguments are an array of this length, and so are members of its types.
        let (result, arguments, fixed) = unsafe {
            let raw = parsed.0.as_ref();
            let arguments: &[_] =
                if raw.count == 0 { &[] } else { slice::from_raw_parts(raw.arguments, raw.count) };
            (Type::from_raw(&raw.result), arguments.iter().map(|raw| Type::from_raw(raw)).collect(), raw.fixed)
        };
        let fixed = (fixed != NOT_VARIADIC).then_some(fixed);
        Self(Repr::Parsed { result, arguments, fixed, raw: Arc::new(parsed) })
    }
}

/// `EXECBUF_NOT_VARIADIC`.
const NOT_VARIADIC: usize = usize::MAX;

/// A signature for C that is not variadic, which borrows the arguments. All signatures that were not parsed go to C
/// through this function.
pub(crate) const fn raw_signature(
    result: ffi::execbuf_type,
    arguments: &[ffi::execbuf_type],
) -> ffi::execbuf_signature {
    assert!(arguments.len() <= MAX_ARGUMENTS, "too many arguments");
    ffi::execbuf_signature {
        size: mem::size_of::<ffi::execbuf_signature>(),
        result,
        arguments: arguments.as_ptr(),
        count: arguments.len(),
        fixed: NOT_VARIADIC,
    }
}

/// Parses the text of a signature.
///
/// # Errors
///
/// - [`Syntax`](crate::ErrorKind::Syntax): the text is malformed.
/// - [`Signature`](crate::ErrorKind::Signature): a type is not supported, or there are more than 127 arguments, or
///   4,096 types with all members. C's
///   `long`, `long double`, `wchar_t` and `va_list` have no letter. A type is also refused if it is empty, aligned to
///   more than 16 bytes, larger than 64 KiB, or nested deeper than 8 levels.
///
/// The error has the [position](crate::Error::position) and the reason, and its message says which member of a type is
/// at fault.
///
/// # Examples
///
/// See the [type](Signature).
impl FromStr for Signature {
    type Err = Error;

    #[doc(alias = "execbuf_signature_parse")]
    fn from_str(text: &str) -> Result<Self, Error> {
        // Text in C ends at the first zero byte. Passing the byte 1 instead makes the parser reject it at that position.
        let end = text.find('\0').unwrap_or(text.len());
        let (head, rest) = text.split_at(end);
        let more = if rest.is_empty() { "" } else { "\x01" };
        let mut bytes = alloc::vec::Vec::new();
        if bytes.try_reserve_exact(head.len() + more.len() + 1).is_err() {
            return Err(Error::no_memory(c"text"));
        }
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(more.as_bytes());
        // SAFETY: Neither `head` nor `more` contains a zero byte.
        let text = unsafe { CString::from_vec_unchecked(bytes) };
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` and the report are writable, and the text ends with a zero byte.
        check(|error| unsafe { ffi::execbuf_signature_parse(&raw mut raw, text.as_ptr(), error) })?;
        Ok(Self::from_parsed(Parsed(NonNull::new(raw).expect("the call has made it"))))
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.result() == other.result() && self.arguments() == other.arguments() && self.fixed() == other.fixed()
    }
}

impl Eq for Signature {}

impl Hash for Signature {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.result(), self.arguments(), self.fixed()).hash(state);
    }
}

/// Formats the text that [`FromStr`] parses.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.result())?;
        for (index, argument) in self.arguments().iter().enumerate() {
            if self.fixed() == Some(index) {
                f.write_char('.')?;
            }
            write!(f, "{argument}")?;
        }
        f.write_str(if self.fixed() == Some(self.arguments().len()) { ".)" } else { ")" })
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

/// A calling convention: where arguments and results are passed, and which registers a function preserves.
///
/// # Examples
///
/// ```
/// use execbuf::{Abi, FnPtr};
///
/// assert_eq!(<extern "C" fn()>::ABI, Abi::NATIVE);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "execbuf_abi")]
pub enum Abi {
    /// System V AMD64, `extern "sysv64"`: the convention of Linux, macOS and the BSDs on x86-64 (System V psABI, AMD64
    /// supplement, 3.2).
    SysV64,
    /// Microsoft x64, `extern "win64"` and, on Windows, `extern "efiapi"`: the convention of Windows and UEFI on x86-64 (Microsoft,
    /// "x64 calling convention"; UEFI specification, 2.3.4).
    Win64,
    /// The C convention of a target other than x86-64, such as AAPCS64. On x86-64, a builder of thunks replaces it by
    /// [`NATIVE`](Self::NATIVE).
    C,
}

impl Abi {
    /// The convention that `extern "C"` means on this target.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub const NATIVE: Self = if cfg!(not(target_arch = "x86_64")) {
        Self::C
    } else if cfg!(any(windows, target_os = "uefi", target_os = "cygwin")) {
        Self::Win64
    } else {
        Self::SysV64
    };

    /// The convention itself: [`NATIVE`](Self::NATIVE) in place of `C`, so that equal conventions compare equal.
    pub(crate) const fn resolve(self) -> Self {
        match self {
            Self::C => Self::NATIVE,
            Self::SysV64 | Self::Win64 => self,
        }
    }

    /// The convention for C.
    pub(crate) fn raw(self) -> ffi::execbuf_abi {
        match self {
            Self::SysV64 => ffi::execbuf_abi::EXECBUF_ABI_SYSV64,
            Self::Win64 => ffi::execbuf_abi::EXECBUF_ABI_WIN64,
            Self::C => ffi::execbuf_abi::EXECBUF_ABI_NATIVE,
        }
    }
}
