//! Closures, and calls of functions whose signature is known only at run time.

use std::ffi::{CStr, c_void};
use std::hint::black_box;
use std::{mem, ptr};

use closure_ffi::BareFn;
use execbuf::dynamic::{Caller, DynClosure, Invocation};
use execbuf::{Abi, Closure, ExecBuffer, ffi};

use crate::Result;
use crate::report::Report;
use crate::speed::repeat;
use crate::thunks::{calls, measure};

type Add = extern "C" fn(u64, u64, u64, u64) -> u64;
type Bare = BareFn<'static, unsafe extern "C" fn(u64, u64, u64, u64) -> u64>;

/// The columns of execbuf.
const CLOSURE: &str = "Closure";
const CALLER: &str = "Caller";
const DYN_CLOSURE: &str = "DynClosure";
const FROM_C: &str = "execbuf_closure_new, from C";

extern "C" fn add(a: u64, b: u64, c: u64, d: u64) -> u64 {
    a.wrapping_add(b).wrapping_add(c).wrapping_add(d)
}

pub(crate) fn all(report: &mut Report) -> Result<()> {
    dynamic(report)?;
    call(report)?;
    answer(report)?;
    make(report);
    Ok(())
}

/// Calls a function by slots, or by the pointers that libffi takes.
fn dynamic(report: &mut Report) -> Result<()> {
    let row = "call with 4 integers by a signature that is text";
    let caller = Caller::new(&"L(LLLL)".parse()?, Abi::NATIVE)?;
    measure(report, row, CALLER, |turns| {
        (0..turns).fold(0, |sum: u64, turn| {
            let (slots, mut result) = ([sum, turn, 3, 4], 0);
            // SAFETY: The function has this signature, and the slots are those that it needs.
            unsafe { caller.call_raw(black_box(add as *const u8), slots.as_ptr(), &raw mut result) };
            result
        })
    })?;
    measure(report, row, "rustc", calls!(black_box(add as Add)))?;
    #[cfg(feature = "libffi")]
    measure(report, row, "libffi", libffi::call(add))?;
    Ok(())
}

/// A closure that adds its four arguments and what it captures.
fn closure(captured: u64) -> impl Fn(u64, u64, u64, u64) -> u64 + Copy + Send + Sync + 'static {
    move |a: u64, b: u64, c: u64, d: u64| add(a, b, c, d).wrapping_add(captured)
}

fn call(report: &mut Report) -> Result<()> {
    let row = "call of a closure with 4 integers";
    let closure = closure(black_box(1));
    let ours = Closure::new(closure)?;
    // SAFETY: The closure outlives the pointer.
    let function: Add = unsafe { ours.as_fn() };
    measure(report, row, CLOSURE, calls!(black_box(function)))?;
    let theirs = Bare::new_c(closure);
    // SAFETY: The closure outlives the pointer, and may be called with any arguments.
    let function: Add = unsafe { mem::transmute(theirs.bare()) };
    measure(report, row, "closure-ffi", calls!(black_box(function)))?;
    #[cfg(feature = "libffi")]
    {
        let closure = libffi::closure()?;
        // SAFETY: libffi makes a function of this type, which outlives the pointer.
        let function: Add = unsafe { mem::transmute(*closure.code_ptr()) };
        measure(report, row, "libffi", calls!(black_box(function)))?;
    }
    Ok(())
}

/// Answers a call by way of `Invocation`, and by the slots, as libffi's function does by its pointers.
fn answer(report: &mut Report) -> Result<()> {
    let row = "call of a closure with 4 integers by a signature that is text";
    let captured = black_box(1_u64);
    let handler = |call: &mut Invocation<'_>| {
        let number = |index| call.arg::<u64>(index).expect("an integer");
        let sum = add(number(0), number(1), number(2), number(3));
        call.set_result(sum.wrapping_add(captured)).expect("an integer");
    };
    let closure = DynClosure::new(&"L(LLLL)".parse()?, Abi::NATIVE, handler)?;
    // SAFETY: The closure has this signature, and outlives the pointer.
    let function: Add = unsafe { mem::transmute(closure.as_ptr()) };
    measure(report, row, DYN_CLOSURE, calls!(black_box(function)))?;
    let code = from_c(&Signature::new(c"L(LLLL)")?, &captured)?;
    // SAFETY: The closure has this signature, and outlives the pointer.
    let function: Add = unsafe { mem::transmute(code.as_ptr()) };
    measure(report, row, FROM_C, calls!(black_box(function)))?;
    #[cfg(feature = "libffi")]
    {
        let closure = libffi::closure()?;
        // SAFETY: libffi makes a function of this type, which outlives the pointer.
        let function: Add = unsafe { mem::transmute(*closure.code_ptr()) };
        measure(report, row, "libffi", calls!(black_box(function)))?;
    }
    Ok(())
}

/// A signature of the C API.
struct Signature(*mut ffi::execbuf_signature);

impl Signature {
    fn new(text: &CStr) -> Result<Self> {
        let mut signature = ptr::null_mut();
        // SAFETY: The text ends with a zero byte, and the signature is writable.
        let status = unsafe { ffi::execbuf_signature_parse(&raw mut signature, text.as_ptr(), ptr::null_mut()) };
        if status == ffi::execbuf_status::EXECBUF_OK { Ok(Self(signature)) } else { Err("not a signature".into()) }
    }
}

impl Drop for Signature {
    fn drop(&mut self) {
        // SAFETY: Nobody else has it.
        unsafe { ffi::execbuf_signature_free(self.0) };
    }
}

/// Makes a closure that adds its four arguments and a number, which has to outlive it, by the C API.
fn from_c(signature: &Signature, captured: &u64) -> Result<ExecBuffer> {
    unsafe extern "C" fn handle(
        context: *mut c_void,
        arguments: *const ffi::execbuf_slot,
        result: *mut ffi::execbuf_slot,
    ) {
        // SAFETY: There are four slots of integers, one for the result, and the number.
        unsafe {
            // One by one: a load of two slots, which the compiler would emit, waits for the stores of both.
            let number = |index| ptr::read_volatile(&raw const (*arguments.add(index)).u);
            let sum = add(number(0), number(1), number(2), number(3));
            (*result).u = sum.wrapping_add(*context.cast::<u64>());
        }
    }
    let mut code = mem::MaybeUninit::uninit();
    let context: *const u64 = captured;
    // SAFETY: The signature is one, and the handle is writable. If the call succeeds, nobody else has the handle.
    unsafe {
        let status = ffi::execbuf_closure_new(
            ptr::null_mut(),
            code.as_mut_ptr(),
            signature.0,
            ffi::execbuf_abi::EXECBUF_ABI_NATIVE,
            Some(handle),
            context.cast_mut().cast(),
            ptr::null_mut(),
        );
        if status == ffi::execbuf_status::EXECBUF_OK {
            Ok(ExecBuffer::from_raw(code.assume_init()))
        } else {
            Err("no closure can be made".into())
        }
    }
}

fn make(report: &mut Report) {
    let row = "make and release a closure with 4 integers";
    let closure = closure(black_box(1));
    report.time(row, CLOSURE, |turns| repeat(turns, || Ok(Closure::new(closure)?)));
    if let Ok(signature) = "L(LLLL)".parse() {
        let make = || Ok(DynClosure::new(&signature, Abi::NATIVE, |_| _ = black_box(&closure))?);
        report.time(row, DYN_CLOSURE, |turns| repeat(turns, make));
    }
    if let Ok(signature) = Signature::new(c"L(LLLL)") {
        report.time(row, FROM_C, |turns| repeat(turns, || from_c(&signature, &1)));
    }
    report.time(row, "closure-ffi", |turns| repeat(turns, || Ok(Bare::new_c(closure))));
    #[cfg(feature = "libffi")]
    report.time(row, "libffi", |turns| repeat(turns, libffi::closure));
}

#[cfg(feature = "libffi")]
mod libffi {
    use super::Add;
    use crate::Result;
    use libffi::low;
    use libffi::middle::{Builder, Closure, CodePtr, Type, arg};

    fn signature() -> Builder {
        Builder::new().args([Type::u64(), Type::u64(), Type::u64(), Type::u64()]).res(Type::u64())
    }

    /// Does the same as `calls!`, with `ffi_call`.
    pub(super) fn call(target: Add) -> impl Fn(u64) -> u64 {
        let cif = signature().into_cif();
        let target = CodePtr::from_ptr(target as *const _);
        move |turns| {
            (0..turns).fold(0, |sum: u64, turn| {
                let arguments = [arg(&sum), arg(&turn), arg(&3_u64), arg(&4_u64)];
                // SAFETY: The target is a function with this signature.
                unsafe { cif.call(target, &arguments) }
            })
        }
    }

    unsafe extern "C" fn add(
        _: &low::ffi_cif,
        result: &mut u64,
        arguments: *const *const std::ffi::c_void,
        captured: &u64,
    ) {
        // SAFETY: There are four arguments of this type.
        let sum: u64 = (0..4).map(|index| unsafe { *(*arguments.add(index)).cast::<u64>() }).sum();
        *result = sum.wrapping_add(*captured);
    }

    pub(super) fn closure() -> Result<Closure<'static>> {
        signature().try_into_closure(add, &1).map_err(|error| format!("{error:?}").into())
    }
}
