//! Many live pieces of code, some of which go while others come.

use std::ops::Range;

use execbuf::ExecPool;
use jit_allocator2::JitAllocator;

use crate::Result;
use crate::instructions::count;
use crate::libraries::{Library, Malloc};
use crate::report::{Report, thousands};
use crate::speed::repeat;

/// Lengths of code: any in the range, one as likely as the other.
pub(crate) type Lengths = Range<usize>;
pub(crate) const MIXED: Lengths = 8..1032;
const EQUAL: Lengths = 64..65;

/// Code of the largest size.
const CODE: [u8; MIXED.end] = [0xc3; MIXED.end]; // ret, over and over

/// A library with so many pieces of code, and what is to happen to them. It happens alike in each run.
pub(crate) struct Churn<L: Library> {
    pub(crate) library: L,
    slots: Vec<Option<(L::Code, usize)>>,
    lengths: Lengths,
    random: u64,
}

impl<L: Library> Churn<L> {
    /// Nothing is live yet, but the room for the handles is touched, so that it does not count as the library's.
    pub(crate) fn new(live: usize, lengths: &Lengths) -> Result<Self> {
        let mut slots = Vec::new();
        slots.resize_with(live, || None);
        Ok(Self { library: L::new()?, slots, lengths: lengths.clone(), random: 0x9e37_79b9_7f4a_7c15 })
    }

    /// Puts a piece of code into each slot.
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

    /// Sees whether the library keeps pieces of code of such lengths apart. The figures of one that does not would mean
    /// nothing, and it may crash.
    pub(crate) fn prove(lengths: &Lengths) -> Result<()> {
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

    /// The sum of the lengths.
    pub(crate) fn requested(&self) -> usize {
        self.slots.iter().flatten().map(|(_, length)| length).sum()
    }

    /// Marsaglia's xorshift64.
    fn random_below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        // The upper half, which is the better one, as a fraction of `end`.
        ((self.random >> 32) as usize * end) >> 32
    }
}

/// How many instructions a turn takes, on average, with those of this program.
fn instructions<L: Library>(mut churn: Churn<L>) -> Result<u64> {
    const TURNS: u64 = 1000;
    let (result, count) = count(|| (0..TURNS).try_for_each(|_| churn.turn()))?;
    result.map(|()| count / TURNS)
}

/// How long a turn takes, by the number of live pieces of code.
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
            Churn::<L>::prove(lengths).and_then(|()| Churn::<L>::new(live, lengths)).and_then(Churn::filled);
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
