//! Random numbers that tests can repeat.

/// A generator of random numbers that depend only on the seed (`SplitMix64`).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Returns a number in a range, which must not be empty.
    pub fn of(&mut self, range: std::ops::Range<usize>) -> usize {
        let count = (range.end - range.start) as u64;
        range.start + usize::try_from(self.next() % count).expect("it is less than a usize")
    }
}
