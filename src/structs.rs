//! Structs that functions take and return by value: [`abi_struct!`](crate::abi_struct), and what its expansion uses.

use core::mem;

use crate::abi::{AbiType, Type};
use crate::ffi;
use crate::types::{ConstantMembers, Counted, Members};

/// Defines a `#[repr(C)]` struct that functions can take and return by value, or describes an existing one.
///
/// The struct becomes an [`AbiType`](crate::AbiType), so function pointer types can contain it, and thunks convert it. There are
/// three forms:
///
/// - **A definition**, `struct Name { member: Type, … }`, with attributes and visibilities as usual. The macro adds
///   `#[repr(C)]` and derives `Clone` and `Copy`.
/// - **A generic definition**, `struct Name<A, B> { … }`. The parameters are [`AbiType`](crate::AbiType)s.
/// - **A description**, `unsafe impl Name { member: Type, … }`, of a struct that is defined elsewhere in this crate, for
///   example by bindgen. It must be `Copy`. Wrap structs of other crates in a `#[repr(transparent)]` struct and implement
///   [`AbiType`](crate::AbiType) for that.
///
/// Members can be any [`AbiType`](crate::AbiType), also other such structs, and arrays `[T; N]` of them. During compilation, the
/// layout that C gives these members is compared with the layout of the struct. Therefore packed structs, structs with a
/// raised alignment, and incomplete descriptions do not compile. Write C's unnamed padding as it is: leave it out. Unions
/// and bit-fields are not supported.
///
/// [`ANY_BITS`](crate::AbiType::ANY_BITS) of the struct is `true` if it is for all members, whatever their visibility: do not
/// rely on private members for safety, because a value can come from foreign code, which knows nothing of visibilities.
///
/// # Safety
///
/// `unsafe impl` promises that:
///
/// - The struct is `#[repr(C)]`.
/// - Every combination of valid members is a valid value of the struct.
///
/// # Examples
///
/// ```
/// use execbuf::{ExecPool, FnPtr, abi_struct};
///
/// abi_struct! {
///     /// A point of the plane.
///     #[derive(Debug, PartialEq)]
///     pub struct Point {
///         pub x: f64,
///         pub y: f64,
///     }
/// }
///
/// abi_struct! {
///     pub struct Pair<A, B> {
///         pub a: A,
///         pub b: B,
///     }
/// }
///
/// /// A struct that bindgen has written.
/// #[repr(C)]
/// #[derive(Clone, Copy)]
/// pub struct Record {
///     pub bytes: [u8; 12],
///     pub next: *mut Record,
/// }
///
/// // SAFETY: The struct is `#[repr(C)]` and has no other invariants.
/// abi_struct! { unsafe impl Record { bytes: [u8; 12], next: *mut Record } }
///
/// type F = extern "C" fn(Point, Pair<u8, Point>) -> Record;
/// assert_eq!(F::SIGNATURE.to_string(), "{[12B]p}({dd}{B{dd}})");
///
/// # #[cfg(target_arch = "x86_64")] {
/// let pool = ExecPool::new()?;
/// let code = pool.publish(&[
///     0xf2, 0x0f, 0x58, 0xc1, // addsd xmm0, xmm1
///     0xc3, //                   ret
/// ])?;
/// // SAFETY: In System V's convention, the members of the argument are in xmm0 and xmm1, and the result is in xmm0.
/// let sum = unsafe { code.function::<extern "sysv64" fn(Point) -> f64>() };
/// let point = Point { x: 40.0, y: 2.0 };
/// assert_eq!(sum.call(point), 42.0);
///
/// // Win64 passes the address of the point; the thunk converts it.
/// let thunk = sum.to_abi::<extern "win64" fn(Point) -> f64>()?;
/// assert_eq!(thunk.call(point), 42.0);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[macro_export]
#[doc(alias = "execbuf_type")]
macro_rules! abi_struct {
    (unsafe impl $name:ty { $($member:ident: $type:ty),+ $(,)? }) => {
        $crate::abi_struct!(@unsafe impl [] [$name] [$($member: $type),+]);
    };
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident $(<$($parameter:ident),+ $(,)?>)? {}) => {
        ::core::compile_error!("a struct without members cannot be passed by value in C; leave it out");
    };
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident $(<$($parameter:ident),+ $(,)?>)? {
            $($(#[$member_attribute:meta])* $member_visibility:vis $member:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(::core::clone::Clone, ::core::marker::Copy)]
        #[repr(C)]
        $visibility struct $name $(<$($parameter: $crate::AbiType),+>)? {
            $($(#[$member_attribute])* $member_visibility $member: $type),+
        }
        $crate::abi_struct!(@unsafe impl [$($($parameter),+)?] [$name $(<$($parameter),+>)?] [$($member: $type),+]);
    };
    (@unsafe impl [$($parameter:ident),*] [$name:ty] [$($member:ident: $type:ty),+]) => {
        // SAFETY: These are all members, with their types, because `members` compiles. `struct_type` compares their layout with
        // that of the struct. The struct is `#[repr(C)]`: the macro or the author of `unsafe impl` has written it.
        unsafe impl<$($parameter: $crate::AbiType),*> $crate::AbiType for $name {
            const TYPE: $crate::Type = $crate::structs::struct_type::<Self>();
            const ANY_BITS: bool = true $(&& <$type as $crate::structs::AbiMember>::ANY_BITS)+;
        }

        // SAFETY: The constants belong to the members.
        unsafe impl<$($parameter: $crate::AbiType),*> $crate::structs::AbiStruct for $name {
            const TYPES: &'static [$crate::Type] = &[$(<$type as $crate::structs::AbiMember>::TYPE),+];
            const RAW: &'static [$crate::ffi::execbuf_type] = &[$($crate::structs::TypeOf::<$type>::RAW),+];
            const OFFSETS: &'static [usize] = &[$(::core::mem::offset_of!(Self, $member)),+];

            fn members(self) {
                let Self { $($member),+ } = self;
                $($crate::structs::is_member::<$type, _>($member);)+
            }
        }

        $crate::abi_struct!(@check [$($parameter),*] $name);
    };
    // A struct that is not generic is checked even if no function has it.
    (@check [] $name:ty) => {
        const _: () = $crate::structs::check::<$name>();
    };
    (@check [$($parameter:ident),+] $name:ty) => {};
}

/// A type that a member of a struct can have.
///
/// # Safety
///
/// As for [`AbiType`], but the type can be an array.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a member of a struct that is passed by value",
    label = "neither an `AbiType` nor an array of them",
    note = "these can: integers, `bool`, floats, pointers to sized data, `NonNull`, `Option<NonNull>`, `extern` function \
            pointers, structs defined with `execbuf::abi_struct!`, and arrays of all these",
    note = "instead of `&T` write `*const T` or `NonNull<T>`"
)]
pub unsafe trait AbiMember: Copy {
    const TYPE: Type;
    const ANY_BITS: bool;
}

// SAFETY: The obligations are the same.
unsafe impl<T: AbiType> AbiMember for T {
    const TYPE: Type = T::TYPE;
    const ANY_BITS: bool = T::ANY_BITS;
}

// SAFETY: An array in a `#[repr(C)]` struct is laid out like one in C.
unsafe impl<T: AbiMember, const N: usize> AbiMember for [T; N] {
    const TYPE: Type = {
        assert!(N > 0, "an array without elements has no size in C; leave it out");
        assert!(N <= ffi::EXECBUF_MAX_TYPE_SIZE as usize, "the array is larger than 64 KiB; pass a pointer");
        #[expect(clippy::cast_possible_truncation, reason = "it was just compared")]
        Type::Array(Counted::of_constant(N as u32, TypeOf::<T>::ALONE))
    };
    const ANY_BITS: bool = T::ANY_BITS;
}

/// The type of a member, in the forms that constants need.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "there are no values")]
pub struct TypeOf<T>(T);

impl<T: AbiMember> TypeOf<T> {
    const TYPE: &'static Type = &T::TYPE;
    #[doc(hidden)]
    pub const RAW: ffi::execbuf_type = Self::TYPE.raw();
    const TYPES: &'static [Type] = &[T::TYPE];
    const RAWS: &'static [ffi::execbuf_type] = &[Self::RAW];
    // SAFETY: Both are the same type.
    const ALONE: &'static ConstantMembers = &unsafe { ConstantMembers::new(Self::TYPES, Self::RAWS) };
}

/// A struct with its members.
///
/// # Safety
///
/// Only [`abi_struct!`](crate::abi_struct) implements the trait. The constants belong to the members, in order.
#[doc(hidden)]
pub unsafe trait AbiStruct: Copy {
    const TYPES: &'static [Type];
    const RAW: &'static [ffi::execbuf_type];
    const OFFSETS: &'static [usize];

    /// Is never called. It does not compile if a member is missing or has another type.
    fn members(self);
}

/// The members of a struct, as a constant.
struct MembersOf<S>(S);

impl<S: AbiStruct> MembersOf<S> {
    // SAFETY: The trait guarantees that they belong together.
    const MEMBERS: &'static ConstantMembers = &unsafe { ConstantMembers::new(S::TYPES, S::RAW) };
}

/// The type of the member, as the struct declares it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(message = "the member has the type `{Self}`, not `{T}`")]
pub trait Is<T> {}

impl<T> Is<T> for T {}

#[doc(hidden)]
pub fn is_member<T, M: Is<T>>(_: M) {}

/// Returns the type of a struct, or does not compile: see [`check`].
#[doc(hidden)]
#[must_use]
pub const fn struct_type<S: AbiStruct>() -> Type {
    check::<S>();
    Type::Struct(Members::of_constant(MembersOf::<S>::MEMBERS))
}

/// Compares the layout of a struct with that which C gives its members.
#[doc(hidden)]
pub const fn check<S: AbiStruct>() {
    let (size, align) = (mem::size_of::<S>(), mem::align_of::<S>());
    assert!(
        S::TYPES.len() <= ffi::EXECBUF_MAX_MEMBERS as usize,
        "the struct has more than 255 members; pass a pointer"
    );
    assert!(size <= ffi::EXECBUF_MAX_TYPE_SIZE as usize, "the struct is larger than 64 KiB; pass a pointer");
    assert!(align <= 16, "compilers pass structs with an alignment above 16 in different ways; pass a pointer");
    let mut whole = Layout { size: 0, align: 1, depth: 0 };
    let mut index = 0;
    while index < S::TYPES.len() {
        let at = whole.append(&S::TYPES[index]);
        assert!(
            at == S::OFFSETS[index],
            "a member is not where C puts it: the struct is packed, or not `#[repr(C)]`, or its members are in another order"
        );
        index += 1;
    }
    assert!(
        whole.align == align && whole.size.next_multiple_of(align) == size,
        "C gives the members another size or alignment: remove `packed` or `align` from the struct, or pass a pointer"
    );
    assert!(
        whole.depth < ffi::EXECBUF_MAX_DEPTH as usize,
        "the struct is nested deeper than 8 levels; pass a pointer"
    );
}

/// Size and alignment of a type in bytes, by C's rules, and how many levels of members it has.
struct Layout {
    size: usize,
    align: usize,
    depth: usize,
}

impl Layout {
    const fn of(value: &Type) -> Self {
        match value {
            Type::Void => panic!("the `TYPE` of a member is `Type::Void`"),
            Type::Bool | Type::I8 | Type::U8 => Self::of_scalar::<u8>(),
            Type::I16 | Type::U16 => Self::of_scalar::<u16>(),
            Type::I32 | Type::U32 => Self::of_scalar::<u32>(),
            Type::I64 | Type::U64 => Self::of_scalar::<u64>(),
            Type::Pointer => Self::of_scalar::<*const u8>(),
            Type::F32 => Self::of_scalar::<f32>(),
            Type::F64 => Self::of_scalar::<f64>(),
            Type::I128 | Type::U128 => Self::of_scalar::<u128>(),
            Type::V128 => Self { size: 16, align: 16, depth: 0 },
            Type::Struct(members) => {
                let types = members.constant_types();
                let mut whole = Self { size: 0, align: 1, depth: 0 };
                let mut index = 0;
                while index < types.len() {
                    whole.append(&types[index]);
                    index += 1;
                }
                whole.size = whole.size.next_multiple_of(whole.align);
                whole.depth += 1;
                whole
            }
            Type::Array(array) => {
                let element = Self::of(array.constant_inner());
                Self {
                    size: array.count() as usize * element.size,
                    align: element.align,
                    depth: element.depth + 1,
                }
            }
            Type::Union(_) | Type::Packed(_) | Type::Aligned(_) => panic!("there are no such constants"),
        }
    }

    const fn of_scalar<T>() -> Self {
        Self { size: mem::size_of::<T>(), align: mem::align_of::<T>(), depth: 0 }
    }

    /// Appends a member, and returns its offset.
    const fn append(&mut self, member: &Type) -> usize {
        let member = Self::of(member);
        let at = self.size.next_multiple_of(member.align);
        self.size = at + member.size;
        if member.align > self.align {
            self.align = member.align;
        }
        if member.depth > self.depth {
            self.depth = member.depth;
        }
        at
    }
}
