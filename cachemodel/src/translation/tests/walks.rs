//! Walks worked out by hand.

use crate::machine::Machine;
use crate::preset;
use crate::translation::{ControlEvent, ControlRegisters, TranslationUnit};
use crate::translator::{NestedWalk, PageWalk, TableWalk};

fn unit(caches: &[(&str, &str)]) -> TranslationUnit {
    let machine: Machine = preset::named("vee07").unwrap();
    let overrides = caches.iter().copied().chain([("tags", "architectural")]);
    TranslationUnit::new(&machine.with_overrides(overrides).unwrap(), 0)
}

fn reads(unit: &mut TranslationUnit, va: u64, walk: PageWalk) -> Vec<u64> {
    let mut reads = Vec::new();
    unit.walk(va, &walk, |address| reads.push(address.0));
    reads
}

/// Tables in frames 1 to 4, PML4 first, to a 4 KiB page.
fn small() -> PageWalk {
    PageWalk::Plain(TableWalk::new(&[1, 2, 3, 4], 12))
}

/// PML4, PDPT and page directory, to a 2 MiB page.
fn large() -> PageWalk {
    PageWalk::Plain(TableWalk::new(&[1, 2, 3], 21))
}

/// Bits 47–39, 38–30, 29–21 and 20–12 are 1, 2, 3 and 4.
const VA: u64 = 1 << 39 | 2 << 30 | 3 << 21 | 4 << 12;

#[test]
fn without_caches_a_walk_reads_one_entry_of_each_table() {
    let mut unit = unit(&[]);
    assert_eq!(reads(&mut unit, VA, small()), [0x1008, 0x2010, 0x3018, 0x4020]);
    assert_eq!(reads(&mut unit, VA, small()).len(), 4);
    assert_eq!(reads(&mut unit, VA, large()), [0x1008, 0x2010, 0x3018]);
    let huge = PageWalk::Plain(TableWalk::new(&[1, 2], 30));
    assert_eq!(reads(&mut unit, VA, huge), [0x1008, 0x2010]);
    let five = PageWalk::Plain(TableWalk::new(&[9, 1, 2, 3, 4], 12));
    assert_eq!(reads(&mut unit, VA, five), [0x9000, 0x1008, 0x2010, 0x3018, 0x4020]);
}

#[test]
fn a_known_entry_leaves_the_tables_below_it() {
    for (cache, left) in [("walk.pde-cache", 1), ("walk.pdpte-cache", 2), ("walk.pml4-cache", 3)] {
        let mut unit = unit(&[(cache, "4")]);
        assert_eq!(reads(&mut unit, VA, small()).len(), 4);
        assert_eq!(reads(&mut unit, VA, small()).len(), left, "{cache}");
    }
}

#[test]
fn each_cache_serves_the_addresses_that_share_its_upper_bits() {
    let caches = [("walk.pde-cache", "4"), ("walk.pdpte-cache", "4"), ("walk.pml4-cache", "4")];
    let mut unit = unit(&caches);
    reads(&mut unit, VA, small());
    assert_eq!(reads(&mut unit, VA + 0x1000, small()), [0x4028], "same page table");
    assert_eq!(reads(&mut unit, VA + (1 << 21), small()), [0x3020, 0x4020], "same directory");
    assert_eq!(reads(&mut unit, VA + (1 << 30), small()).len(), 3, "same PDPT");
    assert_eq!(reads(&mut unit, VA + (1 << 39), small()).len(), 4);
}

#[test]
fn the_entry_of_a_large_page_is_no_entry_that_points_to_a_table() {
    let mut unit = unit(&[("walk.pde-cache", "4"), ("walk.pdpte-cache", "4")]);
    assert_eq!(reads(&mut unit, VA, large()).len(), 3);
    assert_eq!(reads(&mut unit, VA, large()), [0x3018]);
    assert_eq!(reads(&mut unit, VA, small()).len(), 2, "the PDE cache knows nothing");
}

#[test]
fn the_entry_used_longest_ago_goes() {
    let mut unit = unit(&[("walk.pde-cache", "2")]);
    let at = |pde: u64| VA + (pde << 21);
    for (pde, expected) in [(0, 4), (1, 4), (0, 1), (2, 4), (0, 1), (1, 4)] {
        assert_eq!(reads(&mut unit, at(pde), small()).len(), expected, "{pde}");
    }
}

#[test]
fn events_drop_what_the_manual_says_they_drop() {
    let with_pcids = ControlRegisters { cr0: 0x8000_0001, cr3: 0x1001, cr4: 0x2_00a0 };
    let elsewhere = VA + (5 << 21);
    let left = |event: ControlEvent| {
        let mut unit = unit(&[("walk.pde-cache", "4")]);
        unit.set_registers(with_pcids);
        reads(&mut unit, VA, small());
        reads(&mut unit, elsewhere, small());
        unit.control(event);
        unit.set_registers(with_pcids);
        [VA, elsewhere].map(|va| reads(&mut unit, va, small()).len())
    };
    let keep = 1 << 63;
    assert_eq!(left(ControlEvent::WriteCr3(0x1001)), [4, 4]);
    assert_eq!(left(ControlEvent::WriteCr3(0x2002)), [1, 1], "those of PCID 2 go");
    assert_eq!(left(ControlEvent::WriteCr3(0x1001 | keep)), [1, 1]);
    assert_eq!(left(ControlEvent::Invlpg(0x1234_5000)), [4, 4], "all of the current PCID");
    assert_eq!(left(ControlEvent::PageFault(VA)), [4, 1], "what the address would use");
    assert_eq!(left(ControlEvent::InvpcidAddress { va: elsewhere, pcid: 1 }), [1, 4]);
    assert_eq!(left(ControlEvent::InvpcidAddress { va: elsewhere, pcid: 2 }), [1, 1]);
    assert_eq!(left(ControlEvent::InvpcidSingle { pcid: 1 }), [4, 4]);
    assert_eq!(left(ControlEvent::InvpcidAllButGlobal), [4, 4], "none is global");
    assert_eq!(left(ControlEvent::WriteCr4(0x2_0020)), [4, 4]);
}

/// Four guest tables, each and the page behind four nested ones: 24 reads (APM volume 2, 15.25.5).
fn nested() -> PageWalk {
    let guest = TableWalk::new(&[1, 2, 3, 4], 12);
    let guest_frames = [0x10, 0x20, 0x30, 0x40, 0x50, 0];
    let nested = guest_frames.map(|_| TableWalk::new(&[11, 12, 13, 14], 12));
    PageWalk::Nested(NestedWalk { guest, guest_frames, nested })
}

fn in_a_guest(caches: &[(&str, &str)]) -> TranslationUnit {
    let mut unit = unit(caches);
    let nested_root = Some(0xb000);
    unit.control(ControlEvent::GuestEntry { asid: 1, tlb_control: 0, guest_cr3: 0, nested_root });
    unit
}

#[test]
fn a_walk_in_two_dimensions_reads_24_entries() {
    let reads = reads(&mut in_a_guest(&[]), VA, nested());
    assert_eq!(reads.len(), 24);
    assert_eq!(reads[..5], [0xb000, 0xc000, 0xd000, 0xe080, 0x1008], "PML4 at frame 10h");
    assert_eq!(reads[20..], [0xb000, 0xc000, 0xd000, 0xe280], "the page at frame 50h");
}

#[test]
fn known_guest_physical_pages_leave_the_guests_own_reads() {
    let mut unit = in_a_guest(&[("walk.nested-cache", "8")]);
    assert_eq!(reads(&mut unit, VA, nested()).len(), 24);
    assert_eq!(reads(&mut unit, VA, nested()), [0x1008, 0x2010, 0x3018, 0x4020]);
}

#[test]
fn a_known_guest_entry_holds_the_next_tables_host_address() {
    let mut unit = in_a_guest(&[("walk.pde-cache", "4")]);
    assert_eq!(reads(&mut unit, VA, nested()).len(), 24);
    let second = reads(&mut unit, VA, nested());
    assert_eq!(second, [0x4020, 0xb000, 0xc000, 0xd000, 0xe280], "one entry, then the page");
}
