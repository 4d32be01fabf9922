//! Scenarios of `pool`: the owner of an arena, guests, and threads that take it over.

use crate::explore::Scenario;
use crate::lock::{self, OWNER};
use crate::pool::{
    CODE, FIRST_SERIAL, FREE, FREES, GONE, IN_USE, LIVE, LOCATIONS, PLACE, QUARANTINE, RUNNING, SERIAL, Shape,
    TAG, add_span, await_others, change, ends, free_as_guest, handle, put, reclaim, slot_free,
};
use crate::program::{Ghost, Program};

/// What a thread does: its name, and a function that writes its program; it gets the thread's number.
type Part = (&'static str, fn(&mut Program, Shape, u8));

const NEW_CODE: u8 = 2;
const CHANGED: u8 = 3;
/// So much is never freed.
const NEVER: u8 = u8::MAX;

/// What must hold when all threads have ended and the last one has reclaimed everything.
///
/// In: frees: by slot, how many frees of its first buffer may have succeeded.
fn check_end(
    shape: Shape,
    frees: [(u8, u8); 2],
    value: &dyn Fn(usize) -> u8,
    ghost: &Ghost,
) -> Result<(), &'static str> {
    let mut live = 0;
    for slot in 0..shape.spans * shape.slots_per_span {
        let (number, span) = (usize::from(slot), usize::from(slot / shape.slots_per_span));
        let bit = 1 << (slot % shape.slots_per_span);
        let (tag, code) = (value(TAG + number), value(CODE + number));
        let in_use = ghost[IN_USE + number] != 0;
        let (least, most) = frees[number];
        if !(least..=most).contains(&ghost[FREES + number]) {
            return Err("the wrong number of frees succeeded");
        }
        if ghost[GONE + span] != 0 {
            if in_use {
                return Err("a region with live code is removed");
            }
            continue;
        }
        if in_use != (tag % 2 == 1) {
            return Err("a tag does not say whether its slot is taken");
        }
        if (value(FREE + span) & bit != 0) == in_use || value(QUARANTINE + span) & bit != 0 {
            return Err("a slot is lost");
        }
        let expected: &[u8] = match (in_use, tag) {
            (false, _) => &[0],
            (true, 1) => &[1, CHANGED],
            (true, _) => &[NEW_CODE],
        };
        if !expected.contains(&code) {
            return Err(if in_use {
                "live code is overwritten"
            } else {
                "a free slot holds code instead of traps"
            });
        }
        live += u8::from(in_use);
    }
    if value(LIVE) == live { Ok(()) } else { Err("the number of live slots is wrong") }
}

/// The first values: all slots hold code that was published before, and the first thread is the owner.
fn first_values(shape: Shape, threads: usize) -> (Vec<u8>, Ghost) {
    let mut values = vec![0; LOCATIONS];
    let mut ghost = Ghost::default();
    values[OWNER] = 1;
    values[RUNNING] = u8::try_from(threads - 1).expect("few threads");
    for span in 0..usize::from(shape.spans) {
        values[PLACE + span] = shape.slots_per_span;
        values[SERIAL + span] = FIRST_SERIAL;
    }
    for slot in 0..usize::from(shape.spans * shape.slots_per_span) {
        values[TAG + slot] = 1;
        values[CODE + slot] = 1;
        values[LIVE] += 1;
        ghost[IN_USE + slot] = 1;
    }
    (values, ghost)
}

fn scenario(shape: Shape, frees: [(u8, u8); 2], removed: &str, parts: &[Part]) -> Scenario {
    let program = |(me, (name, write)): (u8, &Part)| {
        let mut program = Program::new(name, removed);
        write(&mut program, shape, me);
        program
    };
    let (values, ghost) = first_values(shape, parts.len());
    let programs = (1..).zip(parts).map(program).collect();
    let end = move |value: &dyn Fn(usize) -> u8, ghost: &Ghost| check_end(shape, frees, value, ghost);
    Scenario { programs, values, ghost, end: Box::new(end) }
}

/// Waits for the other threads, and reclaims all.
fn finish(p: &mut Program, shape: Shape, me: u8) {
    await_others(p);
    reclaim(p, shape, me, true);
}

fn publish_reclaim_publish(p: &mut Program, shape: Shape, me: u8) {
    put(p, shape, me, NEW_CODE);
    reclaim(p, shape, me, true);
    put(p, shape, me, NEW_CODE);
}

fn guest(p: &mut Program, shape: Shape, me: u8, slot: u8, overdue: u8) {
    handle(p, shape, slot, 1);
    free_as_guest(p, shape, me, overdue);
    ends(p);
}

const REUSES: Part = ("owner", |p, shape, me| {
    publish_reclaim_publish(p, shape, me);
    finish(p, shape, me);
});
const FREES_0: Part = ("owner", |p, shape, me| {
    handle(p, shape, 0, 1);
    slot_free(p, shape, me);
    reclaim(p, shape, me, true);
    put(p, shape, me, NEW_CODE);
    finish(p, shape, me);
});
const CHANGES_0: Part = ("owner", |p, shape, me| {
    handle(p, shape, 0, 1);
    change(p, me, CHANGED);
    reclaim(p, shape, me, true);
    put(p, shape, me, NEW_CODE);
    finish(p, shape, me);
});
const ADDS_SPAN: Part = ("owner", |p, shape, me| {
    handle(p, shape, 0, 1);
    slot_free(p, shape, me);
    add_span(p, me);
    finish(p, shape, me);
});
const LEAVES: Part = ("leaver", |p, shape, me| {
    handle(p, shape, 0, 1);
    slot_free(p, shape, me);
    reclaim(p, shape, me, false);
    lock::leave(p, me);
    ends(p);
});
const TAKES_OVER: Part = ("next", |p, shape, me| {
    lock::take_over(p, me);
    publish_reclaim_publish(p, shape, me);
    finish(p, shape, me);
});
const GUEST_0: Part = ("guest", |p, shape, me| guest(p, shape, me, 0, NEVER));
const GUEST_1: Part = ("guest 1", |p, shape, me| guest(p, shape, me, 1, NEVER));
const RECLAIMS_0: Part = ("guest", |p, shape, me| guest(p, shape, me, 0, 1));
const RECLAIMS_1: Part = ("guest 1", |p, shape, me| guest(p, shape, me, 1, 1));

const ONE_SLOT: Shape = Shape { spans: 1, slots_per_span: 1, is_kept: true };
const ONE_SPAN: Shape = Shape { spans: 1, slots_per_span: 2, is_kept: true };
const TWO_SPANS: Shape = Shape { spans: 2, slots_per_span: 1, is_kept: true };

const fn not_kept(shape: Shape) -> Shape {
    Shape { is_kept: false, ..shape }
}

const NEVER_FREED: (u8, u8) = (0, 0);
const ONCE: (u8, u8) = (1, 1);
/// A free by the owner and one by a guest at the same time may both return `EXECBUF_OK`.
const ONCE_OR_BOTH: (u8, u8) = (1, 2);

/// Scenarios of two threads.
#[must_use]
pub fn scenarios(removed: &str) -> Vec<(&'static str, Scenario)> {
    let make = |shape, frees, parts: &[Part]| scenario(shape, frees, removed, parts);
    vec![
        ("the owner reuses what a guest frees", make(ONE_SPAN, [ONCE, NEVER_FREED], &[REUSES, GUEST_0])),
        ("the owner and a guest free one buffer", make(ONE_SLOT, [ONCE_OR_BOTH, ONCE], &[FREES_0, GUEST_0])),
        ("the owner and a guest free two buffers", make(ONE_SPAN, [ONCE, ONCE], &[FREES_0, GUEST_1])),
        ("a guest reclaims", make(ONE_SPAN, [ONCE, ONCE], &[FREES_0, RECLAIMS_1])),
        ("the last buffer of a region", make(not_kept(ONE_SLOT), [ONCE_OR_BOTH, ONCE], &[FREES_0, GUEST_0])),
        ("the last two buffers", make(not_kept(ONE_SPAN), [ONCE, ONCE], &[FREES_0, RECLAIMS_1])),
        ("another span at the place", make(not_kept(ONE_SLOT), [ONCE_OR_BOTH, ONCE], &[ADDS_SPAN, GUEST_0])),
        ("the owner changes what a guest frees", make(ONE_SLOT, [ONCE, NEVER_FREED], &[CHANGES_0, GUEST_0])),
    ]
}

/// Scenarios of three threads.
#[must_use]
pub fn large_scenarios(removed: &str) -> Vec<(&'static str, Scenario)> {
    let make = |shape, frees, parts: &[Part]| scenario(shape, frees, removed, parts);
    vec![
        ("two guests free one buffer", make(ONE_SLOT, [ONCE, NEVER_FREED], &[REUSES, GUEST_0, GUEST_0])),
        ("two guests, one span", make(ONE_SPAN, [ONCE, ONCE], &[REUSES, GUEST_0, GUEST_1])),
        ("two guests, two spans", make(TWO_SPANS, [ONCE, ONCE], &[REUSES, GUEST_0, GUEST_1])),
        ("two guests reclaim", make(TWO_SPANS, [ONCE, ONCE], &[REUSES, RECLAIMS_0, RECLAIMS_1])),
        ("three free one buffer", make(ONE_SLOT, [ONCE_OR_BOTH, ONCE], &[FREES_0, GUEST_0, GUEST_0])),
        ("the last buffers", make(not_kept(TWO_SPANS), [ONCE_OR_BOTH, ONCE], &[FREES_0, GUEST_0, RECLAIMS_1])),
        ("another owner, a guest", make(ONE_SPAN, [ONCE, ONCE], &[LEAVES, TAKES_OVER, GUEST_1])),
    ]
}
