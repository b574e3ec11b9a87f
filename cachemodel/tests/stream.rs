//! Many references at once do what they do one by one, where page walks use the lines of operands.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use strata_cachemodel::{
    Hierarchy, Machine, Mapping, PageWalk, RefKind, Reference, Stream, TableWalk, Translator,
    preset,
};

/// Every page is its own frame; all tables lie in frame 0, whose lines are those of page 0 too.
struct Tables;

impl Translator for Tables {
    fn mapping(&mut self, va: u64) -> Mapping {
        Mapping::identity(va)
    }

    fn walk(&mut self, _: u64) -> Option<PageWalk> {
        Some(PageWalk::Plain(TableWalk::new(&[0; 4], 12)))
    }
}

/// Eight lines of data, each with one place, and TLBs of two entries.
fn small(memory: &str) -> Machine {
    let settings = [
        ("l1d.size", "512"),
        ("l1d.ways", "1"),
        ("itlb.entries", "2"),
        ("dtlb.entries", "2"),
        ("walk.memory", memory),
    ];
    preset::named("peer").unwrap().with_overrides(settings).unwrap()
}

fn reference() -> impl Strategy<Value = Reference> {
    let kind = prop_oneof![
        2 => Just(RefKind::Fetch),
        2 => Just(RefKind::Read),
        1 => Just(RefKind::Write),
    ];
    (kind, 0..6_u64, 0..3_u64, 0..60_u64, 1..=8_u32).prop_map(
        |(kind, page, line, offset, bytes)| Reference {
            kind,
            va: page << 12 | line << 6 | offset,
            bytes,
        },
    )
}

proptest! {
    #[test]
    fn a_walk_between_two_operands_of_a_line_may_evict_it(
        references in prop::collection::vec(reference(), 0..300),
        memory in prop_oneof![Just("off"), Just("l1d"), Just("l2")],
    ) {
        let machine = small(memory);
        let (mut one_by_one, mut at_once) = (Hierarchy::new(&machine), Hierarchy::new(&machine));
        for &Reference { kind, va, bytes } in &references {
            one_by_one.access(kind, va, bytes, &mut Tables);
        }
        let stream: Stream = references.into_iter().collect();
        at_once.run(&stream, &mut Tables);
        prop_assert_eq!(at_once.counts(), one_by_one.counts());
    }
}
