//! A replay that follows calls against one that does not.

use crate::ByPage;
use crate::naive::machines;
use crate::stream::{batches, initial, steps};
use proptest::prelude::*;
use std::any::Any;
use strata_sim::{CallFollower, Counters, Course, Extent, Nameless, Replay, Scene, Tracer, Visit};
use strata_workloads::trace::{Definitions, Event, Lacks};

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
    fn following_calls_changes_no_count(
        steps in steps(),
        size in 1..60usize,
        from in prop_oneof![Just(0), 0..60u64],
        to in prop_oneof![Just(u64::MAX), 60..400u64],
        warm_up in 0..40u64,
    ) {
        for machine in machines() {
            let extent = || Extent { range: from..to, warm_up };
            let mut plain = Replay::new(&machine, ByPage, initial(), extent());
            for mut batch in batches(&steps, size) {
                plain.batch(&mut batch);
            }
            let tracer = Box::<Sum>::default();
            let mut traced = Replay::traced(&machine, initial(), extent(), tracer);
            let mut follower = CallFollower::new(ByPage, Lacks::NOTHING, extent());
            follower.begin(initial());
            let (mut tables, mut course) = (Definitions::default(), Course::default());
            for mut batch in batches(&steps, size) {
                tables.append(&mut batch.new.clone());
                follower.follow(&batch, &tables, &mut course);
                traced.batch_along(&mut batch, &course);
            }
            let Ok((plain, _)) = plain.finish() else { continue };
            let traced = traced.finish_traced(follower).expect("the same stream");
            let (profile, _, tracer, record) = traced;
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
    let replay = Replay::new(machine, Nameless, initial(), Extent::default());
    let follower = CallFollower::new(ByPage, Lacks::NOTHING, Extent::default());
    let message = replay.finish_traced(follower).err().expect("no tracer").to_string();
    assert!(message.contains("followed no calls"), "{message}");
}
