//! Counts instructions. Unlike times, these numbers do not depend on the processor.

use std::arch::asm;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, mem, ptr};

use crate::Result;

static TRAPS: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_trap(_: i32) {
    TRAPS.fetch_add(1, Ordering::Relaxed);
}

/// How many instructions were counted since the last [`count`] began.
pub(crate) fn counted() -> u64 {
    TRAPS.load(Ordering::Relaxed)
}

/// Runs `work`. Returns its result and the number of instructions that it executes, with a few for the counting itself.
/// The processor's trap flag makes Linux send a signal after each instruction.
pub(crate) fn count<T>(work: impl FnOnce() -> T) -> Result<(T, u64)> {
    // SAFETY: All zero is a valid value, and the handler only increments an atomic counter.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_trap as extern "C" fn(i32) as usize;
        if libc::sigaction(libc::SIGTRAP, &raw const action, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error().into());
        }
    }
    TRAPS.store(0, Ordering::Relaxed);
    // SAFETY: Only the trap flag changes.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    let result = work();
    // SAFETY: As above.
    unsafe { asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq") };
    Ok((result, TRAPS.load(Ordering::Relaxed)))
}
