//! Types, signatures and ABIs as values.

use core::fmt::{self, Write};

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

/// The most arguments that a [`Signature`] has room for.
const MAX_ARGUMENTS: usize = 127;

/// The result and the arguments of a function.
///
/// `Display` writes it as text: the result's [letter](Type::letter), then those of the arguments in parentheses.
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
/// ```
#[derive(Clone, Copy)]
pub struct Signature {
    result: Type,
    count: u8,
    /// The arguments; `Void` behind the last.
    arguments: [Type; MAX_ARGUMENTS],
}

impl Signature {
    /// For function pointer types, which have few arguments.
    pub(crate) const fn new(result: Type, arguments: &[Type]) -> Self {
        assert!(arguments.len() <= MAX_ARGUMENTS, "too many arguments");
        let mut signature = Self { result, count: 0, arguments: [Type::Void; MAX_ARGUMENTS] };
        while (signature.count as usize) < arguments.len() {
            signature.arguments[signature.count as usize] = arguments[signature.count as usize];
            signature.count += 1;
        }
        signature
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
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.result == other.result && self.arguments() == other.arguments()
    }
}

impl Eq for Signature {}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char(self.result.letter())?;
        f.write_char('(')?;
        for argument in self.arguments() {
            f.write_char(argument.letter())?;
        }
        f.write_char(')')
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
    } else if cfg!(any(windows, target_os = "uefi")) {
        Self::Win64
    } else {
        Self::SysV64
    };
}
