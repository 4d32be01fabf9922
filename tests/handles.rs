//! Function handles: ownership of the code, the methods of a handle, its size, and its `Send`, `Sync`, `Clone` and
//! `Copy`.

mod support;

use execbuf::dynamic::DynThunk;
use execbuf::{CloneOwner, ErrorKind, ExecBuffer, ExecPool, Function, SharedFunction, Thunk};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type F = extern "C" fn() -> u32;

/// Evaluates to whether a type implements a trait, as a constant. It relies on an inherent associated constant taking
/// precedence over a trait's constant of the same name.
macro_rules! has {
    ($trait:path: $type:ty) => {{
        #[allow(dead_code, reason = "only if the type lacks the trait")]
        trait Not {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Not for T {}
        struct Ask<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "only if the type has the trait")]
        impl<T: ?Sized + $trait> Ask<T> {
            const HAS: bool = true;
        }
        <Ask<$type>>::HAS
    }};
}

/// Handles are `Send`, `Sync`, `Clone` and `Copy` if their owners allow it.
const _: () = {
    type NotSync = (ExecBuffer, Cell<u8>);
    type Neither = (ExecBuffer, Rc<u8>);

    assert!(has!(Send: ExecBuffer) && has!(Sync: ExecBuffer) && !has!(Clone: ExecBuffer));
    assert!(has!(Send: ExecPool) && has!(Sync: ExecPool));
    assert!(has!(Send: execbuf::Error) && has!(Sync: execbuf::Error));
    assert!(has!(Send: execbuf::Attempt) && has!(Sync: execbuf::Attempt));

    assert!(has!(Send: Function<F, ExecBuffer>) && has!(Sync: Function<F, ExecBuffer>));
    assert!(has!(Send: Function<extern "C" fn(*mut u8) -> *const u8, ExecBuffer>));
    assert!(has!(Send: Function<F, NotSync>) && !has!(Sync: Function<F, NotSync>));
    assert!(!has!(Send: Function<F, &'static NotSync>) && !has!(Sync: Function<F, &'static NotSync>));
    assert!(!has!(Send: Function<F, Neither>) && !has!(Sync: Function<F, Neither>));
    assert!(has!(Send: SharedFunction<F>) && has!(Sync: SharedFunction<F>) && has!(Clone: SharedFunction<F>));
    assert!(!has!(Copy: SharedFunction<F>));
    assert!(has!(Copy: Function<F, &'static ExecBuffer>) && has!(Copy: Function<F, ()>));
    assert!(!has!(Clone: Function<F, ExecBuffer>) && !has!(Clone: Function<F, Vec<u8>>));
    assert!(has!(Clone: Function<F, Arc<ExecBuffer>>) && has!(Clone: Function<F, Rc<ExecBuffer>>));
    assert!(has!(CloneOwner: (&'static u8, (Arc<u8>, ()))) && !has!(CloneOwner: (&'static u8, Box<u8>)));

    assert!(has!(Send: Thunk<ExecBuffer>) && has!(Sync: Thunk<ExecBuffer>) && !has!(Clone: Thunk<()>));
    assert!(has!(Send: Thunk<NotSync>) && !has!(Sync: Thunk<NotSync>) && !has!(Send: Thunk<Neither>));
    assert!(has!(Send: DynThunk) && has!(Sync: DynThunk));
    assert!(has!(Send: DynThunk<NotSync>) && !has!(Sync: DynThunk<NotSync>) && !has!(Send: DynThunk<Neither>));
};

/// A handle contains only the function pointer and the owner.
const _: () = {
    const WORD: usize = size_of::<usize>();
    assert!(size_of::<Function<F, ()>>() == WORD);
    assert!(size_of::<Function<F, &ExecBuffer>>() == 2 * WORD);
    assert!(size_of::<Function<F, Arc<ExecBuffer>>>() == 2 * WORD);
    assert!(size_of::<SharedFunction<F>>() == 3 * WORD);
    assert!(size_of::<Function<F, ExecBuffer>>() == WORD + size_of::<ExecBuffer>());
    assert!(size_of::<ExecBuffer>() == 2 * WORD + 8);
    assert!(size_of::<Option<Function<F, &ExecBuffer>>>() == 2 * WORD);
};

/// Counts how often it is dropped.
#[derive(Clone)]
struct Drops(Arc<AtomicUsize>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn functions_at_several_offsets_share_one_buffer() {
    let mut code = support::returning(1);
    let second = code.len().next_multiple_of(16);
    code.resize(second, support::TRAP[0]);
    code.extend(support::returning(2));
    let buffer = Arc::new(ExecBuffer::new(&code).unwrap());
    // SAFETY: Such functions begin at both offsets.
    let (one, two) = unsafe {
        let one = buffer.shared_function_at::<extern "C" fn() -> u32>(0).unwrap();
        let two = buffer.shared_function_at::<unsafe extern "C" fn() -> u32>(second).unwrap();
        (one, two)
    };
    assert_eq!(one.owner().as_ptr().wrapping_add(second), two.as_ptr());
    drop(buffer);
    assert_eq!(one.call(), 1);
    drop(one);
    // SAFETY: The code has no conditions.
    assert_eq!(unsafe { two.call() }, 2);
    // SAFETY: Nothing is called.
    let error = unsafe { two.owner().shared_function_at::<extern "C" fn()>(code.len()) }.unwrap_err();
    assert_eq!((error.kind(), error.culprit()), (ErrorKind::OutOfBounds, Some("offset")));
}

#[test]
fn an_owned_function_can_begin_at_any_offset_of_its_buffer() {
    let mut code = support::TRAP.repeat(4);
    code.extend(support::returning(3));
    let publish = || ExecBuffer::new(&code).unwrap();
    // SAFETY: Such a function begins at this offset.
    let function = unsafe { publish().into_function_at::<F>(16) }.unwrap();
    assert_eq!((function.call(), function.as_ptr()), (3, function.owner().as_ptr().wrapping_add(16)));
    for offset in [code.len(), usize::MAX] {
        // SAFETY: Nothing is called.
        let error = unsafe { publish().into_function_at::<F>(offset) }.unwrap_err();
        assert_eq!((error.kind(), error.culprit()), (ErrorKind::OutOfBounds, Some("offset")));
    }
}

#[test]
fn plain_function_pointers_call_the_code() {
    let buffer = support::publish(9);
    // SAFETY: The code is such a function, and the buffer outlives the calls.
    unsafe {
        assert_eq!(buffer.function::<F>().as_fn()(), 9);
        let owned = buffer.into_function::<F>();
        assert_eq!(owned.as_fn()(), 9);
        let shared = Arc::new(owned.into_owner()).shared_function_at::<F>(0).unwrap();
        let clone = shared.clone();
        let shared = Arc::try_unwrap(shared.into_owner()).expect_err("the clone also owns it");
        drop(clone);
        assert_eq!(support::call(&Arc::try_unwrap(shared).unwrap()), 9);
    }
}

#[test]
fn a_function_can_be_moved_with_its_code() {
    struct Compiled {
        function: Function<F, ExecBuffer>,
    }
    // SAFETY: The code is such a function.
    let compiled = Compiled { function: unsafe { support::publish(5).into_function() } };
    let address = compiled.function.as_ptr();
    let moved = Box::new(compiled);
    assert_eq!((moved.function.call(), moved.function.as_ptr()), (5, address));
    let mut buffer = moved.function.into_owner();
    buffer.rewrite(0, &support::returning(6)).unwrap();
    assert_eq!((support::call(&buffer), buffer.as_ptr()), (6, address));
}

#[test]
fn every_handle_of_a_function_calls_it() {
    // SAFETY: The code is such a function.
    let owned = unsafe { support::publish(7).into_function::<F>() };
    assert_eq!((owned.by_ref().call(), owned.by_dyn().call(), owned.by_ref().by_ref().call()), (7, 7, 7));
    let borrowed = owned.by_ref();
    let (copy, and) = (borrowed, borrowed.and(&7));
    assert_eq!((copy.call(), and.call(), *and.owner().1), (7, 7, 7));
    assert_eq!((borrowed.boxed().call(), borrowed.into_native().unwrap().call()), (7, 7));
    let shared = owned.shared();
    assert_eq!((shared.call(), shared.clone().call(), shared.to_native().unwrap().call()), (7, 7, 7));
    let boxed = shared.boxed();
    assert_eq!(boxed.call(), 7);
}

#[test]
fn a_value_added_with_and_is_dropped_with_the_last_handle() {
    let count = Arc::new(AtomicUsize::new(0));
    let drops = || count.load(Ordering::Relaxed);
    // SAFETY: The code is such a function.
    let function = unsafe { support::publish(8).into_function::<F>() }.and(Drops(Arc::clone(&count)));
    let shared = function.shared();
    let clone = shared.clone();
    let thunk = clone.into_native().unwrap();
    drop(shared);
    assert_eq!((thunk.call(), drops()), (8, 0));
    drop(thunk);
    assert_eq!(drops(), 1);
}

#[test]
fn a_module_can_be_the_owner() {
    struct Module {
        pieces: Vec<ExecBuffer>,
    }
    let module = Arc::new(Module { pieces: (0..3).map(support::publish).collect() });
    // SAFETY: The pieces are such functions, and the module never drops a piece.
    let function =
        |n: usize| unsafe { Function::<F, _>::from_parts(module.pieces[n].as_ptr(), Arc::clone(&module)) };
    let functions: Vec<_> = (0..3).map(function).collect();
    let threads: Vec<_> = functions
        .iter()
        .map(|function| {
            std::thread::spawn({
                let f = function.clone();
                move || f.call()
            })
        })
        .collect();
    drop(functions);
    assert!((0..).zip(threads).all(|(n, thread)| thread.join().unwrap() == n));
    assert_eq!(Arc::strong_count(&module), 1);
}

#[test]
fn the_code_that_a_function_calls_lives_as_long_as_the_function() {
    let pool = ExecPool::new().unwrap();
    let publish = || {
        let callee = pool.publish(&support::returning(11)).unwrap();
        let caller = pool.publish(&support::jump_to(callee.as_ptr())).unwrap();
        (callee, caller)
    };

    let (callee, caller) = publish();
    // SAFETY: The code jumps to the other piece, which is such a function and which the handle owns.
    let with_callee = unsafe { caller.into_function::<F>() }.and(callee);

    let (callee, caller) = publish();
    let module = Arc::new(vec![callee, caller]);
    // SAFETY: As above. The handle owns both pieces, and nobody else can drop one of them.
    let of_module = unsafe { Function::<F, _>::from_parts(module[1].as_ptr(), Arc::clone(&module)) };
    drop(module);

    for function in [with_callee.shared(), of_module.shared()] {
        let live = pool.stats().live();
        let clone = function.clone();
        drop(function);
        assert_eq!(pool.stats().live(), live, "a clone owns the code");
        assert_eq!(std::thread::spawn(move || clone.call()).join().unwrap(), 11);
        assert_eq!(pool.stats().live(), live - 2);
    }
    assert_eq!(pool.stats().live(), 0);
}

#[test]
fn a_function_of_the_program_needs_no_owner() {
    extern "C" fn five() -> u32 {
        5
    }
    let function = Function::from_fn(five as F);
    assert_eq!((function.call(), function.as_ptr()), (5, five as *const u8));
    // SAFETY: A function of the program is never freed.
    assert_eq!(unsafe { function.as_fn() }(), 5);
    assert_eq!(function.into_native().unwrap().call(), 5);
}

#[test]
fn debug_output_shows_addresses_and_never_bytes() {
    let buffer = support::publish(0x1234);
    let address = format!("{:?}", buffer.as_ptr());
    let length = buffer.len();
    let shown = format!("ExecBuffer {{ entry: {address}, len: {length} }}");
    assert_eq!(format!("{buffer:?}"), shown);
    // SAFETY: The code is such a function.
    let function = unsafe { buffer.function::<F>() };
    let copy = function;
    assert_eq!(format!("{function:?}"), format!("Function({address})"));
    assert_eq!(copy.as_ptr(), buffer.as_ptr());
    // SAFETY: As above.
    let owned = unsafe { buffer.into_function::<F>() };
    assert_eq!(format!("{owned:?}, {:?}", owned.owner()), format!("Function({address}), {shown}"));
    let thunk = owned.into_native().unwrap();
    assert_eq!(
        format!("{thunk:?}, {:?}", thunk.owner()),
        format!("Function({address}), Thunk {{ code: None, .. }}")
    );
}
