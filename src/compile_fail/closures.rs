//! Closures are called and dropped only where Rust permits it.
//!
//! A closure does not outlive what it captures:
//!
//! ```compile_fail,E0597
//! let closure = {
//!     let text = String::from("captured");
//!     execbuf::Closure::new(|| text.len()).unwrap()
//! };
//! closure.function().call();
//! ```
//!
//! ```compile_fail,E0597
//! let function = {
//!     let text = String::from("captured");
//!     execbuf::Closure::new(|| text.len()).unwrap().into_function().boxed()
//! };
//! function.call();
//! ```
//!
//! ```compile_fail,E0505
//! let closure = execbuf::Closure::new(|| 42).unwrap();
//! let function = closure.function();
//! drop(closure);
//! function.call();
//! ```
//!
//! A closure with an `Rc` stays on its thread, and one with a `Cell` is not shared:
//!
//! ```compile_fail,E0277
//! let value = std::rc::Rc::new(42);
//! let closure = execbuf::Closure::new(move || *value).unwrap();
//! std::thread::spawn(move || closure.function().call());
//! ```
//!
//! ```compile_fail,E0277
//! let value = std::rc::Rc::new(42);
//! let closure = execbuf::ClosureMut::new(move || *value).unwrap();
//! std::thread::spawn(move || drop(closure));
//! ```
//!
//! ```compile_fail,E0277
//! let value = std::rc::Rc::new(42);
//! let closure = execbuf::ClosureOnce::new(move || *value).unwrap();
//! std::thread::spawn(move || drop(closure));
//! ```
//!
//! ```compile_fail,E0277
//! let cell = std::cell::Cell::new(42);
//! let closure = execbuf::Closure::new(move || cell.get()).unwrap();
//! let function = closure.function();
//! std::thread::scope(|scope| _ = scope.spawn(|| function.call()));
//! ```
//!
//! ```compile_fail,E0277
//! let cell = std::cell::Cell::new(42);
//! let function = execbuf::Closure::new(move || cell.get()).unwrap().into_function().shared();
//! ```
//!
//! A closure that changes or consumes what it captures is no `Fn`:
//!
//! ```compile_fail,E0525
//! let mut count = 0;
//! let closure = execbuf::Closure::new(|| count += 1).unwrap();
//! ```
//!
//! ```compile_fail,E0525
//! let text = String::from("captured");
//! let closure = execbuf::ClosureMut::new(|| drop(text)).unwrap();
//! ```
//!
//! Only a `Closure` can be called safely:
//!
//! ```compile_fail,E0599
//! let mut count = 0;
//! let closure = execbuf::ClosureMut::new(|| count += 1).unwrap();
//! closure.function().call();
//! ```
//!
//! ```compile_fail,E0599
//! let text = String::from("captured");
//! let closure = execbuf::ClosureOnce::new(|| drop(text)).unwrap();
//! closure.function().call();
//! ```
//!
//! ```compile_fail,E0133
//! let closure = execbuf::Closure::new(|| 42).unwrap();
//! let pointer: extern "C" fn() -> i32 = closure.as_fn();
//! ```
//!
//! ```compile_fail,E0133
//! let closure = execbuf::ClosureMut::new(|| 42).unwrap();
//! let pointer: extern "C" fn() -> i32 = closure.as_fn();
//! ```
//!
//! ```compile_fail,E0133
//! let closure = execbuf::ClosureOnce::new(|| 42).unwrap();
//! let pointer: extern "C" fn() -> i32 = closure.as_fn();
//! ```
//!
//! ```compile_fail,E0133
//! let closure = execbuf::Closure::<unsafe extern "C" fn() -> i32, _>::typed(|| 42).unwrap();
//! closure.function().call();
//! ```
//!
//! A closure that is called once is not used after `detach`, which needs a closure that any thread may call at any time:
//!
//! ```compile_fail,E0382
//! let closure = execbuf::ClosureOnce::new(|| 42).unwrap();
//! closure.detach();
//! let pointer = unsafe { closure.as_fn() };
//! ```
//!
//! ```compile_fail,E0373
//! let text = String::from("captured");
//! let closure = execbuf::ClosureOnce::new(|| text.len()).unwrap();
//! closure.detach();
//! ```
//!
//! ```compile_fail,E0277
//! let value = std::rc::Rc::new(42);
//! let closure = execbuf::ClosureOnce::new(move || *value).unwrap();
//! closure.detach();
//! ```
//!
//! The types have to be those of a function that C can call:
//!
//! ```compile_fail,E0277
//! let closure = execbuf::Closure::new(|text: &str| text.len()).unwrap();
//! ```
//!
//! ```compile_fail,E0277
//! let closure = execbuf::Closure::new(|number: i32| Some(number)).unwrap();
//! ```
//!
//! ```compile_fail,E0271
//! let closure = execbuf::Closure::<extern "C" fn(i32) -> u64, _>::typed(|number: i32| number).unwrap();
//! ```
//!
//! ```compile_fail,E0277
//! let closure = execbuf::Closure::<fn(i32) -> i32, _>::typed(|number: i32| number).unwrap();
//! ```
