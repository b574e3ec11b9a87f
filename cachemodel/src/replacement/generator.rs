//! The numbers of random replacement.

/// Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", ACM TOMS 42
/// (2016), with the shifts 12, 25, 27. Its state is never 0.
#[derive(Debug, Clone)]
pub(super) struct XorShift64Star(u64);

impl XorShift64Star {
    /// 0 stands for 1.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(2_685_821_657_736_338_717)
    }

    /// A number below `limit`, which is at most 2³².
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (((self.next() >> 32) * limit as u64) >> 32) as usize
    }
}
