//! Values that describe types, signatures and calling conventions.

use alloc::ffi::CString;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::hash::{Hash, Hasher};
use core::str::FromStr;
use core::{mem, ptr, slice};

use crate::error::{Error, check};
use crate::ffi;

/// The type of an argument or a result.
///
/// Integer types are named by their width. There are no variants for C's `long` and `wchar_t`, whose width depends on
/// the system.
///
/// # Examples
///
/// ```
/// use execbuf::abi::{AbiType, Type};
///
/// assert_eq!(<*const u8 as AbiType>::TYPE, Type::Pointer);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "execbuf_type")]
pub enum Type {
    /// No result.
    Void,
    /// A `bool`.
    Bool,
    /// An `i8`.
    I8,
    /// A `u8`.
    U8,
    /// An `i16`.
    I16,
    /// A `u16`.
    U16,
    /// An `i32`.
    I32,
    /// A `u32`.
    U32,
    /// An `i64`.
    I64,
    /// A `u64`.
    U64,
    /// A pointer, to data or to a function.
    Pointer,
    /// An `f32`.
    F32,
    /// An `f64`.
    F64,
}

/// The types in the order of their numbers in C, with their letters in a signature's text.
const TYPES: [(Type, char); 13] = [
    (Type::Void, 'v'),
    (Type::Bool, '?'),
    (Type::I8, 'b'),
    (Type::U8, 'B'),
    (Type::I16, 'h'),
    (Type::U16, 'H'),
    (Type::I32, 'i'),
    (Type::U32, 'I'),
    (Type::I64, 'l'),
    (Type::U64, 'L'),
    (Type::Pointer, 'p'),
    (Type::F32, 'f'),
    (Type::F64, 'd'),
];

impl Type {
    /// Returns the letter of the type in a signature's text. Signed integers have lowercase letters, unsigned integers
    /// have uppercase letters.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(execbuf::Type::U64.letter(), 'L');
    /// ```
    #[must_use]
    pub const fn letter(&self) -> char {
        TYPES[self.number() as usize].1
    }

    /// The type for C.
    pub(crate) const fn raw(&self) -> ffi::execbuf_type {
        ffi::execbuf_type { kind: self.number() as i32, count: 0, members: ptr::null() }
    }

    /// The number of the type in C: an `execbuf_type_kind`.
    const fn number(&self) -> u8 {
        match self {
            Self::Void => 0,
            Self::Bool => 1,
            Self::I8 => 2,
            Self::U8 => 3,
            Self::I16 => 4,
            Self::U16 => 5,
            Self::I32 => 6,
            Self::U32 => 7,
            Self::I64 => 8,
            Self::U64 => 9,
            Self::Pointer => 10,
            Self::F32 => 11,
            Self::F64 => 12,
        }
    }

    /// The type that has this number in C.
    fn from_raw(raw: &ffi::execbuf_type) -> Self {
        let number = usize::try_from(raw.kind).expect("C has no other types");
        TYPES[number].0.clone()
    }
}

/// The maximum number of arguments of a [`Signature`].
const MAX_ARGUMENTS: usize = ffi::EXECBUF_MAX_ARGUMENTS as usize;

/// The types of a function's result and arguments.
///
/// A signature is the constant [`FnPtr::SIGNATURE`](crate::FnPtr::SIGNATURE) of a function pointer type, or is parsed
/// from text. The text consists of the [letter](Type::letter) of the result and, in parentheses, the letters of the
/// arguments. In the signature of a variadic function, a full stop precedes the arguments that are passed as `...`.
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
    /// A parsed signature.
    Parsed { result: Type, arguments: Arc<[Type]>, fixed: Option<usize> },
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
        let mut arguments = [Type::Void.raw(); MAX_ARGUMENTS];
        for (raw, argument) in arguments.iter_mut().zip(self.arguments()) {
            *raw = argument.raw();
        }
        call(&raw_signature(self.result(), &arguments[..self.arguments().len()], self.fixed()))
    }

    /// Converts a signature that the C library has parsed.
    ///
    /// # Safety
    ///
    /// `execbuf_signature_parse` made it.
    unsafe fn from_raw(raw: &ffi::execbuf_signature) -> Self {
        // SAFETY: The caller guarantees that these are the arguments.
        let arguments = unsafe { slice::from_raw_parts(raw.arguments, raw.count) };
        Self(Repr::Parsed {
            result: Type::from_raw(&raw.result),
            arguments: arguments.iter().map(Type::from_raw).collect(),
            fixed: (raw.fixed != NOT_VARIADIC).then_some(raw.fixed),
        })
    }
}

/// `EXECBUF_NOT_VARIADIC`.
const NOT_VARIADIC: usize = usize::MAX;

/// A signature for C, which borrows the arguments. All signatures go to C through this function.
pub(crate) const fn raw_signature(
    result: &Type,
    arguments: &[ffi::execbuf_type],
    fixed: Option<usize>,
) -> ffi::execbuf_signature {
    assert!(arguments.len() <= MAX_ARGUMENTS, "too many arguments");
    ffi::execbuf_signature {
        size: mem::size_of::<ffi::execbuf_signature>(),
        result: result.raw(),
        arguments: arguments.as_ptr(),
        count: arguments.len(),
        fixed: if let Some(fixed) = fixed { fixed } else { NOT_VARIADIC },
    }
}

/// Parses the text of a signature.
///
/// # Errors
///
/// - [`Syntax`](crate::ErrorKind::Syntax): the text is malformed.
/// - [`Signature`](crate::ErrorKind::Signature): a type is not supported, or there are more than 127 arguments. C's
///   `long`, `long double`, `wchar_t` and `va_list` have no letter. 128-bit integers, vectors and structs are not
///   supported yet.
///
/// The error has the [position](crate::Error::position) and the reason.
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
        // SAFETY: The call has made the signature. It is freed once, when nothing borrows it.
        unsafe {
            let signature = Self::from_raw(&*raw);
            ffi::execbuf_signature_free(raw);
            Ok(signature)
        }
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
        f.write_char(self.result().letter())?;
        f.write_char('(')?;
        for (index, argument) in self.arguments().iter().enumerate() {
            if self.fixed() == Some(index) {
                f.write_char('.')?;
            }
            f.write_char(argument.letter())?;
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
    /// Microsoft x64, `extern "win64"` and `extern "efiapi"`: the convention of Windows and UEFI on x86-64 (Microsoft,
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
