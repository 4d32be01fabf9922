//! Many live pieces of code, which are freed and replaced in random order.

use std::ops::Range;

use execbuf::ExecPool;
use jit_allocator2::JitAllocator;

use crate::Result;
use crate::chart::Line;
use crate::instructions::{count, counted};
use crate::libraries::{Library, Malloc};
use crate::paired::{Contender, Effort, Sample, compare_with_first, measure, turns};
use crate::report::{Report, thousands};
use crate::speed::repeat;

/// A range of lengths. Each length in it is equally likely.
pub(crate) type Lengths = Range<usize>;
pub(crate) const MIXED: Lengths = 8..1032;
const EQUAL: Lengths = 64..65;

/// The code that is published, up to a length.
const CODE: [u8; MIXED.end] = [0xc3; MIXED.end]; // ret, repeated

/// A library with its live pieces of code. The random operations are the same in each run.
pub(crate) struct Churn<L: Library> {
    pub(crate) library: L,
    slots: Vec<Option<(L::Code, usize)>>,
    lengths: Lengths,
    random: u64,
}

impl<L: Library> Churn<L> {
    /// Creates a library without live code. The memory of the handles is touched here, so that it does not count as
    /// memory of the library.
    pub(crate) fn new(live: usize, lengths: &Lengths) -> Result<Self> {
        Ok(Self::of(L::new()?, live, lengths))
    }

    /// Does the same with a given library.
    pub(crate) fn of(library: L, live: usize, lengths: &Lengths) -> Self {
        let mut slots = Vec::new();
        slots.resize_with(live, || None);
        Self { library, slots, lengths: lengths.clone(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Publishes a piece of code for each slot.
    pub(crate) fn filled(mut self) -> Result<Self> {
        self.fill()?;
        Ok(self)
    }

    /// Does the same in place.
    pub(crate) fn fill(&mut self) -> Result<()> {
        (0..self.slots.len()).try_for_each(|slot| self.replace(slot))
    }

    /// Frees one piece of code and publishes another.
    pub(crate) fn turn(&mut self) -> Result<()> {
        let slot = self.random_below(self.slots.len());
        self.replace(slot)
    }

    fn replace(&mut self, slot: usize) -> Result<()> {
        if let Some((code, _)) = self.slots[slot].take() {
            self.library.release(code)?;
        }
        let length = self.lengths.start + self.random_below(self.lengths.len());
        self.slots[slot] = Some((self.library.publish(&CODE[..length])?, length));
        Ok(())
    }

    /// Checks that live pieces of code with these lengths do not overlap. The figures of a library that lets them
    /// overlap would be meaningless.
    pub(crate) fn check(lengths: &Lengths) -> Result<()> {
        let mut churn = Self::new(100, lengths)?.filled()?;
        for _ in 0..1000 {
            churn.turn()?;
            let mut places: Vec<_> =
                churn.slots.iter().flatten().map(|(code, length)| (L::entry(code) as usize, length)).collect();
            places.sort_unstable();
            if places.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
                return Err("live code overlaps".into());
            }
        }
        Ok(())
    }

    /// Returns the sum of the lengths of all live pieces.
    pub(crate) fn requested(&self) -> usize {
        self.slots.iter().flatten().map(|(_, length)| length).sum()
    }

    /// Returns a random number below `end`, by Marsaglia's xorshift64.
    fn random_below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        // Scales the upper half, whose bits are of better quality, to `end`.
        ((self.random >> 32) as usize * end) >> 32
    }
}

/// Returns the average number of instructions of a turn, including those of this program. Turns that take many are
/// averaged over fewer: each instruction takes a signal.
fn instructions<L: Library>(churn: &mut Churn<L>) -> Result<u64> {
    const TURNS: u64 = 1000;
    const ENOUGH: u64 = 3_000_000;
    let mut turns = 0;
    let (result, count) = count(|| {
        while turns < TURNS && counted() < ENOUGH {
            churn.turn()?;
            turns += 1;
        }
        Ok(())
    })?;
    result.map(|()| count / turns)
}

/// Returns what to measure with a number of live pieces of code, and the average number of instructions of a turn.
type Start = fn(Effort, usize, &Lengths) -> Result<(Sample, Result<u64>)>;

/// The first is the one that the others are compared with.
const PEERS: &[(&str, Start)] = &[
    (ExecPool::NAME, start::<ExecPool>),
    (<Box<JitAllocator>>::NAME, start::<Box<JitAllocator>>),
    #[cfg(has_asmjit)]
    (crate::shared::AsmJit::NAME, start::<crate::shared::AsmJit>),
    (Malloc::NAME, start::<Malloc>),
    #[cfg(feature = "mimalloc")]
    (crate::shared::Mimalloc::NAME, start::<crate::shared::Mimalloc>),
];

fn start<L: Library + 'static>(effort: Effort, live: usize, lengths: &Lengths) -> Result<(Sample, Result<u64>)> {
    Churn::<L>::check(lengths)?;
    let mut churn = Churn::<L>::new(live, lengths)?.filled()?;
    // At first, a library uses new memory, not that of released code.
    (0..live).try_for_each(|_| churn.turn())?;
    let count = instructions(&mut churn);
    Ok((turns(effort, move |turns| repeat(turns, || churn.turn()))?, count))
}

/// Measures all libraries. Returns the times by the number of live pieces of code.
pub(crate) fn speed(report: &mut Report, effort: Effort, counts: &[usize]) -> Vec<Line> {
    [MIXED, EQUAL].iter().flat_map(|lengths| speed_of(report, effort, counts, lengths)).collect()
}

fn speed_of(report: &mut Report, effort: Effort, counts: &[usize], lengths: &Lengths) -> Vec<Line> {
    let bytes = if lengths.len() == 1 {
        format!("{} bytes", lengths.start)
    } else {
        format!("{} to {} bytes", lengths.start, thousands(lengths.end - 1))
    };
    let line = |&(name, _): &(&str, Start)| Line { name: format!("{name}, {bytes}"), points: Vec::new() };
    let mut lines: Vec<Line> = PEERS.iter().map(line).collect();
    for &live in counts {
        let row = format!("free one, publish another, {bytes}, {} live", thousands(live));
        let (mut contenders, mut counts) = (Vec::new(), Vec::new());
        for &(library, start) in PEERS {
            let (sample, count) = start(effort, live, lengths)
                .map_or_else(|error| (Err(error), None), |(sample, count)| (Ok(sample), Some(count)));
            contenders.push(Contender { row: row.clone(), library, sample });
            counts.push((library, count));
        }
        let figures = measure(report, effort, contenders);
        compare_with_first(report, &row, &figures);
        for (library, count) in counts {
            if let Some(count) = count {
                report.set(&format!("{row}, instructions"), library, count);
            }
        }
        for (line, (_, figures)) in lines.iter_mut().zip(&figures) {
            line.points.extend(figures.as_ref().map(|figures| (live, figures.median())));
        }
    }
    for (line, (library, _)) in lines.iter().zip(PEERS) {
        if let [(fewest, fast), .., (most, slow)] = line.points[..] {
            let row = format!("the same, {bytes}, {} live to {} live", thousands(most), thousands(fewest));
            report.set(&row, library, Ok(format!("{:.1} ×", slow / fast)));
        }
    }
    lines
}
