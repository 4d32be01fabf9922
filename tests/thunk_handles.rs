//! Handles of thunks: ownership, pools and errors.

mod support;

#[cfg(target_arch = "x86_64")]
use execbuf::Function;
use execbuf::dynamic::DynThunk;
use execbuf::{Abi, ErrorKind, ExecBuffer, ExecPool, Signature};
use std::sync::Arc;
use support::function;

#[test]
fn a_thunk_between_equal_abis_is_the_function_itself() {
    let buffer = ExecBuffer::new(&function(42, 16)).unwrap();
    // SAFETY: The bytes are such a function.
    let function = unsafe { buffer.function::<extern "C" fn() -> u32>() };
    let thunk = function.to_native().unwrap();
    assert_eq!((thunk.as_ptr(), thunk.call()), (buffer.as_ptr(), 42));
    assert!(thunk.owner().code().is_none());
    assert!(format!("{:?}", thunk.owner()).contains("code: None"), "{:?}", thunk.owner());
    let system = function.to_abi::<extern "system" fn() -> u32>().unwrap();
    assert_eq!((system.as_ptr(), system.by_ref().call()), (buffer.as_ptr(), 42));

    let thunk = DynThunk::builder(&"I()".parse().unwrap()).build(buffer.as_ptr()).unwrap();
    assert_eq!(
        (thunk.as_ptr(), thunk.caller_abi(), thunk.signature().to_string()),
        (buffer.as_ptr(), Abi::NATIVE, "I()".into())
    );
    // SAFETY: The function has this type.
    assert_eq!(unsafe { thunk.function::<extern "C" fn() -> u32>() }.unwrap().call(), 42);
}

#[test]
fn a_thunk_keeps_its_function_alive() {
    let pool = ExecPool::new().unwrap();
    let buffer = pool.publish(&function(42, 16)).unwrap();
    // SAFETY: The bytes are such a function.
    let owned = unsafe { Arc::new(buffer).shared_function_at::<extern "C" fn() -> u32>(0) }.unwrap();
    let thunk = owned.clone().into_native().unwrap();
    let dynamic = DynThunk::builder(&"I()".parse().unwrap()).build(owned.as_ptr()).unwrap();
    let dynamic = dynamic.with_owner(owned.clone());
    let owned = Arc::try_unwrap(owned.into_owner()).expect_err("the thunks also own it");
    drop(owned);
    assert_eq!((pool.stats().live(), thunk.call()), (1, 42));
    drop(thunk);
    assert_eq!(pool.stats().live(), 1);
    // SAFETY: The function has this type.
    assert_eq!(unsafe { dynamic.function::<extern "C" fn() -> u32>() }.unwrap().call(), 42);
    drop(dynamic);
    assert_eq!(pool.stats().live(), 0);
}

#[test]
fn a_null_target_and_a_mismatched_type_are_errors() {
    let signature: Signature = "I(i)".parse().unwrap();
    let error = DynThunk::builder(&signature).build(std::ptr::null()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Null);
    assert!(error.to_string().contains("target"), "{error}");

    let buffer = ExecBuffer::new(&function(42, 16)).unwrap();
    let thunk = DynThunk::builder(&signature).build(buffer.as_ptr()).unwrap();
    // SAFETY: Nothing is called.
    unsafe {
        let error = thunk.function::<extern "C" fn() -> u32>().unwrap_err();
        assert_eq!(error.to_string(), "the function type is not the thunk's; give one with the same signature");
        assert_eq!(thunk.function::<extern "C" fn(u32) -> u32>().unwrap_err().kind(), ErrorKind::Mismatch);
        assert!(thunk.function::<extern "C" fn(i32) -> u32>().is_ok());
    }

    // Other architectures have neither of the two ABIs.
    for (caller_abi, callee_abi) in [(Abi::SysV64, Abi::Win64), (Abi::Win64, Abi::SysV64)] {
        let builder = DynThunk::builder(&signature).caller_abi(caller_abi).callee_abi(callee_abi);
        let thunk = builder.build(buffer.as_ptr());
        if cfg!(target_arch = "x86_64") {
            let thunk = thunk.unwrap();
            // SAFETY: Nothing is called.
            let function = unsafe { thunk.function::<extern "C" fn(i32) -> u32>() };
            let kind = function.map_err(|error| error.kind()).map(|_| ());
            assert_eq!(kind, if caller_abi == Abi::NATIVE { Ok(()) } else { Err(ErrorKind::Mismatch) });
        } else {
            assert_eq!(thunk.unwrap_err().kind(), ErrorKind::Abi);
        }
    }
}

#[test]
fn a_variadic_signature_needs_two_different_abis() {
    extern "C" fn nothing() {}
    let target = nothing as *const u8;
    let kind = |result: Result<(), execbuf::Error>| result.map_err(|error| error.kind());
    // `Abi::C` is the same convention as `Abi::NATIVE` everywhere.
    let same = |abi| if abi == Abi::C { Abi::NATIVE } else { abi };
    let abis = [Abi::SysV64, Abi::Win64, Abi::C];
    for (caller_abi, callee_abi) in abis.into_iter().flat_map(|caller| abis.map(|callee| (caller, callee))) {
        let equal = same(caller_abi) == same(callee_abi);
        for (text, variadic) in [("v(pd)", false), ("v(p.d)", true)] {
            let signature: Signature = text.parse().unwrap();
            let builder = DynThunk::builder(&signature).caller_abi(caller_abi).callee_abi(callee_abi);
            let thunk = match builder.build(target) {
                Ok(thunk) => thunk,
                Err(error) => {
                    assert_eq!(
                        (cfg!(target_arch = "x86_64"), equal, error.kind()),
                        (false, false, ErrorKind::Abi)
                    );
                    continue;
                }
            };
            assert_eq!((thunk.caller_abi(), thunk.as_ptr() == target), (same(caller_abi), equal));
            let expected = |abi| {
                let fits = same(caller_abi) == abi && !(equal && variadic);
                if fits { Ok(()) } else { Err(ErrorKind::Mismatch) }
            };
            // SAFETY: Nothing is called.
            let native = unsafe { thunk.function::<extern "C" fn(*const u8, f64)>() };
            assert_eq!(kind(native.map(drop)), expected(Abi::NATIVE), "{caller_abi:?}, {callee_abi:?}, {text}");
            #[cfg(target_arch = "x86_64")]
            // SAFETY: Nothing is called.
            unsafe {
                let sysv64 = thunk.function::<extern "sysv64" fn(*const u8, f64)>();
                assert_eq!(
                    kind(sysv64.map(drop)),
                    expected(Abi::SysV64),
                    "{caller_abi:?}, {callee_abi:?}, {text}"
                );
                let win64 = thunk.function::<extern "win64" fn(*const u8, f64)>();
                assert_eq!(kind(win64.map(drop)), expected(Abi::Win64), "{caller_abi:?}, {callee_abi:?}, {text}");
            }
        }
    }
}

#[test]
fn a_dynamic_thunk_returns_the_values_it_was_built_with() {
    extern "C" fn answer() -> u32 {
        42
    }
    let signature: Signature = "I()".parse().unwrap();
    let builder = DynThunk::builder(&signature);
    let thunk = builder.build(answer as *const u8).unwrap();
    assert_eq!((thunk.caller_abi(), thunk.as_ptr()), (Abi::NATIVE, answer as *const u8));
    assert_eq!((thunk.signature(), thunk.owner()), (&signature, &()));
    let shown = format!("{thunk:?}");
    assert!(shown.contains("signature: Signature(I())") && shown.contains("caller_abi: "), "{shown}");

    let buffer = ExecBuffer::new(&function(7, 16)).unwrap();
    let thunk = builder.build(buffer.as_ptr()).unwrap().with_owner(buffer);
    // SAFETY: The code is such a function, and the thunk owns it.
    let function = unsafe { thunk.into_function::<extern "C" fn() -> u32>() }.unwrap();
    assert_eq!((function.call(), function.owner().owner().as_ptr()), (7, function.as_ptr()));
    // SAFETY: Nothing is called.
    let error = unsafe { function.into_owner().into_function::<extern "C" fn() -> i32>() }.unwrap_err();
    assert_eq!((error.kind(), error.culprit()), (ErrorKind::Mismatch, Some("signature")));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_thunk_of_published_code_owns_it() {
    let pool = ExecPool::new().unwrap();
    let buffer = pool
        .publish(&[
            0x48, 0x8d, 0x04, 0x11, // lea rax, [rcx + rdx]
            0xc3, //                   ret
        ])
        .unwrap();
    // SAFETY: The bytes are such a function.
    let add = unsafe { buffer.into_function::<extern "win64" fn(u64, u64) -> u64>() }.shared();
    let thunk = add.clone().into_abi::<extern "sysv64" fn(u64, u64) -> u64>().unwrap();
    let signature = "L(LL)".parse().unwrap();
    let builder = DynThunk::builder(&signature).caller_abi(Abi::SysV64).callee_abi(Abi::Win64);
    let dynamic = builder.build(add.as_ptr()).unwrap().with_owner(add);
    assert_eq!((thunk.call(40, 2), pool.stats().live()), (42, 1));
    drop(thunk);
    // SAFETY: As above.
    let function = unsafe { dynamic.function::<extern "sysv64" fn(u64, u64) -> u64>() }.unwrap();
    assert_eq!((function.call(40, 2), pool.stats().live()), (42, 1));
    drop(dynamic);
    assert_eq!(pool.stats().live(), 0);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_thunk_is_in_the_given_pool() {
    extern "win64" fn increment(number: u64) -> u64 {
        number + 1
    }
    type Win64 = extern "win64" fn(u64) -> u64;
    type SysV64 = extern "sysv64" fn(u64) -> u64;
    let (pool, other) = (ExecPool::new().unwrap(), ExecPool::new().unwrap());
    let target = Function::from_fn(increment as Win64);
    let thunk = target.into_abi_in::<SysV64>(&pool).unwrap();
    let signature = "L(L)".parse().unwrap();
    let builder = DynThunk::builder(&signature).caller_abi(Abi::SysV64).callee_abi(Abi::Win64);
    let dynamic = builder.pool(&pool).build(increment as *const u8).unwrap();
    // Without a pool, they are in the pool of the library.
    let elsewhere = (target.into_abi::<SysV64>().unwrap(), builder.build(increment as *const u8).unwrap());
    for address in [thunk.as_ptr(), dynamic.as_ptr()] {
        assert!(pool.lookup(address).is_some() && other.lookup(address).is_none());
    }
    assert!(pool.lookup(elsewhere.0.as_ptr()).is_none() && pool.lookup(elsewhere.1.as_ptr()).is_none());
    assert!(thunk.owner().code().is_some_and(|code| code.as_ptr() == thunk.as_ptr()));
    // They outlive the pool.
    drop(pool);
    // SAFETY: The function has this signature.
    let dynamic = unsafe { dynamic.function::<SysV64>() }.unwrap();
    assert_eq!((thunk.call(41), dynamic.call(41), elsewhere.0.call(41)), (42, 42, 42));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_native_thunk_is_in_the_given_pool() {
    #[cfg(not(windows))]
    type Foreign = extern "win64" fn(u64) -> u64;
    #[cfg(windows)]
    type Foreign = extern "sysv64" fn(u64) -> u64;
    extern "C" fn increment(number: u64) -> u64 {
        number + 1
    }
    let pool = ExecPool::new().unwrap();
    let foreign = Function::from_fn(increment as extern "C" fn(u64) -> u64).into_abi_in::<Foreign>(&pool).unwrap();
    let native = foreign.into_native_in(&pool).unwrap();
    assert!(
        pool.lookup(native.as_ptr()).is_some()
            && pool.lookup(native.owner().target().code().unwrap().as_ptr()).is_some()
    );
    assert_eq!(native.call(41), 42);
    drop(native);
    // The pool still works.
    assert!(pool.publish(&function(1, 16)).is_ok());
}
