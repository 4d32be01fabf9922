//! Panics pass through described code.
#![cfg(all(target_arch = "x86_64", any(unix, windows), not(target_pointer_width = "32")))]
#![allow(clippy::many_single_char_names, reason = "registers")]

mod support;

use std::arch::asm;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use execbuf::{ErrorKind, ExecBuffer, ExecPool, Info, Line, Reserved, Unwind, tools};

type Callback = extern "C-unwind" fn();
type Caller = extern "C-unwind" fn(Callback);

/// Code that calls its argument, and how to unwind through it.
#[cfg(unix)]
const SAMPLES: [(&[u8], Unwind<'_>); 2] = [
    (
        &[
            0x55, //             push rbp
            0x48, 0x89, 0xe5, // mov rbp, rsp
            0xff, 0xd7, //       call rdi
            0x5d, //             pop rbp
            0xc3, //             ret
        ],
        Unwind::FramePointer,
    ),
    (
        &[
            0x48, 0x83, 0xec, 0x18, // sub rsp, 24
            0xff, 0xd7, //             call rdi
            0x48, 0x83, 0xc4, 0x18, // add rsp, 24
            0xc3, //                   ret
        ],
        Unwind::Fixed { size: 24, prologue: 4, epilogue: 1 },
    ),
];

/// The same for Windows, where callers leave 32 bytes for the callee.
#[cfg(windows)]
const SAMPLES: [(&[u8], Unwind<'_>); 3] = [
    (
        &[
            0x55, //                   push rbp
            0x48, 0x89, 0xe5, //       mov rbp, rsp
            0x48, 0x83, 0xec, 0x20, // sub rsp, 32
            0xff, 0xd1, //             call rcx
            0x90, //                   nop
            0x48, 0x83, 0xc4, 0x20, // add rsp, 32
            0x5d, //                   pop rbp
            0xc3, //                   ret
        ],
        Unwind::FramePointer,
    ),
    (
        &[
            0x48, 0x83, 0xec, 0x28, // sub rsp, 40
            0xff, 0xd1, //             call rcx
            0x90, //                   nop
            0x48, 0x83, 0xc4, 0x28, // add rsp, 40
            0xc3, //                   ret
        ],
        Unwind::Fixed { size: 40, prologue: 4, epilogue: 1 },
    ),
    (
        &[
            0x53, //                   push rbx
            0x48, 0x83, 0xec, 0x20, // sub rsp, 32
            0x31, 0xdb, //             xor ebx, ebx
            0xff, 0xd1, //             call rcx
            0x90, //                   nop
            0x48, 0x83, 0xc4, 0x20, // add rsp, 32
            0x5b, //                   pop rbx
            0xc3, //                   ret
        ],
        // Version 1, a prologue of 5 bytes, 2 nodes: an allocation of 32 bytes, a push of rbx.
        Unwind::UnwindInfo(&[1, 5, 2, 0, 5, 0x32, 1, 0x30]),
    ),
];

/// Changes all registers that calls preserve, and restores them.
#[cfg(unix)]
const CLOBBERS: &[u8] = &[
    0x53, //                   push rbx
    0x55, //                   push rbp
    0x41, 0x54, //             push r12
    0x41, 0x55, //             push r13
    0x41, 0x56, //             push r14
    0x41, 0x57, //             push r15
    0x48, 0x83, 0xec, 0x08, // sub rsp, 8
    0x31, 0xdb, //             xor ebx, ebx
    0x31, 0xed, //             xor ebp, ebp
    0x4d, 0x31, 0xe4, //       xor r12, r12
    0x4d, 0x31, 0xed, //       xor r13, r13
    0x4d, 0x31, 0xf6, //       xor r14, r14
    0x4d, 0x31, 0xff, //       xor r15, r15
    0xff, 0xd7, //             call rdi
    0x48, 0x83, 0xc4, 0x08, // add rsp, 8
    0x41, 0x5f, //             pop r15
    0x41, 0x5e, //             pop r14
    0x41, 0x5d, //             pop r13
    0x41, 0x5c, //             pop r12
    0x5d, //                   pop rbp
    0x5b, //                   pop rbx
    0xc3, //                   ret
];

/// The table of `CLOBBERS` at an address, as a compiler that describes prologues only writes it.
#[cfg(unix)]
fn table_of_clobbers(address: usize) -> Vec<u8> {
    let mut table = vec![20, 0, 0, 0, 0, 0, 0, 0, 1]; // CIE of version 1
    table.extend(*b"zR\0");
    table.extend([1, 0x78, 16, 1, 0]); // factors 1 and -8, return address, absolute addresses
    table.extend([0x0c, 7, 8, 0x90, 1, 0, 0]); // the CFA is rsp + 8, with the return address below
    let mut fde = vec![28, 0, 0, 0];
    fde.extend((address as u64).to_le_bytes());
    fde.extend((CLOBBERS.len() as u64).to_le_bytes());
    fde.push(0);
    // From the end of the last push on: the CFA is rsp + 64, and where the registers are.
    fde.extend([0x40 + 14, 0x0e, 64, 0x83, 2, 0x86, 3, 0x8c, 4, 0x8d, 5, 0x8e, 6, 0x8f, 7]);
    fde.resize(fde.len().next_multiple_of(4), 0);
    table.extend(u32::try_from(fde.len()).unwrap().to_le_bytes());
    table.extend(fde);
    table
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static DROPPED: Cell<u32> = const { Cell::new(0) };
    static NEXT: Cell<Option<Caller>> = const { Cell::new(None) };
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
    }
}

/// Calls published code, which calls this again, until the depth is reached; then panics.
extern "C-unwind" fn descend() {
    let _guard = Guard;
    DEPTH.set(DEPTH.get() - 1);
    if DEPTH.get() == 0 {
        panic_any("the end");
    }
    NEXT.get().unwrap()(descend);
}

/// Lets a panic pass so many frames of published code, with values in the registers that calls preserve.
fn panic_through(code: &ExecBuffer, frames: u32) {
    // SAFETY: The code calls its argument, and its description is true.
    let caller = unsafe { code.function::<Caller>() };
    DEPTH.set(frames);
    DROPPED.set(0);
    // SAFETY: Nobody calls the pointer after this function, which borrows the code.
    NEXT.set(Some(unsafe { caller.as_fn() }));
    let mut kept = [1_u64, 2, 3, 4, 5];
    let [a, b, c, d, e] = &mut kept;
    // SAFETY: The assembly consists only of comments.
    unsafe {
        asm!(
            "/* {} {} {} {} {} */",
            inout(reg) * a,
            inout(reg) * b,
            inout(reg) * c,
            inout(reg) * d,
            inout(reg) * e
        );
    };
    let caught = catch_unwind(AssertUnwindSafe(|| caller.call(descend)));
    let [a, b, c, d, e] = &mut kept;
    // SAFETY: As above.
    unsafe {
        asm!(
            "/* {} {} {} {} {} */",
            inout(reg) * a,
            inout(reg) * b,
            inout(reg) * c,
            inout(reg) * d,
            inout(reg) * e
        );
    };
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the end");
    assert_eq!((DROPPED.get(), kept), (frames, [1, 2, 3, 4, 5]));
}

#[test]
fn panics_pass_through_1_and_10_and_200_frames() {
    let pool = ExecPool::new().unwrap();
    for (bytes, unwind) in SAMPLES {
        let info = Info::new().name("sample").unwind(unwind);
        let mut dedicated = ExecBuffer::new(bytes).unwrap();
        dedicated.describe(&info).unwrap();
        for code in [pool.publish_with(bytes, &info).unwrap(), dedicated] {
            for frames in [1, 10, 200] {
                panic_through(&code, frames);
            }
        }
    }
}

#[test]
fn panics_pass_through_code_that_is_published_with_a_description_or_staged() {
    let pool = ExecPool::new().unwrap();
    #[cfg(unix)]
    for reserved in [pool.reserve(CLOBBERS.len()).unwrap(), ExecBuffer::reserve(5000).unwrap()] {
        let table = table_of_clobbers(reserved.address());
        panic_through(&reserved.publish_with(CLOBBERS, &Info::new().unwind(Unwind::EhFrame(&table))).unwrap(), 10);
    }
    for (bytes, unwind) in SAMPLES {
        for mut staged in [pool.stage(5000).unwrap(), ExecBuffer::stage(5000).unwrap()] {
            staged[..bytes.len()].copy_from_slice(bytes);
            for _ in 0..2 {
                let mut code = staged.publish(bytes.len()).unwrap();
                code.describe(&Info::new().unwind(unwind)).unwrap();
                panic_through(&code, 10);
                staged = code.unpublish().unwrap(); // this ends the description
            }
        }
    }
}

#[test]
fn a_wrong_description_returns_the_reservation() {
    let pool = ExecPool::new().unwrap();
    for reserved in [pool.reserve(16).unwrap(), ExecBuffer::reserve(16).unwrap()] {
        let wrong = Info::new().unwind(Unwind::FramePointer);
        let (reserved, error) = reserved.publish_with(&[0xc3], &wrong).unwrap_err().into_parts();
        assert_eq!(error.kind(), ErrorKind::Unwind);
        let (reserved, error) = reserved.publish_with(&[], &wrong).unwrap_err().into_parts();
        assert_eq!(error.kind(), ErrorKind::Empty);
        assert_eq!(reserved.publish_with(&[0xc3], &Info::new()).unwrap().as_ref(), [0xc3]);
    }
}

#[test]
fn panics_pass_through_code_that_is_published_with_others() {
    let pool = ExecPool::new().unwrap();
    let rooms = [pool.reserve(64).unwrap(), ExecBuffer::reserve(64).unwrap(), pool.reserve(64).unwrap()];
    #[cfg(unix)]
    let table = table_of_clobbers(rooms[2].address());
    #[cfg(unix)]
    let finished = (CLOBBERS, Unwind::EhFrame(&table));
    #[cfg(windows)]
    let finished = SAMPLES[2];
    let codes = [SAMPLES[0], SAMPLES[1], finished];
    let info = |unwind| Info::new().name("one of many").unwind(unwind);
    let pieces = rooms.into_iter().zip(codes).map(|(room, (bytes, unwind))| (room, bytes, info(unwind)));
    let mut pieces: Vec<_> = pieces.collect();
    // The second one has a wrong description: all come back.
    let right = pieces[1].2;
    pieces[1].2 = Info::new().unwind(Unwind::FramePointer);
    let (mut pieces, error) = Reserved::publish_all_with(pieces).unwrap_err().into_parts();
    assert_eq!((error.kind(), error.position(), pieces.len()), (ErrorKind::Unwind, Some(1), 3));
    pieces[1].2 = right;
    let mut space = [0; 32];
    for code in Reserved::publish_all_with(pieces).unwrap() {
        assert_eq!(tools::symbol(code.as_ptr(), &mut space).unwrap().name(), "one of many");
        panic_through(&code, 10);
    }
    assert!(Reserved::publish_all_with::<[u8; 1]>(Vec::new()).unwrap().is_empty());
}

#[test]
#[cfg(unix)]
fn panics_restore_registers_by_finished_tables() {
    let pool = ExecPool::new().unwrap();
    for mut code in [pool.publish(CLOBBERS).unwrap(), ExecBuffer::new(CLOBBERS).unwrap()] {
        let table = table_of_clobbers(code.as_ptr().addr());
        code.describe(&Info::new().unwind(Unwind::EhFrame(&table))).unwrap();
        for frames in [1, 10, 200] {
            panic_through(&code, frames);
        }
    }
}

#[test]
#[cfg(unix)]
fn tables_for_other_code_are_refused() {
    let mut code = ExecBuffer::new(CLOBBERS).unwrap();
    let table = table_of_clobbers(code.as_ptr().addr() + 1);
    let error = code.describe(&Info::new().unwind(Unwind::EhFrame(&table))).unwrap_err();
    assert_eq!(
        (error.kind(), error.culprit(), error.position()),
        (ErrorKind::Unwind, Some("another range"), Some(32))
    );
    let error = code.describe(&Info::new().unwind(Unwind::EhFrame(&table[..30]))).unwrap_err();
    assert_eq!((error.culprit(), error.position()), (Some("truncated"), Some(24)));
}

#[test]
fn wrong_lines_are_refused() {
    let pool = ExecPool::new().unwrap();
    let code = [0x90, 0xc3];
    let refused = |lines: &[Line<'_>]| pool.publish_with(&code, &Info::new().lines(lines)).unwrap_err();
    let error = refused(&[Line::new(1, "a", 1), Line::new(0, "a", 2)]);
    assert_eq!((error.kind(), error.culprit(), error.position()), (ErrorKind::Lines, Some("offset"), Some(1)));
    let error = refused(&[Line::new(2, "a", 1)]);
    assert_eq!((error.kind(), error.culprit(), error.position()), (ErrorKind::Lines, Some("offset"), Some(0)));
    let long = "a".repeat(65536);
    let error = refused(&[Line::new(0, "a", 1), Line::new(0, &long, 2)]);
    assert_eq!((error.kind(), error.culprit(), error.position()), (ErrorKind::TooLarge, Some("file"), Some(1)));
    let good = [Line::new(0, "a", 1)];
    let error = pool.publish_batch_with(&[
        (&code[..], Info::new().lines(&good)),
        (&code, Info::new()),
        (&code, Info::new().lines(&[Line::new(2, "a", 1)])),
    ]);
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.culprit(), error.position()), (ErrorKind::Lines, Some("offset"), Some(2)));
    assert_eq!(pool.stats().live(), 0);
}

#[test]
fn tables_of_other_systems_are_refused() {
    let mut code = ExecBuffer::new(SAMPLES[0].0).unwrap();
    let foreign = if cfg!(windows) { Unwind::EhFrame(&[1]) } else { Unwind::UnwindInfo(&[1, 0, 0, 0]) };
    let error = code.describe(&Info::new().unwind(foreign)).unwrap_err();
    assert_eq!((error.kind(), error.culprit()), (ErrorKind::Unsupported, Some("unwind")));
}

#[test]
fn code_without_the_described_frame_is_refused() {
    let pool = ExecPool::new().unwrap();
    let error = pool.publish_with(&[0xc3], &Info::new().unwind(Unwind::FramePointer)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unwind);
    assert_eq!(pool.stats().live(), 0);
}
