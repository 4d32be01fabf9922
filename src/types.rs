//! Values that describe the types of arguments and results.

use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::hash::{Hash, Hasher};
use core::{ptr, slice};

use crate::ffi;

/// The type of an argument or a result.
///
/// Integer types are named by their width. There are no variants for C's `long` and `wchar_t`, whose width depends on
/// the system. Types with members stand for C structs and unions that are passed by value.
///
/// The text of a type, in that of a [`Signature`](crate::Signature), is the letter of its variant, or:
///
/// | text | in C |
/// |---|---|
/// | `{l{hh}}` | a struct, here of a 64-bit integer and another struct |
/// | `<ld>` | a union |
/// | `[4f]` | an array, as a member |
/// | `!{bi}`, `!2{bi}` | a packed struct or union, whose members are aligned to at most 1, or 2, 4 or 8 bytes |
/// | `@16{ll}` | a struct, union or member that is aligned to 2, 4, 8 or 16 bytes |
///
/// # Examples
///
/// ```
/// use execbuf::Signature;
/// use execbuf::abi::{AbiType, Type};
///
/// assert_eq!(<*const u8 as AbiType>::TYPE, Type::Pointer);
///
/// let signature: Signature = "{dd}({dd}d)".parse()?;
/// let Type::Struct(members) = signature.result() else { panic!("it is a struct") };
/// assert_eq!(members.types(), [Type::F64, Type::F64]);
/// # Ok::<(), execbuf::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "execbuf_type")]
pub enum Type {
    /// `v`: no result.
    Void,
    /// `?`: a `bool`.
    Bool,
    /// `b`: an `i8`.
    I8,
    /// `B`: a `u8`.
    U8,
    /// `h`: an `i16`.
    I16,
    /// `H`: a `u16`.
    U16,
    /// `i`: an `i32`.
    I32,
    /// `I`: a `u32`.
    U32,
    /// `l`: an `i64`.
    I64,
    /// `L`: a `u64`.
    U64,
    /// `p`: a pointer, to data or to a function.
    Pointer,
    /// `f`: an `f32`.
    F32,
    /// `d`: an `f64`.
    F64,
    /// `x`: an `i128`.
    I128,
    /// `X`: a `u128`.
    U128,
    /// `m`: a vector of 128 bits, such as `__m128`.
    V128,
    /// A struct.
    Struct(Members),
    /// A union.
    Union(Members),
    /// An array: so many elements of a type.
    Array(Counted),
    /// A packed struct or union: its members are aligned to at most so many bytes.
    Packed(Counted),
    /// A type that is aligned to so many bytes.
    Aligned(Counted),
}

/// The types of the members of a struct or union.
#[derive(Clone)]
pub struct Members(Repr);

#[derive(Clone)]
enum Repr {
    /// Members of a constant.
    Constant(&'static ConstantMembers),
    /// Members of a type in a parsed signature.
    Parsed(Arc<[Type]>),
}

/// The members of a type that is a constant, also in the form of C.
pub(crate) struct ConstantMembers {
    types: &'static [Type],
    raw: &'static [ffi::execbuf_type],
}

// SAFETY: Nobody changes constants. The pointers in `raw` refer to others.
unsafe impl Send for ConstantMembers {}
// SAFETY: As above.
unsafe impl Sync for ConstantMembers {}

impl ConstantMembers {
    /// # Safety
    ///
    /// `raw` has what [`Type::raw`] returns for each of the types.
    pub(crate) const unsafe fn new(types: &'static [Type], raw: &'static [ffi::execbuf_type]) -> Self {
        assert!(types.len() == raw.len());
        assert!(
            types.len() <= ffi::EXECBUF_MAX_MEMBERS as usize,
            "a type has more than 255 members; pass a pointer"
        );
        Self { types, raw }
    }
}

impl Members {
    /// Returns the members of a constant.
    pub(crate) const fn of_constant(members: &'static ConstantMembers) -> Self {
        Self(Repr::Constant(members))
    }

    /// The members of a type that is a constant. Only parsed signatures contain other types.
    const fn constant(&self) -> &'static ConstantMembers {
        match &self.0 {
            Repr::Constant(members) => members,
            Repr::Parsed(_) => panic!("the type is no constant"),
        }
    }

    /// The types of a constant, as [`types`](Self::types).
    pub(crate) const fn constant_types(&self) -> &'static [Type] {
        self.constant().types
    }

    /// Returns the types, in order.
    ///
    /// # Examples
    ///
    /// See [`Type`].
    #[must_use]
    pub fn types(&self) -> &[Type] {
        match &self.0 {
            Repr::Constant(members) => members.types,
            Repr::Parsed(types) => types,
        }
    }
}

/// Members are equal if their types are.
impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.types() == other.types()
    }
}

impl Eq for Members {}

impl Hash for Members {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.types().hash(state);
    }
}

/// Formats the list of types.
impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.types().fmt(f)
    }
}

/// A type with a number, which a variant of [`Type`] gives a meaning.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Counted {
    count: u32,
    /// One type.
    inner: Members,
}

impl Counted {
    /// Returns a constant. It has one member.
    pub(crate) const fn of_constant(count: u32, inner: &'static ConstantMembers) -> Self {
        assert!(inner.types.len() == 1);
        Self { count, inner: Members::of_constant(inner) }
    }

    /// The type of a constant, as [`inner`](Self::inner).
    pub(crate) const fn constant_inner(&self) -> &'static Type {
        &self.inner.constant_types()[0]
    }

    /// Returns the number: of elements, or of bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{Signature, Type};
    ///
    /// let signature: Signature = "v(@16{ll})".parse()?;
    /// let Type::Aligned(aligned) = &signature.arguments()[0] else { panic!("it is aligned") };
    /// assert_eq!((aligned.count(), aligned.inner().to_string().as_str()), (16, "{ll}"));
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Returns the type: of an element, or without the attribute.
    ///
    /// # Examples
    ///
    /// See [`count`](Self::count).
    #[must_use]
    pub fn inner(&self) -> &Type {
        &self.inner.types()[0]
    }
}

/// The types without members in the order of their numbers in C.
const TYPES: [Type; LETTERS.len()] = [
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
    Type::I128,
    Type::U128,
    Type::V128,
];

/// Their letters in a signature's text.
const LETTERS: &[u8; 16] = b"v?bBhHiIlLpfdxXm";

impl Type {
    /// Returns the first character of the type's text: of a type without members, its letter, which is the whole text.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(execbuf::Type::U64.letter(), 'L');
    /// ```
    #[must_use]
    pub const fn letter(&self) -> char {
        match self {
            Self::Struct(_) => '{',
            Self::Union(_) => '<',
            Self::Array(_) => '[',
            Self::Packed(_) => '!',
            Self::Aligned(_) => '@',
            _ => LETTERS[self.number() as usize] as char,
        }
    }

    /// The type for C. The type is a constant: those of parsed signatures have their own form for C.
    pub(crate) const fn raw(&self) -> ffi::execbuf_type {
        let (count, members) = match self {
            Self::Struct(members) | Self::Union(members) => {
                let members = members.constant();
                #[expect(clippy::cast_possible_truncation, reason = "there are at most 255 members")]
                let count = members.types.len() as u32;
                (count, members.raw.as_ptr())
            }
            Self::Array(counted) | Self::Packed(counted) | Self::Aligned(counted) => {
                (counted.count, counted.inner.constant().raw.as_ptr())
            }
            _ => (0, ptr::null()),
        };
        ffi::execbuf_type { kind: self.number() as i32, count, members }
    }

    /// The number of the type in C: an `execbuf_type_kind`.
    pub(crate) const fn number(&self) -> u8 {
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
            Self::I128 => 13,
            Self::U128 => 14,
            Self::V128 => 15,
            Self::Struct(_) => 16,
            Self::Union(_) => 17,
            Self::Array(_) => 18,
            Self::Packed(_) => 19,
            Self::Aligned(_) => 20,
        }
    }

    /// The type that C describes.
    ///
    /// # Safety
    ///
    /// The type belongs to a signature that `execbuf_signature_parse` made.
    pub(crate) unsafe fn from_raw(raw: &ffi::execbuf_type) -> Self {
        let number = usize::try_from(raw.kind).expect("C has no other types");
        if number < TYPES.len() {
            return TYPES[number].clone();
        }
        let is_struct = number == 16 || number == 17;
        let length = if is_struct { raw.count as usize } else { 1 };
        // SAFETY: The signature is valid, so these are the members.
        let members = unsafe { slice::from_raw_parts(raw.members, length) };
        // SAFETY: They belong to the same signature.
        let members = members.iter().map(|member| unsafe { Self::from_raw(member) });
        let members = Members(Repr::Parsed(members.collect()));
        if is_struct {
            return if number == 16 { Self::Struct(members) } else { Self::Union(members) };
        }
        let counted = Counted { count: raw.count, inner: members };
        match number {
            18 => Self::Array(counted),
            19 => Self::Packed(counted),
            _ => Self::Aligned(counted),
        }
    }
}

/// Formats the text of the type.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char(self.letter())?;
        match self {
            Self::Struct(members) | Self::Union(members) => {
                for member in members.types() {
                    write!(f, "{member}")?;
                }
                f.write_char(if matches!(self, Self::Struct(_)) { '}' } else { '>' })
            }
            Self::Array(array) => write!(f, "{}{}]", array.count(), array.inner()),
            Self::Packed(packed) if packed.count() == 1 => write!(f, "{}", packed.inner()),
            Self::Packed(counted) | Self::Aligned(counted) => write!(f, "{}{}", counted.count(), counted.inner()),
            _ => Ok(()),
        }
    }
}
