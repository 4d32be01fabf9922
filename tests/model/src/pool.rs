//! Slots of an arena, which its owner and guests free: `csrc/pool/slot.c`, `reclaim.c`, `index.h` and `alloc.h`.
//!
//! An arena with one region, and one or two spans with two slots in all. The code of a slot is one byte; 0 stands for
//! traps.
//!
//! Not modelled: links, protection keys, retired slots, regions that a fork has shared, barriers for instructions.
//!
//! The C code has stronger orders where the properties need none: `xb_alloc_from_span` and `xb_reclaim_slot` release the
//! tag, `xb_index_find` acquires it, `claim` releases it, too, and `exclude_guests` and the read-modify-writes of `xb_reclaim_guest_slot` acquire and
//! release. The model shows why these do not matter: whoever gives a handle to another thread synchronises with it, and
//! whoever is alone synchronises with all guests by the lock.

use crate::lock::{self, ALONE, GHOSTS, INSIDE, OK, R};
use crate::program::{ACQUIRE, At, Here, Program, RELAXED, RELEASE, Regs};

// Locations.
/// `guest_spans`: the number of a span + 1, or 0.
pub const HEAD: usize = lock::LOCATIONS;
/// `live` of the region.
pub const LIVE: usize = HEAD + 1;
/// How many threads have not ended.
pub const RUNNING: usize = HEAD + 2;
// By span:
/// `slots` of its place; 0: there is no span.
pub const PLACE: usize = HEAD + 3;
/// The span that the place names, by its serial number.
pub const SERIAL: usize = PLACE + 2;
pub const FREE: usize = PLACE + 4;
pub const QUARANTINE: usize = PLACE + 6;
/// `guests` of its only `xb_slot_bits`.
pub const FREED: usize = PLACE + 8;
pub const GUEST_WORDS: usize = PLACE + 10;
pub const NEXT: usize = PLACE + 12;
// By slot:
pub const TAG: usize = PLACE + 14;
pub const CODE: usize = PLACE + 16;
pub const LOCATIONS: usize = PLACE + 18;

// Registers of a handle.
pub const SLOT: usize = 2;
const TAG_OF: usize = 3;
const SPAN: usize = 4;
const BIT: usize = 5;

/// The serial number of the first spans, which all handles have.
pub const FIRST_SERIAL: u8 = 1;

// What the properties need to know, by slot or by span.
/// A buffer has the slot.
pub const IN_USE: usize = GHOSTS;
/// A guest that has claimed the slot is inside.
pub const WORKING: usize = GHOSTS + 2;
/// How many frees of its first buffer succeeded.
pub const FREES: usize = GHOSTS + 4;
/// The span is freed.
pub const GONE: usize = GHOSTS + 6;

/// How an arena is laid out, and whether its region is kept when it is empty.
#[derive(Clone, Copy)]
pub struct Shape {
    pub spans: u8,
    pub slots_per_span: u8,
    pub is_kept: bool,
}

/// Fills the registers of a handle.
fn name_slot(regs: &mut Regs, shape: Shape, slot: u8, tag: u8) {
    regs[SLOT] = slot;
    regs[TAG_OF] = tag;
    regs[SPAN] = slot / shape.slots_per_span;
    regs[BIT] = 1 << (slot % shape.slots_per_span);
}

/// The thread has this handle.
pub fn handle(p: &mut Program, shape: Shape, slot: u8, tag: u8) {
    p.act(move |here| name_slot(here.regs, shape, slot, tag));
}

fn by_slot(location: usize) -> At {
    At::Indexed(location, SLOT)
}

fn by_span(location: usize) -> At {
    At::Indexed(location, SPAN)
}

impl Here<'_> {
    fn of_slot(&self, location: usize) -> usize {
        location + usize::from(self.regs[SLOT])
    }

    fn of_span(&self, location: usize) -> usize {
        location + usize::from(self.regs[SPAN])
    }

    fn add(&mut self, location: usize, bits: u8) {
        let old = self.get(location);
        self.set(location, old | bits);
    }
}

/// `xb_index_find`. Returns in `OK`.
fn index_find(p: &mut Program) {
    let (fails, end) = (p.label(), p.label());
    p.load("xb_index_find: slots", R, by_span(PLACE), ACQUIRE);
    p.jump_if(fails, |r| r[R] == 0);
    p.load("xb_index_find: tag", R, by_slot(TAG), RELAXED);
    p.act(|here| {
        let gone = here.ghost[here.of_span(GONE)];
        here.check(gone == 0, "a freed span is read");
        let serial = here.get(here.of_span(SERIAL));
        here.regs[OK] = u8::from(serial == FIRST_SERIAL && here.regs[R] == here.regs[TAG_OF]);
    });
    p.jump(end);
    p.place(fails);
    p.act(|here| here.regs[OK] = 0);
    p.place(end);
    p.act(|here| here.regs[R] = 0);
}

/// `write_traps`.
fn write_traps(p: &mut Program) {
    p.store("write_traps: code", by_slot(CODE), RELAXED, |_| 0);
}

/// The call has returned `EXECBUF_OK`.
fn is_freed(p: &mut Program) {
    p.act(|here| {
        let at = here.of_slot(FREES);
        here.ghost[at] += u8::from(here.regs[TAG_OF] == 1);
    });
}

/// `xb_reclaim_count`, and `xb_span_quarantine`.
fn count_as_freed(here: &mut Here, span: usize, bit: u8) {
    let live = here.get(LIVE);
    here.check(live > 0, "more slots are freed than were taken");
    here.set(LIVE, live.wrapping_sub(1));
    here.add(QUARANTINE + span, bit);
}

/// `xb_reclaim_slot`.
fn reclaim_slot(p: &mut Program) {
    p.store("xb_reclaim_slot: tag", by_slot(TAG), RELAXED, |r| r[TAG_OF] + 1);
    p.act(|here| {
        let at = here.of_slot(IN_USE);
        here.ghost[at] = 0;
        count_as_freed(here, here.of_span(0), here.regs[BIT]);
    });
}

/// `free_slowly`.
fn free_slowly(p: &mut Program, shape: Shape, me: u8) {
    let (stale, end) = (p.label(), p.label());
    lock::lock(p, me);
    index_find(p);
    p.jump_if(stale, |r| r[OK] == 0);
    write_traps(p);
    reclaim_slot(p);
    p.act(move |here| here.regs[OK] = u8::from(here.get(LIVE) == 0 && !shape.is_kept));
    lock::unlock(p, me);
    is_freed(p);
    p.jump_if(end, |r| r[OK] == 0);
    reclaim(p, shape, me, false);
    p.jump(end);
    p.place(stale);
    lock::unlock(p, me);
    p.place(end);
}

/// `claim`. Returns in `OK`.
fn claim(p: &mut Program) {
    p.update("claim: tag", R, by_slot(TAG), ACQUIRE, |r, tag| (tag == r[TAG_OF]).then_some(tag + 1));
    p.act(|here| {
        here.regs[OK] = u8::from(here.regs[R] == here.regs[TAG_OF]);
        let (in_use, working) = (here.of_slot(IN_USE), here.of_slot(WORKING));
        if here.regs[OK] != 0 {
            here.ghost[in_use] = 0; /* it is so already if the owner frees the buffer at the same time */
            here.ghost[working] += 1;
        }
    });
}

/// `xb_reclaim_guest_slot`.
fn reclaim_guest_slot(p: &mut Program) {
    let (again, end) = (p.label(), p.label());
    let set = |r: &Regs, old| Some(old | r[BIT]);
    p.update("xb_reclaim_guest_slot: guests", R, by_span(FREED), RELAXED, set);
    p.jump_if(end, |r| r[R] != 0);
    p.update("xb_reclaim_guest_slot: guest_words", R, by_span(GUEST_WORDS), RELAXED, |_, _| Some(1));
    p.jump_if(end, |r| r[R] != 0);
    p.load("xb_reclaim_guest_slot: guest_spans", OK, HEAD, RELAXED);
    p.place(again);
    p.act(|here| here.set(here.of_span(NEXT), here.regs[OK]));
    let push = |r: &Regs, head| (head == r[OK]).then_some(r[SPAN] + 1);
    p.update("xb_reclaim_guest_slot: guest_spans", R, HEAD, RELAXED, push);
    p.act(|here| {
        let head = here.regs[R];
        here.regs[R] = u8::from(head != here.regs[OK]);
        here.regs[OK] = head;
    });
    p.jump_if(again, |r| r[R] != 0);
    p.place(end);
}

/// `free_as_guest`. If what guests have freed reaches `overdue`, it calls `xb_reclaim`.
pub fn free_as_guest(p: &mut Program, shape: Shape, me: u8, overdue: u8) {
    let (leaves, slowly, end) = (p.label(), p.label(), p.label());
    lock::enter_as_guest(p);
    p.jump_if(slowly, |r| r[OK] == 0);
    index_find(p);
    p.jump_if(leaves, |r| r[OK] == 0);
    claim(p);
    p.jump_if(leaves, |r| r[OK] == 0);
    write_traps(p);
    reclaim_guest_slot(p);
    p.act(|here| {
        let working = here.of_slot(WORKING);
        here.ghost[working] -= 1;
    });
    lock::leave_as_guest(p, 1);
    is_freed(p);
    p.jump_if(end, move |r| r[R] < overdue);
    p.act(|here| here.regs[R] = 0);
    reclaim(p, shape, me, false);
    p.jump(end);
    p.place(leaves);
    lock::leave_as_guest(p, 0);
    p.place(slowly);
    p.act(|here| here.regs[R] = 0);
    free_slowly(p, shape, me);
    p.place(end);
    p.act(|here| *here.regs = Regs::default());
}

/// `xb_slot_free`.
pub fn slot_free(p: &mut Program, shape: Shape, me: u8) {
    let (as_guest, slowly, end) = (p.label(), p.label(), p.label());
    lock::try_lock_biased(p, me);
    p.jump_if(as_guest, |r| r[OK] == 0);
    index_find(p);
    p.jump_if(slowly, |r| r[OK] == 0);
    p.act(move |here| here.regs[OK] = u8::from(here.get(LIVE) != 1 || shape.is_kept));
    p.jump_if(slowly, |r| r[OK] == 0);
    reclaim_slot(p);
    write_traps(p);
    lock::unlock_biased(p);
    is_freed(p);
    p.jump(end);
    p.place(slowly);
    lock::unlock_biased(p);
    free_slowly(p, shape, me);
    p.jump(end);
    p.place(as_guest);
    free_as_guest(p, shape, me, u8::MAX);
    p.place(end);
    p.act(|here| *here.regs = Regs::default());
}

/// `xb_reclaim_guests`, but for the sum.
fn take_over(here: &mut Here) {
    let mut span = here.get(HEAD);
    while span != 0 {
        let number = usize::from(span - 1);
        if here.get(GUEST_WORDS + number) != 0 {
            let known = here.get(QUARANTINE + number) | here.get(FREE + number);
            let freed = here.get(FREED + number) & !known;
            here.set(FREED + number, 0);
            for bit in [1, 2] {
                if freed & bit != 0 {
                    count_as_freed(here, number, bit);
                }
            }
            here.set(GUEST_WORDS + number, 0);
        }
        span = here.get(NEXT + number);
    }
    here.set(HEAD, 0);
}

/// `xb_reclaim`: with `end_quarantine` if `is_needed`, and `remove_region`.
pub fn reclaim(p: &mut Program, shape: Shape, me: u8, is_needed: bool) {
    lock::lock_slow(p, me);
    p.act(take_over);
    p.update("xb_clear_guests_sum", R, lock::GUESTS, RELAXED, |_, guests| Some(guests & lock::GUESTS_INSIDE));
    p.act(move |here| {
        here.regs[R] = 0;
        for span in 0..usize::from(shape.spans) {
            if is_needed {
                let quarantine = here.get(QUARANTINE + span);
                here.add(FREE + span, quarantine);
                here.set(QUARANTINE + span, 0);
            }
            if here.get(LIVE) == 0 && !shape.is_kept {
                here.set(PLACE + span, 0);
                here.set(FREE + span, 0);
                here.set(QUARANTINE + span, 0);
                here.ghost[GONE + span] = 1;
            }
        }
        here.check(here.ghost[ALONE] == 1 && here.ghost[INSIDE] == 0, "spans go while a guest is inside");
    });
    lock::unlock_slow(p);
}

/// Takes a free slot, if there is one: `xb_alloc_from_span`, but for the tag. Returns in `OK`.
fn take(here: &mut Here, shape: Shape) {
    here.regs[OK] = 0;
    for slot in 0..shape.spans * shape.slots_per_span {
        name_slot(here.regs, shape, slot, 0);
        let (free, bit) = (here.of_span(FREE), here.regs[BIT]);
        let bits = here.get(free);
        if bits & bit != 0 {
            here.set(free, bits & !bit);
            let (in_use, working) = (here.of_slot(IN_USE), here.of_slot(WORKING));
            here.check(here.ghost[in_use] == 0, "a slot is given out twice");
            here.check(here.ghost[working] == 0, "a slot is given out while a guest is inside");
            here.ghost[in_use] = 1;
            here.regs[OK] = 1;
            return;
        }
    }
}

/// `xb_pool_put`: publishes code in a free slot, if there is one. The handle is in the registers.
pub fn put(p: &mut Program, shape: Shape, me: u8, code: u8) {
    let end = p.label();
    lock::lock(p, me);
    p.act(move |here| take(here, shape));
    p.jump_if(end, |r| r[OK] == 0);
    p.load("(a check): code", R, by_slot(CODE), RELAXED);
    p.act(|here| here.check(here.regs[R] == 0, "a slot is given out with code instead of traps"));
    p.load("xb_alloc_from_span: tag", TAG_OF, by_slot(TAG), RELAXED);
    p.act(|here| {
        here.check(here.regs[TAG_OF] % 2 == 0, "the tag of a free slot is odd");
        here.regs[TAG_OF] += 1;
        let live = here.get(LIVE);
        here.set(LIVE, live + 1);
    });
    p.store("xb_alloc_from_span: tag", by_slot(TAG), RELAXED, |r| r[TAG_OF]);
    p.store("xb_slot_write: code", by_slot(CODE), RELAXED, move |_| code);
    p.place(end);
    lock::unlock(p, me);
}

/// `xb_slot_rewrite`, or `xb_slot_publish` in a reserved slot.
pub fn change(p: &mut Program, me: u8, code: u8) {
    let end = p.label();
    lock::lock(p, me);
    index_find(p);
    p.jump_if(end, |r| r[OK] == 0);
    let excludes = p.has("exclude_guests");
    if excludes {
        let hide = |r: &Regs, tag| (tag == r[TAG_OF]).then_some(tag - 1);
        p.update("exclude_guests: tag", R, by_slot(TAG), RELAXED, hide);
        p.jump_if(end, |r| r[R] != r[TAG_OF]);
    }
    p.store("(xb_slot_rewrite or xb_slot_publish): code", by_slot(CODE), RELAXED, move |_| code);
    if excludes {
        p.store("admit_guests: tag", by_slot(TAG), RELEASE, |r| r[TAG_OF]);
    }
    p.place(end);
    lock::unlock(p, me);
}

/// `add_span`, after the region was removed: another span gets the same place.
pub fn add_span(p: &mut Program, me: u8) {
    let end = p.label();
    lock::lock(p, me);
    p.load("add_span: slots", R, PLACE, RELAXED);
    p.jump_if(end, |r| r[R] != 0);
    p.act(|here| {
        here.ghost[GONE] = 0;
        here.ghost[IN_USE] = 1; /* by a buffer whose handle has another serial number */
        here.set(SERIAL, FIRST_SERIAL + 1);
        here.set(TAG, 1);
        here.set(LIVE, 1);
    });
    p.store("add_span: code", CODE, RELAXED, |_| 1);
    p.store("xb_index_add: slots", PLACE, RELEASE, |_| 1);
    p.place(end);
    lock::unlock(p, me);
    p.act(|here| *here.regs = Regs::default());
}

/// The thread ends: what it did happens before `await_others`.
pub fn ends(p: &mut Program) {
    p.update("(ends)", R, RUNNING, RELEASE, |_, running| Some(running - 1));
}

pub fn await_others(p: &mut Program) {
    p.wait("(waits for the others)", RUNNING, u8::MAX, ACQUIRE);
}
