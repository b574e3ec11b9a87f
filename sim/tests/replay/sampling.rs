//! Samples against the exact counts of the same replay.

use super::ByPage;
use super::naive::machines;
use super::stream::{batches, initial, steps};
use proptest::prelude::*;
use strata_cachemodel::Machine;
use strata_sim::{Extent, Misses, Profile, Replay, Row, SampledEvent, Sampler, SamplingOptions};

/// Costs that are whole numbers, so that cycles are.
const COSTS: [(&str, &str); 4] =
    [("cost.base-cpi", "1"), ("cost.l2", "9"), ("cost.memory", "200"), ("cost.walk", "30")];

fn events() -> Vec<SampledEvent> {
    let misses = (0..Misses::default().len()).map(SampledEvent::Misses);
    [SampledEvent::Instructions, SampledEvent::Cycles].into_iter().chain(misses).collect()
}

fn sampled(
    machine: &Machine,
    steps: &[super::Step],
    extent: Extent,
    options: SamplingOptions,
) -> Option<Profile> {
    let mut replay = Replay::new(machine, ByPage, initial(), extent);
    replay.sample(Sampler::new(options, machine).expect("an interval that can be"));
    for mut batch in batches(steps, 20) {
        replay.batch(&mut batch);
    }
    // A range beyond the stream is refused with and without.
    replay.finish().ok().map(|(profile, _)| profile)
}

proptest! {
    #[test]
    fn a_sample_for_every_event_is_the_exact_profile(
        steps in steps(),
        from in 0..60u64,
        warm_up in 0..50u64,
    ) {
        for machine in machines() {
            let machine = machine.with_overrides(COSTS).expect("costs fit every machine");
            for event in events() {
                let extent = Extent { range: from..u64::MAX, warm_up };
                let options = SamplingOptions { event, every: 1, skid: 0, random: None };
                let Some(profile) = sampled(&machine, &steps, extent, options) else { continue };
                let sampling = profile.sampling.as_ref().expect("it was asked for");
                prop_assert_eq!(sampling.lost, 0);
                for Row { function, counters } in &profile.rows {
                    let exact = event.count(counters, &machine).expect("it has costs");
                    let found = sampling.samples.iter().find(|(sampled, _)| sampled == function);
                    let found = found.map_or(0, |&(_, samples)| samples);
                    prop_assert_eq!(found as f64, exact, "{:?} of {:?}", event, function);
                }
            }
        }
    }

    #[test]
    fn no_event_is_sampled_twice_or_left_out(
        steps in steps(),
        every in 1..200u64,
        skid in 0..100u64,
    ) {
        for machine in machines() {
            let machine = machine.with_overrides(COSTS).expect("costs fit every machine");
            for event in events() {
                let options = SamplingOptions { event, every, skid, random: None };
                let profile = sampled(&machine, &steps, Extent::default(), options);
                let Some(profile) = profile else { continue };
                let exact = event.count(&profile.total, &machine).expect("it has costs");
                let sampling = profile.sampling.expect("it was asked for");
                prop_assert_eq!(sampling.taken + sampling.lost, exact as u64 / every);
                prop_assert!(skid > 0 || sampling.lost == 0);
            }
        }
    }
}

#[test]
fn intervals_and_cycles_that_cannot_be_are_refused() {
    let machine = super::vee07();
    let options = |every, event| SamplingOptions { event, every, skid: 0, random: None };
    let refused =
        |options| Sampler::new(options, &machine).expect_err("no such samples").to_string();
    assert!(refused(options(0, SampledEvent::Instructions)).contains("give another --every"));
    assert!(refused(options(u64::MAX, SampledEvent::Instructions)).contains("1 to 1099511627776"));
    assert!(refused(options(9, SampledEvent::Cycles)).contains("--set cost.base-cpi=1"));
}
