//! What many numbers have in common.

/// Numbers summed up. Quantiles are by nearest rank: a number that occurs, never one in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The smallest; 0 of none.
    pub min: u64,
    /// Half of them are not larger; 0 of none.
    pub median: u64,
    /// 95 in a hundred are not larger; 0 of none.
    pub p95: u64,
    /// The largest; 0 of none.
    pub max: u64,
}

impl Summary {
    /// Of these numbers.
    pub fn of(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = numbers.into_iter().collect();
        sorted.sort_unstable();
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Summary::default();
        };
        Summary {
            count: sorted.len() as u64,
            sum: sorted.iter().sum(),
            min,
            median: sorted[rank(sorted.len(), 50)],
            p95: sorted[rank(sorted.len(), 95)],
            max,
        }
    }

    /// The mean; `None` of none.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }
}

/// Index of the number that `percent` of `count` are not larger than.
pub(super) fn rank(count: usize, percent: usize) -> usize {
    (count * percent).div_ceil(100).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numbers_that_occur() {
        let summary = Summary::of([9, 1, 5, 3]);
        assert_eq!((summary.min, summary.median, summary.p95, summary.max), (1, 3, 9, 9));
        assert_eq!((summary.count, summary.sum, summary.mean()), (4, 18, Some(4.5)));
        let hundred = Summary::of(1..=100);
        assert_eq!((hundred.median, hundred.p95), (50, 95));
        assert_eq!(Summary::of([]).mean(), None);
    }
}
