//! Small programs that tell memory models apart, with the names that the literature gives them.

use crate::explore::{Scenario, explore};
use crate::program::{ACQUIRE, Ghost, Order, Program, RELAXED, RELEASE};
use crate::tso::Tso;
use crate::views::Views;

const X: usize = 0;
const Y: usize = 1;
const FENCE: &str = "(membarrier)";

type Part<'a> = &'a dyn Fn(&mut Program);

/// Whether something fails: by TSO, and by views.
fn fails(
    parts: &[Part],
    end: impl Fn(&dyn Fn(usize) -> u8, &Ghost) -> Result<(), &'static str> + 'static,
) -> (bool, bool) {
    let program = |write: &Part| {
        let mut program = Program::new("thread", "");
        write(&mut program);
        program
    };
    let programs = parts.iter().map(program).collect();
    let scenario = Scenario { programs, values: vec![0; 2], ghost: Ghost::default(), end: Box::new(end) };
    (explore::<Tso>(&scenario).failure.is_some(), explore::<Views>(&scenario).failure.is_some())
}

/// Whether the threads can end with these values in the ghost, where `see` writes.
fn can_see(parts: &[Part], seen: &'static [u8]) -> (bool, bool) {
    fails(parts, move |_, ghost| if ghost.starts_with(seen) { Err("seen") } else { Ok(()) })
}

fn write(p: &mut Program, at: usize, value: u8, order: Order) {
    p.store("(write)", at, order, move |_| value);
}

/// Loads a location, and notes the value in the ghost.
fn see(p: &mut Program, at: usize, order: Order, place: usize) {
    p.load("(see)", 0, at, order);
    p.act(move |here| here.ghost[place] = here.regs[0]);
}

#[test]
fn store_buffering_ends_with_a_membarrier_on_one_side() {
    let plain = |at: usize, other: usize, place: usize| {
        move |p: &mut Program| {
            write(p, at, 1, RELEASE);
            see(p, other, ACQUIRE, place);
        }
    };
    let fenced = |p: &mut Program| {
        write(p, Y, 1, RELAXED);
        p.fence_all(FENCE);
        see(p, X, RELAXED, 1);
    };
    assert_eq!(can_see(&[&plain(X, Y, 0), &plain(Y, X, 1)], &[0, 0]), (true, true));
    assert_eq!(can_see(&[&plain(X, Y, 0), &fenced], &[0, 0]), (false, false));
    assert_eq!(can_see(&[&plain(X, Y, 0), &fenced], &[1, 0]), (true, true));
}

#[test]
fn message_passing_needs_release_and_acquire_in_views_only() {
    let can_miss = |to_write, to_read| {
        let writer = move |p: &mut Program| {
            write(p, X, 1, RELAXED);
            write(p, Y, 1, to_write);
        };
        let reader = move |p: &mut Program| {
            see(p, Y, to_read, 0);
            see(p, X, RELAXED, 1);
        };
        can_see(&[&writer, &reader], &[1, 0])
    };
    assert_eq!(can_miss(RELEASE, ACQUIRE), (false, false));
    assert_eq!(can_miss(RELEASE, RELAXED), (false, true)); // two loads
    assert_eq!(can_miss(RELAXED, ACQUIRE), (false, true)); // two stores
}

#[test]
fn a_read_modify_write_passes_a_release_on() {
    let writer = |p: &mut Program| {
        write(p, X, 1, RELAXED);
        write(p, Y, 1, RELEASE);
    };
    let adder = |p: &mut Program| p.update("(add)", 0, Y, RELAXED, |_, old| Some(old + 1));
    let reader = |p: &mut Program| {
        see(p, Y, ACQUIRE, 0);
        see(p, X, RELAXED, 1);
    };
    assert_eq!(can_see(&[&writer, &adder, &reader], &[2, 0]), (false, false));
}

#[test]
fn one_location_is_coherent() {
    let writer = |p: &mut Program| {
        write(p, X, 1, RELAXED);
        write(p, X, 2, RELAXED);
    };
    let reader = |p: &mut Program| {
        see(p, X, RELAXED, 0);
        see(p, X, RELAXED, 1);
    };
    assert_eq!(can_see(&[&writer, &reader], &[2, 1]), (false, false));
    assert_eq!(can_see(&[&writer, &reader], &[1, 2]), (true, true));
}

#[test]
fn stores_of_two_threads_cross_in_views_only() {
    let writer = |first: usize, second: usize| {
        move |p: &mut Program| {
            write(p, first, 1, RELAXED);
            write(p, second, 2, RELAXED);
        }
    };
    // Each thread's second store comes before the other's first one.
    let end = |last: &dyn Fn(usize) -> u8, _: &Ghost| {
        if last(X) == 1 && last(Y) == 1 { Err("seen") } else { Ok(()) }
    };
    assert_eq!(fails(&[&writer(X, Y), &writer(Y, X)], end), (false, true));
}

#[test]
fn loads_do_not_move_behind_later_stores() {
    let thread = |from: usize, to: usize| {
        move |p: &mut Program| {
            see(p, from, RELAXED, from);
            write(p, to, 1, RELAXED);
        }
    };
    assert_eq!(can_see(&[&thread(X, Y), &thread(Y, X)], &[1, 1]), (false, false));
}

#[test]
fn a_thread_that_waits_for_ever_is_found() {
    let waiter = |p: &mut Program| p.wait("(wait)", X, 1, RELAXED);
    let writer = |p: &mut Program| write(p, X, 1, RELAXED);
    assert_eq!(can_see(&[&waiter, &writer], &[9]), (true, true));
}
