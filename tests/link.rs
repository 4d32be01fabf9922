//! Functions that call each other, linked in a loop when all addresses are known.

mod support;

use execbuf::{ExecBuffer, ExecPool, Reserved};
use support::maps;

const COUNT: u32 = 5000;

#[cfg(target_arch = "x86_64")]
type Step = extern "sysv64" fn(u32) -> u32;
#[cfg(not(target_arch = "x86_64"))]
type Step = extern "C" fn(u32) -> u32;

/// The function that function `number` calls. A walk of `COUNT` steps visits all of them.
fn next(number: u32) -> u32 {
    (number * 21 + 1) % COUNT
}

/// Returns the code of function `number`: if its argument is 0 it returns its number, else it jumps to `other` with the
/// argument less 1.
#[cfg(target_arch = "x86_64")]
fn emit(number: u32, other: usize) -> Vec<u8> {
    let mut code = vec![
        0x85, 0xff, //             test edi, edi
        0x74, 0x0e, //             je zero
        0xff, 0xcf, //             dec edi
        0x48, 0xb8, //             mov rax, other
    ];
    code.extend((other as u64).to_le_bytes());
    code.extend([0xff, 0xe0]); //  jmp rax
    code.push(0xb8); //      zero: mov eax, number
    code.extend(number.to_le_bytes());
    code.push(0xc3); //            ret
    code
}

/// Returns the code of function `number`: if its argument is 0 it returns its number, else it jumps to `other` with the
/// argument less 1.
#[cfg(target_arch = "aarch64")]
fn emit(number: u32, other: usize) -> Vec<u8> {
    let words = [
        0x3400_0080,               //       cbz w0, zero
        0x5100_0400,               //       sub w0, w0, #1
        0x5800_0090,               //       ldr x16, other
        0xd61f_0200,               //       br x16
        0x5280_0000 | number << 5, // zero: mov w0, #number
        0xd65f_03c0,               //       ret
    ];
    let mut code: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    code.extend((other as u64).to_le_bytes()); // other
    code
}

/// Links functions at reserved addresses.
fn link(reserved: Vec<Reserved>) -> Vec<(Reserved, Vec<u8>)> {
    let addresses: Vec<usize> = reserved.iter().map(Reserved::address).collect();
    let codes = (0..COUNT).map(|number| emit(number, addresses[next(number) as usize]));
    reserved.into_iter().zip(codes).collect()
}

fn check(buffers: &[ExecBuffer]) {
    let mut expected = 0;
    for steps in 0..2 * COUNT {
        // SAFETY: The bytes are a function of this type, and `buffers` keeps all functions that it can reach.
        let first = unsafe { buffers[0].function::<Step>() };
        assert_eq!(first.call(steps), expected);
        expected = next(expected);
    }
}

#[test]
fn thousands_of_mutually_recursive_functions_are_linked_in_a_loop() {
    let pool = ExecPool::new().unwrap();
    let length = emit(0, 0).len();
    let reserved = pool.reserve_batch(&vec![length; COUNT as usize]).unwrap();
    let bytes = length * COUNT as usize;
    assert_eq!((pool.stats().live(), pool.code_bytes()), (COUNT as usize, bytes));
    let resident = pool.stats().resident();
    let buffers = Reserved::publish_all(link(reserved)).unwrap();
    // Nothing is charged later: the memory came with the reservations.
    assert_eq!((pool.code_bytes(), pool.stats().resident()), (bytes, resident));
    check(&buffers);
    drop(pool); // the functions outlive it
    check(&buffers);
}

#[test]
fn functions_in_several_pools_and_outside_of_pools_are_linked_together() {
    let pools = [ExecPool::new().unwrap(), ExecPool::new().unwrap()];
    let reserved = (0..COUNT as usize).map(|number| match number % 100 {
        0 => ExecBuffer::reserve(40),
        1 => pools[1].reserve(400_000), // more than a region takes
        _ => pools[number % 2].reserve(40),
    });
    let buffers = Reserved::publish_all(link(reserved.collect::<Result<_, _>>().unwrap())).unwrap();
    check(&buffers);
    if support::has_proc() {
        maps::look();
    }
}

#[test]
fn reservations_outlive_their_pool() {
    let pool = ExecPool::new().unwrap();
    let reserved = pool.reserve_batch(&vec![40; COUNT as usize]).unwrap();
    drop(pool);
    check(&Reserved::publish_all(link(reserved)).unwrap());
}
