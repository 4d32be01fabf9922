//! Memory models: what loads may read.

use std::hash::Hash;

use crate::program::{Order, Plain};

/// A memory, its contents, and what each thread has seen of it. Operations return every possible result.
pub trait Memory: Clone + Hash + Plain {
    /// What `drain` does.
    const DRAIN: &'static str;

    fn new(values: &[u8], threads: usize) -> Self;

    /// The values that a load may return.
    fn load(&self, thread: usize, at: usize, order: Order) -> Vec<(u8, Self)>;

    fn store(&self, thread: usize, at: usize, value: u8, order: Order) -> Vec<Self>;

    /// A read-modify-write; it writes nothing, and is a relaxed load, if `change` returns `None`. Returns the old
    /// values.
    fn update(&self, thread: usize, at: usize, order: Order, change: &dyn Fn(u8) -> Option<u8>)
    -> Vec<(u8, Self)>;

    /// A full fence; `None`: it waits.
    fn fence(&self, thread: usize) -> Option<Self>;

    /// What the memory itself may do next: for one thread, or for all.
    fn drain(&self) -> Vec<(Option<usize>, Self)>;

    /// The thread has ended.
    fn end(&mut self, thread: usize);

    /// Makes memories that no program can tell apart equal.
    fn normalise(&mut self) {}

    /// The last value, when all threads have ended.
    fn last(&self, at: usize) -> u8;
}
