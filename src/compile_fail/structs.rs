//! Structs that cannot be passed by value.
//!
//! A packed struct, whose members are not where C puts them:
//!
//! ```compile_fail,E0080
//! execbuf::abi_struct! {
//!     #[repr(packed)]
//!     struct Packed { a: u8, b: u32 }
//! }
//! ```
//!
//! A packed struct whose members are where C puts them; but the alignment is 1:
//!
//! ```compile_fail,E0080
//! execbuf::abi_struct! {
//!     #[repr(packed)]
//!     struct Packed { a: u32, b: u32 }
//! }
//! ```
//!
//! A struct with a raised alignment:
//!
//! ```compile_fail,E0080
//! execbuf::abi_struct! {
//!     #[repr(align(16))]
//!     struct Raised { a: u64, b: u64 }
//! }
//! ```
//!
//! A struct with an alignment above 16:
//!
//! ```compile_fail,E0080
//! execbuf::abi_struct! {
//!     #[repr(align(32))]
//!     struct Raised { a: u64, b: u64, c: u64, d: u64 }
//! }
//! ```
//!
//! A generic struct is checked when a function has it:
//!
//! ```compile_fail,E0080
//! execbuf::abi_struct! {
//!     #[repr(packed)]
//!     struct Pair<A, B> { a: A, b: B }
//! }
//! let signature = <extern "C" fn(Pair<u8, u32>) as execbuf::FnPtr>::SIGNATURE;
//! ```
//!
//! A struct without `#[repr(C)]`, whose members Rust has reordered:
//!
//! ```compile_fail,E0080
//! #[derive(Clone, Copy)]
//! struct Reordered { a: u8, b: u64, c: u8 }
//! execbuf::abi_struct! { unsafe impl Reordered { a: u8, b: u64, c: u8 } }
//! ```
//!
//! A description with the members in another order:
//!
//! ```compile_fail,E0080
//! #[derive(Clone, Copy)]
//! #[repr(C)]
//! struct Two { a: u32, b: u32 }
//! execbuf::abi_struct! { unsafe impl Two { b: u32, a: u32 } }
//! ```
//!
//! A description without one of the members, where the size is the same:
//!
//! ```compile_fail
//! #[derive(Clone, Copy)]
//! #[repr(C)]
//! struct Three { a: u32, b: u8, c: u8 }
//! execbuf::abi_struct! { unsafe impl Three { a: u32, b: u8 } }
//! ```
//!
//! A description with another type of a member, of the same size:
//!
//! ```compile_fail,E0277
//! #[derive(Clone, Copy)]
//! #[repr(C)]
//! struct Number { a: f64 }
//! execbuf::abi_struct! { unsafe impl Number { a: u64 } }
//! ```
//!
//! The same where the types could be coerced:
//!
//! ```compile_fail,E0277
//! #[derive(Clone, Copy)]
//! #[repr(C)]
//! struct Reference { a: &'static u64 }
//! execbuf::abi_struct! { unsafe impl Reference { a: *const u64 } }
//! ```
//!
//! A description without `unsafe`:
//!
//! ```compile_fail
//! #[derive(Clone, Copy)]
//! #[repr(C)]
//! struct Number { a: f64 }
//! execbuf::abi_struct! { impl Number { a: f64 } }
//! ```
//!
//! A member that is a reference:
//!
//! ```compile_fail,E0277
//! execbuf::abi_struct! { struct Reference { a: &'static u64 } }
//! ```
//!
//! A member that cannot be copied:
//!
//! ```compile_fail,E0204
//! execbuf::abi_struct! { struct Owner { a: Box<u64> } }
//! ```
//!
//! A struct without members, and an array without elements:
//!
//! ```compile_fail
//! execbuf::abi_struct! { struct Empty {} }
//! ```
//!
//! ```compile_fail,E0080
//! execbuf::abi_struct! { struct Flexible { length: usize, elements: [u8; 0] } }
//! ```
//!
//! An array as an argument, which C passes by address:
//!
//! ```compile_fail,E0277
//! let signature = <extern "C" fn([u8; 4]) as execbuf::FnPtr>::SIGNATURE;
//! ```
//!
//! A union, and an enum:
//!
//! ```compile_fail,E0133
//! #[derive(Clone, Copy)]
//! #[repr(C)]
//! union Number { a: u64 }
//! execbuf::abi_struct! { unsafe impl Number { a: u64 } }
//! ```
//!
//! ```compile_fail
//! #[derive(Clone, Copy)]
//! #[repr(C)]
//! enum Number { A, B }
//! execbuf::abi_struct! { unsafe impl Number { A: u32 } }
//! ```
