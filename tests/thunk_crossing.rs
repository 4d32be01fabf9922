//! Thunks between the two conventions, with Rust functions as callers and targets: arguments and results arrive.

mod support;

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn arguments_and_results_cross() {
    support::skip("thunks between two conventions: this architecture has only one");
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::float_cmp, reason = "the numbers are passed on unchanged")]
mod crossing {
    use execbuf::Function;
    use execbuf::dynamic::DynThunk;
    #[cfg(unix)]
    use execbuf::{Abi, ErrorKind};

    /// Calls a function of one ABI through a thunk of the other. The function checks its arguments, the caller the
    /// result.
    macro_rules! crosses {
    ($(($($name:ident: $type:ty = $value:expr),*) -> $result_type:ty = $result:expr;)*) => {$(
        crosses!(@one "sysv64", "win64", ($($name: $type = $value),*) -> $result_type = $result);
        crosses!(@one "win64", "sysv64", ($($name: $type = $value),*) -> $result_type = $result);
    )*};
    (@one $caller:literal, $callee:literal, ($($name:ident: $type:ty = $value:expr),*)
        -> $result_type:ty = $result:expr) => {{
        #[inline(never)]
        extern $callee fn target($($name: $type),*) -> $result_type {
            $(assert_eq!(std::hint::black_box($name), $value, "{}", stringify!($name));)*
            $result
        }
        type F = extern $caller fn($($type),*) -> $result_type;
        type G = extern $callee fn($($type),*) -> $result_type;
        let thunk = Function::from_fn(target as G).into_abi::<F>().unwrap();
        assert_eq!(thunk.call($(std::hint::black_box($value)),*), $result);
        // A thunk of the thunk, with the target's ABI.
        let back = thunk.to_abi::<G>().unwrap();
        assert_eq!(back.call($(std::hint::black_box($value)),*), $result);
        // The same with the text of the signature.
        let text = <F as execbuf::FnPtr>::SIGNATURE.to_string();
        let (caller_abi, callee_abi) = (<F as execbuf::FnPtr>::ABI, <G as execbuf::FnPtr>::ABI);
        let signature = text.parse().unwrap();
        let builder = DynThunk::builder(&signature).caller_abi(caller_abi).callee_abi(callee_abi);
        let dynamic = builder.build(target as G as *const u8).unwrap();
        // SAFETY: The target has this signature.
        let function = unsafe { dynamic.function::<F>() }.unwrap();
        assert_eq!(function.call($(std::hint::black_box($value)),*), $result);
    }};
}

    #[test]
    fn arguments_and_results_cross() {
        crosses! {
            () -> () = ();
            () -> u64 = u64::MAX;
            () -> f64 = -0.5;
            () -> f32 = 0.25;
            () -> bool = true;
            () -> i8 = -3;
            () -> *const u8 = std::ptr::without_provenance(0x1234_5678_9abc_def0);
            (a: bool = true, b: bool = false) -> bool = false;
            (a: i8 = -1, b: u8 = 255, c: i16 = -2, d: u16 = 65534, e: i32 = -3, f: u32 = 7) -> i16 = -4;
            (a: i8 = -1, b: u8 = 255, c: i16 = -2, d: u16 = 65534, e: i8 = -3, f: u8 = 254, g: i16 = -5, h: u16 = 6, i: bool = true) -> u8 = 200;
            (a: f64 = 1.5, b: i32 = -2) -> f64 = 6.0;
            (a: i32 = -2, b: f64 = 1.5) -> f64 = 6.5;
            (a: f32 = 1.5, b: i64 = -2, c: f32 = 2.5, d: i64 = -3, e: f32 = 3.5, f: i64 = -4) -> f32 = 7.0;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4) -> u64 = 5;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4, e: u64 = 5) -> u64 = 6;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4, e: u64 = 5, f: u64 = 6, g: u64 = 7) -> u64 = 8;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4, e: u64 = 5, f: u64 = 6, g: u64 = 7, h: u64 = 8,
                i: u64 = 9, j: u64 = 10, k: u64 = 11, l: u64 = 12) -> u64 = 13;
            (a: f64 = 1.0, b: f64 = 2.0, c: f64 = 3.0, d: f64 = 4.0, e: f64 = 5.0, f: f64 = 6.0, g: f64 = 7.0,
                h: f64 = 8.0, i: f64 = 9.0, j: f64 = 10.0, k: f64 = 11.0, l: f64 = 12.0) -> f64 = 13.0;
            (a: f32 = 1.0, b: f64 = 2.0, c: u64 = 3, d: f32 = 4.0, e: f64 = 5.0, f: i8 = -6, g: f32 = 7.0,
                h: f64 = 8.0, i: u16 = 9, j: f32 = 10.0, k: f64 = 11.0, l: bool = true) -> f32 = 13.0;
        }
    }

    /// Calls the C library's `snprintf` with the Win64 convention, an integer and a float.
    #[cfg(unix)]
    #[test]
    fn a_variadic_function_is_called_with_the_arguments_of_the_signature() {
        type Format = extern "win64" fn(*mut u8, u64, *const u8, i32, f64) -> i32;
        let signature = "i(pLp.id)".parse().unwrap();
        let builder = DynThunk::builder(&signature);
        let thunk =
            builder.caller_abi(Abi::Win64).callee_abi(Abi::SysV64).build(libc::snprintf as *const u8).unwrap();
        // SAFETY: With these arguments, `snprintf` has this signature.
        let format = unsafe { thunk.function::<Format>() }.unwrap();
        let mut text = [0_u8; 32];
        let native = builder.build(libc::snprintf as *const u8).unwrap();
        // SAFETY: Nothing is called.
        let error =
            unsafe { native.function::<extern "C" fn(*mut u8, u64, *const u8, i32, f64) -> i32>() }.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        let length = format.call(text.as_mut_ptr(), 32, c"%d %.2f".as_ptr().cast(), -7, 2.25);
        assert_eq!((length, &text[..8]), (7, &b"-7 2.25\0"[..]));
    }

    #[test]
    fn threads_make_call_and_drop_thunks() {
        extern "win64" fn integer(number: u64) -> u64 {
            number + 1
        }
        extern "win64" fn float(number: f64) -> f64 {
            number + 1.0
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..500_u32 {
                        let one = Function::from_fn(integer as extern "win64" fn(u64) -> u64);
                        let other = Function::from_fn(float as extern "win64" fn(f64) -> f64);
                        let one = one.into_abi::<extern "sysv64" fn(u64) -> u64>();
                        let other = other.into_abi::<extern "sysv64" fn(f64) -> f64>();
                        assert_eq!(one.unwrap().call(number.into()), u64::from(number) + 1);
                        assert_eq!(other.unwrap().call(number.into()), f64::from(number) + 1.0);
                    }
                });
            }
        });
    }
}
