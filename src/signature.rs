//! Types, signatures and ABIs as values.

use alloc::ffi::CString;
use core::fmt::{self, Write};
use core::str::FromStr;

use crate::error::{Error, check};
use crate::ffi;

/// A type that can cross a call in every ABI, by its width. There is none for C's `long` or `wchar_t`, whose width
/// depends on the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
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

impl Type {
    /// The letter that stands for the type in a signature's text: small for signed, capital for unsigned.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(execbuf::Type::U64.letter(), 'L');
    /// ```
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Void => 'v',
            Self::Bool => '?',
            Self::I8 => 'b',
            Self::U8 => 'B',
            Self::I16 => 'h',
            Self::U16 => 'H',
            Self::I32 => 'i',
            Self::U32 => 'I',
            Self::I64 => 'l',
            Self::U64 => 'L',
            Self::Pointer => 'p',
            Self::F32 => 'f',
            Self::F64 => 'd',
        }
    }
}

/// All types, in the order of their numbers in C.
const TYPES: [Type; 13] = [
    Type::Void,
    Type::Bool,
    Type::I8,
    Type::U8,
    Type::I16,
    Type::U16,
    Type::I32,
    Type::U32,
    Type::I64,
    Type::U64,
    Type::Pointer,
    Type::F32,
    Type::F64,
];

/// The most arguments that a [`Signature`] has room for.
const MAX_ARGUMENTS: usize = ffi::EXECBUF_MAX_ARGUMENTS as usize;

/// The result and the arguments of a function.
///
/// It comes from a function pointer type, or is parsed. As text it is the result's [letter](Type::letter), then those of
/// the arguments in parentheses; a full stop stands where the `...` of a variadic function begins.
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
/// assert_eq!(F::SIGNATURE.result(), Type::U64);
/// assert_eq!(F::SIGNATURE, "L(pid)".parse()?);
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Signature {
    result: Type,
    count: u8,
    /// How many arguments come before the `...`.
    fixed: Option<u8>,
    /// The arguments; `Void` behind the last.
    arguments: [Type; MAX_ARGUMENTS],
}

impl Signature {
    /// For function pointer types, which have few arguments.
    pub(crate) const fn new(result: Type, arguments: &[Type]) -> Self {
        assert!(arguments.len() <= MAX_ARGUMENTS, "too many arguments");
        let mut signature = Self { result, count: 0, fixed: None, arguments: [Type::Void; MAX_ARGUMENTS] };
        while (signature.count as usize) < arguments.len() {
            signature.arguments[signature.count as usize] = arguments[signature.count as usize];
            signature.count += 1;
        }
        signature
    }

    /// The same, for C. The types have the same numbers there.
    pub(crate) const fn raw(&self) -> ffi::execbuf_signature {
        let mut raw = EMPTY;
        raw.result = self.result as u8;
        raw.count = self.count;
        if let Some(fixed) = self.fixed {
            raw.variadic = 1;
            raw.fixed = fixed;
        }
        let mut index = 0;
        while index < self.count as usize {
            raw.arguments[index] = self.arguments[index] as u8;
            index += 1;
        }
        raw
    }

    /// The type of the result, [`Type::Void`] if there is none.
    #[must_use]
    pub const fn result(&self) -> Type {
        self.result
    }

    /// The types of the arguments.
    #[must_use]
    pub fn arguments(&self) -> &[Type] {
        &self.arguments[..usize::from(self.count)]
    }

    /// How many of the arguments come before the `...` of a variadic function; `None` if it is not variadic.
    ///
    /// # Examples
    ///
    /// ```
    /// let printf: execbuf::Signature = "i(p.id)".parse()?;
    /// assert_eq!((printf.arguments().len(), printf.fixed()), (3, Some(1)));
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn fixed(&self) -> Option<usize> {
        self.fixed.map(usize::from)
    }
}

/// Reads a signature.
///
/// # Errors
///
/// [`Syntax`](crate::ErrorKind::Syntax) and [`Signature`](crate::ErrorKind::Signature), which say where, and why. There is
/// no letter for C's `long`, `long double`, `wchar_t` and `va_list`; 128-bit integers, vectors and structs are not
/// supported yet.
impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // C's text ends at the first zero, where Rust's goes on: a zero is no letter, and is refused there.
        let end = text.find('\0').unwrap_or(text.len());
        let (head, rest) = text.split_at(end);
        let more = if rest.is_empty() { "" } else { "\x01" };
        let mut bytes = alloc::vec::Vec::new();
        if bytes.try_reserve_exact(head.len() + more.len() + 1).is_err() {
            return Err(Error::no_memory(c"text"));
        }
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(more.as_bytes());
        // SAFETY: There is no zero in it.
        let text = unsafe { CString::from_vec_unchecked(bytes) };
        let mut raw = EMPTY;
        // SAFETY: `raw` and the report can be written, and the text ends with a zero.
        check(|error| unsafe { ffi::execbuf_signature_parse(&raw mut raw, text.as_ptr(), error) })?;
        let of = |number: u8| TYPES[usize::from(number)];
        Ok(Self {
            result: of(raw.result),
            count: raw.count,
            fixed: (raw.variadic != 0).then_some(raw.fixed),
            arguments: raw.arguments.map(of),
        })
    }
}

const EMPTY: ffi::execbuf_signature =
    ffi::execbuf_signature { result: 0, count: 0, variadic: 0, fixed: 0, arguments: [0; MAX_ARGUMENTS] };

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.result == other.result && self.fixed == other.fixed && self.arguments() == other.arguments()
    }
}

impl Eq for Signature {}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char(self.result.letter())?;
        f.write_char('(')?;
        for (index, argument) in self.arguments().iter().enumerate() {
            if self.fixed() == Some(index) {
                f.write_char('.')?;
            }
            f.write_char(argument.letter())?;
        }
        f.write_str(if self.fixed() == Some(usize::from(self.count)) { ".)" } else { ")" })
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

/// A calling convention: where arguments and results are, and which registers a function preserves.
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
pub enum Abi {
    /// System V AMD64, `extern "sysv64"`: what x86-64 Linux, macOS and the BSDs use (System V psABI, AMD64
    /// supplement, 3.2).
    SysV64,
    /// Microsoft x64, `extern "win64"` and `extern "efiapi"`: what x86-64 Windows and UEFI use (Microsoft, "x64
    /// calling convention"; UEFI specification, 2.3.4).
    Win64,
    /// The convention of a target other than x86-64 that the function pointer type stands for, such as AAPCS64.
    C,
}

impl Abi {
    /// What `extern "C"` means on this target.
    pub const NATIVE: Self = if cfg!(not(target_arch = "x86_64")) {
        Self::C
    } else if cfg!(any(windows, target_os = "uefi", target_os = "cygwin")) {
        Self::Win64
    } else {
        Self::SysV64
    };

    /// The same, for C.
    pub(crate) fn raw(self) -> ffi::execbuf_abi {
        match self {
            Self::SysV64 => ffi::execbuf_abi::EXECBUF_ABI_SYSV64,
            Self::Win64 => ffi::execbuf_abi::EXECBUF_ABI_WIN64,
            Self::C => ffi::execbuf_abi::EXECBUF_ABI_NATIVE,
        }
    }
}
