//! Counts heap allocations, to check which operations allocate, and refuses them. Checks the size of results.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

use execbuf::{Error, ErrorKind, ExecBuffer, ExecPool, ffi};

/// An allocator that counts the allocations of each thread, and has no memory for a thread that asks for that.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static REFUSE: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: All calls go to the system's allocator, or return null. Counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        if REFUSE.try_with(Cell::get).unwrap_or(false) {
            return ptr::null_mut();
        }
        // SAFETY: The caller meets the conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: The caller meets the conditions, and the memory comes from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs a function. Returns the number of allocations on this thread meanwhile, and the function's result.
fn allocations<T>(body: impl FnOnce() -> T) -> (usize, T) {
    let before = COUNT.get();
    let result = body();
    (COUNT.get() - before, result)
}

#[cfg(target_arch = "x86_64")]
const NINE: [u8; 6] = [0xb8, 9, 0, 0, 0, 0xc3]; // mov eax, 9; ret
#[cfg(target_arch = "aarch64")]
const NINE: [u8; 8] = [0x20, 0x01, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6]; // mov w0, #9; ret

type F = extern "C" fn() -> u32;

#[test]
fn the_allocator_counts_allocations() {
    assert_eq!(allocations(|| Box::new(1)).0, 1);
}

#[test]
fn an_owned_function_allocates_nothing() {
    let pool = ExecPool::new().unwrap();
    drop(pool.publish(&NINE).unwrap());
    let (count, result) = allocations(|| {
        let buffer = pool.publish(&NINE).unwrap();
        // SAFETY: The code is such a function.
        let function = unsafe { buffer.into_function::<F>() };
        let result = function.call();
        let function = function.and(1_u8);
        let result = result + function.by_ref().call() + function.by_dyn().call();
        drop(function.into_owner());
        result
    });
    assert_eq!((count, result), (0, 27));
}

#[test]
fn a_borrowed_function_allocates_nothing() {
    let buffer = ExecBuffer::new(&NINE).unwrap();
    // SAFETY: The code is such a function.
    let (count, result) = allocations(|| unsafe { buffer.function::<F>() }.call());
    assert_eq!((count, result), (0, 9));
}

#[test]
fn a_shared_function_allocates_once_and_its_clones_nothing() {
    let buffer = ExecBuffer::new(&NINE).unwrap();
    // SAFETY: The code is such a function.
    let (count, shared) = allocations(|| unsafe { buffer.into_function::<F>() }.shared());
    assert_eq!(count, 1);
    let (count, result) = allocations(|| shared.clone().call());
    assert_eq!((count, result), (0, 9));
}

#[test]
fn errors_are_small_and_share_the_space_of_the_result() {
    assert!(size_of::<Error>() <= 32);
    assert!(size_of::<Result<ExecPool, Error>>() <= 32);
    // The buffer has 24 bytes. The tag of the error also tells whether there is an error.
    assert!(size_of::<Result<ExecBuffer, Error>>() <= 32);
}

#[test]
fn an_error_without_attempts_allocates_nothing() {
    let (count, error) = allocations(|| ExecBuffer::new(&[]).unwrap_err());
    assert_eq!((count, error.kind(), error.culprit()), (0, ErrorKind::Empty, Some("length")));
}

#[test]
fn an_error_without_memory_for_its_attempts_keeps_all_else() {
    let none = ffi::execbuf_attempt {
        backend: ffi::execbuf_backend::EXECBUF_BACKEND_NONE,
        os_error: 0,
        call: ptr::null(),
    };
    let mut raw = ffi::execbuf_error {
        status: ffi::execbuf_status::EXECBUF_E_DENIED,
        os_error: 13,
        culprit: c"mmap".as_ptr(),
        position: 0,
        attempt_count: 1,
        attempts: [none; ffi::EXECBUF_MAX_ATTEMPTS as usize],
        path: [0; 8],
        reserved: [0; 2],
    };
    raw.attempts[0].backend = ffi::execbuf_backend::EXECBUF_BACKEND_FLIP;
    raw.attempts[0].call = c"mprotect".as_ptr();
    for refuse in [false, true] {
        REFUSE.set(refuse);
        // SAFETY: The report is complete.
        let (count, error) = allocations(|| unsafe { Error::from_raw(raw) });
        REFUSE.set(false);
        assert_eq!((count, error.attempts().count()), (1, usize::from(!refuse)));
        assert_eq!((error.kind(), error.os_error(), error.culprit()), (ErrorKind::Denied, Some(13), Some("mmap")));
        let named = if refuse { "mmap" } else { "flip: mprotect" };
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_thunk_allocates_nothing_in_rust() {
    extern "win64" fn increment(number: u64) -> u64 {
        number + 1
    }
    let make = || {
        let target = execbuf::Function::from_fn(increment as extern "win64" fn(u64) -> u64);
        target.into_abi::<extern "sysv64" fn(u64) -> u64>().unwrap().call(41)
    };
    make();
    assert_eq!(allocations(make), (0, 42));
}
