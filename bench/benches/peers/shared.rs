//! Libraries in a form that several threads can use at once. A clone is another handle of the same library.

use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex};

use execbuf::{Error, ExecPool, ffi};
use jit_allocator2::JitAllocator;

use crate::Result;
use crate::libraries::{Library, POOL};

/// An owner of code that may be sent to another thread.
pub(crate) struct Sent<T>(pub(crate) T);

// SAFETY: Each library that uses this type lets any thread release the code, and nobody else has it.
unsafe impl<T> Send for Sent<T> {}

/// The calls of the C API, without the safe types.
#[derive(Clone)]
pub(crate) struct FromC(ExecPool);

impl Library for FromC {
    const NAME: &str = "ExecPool, from C";
    type Code = Sent<ffi::execbuf>;

    fn new() -> Result<Self> {
        Ok(Self(ExecPool::builder().name(POOL).build()?))
    }

    fn publish(&mut self, code: &[u8]) -> Result<Sent<ffi::execbuf>> {
        let (mut raw, mut error) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        let (bytes, length) = (code.as_ptr().cast(), code.len());
        // SAFETY: The pool exists, the code is readable, and the function writes the handle or the error.
        unsafe {
            let pool = self.0.as_raw();
            match ffi::execbuf_pool_publish(pool, raw.as_mut_ptr(), bytes, length, error.as_mut_ptr()) {
                ffi::execbuf_status::EXECBUF_OK => Ok(Sent(raw.assume_init())),
                _ => Err(Error::from_raw(error.assume_init()).into()),
            }
        }
    }

    fn entry(code: &Sent<ffi::execbuf>) -> *const u8 {
        code.0.entry.cast()
    }

    fn release(&mut self, mut code: Sent<ffi::execbuf>) -> Result<()> {
        // SAFETY: The handle is writable, and nobody runs the code.
        match unsafe { ffi::execbuf_free(&raw mut code.0) } {
            ffi::execbuf_status::EXECBUF_OK => Ok(()),
            status => Err(format!("execbuf_free: {status:?}").into()),
        }
    }
}

/// A `JitAllocator` of jit-allocator2, which has no lock of its own, in a lock.
#[derive(Clone)]
pub(crate) struct Locked(Arc<Mutex<Box<JitAllocator>>>);

impl Library for Locked {
    const NAME: &str = <Box<JitAllocator>>::NAME;
    type Code = Sent<*const u8>;

    fn new() -> Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Library::new()?))))
    }

    fn publish(&mut self, code: &[u8]) -> Result<Sent<*const u8>> {
        Library::publish(&mut *self.0.lock().map_err(|_| "poisoned")?, code).map(Sent)
    }

    fn entry(code: &Sent<*const u8>) -> *const u8 {
        code.0
    }

    fn release(&mut self, code: Sent<*const u8>) -> Result<()> {
        Library::release(&mut *self.0.lock().map_err(|_| "poisoned")?, code.0)
    }
}

/// The same as [`Malloc`](crate::libraries::Malloc), with mimalloc.
#[cfg(feature = "mimalloc")]
#[derive(Clone)]
pub(crate) struct Mimalloc;

#[cfg(feature = "mimalloc")]
impl Library for Mimalloc {
    const NAME: &str = "mimalloc, not executable";
    type Code = Sent<(*mut u8, usize)>;

    fn new() -> Result<Self> {
        Ok(Self)
    }

    fn publish(&mut self, code: &[u8]) -> Result<Self::Code> {
        // SAFETY: The function has no conditions.
        let memory = unsafe { libmimalloc_sys::mi_malloc(code.len()) }.cast::<u8>();
        if memory.is_null() {
            return Err("no memory".into());
        }
        // SAFETY: The memory has this length, and nobody else has it.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), memory, code.len()) };
        Ok(Sent((memory, code.len())))
    }

    fn entry(code: &Self::Code) -> *const u8 {
        code.0.0
    }

    fn run(code: &Self::Code) -> u64 {
        // SAFETY: The memory was not freed, and has at least one byte, which is initialised.
        u64::from(unsafe { *code.0.0 })
    }

    fn release(&mut self, code: Self::Code) -> Result<()> {
        let (memory, length) = code.0;
        // SAFETY: The memory has this length, was not freed before, and nobody else has it.
        unsafe {
            memory.write_bytes(0xcc, length); // int3
            libmimalloc_sys::mi_free(std::hint::black_box(memory).cast());
        }
        Ok(())
    }
}

#[cfg(has_asmjit)]
pub(crate) use asmjit::AsmJit;

#[cfg(has_asmjit)]
mod asmjit {
    use std::ffi::c_void;
    use std::sync::Arc;

    use super::Sent;
    use crate::Result;
    use crate::libraries::Library;

    // In bench/asmjit.cpp.
    unsafe extern "C" {
        fn bench_asmjit_new() -> *mut c_void;
        fn bench_asmjit_free(allocator: *mut c_void);
        fn bench_asmjit_publish(allocator: *mut c_void, code: *const u8, length: usize) -> *const u8;
        fn bench_asmjit_release(allocator: *mut c_void, code: *const u8) -> bool;
    }

    /// `AsmJit`'s `JitAllocator`, which has a lock of its own.
    #[derive(Clone)]
    pub(crate) struct AsmJit(Arc<Allocator>);

    struct Allocator(*mut c_void);

    // SAFETY: The allocator belongs to no thread.
    unsafe impl Send for Allocator {}
    // SAFETY: All threads may call its functions, which take its lock.
    unsafe impl Sync for Allocator {}

    impl Drop for Allocator {
        fn drop(&mut self) {
            // SAFETY: Only this value has the allocator.
            unsafe { bench_asmjit_free(self.0) };
        }
    }

    impl Library for AsmJit {
        const NAME: &str = "AsmJit";
        type Code = Sent<*const u8>;

        fn new() -> Result<Self> {
            // SAFETY: The function has no conditions.
            Ok(Self(Arc::new(Allocator(unsafe { bench_asmjit_new() }))))
        }

        fn publish(&mut self, code: &[u8]) -> Result<Sent<*const u8>> {
            // SAFETY: The allocator exists, and the code is readable.
            let entry = unsafe { bench_asmjit_publish(self.0.0, code.as_ptr(), code.len()) };
            if entry.is_null() { Err("no memory".into()) } else { Ok(Sent(entry)) }
        }

        fn entry(code: &Sent<*const u8>) -> *const u8 {
            code.0
        }

        fn release(&mut self, code: Sent<*const u8>) -> Result<()> {
            // SAFETY: The allocator exists, the code is from it and was not released before, and nobody runs it.
            let released = unsafe { bench_asmjit_release(self.0.0, code.0) };
            if released { Ok(()) } else { Err("AsmJit did not release the code".into()) }
        }
    }
}
