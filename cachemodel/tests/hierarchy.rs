//! What a reference, a device and a write-back do to the whole of caches and TLBs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use strata_cachemodel::{
    Hierarchy, Mapping, Outcome, PageSize, PhysAddr, RefKind, Translator, preset,
};

/// Frame 9 lies behind page 2 and a device behind page 8; else frames are pages.
struct Pages;

impl Translator for Pages {
    fn mapping(&mut self, va: u64) -> Mapping {
        let frame = if va >> 12 == 2 { 9 } else { va >> 12 };
        Mapping::new(frame, PageSize::Size4K).with_device(va >> 12 == 8)
    }
}

fn hierarchy(overrides: &[(&str, &str)]) -> Hierarchy {
    let machine = preset::named("vee07").unwrap();
    Hierarchy::new(&machine.with_overrides(overrides.iter().copied()).unwrap())
}

fn read(hierarchy: &mut Hierarchy, va: u64, bytes: u32) -> Outcome {
    hierarchy.access(RefKind::Read, va, bytes, &mut Pages)
}

fn write(hierarchy: &mut Hierarchy, va: u64, bytes: u32) -> Outcome {
    hierarchy.access(RefKind::Write, va, bytes, &mut Pages)
}

fn fetch(hierarchy: &mut Hierarchy, va: u64) -> Outcome {
    hierarchy.access(RefKind::Fetch, va, 4, &mut Pages)
}

#[test]
fn a_reference_across_lines_and_pages_is_one_access_and_one_miss() {
    let mut hierarchy = hierarchy(&[]);
    let outcome = read(&mut hierarchy, 0x1ffc, 8);
    assert_eq!((outcome.accesses, outcome.misses), ([1, 1, 0], [1, 1, 0]));
    assert_eq!((outcome.tlb_accesses, outcome.tlb_misses), (1, 1));
    assert!(read(&mut hierarchy, 0x2000, 4).is_all_hits());
    assert_eq!(hierarchy.check_laws(), Ok(()));
}

#[test]
fn a_dirty_victim_is_written_back_into_l2_and_is_no_l2_reference() {
    let mut hierarchy = hierarchy(&[("l1d.size", "64"), ("l1d.ways", "1")]);
    write(&mut hierarchy, 0x1000, 8);
    read(&mut hierarchy, 0x3000, 8);
    let l2 = hierarchy.counts().l2;
    assert_eq!((l2.total().accesses, l2.writebacks, l2.writeback_misses), (2, 1, 0));
}

#[test]
fn a_device_reference_uses_the_tlb_and_no_cache() {
    let mut hierarchy = hierarchy(&[]);
    let outcome = write(&mut hierarchy, 0x8000, 4);
    assert_eq!((outcome.device, outcome.accesses), (true, [0; 3]));
    assert_eq!((outcome.tlb_accesses, outcome.tlb_misses), (1, 1));
    assert_eq!(hierarchy.counts().device.writes, 1);
    assert_eq!(hierarchy.check_laws(), Ok(()));
}

#[test]
fn a_fetch_from_a_device_can_evict_the_translation_of_the_line_fetched_last() {
    let mut hierarchy = hierarchy(&[("itlb.entries", "1")]);
    fetch(&mut hierarchy, 0x1000);
    fetch(&mut hierarchy, 0x8000);
    assert_eq!(fetch(&mut hierarchy, 0x1000).tlb_misses, 1);
}

/// Pages 0 and 1 are both in one large page by the first's translation, but the second's own is another.
#[test]
fn the_last_line_of_a_fetch_can_evict_the_one_before_in_a_cache_of_one_line() {
    struct Pages;
    impl Translator for Pages {
        fn mapping(&mut self, va: u64) -> Mapping {
            let size = if va < 4096 { PageSize::Size2M } else { PageSize::Size4K };
            Mapping::new(if va < 4096 { 0 } else { 7 }, size)
        }
    }
    let mut hierarchy = hierarchy(&[("l1i.size", "64"), ("l1i.ways", "1")]);
    hierarchy.access(RefKind::Fetch, 4095, 2, &mut Pages);
    assert_eq!(hierarchy.access(RefKind::Fetch, 4095, 1, &mut Pages).misses[0], 1);
}

#[test]
fn lines_that_a_device_wrote_over_must_be_fetched_again() {
    let mut hierarchy = hierarchy(&[]);
    fetch(&mut hierarchy, 0x1000);
    hierarchy.invalidate_physical(PhysAddr(0x1020), 1);
    let outcome = fetch(&mut hierarchy, 0x1000);
    assert_eq!((outcome.misses, outcome.tlb_misses), ([1, 1, 0], 0));
    let counts = hierarchy.counts();
    assert_eq!((counts.l1.device_invalidations, counts.l2.device_invalidations), (1, 1));
}

#[test]
fn what_lies_beyond_the_page_behind_is_left_out_and_counted() {
    let mut hierarchy = hierarchy(&[]);
    read(&mut hierarchy, 0x3fff, 4097);
    assert_eq!(hierarchy.counts().references.clipped, 0);
    let outcome = read(&mut hierarchy, 0x3fff, 4098);
    assert_eq!((outcome.accesses[0], outcome.tlb_accesses), (1, 1));
    assert_eq!(hierarchy.counts().references.clipped, 1);
    assert_eq!(read(&mut hierarchy, 0x5000, 1).tlb_misses, 1);
}

#[test]
fn a_reference_of_no_bytes_touches_its_first() {
    let mut hierarchy = hierarchy(&[]);
    read(&mut hierarchy, 0, 0);
    assert!(read(&mut hierarchy, 0, 1).is_all_hits());
}

#[test]
fn emptied_caches_write_back_what_is_dirty_and_keep_translations() {
    let mut hierarchy = hierarchy(&[]);
    write(&mut hierarchy, 0x1000, 8);
    read(&mut hierarchy, 0x3000, 8);
    hierarchy.flush_caches();
    let counts = hierarchy.counts();
    assert_eq!((counts.cache_flushes, counts.l2.writebacks, counts.l2.written_on), (1, 1, 1));
    let again = read(&mut hierarchy, 0x1000, 8);
    assert_eq!((again.misses, again.tlb_misses), ([1, 1, 0], 0));
}
