//! A replay that follows calls against one that does not.

use crate::ByPage;
use crate::naive::machines;
use crate::stream::{batches, initial, steps};
use proptest::prelude::*;
use std::any::Any;
use strata_sim::{Counters, Extent, Replay, Scene, Tracer, Visit};
use strata_workloads::trace::Event;

/// Sums visits, which are to follow each other without a gap.
#[derive(Default)]
struct Sum {
    total: Counters,
    next: Option<u64>,
    events: u64,
}

impl Tracer for Sum {
    fn visit(&mut self, visit: &Visit, scene: &Scene<'_>) {
        assert!(scene.paths[visit.path].depth > 0);
        assert_eq!(self.next.unwrap_or(visit.at), visit.at, "between visits");
        self.next = Some(visit.at + visit.counters.instructions);
        self.total += &visit.counters;
    }

    fn event(&mut self, _: u64, _: &Event, _: &Scene<'_>) {
        self.events += 1;
    }
}

proptest! {
    /// That visits sum to what the machine counted is checked by each replay.
    #[test]
    fn following_calls_changes_no_count(steps in steps(), warm_up in 0..40u64) {
        for machine in machines() {
            let extent = || Extent { range: 0..u64::MAX, warm_up };
            let start = || Replay::new(&machine, ByPage, initial(), extent());
            let (mut plain, mut traced) = (start(), start());
            traced.trace(Box::<Sum>::default());
            for mut batch in batches(&steps, 50) {
                plain.batch(&mut batch);
            }
            for mut batch in batches(&steps, 50) {
                traced.batch(&mut batch);
            }
            let Ok((plain, _)) = plain.finish() else { continue };
            let (profile, _, tracer, record) = traced.finish_traced().expect("the same stream");
            let tracer: Box<dyn Any> = tracer;
            let sum = tracer.downcast::<Sum>().expect("as given");
            prop_assert_eq!(&profile.counts, &plain.counts);
            prop_assert_eq!(profile.total, plain.total);
            prop_assert_eq!(sum.total, profile.total);
            prop_assert!(!record.functions.is_empty());
        }
    }
}

#[test]
fn a_replay_without_a_tracer_has_no_calls_to_tell_of() {
    let machine = &machines()[0];
    let replay = Replay::new(machine, ByPage, initial(), Extent::default());
    let message = replay.finish_traced().err().expect("no tracer").to_string();
    assert!(message.contains("followed no calls"), "{message}");
}
