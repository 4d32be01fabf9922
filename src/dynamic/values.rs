//! Sizes of types that are known only at run time, and which bytes are values of them.

use alloc::vec::Vec;
use core::mem;

use crate::abi::AbiType;
use crate::types::Type;

/// What there is to know of an argument or a result, so that a call need not look at its type.
#[derive(Clone, Copy)]
pub(super) struct Value {
    /// The number of its type. Types without members have different numbers.
    number: u8,
    /// Its first slot.
    pub(super) slot: usize,
    /// Its size in bytes.
    pub(super) size: usize,
}

/// Types with members have this number or a higher one.
const FIRST_WITH_MEMBERS: u8 = 16;

/// The type of `T`, as a constant whose number is one, too.
struct TypeOf<T>(T);

impl<T: AbiType> TypeOf<T> {
    const TYPE: &'static Type = &T::TYPE;
    const NUMBER: u8 = Self::TYPE.number();
}

impl Value {
    /// The result of a function.
    pub(super) fn of_result(value: &Type) -> Self {
        Self { number: value.number(), slot: 0, size: Extent::of(value).size }
    }

    /// The arguments of a function.
    pub(super) fn of_arguments(types: &[Type]) -> Vec<Self> {
        let mut slot = 0;
        let value = |value| {
            let value = Self { slot, ..Self::of_result(value) };
            slot += if Self::is_address(value.size) { 1 } else { value.size.div_ceil(8) };
            value
        };
        types.iter().map(value).collect()
    }

    /// Whether the slot of a value of this size has its address.
    pub(super) const fn is_address(size: usize) -> bool {
        size > 16
    }

    /// Whether the type, which `whole` returns, is that of `T`.
    #[inline]
    pub(super) fn is<'t, T: AbiType>(&self, whole: impl FnOnce() -> &'t Type) -> bool {
        self.number == TypeOf::<T>::NUMBER
            && (TypeOf::<T>::NUMBER < FIRST_WITH_MEMBERS || TypeOf::<T>::TYPE == whole())
    }
}

/// Size and alignment of a type in bytes, by C's rules (`csrc/call/tree.c`).
#[derive(Clone, Copy)]
struct Extent {
    size: usize,
    align: usize,
}

impl Extent {
    /// The type is one of a signature, so it is valid.
    fn of(value: &Type) -> Self {
        match value {
            Type::Void => Self { size: 0, align: 1 },
            Type::Bool | Type::I8 | Type::U8 => Self::of_scalar(1),
            Type::I16 | Type::U16 => Self::of_scalar(2),
            Type::I32 | Type::U32 | Type::F32 => Self::of_scalar(4),
            Type::I64 | Type::U64 | Type::F64 => Self::of_scalar(8),
            Type::Pointer => Self::of_scalar(mem::size_of::<*const u8>()),
            Type::I128 | Type::U128 | Type::V128 => Self::of_scalar(16),
            Type::Struct(_) | Type::Union(_) => Self::of_members(value, 16),
            Type::Array(array) => {
                let element = Self::of(array.inner());
                Self { size: array.count() as usize * element.size, ..element }
            }
            Type::Packed(packed) => Self::of_members(packed.inner(), packed.count() as usize),
            Type::Aligned(aligned) => {
                let (inner, align) = (Self::of(aligned.inner()), aligned.count() as usize);
                let is_member = !matches!(aligned.inner(), Type::Struct(_) | Type::Union(_) | Type::Packed(_));
                Self { size: if is_member { inner.size } else { inner.size.next_multiple_of(align) }, align }
            }
        }
    }

    fn of_scalar(size: usize) -> Self {
        Self { size, align: size }
    }

    /// Of a struct or union whose members are aligned to at most `limit` bytes.
    fn of_members(value: &Type, limit: usize) -> Self {
        let mut whole = Self { size: 0, align: 1 };
        place_members(value, limit, |_, at, member| {
            whole.size = whole.size.max(at + member.size);
            whole.align = whole.align.max(member.align.min(limit));
        });
        Self { size: whole.size.next_multiple_of(whole.align), ..whole }
    }
}

/// Calls `each` with every member of a struct or union, its offset and its extent.
fn place_members<'t>(value: &'t Type, limit: usize, mut each: impl FnMut(&'t Type, usize, Extent)) {
    let (Type::Struct(members) | Type::Union(members)) = value else { return };
    let mut end = 0_usize;
    for member in members.types() {
        let extent = Extent::of(member);
        let at = if matches!(value, Type::Union(_)) { 0 } else { end.next_multiple_of(extent.align.min(limit)) };
        each(member, at, extent);
        end = at + extent.size;
    }
}

/// Whether the bytes, which are as many as the type has, are a value of it: each `bool` is 0 or 1. It does not look into
/// unions, whose members may have any bytes.
pub(super) fn are_value(value: &Type, bytes: &[u8]) -> bool {
    match value {
        Type::Bool => bytes[0] <= 1,
        Type::Struct(_) => are_members(value, 16, bytes),
        Type::Packed(packed) => are_members(packed.inner(), packed.count() as usize, bytes),
        Type::Aligned(aligned) => are_value(aligned.inner(), bytes),
        Type::Array(array) if has_bool(array.inner()) => {
            let size = Extent::of(array.inner()).size;
            bytes.chunks_exact(size).all(|element| are_value(array.inner(), element))
        }
        _ => true,
    }
}

/// As [`are_value`], for a struct whose members are aligned to at most `limit` bytes.
fn are_members(value: &Type, limit: usize, bytes: &[u8]) -> bool {
    let mut all = true;
    if matches!(value, Type::Struct(_)) {
        place_members(value, limit, |member, at, extent| {
            all &= are_value(member, &bytes[at..at + extent.size]);
        });
    }
    all
}

/// Whether a type has a `bool` outside of unions.
fn has_bool(value: &Type) -> bool {
    match value {
        Type::Bool => true,
        Type::Struct(members) => members.types().iter().any(has_bool),
        Type::Array(inner) | Type::Packed(inner) | Type::Aligned(inner) => has_bool(inner.inner()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::{Extent, are_value};
    use crate::signature::Signature;

    fn result(text: &str) -> Signature {
        alloc::format!("{text}()").parse().unwrap()
    }

    #[test]
    fn extents_are_those_of_the_c_library() {
        for (text, size, align) in [
            ("v", 0, 1),
            ("x", 16, 16),
            ("{bih}", 12, 4),
            ("{b[3h]{lb}}", 24, 8),
            ("<b[5i]d>", 24, 8),
            ("!{bl[2h]}", 13, 1),
            ("!2{bl[3b]}", 14, 2),
            ("@16{l}", 16, 16),
            ("{b@8bh}", 16, 8),
            ("{@16bb}", 16, 16),
            ("{!{bi}b{!{bl}}}", 15, 1),
        ] {
            let signature = result(text);
            let extent = Extent::of(signature.result());
            assert_eq!((extent.size, extent.align), (size, align), "{text}");
        }
    }

    #[test]
    fn bools_are_found_where_they_are() {
        for (text, size, bools) in [
            ("?", 1, &[0][..]),
            ("{i?h?}", 12, &[4, 8]),
            ("{h{l?}[3?]b}", 32, &[16, 24, 25, 26]),
            ("!{h?l?}", 12, &[2, 11]),
            ("!2{?l[2{b?}]}", 14, &[0, 11, 13]),
            ("@16{?}", 16, &[0]),
            ("{b@8?i}", 16, &[8]),
            ("{<?b>i}", 8, &[]),
            ("[4?]", 0, &[]),
        ] {
            let Ok(signature) = alloc::format!("{text}()").parse::<Signature>() else {
                assert_eq!(text, "[4?]", "no result of a function");
                continue;
            };
            assert_eq!(Extent::of(signature.result()).size, size, "{text}");
            for at in 0..size {
                let mut bytes = vec![1; size];
                assert!(are_value(signature.result(), &bytes));
                bytes[at] = 2;
                assert_eq!(are_value(signature.result(), &bytes), !bools.contains(&at), "{text}: {at}");
            }
        }
    }
}
