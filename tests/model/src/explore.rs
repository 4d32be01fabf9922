//! The explorer: visits every state that the threads of a scenario can reach.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use crate::memory::Memory;
use crate::program::{Ghost, Here, Op, Order, Program, Regs};

pub type End = Box<dyn Fn(&dyn Fn(usize) -> u8, &Ghost) -> Result<(), &'static str>>;

/// Threads with a common memory.
pub struct Scenario {
    pub programs: Vec<Program>,
    /// The first values of all locations.
    pub values: Vec<u8>,
    pub ghost: Ghost,
    /// What must hold when all threads have ended: the last values of locations are given.
    pub end: End,
}

#[derive(Clone, Hash)]
struct Thread {
    line: usize,
    regs: Regs,
    /// The threads that a fence on every thread has still to reach, as bits. 0: it has not begun.
    unfenced: u8,
}

#[derive(Clone, Hash)]
struct State<M> {
    memory: M,
    threads: Vec<Thread>,
    ghost: Ghost,
}

/// What happened: the thread (`None`: all), the line (`None`: the memory itself did something), and the value that was read
/// or written.
struct Event {
    thread: Option<usize>,
    line: Option<usize>,
    value: Option<u8>,
}

type Next<M> = (Event, State<M>, Option<&'static str>);

pub struct Failure {
    pub what: &'static str,
    /// The shortest way to it, one event a line.
    pub trace: String,
}

pub struct Outcome {
    pub states: usize,
    pub failure: Option<Failure>,
}

impl<M: Memory> State<M> {
    /// Runs a thread up to its next operation on the memory.
    fn settle(&mut self, scenario: &Scenario, thread: usize) -> Option<&'static str> {
        let program = &scenario.programs[thread];
        let mut failure = None;
        while let Some(line) = program.lines.get(self.threads[thread].line) {
            let own = &mut self.threads[thread];
            own.line += 1;
            match &line.op {
                Op::Do(action) => {
                    let regs = &mut own.regs;
                    let memory = &mut self.memory;
                    let mut here = Here { memory, thread, regs, ghost: &mut self.ghost, failure };
                    action(&mut here);
                    failure = here.failure;
                }
                Op::JumpIf { when, label } => {
                    if when(&own.regs) {
                        own.line = program.labels[*label];
                    }
                }
                _ => {
                    own.line -= 1;
                    return failure;
                }
            }
        }
        self.memory.end(thread);
        self.threads[thread].regs = Regs::default();
        failure
    }

    fn has_ended(&self, scenario: &Scenario, thread: usize) -> bool {
        self.threads[thread].line >= scenario.programs[thread].lines.len()
    }

    /// The states after this one, of one thread.
    fn steps(&self, scenario: &Scenario, thread: usize, all: &mut Vec<Next<M>>) {
        let own = &self.threads[thread];
        let line = &scenario.programs[thread].lines[own.line];
        let location = |at: crate::program::At| at.location(&own.regs);
        let mut add = |memory: M, register: Option<usize>, value: Option<u8>, unfenced: u8| {
            let mut after = State { memory, threads: self.threads.clone(), ghost: self.ghost };
            let next = &mut after.threads[thread];
            next.unfenced = unfenced;
            if let (Some(register), Some(value)) = (register, value) {
                next.regs[register] = value;
            }
            let mut failure = None;
            if unfenced == 0 {
                next.line += 1;
                failure = after.settle(scenario, thread);
            }
            after.memory.normalise();
            all.push((Event { thread: Some(thread), line: Some(own.line), value }, after, failure));
        };
        match &line.op {
            Op::Load { to, at, order } => {
                for (value, memory) in self.memory.load(thread, location(*at), *order) {
                    add(memory, Some(*to), Some(value), 0);
                }
            }
            Op::Await { at, mask, order } => {
                for (value, memory) in self.memory.load(thread, location(*at), *order) {
                    if value & mask == 0 {
                        add(memory, None, Some(value), 0);
                    }
                }
            }
            Op::Store { at, value, order } => {
                let value = value(&own.regs);
                for memory in self.memory.store(thread, location(*at), value, *order) {
                    add(memory, None, Some(value), 0);
                }
            }
            Op::Update { to, at, change, order, waits } => {
                let change = |old| change(&own.regs, old);
                for (old, memory) in self.memory.update(thread, location(*at), *order, &change) {
                    if !waits || change(old).is_some() {
                        add(memory, Some(*to), Some(old), 0);
                    }
                }
            }
            Op::FenceAll => {
                let others = (1 << self.threads.len()) - 1 - (1 << thread);
                let unfenced = if own.unfenced == 0 { others } else { own.unfenced };
                for other in (0..self.threads.len()).filter(|other| unfenced >> other & 1 != 0) {
                    let fence = |memory: M, thread| memory.fence(thread);
                    let fenced = fence(self.memory.clone(), thread).and_then(|memory| fence(memory, other));
                    if let Some(memory) = fenced.and_then(|memory| fence(memory, thread)) {
                        add(memory, None, None, unfenced & !(1 << other));
                    }
                }
            }
            Op::Pause => add(self.memory.clone(), None, None, 0),
            Op::Do(_) | Op::JumpIf { .. } => unreachable!("settle runs these"),
        }
    }

    fn all_steps(&self, scenario: &Scenario) -> Vec<Next<M>> {
        let mut all = vec![];
        for thread in 0..self.threads.len() {
            if !self.has_ended(scenario, thread) {
                self.steps(scenario, thread, &mut all);
            }
        }
        for (thread, memory) in self.memory.drain() {
            let after = State { memory, threads: self.threads.clone(), ghost: self.ghost };
            all.push((Event { thread, line: None, value: None }, after, None));
        }
        all
    }

    fn fingerprint(&self) -> u128 {
        let mut hasher = Fingerprint(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
        self.hash(&mut hasher);
        u128::from(hasher.0) << 64 | u128::from(hasher.1)
    }
}

/// 128 bits that stand for a state. That two of ten million states have the same is as likely as 10^-24.
struct Fingerprint(u64, u64);

impl Fingerprint {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
        self.1 = (self.1 ^ word).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        self.1 ^= self.1 >> 31;
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How a state was reached first: from which one, and by which of its steps.
type Origin = (u32, u32);

fn describe<M: Memory>(scenario: &Scenario, event: &Event) -> String {
    let program = event.thread.map(|thread| &scenario.programs[thread]);
    let name = program.map_or("", |program| program.name);
    let Some((program, line)) = program.zip(event.line) else {
        return format!("{name:8} {}", M::DRAIN);
    };
    let line = &program.lines[line];
    let value = event.value.map_or(String::new(), |value| value.to_string());
    let what = match line.op {
        Op::Load { order: Order { acquires: true, .. }, .. } => format!("load-acquire {value}"),
        Op::Load { .. } | Op::Await { .. } => format!("load {value}"),
        Op::Store { order: Order { releases: true, .. }, .. } => format!("store-release {value}"),
        Op::Store { .. } => format!("store {value}"),
        Op::Update { .. } => format!("read-modify-write of {value}"),
        Op::FenceAll => "a fence reaches a thread".to_owned(),
        _ => String::new(),
    };
    format!("{name:8} {:46} {what}", line.text)
}

fn start<M: Memory>(scenario: &Scenario) -> State<M> {
    let count = scenario.programs.len();
    let threads = vec![Thread { line: 0, regs: Regs::default(), unfenced: 0 }; count];
    let mut state = State { memory: M::new(&scenario.values, count), threads, ghost: scenario.ghost };
    for thread in 0..count {
        assert!(state.settle(scenario, thread).is_none(), "no thread fails before its first operation");
    }
    state
}

fn trace<M: Memory>(scenario: &Scenario, origins: &[Origin], last: Option<usize>, to: u32) -> String {
    let mut choices: Vec<usize> = last.into_iter().collect();
    let mut number = to;
    while number != 0 {
        let (from, choice) = origins[number as usize];
        choices.push(choice as usize);
        number = from;
    }
    let mut state = start::<M>(scenario);
    let mut text = String::new();
    for choice in choices.into_iter().rev() {
        let (event, after, _) = state.all_steps(scenario).swap_remove(choice);
        let _ = writeln!(text, "    {}", describe::<M>(scenario, &event));
        state = after;
    }
    text
}

/// The first state from which no way leads to the end, if there is one.
fn find_stuck(states: usize, edges: &[(u32, u32)], ends: Vec<u32>) -> Option<u32> {
    let mut first_edge = vec![0_u32; states + 1];
    for &(_, to) in edges {
        first_edge[to as usize + 1] += 1;
    }
    for i in 0..states {
        first_edge[i + 1] += first_edge[i];
    }
    let mut sources = vec![0_u32; edges.len()];
    let mut filled = first_edge.clone();
    for &(from, to) in edges {
        sources[filled[to as usize] as usize] = from;
        filled[to as usize] += 1;
    }
    let mut can_end = vec![false; states];
    let mut work = ends;
    while let Some(state) = work.pop() {
        if !std::mem::replace(&mut can_end[state as usize], true) {
            let range = first_edge[state as usize] as usize..first_edge[state as usize + 1] as usize;
            work.extend(&sources[range]);
        }
    }
    can_end.iter().position(|can| !can).map(|state| u32::try_from(state).unwrap())
}

/// Visits all states, those that are reached in fewer steps first. Ends at the first failure: a check that does not
/// hold, a data race, or a state from which no way leads to the end of all threads.
#[must_use]
pub fn explore<M: Memory>(scenario: &Scenario) -> Outcome {
    let first = start::<M>(scenario);
    let mut numbers = HashMap::from([(first.fingerprint(), 0_u32)]);
    let mut origins: Vec<Origin> = vec![(0, 0)];
    let mut edges = vec![];
    let mut ends = vec![];
    let mut layer = vec![(0_u32, first)];
    let fail = |what, origins: &Vec<Origin>, last, number| {
        let trace = trace::<M>(scenario, origins, last, number);
        Outcome { states: origins.len(), failure: Some(Failure { what, trace }) }
    };
    while !layer.is_empty() {
        let mut next_layer = vec![];
        for (number, state) in layer {
            let steps = state.all_steps(scenario);
            if steps.is_empty() && (0..state.threads.len()).all(|thread| state.has_ended(scenario, thread)) {
                ends.push(number);
                if let Err(what) = (scenario.end)(&|at| state.memory.last(at), &state.ghost) {
                    return fail(what, &origins, None, number);
                }
            }
            for (choice, (_, after, failure)) in steps.into_iter().enumerate() {
                if let Some(what) = failure {
                    return fail(what, &origins, Some(choice), number);
                }
                let fresh = u32::try_from(origins.len()).expect("fewer than 2^32 states");
                let known = *numbers.entry(after.fingerprint()).or_insert(fresh);
                edges.push((number, known));
                if known == fresh {
                    origins.push((number, u32::try_from(choice).unwrap()));
                    next_layer.push((fresh, after));
                }
            }
        }
        layer = next_layer;
    }
    match find_stuck(origins.len(), &edges, ends) {
        Some(stuck) => fail("from here, not all threads can end", &origins, None, stuck),
        None => Outcome { states: origins.len(), failure: None },
    }
}
