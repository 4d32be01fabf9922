//! Constants, data, and cells through which code jumps.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use execbuf::{Constants, Data, Error, ErrorKind, ExecBuffer, ExecPool, FnCell, Function};

type Number = extern "C" fn() -> u32;

fn number(pool: &ExecPool, value: u32) -> ExecBuffer {
    pool.publish(&support::returning(value)).unwrap()
}

/// Returns the code of a function that jumps to the address that is stored at another address.
#[cfg(target_arch = "x86_64")]
fn jump_through(address: usize) -> Vec<u8> {
    let mut code = vec![0x48, 0xb8]; // mov rax, address
    code.extend((address as u64).to_le_bytes());
    code.extend([0xff, 0x20]); //       jmp [rax]
    code
}

/// Returns the code of a function that jumps to the address that is stored at another address.
#[cfg(target_arch = "aarch64")]
fn jump_through(address: usize) -> Vec<u8> {
    let mut code = vec![
        0x90, 0x00, 0x00, 0x58, // ldr x16, address
        0x10, 0x02, 0x40, 0xf9, // ldr x16, [x16]
        0x00, 0x02, 0x1f, 0xd6, // br x16
        0x00, 0x00, 0x20, 0xd4, // brk #0
    ];
    code.extend((address as u64).to_le_bytes()); // address
    code
}

#[test]
fn constants_can_be_read_and_data_written() {
    let pool = ExecPool::new().unwrap();
    let constants = pool.constants(b"constants", 64).unwrap();
    let mut data = pool.data(1000, 4096).unwrap();
    drop(pool);
    assert_eq!((constants.as_ref(), constants.address() % 64), (&b"constants"[..], 0));
    assert_eq!((data.len(), data.address() % 4096), (1000, 0));
    assert_eq!(data.as_ptr() as usize, data.address());
    assert!(data.as_mut_slice().iter().all(|byte| *byte == 0));
    data.as_mut_slice().fill(7);
    assert_eq!(data.as_mut_slice()[999], 7);
    let text = format!("{constants:?} {data:?}");
    assert!(text.contains("len: 9") && text.contains("len: 1000"), "{text}");
}

#[test]
fn staged_constants_are_written_in_place() {
    let pool = ExecPool::new().unwrap();
    let mut staged = pool.stage_constants(16, 8).unwrap();
    assert_eq!((staged.len(), staged.iter().all(|byte| *byte == 0), staged.address() % 8), (16, true, 0));
    // Two constants that contain the address of each other.
    let mut other = pool.stage_constants(8, 8).unwrap();
    let (address, other_address) = (staged.address(), other.address());
    staged[8..].copy_from_slice(&(other_address as u64).to_ne_bytes());
    other.copy_from_slice(&(address as u64).to_ne_bytes());
    assert!(format!("{staged:?}").contains("len: 16"));
    let (staged, other) = (staged.publish().unwrap(), other.publish().unwrap());
    drop(pool);
    assert_eq!((staged.address(), other.address()), (address, other_address));
    assert_eq!(staged.as_ref()[8..], (other_address as u64).to_ne_bytes());
    assert_eq!(*other.as_ref(), (address as u64).to_ne_bytes());
    let pool = ExecPool::new().unwrap();
    drop(pool.stage_constants(1, 1).unwrap());
    assert_eq!(pool.stage_constants(0, 1).unwrap_err().kind(), ErrorKind::Empty);
    assert_eq!(pool.stage_constants(1, 3).unwrap_err().kind(), ErrorKind::Alignment);
}

#[test]
fn wrong_arguments_are_errors() {
    let pool = ExecPool::new().unwrap();
    let kind = |result: Result<Constants, Error>| result.unwrap_err().kind();
    assert_eq!(kind(pool.constants(&[], 1)), ErrorKind::Empty);
    assert_eq!(kind(pool.constants(&[1], 0)), ErrorKind::Alignment);
    assert_eq!(kind(pool.constants(&[1], 3)), ErrorKind::Alignment);
    assert_eq!(kind(pool.constants(&[1], 1 << 20)), ErrorKind::Alignment);
    assert_eq!(pool.data(0, 1).unwrap_err().kind(), ErrorKind::Empty);
    assert_eq!(pool.data(usize::MAX, 1).unwrap_err().kind(), ErrorKind::TooLarge);
    let error = pool.data(1, 12).unwrap_err();
    assert_eq!((error.kind(), error.culprit()), (ErrorKind::Alignment, Some("align")));
}

#[test]
fn constants_data_and_cells_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Constants>();
    check::<Data>();
    check::<FnCell<Number, Arc<ExecBuffer>>>();
    check::<FnCell<Number, &ExecBuffer>>();
}

#[test]
fn code_jumps_to_the_target_that_was_set_last() {
    let pool = ExecPool::new().unwrap();
    let buffers = [number(&pool, 1), number(&pool, 2), number(&pool, 3)];
    // SAFETY: The code is such a function.
    let functions = buffers.each_ref().map(|buffer| unsafe { buffer.function::<Number>() });
    let cell = pool.cell(functions[0]).unwrap();
    let buffer = pool.publish(&jump_through(cell.address())).unwrap();
    // SAFETY: The code jumps to such a function, through the cell.
    let site = unsafe { buffer.function::<Number>() }.and(&cell);
    assert_eq!(site.call(), 1);
    cell.set(functions[1]);
    assert_eq!((site.call(), cell.get()), (2, functions[1].as_ptr()));
    // SAFETY: The target lives as long as the cell.
    unsafe { cell.set_unowned(functions[2].as_fn()) };
    assert_eq!((site.call(), cell.get()), (3, functions[2].as_ptr()));
    assert!(format!("{cell:?}").contains("target"));
}

/// Counts how many of its kind were dropped.
struct Counted(Arc<AtomicUsize>, #[expect(dead_code, reason = "it keeps the code alive")] ExecBuffer);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counted(pool: &ExecPool, value: u32, dropped: &Arc<AtomicUsize>) -> Function<Number, Counted> {
    let buffer = number(pool, value);
    let address = buffer.as_ptr();
    // SAFETY: The code is such a function, and the owner has its buffer.
    unsafe { Function::from_parts(address, Counted(dropped.clone(), buffer)) }
}

#[test]
fn old_targets_are_dropped_by_settle_and_with_the_cell() {
    let pool = ExecPool::new().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut cell = pool.cell(counted(&pool, 1, &dropped)).unwrap();
    for value in 2..=4 {
        cell.set(counted(&pool, value, &dropped));
    }
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    cell.settle();
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
    let buffer = pool.publish(&jump_through(cell.address())).unwrap();
    // SAFETY: The code jumps to such a function, through the cell.
    assert_eq!(unsafe { buffer.function::<Number>() }.and(&cell).call(), 4);
    cell.settle();
    cell.set(counted(&pool, 5, &dropped));
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
    drop(cell);
    assert_eq!(dropped.load(Ordering::Relaxed), 5);
}

#[test]
fn settle_keeps_no_owner_if_the_target_has_none() {
    extern "C" fn ten() -> u32 {
        10
    }
    let pool = ExecPool::new().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut cell = pool.cell(counted(&pool, 1, &dropped)).unwrap();
    // SAFETY: A function of the program always exists.
    unsafe { cell.set_unowned(ten) };
    cell.settle();
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    assert_eq!(cell.get(), ten as *const u8);
}

#[test]
fn threads_set_targets_while_others_call() {
    let pool = ExecPool::new().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut cell = pool.cell(counted(&pool, 0, &dropped)).unwrap();
    let buffer = pool.publish(&jump_through(cell.address())).unwrap();
    let calls = AtomicU32::new(0);
    {
        // SAFETY: The code jumps to such a function, through the cell.
        let site = unsafe { buffer.function::<Number>() }.and(&cell);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (pool, cell, dropped) = (&pool, &cell, &dropped);
                scope.spawn(move || {
                    for value in 0..100 {
                        cell.set(counted(pool, 1 + 2 * value + thread, dropped));
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        assert!(site.call() <= 200);
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(site.call() >= 199); // the last of one of the threads
    }
    assert_eq!((calls.into_inner(), dropped.load(Ordering::Relaxed)), (2000, 0));
    cell.settle();
    assert_eq!(dropped.load(Ordering::Relaxed), 200);
}

#[test]
fn a_cell_is_near_the_code_that_goes_through_it() {
    let pool = ExecPool::builder().reach(1 << 24).build().unwrap();
    let target = number(&pool, 1);
    // SAFETY: The code is such a function.
    let cell = pool.cell(unsafe { target.function::<Number>() }).unwrap();
    assert!(cell.address().abs_diff(target.as_ptr() as usize) < 1 << 24);
}
