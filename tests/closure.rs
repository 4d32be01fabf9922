//! Rust closures as C function pointers.

mod support;

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows)))))]
#[test]
fn closures_are_refused_by_name() {
    let error = execbuf::Closure::new(|number: i32| number).unwrap_err();
    assert_eq!(error.kind(), execbuf::ErrorKind::Abi);
    support::skip("closures: there are none here");
}

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))]
mod closures {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::{panic, thread};

    use execbuf::{Closure, ClosureMut, ClosureOnce, Function};

    use super::support::child;

    #[test]
    fn closures_use_what_they_capture() {
        let factor = 3;
        let scale = Closure::new(|number: i32| factor * number).unwrap();
        assert_eq!(scale.function().call(14), 42);
        let owned = scale.into_function();
        assert_eq!(owned.call(2), 6);
    }

    /// Calls a closure whose context is behind these arguments, in each convention.
    macro_rules! called_with {
        ($(($($name:ident: $type:ty = $value:expr),*) -> $result_type:ty = $result:expr;)*) => {$(
            called_with!(@one "C", ($($name: $type = $value),*) -> $result_type = $result);
            #[cfg(target_arch = "x86_64")]
            called_with!(@one "sysv64", ($($name: $type = $value),*) -> $result_type = $result);
            #[cfg(target_arch = "x86_64")]
            called_with!(@one "win64", ($($name: $type = $value),*) -> $result_type = $result);
            called_with!(@one "C-unwind", ($($name: $type = $value),*) -> $result_type = $result);
        )*};
        (@one $abi:literal, ($($name:ident: $type:ty = $value:expr),*) -> $result_type:ty = $result:expr) => {{
            let calls = Cell::new(0);
            let captured = $result;
            let closure = Closure::<extern $abi fn($($type),*) -> $result_type, _>::typed(|$($name: $type),*| {
                $(assert_eq!(std::hint::black_box($name), $value, "{}", stringify!($name));)*
                calls.set(calls.get() + 1);
                captured
            })
            .unwrap();
            assert_eq!(closure.function().call($(std::hint::black_box($value)),*), $result);
            assert_eq!(calls.get(), 1);
        }};
    }

    #[test]
    #[allow(
        clippy::float_cmp,
        clippy::let_unit_value,
        clippy::unit_cmp,
        reason = "the values are passed on unchanged"
    )]
    fn closures_have_up_to_twelve_arguments() {
        called_with! {
            () -> () = ();
            () -> f64 = 0.5;
            (a: bool = true) -> bool = false;
            (a: i8 = -1, b: u16 = 65535) -> i16 = -4;
            (a: f64 = 1.5, b: i32 = -2, c: f32 = 2.5) -> f32 = 6.0;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4) -> u64 = 5;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4, e: u64 = 5) -> u64 = 6;
            (a: u64 = 1, b: u64 = 2, c: u64 = 3, d: u64 = 4, e: u64 = 5, f: u64 = 6) -> u64 = 7;
            (a: f64 = 1.0, b: f64 = 2.0, c: f64 = 3.0, d: f64 = 4.0, e: f64 = 5.0, f: f64 = 6.0, g: f64 = 7.0,
                h: f64 = 8.0, i: f64 = 9.0) -> f64 = 10.0;
            (a: u64 = 1, b: f64 = 2.0, c: i8 = -3, d: f32 = 4.0, e: u64 = 5, f: i16 = -6, g: u64 = 7, h: u32 = 8,
                i: f64 = 9.0, j: u64 = 10, k: bool = true, l: i64 = -12) -> i64 = -13;
        }
    }

    type Factorial = extern "C" fn(u64) -> u64;

    #[test]
    fn a_closure_may_be_called_by_threads_and_by_itself() {
        let calls = AtomicUsize::new(0);
        let count = Closure::new(|| calls.fetch_add(1, Ordering::Relaxed)).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| _ = count.function().call()));
            }
        });
        assert_eq!(calls.load(Ordering::Relaxed), 4000);

        // The closure calls itself through a C function pointer.
        let itself: Cell<Option<Factorial>> = Cell::new(None);
        let factorial =
            Closure::new(|n: u64| if n == 0 { 1 } else { n * itself.get().expect("it is set")(n - 1) }).unwrap();
        // SAFETY: The pointer is used while the closure exists, on this thread.
        itself.set(Some(unsafe { factorial.as_fn() }));
        assert_eq!(factorial.function().call(10), 3_628_800);
    }

    #[test]
    fn dropping_a_closure_drops_what_it_captures() {
        let value = Arc::new(());
        let captured = Arc::clone(&value);
        let closure = Closure::new(move || _ = &captured).unwrap();
        let captured = Arc::clone(&value);
        let mutable = ClosureMut::new(move || _ = &captured).unwrap();
        let captured = Arc::clone(&value);
        let once = ClosureOnce::new(move || drop(captured)).unwrap();
        assert_eq!(Arc::strong_count(&value), 4);
        drop((closure, mutable, once));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn an_owned_closure_fits_into_a_struct() {
        struct Hooks {
            all: Vec<Function<extern "C" fn(i32), Box<dyn Send + Sync>>>,
        }
        let sum = Arc::new(Mutex::new(0));
        let mut hooks = Hooks { all: Vec::new() };
        for factor in 1..=3 {
            let sum = Arc::clone(&sum);
            let add = Closure::new(move |number: i32| *sum.lock().unwrap() += factor * number).unwrap();
            hooks.all.push(add.into_function().boxed());
        }
        thread::spawn(move || hooks.all.iter().for_each(|hook| hook.call(7))).join().unwrap();
        assert_eq!(*sum.lock().unwrap(), 42);
    }

    #[test]
    fn mutable_closures_change_what_they_capture() {
        let mut numbers = Vec::new();
        let push = ClosureMut::new(|number: i32| numbers.push(number)).unwrap();
        // SAFETY: One call ends before the next one begins.
        let function = unsafe { push.as_fn() };
        (0..3).for_each(|number| function(number));
        push.into_inner()(3);
        assert_eq!(numbers, [0, 1, 2, 3]);
    }

    /// The handle and the call share the memory. Each may end first.
    #[test]
    fn a_closure_that_is_called_once_is_freed_by_the_last_that_uses_it() {
        let value = Arc::new(());
        for round in 0..2000 {
            let captured = Arc::clone(&value);
            let once = ClosureOnce::new(move |number: u64| number + Arc::strong_count(&captured) as u64).unwrap();
            // SAFETY: It is called once, and if the handle is dropped, no call begins afterwards.
            let function = unsafe { once.as_fn() };
            match round % 4 {
                0 => assert!(once.into_inner().is_some()),
                1 => {
                    assert_eq!(function(40), 42);
                    assert!(once.into_inner().is_none());
                }
                2 => {
                    assert_eq!(function(40), 42);
                    once.detach();
                }
                _ => {
                    let caller = thread::spawn(move || function(40));
                    once.detach(); // before, during or after the call
                    assert_eq!(caller.join().unwrap(), 42);
                }
            }
            assert_eq!(Arc::strong_count(&value), 1);
        }
    }

    #[test]
    fn dropping_the_handle_of_a_running_closure_leaves_the_rest_to_the_call() {
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let value = Arc::new(());
        let captured = Arc::clone(&value);
        let once = ClosureOnce::new(move || -> u64 {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            Arc::strong_count(&captured) as u64
        })
        .unwrap();
        // SAFETY: It is called once, before the handle is dropped.
        let function = unsafe { once.as_fn() };
        let caller = thread::spawn(move || function());
        has_begun.recv().unwrap();
        drop(once);
        go_on.send(()).unwrap();
        assert_eq!(caller.join().unwrap(), 2);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn panics_leave_functions_of_unwind_types() {
        type Nine = extern "C-unwind" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u64;
        let value = Rc::new(());
        let captured = Rc::clone(&value);
        let short = Closure::<extern "C-unwind" fn(i32), _>::typed(|number| {
            let _captured = Rc::clone(&captured);
            if number == 0 {
                panic::resume_unwind(Box::new("thrown")); // as panic!, but without a message
            }
        });
        let short = short.unwrap();
        // Through an adapter with a frame.
        let long = Closure::<Nine, _>::typed(|a, b, c, d, e, f, g, h, i| {
            short.function().call(1);
            short.function().call(i32::try_from(i).unwrap());
            a + b + c + d + e + f + g + h + i
        });
        let long = long.unwrap();
        assert_eq!(long.function().call(1, 2, 3, 4, 5, 6, 7, 8, 9), 45);
        let caught =
            panic::catch_unwind(panic::AssertUnwindSafe(|| long.function().call(1, 2, 3, 4, 5, 6, 7, 8, 0)));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"thrown"));
        let caught = panic::catch_unwind(panic::AssertUnwindSafe(|| short.function().call(0)));
        assert!(caught.is_err());
        assert_eq!(Rc::strong_count(&value), 2);
    }

    fn aborts(test: &str, act: impl FnOnce()) {
        let end = child::crashing(&format!("closures::{test}"), act);
        #[cfg(unix)]
        assert_eq!(end, child::End::Crashed(libc::SIGABRT));
        #[cfg(not(unix))]
        assert!(matches!(end, child::End::Crashed(_)), "{end:?}");
    }

    #[test]
    fn a_panic_aborts_the_process_in_functions_of_other_types() {
        aborts("a_panic_aborts_the_process_in_functions_of_other_types", || {
            let closure = Closure::new(|| -> i32 { panic::resume_unwind(Box::new(())) }).unwrap();
            let _ = panic::catch_unwind(panic::AssertUnwindSafe(|| closure.function().call()));
        });
    }

    #[test]
    fn a_second_call_of_a_closure_that_is_called_once_aborts_the_process() {
        aborts("a_second_call_of_a_closure_that_is_called_once_aborts_the_process", || {
            let once = ClosureOnce::<extern "C-unwind" fn(), _>::typed(|| ()).unwrap();
            // SAFETY: The handle exists.
            let function = unsafe { once.as_fn() };
            function();
            let _ = panic::catch_unwind(|| function());
        });
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_call_of_a_mutable_closure_during_another_one_aborts_the_process() {
        aborts("a_call_of_a_mutable_closure_during_another_one_aborts_the_process", || {
            let itself: Cell<Option<extern "C" fn()>> = Cell::new(None);
            let closure = ClosureMut::new(|| itself.get().expect("it is set")()).unwrap();
            // SAFETY: None: this breaks the promise, which is noticed.
            let function = unsafe { closure.as_fn() };
            itself.set(Some(function));
            function();
        });
    }

    /// Whether the handles may be sent and shared is checked during compilation.
    #[test]
    fn handles_are_send_and_sync_as_the_closures_are() {
        fn is_send<T: Send>(_: &T) {}
        fn is_sync<T: Sync>(_: &T) {}
        let cell = Cell::new(0); // Send, but not Sync
        let closure = Closure::new(move |number: i32| cell.set(number)).unwrap();
        is_send(&closure);
        let mut numbers = Vec::new();
        let mutable = ClosureMut::new(move |number: i32| numbers.push(number)).unwrap();
        is_send(&mutable);
        is_sync(&mutable);
        let cell = Cell::new(0);
        let once = ClosureOnce::new(move |number: i32| cell.set(number)).unwrap();
        is_send(&once);
        is_sync(&once);
        let atomic = AtomicUsize::new(0);
        let shared = Closure::new(move || atomic.load(Ordering::Relaxed)).unwrap();
        is_sync(&shared);
        is_sync(&shared.function());
    }
}
