//! Constants, data, cells, and descriptions.

use super::*;
use execbuf::tools::{self, Tools};
use execbuf::{Function, Info, Unwind};
use std::sync::Mutex;

type Number = extern "C" fn() -> u32;
type Callback = extern "C-unwind" fn();

extern "C-unwind" fn panicking() {
    std::panic::resume_unwind(Box::new("the end")); // which writes no message: files may be limited
}

/// Code that calls its argument and keeps a frame pointer.
#[cfg(all(target_arch = "x86_64", not(windows)))]
const CALLER: &[u8] = &[
    0x55, //             push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0xff, 0xd7, //       call rdi
    0x5d, //             pop rbp
    0xc3, //             ret
];
#[cfg(all(target_arch = "x86_64", windows))]
const CALLER: &[u8] = &[
    0x55, //                   push rbp
    0x48, 0x89, 0xe5, //       mov rbp, rsp
    0x48, 0x83, 0xec, 0x20, // sub rsp, 32
    0xff, 0xd1, //             call rcx
    0x90, //                   nop
    0x48, 0x83, 0xc4, 0x20, // add rsp, 32
    0x5d, //                   pop rbp
    0xc3, //                   ret
];
#[cfg(target_arch = "aarch64")]
const CALLER: &[u8] = &[
    0xfd, 0x7b, 0xbe, 0xa9, // stp x29, x30, [sp, #-32]!
    0xfd, 0x03, 0x00, 0x91, // mov x29, sp
    0x00, 0x00, 0x3f, 0xd6, // blr x0
    0xfd, 0x7b, 0xc2, 0xa8, // ldp x29, x30, [sp], #32
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

suite! {
    fn constants_and_data_are_made_and_freed() {
        let pool = pool();
        let constants = pool.constants(&[7; 5000], 64).unwrap();
        let mut data = pool.data(40000, 4096).unwrap();
        let mut staged = pool.stage_constants(16, 8).unwrap();
        data.as_mut_slice().fill(8);
        staged.fill(9);
        let staged = staged.publish().unwrap();
        assert!(constants.as_ref().iter().all(|byte| *byte == 7) && staged.as_ref().iter().all(|byte| *byte == 9));
        let again = pool.constants(b"again", 1).unwrap();
        assert_eq!(again.as_ref(), b"again");
        for (address, writable) in [(constants.address(), false), (staged.address(), false), (data.address(), true)] {
            if maps::LISTED {
                let mapping = maps::at(address as *const u8).unwrap();
                assert_eq!((mapping.writable, mapping.executable), (writable, false));
            }
        }
    }

    fn a_cell_retargets_functions() {
        let pool = pool();
        let target = |value| {
            // SAFETY: The code is a function without arguments that returns a number.
            unsafe { publish(&pool, value).into_function::<Number>() }
        };
        let mut cell = pool.cell(target(1)).unwrap();
        let first = cell.get();
        cell.set(target(2));
        // SAFETY: The owner of the target is in the cell.
        let current = unsafe { Function::<Number, _>::from_parts(cell.get(), ()) };
        assert_eq!((current.call(), cell.get() != first), (2, true));
        cell.settle();
        assert_eq!((pool.stats().live(), current.call()), (1, 2));
    }

    fn panics_pass_through_described_code() {
        let info = Info::new().name("described").unwind(Unwind::FramePointer);
        let mut dedicated = ExecBuffer::new(CALLER).unwrap();
        dedicated.describe(&info).unwrap();
        let pool = pool();
        for code in [pool.publish_with(CALLER, &info).unwrap(), dedicated] {
            // SAFETY: The code calls its argument, and its description is true.
            let caller = unsafe { code.function::<extern "C-unwind" fn(Callback)>() };
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| caller.call(panicking)));
            assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the end");
            let mut space = [0; 16];
            assert_eq!(tools::symbol(code.as_ptr(), &mut space).unwrap().name(), "described");
        }
    }

    fn observers_are_told() {
        static NAMES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
        let observer = tools::observe(|event| NAMES.lock().unwrap().push(event.name().to_vec())).unwrap();
        drop(pool().publish_with(&returning(1), &Info::new().name("observed")).unwrap());
        drop(observer);
        assert_eq!(NAMES.lock().unwrap().iter().filter(|name| *name == b"observed").count(), 2);
    }

    fn tools_work_or_fail_by_name() {
        let place = std::env::temp_dir();
        let Ok(()) = Tools::new().perf_map().jitdump(place.to_str().unwrap()).enable() else {
            return skip("files for perf: not on this system");
        };
        let buffer = pool().publish_with(&returning(1), &Info::new().name("for tools")).unwrap();
        assert_eq!(call(&buffer), 1);
        for (tool, error) in tools::failures() {
            assert_eq!(error.kind(), ErrorKind::Tool);
            let known = ["open", "mkdtemp", "realpath", "mmap", "write", "getrlimit(RLIMIT_FSIZE)"];
            assert!(known.contains(&error.culprit().unwrap()), "{tool:?}: {error}");
        }
        Tools::new().perf_map().jitdump(".").disable();
        remove_files(&place);
    }
}

/// Removes what tools have made for this process.
fn remove_files(place: &std::path::Path) {
    let process = std::process::id();
    drop(std::fs::remove_file(format!("/tmp/perf-{process}.map")));
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        if entry.path().join(format!("jit-{process}.dump")).exists() {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}
