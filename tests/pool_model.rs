//! Compares pools with a simple model: after random operations, every live function returns its own number.
//!
//! `EXECBUF_MODEL_OPS` sets the number of operations, `EXECBUF_MODEL_SEED` the seed of the random numbers.

mod support;

use execbuf::{ErrorKind, ExecBuffer, ExecPool};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::numbered::can_copy;
use support::{Random, SHORTEST, call, function, has_proc, maps, rename, reserve, say};

#[test]
fn random_operations_follow_a_model() {
    if !has_proc() {
        return;
    }
    let _alone = support::alone();
    let pool = pool();
    let mut model = Model::new(&pool, seed("one thread"), 0, operations(&pool));
    model.run();
    model.check();
    model.end();
    assert_eq!((pool.stats().live(), pool.code_bytes()), (0, 0));
}

#[test]
fn random_operations_of_threads_in_one_pool_follow_their_models() {
    if !has_proc() {
        return;
    }
    let _alone = support::alone();
    let pool = pool();
    let operations = operations(&pool) / 4;
    threads(&pool, seed("four threads"), operations, None);
}

#[test]
fn random_operations_of_threads_that_fork_follow_their_models() {
    if !has_proc() {
        return;
    }
    if !cfg!(unix) || support::is_cross() {
        return support::skip("the model with threads that fork: this system does not fork, or emulates it");
    }
    let _alone = support::alone();
    let pool = pool();
    let operations = operations(&pool) / 4;
    threads(&pool, seed("four threads that fork"), operations, Some((operations / 50).max(20)));
}

/// Runs four threads, each with its own model, in one pool.
fn threads(pool: &ExecPool, seed: u64, operations: usize, fork_every: Option<usize>) {
    let live = Mutex::new((0, 0));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u32)
            .map(|thread| {
                let live = &live;
                scope.spawn(move || {
                    let mut model = Model::new(pool, seed.wrapping_add(thread.into()), thread << 28, operations);
                    model.alone = false;
                    model.fork_every = fork_every;
                    model.run();
                    let mut live = live.lock().unwrap();
                    *live = (live.0 + model.live.len(), live.1 + model.bytes());
                    model.live
                })
            })
            .collect();
        let lives: Vec<Vec<Live>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!((pool.stats().live(), pool.code_bytes()), *live.lock().unwrap());
        lives.iter().flatten().for_each(Live::check);
    });
    assert_eq!((pool.stats().live(), pool.code_bytes()), (0, 0));
}

#[test]
fn random_operations_with_forks_follow_a_model() {
    if !has_proc() {
        return;
    }
    if !cfg!(unix) {
        return support::skip("the model with forks: this system does not fork");
    }
    let _alone = support::alone();
    let pool = pool();
    let operations = operations(&pool);
    let mut model = Model::new(&pool, seed("one thread that forks"), 0, operations);
    model.fork_every = Some((operations / 200).max(20));
    model.run();
    model.check();
    model.end();
    let stats = pool.stats();
    assert_eq!((stats.live(), pool.code_bytes(), stats.frozen()), (0, 0, 0));
}

/// How many forks have begun, and how many have returned, in this process and its ancestors. Only one runs at a time.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);
#[cfg(unix)]
static FORK: Mutex<()> = Mutex::new(());

/// A published function.
struct Live {
    number: u32,
    length: usize,
    /// How many forks had ended before the function was published.
    before: usize,
    /// How many forks had begun after the function was published.
    after: usize,
    buffer: ExecBuffer,
}

impl Live {
    fn check(&self) {
        assert_eq!(call(&self.buffer), self.number);
        assert!(*self.buffer.as_ref() == function(self.number, self.length), "the bytes of {}", self.number);
    }
}

struct Model<'a> {
    pool: &'a ExecPool,
    random: Random,
    live: Vec<Live>,
    /// The number of the newest function. Numbers are never reused.
    number: u32,
    operations: usize,
    fork_every: Option<usize>,
    /// Whether no other thread uses the pool.
    alone: bool,
    regions: bool,
    freezes: bool,
}

impl<'a> Model<'a> {
    fn new(pool: &'a ExecPool, seed: u64, number: u32, operations: usize) -> Self {
        let regions = has_regions(pool);
        let freezes = regions && !can_copy();
        let random = Random(seed);
        Self { pool, random, live: vec![], number, operations, fork_every: None, alone: true, regions, freezes }
    }

    fn run(&mut self) {
        let check_every = (self.operations / 8).max(100);
        for operation in 1..=self.operations {
            self.step();
            if let Some(live) = self.any() {
                assert_eq!(call(&self.live[live].buffer), self.live[live].number);
            }
            if operation % 1000 == 0 {
                self.live.iter().for_each(|live| assert_eq!(call(&live.buffer), live.number));
            }
            if operation % check_every == 0 {
                self.check();
            }
            if self.fork_every.is_some_and(|every| operation % every == 0) {
                self.fork();
            }
        }
    }

    fn step(&mut self) {
        // At random times all functions are dropped, so that the pool returns all of its memory.
        let most = if self.regions { 3000 } else { 300 };
        match self.random.of(0..100) {
            0..3 => self.batch(),
            3..8 => self.build(),
            8..20 => self.rewrite(),
            20..22 => self.fail(),
            22..62 if self.live.len() < most => self.publish(),
            _ if self.random.of(0..3000) == 0 => self.live.clear(),
            _ => drop(self.any().map(|live| self.live.swap_remove(live))),
        }
    }

    fn any(&mut self) -> Option<usize> {
        (!self.live.is_empty()).then(|| self.random.of(0..self.live.len()))
    }

    fn length(&mut self) -> usize {
        let most = match self.random.of(0..2000) {
            0 => 3 << 20,
            1..10 => 100 << 10,
            10..100 => 10 << 10,
            100..1000 => 1032,
            _ => 128,
        };
        self.random.of(SHORTEST..most)
    }

    fn next(&mut self) -> u32 {
        self.number += 1;
        self.number
    }

    fn publish(&mut self) {
        let (number, length, before) = (self.next(), self.length(), ended());
        let buffer = self.pool.publish(&function(number, length)).unwrap();
        self.live.push(Live { number, length, before, after: begun(), buffer });
    }

    fn build(&mut self) {
        let (number, length, before) = (self.next(), self.length(), ended());
        let spare = self.random.of(0..200);
        let mut expected = 0;
        let buffer = if spare < 100 {
            let assembled = self.pool.assemble(|address| {
                expected = address;
                Ok::<_, Infallible>(function(number, length))
            });
            assembled.unwrap()
        } else {
            let reserved = reserve(Some(self.pool), length + spare, |address, code| {
                expected = address;
                code[..length].copy_from_slice(&function(number, length));
                length
            });
            reserved.unwrap()
        };
        assert_eq!((buffer.as_ptr().addr(), buffer.len()), (expected, length));
        self.live.push(Live { number, length, before, after: begun(), buffer });
    }

    fn batch(&mut self) {
        let count = self.random.of(0..8);
        let numbers: Vec<(u32, usize)> = (0..count).map(|_| (self.next(), self.length())).collect();
        let codes: Vec<Vec<u8>> = numbers.iter().map(|&(number, length)| function(number, length)).collect();
        let slices: Vec<&[u8]> = codes.iter().map(Vec::as_slice).collect();
        let before = ended();
        let buffers = self.pool.publish_batch(&slices).unwrap();
        let after = begun();
        assert_eq!(buffers.len(), count);
        for ((number, length), buffer) in numbers.into_iter().zip(buffers) {
            self.live.push(Live { number, length, before, after, buffer });
        }
    }

    fn rewrite(&mut self) {
        let Some(chosen) = self.any() else { return };
        let number = self.next();
        let live = &mut self.live[chosen];
        // Rewrite all of the code, or only its beginning.
        let length = [live.length, live.length.min(20)][self.random.of(0..2)];
        let mut code = live.buffer.as_ref()[..length].to_vec();
        rename(&mut code, number);
        // Where regions cannot be copied, code that existed before a fork is frozen. Code of 256 KiB and more has a
        // dedicated mapping, which is never frozen. A reservation of that size also has one, even if its code is up to
        // 200 bytes shorter.
        let (large, small) = (live.length >= 256 << 10, live.length + 200 < 256 << 10);
        let must_be_frozen = self.freezes && small && ended() > live.after;
        match live.buffer.rewrite(0, &code) {
            Ok(()) => {
                assert!(!must_be_frozen);
                live.number = number;
            }
            Err(error) => {
                let may_be_frozen = self.freezes && !large && begun() > live.before;
                assert!(error.kind() == ErrorKind::Frozen && may_be_frozen, "{error}");
            }
        }
    }

    /// Makes calls that fail, and checks their errors.
    fn fail(&mut self) {
        let length = self.length();
        assert_eq!(self.pool.publish(&[]).unwrap_err().kind(), ErrorKind::Empty);
        let error = self.pool.assemble(|_| Err::<[u8; 0], _>("no")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AssembleFailed);
        let error = reserve(Some(self.pool), length, |_, _| length + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Capacity);
        let code = function(1, length);
        assert_eq!(self.pool.publish_batch(&[&code, &code, &[]]).unwrap_err().kind(), ErrorKind::Empty);
        if let Some(chosen) = self.any() {
            let live = &mut self.live[chosen];
            let offset = self.random.of(1..SHORTEST) + live.length - SHORTEST;
            let error = live.buffer.rewrite(offset, &[0; SHORTEST]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfBounds);
        }
    }

    /// Forks. The child checks all functions, makes some operations of its own, and exits.
    fn fork(&mut self) {
        #[cfg(unix)]
        {
            let one = FORK.lock().unwrap();
            BEGUN.fetch_add(1, Ordering::SeqCst);
            let end = support::child::started(|| {
                ENDED.fetch_add(1, Ordering::SeqCst);
                self.live.iter().for_each(|live| assert_eq!(call(&live.buffer), live.number));
                (0..20).for_each(|_| self.step());
                self.live.iter().for_each(Live::check);
            });
            ENDED.fetch_add(1, Ordering::SeqCst);
            drop(one);
            (0..10).for_each(|_| self.step());
            assert_eq!(end.wait(), support::child::End::Exited(0));
            self.live.iter().for_each(|live| assert_eq!(call(&live.buffer), live.number));
        }
    }

    fn bytes(&self) -> usize {
        self.live.iter().map(|live| live.length).sum()
    }

    /// Checks every byte of all live functions, and the pool's lookup and statistics.
    fn check(&self) {
        self.live.iter().for_each(Live::check);
        let mut places: Vec<(usize, usize)> =
            self.live.iter().map(|live| (live.buffer.as_ptr().addr(), live.length)).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0));
        for &(entry, length) in &places {
            assert_eq!(entry % 16, 0);
            let place = self.pool.lookup((entry + length - 1) as *const u8).unwrap();
            assert_eq!((place.entry().addr(), place.len()), (entry, length));
        }
        let stats = self.pool.stats();
        if self.alone {
            assert_eq!((stats.live(), self.pool.code_bytes()), (self.live.len(), self.bytes()));
        }
        assert!(stats.resident() >= self.pool.code_bytes() || !self.alone, "{stats:?}");
        maps::look();
    }

    fn end(&mut self) {
        while let Some(live) = self.live.pop() {
            live.check();
        }
    }
}

fn begun() -> usize {
    BEGUN.load(Ordering::SeqCst)
}

fn ended() -> usize {
    ENDED.load(Ordering::SeqCst)
}

fn pool() -> ExecPool {
    ExecPool::new().expect("this system allows executable memory")
}

fn has_regions(pool: &ExecPool) -> bool {
    let _buffer = pool.publish(&function(0, SHORTEST)).expect("this system allows executable memory");
    pool.stats().regions() > 0
}

fn operations(pool: &ExecPool) -> usize {
    let usual = if has_regions(pool) && !support::is_cross() { 100_000 } else { 5000 };
    number("EXECBUF_MODEL_OPS").map_or(usual, |number| usize::try_from(number).expect("it is not too large"))
}

/// Returns the seed of the random numbers, and prints it.
fn seed(what: &str) -> u64 {
    let seed = number("EXECBUF_MODEL_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    say(&format!("\nthe model, {what}: EXECBUF_MODEL_SEED={seed}"));
    seed
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}
