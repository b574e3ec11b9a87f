//! What a reference, a device and a write-back do to the whole of caches and TLBs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use strata_cachemodel::{Hierarchy, Mapping, PageSize, PhysAddr, RefKind, preset};

fn hierarchy(overrides: &[(&str, &str)]) -> Hierarchy {
    let machine = preset::named("vee07").unwrap();
    Hierarchy::new(&machine.with_overrides(overrides.iter().copied()).unwrap())
}

fn page(frame: u64) -> Mapping {
    Mapping::new(frame, PageSize::Size4K)
}

#[test]
fn a_reference_across_lines_and_pages_is_one_access_and_one_miss() {
    let mut hierarchy = hierarchy(&[]);
    let outcome = hierarchy.access(RefKind::Read, 0x1ffc, 8, page(1), Some(page(9)));
    assert_eq!((outcome.l1_accesses(), outcome.l1_misses(), outcome.l2_misses()), (1, 1, 1));
    assert_eq!((outcome.tlb_accesses(), outcome.tlb_misses()), (1, 1));
    assert!(hierarchy.access(RefKind::Read, 0x2000, 4, page(9), None).is_all_hits());
}

#[test]
fn a_dirty_victim_is_written_back_into_l2_and_is_no_l2_reference() {
    let mut hierarchy = hierarchy(&[("l1d.size", "64"), ("l1d.ways", "1")]);
    hierarchy.access(RefKind::Write, 0x1000, 8, page(1), None);
    hierarchy.access(RefKind::Read, 0x2000, 8, page(2), None);
    let l2 = hierarchy.counts().l2;
    assert_eq!((l2.total().accesses, l2.writebacks, l2.writeback_misses), (2, 1, 0));
}

#[test]
fn a_device_reference_uses_the_tlb_and_no_cache() {
    let mut hierarchy = hierarchy(&[]);
    let outcome = hierarchy.access(RefKind::Write, 0x1000, 4, page(1).with_device(true), None);
    assert_eq!((outcome.is_device(), outcome.l1_accesses()), (true, 0));
    assert_eq!((outcome.tlb_accesses(), outcome.tlb_misses()), (1, 1));
    assert_eq!(hierarchy.counts().device.writes, 1);
    assert_eq!(hierarchy.check_laws(), Ok(()));
}

#[test]
fn a_fetch_from_a_device_can_evict_the_translation_of_the_line_fetched_last() {
    let mut hierarchy = hierarchy(&[("itlb.entries", "1")]);
    let fetch = |hierarchy: &mut Hierarchy, va, mapping| hierarchy.fetch(va, 4, mapping, None);
    fetch(&mut hierarchy, 0x1000, page(1));
    fetch(&mut hierarchy, 0x2000, page(2).with_device(true));
    assert_eq!(fetch(&mut hierarchy, 0x1000, page(1)).tlb_misses(), 1);
}

#[test]
fn lines_that_a_device_wrote_over_must_be_fetched_again() {
    let mut hierarchy = hierarchy(&[]);
    hierarchy.fetch(0x1000, 4, page(1), None);
    hierarchy.invalidate_physical(PhysAddr(0x1020), 1);
    let outcome = hierarchy.fetch(0x1000, 4, page(1), None);
    assert_eq!((outcome.l1_misses(), outcome.l2_misses(), outcome.tlb_misses()), (1, 1, 0));
    assert_eq!((hierarchy.counts().dma.l1i_lines, hierarchy.counts().dma.l2_lines), (1, 1));
}

#[test]
fn what_lies_beyond_the_translations_given_is_left_out_and_counted() {
    let mut hierarchy = hierarchy(&[]);
    let outcome = hierarchy.access(RefKind::Read, 0x1fff, 4096, page(1), None);
    assert_eq!((outcome.l1_accesses(), outcome.tlb_accesses()), (1, 1));
    hierarchy.access(RefKind::Read, 0x1fff, 4096, page(1), Some(page(2)));
    hierarchy.access(RefKind::Read, 0x1fff, 4098, page(1), Some(page(2)));
    assert_eq!(hierarchy.counts().references.clipped, 2);
}

#[test]
fn a_reference_of_no_bytes_touches_its_first() {
    let mut hierarchy = hierarchy(&[]);
    hierarchy.access(RefKind::Read, 0, 0, page(1), None);
    assert!(hierarchy.access(RefKind::Read, 0, 1, page(1), None).is_all_hits());
}
