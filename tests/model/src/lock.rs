//! The biased lock: `csrc/prim/lock.h` and `csrc/prim/posix/biased_lock.inc`. Guests are in it as well.
//!
//! Not modelled: locks without owners (they are their inner lock), forks, which take many locks with one fence, and the
//! gate: it only keeps threads from the inner lock, and a thread that has it waits for nothing but that.
//!
//! The C code has stronger orders where the properties need none: the read-modify-writes of `xb_enter_as_guest`.

use crate::explore::Scenario;
use crate::program::{ACQUIRE, Ghost, Program, RELAXED, RELEASE, Regs};

// Locations. `xb_biased_lock`:
pub const BUSY: usize = 0;
pub const ASKED: usize = 1;
pub const OWNER: usize = 2;
pub const INNER: usize = 3;
/// Bits 0 to 3: how many guests are inside; the rest: their sum.
pub const GUESTS: usize = 4;
/// What the lock guards; not atomic.
pub const DATA: usize = 5;
/// What only those who are alone change, and guests read; not atomic.
const SHARED: usize = 6;
/// What guests change.
const MARK: usize = 7;
/// The process's lock.
const PROCESS: usize = 8;
pub const LOCATIONS: usize = 9;

/// The lower half of `guests`.
pub const GUESTS_INSIDE: u8 = 15;
pub const SUM_SHIFT: u8 = 4;

/// `XB_NO_OWNER`. Threads have the numbers 1, 2, 3.
const NO_OWNER: u8 = 0;

// Registers.
pub const R: usize = 0;
/// Whether the last function that returns something returned true.
pub const OK: usize = 1;

// What the properties need to know.
/// How many threads have the lock.
const HOLDERS: usize = 0;
/// The thread that has the lock is alone.
pub const ALONE: usize = 1;
/// How many guests are inside.
pub const INSIDE: usize = 2;
pub const GHOSTS: usize = 3;

/// The calling thread has the lock from here on.
fn hold(p: &mut Program, alone: bool) {
    p.act(move |here| {
        here.check(here.ghost[HOLDERS] == 0, "two threads have the lock");
        here.check(!alone || here.ghost[INSIDE] == 0, "a thread is alone with a guest");
        here.ghost[HOLDERS] = 1;
        here.ghost[ALONE] = u8::from(alone);
    });
    p.pause("(has the lock)");
}

/// It releases the lock.
fn release(p: &mut Program) {
    p.act(|here| {
        here.ghost[HOLDERS] = 0;
        here.ghost[ALONE] = 0;
    });
}

/// `xb_try_lock_biased`. Returns in `OK`.
pub fn try_lock_biased(p: &mut Program, me: u8) {
    let (fails, asked, end) = (p.label(), p.label(), p.label());
    p.load("xb_try_lock_biased: owner", R, OWNER, RELAXED);
    p.jump_if(fails, move |r| r[R] != me);
    let keeps_order = p.has("xb_try_lock_biased: signal fence");
    if keeps_order {
        p.store("xb_try_lock_biased: busy", BUSY, RELAXED, |_| 1);
    }
    p.load("xb_try_lock_biased: asked", R, ASKED, ACQUIRE);
    if !keeps_order {
        p.store("xb_try_lock_biased: busy", BUSY, RELAXED, |_| 1);
    }
    p.jump_if(asked, |r| r[R] != 0);
    hold(p, false);
    p.act(|here| here.regs[OK] = 1);
    p.jump(end);
    p.place(asked);
    // It releases, since a visitor that reads it has to see what this thread changed when it had the lock before.
    p.store("xb_try_lock_biased: not busy", BUSY, RELEASE, |_| 0);
    p.place(fails);
    p.act(|here| here.regs[OK] = 0);
    p.place(end);
    p.act(|here| here.regs[R] = 0);
}

/// `xb_unlock_biased`.
pub fn unlock_biased(p: &mut Program) {
    p.pause("(is done)");
    release(p);
    p.store("xb_unlock_biased: busy", BUSY, RELEASE, |_| 0);
}

/// `xb_lock_slow`, with `xb_lock_ask`, `xb_lock_fence` and `xb_lock_await`.
pub fn lock_slow(p: &mut Program, me: u8) {
    let (no_fence, again, end) = (p.label(), p.label(), p.label());
    p.lock_mutex("xb_lock_ask: inner lock", INNER);
    p.store("xb_lock_ask: asked", ASKED, RELAXED, |_| 1);
    p.load("xb_lock_slow: xb_has_owner", R, OWNER, RELAXED);
    p.jump_if(no_fence, |r| r[R] == NO_OWNER);
    p.fence_all("xb_lock_fence: membarrier");
    p.place(no_fence);
    p.load("xb_lock_await: xb_has_owner", R, OWNER, RELAXED);
    p.jump_if(end, |r| r[R] == NO_OWNER);
    p.place(again);
    p.load("posix_is_busy: guests", R, GUESTS, ACQUIRE);
    p.jump_if(again, |r| r[R] & GUESTS_INSIDE != 0);
    p.load("posix_is_busy: owner", R, OWNER, RELAXED);
    p.jump_if(end, move |r| r[R] == me);
    p.load("posix_is_busy: busy", R, BUSY, ACQUIRE);
    p.jump_if(again, |r| r[R] != 0);
    p.place(end);
    p.act(|here| here.regs[R] = 0);
    hold(p, true);
}

/// `xb_unlock_slow`.
pub fn unlock_slow(p: &mut Program) {
    let no_owner = p.label();
    p.load("xb_unlock_slow: xb_has_owner", R, OWNER, RELAXED);
    release(p);
    p.jump_if(no_owner, |r| r[R] == NO_OWNER);
    p.store("xb_unlock_slow: asked", ASKED, RELEASE, |_| 0);
    p.place(no_owner);
    p.act(|here| here.regs[R] = 0);
    p.unlock_mutex("xb_unlock_slow: inner lock", INNER);
}

/// `xb_lock`.
pub fn lock(p: &mut Program, me: u8) {
    let end = p.label();
    try_lock_biased(p, me);
    p.jump_if(end, |r| r[OK] != 0);
    lock_slow(p, me);
    p.place(end);
    p.act(|here| here.regs[OK] = 0);
}

/// `xb_unlock`.
pub fn unlock(p: &mut Program, me: u8) {
    let (slow, end) = (p.label(), p.label());
    p.load("xb_unlock: busy", R, BUSY, RELAXED);
    p.jump_if(slow, |r| r[R] == 0);
    p.load("xb_unlock: owner", R, OWNER, RELAXED);
    p.jump_if(slow, move |r| r[R] != me);
    unlock_biased(p);
    p.jump(end);
    p.place(slow);
    unlock_slow(p);
    p.place(end);
    p.act(|here| here.regs[R] = 0);
}

/// `xb_lock_own`.
pub fn own(p: &mut Program, me: u8) {
    lock_slow(p, me);
    p.store("xb_lock_own: owner", OWNER, RELAXED, move |_| me);
    unlock_slow(p);
}

/// `leave_arena`: the end of a thread that owns the lock.
pub fn leave(p: &mut Program, me: u8) {
    p.lock_mutex("leave_arena: process's lock", PROCESS);
    lock_slow(p, me);
    disown(p);
    unlock_slow(p);
    p.unlock_mutex("leave_arena: process's lock", PROCESS);
}

/// `xb_lock_disown`. asked is 1 already.
fn disown(p: &mut Program) {
    p.store("xb_lock_disown: asked", ASKED, RELAXED, |_| 1);
    p.store("xb_lock_disown: owner", OWNER, RELAXED, |_| NO_OWNER);
}

/// `take_over`: becomes the owner if there is none.
pub fn take_over(p: &mut Program, me: u8) {
    let end = p.label();
    p.lock_mutex("take_over: process's lock", PROCESS);
    p.load("take_over: xb_has_owner", R, OWNER, RELAXED);
    p.jump_if(end, |r| r[R] != NO_OWNER);
    own(p, me);
    p.place(end);
    p.unlock_mutex("take_over: process's lock", PROCESS);
}

/// `xb_enter_as_guest`. Returns in `OK`.
pub fn enter_as_guest(p: &mut Program) {
    let (fails, end) = (p.label(), p.label());
    let keeps_order = p.has("xb_enter_as_guest: signal fence");
    let enter = |p: &mut Program| {
        p.update("xb_enter_as_guest: guests", R, GUESTS, RELAXED, |_, guests| Some(guests + 1));
    };
    if keeps_order {
        enter(p);
    }
    p.load("xb_enter_as_guest: asked", OK, ASKED, ACQUIRE);
    if !keeps_order {
        enter(p);
    }
    p.jump_if(fails, |r| r[OK] != 0);
    p.act(|here| {
        here.check(here.ghost[ALONE] == 0, "a guest is inside while a thread is alone");
        here.ghost[INSIDE] += 1;
        here.regs[OK] = 1;
    });
    p.jump(end);
    p.place(fails);
    p.update("xb_enter_as_guest: not inside", R, GUESTS, RELAXED, |_, guests| Some(guests - 1));
    p.act(|here| here.regs[OK] = 0);
    p.place(end);
    p.act(|here| here.regs[R] = 0);
}

/// `xb_leave_as_guest`. Returns the sum in `R`.
pub fn leave_as_guest(p: &mut Program, added: u8) {
    p.pause("(is a guest)");
    p.act(|here| here.ghost[INSIDE] -= 1);
    let change = (added << SUM_SHIFT).wrapping_sub(1);
    p.update("xb_leave_as_guest: guests", R, GUESTS, RELEASE, move |_, old| Some(old.wrapping_add(change)));
    p.act(move |here| here.regs[R] = (here.regs[R] >> SUM_SHIFT) + added);
}

// ---- Scenarios ----

/// Changes what the lock guards; if alone, also what guests read, and looks at what they change.
fn section(p: &mut Program) {
    p.act(|here| {
        let value = here.get(DATA);
        here.set(DATA, value + 1);
        if here.ghost[ALONE] != 0 {
            let _ = here.get(MARK);
            let value = here.get(SHARED);
            here.set(SHARED, value + 1);
        }
    });
}

fn locked(p: &mut Program, me: u8) {
    lock(p, me);
    section(p);
    unlock(p, me);
}

fn locked_alone(p: &mut Program, me: u8) {
    lock_slow(p, me);
    section(p);
    unlock_slow(p);
}

fn visit_as_guest(p: &mut Program) {
    let end = p.label();
    enter_as_guest(p);
    p.jump_if(end, |r| r[OK] == 0);
    p.act(|here| {
        let _ = here.get(SHARED);
    });
    p.store("(guest): a change", MARK, RELAXED, |_| 1);
    leave_as_guest(p, 1);
    p.place(end);
    p.act(|here| *here.regs = Regs::default());
}

/// What a thread does: its name, and a function that writes its program; it gets the thread's number.
type Part = (&'static str, fn(&mut Program, u8));

fn scenario(owner: u8, sections: u8, removed: &str, parts: &[Part]) -> Scenario {
    let mut values = vec![0; LOCATIONS];
    values[OWNER] = owner;
    values[ASKED] = u8::from(owner == NO_OWNER);
    let program = |(me, (name, write)): (u8, &Part)| {
        let mut program = Program::new(name, removed);
        write(&mut program, me);
        program
    };
    let end = move |last: &dyn Fn(usize) -> u8, _: &Ghost| {
        if last(DATA) == sections { Ok(()) } else { Err("a change of locked data is lost") }
    };
    let programs = (1..).zip(parts).map(program).collect();
    Scenario { programs, values, ghost: Ghost::default(), end: Box::new(end) }
}

const OWNER_TWICE: Part = ("owner", |p, me| {
    locked(p, me);
    locked(p, me);
});
const OWNER_ALONE: Part = ("owner", |p, me| {
    locked_alone(p, me);
    locked(p, me);
});
const VISITOR: Part = ("visitor", locked);
const VISITOR_TWICE: Part = ("visitor", |p, me| {
    locked(p, me);
    locked(p, me);
});
const GUEST: Part = ("guest", |p, _| visit_as_guest(p));
const LEAVER: Part = ("leaver", |p, me| {
    locked(p, me);
    leave(p, me);
    locked(p, me);
});
const NEXT_OWNER: Part = ("next", |p, me| {
    take_over(p, me);
    locked(p, me);
    locked(p, me);
});
/// A visitor whose fence was refused. It waits until the fence has happened by itself, and takes the ownership away.
const REFUSED: Part = ("refused", |p, me| {
    lock_slow(p, me);
    disown(p);
    section(p);
    unlock_slow(p);
});

/// Scenarios of two threads, and of three that have few states.
#[must_use]
pub fn scenarios(removed: &str) -> Vec<(&'static str, Scenario)> {
    let make = |owner, sections, parts: &[Part]| scenario(owner, sections, removed, parts);
    vec![
        ("an owner and a visitor", make(1, 4, &[OWNER_TWICE, VISITOR_TWICE])),
        ("an owner leaves, a visitor", make(1, 4, &[LEAVER, VISITOR_TWICE])),
        ("an owner leaves, another takes over", make(1, 4, &[LEAVER, NEXT_OWNER])),
        ("a first owner, a visitor", make(NO_OWNER, 3, &[NEXT_OWNER, VISITOR])),
        ("a visitor that is refused the fence", make(1, 3, &[OWNER_TWICE, REFUSED])),
        ("an owner alone, a guest", make(1, 2, &[OWNER_ALONE, GUEST])),
        ("a visitor, a guest", make(3, 1, &[VISITOR, GUEST])),
    ]
}

/// Scenarios of three threads.
#[must_use]
pub fn large_scenarios(removed: &str) -> Vec<(&'static str, Scenario)> {
    let make = |owner, sections, parts: &[Part]| scenario(owner, sections, removed, parts);
    vec![
        ("an owner and two visitors", make(1, 4, &[OWNER_TWICE, VISITOR, VISITOR])),
        ("an owner leaves, another takes over, a visitor", make(1, 5, &[LEAVER, NEXT_OWNER, VISITOR])),
        ("an owner alone, a visitor, a guest", make(1, 3, &[OWNER_ALONE, VISITOR, GUEST])),
        ("an owner alone, two guests", make(1, 2, &[OWNER_ALONE, GUEST, GUEST])),
    ]
}
