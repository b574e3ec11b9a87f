//! Rows A1 to A8: APM volume 2, 5.5 and 15.16.

use super::*;
use crate::translation::Broadcast;

fn amd() -> Lab {
    Lab::new("amd").with_a_guest(None)
}

/// INVLPGB with these bits of RAX, for a page, of PCID 0.
fn invlpgb(flags: u64, page: u64, asid: u32) -> ControlEvent {
    ControlEvent::Invlpgb(Broadcast::from_registers(page << 12 | flags, 0, asid))
}

const ADDRESS: u64 = 1;
const PCID: u64 = 2;
const ASID: u64 = 4;
const GLOBAL: u64 = 8;

#[test]
fn row_a1_the_asid_is_0_in_the_host_and_vmrun_with_0_does_not_enter() {
    let mut lab = amd();
    lab.exit();
    assert!(!lab.look_up(0x1000, Mapping::new(1, PageSize::Size4K)).missed);
    lab.enter(0, None);
    assert!(!lab.look_up(0x1000, Mapping::new(1, PageSize::Size4K)).missed, "still the host");
    assert_eq!(lab.unit.flush_counts().guest_entries, 1);
}

#[test]
fn row_a2_vmrun_and_exit_drop_nothing_by_themselves() {
    let mut lab = amd();
    lab.exit();
    lab.enter(5, None);
    lab.exit();
    assert_eq!(lab.held(), [1, 2, 3, 4]);
}

#[test]
fn row_a2_tlb_control_names_everything_an_asid_or_its_non_global_entries() {
    let expected: [(u8, &[u64]); 5] =
        [(0, &[1, 2, 3, 4]), (1, &[]), (3, &[1, 2]), (7, &[1, 2, 4]), (2, &[1, 2, 3, 4])];
    for (tlb_control, held) in expected {
        let mut lab = amd();
        lab.exit();
        lab.enter_flushing(5, None, tlb_control);
        assert_eq!(lab.held(), held, "{tlb_control}");
    }
}

#[test]
fn row_a3_a_new_asid_finds_nothing_and_an_old_one_finds_what_it_left() {
    let mut lab = amd();
    lab.enter(6, None);
    assert!(lab.look_up(0x3000, Mapping::new(3, PageSize::Size4K)).missed);
    lab.enter(5, None);
    assert!(!lab.look_up(0x3000, Mapping::new(3, PageSize::Size4K)).missed);
}

#[test]
fn row_a4_mov_cr3_drops_the_current_asids_non_global_entries() {
    let mut lab = amd();
    lab.cr3(0x7000);
    assert_eq!(lab.held(), [1, 2, 4]);
    lab.exit();
    lab.cr3(0x5000);
    assert_eq!(lab.held(), [2, 4]);
}

#[test]
fn row_a4_changes_of_pg_pge_pae_and_pse_drop_all_of_the_current_asid_either_way() {
    for bit in [PGE, PAE, PSE] {
        let mut lab = amd();
        for _ in 0..2 {
            let other = lab.cr4() ^ bit;
            lab.tell(ControlEvent::WriteCr4(other));
            assert_eq!(lab.held(), [1, 2], "{bit:#x}");
            lab.fill(3);
        }
    }
    let mut lab = amd();
    for cr0 in [PE, PG | PE] {
        lab.tell(ControlEvent::WriteCr0(cr0));
        assert_eq!(lab.held(), [1, 2]);
        lab.fill(3);
    }
}

#[test]
fn row_a4_smep_drops_nothing() {
    let mut lab = amd();
    let with = lab.cr4() | SMEP;
    lab.tell(ControlEvent::WriteCr4(with));
    assert_eq!(lab.held(), [1, 2, 3, 4]);
}

#[test]
fn row_a4a_clearing_pcide_and_setting_pke_drop_all_of_the_current_asid() {
    let mut lab = amd();
    lab.cr3(0x7000);
    let cr4 = lab.cr4();
    lab.fill(3);
    lab.tell(ControlEvent::WriteCr4(cr4 | PCIDE));
    assert_eq!(lab.held(), [1, 2, 3, 4]);
    lab.tell(ControlEvent::WriteCr4(cr4));
    assert_eq!(lab.held(), [1, 2]);
    lab.fill(3);
    lab.tell(ControlEvent::WriteCr4(cr4 | PKE));
    assert_eq!(lab.held(), [1, 2]);
    lab.fill(3);
    lab.tell(ControlEvent::WriteCr4(cr4));
    assert_eq!(lab.held(), [1, 2, 3], "PKE from 1 to 0");
}

#[test]
fn row_a4b_invlpg_drops_a_page_of_the_current_asid_global_or_not() {
    let mut lab = amd();
    for page in 1..=4 {
        lab.tell(ControlEvent::Invlpg(page << 12));
    }
    assert_eq!(lab.held(), [1, 2]);
}

#[test]
fn row_a4c_a_page_fault_drops_the_page_of_the_current_asid() {
    let mut lab = amd();
    for page in 1..=4 {
        lab.tell(ControlEvent::PageFault(page << 12));
    }
    assert_eq!(lab.held(), [1, 2]);
}

#[test]
fn row_a4d_what_is_intercepted_drops_nothing_until_the_hypervisor_flushes() {
    let mut lab = amd();
    // The guest's MOV to CR3 exits; the hypervisor loads the value and asks for a flush.
    lab.exit();
    assert_eq!(lab.held(), [1, 2, 3, 4]);
    lab.enter_flushing(5, None, 7);
    assert_eq!(lab.held(), [1, 2, 4]);
}

#[test]
fn row_a5_invlpga_drops_a_page_of_one_asid_global_or_not() {
    let mut lab = amd();
    lab.exit();
    for page in 1..=4 {
        lab.tell(ControlEvent::Invlpga { va: page << 12, asid: 5 });
    }
    assert_eq!(lab.held(), [1, 2]);
}

#[test]
fn row_a7_invlpgb_drops_what_its_match_bits_name() {
    let expected: [(u64, &[u64]); 6] = [
        (0, &[2, 4]),
        (GLOBAL, &[]),
        (ASID, &[1, 2, 4]),
        (ASID | GLOBAL, &[1, 2]),
        (ASID | ADDRESS, &[1, 2, 4]),
        (ASID | PCID | GLOBAL | ADDRESS, &[1, 2, 4]),
    ];
    for (flags, held) in expected {
        let mut lab = amd();
        lab.exit();
        lab.tell(invlpgb(flags, 3, 5));
        assert_eq!(lab.held(), held, "{flags}");
    }
}

#[test]
fn row_a7_invlpgb_in_a_guest_is_for_that_guest() {
    let mut lab = amd();
    lab.tell(invlpgb(GLOBAL, 0, 0));
    assert_eq!(lab.held(), [1, 2]);
}

#[test]
fn row_a7_invlpgb_counts_pages_of_its_stride() {
    let mut lab = Lab::new("amd");
    for page in [0x200, 0x201, 0x202, 0x400, 0x600] {
        lab.fill(page);
    }
    let from = 0x200 << 12 | ADDRESS;
    lab.tell(ControlEvent::Invlpgb(Broadcast::from_registers(from, 1, 0)));
    assert_eq!(lab.held(), [0x202, 0x400, 0x600]);
    lab.tell(ControlEvent::Invlpgb(Broadcast::from_registers(from, 1 << 31 | 1, 0)));
    assert_eq!(lab.held(), [0x600]);
}

#[test]
fn row_a8_system_management_drops_everything() {
    let mut lab = amd();
    lab.tell(ControlEvent::SystemManagement);
    assert_eq!(lab.held(), []);
}
