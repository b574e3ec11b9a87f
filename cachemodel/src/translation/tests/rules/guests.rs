//! Rows 16 to 23: SDM volume 3, 28.3.3.

use super::*;
use crate::machine::{WalkMemory, WalkSpec};
use crate::page::PhysAddr;
use crate::translator::{NestedWalk, PageWalk, TableWalk};

const EPT: u64 = 0x9000;
const OTHER_EPT: u64 = 0xa000;

fn invvpid(kind: u8, vpid: u16, page: u64) -> ControlEvent {
    ControlEvent::Invvpid { kind, vpid, va: page << 12 }
}

#[test]
fn row_16_entry_and_exit_without_vpids_drop_vpid_0_with_global_entries() {
    let mut lab = Lab::intel(0).with_a_guest(None);
    lab.exit();
    assert_eq!(lab.held(), [1, 2, 3, 4]);
    lab.enter(0, Some(EPT));
    assert_eq!(lab.held(), [3, 4], "entries of VPID 5 are not of VPID 0");
    lab.fill(6);
    lab.fill_global(7);
    lab.exit();
    assert_eq!(lab.held(), [3, 4]);
}

#[test]
fn row_17_entry_and_exit_with_a_vpid_drop_nothing_and_entries_are_used_again() {
    let mut lab = Lab::intel(0).with_a_guest(Some(EPT));
    lab.exit();
    assert!(!lab.look_up(0x1000, Mapping::new(1, PageSize::Size4K)).missed);
    lab.enter(5, Some(EPT));
    assert!(!lab.look_up(0x3000, Mapping::new(3, PageSize::Size4K)).missed);
    assert_eq!(lab.held(), [1, 2, 3, 4]);
    assert!(lab.look_up(0x1000, Mapping::new(1, PageSize::Size4K)).missed, "the host's");
}

#[test]
fn row_17_entries_of_another_nested_root_cannot_be_used_global_or_not() {
    let mut lab = Lab::intel(0).with_a_guest(Some(EPT));
    lab.enter(5, Some(OTHER_EPT));
    let global = Mapping::new(4, PageSize::Size4K).with_global(true);
    assert!(lab.look_up(0x3000, Mapping::new(3, PageSize::Size4K)).missed);
    assert!(lab.look_up(0x4000, global).missed);
}

#[test]
fn row_18_invvpid_0_drops_an_address_of_a_vpid_with_global_entries() {
    let mut lab = Lab::intel(0).with_a_guest(Some(EPT));
    lab.exit();
    for page in 1..=4 {
        lab.tell(invvpid(0, 5, page));
    }
    assert_eq!(lab.held(), [1, 2]);
}

#[test]
fn row_18_invvpid_1_drops_a_vpid_with_global_entries() {
    let mut lab = Lab::intel(0).with_a_guest(None);
    lab.enter(6, None);
    lab.fill(5);
    lab.exit();
    lab.tell(invvpid(1, 5, 0));
    assert_eq!(lab.held(), [1, 2, 5]);
}

#[test]
fn row_18_invvpid_2_drops_all_vpids_but_the_hosts() {
    let mut lab = Lab::intel(0).with_a_guest(None);
    lab.enter(6, Some(EPT));
    lab.fill_global(5);
    lab.exit();
    lab.tell(invvpid(2, 0, 0));
    assert_eq!(lab.held(), [1, 2]);
}

#[test]
fn row_18_invvpid_3_drops_a_vpid_but_for_global_entries() {
    let mut lab = Lab::intel(0).with_a_guest(None);
    lab.exit();
    lab.tell(invvpid(3, 5, 0));
    assert_eq!(lab.held(), [1, 2, 4]);
}

#[test]
fn row_18_invvpid_of_vpid_0_or_of_an_address_that_is_not_canonical_fails() {
    let mut lab = Lab::intel(0).with_a_guest(None);
    lab.look_up(1 << 47, Mapping::new(1, PageSize::Size4K));
    lab.exit();
    let before = lab.held();
    for kind in [0, 1, 3, 4] {
        lab.tell(invvpid(kind, 0, 1));
    }
    lab.tell(invvpid(0, 5, 1 << 35));
    assert_eq!(lab.held(), before);
}

#[test]
fn row_19_invept_1_drops_what_was_made_under_one_root_of_all_vpids() {
    let mut lab = Lab::intel(0).with_a_guest(Some(EPT));
    lab.enter(6, Some(EPT));
    lab.fill_global(5);
    lab.enter(6, Some(OTHER_EPT));
    lab.fill(6);
    lab.enter(7, None);
    lab.fill(7);
    lab.exit();
    lab.tell(ControlEvent::Invept { kind: 1, root: EPT | 0x1e });
    assert_eq!(lab.held(), [1, 2, 6, 7]);
}

#[test]
fn row_19_invept_2_drops_what_was_made_under_any_root_and_keeps_linear_mappings() {
    let mut lab = Lab::intel(0).with_a_guest(Some(EPT));
    lab.enter(6, Some(OTHER_EPT));
    lab.fill(5);
    lab.enter(7, None);
    lab.fill(7);
    lab.tell(ControlEvent::Invept { kind: 2, root: 0 });
    assert_eq!(lab.held(), [1, 2, 7]);
}

#[test]
fn row_20_an_ept_violation_drops_the_linear_address_that_led_to_it() {
    let mut lab = Lab::intel(0).with_a_guest(Some(EPT));
    lab.tell(ControlEvent::EptViolation { gpa: 0x3000, va: None });
    assert_eq!(lab.held(), [1, 2, 3, 4]);
    lab.tell(ControlEvent::EptViolation { gpa: 0x3000, va: Some(0x3000) });
    assert_eq!(lab.held(), [1, 2, 4]);
}

/// Reads that translating one page takes: 3 with an unknown guest-physical page, else 1.
fn nested_reads(lab: &mut Lab) -> usize {
    let nested = TableWalk::new(&[21, 22], 21);
    let guest = TableWalk::new(&[1], 12);
    let walk = NestedWalk { guest, guest_frames: [8; 6], nested: [nested; 6] };
    let mut reads = 0;
    lab.unit.walk(0x1000, &PageWalk::Nested(walk), |_: PhysAddr| reads += 1);
    reads
}

fn with_a_nested_cache(vendor: &str) -> Lab {
    let mut lab = Lab::new(vendor);
    let spec = WalkSpec { memory: WalkMemory::L1d, nested_cache: 4, ..WalkSpec::default() };
    lab.unit.walk_caches = crate::translation::walk_caches::WalkCaches::new(&spec);
    lab
}

#[test]
fn row_18_to_20_guest_physical_mappings_go_by_invept_and_ept_violations_only() {
    let mut lab = with_a_nested_cache("intel");
    lab.enter(5, Some(EPT));
    assert_eq!((nested_reads(&mut lab), nested_reads(&mut lab)), (3, 1));
    let keeps = [
        ControlEvent::WriteCr3(0x1000),
        ControlEvent::WriteCr4(PAE),
        ControlEvent::Invlpg(0x1000),
        ControlEvent::InvpcidAll,
        ControlEvent::Invvpid { kind: 1, vpid: 5, va: 0 },
        ControlEvent::Invvpid { kind: 2, vpid: 0, va: 0 },
        ControlEvent::Invept { kind: 1, root: OTHER_EPT },
        ControlEvent::EptViolation { gpa: 0x9000, va: None },
    ];
    for event in keeps {
        lab.tell(event);
        assert_eq!(nested_reads(&mut lab), 1, "{event:?}");
    }
    let drops = [
        ControlEvent::Invept { kind: 1, root: EPT },
        ControlEvent::Invept { kind: 2, root: 0 },
        ControlEvent::EptViolation { gpa: 0x8fff, va: None },
    ];
    for event in drops {
        lab.tell(event);
        assert_eq!((nested_reads(&mut lab), nested_reads(&mut lab)), (3, 1), "{event:?}");
    }
    lab.enter(6, Some(EPT));
    assert_eq!(nested_reads(&mut lab), 1, "the root tags them, not the VPID");
    lab.enter(6, Some(OTHER_EPT));
    assert_eq!(nested_reads(&mut lab), 3);
}

#[test]
fn row_a6_an_asid_tags_guest_physical_mappings_and_its_flushes_drop_them() {
    let mut lab = with_a_nested_cache("amd");
    lab.enter(5, Some(EPT));
    assert_eq!((nested_reads(&mut lab), nested_reads(&mut lab)), (3, 1));
    lab.enter(6, Some(EPT));
    assert_eq!(nested_reads(&mut lab), 3);
    for (tlb_control, reads) in [(0, 1), (3, 3), (7, 3), (1, 3)] {
        lab.enter_flushing(5, Some(EPT), tlb_control);
        assert_eq!(nested_reads(&mut lab), reads, "{tlb_control}");
    }
}

#[test]
fn row_21_in_a_guest_events_drop_the_guests_entries_only() {
    let events = [
        (ControlEvent::WriteCr3(0x1000), vec![1, 2, 4]),
        (ControlEvent::WriteCr4(PAE), vec![1, 2]),
        (ControlEvent::WriteCr0(PE), vec![1, 2]),
        (ControlEvent::Invlpg(0x1000), vec![1, 2, 3, 4]),
        (ControlEvent::Invlpg(0x4000), vec![1, 2, 3]),
        (ControlEvent::InvpcidAll, vec![1, 2]),
        (ControlEvent::InvpcidAllButGlobal, vec![1, 2, 4]),
        (ControlEvent::PageFault(0x2000), vec![1, 2, 3, 4]),
    ];
    for (event, held) in events {
        let mut lab = Lab::intel(0).with_a_guest(Some(EPT));
        lab.tell(event);
        assert_eq!(lab.held(), held, "{event:?}");
    }
}

#[test]
fn row_21_the_current_vpids_entries_go_whatever_nested_root_they_were_made_under() {
    let mut lab = Lab::intel(0).with_a_guest(Some(EPT));
    lab.enter(5, None);
    lab.tell(ControlEvent::InvpcidAll);
    assert_eq!(lab.held(), [1, 2]);
}

#[test]
fn a_guests_control_registers_are_its_own_and_come_back() {
    let mut lab = Lab::intel(0).with_a_guest(None);
    lab.tell(ControlEvent::WriteCr4(PAE));
    lab.exit();
    assert_eq!((lab.cr4(), lab.unit.registers().cr3), (PAE | PGE, 0));
    lab.enter(6, None);
    assert_eq!(lab.cr4(), PAE | PGE, "another guest begins in long mode");
    lab.enter(5, None);
    assert_eq!((lab.cr4(), lab.unit.registers().cr3), (PAE, 0x7000));
}

#[test]
fn row_22_vmxon_and_vmxoff_drop_nothing() {
    let mut lab = Lab::with_two_pcids();
    lab.tell(ControlEvent::VmxOperation);
    assert_eq!(lab.held(), [1, 2, 3, 4]);
}

#[test]
fn row_23_a_reset_drops_everything_guest_physical_mappings_too() {
    let mut lab = with_a_nested_cache("intel").with_a_guest(Some(EPT));
    assert_eq!(nested_reads(&mut lab), 3);
    lab.tell(ControlEvent::Reset);
    assert_eq!(lab.held(), []);
    lab.enter(5, Some(EPT));
    assert_eq!(nested_reads(&mut lab), 3);
}
