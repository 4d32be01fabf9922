//! The libraries that are compared. Each does the same work, with the calls that its documentation shows.

use std::hint::black_box;
use std::{mem, ptr};

use closure_ffi::BareFn;
use dynasmrt::ExecutableBuffer;
use execbuf::{ExecBuffer, ExecPool, Function, Thunk};
use jit_allocator2::{JitAllocator, JitAllocatorOptions};
use memmap2::{Mmap, MmapMut};
use region::Protection;

use crate::Result;

/// The function that all libraries publish.
pub(crate) const RDTSC: [u8; 10] = [
    0x0f, 0x31, //             rdtsc          edx:eax = counter
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, //       or rax, rdx
    0xc3, //                   ret
];

/// The name of the pool, which identifies its mappings.
pub(crate) const POOL: &str = "benchpool";

/// A library that makes code executable.
pub(crate) trait Library: Sized {
    /// The name in the table.
    const NAME: &str;
    /// Owns a piece of published code.
    type Code;
    fn new() -> Result<Self>;
    fn publish(&mut self, code: &[u8]) -> Result<Self::Code>;
    fn entry(code: &Self::Code) -> *const u8;
    /// Calls a published function. What is not executable is read.
    fn run(code: &Self::Code) -> u64 {
        // SAFETY: A function of this type begins at the address: the published bytes, or a function that calls a closure
        // of this type.
        let function: extern "C" fn() -> u64 = unsafe { mem::transmute(Self::entry(code)) };
        function()
    }
    fn release(&mut self, code: Self::Code) -> Result<()> {
        drop(code);
        Ok(())
    }
    /// Returns the library's own figures, if it has any: resident memory for code, and memory for its bookkeeping.
    fn own_figures(&self) -> Option<(usize, usize)> {
        None
    }
}

impl Library for ExecPool {
    const NAME: &str = "ExecPool";
    type Code = ExecBuffer;

    fn new() -> Result<Self> {
        Ok(ExecPool::builder().name(POOL).build()?)
    }

    fn publish(&mut self, code: &[u8]) -> Result<ExecBuffer> {
        Ok(ExecPool::publish(self, code)?)
    }

    fn entry(code: &ExecBuffer) -> *const u8 {
        code.as_ptr()
    }

    fn own_figures(&self) -> Option<(usize, usize)> {
        let stats = self.stats();
        Some((stats.resident(), stats.bookkeeping()))
    }
}

/// Publishes a thunk instead of bytes. Another thunk with the same signature exists, so the adapter is shared.
pub(crate) struct Thunks {
    _first: <Self as Library>::Code,
}

impl Library for Thunks {
    const NAME: &str = "Thunk";
    type Code = Function<extern "sysv64" fn() -> u64, Thunk<()>>;

    fn new() -> Result<Self> {
        Ok(Self { _first: thunk()? })
    }

    fn publish(&mut self, _: &[u8]) -> Result<Self::Code> {
        thunk()
    }

    fn entry(code: &Self::Code) -> *const u8 {
        code.as_ptr()
    }
}

fn thunk() -> Result<<Thunks as Library>::Code> {
    extern "win64" fn answer() -> u64 {
        42
    }
    Ok(Function::from_fn(answer as extern "win64" fn() -> u64).into_abi()?)
}

/// Writes the same bytes to memory from `malloc`, and overwrites them when they are released, as a pool does. This
/// shows the cost of a general allocator and of the processor's caches. Nothing is executable.
#[derive(Clone)]
pub(crate) struct Malloc;

impl Library for Malloc {
    const NAME: &str = "malloc, not executable";
    type Code = Box<[u8]>;

    fn new() -> Result<Self> {
        Ok(Self)
    }

    fn publish(&mut self, code: &[u8]) -> Result<Box<[u8]>> {
        Ok(code.into())
    }

    fn entry(code: &Box<[u8]>) -> *const u8 {
        code.as_ptr()
    }

    fn run(code: &Box<[u8]>) -> u64 {
        u64::from(code[0])
    }

    fn release(&mut self, mut code: Box<[u8]>) -> Result<()> {
        code.fill(0xcc); // int3
        drop(black_box(code));
        Ok(())
    }
}

/// With default options: two mappings of the same memory.
impl Library for Box<JitAllocator> {
    const NAME: &str = "jit-allocator2";
    type Code = *const u8;

    fn new() -> Result<Self> {
        Ok(JitAllocator::new(JitAllocatorOptions::default()))
    }

    fn publish(&mut self, code: &[u8]) -> Result<*const u8> {
        let (executable, writable) = self.alloc(code.len()).map_err(|error| format!("{error:?}"))?;
        // SAFETY: `code.len()` bytes at `writable` were just allocated, and nobody else has them.
        unsafe { ptr::copy_nonoverlapping(code.as_ptr(), writable, code.len()) };
        jit_allocator2::flush_instruction_cache(executable, code.len());
        Ok(executable)
    }

    fn entry(code: &*const u8) -> *const u8 {
        *code
    }

    fn release(&mut self, code: *const u8) -> Result<()> {
        // SAFETY: The code came from this allocator, was not released before, and nobody runs it.
        unsafe { JitAllocator::release(self, code) }.map_err(|error| format!("{error:?}").into())
    }
}

/// Defines a library without state: its name, its type of code, how it publishes, and how to get the address.
macro_rules! owner {
    ($library:ident, $name:literal, $code:ty, $publish:expr, $entry:expr) => {
        pub(crate) struct $library;

        impl Library for $library {
            const NAME: &str = $name;
            type Code = $code;

            fn new() -> Result<Self> {
                Ok(Self)
            }

            fn publish(&mut self, code: &[u8]) -> Result<$code> {
                $publish(code)
            }

            fn entry(code: &$code) -> *const u8 {
                $entry(code)
            }
        }
    };
}

owner!(Single, "ExecBuffer", ExecBuffer, |code| Ok(ExecBuffer::new(code)?), ExecBuffer::as_ptr);
owner!(Memmap, "memmap2", Mmap, memmap2, |map: &Mmap| map.as_ptr());
owner!(Region, "region", region::Allocation, region, region::Allocation::as_ptr);
owner!(Dynasm, "dynasmrt", ExecutableBuffer, dynasmrt, |code: &ExecutableBuffer| code.as_ptr());
// These two publish a function that calls a Rust closure, which is their purpose, instead of bytes.
owner!(ClosureFfi, "closure-ffi", BareClosure, closure, |code: &BareClosure| code.bare() as _);
#[cfg(feature = "libffi")]
owner!(LibFfi, "libffi", FfiClosure, libffi, |code: &FfiClosure| *code.code_ptr() as _);

fn memmap2(code: &[u8]) -> Result<Mmap> {
    let mut map = MmapMut::map_anon(code.len())?;
    map.copy_from_slice(code);
    Ok(map.make_exec()?)
}

fn region(code: &[u8]) -> Result<region::Allocation> {
    let mut memory = region::alloc(code.len(), Protection::READ_WRITE)?;
    // SAFETY: The memory has at least the requested size, and nobody else has it.
    unsafe { ptr::copy_nonoverlapping(code.as_ptr(), memory.as_mut_ptr(), code.len()) };
    // SAFETY: Nobody else has the memory, and nothing writes it from here on.
    unsafe { region::protect(memory.as_ptr::<u8>(), memory.len(), Protection::READ_EXECUTE) }?;
    Ok(memory)
}

/// Passes finished bytes to the assembler.
fn dynasmrt(code: &[u8]) -> Result<ExecutableBuffer> {
    let mut assembler = dynasmrt::x64::Assembler::new()?;
    assembler.extend(code);
    assembler.commit()?;
    assembler.finalize().map_err(|_| "the assembler is in use".into())
}

type BareClosure = BareFn<'static, unsafe extern "C" fn() -> u64>;

#[expect(clippy::unnecessary_wraps, reason = "the macro expects a `Result`")]
fn closure(code: &[u8]) -> Result<BareClosure> {
    // The closure captures a value, because it would need no code otherwise.
    let length = code.len() as u64;
    Ok(BareFn::new_c(move || length))
}

#[cfg(feature = "libffi")]
type FfiClosure = libffi::middle::Closure<'static>;

#[cfg(feature = "libffi")]
fn libffi(_: &[u8]) -> Result<FfiClosure> {
    use libffi::middle::{Builder, Type};
    use std::ffi::c_void;

    unsafe extern "C" fn answer(_: &libffi::low::ffi_cif, result: &mut u64, _: *const *const c_void, data: &u64) {
        *result = *data;
    }
    let signature = Builder::new().res(Type::u64());
    signature.try_into_closure(answer, &42).map_err(|error| format!("{error:?}").into())
}
