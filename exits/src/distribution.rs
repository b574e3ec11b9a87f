//! How long things took: mean, percentiles and extremes in bounded memory.

use hdrhistogram::Histogram;

/// Values that are kept as they are.
const EXACT: usize = 256;

/// Significant decimal digits of values beyond that, 1 % at most.
const DIGITS: u8 = 2;

/// Why a value can be recorded.
const GROWS: &str = "the histogram grows with its values";

/// Largest relative error of a percentile, once values are no longer kept one by one: values are
/// counted in buckets of which there are 128 or more from each power of two to the next.
pub const PERCENTILE_ERROR: f64 = 1.0 / 128.0;

/// A distribution of durations.
///
/// Count, total, mean and extremes are exact. Percentiles are exact up to 256 values and within
/// [`PERCENTILE_ERROR`] beyond, in at most some 60 KiB.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    count: u64,
    total: u128,
    minimum: u64,
    maximum: u64,
    few: Vec<u64>,
    many: Option<Box<Histogram<u64>>>,
}

impl Distribution {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.minimum = if self.count == 0 { value } else { self.minimum.min(value) };
        self.maximum = self.maximum.max(value);
        self.count += 1;
        self.total += u128::from(value);
        self.few.push(value);
        if self.few.len() > EXACT {
            self.settle();
        }
    }

    /// Counts the values that are kept, once there are too many to stay. Values that come after
    /// wait for it, since many are counted at once in half of the time.
    #[cold]
    pub(crate) fn settle(&mut self) {
        if self.few.len() <= EXACT && self.many.is_none() {
            return;
        }
        // Two digits are among the one to five that it takes.
        let new = || Box::new(Histogram::new(DIGITS).expect("two digits are allowed"));
        let many = self.many.get_or_insert_with(new);
        self.few.drain(..).for_each(|value| many.record(value).expect(GROWS));
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Distribution) {
        if other.count == 0 {
            return;
        }
        let minimum = if self.count == 0 { other.minimum } else { self.minimum.min(other.minimum) };
        let maximum = self.maximum.max(other.maximum);
        let (count, total) = (self.count + other.count, self.total + other.total);
        if let Some(theirs) = &other.many {
            match &mut self.many {
                Some(ours) => ours.add(&**theirs).expect(GROWS),
                None => self.many = Some(theirs.clone()),
            }
        }
        other.few.iter().for_each(|&value| self.add(value));
        self.settle();
        (self.minimum, self.maximum, self.count, self.total) = (minimum, maximum, count, total);
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn total(&self) -> u64 {
        u64::try_from(self.total).unwrap_or(u64::MAX)
    }

    /// Their mean; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.total as f64 / self.count as f64)
    }

    /// The smallest; `None` without values.
    pub fn minimum(&self) -> Option<u64> {
        (self.count > 0).then_some(self.minimum)
    }

    /// The largest; `None` without values.
    pub fn maximum(&self) -> Option<u64> {
        (self.count > 0).then_some(self.maximum)
    }

    /// The value that at least `share` (0 to 1) of all values do not exceed: the nearest rank.
    pub fn percentile(&self, share: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        if self.many.is_some() && !self.few.is_empty() {
            return self.settled().percentile(share);
        }
        if let Some(many) = &self.many {
            return Some(many.value_at_quantile(share).clamp(self.minimum, self.maximum));
        }
        let mut sorted = self.few.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        Some(sorted[rank.clamp(1, sorted.len()) - 1])
    }

    fn settled(&self) -> Distribution {
        let mut settled = self.clone();
        settled.settle();
        settled
    }

    /// True if percentiles are estimates.
    pub fn is_estimated(&self) -> bool {
        self.many.is_some()
    }

    /// Points of the cumulative distribution, ascending: a value and the share that does not
    /// exceed it. At most `points` of them.
    pub fn cumulative(&self, points: usize) -> Vec<(u64, f64)> {
        let mut out: Vec<(u64, f64)> = Vec::new();
        let settled = self.settled();
        for i in 0..=points {
            let share = i as f64 / points.max(1) as f64;
            let Some(value) = settled.percentile(share) else { return out };
            match out.last_mut() {
                Some(last) if last.0 == value => last.1 = share,
                _ => out.push((value, share)),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_values_are_exact() {
        let mut all = Distribution::default();
        (1..=100).rev().for_each(|value| all.add(value * 10));
        assert_eq!(
            [0.5, 0.95, 0.99, 1.0].map(|p| all.percentile(p)),
            [500, 950, 990, 1000].map(Some)
        );
        assert_eq!((all.mean(), all.minimum(), all.maximum()), (Some(505.0), Some(10), Some(1000)));
        assert!(!all.is_estimated());
        assert_eq!(Distribution::default().percentile(0.5), None);
    }

    proptest! {
        #[test]
        fn many_values_are_within_the_stated_error(values in prop::collection::vec(0..1u64 << 40, 300..900)) {
            let mut all = Distribution::default();
            values.iter().for_each(|&value| all.add(value));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for share in [0.01, 0.5, 0.95, 0.99, 1.0] {
                let rank = ((share * sorted.len() as f64).ceil() as usize).max(1);
                let exact = sorted[rank - 1] as f64;
                let found = all.percentile(share).unwrap() as f64;
                prop_assert!((found - exact).abs() <= exact * PERCENTILE_ERROR + 1.0, "{found} for {exact}");
            }
            prop_assert_eq!(all.total(), values.iter().sum::<u64>());
        }

        #[test]
        fn merging_is_as_adding(a in prop::collection::vec(0..100_000u64, 0..600), b in prop::collection::vec(0..100_000u64, 0..600)) {
            let of = |values: &[u64]| {
                let mut all = Distribution::default();
                values.iter().for_each(|&value| all.add(value));
                all
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let whole = of(&[a, b].concat());
            let figures = |all: &Distribution| {
                let percentiles = [0.0, 0.5, 0.95, 1.0].map(|share| all.percentile(share));
                (all.count(), all.total(), all.minimum(), all.maximum(), percentiles)
            };
            prop_assert_eq!(figures(&merged), figures(&whole));
        }
    }
}
