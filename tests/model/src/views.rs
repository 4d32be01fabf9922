//! A memory model that is weaker than that of `AArch64`: release and acquire by views, as in C11.
//!
//! A location is the list of all values that were stored there, in one order for all threads. A thread has a view: for
//! each location, the newest store that it knows of. A load may return any store that is not older than the view; so
//! loads may return old values in any order, until something tells the thread of a newer one:
//!
//! - A store that releases carries the view of its thread; a load that acquires adds the view of what it reads.
//! - A read-modify-write comes immediately behind the store that it reads, and carries the view of that on.
//! - A full fence exchanges views with all earlier full fences.
//!
//! From each state on, all threads may see each store at once; and from each state on, this has to lead to the end.
//!
//! A store may also be put before stores of other threads that its thread does not know of.
//!
//! So it has these reorderings: of a store with a later load, of two stores, and of two loads. Unlike on `AArch64`, two
//! threads may see the stores of others in different orders, dependencies order nothing, and a fence makes neither earlier
//! loads acquire nor later stores release. What it lacks is a load that takes effect behind a store which follows it in
//! the program. `AArch64` does that only if no branch and no address depend on the load, and the store does not release.
//! Each load of the programs decides on a branch or on the value of the next store, but for those of locked data; there a
//! release follows. (If that is removed, the failure shows by stores.)

use crate::memory::Memory;
use crate::program::{Order, Plain};

const LOCATIONS: usize = 32;

/// By location: the newest store that is known, as its place in the list.
type View = [u8; LOCATIONS];

#[derive(Clone, Hash)]
struct Message {
    value: u8,
    is_update: bool,
    view: View,
}

#[derive(Clone, Hash)]
pub struct Views {
    /// The lists of all locations, one after the other.
    messages: Vec<Message>,
    /// By location: where its list begins; then the number of all stores.
    starts: [u8; LOCATIONS + 1],
    seen: Vec<View>,
    /// The threads that have ended, as bits. Their views matter to fences only.
    ended: u8,
    fenced: View,
    /// From here on, each thread sees each store at once.
    is_prompt: bool,
}

fn join(view: &mut View, other: &View) {
    for (mine, theirs) in view.iter_mut().zip(other) {
        *mine = (*mine).max(*theirs);
    }
}

fn place(number: usize) -> u8 {
    u8::try_from(number).expect("few stores")
}

impl Views {
    fn has_ended(&self, thread: usize) -> bool {
        self.ended >> thread & 1 != 0
    }

    fn list(&self, at: usize) -> &[Message] {
        &self.messages[usize::from(self.starts[at])..usize::from(self.starts[at + 1])]
    }

    fn list_mut(&mut self, at: usize) -> &mut [Message] {
        &mut self.messages[usize::from(self.starts[at])..usize::from(self.starts[at + 1])]
    }

    /// The stores that a thread may read.
    fn readable(&self, thread: usize, at: usize) -> std::ops::Range<usize> {
        usize::from(self.seen[thread][at])..self.list(at).len()
    }

    fn all_views(&mut self) -> impl Iterator<Item = &mut View> {
        let of_messages = self.messages.iter_mut().map(|message| &mut message.view);
        of_messages.chain(&mut self.seen).chain([&mut self.fenced])
    }

    fn is_up_to_date(&self, thread: usize, at: usize) -> bool {
        self.readable(thread, at).len() == 1
    }

    /// Adds a store at this place of the list.
    fn insert(&mut self, thread: usize, at: usize, index: usize, message: Message, releases: bool) {
        for view in self.all_views() {
            view[at] += u8::from(usize::from(view[at]) >= index);
        }
        self.messages.insert(usize::from(self.starts[at]) + index, message);
        self.starts[at + 1..].iter_mut().for_each(|start| *start += 1);
        self.seen[thread][at] = place(index);
        let seen = self.seen[thread];
        let carried = &mut self.list_mut(at)[index].view;
        carried[at] = place(index);
        if releases {
            join(carried, &seen);
        }
    }

    fn learn(&mut self, thread: usize, at: usize, index: usize, acquires: bool) {
        let carried = self.list(at)[index].view;
        let view = &mut self.seen[thread];
        view[at] = place(index);
        if acquires {
            join(view, &carried);
        }
    }
}

impl Plain for Views {
    fn get(&self, thread: usize, at: usize) -> Result<u8, &'static str> {
        let newest = self.list(at).last().map_or(0, |message| message.value);
        if self.is_up_to_date(thread, at) { Ok(newest) } else { Err("a data race: a load") }
    }

    fn set(&mut self, thread: usize, at: usize, value: u8) -> Result<(), &'static str> {
        if !self.is_up_to_date(thread, at) {
            return Err("a data race: a store");
        }
        let index = self.list(at).len();
        let message = Message { value, is_update: false, view: [0; LOCATIONS] };
        self.insert(thread, at, index, message, false);
        Ok(())
    }
}

impl Memory for Views {
    const DRAIN: &'static str = "(from here on, all threads see each store at once)";

    fn new(values: &[u8], threads: usize) -> Self {
        let first = |&value| Message { value, is_update: false, view: [0; LOCATIONS] };
        let messages: Vec<Message> = values.iter().map(first).collect();
        let starts = std::array::from_fn(|at| place(at.min(messages.len())));
        Views {
            messages,
            starts,
            seen: vec![[0; LOCATIONS]; threads],
            ended: 0,
            fenced: [0; LOCATIONS],
            is_prompt: false,
        }
    }

    fn load(&self, thread: usize, at: usize, order: Order) -> Vec<(u8, Self)> {
        let result = |index| {
            let mut after = self.clone();
            after.learn(thread, at, index, order.acquires);
            (self.list(at)[index].value, after)
        };
        self.readable(thread, at).map(result).collect()
    }

    fn store(&self, thread: usize, at: usize, value: u8, order: Order) -> Vec<Self> {
        let messages = self.list(at);
        let mut all = vec![];
        for index in self.readable(thread, at).map(|index| index + 1) {
            if messages.get(index).is_none_or(|next| !next.is_update) {
                let mut after = self.clone();
                let message = Message { value, is_update: false, view: [0; LOCATIONS] };
                after.insert(thread, at, index, message, order.releases);
                all.push(after);
            }
        }
        all
    }

    fn update(
        &self,
        thread: usize,
        at: usize,
        order: Order,
        change: &dyn Fn(u8) -> Option<u8>,
    ) -> Vec<(u8, Self)> {
        let messages = self.list(at);
        let mut all = vec![];
        for index in self.readable(thread, at) {
            let old = messages[index].value;
            let mut after = self.clone();
            if let Some(value) = change(old) {
                if messages.get(index + 1).is_some_and(|next| next.is_update) {
                    continue; /* another one came immediately behind it already */
                }
                after.learn(thread, at, index, order.acquires);
                let message = Message { value, is_update: true, view: messages[index].view };
                after.insert(thread, at, index + 1, message, order.releases);
            } else {
                after.learn(thread, at, index, false);
            }
            all.push((old, after));
        }
        all
    }

    fn fence(&self, thread: usize) -> Option<Self> {
        let mut after = self.clone();
        join(&mut after.fenced, &self.seen[thread]);
        after.seen[thread] = if self.has_ended(thread) { [0; LOCATIONS] } else { after.fenced };
        Some(after)
    }

    /// Each thread sees the newest stores at last. So one that waits for an older one waits for ever.
    fn drain(&self) -> Vec<(Option<usize>, Self)> {
        if self.is_prompt {
            return vec![];
        }
        let mut after = Views { is_prompt: true, ..self.clone() };
        after.normalise();
        vec![(None, after)]
    }

    fn end(&mut self, thread: usize) {
        self.ended |= 1 << thread;
    }

    /// Forgets stores that no thread can read any more.
    fn normalise(&mut self) {
        for at in 0..LOCATIONS {
            let Some(newest) = self.list(at).len().checked_sub(1) else {
                return;
            };
            let newest = place(newest);
            if self.is_prompt {
                self.seen.iter_mut().for_each(|view| view[at] = newest);
            }
            let running = (0..self.seen.len()).filter(|&thread| !self.has_ended(thread));
            let oldest = running.map(|thread| self.seen[thread][at]).min().unwrap_or(newest);
            if oldest > 0 {
                let start = usize::from(self.starts[at]);
                self.messages.drain(start..start + usize::from(oldest));
                self.starts[at + 1..].iter_mut().for_each(|start| *start -= oldest);
                for view in self.all_views() {
                    view[at] = view[at].saturating_sub(oldest);
                }
            }
            self.list_mut(at)[0].is_update = false;
        }
    }

    fn last(&self, at: usize) -> u8 {
        self.list(at).last().map_or(0, |message| message.value)
    }
}
