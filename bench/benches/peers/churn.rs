//! Many live pieces of code, which are freed and replaced in random order.

use std::ops::Range;

use execbuf::ExecPool;
use jit_allocator2::JitAllocator;

use crate::Result;
use crate::instructions::count;
use crate::libraries::{Library, Malloc};
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
        let mut slots = Vec::new();
        slots.resize_with(live, || None);
        Ok(Self { library: L::new()?, slots, lengths: lengths.clone(), random: 0x9e37_79b9_7f4a_7c15 })
    }

    /// Publishes a piece of code for each slot.
    pub(crate) fn filled(mut self) -> Result<Self> {
        (0..self.slots.len()).try_for_each(|slot| self.replace(slot))?;
        Ok(self)
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

/// Returns the average number of instructions of a turn, including those of this program.
fn instructions<L: Library>(mut churn: Churn<L>) -> Result<u64> {
    const TURNS: u64 = 1000;
    let (result, count) = count(|| (0..TURNS).try_for_each(|_| churn.turn()))?;
    result.map(|()| count / TURNS)
}

/// The times of a turn, by the number of live pieces of code.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(usize, f64)>,
}

pub(crate) fn speed(report: &mut Report, counts: &[usize]) -> Vec<Line> {
    vec![
        line::<ExecPool>(report, counts, &MIXED),
        line::<Malloc>(report, counts, &MIXED),
        line::<Box<JitAllocator>>(report, counts, &MIXED),
        line::<ExecPool>(report, counts, &EQUAL),
        line::<Malloc>(report, counts, &EQUAL),
        line::<Box<JitAllocator>>(report, counts, &EQUAL),
    ]
}

fn line<L: Library>(report: &mut Report, counts: &[usize], lengths: &Lengths) -> Line {
    let bytes = if lengths.len() == 1 {
        format!("{} bytes", lengths.start)
    } else {
        format!("{} to {} bytes", lengths.start, thousands(lengths.end - 1))
    };
    let mut points = Vec::new();
    for &live in counts {
        let mut churn =
            Churn::<L>::check(lengths).and_then(|()| Churn::<L>::new(live, lengths)).and_then(Churn::filled);
        let row = format!("free one, publish another, {bytes}, {} live", thousands(live));
        let time = report.time(&row, L::NAME, |turns| {
            let churn = churn.as_mut().map_err(|error| error.to_string())?;
            repeat(turns, || churn.turn())
        });
        if let (Ok(churn), Some(time)) = (churn, time) {
            points.push((live, time));
            report.set(&format!("{row}, instructions"), L::NAME, instructions(churn));
        }
    }
    if let [(fewest, fast), .., (most, slow)] = points[..] {
        let row = format!("the same, {bytes}, {} live to {} live", thousands(most), thousands(fewest));
        report.set(&row, L::NAME, Ok(format!("{:.1} ×", slow / fast)));
    }
    Line { name: format!("{}, {bytes}", L::NAME), points }
}
