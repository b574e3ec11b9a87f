//! A timeline against the plain replay of the same stream.

use super::naive::machines;
use super::stream::{batches, initial, steps};
use proptest::prelude::*;
use strata_sim::{Extent, Nameless, Replay, TimelineOptions, TimelineWatch, misses_of};

proptest! {
    #[test]
    fn windows_of_any_length_sum_to_the_plain_replay(
        steps in steps(),
        window in 1..200u64,
        from in 0..60u64,
        length in 1..400u64,
        warm_up in 0..50u64,
    ) {
        for machine in machines() {
            let extent = Extent { range: from..from + length, warm_up };
            let replayed = |watch: Option<TimelineWatch>| {
                let mut replay = Replay::new(&machine, Nameless, initial(), extent.clone());
                if let Some(watch) = watch {
                    replay.watch_time(watch);
                }
                for mut batch in batches(&steps, 20) {
                    replay.batch(&mut batch);
                }
                replay.finish().map(|(profile, _)| profile)
            };
            // A range beyond the stream is refused with and without.
            let Ok(plain) = replayed(None) else { continue };
            let options = TimelineOptions { window, ..TimelineOptions::default() };
            let profile = replayed(Some(TimelineWatch::new(options).expect("lengths above zero"))).expect("as without");
            prop_assert_eq!(profile.counts, plain.counts);
            let timeline = profile.timeline.expect("it was asked for");
            prop_assert_eq!(timeline.total(), misses_of(&plain.total));
            prop_assert_eq!(timeline.instructions, plain.total.instructions);
            let mut end = timeline.begin;
            for part in &timeline.windows {
                prop_assert_eq!(part.from, end);
                let mut sum = strata_sim::Misses::default();
                for layer in &part.by_layer {
                    (0..sum.len()).for_each(|i| sum[i] += layer[i]);
                }
                prop_assert_eq!(sum, part.misses);
                end = part.to;
            }
            prop_assert_eq!(end, timeline.begin + timeline.instructions);
        }
    }
}
