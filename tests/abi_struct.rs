//! Structs by value: their signatures, and crossings in both directions with code of rustc at both ends.

use std::ptr::NonNull;

use execbuf::{AbiType, FnPtr, Type, abi_struct};

abi_struct! {
    #[derive(Debug, PartialEq)]
    struct Point {
        x: f64,
        y: f64,
    }
}

abi_struct! {
    #[derive(Debug, PartialEq)]
    struct Pair<A, B> {
        a: A,
        b: B,
    }
}

abi_struct! {
    #[derive(Debug, PartialEq)]
    struct Segment {
        from: Point,
        to: Point,
        tag: Pair<u8, i64>,
    }
}

abi_struct! {
    #[derive(Debug, PartialEq)]
    struct Bytes {
        bytes: [u8; 7],
    }
}

abi_struct! {
    #[derive(Debug, PartialEq)]
    struct Matrix {
        rows: [[f32; 2]; 2],
    }
}

abi_struct! {
    #[derive(Debug)]
    struct Hook {
        function: Option<extern "C" fn()>,
        context: *const u8,
    }
}

/// A struct that another tool has written.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Record {
    small: u8,
    large: u64,
    odd: [u16; 3],
}

// SAFETY: The struct is `#[repr(C)]` and has no invariants.
abi_struct! { unsafe impl Record { small: u8, large: u64, odd: [u16; 3] } }

#[test]
fn structs_have_the_text_of_their_members() {
    assert_eq!(<extern "C" fn(Segment) -> Point>::SIGNATURE.to_string(), "{dd}({{dd}{dd}{Bl}})");
    let arguments = <extern "C" fn(Bytes, Matrix, Hook, Record, Pair<bool, Pair<u16, Bytes>>)>::SIGNATURE;
    assert_eq!(arguments.to_string(), "v({[7B]}{[2[2f]]}{pp}{BL[3H]}{?{H{[7B]}}})");
    assert_eq!(arguments, arguments.to_string().parse().unwrap());
    let Type::Struct(members) = Bytes::TYPE else { panic!("it is a struct") };
    let [Type::Array(bytes)] = members.types() else { panic!("it is an array") };
    assert_eq!((bytes.count(), bytes.inner()), (7, &Type::U8));
}

#[test]
fn structs_are_valid_for_all_bits_if_their_members_are() {
    abi_struct! { struct Pointers { a: [NonNull<u8>; 2] } }
    assert_eq!([Point::ANY_BITS, Segment::ANY_BITS, Record::ANY_BITS, Matrix::ANY_BITS], [true; 4]);
    assert_eq!([Hook::ANY_BITS, Pointers::ANY_BITS, <Pair<u8, Hook>>::ANY_BITS], [false; 3]);
}

#[test]
fn code_takes_and_returns_structs() {
    let Ok(buffer) = execbuf::ExecBuffer::new(CODE) else { panic!("it can be published") };
    // SAFETY: The first two members of the struct are in two registers, which are those of the result.
    let swap = unsafe { buffer.function::<extern "C" fn(Pair<u64, u64>) -> Pair<u64, u64>>() };
    if cfg!(not(windows)) {
        assert_eq!(swap.call(Pair { a: 1, b: 2 }), Pair { a: 1, b: 2 });
    }
}

/// Returns a pair of integers, by System V's convention or that of AArch64.
const CODE: &[u8] = if cfg!(target_arch = "aarch64") {
    &[0xc0, 0x03, 0x5f, 0xd6] // ret
} else {
    &[
        0x48, 0x89, 0xf8, // mov rax, rdi
        0x48, 0x89, 0xf2, // mov rdx, rsi
        0xc3, //             ret
    ]
};

#[cfg(target_arch = "x86_64")]
mod crossings {
    use std::cell::RefCell;
    use std::fmt::Debug;

    use execbuf::Function;

    use super::*;

    thread_local! {
        /// The arguments that a target has received.
        static RECEIVED: RefCell<String> = const { RefCell::new(String::new()) };
    }

    fn received(arguments: impl Debug) {
        RECEIVED.set(format!("{arguments:?}"));
    }

    /// Tests that targets receive the arguments, and callers the result, when one convention calls the other. rustc compiles
    /// both ends.
    macro_rules! crossings {
        ($($name:ident($($argument:ident: $type:ty = $value:expr),*) -> $result:ty = $returned:expr;)*) => {$(
            #[test]
            fn $name() {
                crossings!(@cross "sysv64", "win64", ($($argument: $type = $value),*) -> $result = $returned);
                crossings!(@cross "win64", "sysv64", ($($argument: $type = $value),*) -> $result = $returned);
            }
        )*};
        (@cross $caller:literal, $callee:literal, ($($argument:ident: $type:ty = $value:expr),*) -> $result:ty
            = $returned:expr) => {{
            extern $callee fn target($($argument: $type),*) -> $result {
                received(($($argument,)*));
                $returned
            }
            let target = Function::from_fn(target as extern $callee fn($($type),*) -> $result);
            let thunk = target.into_abi::<extern $caller fn($($type),*) -> $result>().unwrap();
            RECEIVED.take();
            assert_eq!(thunk.call($($value),*), $returned, concat!("called by ", $caller));
            assert_eq!(RECEIVED.take(), format!("{:?}", ($($value,)*)), concat!("called by ", $caller));
        }};
    }

    const POINT: Point = Point { x: 1.5, y: -2.5 };
    const SEGMENT: Segment = Segment { from: POINT, to: Point { x: 3.0, y: 4.0 }, tag: Pair { a: 200, b: -7 } };
    const BYTES: Bytes = Bytes { bytes: [1, 2, 3, 4, 5, 6, 7] };
    const RECORD: Record = Record { small: 3, large: u64::MAX / 3, odd: [1, 2, 3] };

    crossings! {
        two_floats(a: Point = POINT) -> Point = Point { x: 0.25, y: 8.0 };
        one_of_each(a: Pair<f64, i64> = Pair { a: 0.5, b: -1 }, b: Pair<i32, f32> = Pair { a: -3, b: 0.75 })
            -> Pair<i64, f64> = Pair { a: 9, b: 1.0 };
        nested_in_memory(a: u8 = 1, b: Segment = SEGMENT, c: f32 = 2.5) -> Segment = SEGMENT;
        odd_sizes(a: Bytes = BYTES, b: Pair<u8, Bytes> = Pair { a: 9, b: BYTES }) -> Bytes = BYTES;
        arrays(a: Matrix = Matrix { rows: [[1.0, 2.0], [3.0, 4.0]] }) -> Matrix
            = Matrix { rows: [[5.0, 6.0], [7.0, 8.0]] };
        small_members(a: Pair<bool, i8> = Pair { a: true, b: -1 }, b: Pair<u16, i16> = Pair { a: 65535, b: -2 })
            -> Pair<i8, bool> = Pair { a: -128, b: true };
        no_registers_left(
            a: i64 = 1, b: i64 = 2, c: i64 = 3, d: i64 = 4, e: i64 = 5,
            f: Pair<i64, i64> = Pair { a: 6, b: 7 }, g: i64 = 8, h: Pair<i64, i64> = Pair { a: 9, b: 10 }
        ) -> i64 = 11;
        in_memory(a: u8 = 1, b: Record = RECORD, c: u8 = 2, d: Record = RECORD) -> Record = RECORD;
        twelve_structs(
            a: Point = POINT, b: Point = POINT, c: Point = POINT, d: Point = POINT, e: Point = POINT, f: Point = POINT,
            g: Bytes = BYTES, h: Bytes = BYTES, i: Bytes = BYTES, j: Bytes = BYTES, k: Bytes = BYTES, l: Bytes = BYTES
        ) -> Point = POINT;
    }

    // Older compilers pass 128-bit integers in other places, so they are no `AbiType`s there.
    #[cfg(execbuf_i128)]
    mod wide {
        use super::*;

        abi_struct! {
            #[derive(Debug, PartialEq)]
            struct Wide {
                small: u8,
                wide: u128,
            }
        }

        const WIDE: Wide = Wide { small: 3, wide: u128::MAX / 3 };

        crossings! {
            aligned_to_16(a: u8 = 1, b: Wide = WIDE, c: u8 = 2, d: Wide = WIDE) -> Wide = WIDE;
            integers(a: i128 = i128::MIN + 5, b: u64 = 6, c: u128 = u128::MAX - 7) -> u64 = 8;
            no_gap(a: u8 = 1, b: u128 = 2, c: i128 = 3, d: u128 = u128::MAX - 4, e: u64 = 5, f: i128 = -6) -> u64 = 7;
            results(a: i128 = -1) -> i128 = i128::MAX - 2;
            unsigned_results(a: u128 = 1, b: Point = POINT) -> u128 = u128::MAX - 2;
        }
    }

    #[test]
    fn vectors_cross() {
        use std::arch::x86_64::{__m128d, _mm_add_pd, _mm_cvtsd_f64, _mm_set_pd, _mm_unpackhi_pd};

        #[expect(improper_ctypes_definitions, reason = "it is passed like C's vector of the same name")]
        extern "sysv64" fn add(a: __m128d, b: Pair<__m128d, u64>) -> __m128d {
            // SAFETY: Every x86-64 processor has SSE2.
            unsafe { _mm_add_pd(a, b.a) }
        }

        let add = Function::from_fn(add as extern "sysv64" fn(__m128d, Pair<__m128d, u64>) -> __m128d);
        let thunk = add.into_abi::<extern "win64" fn(__m128d, Pair<__m128d, u64>) -> __m128d>().unwrap();
        // SAFETY: As above.
        let (a, b) = unsafe { (_mm_set_pd(1.0, 2.0), _mm_set_pd(10.0, 20.0)) };
        let sum = thunk.call(a, Pair { a: b, b: 3 });
        // SAFETY: As above.
        let (low, high) = unsafe { (_mm_cvtsd_f64(sum), _mm_cvtsd_f64(_mm_unpackhi_pd(sum, sum))) };
        assert_eq!((low.to_bits(), high.to_bits()), (22_f64.to_bits(), 11_f64.to_bits()));
    }

    #[test]
    fn functions_of_other_signatures_are_refused() {
        let thunk = execbuf::dynamic::DynThunk::builder(&"{dd}({dl})".parse().unwrap())
            .caller_abi(execbuf::Abi::Win64)
            .callee_abi(execbuf::Abi::SysV64)
            .build(structs_have_the_text_of_their_members as *const u8)
            .unwrap();
        // SAFETY: Nothing is called.
        let (right, wrong) = unsafe {
            (
                thunk.function::<extern "win64" fn(Pair<f64, i64>) -> Point>().is_ok(),
                thunk.function::<extern "win64" fn(Point) -> Point>().is_ok(),
            )
        };
        assert!(right && !wrong);
    }
}
