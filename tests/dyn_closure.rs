//! Closures for run-time signatures: `dynamic::DynClosure` and `dynamic::Invocation`. `thunk_compilers` tests how the C
//! library passes values.
#![allow(clippy::float_cmp, reason = "the numbers are exact")]

mod support;

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows)))))]
#[test]
fn closures_are_refused_by_name() {
    let signature = "v()".parse().unwrap();
    let error = execbuf::dynamic::DynClosure::new(&signature, execbuf::Abi::NATIVE, |_| {}).unwrap_err();
    assert_eq!(error.kind(), execbuf::ErrorKind::Abi);
    support::skip("closures for run-time signatures: this architecture has none yet");
}

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))]
mod closures {
    use std::hint::black_box;
    use std::panic;
    use std::ptr::NonNull;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex, OnceLock};
    use std::thread;

    use execbuf::dynamic::{Caller, DynClosure, Invocation};
    use execbuf::{Abi, ErrorKind, abi_struct};

    use super::support::signatures::{number, random_signature, random_signature_of_values};
    use super::support::{Random, child};

    /// The conventions of this machine.
    #[cfg(target_arch = "x86_64")]
    const ABIS: &[Abi] = &[Abi::SysV64, Abi::Win64];
    #[cfg(target_arch = "aarch64")]
    const ABIS: &[Abi] = &[Abi::NATIVE];

    #[cfg(target_arch = "x86_64")]
    type Taking<R> = extern "win64" fn(*const u8) -> R;
    #[cfg(target_arch = "aarch64")]
    type Taking<R> = extern "C" fn(*const u8) -> R;

    /// Returns a signature that the last of these conventions needs too much code or stack for.
    fn too_large() -> String {
        let (value, count) = if cfg!(target_arch = "x86_64") { ("{[15b]}", 127) } else { ("{mmmm}", 66) };
        format!("v({})", value.repeat(count))
    }

    fn closure<'a>(
        text: &str,
        abi: Abi,
        handler: impl Fn(&mut Invocation<'_>) + Send + Sync + 'a,
    ) -> DynClosure<'a> {
        DynClosure::new(&text.parse().unwrap(), abi, handler).unwrap()
    }

    /// Calls a closure that checks its arguments, in each convention.
    macro_rules! called_with {
        ($($text:literal ($($name:ident: $type:ty = $value:expr),*) -> $result_type:ty = $result:expr;)*) => {$(
            called_with!(@one "C", Abi::NATIVE, $text, ($($name: $type = $value),*) -> $result_type = $result);
            #[cfg(target_arch = "x86_64")]
            called_with!(@one "sysv64", Abi::SysV64, $text, ($($name: $type = $value),*) -> $result_type = $result);
            #[cfg(target_arch = "x86_64")]
            called_with!(@one "win64", Abi::Win64, $text, ($($name: $type = $value),*) -> $result_type = $result);
        )*};
        (@one $abi:literal, $of:expr, $text:literal, ($($name:ident: $type:ty = $value:expr),*) -> $result_type:ty = $result:expr) => {{
            let calls = AtomicU64::new(0);
            let checks = closure($text, $of, |call| {
                let mut index = 0;
                $(
                    assert_eq!(call.arg::<$type>(index).unwrap(), $value, "{} of {}", stringify!($name), $text);
                    index += 1;
                )*
                assert_eq!(call.arg::<u64>(index).unwrap_err().kind(), ErrorKind::Mismatch);
                assert!(call.arg_bytes(index).is_none());
                call.set_result::<$result_type>($result).unwrap();
                calls.fetch_add(1, Ordering::Relaxed);
            });
            let function = checks.function::<extern $abi fn($($type),*) -> $result_type>().unwrap();
            assert_eq!(function.call($(black_box($value)),*), $result);
            assert_eq!(calls.load(Ordering::Relaxed), 1);
        }};
    }

    #[test]
    fn handlers_get_arguments_and_set_the_result() {
        called_with! {
            "?(?)" (a: bool = true) -> bool = true;
            "b(bB)" (a: i8 = -1, b: u8 = 255) -> i8 = -2;
            "H(hH)" (a: i16 = -1, b: u16 = 65535) -> u16 = 65534;
            "i(iI)" (a: i32 = -1, b: u32 = u32::MAX) -> i32 = i32::MIN;
            "f(ffd)" (a: f32 = 0.5, b: f32 = -1.5, c: f64 = 2.5) -> f32 = 0.25;
            "d(dddddddddd)" (a: f64 = 1.0, b: f64 = 2.0, c: f64 = 3.0, d: f64 = 4.0, e: f64 = 5.0, f: f64 = 6.0,
                g: f64 = 7.0, h: f64 = 8.0, i: f64 = 9.0, j: f64 = 10.0) -> f64 = 11.0;
            "l(lLbHlLbHi)" (a: i64 = -1, b: u64 = 2, c: i8 = -3, d: u16 = 4, e: i64 = -5, f: u64 = 6, g: i8 = -7,
                h: u16 = 8, i: i32 = -9) -> i64 = -10;
        }
    }

    abi_struct! {
        #[derive(Debug, PartialEq)]
        struct Mixed {
            a: f64,
            b: i8,
        }
    }

    abi_struct! {
        #[derive(Debug, PartialEq)]
        struct Long {
            numbers: [u16; 17],
        }
    }

    #[test]
    fn structs_are_passed_by_value() {
        let long = Long { numbers: std::array::from_fn(|i| u16::try_from(i).unwrap()) };
        called_with! {
            "{db}({db}l)" (a: Mixed = Mixed { a: 1.5, b: -2 }, b: i64 = 3) -> Mixed = Mixed { a: 4.5, b: -5 };
            "{[17H]}({[17H]}b{[17H]})" (a: Long = long, b: i8 = -1, c: Long = long) -> Long = long;
        }
        let reverses = closure("{[17H]}({[17H]})", Abi::NATIVE, |call| {
            let mut bytes = call.arg_bytes(0).unwrap().to_vec();
            bytes.reverse();
            call.set_result_bytes(&bytes).unwrap();
        });
        let function = reverses.into_function::<extern "C" fn(Long) -> Long>().unwrap();
        let reversed = Long { numbers: std::array::from_fn(|i| long.numbers[16 - i].swap_bytes()) };
        assert_eq!(function.call(long), reversed);
    }

    #[test]
    fn a_result_that_is_not_set_is_zero() {
        for &abi in ABIS {
            for text in ["b(l)", "d(l)", "x(l)", "{[3b]}(l)", "{dl}(l)", "{[40b]}(l)", "{[100b]}(l)"] {
                let signature = text.parse().unwrap();
                let silent = closure(text, abi, |_| {});
                let caller = Caller::new(&signature, abi).unwrap();
                let mut result = vec![0xff; silent_size(text)];
                // SAFETY: The closure has this signature and ABI, and exists.
                unsafe { caller.args().call_bytes(silent.as_ptr(), &mut result) }.unwrap();
                assert!(result.iter().all(|&byte| byte == 0), "{text}");
            }
        }
    }

    fn silent_size(text: &str) -> usize {
        match &text[..text.find('(').unwrap()] {
            "b" => 1,
            "d" => 8,
            "x" | "{dl}" => 16,
            array => array.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap(),
        }
    }

    #[test]
    fn a_wrong_type_is_a_mismatch_and_changes_nothing() {
        let checks = closure("i(ip)", Abi::NATIVE, |call| {
            call.set_result(42).unwrap();
            let is_mismatch = |kind: ErrorKind| assert_eq!(kind, ErrorKind::Mismatch);
            is_mismatch(call.arg::<u32>(0).unwrap_err().kind());
            is_mismatch(call.arg::<*const u8>(0).unwrap_err().kind());
            is_mismatch(call.arg::<i32>(2).unwrap_err().kind());
            is_mismatch(call.set_result(7_u32).unwrap_err().kind());
            is_mismatch(call.set_result_bytes(&[7; 3]).unwrap_err().kind());
            is_mismatch(call.set_result_bytes(&[7; 8]).unwrap_err().kind());
            assert!(call.arg::<Option<NonNull<u8>>>(1).unwrap().is_none());
        });
        let function = checks.function::<extern "C" fn(i32, *const u8) -> i32>().unwrap();
        assert_eq!(function.call(1, std::ptr::null()), 42);
        for kind in [
            checks.function::<extern "C" fn(i32) -> i32>().unwrap_err().kind(),
            checks.function::<extern "C" fn(u32, *const u8) -> i32>().unwrap_err().kind(),
            checks.function::<extern "C" fn(i32, *const u8) -> u32>().unwrap_err().kind(),
            #[cfg(all(windows, target_arch = "x86_64"))]
            checks.function::<extern "sysv64" fn(i32, *const u8) -> i32>().unwrap_err().kind(),
            #[cfg(all(not(windows), target_arch = "x86_64"))]
            checks.function::<extern "win64" fn(i32, *const u8) -> i32>().unwrap_err().kind(),
            closure("i(i.i)", Abi::NATIVE, |_| {})
                .function::<extern "C" fn(i32, i32) -> i32>()
                .unwrap_err()
                .kind(),
        ] {
            assert_eq!(kind, ErrorKind::Mismatch);
        }
    }

    #[test]
    fn no_result_is_a_bool_that_is_neither_0_nor_1() {
        let tries = closure("?(l)", Abi::NATIVE, |call| {
            assert_eq!(call.set_result_bytes(&[2]).unwrap_err().kind(), ErrorKind::Mismatch);
            call.set_result_bytes(&[1]).unwrap();
        });
        assert!(tries.function::<extern "C" fn(i64) -> bool>().unwrap().call(0));
        let tries = closure("{l?}()", Abi::NATIVE, |call| {
            let mut bytes = [1; 16];
            bytes[8] = 255;
            assert_eq!(call.set_result_bytes(&bytes).unwrap_err().kind(), ErrorKind::Mismatch);
            bytes[8..].copy_from_slice(&[1, 9, 9, 9, 9, 9, 9, 9]); // padding may be anything
            call.set_result_bytes(&bytes).unwrap();
        });
        abi_struct! { struct Answer { number: i64, is_known: bool } }
        let answer = tries.function::<extern "C" fn() -> Answer>().unwrap().call();
        assert!(answer.is_known && answer.number == 0x0101_0101_0101_0101);
    }

    #[test]
    fn closures_that_cannot_be_made_are_refused_by_name() {
        let signature = too_large().parse().unwrap();
        let error = DynClosure::new(&signature, ABIS[ABIS.len() - 1], |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Signature);
        assert!(error.to_string().contains("a page of stack"), "{error}");
    }

    /// Random values, which a dynamic call passes, arrive as they are, and so does the result.
    #[test]
    fn random_values_arrive_as_they_are() {
        let mut random = Random(number("EXECBUF_SEED", 1));
        for round in 0..2000 {
            let text = if round % 2 == 0 {
                random_signature(&mut random).replace('.', "")
            } else {
                random_signature_of_values(&mut random).replace("@16", "") // so that no register is all padding
            };
            for &abi in ABIS {
                check_values(&text, abi, &mut random);
            }
        }
    }

    fn check_values(text: &str, abi: Abi, random: &mut Random) {
        let (got, sent_result) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let signature = text.parse().unwrap();
        let Ok(caller) = Caller::new(&signature, abi) else {
            return; // the values need more than a page
        };
        let passes = DynClosure::new(&signature, abi, |call| {
            let count = call.signature().arguments().len();
            *got.lock().unwrap() =
                (0..count).map(|index| call.arg_bytes(index).unwrap().to_vec()).collect::<Vec<_>>();
            let result = sent_result.lock().unwrap();
            if !result.is_empty() {
                call.set_result_bytes(&result).unwrap();
            }
        })
        .unwrap();
        let mut bytes =
            |size: usize| (0..size).map(|_| u8::try_from(random.of(0..2)).unwrap()).collect::<Vec<_>>();
        let size_of =
            |fits: &mut dyn FnMut(&[u8]) -> bool| (0..70_000).find(|&size| fits(&vec![0; size])).unwrap();
        let mut args = caller.args();
        let mut sent = Vec::new();
        for index in 0..signature.arguments().len() {
            let size = size_of(&mut |value| args.set_bytes(index, value).is_ok());
            sent.push(bytes(size));
            args.set_bytes(index, &sent[index]).unwrap();
        }
        // SAFETY: The closure has this signature and ABI, and exists. A call with a wrong size calls nothing.
        let call = |value: &mut [u8]| unsafe { args.call_bytes(passes.as_ptr(), value) };
        let size = size_of(&mut |value| call(&mut value.to_vec()).is_ok());
        *sent_result.lock().unwrap() = bytes(size);
        let mut result = vec![0xff; size];
        call(&mut result).unwrap();
        assert_eq!(*got.lock().unwrap(), sent, "{text}");
        assert_eq!(*sent_result.lock().unwrap(), result, "{text}");
    }

    #[test]
    fn threads_call_a_closure_and_it_calls_itself() {
        let sum = AtomicU64::new(0);
        let add = closure("L(L)", Abi::NATIVE, |call| {
            call.set_result(sum.fetch_add(call.arg(0).unwrap(), Ordering::Relaxed)).unwrap();
        });
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let function = add.function::<extern "C" fn(u64) -> u64>().unwrap();
                    (0..1000).for_each(|_| _ = function.call(2));
                    // Other closures come and go meanwhile.
                    (0..100).for_each(|_| drop(closure("v(di)", Abi::NATIVE, |_| {})));
                });
            }
        });
        drop(add);
        assert_eq!(sum.into_inner(), 8000);

        let itself = OnceLock::<usize>::new();
        let factorial = closure("L(L)", Abi::NATIVE, |call| {
            let n: u64 = call.arg(0).unwrap();
            let address: *const u8 = std::ptr::with_exposed_provenance(*itself.get().unwrap());
            let caller = Caller::new(call.signature(), Abi::NATIVE).unwrap();
            let mut args = caller.args();
            args.set(0, n.max(1) - 1).unwrap();
            // SAFETY: The closure has this signature, and exists.
            let rest = if n == 0 { 1 } else { unsafe { args.call::<u64>(address) }.unwrap() };
            call.set_result(n.max(1) * rest).unwrap();
        });
        itself.set(factorial.as_ptr().expose_provenance()).unwrap();
        assert_eq!(factorial.function::<extern "C" fn(u64) -> u64>().unwrap().call(10), 3_628_800);
    }

    #[test]
    fn dropping_a_closure_drops_what_it_captures() {
        let value = Arc::new(());
        let make = |text: &str| {
            let captured = Arc::clone(&value);
            DynClosure::new(&text.parse().unwrap(), ABIS[ABIS.len() - 1], move |_| _ = &captured)
        };
        let kept = make("v(p)").unwrap();
        assert_eq!(Arc::strong_count(&value), 2);
        assert!(kept.into_function::<Taking<i32>>().is_err()); // drops it
        assert_eq!(Arc::strong_count(&value), 1);
        let owned = make("v(p)").unwrap().into_function::<Taking<()>>().unwrap().boxed();
        owned.call(std::ptr::null());
        drop(owned);
        drop(make(&too_large()).unwrap_err());
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_panic_of_a_handler_aborts_the_process() {
        let end = child::crashing("closures::a_panic_of_a_handler_aborts_the_process", || {
            let panics = closure("v()", Abi::NATIVE, |_| panic::resume_unwind(Box::new(())));
            let function = panics.function::<extern "C-unwind" fn()>().unwrap();
            let _ = panic::catch_unwind(panic::AssertUnwindSafe(|| function.call()));
        });
        #[cfg(unix)]
        assert_eq!(end, child::End::Crashed(libc::SIGABRT));
        #[cfg(not(unix))]
        assert!(matches!(end, child::End::Crashed(_)), "{end:?}");
    }

    /// Whether the handle may be sent and shared is checked during compilation.
    #[test]
    fn a_closure_is_send_and_sync() {
        fn check<T: Send + Sync>(_: &T) {}
        let nothing = closure("v()", Abi::NATIVE, |_| {});
        check(&nothing);
        check(&nothing.function::<extern "C" fn()>().unwrap());
        assert_eq!(
            format!("{nothing:?}"),
            format!(
                "DynClosure {{ address: {:?}, signature: {:?}, abi: {:?}, .. }}",
                nothing.as_ptr(),
                nothing.signature(),
                nothing.abi()
            )
        );
    }
}
