//! What events and machines do to a replay.

use crate::naive::small;
use crate::stream::{DATA, PAGES, Step, batches, replay};
use crate::{run, vee07};
use strata_sim::{Extent, Nameless};

#[test]
fn a_range_begins_with_the_control_registers_of_its_place() {
    // CR4.PGE is cleared before the range and set within it: one change.
    let steps = [run(0), Step::Pge(false), run(0), Step::Pge(true), run(0)];
    let extent = Extent { range: 6..u64::MAX, warm_up: 0 };
    let profile = replay(&vee07(), Nameless, batches(&steps, 50), extent);
    assert_eq!((profile.total.instructions, profile.counts.flushes.pge_changes), (3, 1));
}

#[test]
fn device_pages_go_through_the_tlb_and_no_cache() {
    let device = DATA + (PAGES - 1) * 4096;
    let step = Step::Run { shape: 1, addresses: vec![device, 0], iterations: 0 };
    let profile = replay(&vee07(), Nameless, batches(&[step], 50), Extent::default());
    assert_eq!((profile.total.device, profile.total.l1d().accesses), (1, 0));
    assert_eq!(profile.total.dtlb.accesses, 1);
}

#[test]
fn a_write_that_follows_the_read_of_its_operand_is_no_access_under_cachegrind_semantics() {
    let machine = small(&[("semantics", "cachegrind")]);
    let writes = |shape: usize| {
        let profile = replay(&machine, Nameless, batches(&[run(shape)], 50), Extent::default());
        let level = profile.total.levels[0];
        (level.reads.accesses, level.writes.accesses, profile.counts.references.folded_writes)
    };
    assert_eq!([2, 5, 6, 7].map(writes), [(1, 1, 0), (1, 0, 1), (1, 0, 1), (1, 1, 0)]);
}

#[test]
fn a_walk_reads_one_entry_of_each_table_and_a_page_beside_it_finds_them_cached() {
    let machine = small(&[("walk.memory", "l1d")]);
    let at =
        |page: u64| Step::Run { shape: 1, addresses: vec![DATA + page * 4096, 0], iterations: 0 };
    let walks = |steps: &[Step]| {
        let total = replay(&machine, Nameless, batches(steps, 50), Extent::default()).total;
        (total.walks, total.walk_accesses(), total.walk_levels[0].misses)
    };
    // Two pages of code and one of data, whose entries share a line in each table.
    assert_eq!(walks(&[at(5)]), (3, 12, 4));
    assert_eq!(walks(&[at(5), at(6)]), (4, 16, 4));
    assert_eq!(walks(&[at(5), at(12)]), (4, 16, 5));
    // Without a translation there are no tables.
    let mut batch = batches(&[at(5)], 50);
    batch[0].events.clear();
    let profile = replay(&machine, Nameless, batch, Extent::default());
    assert_eq!((profile.counts.walks.unknown, profile.total.walk_accesses()), (3, 0));
}

#[test]
fn each_cpu_has_its_own_translations_and_a_write_of_one_takes_the_lines_of_the_other() {
    let machine = small(&[("cpus", "2")]);
    // Page 5 of the first address space and page 22 of the second are one frame.
    let write =
        |page: u64| Step::Run { shape: 7, addresses: vec![DATA + page * 4096; 2], iterations: 0 };
    let other = PAGES + 3 - 5;
    let steps = [write(5), Step::Cpu(true), write(other), Step::Cpu(false), write(5)];
    let profile = replay(&machine, Nameless, batches(&steps, 50), Extent::default());
    let l1 = profile.counts.l1;
    assert_eq!((l1.invalidations, l1.coherence_misses), (2, 1));
    assert_eq!((profile.counts.dtlb.all.accesses, profile.counts.dtlb.all.misses), (6, 2));
    assert_eq!(profile.total.stale, 0);
}

#[test]
fn after_a_cache_flush_every_line_is_fetched_again_and_no_translation() {
    let twice = |between: &[Step]| {
        let steps = [&[run(2)], between, &[run(2)]].concat();
        let profile = replay(&small(&[]), Nameless, batches(&steps, 50), Extent::default());
        (profile.total.l1i().misses, profile.total.l1d().misses, profile.total.dtlb.misses)
    };
    let (fetches, data, pages) = twice(&[]);
    assert_eq!(twice(&[Step::CacheFlush]), (2 * fetches, 2 * data, pages));
}

#[test]
fn partitions_of_layers_and_domains_that_were_not_replayed_are_told() {
    let unknown = |partitions: &[(&str, &str)], extent: Extent| {
        let steps = [run(0), run(2)];
        replay(&small(partitions), Nameless, batches(&steps, 50), extent).unknown_partitions
    };
    let some = [
        ("l1d.partition.hypervisor", "0"),
        ("l1d.partition.dom1", "1"),
        ("l1d.partition.dom1-user", "1-2"),
        ("l1d.partition.dom1-kernel", "3"),
        ("l2.partition.dom7", "0"),
        ("l2.partition.dom1", "0"),
    ];
    let found = unknown(&some, Extent::default());
    assert_eq!(found.keys, ["l1d.partition.dom1-kernel", "l2.partition.dom7"]);
    assert_eq!(found.known, ["hypervisor", "dom1", "dom1-user"]);
    // The hypervisor fills its ways before counting begins.
    assert_eq!(unknown(&some, Extent { range: 0..u64::MAX, warm_up: 3 }), found);
    let late = unknown(&some, Extent { range: 3..u64::MAX, warm_up: 0 });
    assert_eq!(late.keys[1..], ["l1d.partition.hypervisor", "l2.partition.dom7"]);
    assert!(unknown(&some[..3], Extent::default()).keys.is_empty());
}
