//! Vectors of 128 bits as arguments and results.

use crate::abi::{AbiType, Type};

macro_rules! vectors {
    ($architecture:ident: $($vector:ident)*) => {$(
        // SAFETY: It is a vector of 128 bits. Every bit pattern is valid.
        unsafe impl AbiType for core::arch::$architecture::$vector {
            const TYPE: Type = Type::V128;
            const ANY_BITS: bool = true;
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
vectors!(x86_64: __m128 __m128d __m128i);
#[cfg(target_arch = "aarch64")]
vectors!(aarch64:
    int8x16_t uint8x16_t int16x8_t uint16x8_t int32x4_t uint32x4_t int64x2_t uint64x2_t float32x4_t float64x2_t);
