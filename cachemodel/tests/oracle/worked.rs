//! The oracle on examples small enough to follow by hand.

use strata_cachemodel::{Identity, Machine, Mapping, PageSize, RefKind, Translator};

use crate::events::Event;
use crate::hierarchy::Oracle;

/// Caches of one set of two lines of 64 bytes, unless `changes` says otherwise.
fn oracle(levels: &[&str], changes: &[(&str, &str)]) -> Oracle {
    let mut text = "name = \"worked\"\nsemantics = \"split-writeback\"\n".to_owned();
    for level in levels {
        text += &format!("[{level}]\nsize = 128\nways = 2\nline-size = 64\n");
    }
    text += "[itlb]\nentries = 2\nways = 2\n[dtlb]\nentries = 2\nways = 2\n";
    let machine = Machine::from_toml(&text).unwrap();
    Oracle::new(&machine.with_overrides(changes.iter().copied()).unwrap())
}

fn read(oracle: &mut Oracle, line: u64) -> [u64; 3] {
    oracle.access(RefKind::Read, line * 64, 4, &mut Identity).misses
}

fn write(oracle: &mut Oracle, line: u64) -> [u64; 3] {
    oracle.access(RefKind::Write, line * 64, 4, &mut Identity).misses
}

fn fetch(oracle: &mut Oracle, line: u64) -> [u64; 3] {
    oracle.access(RefKind::Fetch, line * 64, 4, &mut Identity).misses
}

const TWO: [&str; 3] = ["l1i", "l1d", "l2"];
const HIT: [u64; 3] = [0, 0, 0];
const MISS_1: [u64; 3] = [1, 0, 0];
const MISS_2: [u64; 3] = [1, 1, 0];

#[test]
fn a_dirty_victim_is_written_back_before_its_successor_is_looked_up_below() {
    let mut oracle = oracle(&TWO, &[]);
    assert_eq!([write(&mut oracle, 1), read(&mut oracle, 2)], [MISS_2; 2]);
    // Line 1 goes from level 1; written back, it is used last in level 2, and 2 goes from there.
    assert_eq!(read(&mut oracle, 3), MISS_2);
    let l2 = oracle.counts().levels[1];
    assert_eq!((l2.writebacks, l2.writeback_misses, l2.written_on), (1, 0, 0));
    assert_eq!(read(&mut oracle, 1), MISS_1);
    // Level 2 holds 3 and, dirty, 1: a look-up of 4 puts 3 out.
    assert_eq!(read(&mut oracle, 4), MISS_2);
    assert_eq!(oracle.counts().levels[1].written_on, 0);
    assert_eq!(read(&mut oracle, 5), MISS_2);
    assert_eq!(oracle.counts().levels[1].written_on, 1);
}

#[test]
fn what_an_inclusive_level_drops_goes_above_too_and_takes_dirtiness_with_it() {
    let mut oracle =
        oracle(&TWO, &[("l2.inclusion", "inclusive"), ("l1d.size", "256"), ("l1d.ways", "4")]);
    write(&mut oracle, 1);
    read(&mut oracle, 2);
    read(&mut oracle, 3);
    let l2 = oracle.counts().levels[1];
    assert_eq!((l2.back_invalidations, l2.written_on, l2.writebacks), (1, 1, 0));
    assert_eq!([read(&mut oracle, 2), read(&mut oracle, 1)], [HIT, MISS_2]);
}

#[test]
fn an_exclusive_level_holds_what_the_one_above_dropped() {
    let mut oracle = oracle(&TWO, &[("l2.inclusion", "exclusive")]);
    for line in 1..=4 {
        assert_eq!(write(&mut oracle, line), MISS_2);
    }
    // 3 and 4 above, 1 and 2 below: all four are there.
    for line in 1..=4 {
        assert_ne!(read(&mut oracle, line), MISS_2, "{line}");
    }
    let [l1, l2, _] = oracle.counts().levels;
    assert_eq!((l1.written_on, l2.victims, l2.written_on), (6, 6, 0));
}

#[test]
fn a_write_through_cache_sends_each_write_on_and_keeps_nothing_dirty() {
    let mut oracle = oracle(&TWO, &[("l1d.write", "through")]);
    assert_eq!([write(&mut oracle, 1), write(&mut oracle, 1)], [MISS_2, HIT]);
    let l2 = oracle.counts().levels[1].writes;
    assert_eq!((l2.accesses, l2.misses), (2, 1));
    assert_eq!(oracle.memory.dirty_first_level_lines(), 0);
}

#[test]
fn a_write_that_is_not_allocated_leaves_the_line_below() {
    let mut oracle = oracle(&TWO, &[("l1d.write-allocate", "false")]);
    assert_eq!([write(&mut oracle, 1), write(&mut oracle, 1)], [MISS_2, MISS_1]);
    assert_eq!([read(&mut oracle, 1), write(&mut oracle, 1)], [MISS_1, HIT]);
}

#[test]
fn the_next_line_is_there_before_it_is_asked_for_and_useful_once() {
    let mut oracle = oracle(&TWO, &[("l1d.prefetch", "next-line")]);
    assert_eq!(read(&mut oracle, 1), MISS_2);
    assert_eq!([read(&mut oracle, 2), read(&mut oracle, 2)], [HIT, HIT]);
    let [l1, l2, _] = oracle.counts().levels;
    assert_eq!((l1.prefetches.accesses, l1.useful_prefetches, l2.prefetches.misses), (1, 1, 1));
    // The line behind the last of a page is in another page.
    read(&mut oracle, 63);
    assert_eq!(oracle.counts().levels[0].prefetches.accesses, 1);
}

#[test]
fn the_third_of_equal_strides_brings_the_fourth() {
    let changes = [("l1d.prefetch", "stride"), ("l1d.size", "1KiB"), ("l1d.ways", "full")];
    let mut oracle = oracle(&TWO, &changes);
    oracle.set_instruction(0x1234);
    let found = [0, 3, 6, 9, 12].map(|line| read(&mut oracle, line));
    assert_eq!(found, [MISS_2, MISS_2, MISS_2, HIT, HIT]);
}

#[test]
fn a_partition_keeps_a_domain_to_its_ways() {
    let mut oracle = oracle(&["l1"], &[("l1.partition.dom1", "1"), ("l1.partition.dom0", "0")]);
    oracle.memory.set_actor(0, "dom0-kernel", "dom0");
    read(&mut oracle, 1);
    oracle.memory.set_actor(1, "dom1-kernel", "dom1");
    assert_eq!([2, 3, 4].map(|line| read(&mut oracle, line)), [MISS_1; 3]);
    assert_eq!(read(&mut oracle, 1), HIT);
}

#[test]
fn the_same_page_under_two_addresses_is_two_lines_of_a_virtual_tag() {
    struct Synonyms;
    impl Translator for Synonyms {
        fn mapping(&mut self, _: u64) -> Mapping {
            Mapping::new(5, PageSize::Size4K)
        }
    }
    let misses = |tag: &str| {
        let mut oracle = oracle(&["l1"], &[("l1.tag", tag)]);
        oracle.access(RefKind::Read, 0x1000, 4, &mut Synonyms);
        oracle.access(RefKind::Read, 0x2000, 4, &mut Synonyms);
        oracle.memory.device_write(0x5000, 1);
        let level = oracle.counts().levels[0];
        (level.reads.misses, level.device_invalidations)
    };
    assert_eq!((misses("virtual"), misses("physical")), ((2, 2), (1, 1)));
}

#[test]
fn a_write_drops_the_copies_of_other_cpus_and_their_next_miss_is_its_doing() {
    let mut oracle = oracle(&TWO, &[("cpus", "2")]);
    write(&mut oracle, 1);
    oracle.set_cpu(1);
    assert_eq!(read(&mut oracle, 1), MISS_1);
    assert_eq!(oracle.counts().levels[0].interventions, 1);
    assert_eq!(write(&mut oracle, 1), HIT);
    oracle.set_cpu(0);
    assert_eq!(read(&mut oracle, 1), MISS_1);
    let [l1, l2, _] = oracle.counts().levels;
    assert_eq!((l1.invalidations, l1.coherence_misses, l1.interventions), (1, 1, 2));
    assert_eq!((l1.written_on, l2.writebacks), (2, 2));
}

#[test]
fn cachegrind_asks_level_2_for_all_lines_if_one_missed() {
    let mut oracle = oracle(&TWO, &[("semantics", "cachegrind")]);
    read(&mut oracle, 1);
    let outcome = oracle.access(RefKind::Read, 2 * 64 - 2, 4, &mut Identity);
    assert_eq!((outcome.accesses, outcome.misses), ([1, 1, 0], [1, 1, 0]));
    read(&mut oracle, 3);
    // Level 2 held 1 and 2, used in this order.
    assert_eq!(fetch(&mut oracle, 2), MISS_1);
    let folded = oracle.access(RefKind::ModifyWrite, 64, 4, &mut Identity);
    assert_eq!((folded.accesses, folded.tlb_accesses), ([0; 3], 0));
}

fn look_up(oracle: &mut Oracle, page: u64, mapping: Mapping) -> u64 {
    struct One(Mapping);
    impl Translator for One {
        fn mapping(&mut self, _: u64) -> Mapping {
            self.0
        }
    }
    oracle.access(RefKind::Read, page << 12, 1, &mut One(mapping)).tlb_misses
}

#[test]
fn a_cr3_write_spares_global_entries_and_a_change_of_pge_none() {
    let mut oracle = oracle(&["l1"], &[]);
    let own = Mapping::new(1, PageSize::Size4K);
    let global = Mapping::new(2, PageSize::Size4K).with_global(true);
    let both = |oracle: &mut Oracle| [look_up(oracle, 1, own), look_up(oracle, 2, global)];
    assert_eq!(both(&mut oracle), [1, 1]);
    oracle.control(Event::WriteCr3(0x1000));
    assert_eq!(both(&mut oracle), [1, 0]);
    oracle.control(Event::WriteCr4(1 << 5));
    assert_eq!(both(&mut oracle), [1, 1]);
    oracle.control(Event::WriteCr3(0x1000));
    assert_eq!(both(&mut oracle), [1, 1]);
}

#[test]
fn a_tag_for_each_domain_survives_switches_but_not_explicit_flushes() {
    let mut oracle = oracle(&["l1"], &[("tags", "vpid")]);
    let page = Mapping::new(1, PageSize::Size4K);
    oracle.control(Event::WriteCr3(0x1000));
    assert_eq!(look_up(&mut oracle, 1, page), 1);
    for (domain, cr3) in [(1, 0x2000), (0, 0x1000)] {
        oracle.control(Event::Domain(domain));
        oracle.control(Event::WriteCr3(cr3));
    }
    assert_eq!(look_up(&mut oracle, 1, page), 0);
    oracle.control(Event::WriteCr3(0x1000));
    assert_eq!(look_up(&mut oracle, 1, page), 1);
    // Another address space of the same domain.
    oracle.control(Event::WriteCr3(0x3000));
    assert_eq!(look_up(&mut oracle, 1, page), 1);
    let flushes = oracle.counts().flushes;
    assert_eq!((flushes.switches, flushes.explicit_flushes), (4, 1));
}

#[test]
fn a_pair_around_a_new_cr3_is_a_switch_and_one_around_nothing_a_flush() {
    let mut oracle = oracle(&["l1"], &[("tags", "pcid")]);
    let page = Mapping::new(1, PageSize::Size4K);
    let pair = |oracle: &mut Oracle, cr3: Option<u64>| {
        oracle.control(Event::WriteCr4(1 << 5));
        cr3.into_iter().for_each(|cr3| oracle.control(Event::WriteCr3(cr3)));
        oracle.control(Event::WriteCr4(1 << 5 | 1 << 7));
    };
    look_up(&mut oracle, 1, page);
    pair(&mut oracle, Some(0x1000));
    assert_eq!(look_up(&mut oracle, 1, page), 1);
    pair(&mut oracle, Some(0));
    assert_eq!(look_up(&mut oracle, 1, page), 0);
    pair(&mut oracle, None);
    assert_eq!(look_up(&mut oracle, 1, page), 1);
}

#[test]
fn a_changed_translation_without_a_flush_is_a_stale_hit() {
    let mut oracle = oracle(&["l1"], &[("stlb.entries", "8"), ("stlb.ways", "full")]);
    look_up(&mut oracle, 1, Mapping::new(1, PageSize::Size4K));
    look_up(&mut oracle, 2, Mapping::new(2, PageSize::Size4K));
    look_up(&mut oracle, 3, Mapping::new(3, PageSize::Size4K));
    // Gone from the first level, stale in the second, from where it is taken as it is.
    for _ in 0..2 {
        look_up(&mut oracle, 1, Mapping::new(9, PageSize::Size4K));
    }
    let counts = oracle.counts();
    assert_eq!((counts.dtlb.stale_hits, counts.stlb.stale_hits), (1, 1));
}

#[test]
fn a_large_page_is_kept_in_fragments_where_no_array_holds_it() {
    let mut oracle = oracle(&["l1"], &[("dtlb.pages", "[\"4k\"]")]);
    let of_large = |page: u64| Mapping::new(0x200 + page, PageSize::Size2M);
    assert_eq!([0, 1, 0].map(|page| look_up(&mut oracle, page, of_large(page))), [1, 1, 0]);
    // An address of the page drops all its fragments.
    oracle.control(Event::Invlpg(0x5000));
    assert_eq!(oracle.counts().dtlb.flushed, 2);
}

#[test]
fn a_guest_has_entries_of_its_own_until_its_asid_is_flushed() {
    let mut oracle = oracle(&["l1"], &[("vendor", "amd")]);
    let page = Mapping::new(1, PageSize::Size4K);
    let enter = |oracle: &mut Oracle, tlb_control| {
        let (asid, guest_cr3, nested_root) = (3, 0x4000, None);
        oracle.control(Event::GuestEntry { asid, tlb_control, guest_cr3, nested_root });
        let missed = look_up(oracle, 1, page);
        oracle.control(Event::GuestExit);
        missed
    };
    assert_eq!(look_up(&mut oracle, 1, page), 1);
    assert_eq!([enter(&mut oracle, 0), enter(&mut oracle, 0), enter(&mut oracle, 3)], [1, 0, 1]);
    assert_eq!(look_up(&mut oracle, 1, page), 0);
}
