//! Total store order, the memory model of x86.
//!
//! Each thread has a buffer of stores, which reach the memory in their order, at any later time. A thread reads its own
//! buffer first. Read-modify-writes and fences wait until the buffer is empty. So the one reordering is that of a store
//! with loads of other locations behind it; acquire and release mean nothing.

use crate::memory::Memory;
use crate::program::{Order, Plain};

#[derive(Clone, Copy, Hash)]
struct Store {
    at: u8,
    value: u8,
    is_plain: bool,
}

#[derive(Clone, Hash)]
pub struct Tso {
    values: Vec<u8>,
    buffers: Vec<Vec<Store>>,
}

impl Tso {
    fn read(&self, thread: usize, at: usize) -> u8 {
        let own = self.buffers[thread].iter().rev().find(|store| usize::from(store.at) == at);
        own.map_or(self.values[at], |store| store.value)
    }

    /// Whether a store of another thread is on its way.
    fn is_racy(&self, thread: usize, at: usize) -> bool {
        let holds = |buffer: &Vec<Store>| buffer.iter().any(|store| usize::from(store.at) == at);
        self.buffers.iter().enumerate().any(|(other, buffer)| other != thread && holds(buffer))
    }

    fn push(&mut self, thread: usize, at: usize, value: u8, is_plain: bool) {
        self.buffers[thread].push(Store { at: u8::try_from(at).unwrap(), value, is_plain });
    }
}

impl Plain for Tso {
    fn get(&self, thread: usize, at: usize) -> Result<u8, &'static str> {
        if self.is_racy(thread, at) { Err("a data race: a load") } else { Ok(self.read(thread, at)) }
    }

    fn set(&mut self, thread: usize, at: usize, value: u8) -> Result<(), &'static str> {
        if self.is_racy(thread, at) {
            return Err("a data race: a store");
        }
        self.push(thread, at, value, true);
        Ok(())
    }
}

impl Memory for Tso {
    const DRAIN: &'static str = "(its oldest store reaches the memory)";

    fn new(values: &[u8], threads: usize) -> Self {
        Tso { values: values.to_vec(), buffers: vec![vec![]; threads] }
    }

    fn load(&self, thread: usize, at: usize, _order: Order) -> Vec<(u8, Self)> {
        vec![(self.read(thread, at), self.clone())]
    }

    fn store(&self, thread: usize, at: usize, value: u8, _order: Order) -> Vec<Self> {
        let mut after = self.clone();
        after.push(thread, at, value, false);
        vec![after]
    }

    fn update(
        &self,
        thread: usize,
        at: usize,
        _order: Order,
        change: &dyn Fn(u8) -> Option<u8>,
    ) -> Vec<(u8, Self)> {
        if !self.buffers[thread].is_empty() {
            return vec![];
        }
        let mut after = self.clone();
        let old = self.values[at];
        after.values[at] = change(old).unwrap_or(old);
        vec![(old, after)]
    }

    fn fence(&self, thread: usize) -> Option<Self> {
        self.buffers[thread].is_empty().then(|| self.clone())
    }

    /// The oldest store reaches the memory. Those that are not atomic do so together with the next atomic one: whoever
    /// reads one of them before that is in a data race already.
    fn drain(&self) -> Vec<(Option<usize>, Self)> {
        let mut all = vec![];
        for (thread, buffer) in self.buffers.iter().enumerate().filter(|(_, buffer)| !buffer.is_empty()) {
            let atomic = buffer.iter().position(|store| !store.is_plain);
            let mut after = self.clone();
            for store in after.buffers[thread].drain(..=atomic.unwrap_or(buffer.len() - 1)) {
                after.values[usize::from(store.at)] = store.value;
            }
            all.push((Some(thread), after));
        }
        all
    }

    fn end(&mut self, _thread: usize) {}

    fn last(&self, at: usize) -> u8 {
        self.values[at]
    }
}
