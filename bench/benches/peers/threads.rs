//! Several threads that publish and release code.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use execbuf::ExecPool;

use crate::Result;
use crate::chart::Line;
use crate::churn::{Churn, MIXED};
use crate::instructions::count;
use crate::libraries::{Library, Malloc, Single};
use crate::paired::{Contender, Effort, Figures, Sample, compare, compare_with_first, measure, turns};
use crate::report::{Report, thousands};
use crate::shared::{FromC, Locked};
use crate::speed::repeat;

/// The numbers of threads that use one pool.
const THREADS: [usize; 3] = [1, 2, 4];

/// The number of live pieces of mixed sizes for each thread.
const LIVE: usize = 1000;

/// The number of turns of a new thread before it is measured.
const WARM_UP: u64 = 100;

/// The function that the threads publish. It has ten bytes, and takes little time.
const ANSWER: [u8; 10] = [
    0xb8, 42, 0, 0, 0, //       mov eax, 42
    0x0f, 0x1f, 0x40, 0x00, // nop
    0xc3, //                   ret
];

/// Threads pass code to each other in batches, so that little of the time is that of the queue.
const BATCH: usize = 256;
/// The most batches in a queue.
const QUEUE: usize = 16;

/// What a library does in each measurement.
struct Peer {
    name: &'static str,
    instructions: fn() -> Result<u64>,
    equal: fn(Effort, usize) -> Result<Sample>,
    mixed: fn(Effort, usize) -> Result<Sample>,
    apart: fn(Effort, usize) -> Result<Sample>,
    pass: fn(Effort, Route) -> Result<Sample>,
}

const fn peer<L: Library<Code: Send> + Clone + Send + Sync + 'static>() -> Peer {
    Peer {
        name: L::NAME,
        instructions: instructions::<L>,
        equal: equal::<L>,
        mixed: mixed::<L>,
        apart: apart::<L>,
        pass: pass::<L>,
    }
}

/// The first is the one that the others are compared with.
const PEERS: &[Peer] = &[
    peer::<ExecPool>(),
    peer::<FromC>(),
    peer::<Locked>(),
    #[cfg(has_asmjit)]
    peer::<crate::shared::AsmJit>(),
    peer::<Malloc>(),
    #[cfg(feature = "mimalloc")]
    peer::<crate::shared::Mimalloc>(),
];

/// Which threads a piece of code passes: those that publish it, perhaps one that runs it, and one that releases it.
#[derive(Clone, Copy)]
struct Route {
    compilers: usize,
    runs: bool,
}

/// Measures everything. Returns the tasks on one pool, with lines of the number of pieces per second by the number of
/// threads.
pub(crate) fn all(report: &mut Report, effort: Effort) -> Vec<(String, Vec<Line>)> {
    let equal = "Publish and release 10 bytes".to_string();
    let mixed = format!("Free one, publish another, {} to {} bytes", MIXED.start, thousands(MIXED.end - 1));
    for peer in PEERS {
        report.set("publish and release 10 bytes, instructions", peer.name, (peer.instructions)());
    }
    let of_equal = on_one_pool(report, effort, "publish and release 10 bytes", |peer| peer.equal);
    let row = format!("{}, {} live for each thread", mixed.to_lowercase(), thousands(LIVE));
    let of_mixed = on_one_pool(report, effort, &row, |peer| peer.mixed);
    let row = "publish and release 10 bytes, two threads, a pool for each";
    let single = Contender { row: row.to_string(), library: Single::NAME, sample: apart::<Single>(effort, 2) };
    let apart = PEERS.iter().map(|peer| contender(row, peer, (peer.apart)(effort, 2)));
    measure(report, effort, apart.chain([single]).collect());
    let mut route = |row: &str, route: Route| {
        let contenders = PEERS.iter().map(|peer| contender(row, peer, (peer.pass)(effort, route)));
        let figures = measure(report, effort, contenders.collect());
        compare_with_first(report, row, &figures);
    };
    route("one thread publishes, another releases", Route { compilers: 1, runs: false });
    route("two threads publish, one runs, one releases", Route { compilers: 2, runs: true });
    vec![(equal, of_equal), (mixed, of_mixed)]
}

/// Returns the average number of instructions to publish and release a piece of code.
fn instructions<L: Library>() -> Result<u64> {
    const TURNS: u64 = 1000;
    let mut library = L::new()?;
    let mut take = || {
        (0..TURNS).try_for_each(|_| {
            let code = library.publish(black_box(&ANSWER))?;
            library.release(code)
        })
    };
    take()?;
    let (result, count) = count(take)?;
    result.map(|()| count / TURNS)
}

fn contender(row: &str, peer: &Peer, sample: Result<Sample>) -> Contender {
    Contender { row: row.to_string(), library: peer.name, sample }
}

/// Measures threads on one pool. All numbers of threads take turns, because they are compared with each other.
fn on_one_pool(
    report: &mut Report,
    effort: Effort,
    row: &str,
    start: impl Fn(&Peer) -> fn(Effort, usize) -> Result<Sample>,
) -> Vec<Line> {
    let row = |index: usize| format!("{row}, {}, one pool", ["one thread", "two threads", "four threads"][index]);
    let mut contenders = Vec::new();
    for (index, &threads) in THREADS.iter().enumerate() {
        contenders.extend(PEERS.iter().map(|peer| contender(&row(index), peer, start(peer)(effort, threads))));
    }
    let figures = measure(report, effort, contenders);
    let by_threads: Vec<&[(&str, Option<Figures>)]> = figures.chunks(PEERS.len()).collect();
    for (index, figures) in by_threads.iter().enumerate() {
        compare_with_first(report, &row(index), figures);
    }
    let mut lines = Vec::new();
    for (column, peer) in PEERS.iter().enumerate() {
        let (_, Some(one)) = &by_threads[0][column] else { continue };
        let mut points = Vec::new();
        for (index, threads) in THREADS.into_iter().enumerate() {
            let (_, Some(figures)) = &by_threads[index][column] else { continue };
            points.push((threads, threads as f64 * 1e9 / figures.median()));
            if index > 0 {
                compare(report, &format!("{}, relative to one thread", row(index)), peer.name, figures, one);
            }
        }
        lines.push(Line { name: peer.name.to_string(), points });
    }
    lines
}

fn publish_and_release<L: Library>(library: &mut L) -> Result<()> {
    let code = library.publish(&ANSWER)?;
    black_box(L::entry(&code));
    library.release(code)
}

/// Threads that publish and release pieces of equal size, in one pool.
fn equal<L: Library + Clone + Send + 'static>(effort: Effort, threads: usize) -> Result<Sample> {
    let mut handles = vec![L::new()?; threads];
    turns(effort, move |turns| together(turns, &mut handles, publish_and_release))
}

/// The same, with a pool for each thread.
fn apart<L: Library + Send + 'static>(effort: Effort, threads: usize) -> Result<Sample> {
    let mut libraries = (0..threads).map(|_| L::new()).collect::<Result<Vec<L>>>()?;
    turns(effort, move |turns| together(turns, &mut libraries, publish_and_release))
}

/// Threads that release one of their pieces of mixed sizes and publish another, in one pool.
fn mixed<L: Library<Code: Send> + Clone + Send + 'static>(effort: Effort, threads: usize) -> Result<Sample> {
    Churn::<L>::check(&MIXED)?;
    let library = L::new()?;
    let mut churns: Vec<Churn<L>> = (0..threads).map(|_| Churn::of(library.clone(), LIVE, &MIXED)).collect();
    // Each thread publishes its own pieces.
    together(1, &mut churns, Churn::fill)?;
    turns(effort, move |turns| together(turns, &mut churns, Churn::turn))
}

/// Returns how long threads, one for each state, take for a number of turns each.
fn together<T: Send>(
    turns: u64,
    states: &mut [T],
    turn: impl Fn(&mut T) -> Result<()> + Sync,
) -> Result<Duration> {
    let barrier = Barrier::new(states.len());
    let work = |state: &mut T| {
        // What a thread does only once is not measured.
        let warm_up = repeat(WARM_UP, || turn(state));
        barrier.wait();
        warm_up?;
        repeat(turns, || turn(state))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = states.iter_mut().map(|state| scope.spawn(|| work(state))).collect();
        let mut times = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?);
        times.try_fold(Duration::ZERO, |longest, time| Ok(longest.max(time?)))
    })
}

/// Threads that pass code to each other.
fn pass<L: Library<Code: Send> + Clone + Send + Sync + 'static>(effort: Effort, route: Route) -> Result<Sample> {
    let library = L::new()?;
    turns(effort, move |turns| route.take(&library, turns))
}

impl Route {
    /// Returns how long a number of pieces take from the first publish to the last release.
    fn take<L: Library<Code: Send> + Clone + Send + Sync>(self, library: &L, pieces: u64) -> Result<Duration> {
        let barrier = Barrier::new(self.compilers + 1);
        let barrier = &barrier;
        let (published, to_run) = sync_channel(QUEUE);
        let (done, to_release) = sync_channel(QUEUE);
        let share = pieces.div_ceil(self.compilers as u64);
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for _ in 0..self.compilers {
                let next = if self.runs { published.clone() } else { done.clone() };
                threads.push(scope.spawn(move || {
                    barrier.wait();
                    compile(library.clone(), share, &next)
                }));
            }
            if self.runs {
                threads.push(scope.spawn(move || run::<L>(&to_run, &done)));
            } else {
                drop((to_run, done));
            }
            drop(published);
            barrier.wait();
            let start = Instant::now();
            let mut library = library.clone();
            // Takes the queue, so that the others stop if this fails.
            let released = to_release.into_iter().flatten().try_for_each(|code| library.release(code));
            let time = start.elapsed();
            for thread in threads {
                thread.join().map_err(|_| "a thread panicked")??;
            }
            released.map(|()| time)
        })
    }
}

/// Publishes pieces of code and sends them on.
fn compile<L: Library>(mut library: L, pieces: u64, next: &SyncSender<Vec<L::Code>>) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    for _ in 0..pieces {
        batch.push(library.publish(&ANSWER)?);
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            next.send(full).map_err(|_| "the next thread stopped")?;
        }
    }
    next.send(batch).map_err(|_| "the next thread stopped".into())
}

/// Runs pieces of code and sends them on.
fn run<L: Library>(published: &Receiver<Vec<L::Code>>, next: &SyncSender<Vec<L::Code>>) -> Result<()> {
    for batch in published {
        for code in &batch {
            black_box(L::run(code));
        }
        next.send(batch).map_err(|_| "the next thread stopped")?;
    }
    Ok(())
}
