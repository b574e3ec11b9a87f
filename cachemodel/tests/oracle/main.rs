//! The fast models against slow ones written straight from the definitions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod naive_cache;
mod naive_hierarchy;
mod naive_tlb;
#[path = "../ref64/mod.rs"]
mod ref64;
mod streams;

use std::collections::HashSet;

use naive_hierarchy::{NaiveHierarchy, NaiveOutcome};
use proptest::prelude::*;
use strata_cachemodel::{Hierarchy, Machine, Mapping, Outcome, PhysAddr, RefKind, preset};
use streams::{Step, World};

fn as_naive(outcome: Outcome) -> NaiveOutcome {
    NaiveOutcome {
        l1_accesses: outcome.l1_accesses(),
        l1_misses: outcome.l1_misses(),
        l2_misses: outcome.l2_misses(),
        tlb_accesses: outcome.tlb_accesses(),
        tlb_misses: outcome.tlb_misses(),
        stale_hits: outcome.stale_hits(),
        is_device: outcome.is_device(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_fast_hierarchy_does_what_the_definition_says(
        machine in streams::machines(),
        steps in prop::collection::vec(streams::steps(), 1..300),
    ) {
        let mut fast = Hierarchy::new(&machine);
        let mut slow = NaiveHierarchy::new(&machine);
        let mut world = World::default();
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Access { kind, va, bytes, knows_second } => {
                    let first = world.mapping(va);
                    let second = knows_second.then(|| world.mapping(va.wrapping_add(4096)));
                    let outcome = fast.access(kind, va, bytes, first, second);
                    let expected = slow.access(kind, va, bytes, first, second);
                    prop_assert_eq!(as_naive(outcome), expected, "step {}", at);
                }
                Step::Remap { va, mapping } => world.remap(va, mapping),
                Step::Control(event) => {
                    fast.control(event);
                    slow.control(event);
                }
                Step::Dma { start, length } => {
                    fast.invalidate_physical(PhysAddr(start), length);
                    slow.invalidate_physical(start, length);
                }
            }
        }
        prop_assert_eq!(fast.counts(), slow.counts);
        prop_assert_eq!(fast.dirty_l1d_lines(), slow.dirty_l1d_lines());
        prop_assert_eq!(fast.check_laws(), Ok(()));
        prop_assert_eq!(slow.counts.check_laws(machine.semantics()), Ok(()));
    }

    #[test]
    fn a_larger_fully_associative_tlb_never_misses_more_with_the_same_flushes(
        pages in prop::collection::vec((0u64..24, prop::bool::weighted(0.02)), 1..600),
        small in 1u64..12,
        more in 1u64..12,
    ) {
        let misses = |entries: u64| {
            let mut hierarchy = with_tlb_entries(entries);
            for &(page, flush) in &pages {
                if flush {
                    hierarchy.control(strata_cachemodel::ControlEvent::WriteCr3(0x1000));
                }
                read(&mut hierarchy, page);
            }
            hierarchy.counts().dtlb.all.misses
        };
        prop_assert!(misses(small + more) <= misses(small));
    }

    #[test]
    fn a_tlb_that_holds_all_pages_misses_each_once(
        pages in prop::collection::vec(0u64..64, 1..600),
    ) {
        let mut hierarchy = with_tlb_entries(64);
        pages.iter().for_each(|&page| read(&mut hierarchy, page));
        let distinct: HashSet<_> = pages.iter().collect();
        prop_assert_eq!(hierarchy.counts().dtlb.all.misses, distinct.len() as u64);
    }
}

fn with_tlb_entries(entries: u64) -> Hierarchy {
    let machine: Machine = preset::named("vee07").unwrap();
    Hierarchy::new(
        &machine.with_overrides([("dtlb.entries", entries.to_string().as_str())]).unwrap(),
    )
}

fn read(hierarchy: &mut Hierarchy, page: u64) {
    hierarchy.access(RefKind::Read, page << 12, 8, Mapping::identity(page << 12), None);
}

#[test]
fn on_a_real_stream_the_fast_hierarchy_does_what_the_definition_says() {
    let references = ref64::read(ref64::FIRST_MILLION);
    for semantics in ["per-reference", "split-writeback", "cachegrind", "first-byte"] {
        let machine = preset::named("vee07").unwrap();
        let overrides = [("semantics", semantics), ("dtlb.ways", "4"), ("l2.size", "96KiB")];
        let machine = machine.with_overrides(overrides).unwrap();
        let mut fast = Hierarchy::new(&machine);
        let mut slow = NaiveHierarchy::new(&machine);
        for reference in &references[..200_000] {
            let va = reference.address;
            let (first, second) = (Mapping::identity(va), Some(Mapping::identity(va + 4096)));
            fast.access(reference.kind, va, reference.bytes, first, second);
            slow.access(reference.kind, va, reference.bytes, first, second);
        }
        assert_eq!(fast.counts(), slow.counts, "{semantics}");
    }
}
