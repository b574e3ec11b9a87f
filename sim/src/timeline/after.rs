//! Averages of what follows an event: misses by distance from it.

use super::marks::MarkKind;
use super::{Misses, STRUCTURES};
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::collections::VecDeque;

/// What follows the events of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// The events.
    pub kind: MarkKind,
    /// How many the averages are over.
    pub events: u64,
    /// Those too near the end for a whole average; left out.
    pub cut: u64,
    /// Those that another of the kind follows before the average's end: its misses count for both.
    pub overlapping: u64,
    /// By distance from the event, nearest first. Without events there are none.
    pub bins: Vec<AfterBin>,
}

/// Instructions at some distance from an event.
#[derive(Clone, Debug, PartialEq)]
pub struct AfterBin {
    /// Instructions between the event and the bin.
    pub from: u64,
    /// Instructions between the event and the bin's end.
    pub to: u64,
    /// Misses of each structure in the bin.
    pub misses: [Estimate; STRUCTURES],
    /// What a bin anywhere has on average: all misses over all instructions, times its length.
    pub anywhere: [f64; STRUCTURES],
}

/// A mean over events.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half of its 95 % confidence interval by Student's t; `None` of fewer than two events. It
    /// takes the events for independent of each other.
    pub half_width: Option<f64>,
}

/// Share of the probability that the interval covers, and both tails' upper end.
const UPPER: f64 = 0.975;

impl Estimate {
    /// Of `count` values with this sum and sum of squares.
    fn of(count: u64, sum: u64, squares: u64) -> Self {
        let mean = sum as f64 / count as f64;
        let half_width = (count > 1).then(|| {
            let n = u128::from(count);
            // Whole numbers, so that nothing cancels.
            let spread = n * u128::from(squares) - u128::from(sum) * u128::from(sum);
            let variance = spread as f64 / (n * (n - 1)) as f64;
            quantile(count - 1) * (variance / count as f64).sqrt()
        });
        Estimate { mean, half_width }
    }
}

/// Of Student's t with `freedom` degrees of freedom.
fn quantile(freedom: u64) -> f64 {
    // Its parameters are right: a scale of one, at least one degree of freedom.
    StudentsT::new(0.0, 1.0, freedom as f64).map_or(f64::NAN, |t| t.inverse_cdf(UPPER))
}

/// Averages under way. Positions count from the first window's begin.
#[derive(Debug)]
pub(super) struct Averages {
    after: u64,
    bin: u64,
    kinds: Vec<Average>,
}

#[derive(Debug, Default)]
struct Average {
    /// Events whose end has not come, oldest first, each with its bins.
    open: VecDeque<(u64, Vec<[u32; STRUCTURES]>)>,
    last: Option<u64>,
    events: u64,
    overlapping: u64,
    sums: Vec<Misses>,
    squares: Vec<Misses>,
    /// Bins of an event that has ended, to use again.
    spare: Vec<Vec<[u32; STRUCTURES]>>,
}

impl Averages {
    pub(super) fn new(kinds: usize, after: u64, bin: u64) -> Self {
        let bins = (after / bin) as usize;
        let average = || Average {
            sums: vec![Misses::default(); bins],
            squares: vec![Misses::default(); bins],
            ..Average::default()
        };
        Averages { after, bin, kinds: (0..kinds).map(|_| average()).collect() }
    }

    pub(super) fn event(&mut self, kind: usize, at: u64) {
        let average = &mut self.kinds[kind];
        average.close(at, self.after);
        average.overlapping += u64::from(average.last.is_some_and(|last| at - last < self.after));
        average.last = Some(at);
        let mut bins = average.spare.pop().unwrap_or_default();
        bins.clear();
        bins.resize(average.sums.len(), [0; STRUCTURES]);
        average.open.push_back((at, bins));
    }

    #[inline]
    pub(super) fn misses(&mut self, at: u64, misses: &[u32; STRUCTURES]) {
        for average in &mut self.kinds {
            average.close(at, self.after);
            for (event, bins) in &mut average.open {
                let bin = &mut bins[((at - *event) / self.bin) as usize];
                bin.iter_mut().zip(misses).for_each(|(sum, more)| *sum += more);
            }
        }
    }

    pub(super) fn finish(mut self, kinds: &[MarkKind], end: u64, total: &Misses) -> Vec<After> {
        let bin = self.bin;
        let anywhere = total.map(|misses| misses as f64 * bin as f64 / end.max(1) as f64);
        let after = self.after;
        let averages = self.kinds.iter_mut().zip(kinds).map(|(average, &kind)| {
            average.close(end, after);
            let count = average.events;
            let bins = (0..).zip(average.sums.iter().zip(&average.squares));
            let bins = bins.map(|(i, (sums, squares))| AfterBin {
                from: i * bin,
                to: (i + 1) * bin,
                misses: std::array::from_fn(|s| Estimate::of(count, sums[s], squares[s])),
                anywhere,
            });
            After {
                kind,
                events: count,
                cut: average.open.len() as u64,
                overlapping: average.overlapping,
                bins: if count > 0 { bins.collect() } else { Vec::new() },
            }
        });
        averages.collect()
    }
}

impl Average {
    /// Takes in the events that end at `at` or before.
    #[inline]
    fn close(&mut self, at: u64, after: u64) {
        while self.open.front().is_some_and(|(event, _)| at - event >= after) {
            let Some((_, bins)) = self.open.pop_front() else { return };
            self.events += 1;
            for ((sums, squares), bin) in self.sums.iter_mut().zip(&mut self.squares).zip(&bins) {
                for structure in 0..STRUCTURES {
                    let misses = u64::from(bin[structure]);
                    sums[structure] += misses;
                    squares[structure] += misses * misses;
                }
            }
            self.spare.push(bins);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_tables() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, standard deviation √(32/7); t for 7 is 2.3646.
        let estimate = Estimate::of(8, 40, 232);
        assert_eq!(estimate.mean, 5.0);
        let expected = 2.3646 * (32.0_f64 / 7.0 / 8.0).sqrt();
        assert!((estimate.half_width.unwrap() - expected).abs() < 1e-4);
        for (freedom, table) in [(1, 12.706), (10, 2.228), (120, 1.980)] {
            assert!((quantile(freedom) - table).abs() < 1e-3, "{}", quantile(freedom));
        }
    }

    #[test]
    fn one_event_has_no_interval_and_equal_ones_have_one_of_zero() {
        assert_eq!(Estimate::of(1, 3, 9), Estimate { mean: 3.0, half_width: None });
        assert_eq!(Estimate::of(4, 12, 36), Estimate { mean: 3.0, half_width: Some(0.0) });
    }
}
