//! The earliest of the times of a set.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::candidates::{Candidates, NO_CANDIDATE};

/// From this many ways on a heap is kept; below, a scan is faster.
const HEAP_WAYS: usize = 160;

/// Finds the way with the earliest time in a set, where all times of a set differ and only grow.
///
/// Large sets keep a heap of the times as they were when last looked at. A time that has grown
/// since is put right when it comes to the top, so that a use costs nothing here, and what a
/// search costs was earned by the uses before it.
#[derive(Debug, Clone)]
pub(super) struct Oldest {
    ways: usize,
    /// One for each set, with one item for each way; none for small sets.
    heaps: Vec<BinaryHeap<Reverse<(u64, u32)>>>,
}

impl Oldest {
    pub(super) fn new(sets: usize, ways: usize) -> Self {
        let heaps = if ways < HEAP_WAYS { 0 } else { sets };
        let start = || (0..ways as u32).map(|way| Reverse((0, way))).collect();
        Self { ways, heaps: (0..heaps).map(|_| start()).collect() }
    }

    /// Some times are earlier than they were.
    pub(super) fn times_have_fallen(&mut self) {
        let Self { ways, heaps } = self;
        for heap in heaps {
            *heap = (0..*ways as u32).map(|way| Reverse((0, way))).collect();
        }
    }

    /// The candidate of `set` whose time is the earliest. `times` is of all sets. Under a
    /// partition, which is of 64 ways at most, the times are scanned.
    pub(super) fn find(&mut self, set: usize, candidates: Candidates, times: &[u64]) -> usize {
        let times = &times[set * self.ways..][..self.ways];
        let (Candidates::All, Some(heap)) = (candidates, self.heaps.get_mut(set)) else {
            if let Candidates::All = candidates {
                return earliest_of(times);
            }
            let earliest = candidates.of(self.ways).min_by_key(|&way| times[way]);
            return earliest.expect(NO_CANDIDATE);
        };
        loop {
            let mut top = heap.peek_mut().expect("one item for each way");
            let Reverse((seen, way)) = *top;
            let time = times[way as usize];
            if seen == time {
                return way as usize;
            }
            *top = Reverse((time, way));
        }
    }
}

/// Without a branch for each way, which could hardly be foretold.
fn earliest_of(times: &[u64]) -> usize {
    let (mut way, mut earliest) = (0, u64::MAX);
    for (here, &time) in times.iter().enumerate() {
        way = if time < earliest { here } else { way };
        earliest = earliest.min(time);
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates() -> impl Strategy<Value = Candidates> {
        let some = any::<u64>().prop_filter_map("at least one way", |mask| {
            (mask != 0).then_some(Candidates::Only(mask))
        });
        prop_oneof![Just(Candidates::All), some]
    }

    proptest! {
        #[test]
        fn the_heap_finds_what_a_scan_finds(
            ways in HEAP_WAYS..200,
            uses in proptest::collection::vec(
                (0..200usize, proptest::option::of(candidates())),
                1..400,
            ),
        ) {
            let mut times: Vec<u64> = (1..=ways as u64).collect();
            let mut oldest = Oldest::new(1, ways);
            for (now, (way, replaces)) in (1000..).zip(uses) {
                if let Some(candidates) = replaces {
                    let ways = (0..ways).filter(|&way| candidates.contains(way));
                    let scanned = ways.min_by_key(|&way| times[way]).unwrap();
                    prop_assert_eq!(oldest.find(0, candidates, &times), scanned);
                    times[scanned] = now;
                } else {
                    times[way % ways] = now;
                }
            }
        }
    }
}
