//! Rows 1 to 15, 24 and 25: SDM volume 3, 4.10.4.1.

use super::*;

#[test]
fn row_01_mov_cr3_with_pge_off_drops_all_of_pcid_0() {
    let mut lab = Lab::intel(0);
    lab.tell(ControlEvent::WriteCr4(PAE));
    lab.fill(1);
    lab.fill_global(2);
    lab.cr3(0x5000);
    assert_eq!(lab.held(), []);
}

#[test]
fn row_01_mov_cr3_keeps_other_vpids() {
    let mut lab = Lab::intel(0);
    lab.tell(ControlEvent::WriteCr4(PAE));
    let mut lab = lab.with_a_guest(None);
    lab.exit();
    lab.cr3(0x5000);
    assert_eq!(lab.held(), [3, 4]);
}

#[test]
fn row_02_mov_cr3_with_pge_on_drops_non_global_entries_also_with_an_equal_value() {
    let mut lab = Lab::intel(0);
    for value in [0x5000, 0x5000, 0] {
        lab.fill(1);
        lab.fill_global(2);
        lab.cr3(value);
        assert_eq!(lab.held(), [2]);
    }
}

#[test]
fn row_03_mov_cr3_with_pcide_drops_the_new_pcids_non_global_entries() {
    let mut lab = Lab::with_two_pcids();
    lab.cr3(0x1001);
    assert_eq!(lab.held(), [2, 3, 4], "those of PCID 1, not those of PCID 2 that it leaves");
}

#[test]
fn row_04_mov_cr3_with_bit_63_drops_nothing_and_changes_the_pcid() {
    let mut lab = Lab::with_two_pcids();
    lab.cr3(KEEP | 0x1001);
    assert_eq!(lab.held(), [1, 2, 3, 4]);
    assert_eq!((lab.unit.registers().cr3, lab.unit.registers().pcid()), (0x1001, 1));
    assert!(!lab.look_up(0x1000, Mapping::new(1, PageSize::Size4K)).missed);
    assert!(lab.look_up(0x3000, Mapping::new(3, PageSize::Size4K)).missed);
}

#[test]
fn row_04_mov_cr3_with_bit_63_faults_without_pcide() {
    let mut lab = Lab::intel(0);
    lab.fill(1);
    lab.cr3(KEEP | 0x5000);
    assert_eq!((lab.held(), lab.unit.registers().cr3), (vec![1], 0));
    assert_eq!(lab.unit.flush_counts().cr3_writes, 0);
}

#[test]
fn row_05_a_change_of_pge_drops_all_pcids_and_global_entries_either_way() {
    let mut lab = Lab::with_two_pcids();
    let without = lab.cr4() & !PGE;
    lab.tell(ControlEvent::WriteCr4(without));
    assert_eq!(lab.held(), []);
    lab.fill(5);
    lab.tell(ControlEvent::WriteCr4(without | PGE));
    assert_eq!(lab.held(), []);
}

#[test]
fn row_05_a_change_of_pge_keeps_other_vpids() {
    let mut lab = Lab::intel(0).with_a_guest(None);
    lab.tell(ControlEvent::WriteCr4(PAE));
    assert_eq!(lab.held(), [1, 2]);
}

#[test]
fn row_06_clearing_pcide_drops_all_and_setting_it_nothing() {
    let mut lab = Lab::with_two_pcids();
    let without = lab.cr4() & !PCIDE;
    lab.tell(ControlEvent::WriteCr4(without));
    assert_eq!(lab.held(), []);
    lab.cr3(0x1000);
    lab.fill(1);
    lab.tell(ControlEvent::WriteCr4(without | PCIDE));
    assert_eq!(lab.held(), [1]);
}

#[test]
fn row_06_setting_pcide_faults_while_cr3_names_another_pcid_than_0() {
    let mut lab = Lab::intel(0);
    lab.cr3(0x1018);
    let before = lab.cr4();
    lab.tell(ControlEvent::WriteCr4(before | PCIDE));
    assert_eq!(lab.cr4(), before);
}

#[test]
fn row_07_setting_smep_drops_all_of_the_current_pcid_with_global_entries_made_under_it() {
    let mut lab = Lab::with_two_pcids();
    let with = lab.cr4() | SMEP;
    lab.tell(ControlEvent::WriteCr4(with));
    assert_eq!(lab.held(), [1, 2], "global entry 2 was made under PCID 1");
}

#[test]
fn row_07_a_change_of_pae_drops_all_of_the_current_pcid_with_global_entries() {
    let mut lab = Lab::intel(0);
    lab.fill(1);
    lab.fill_global(2);
    let without = lab.cr4() & !PAE;
    lab.tell(ControlEvent::WriteCr4(without));
    assert_eq!(lab.held(), []);
}

#[test]
fn row_08_the_end_of_paging_drops_everything_and_its_begin_nothing() {
    let mut lab = Lab::intel(0);
    lab.fill(1);
    lab.fill_global(2);
    lab.tell(ControlEvent::WriteCr0(PE));
    assert_eq!(lab.held(), []);
    lab.fill(1);
    lab.tell(ControlEvent::WriteCr0(PG | PE));
    assert_eq!(lab.held(), [1]);
}

#[test]
fn row_08_ending_paging_faults_with_pcide() {
    let mut lab = Lab::with_two_pcids();
    lab.tell(ControlEvent::WriteCr0(PE));
    assert_eq!(lab.held(), [1, 2, 3, 4]);
    assert_eq!(lab.unit.registers().cr0, PG | PE);
}

#[test]
fn row_09_invlpg_drops_the_page_in_the_current_pcid_and_global_in_any() {
    let mut lab = Lab::with_two_pcids();
    for page in 1..=4 {
        lab.tell(ControlEvent::Invlpg(page << 12 | 0xabc));
    }
    assert_eq!(lab.held(), [1], "entry 1 is of PCID 1 and not global");
}

#[test]
fn row_09_invlpg_drops_all_fragments_of_a_large_page() {
    let mut lab = Lab::intel(0);
    let machine = preset::named("vee07").unwrap();
    let small_only = machine.with_overrides([("dtlb.pages", "[\"4k\"]")]).unwrap();
    lab.unit = TranslationUnit::new(&small_only, 0);
    for page in [0x200, 0x201, 0x3ff, 0x400] {
        lab.look_up(page << 12, Mapping::new(page, PageSize::Size2M));
    }
    assert_eq!(lab.held(), [0x200, 0x201, 0x3ff, 0x400]);
    lab.tell(ControlEvent::Invlpg(2 * MIB + 0x1_2345));
    assert_eq!(lab.held(), [0x400], "the address itself had no fragment");
}

#[test]
fn row_09_invlpg_of_an_address_that_is_not_canonical_does_nothing() {
    let mut lab = Lab::intel(0);
    lab.look_up(1 << 47, Mapping::new(1, PageSize::Size4K));
    lab.tell(ControlEvent::Invlpg(1 << 47));
    assert_eq!(lab.held(), [1 << 35]);
    let la57 = lab.cr4() | 1 << 12;
    lab.tell(ControlEvent::WriteCr4(la57));
    lab.tell(ControlEvent::Invlpg(1 << 47));
    assert_eq!(lab.held(), []);
}

#[test]
fn row_10_invpcid_0_drops_the_page_of_one_pcid_unless_global() {
    let mut lab = Lab::with_two_pcids();
    for page in 1..=4 {
        lab.tell(ControlEvent::InvpcidAddress { va: page << 12, pcid: 1 });
    }
    assert_eq!(lab.held(), [2, 3, 4]);
}

#[test]
fn row_10_and_11_invpcid_of_a_pcid_faults_without_pcide_unless_it_is_0() {
    let mut lab = Lab::intel(0);
    lab.fill(1);
    lab.tell(ControlEvent::InvpcidAddress { va: 0x1000, pcid: 1 });
    lab.tell(ControlEvent::InvpcidSingle { pcid: 1 });
    assert_eq!((lab.held(), lab.unit.flush_counts().invpcid), (vec![1], 0));
    lab.tell(ControlEvent::InvpcidSingle { pcid: 0 });
    assert_eq!((lab.held(), lab.unit.flush_counts().invpcid), (vec![], 1));
}

#[test]
fn row_11_invpcid_1_drops_one_pcid_but_for_global_entries() {
    let mut lab = Lab::with_two_pcids();
    lab.tell(ControlEvent::InvpcidSingle { pcid: 1 });
    assert_eq!(lab.held(), [2, 3, 4]);
}

#[test]
fn row_12_invpcid_2_drops_all_pcids_with_global_entries() {
    let mut lab = Lab::with_two_pcids();
    lab.tell(ControlEvent::InvpcidAll);
    assert_eq!(lab.held(), []);
}

#[test]
fn row_13_invpcid_3_drops_all_pcids_but_for_global_entries() {
    let mut lab = Lab::with_two_pcids();
    lab.tell(ControlEvent::InvpcidAllButGlobal);
    assert_eq!(lab.held(), [2, 4]);
}

#[test]
fn row_14_a_task_switch_drops_non_global_entries_if_it_changes_cr3() {
    let mut lab = Lab::intel(0);
    lab.fill(1);
    lab.fill_global(2);
    lab.tell(ControlEvent::TaskSwitch { cr3: 0 });
    assert_eq!(lab.held(), [1, 2]);
    lab.tell(ControlEvent::TaskSwitch { cr3: 0x1000 });
    assert_eq!(lab.held(), [2]);
}

#[test]
fn row_15_a_page_fault_drops_the_page_global_or_not_and_of_other_pcids_if_global() {
    let mut lab = Lab::with_two_pcids();
    for page in 1..=4 {
        lab.tell(ControlEvent::PageFault(page << 12));
    }
    assert_eq!(lab.held(), [1]);
}

#[test]
fn row_24_pse_smep_cleared_and_other_bits_of_cr0_drop_nothing() {
    let mut lab = Lab::intel(SMEP);
    lab.fill(1);
    lab.fill_global(2);
    let cr4 = lab.cr4();
    lab.tell(ControlEvent::WriteCr4(cr4 | PSE));
    lab.tell(ControlEvent::WriteCr4(cr4 & !SMEP));
    lab.tell(ControlEvent::WriteCr0(PG | PE | 8));
    assert_eq!(lab.held(), [1, 2]);
    assert_eq!(lab.unit.flush_counts().paging_mode_changes, 0);
}

#[test]
fn row_25_the_p6_family_drops_everything_when_pe_pg_pse_or_pae_change() {
    let changes = [
        ControlEvent::WriteCr0(PG),
        ControlEvent::WriteCr0(PE),
        ControlEvent::WriteCr4(PAE | PGE | PSE),
        ControlEvent::WriteCr4(PGE),
    ];
    for event in changes {
        let mut lab = Lab::new("intel-p6");
        lab.fill(1);
        lab.fill_global(2);
        lab.tell(event);
        assert_eq!(lab.held(), [], "{event:?}");
        assert_eq!(lab.unit.flush_counts().paging_mode_changes, 1);
    }
    let mut begin = Lab::new("intel-p6");
    begin.tell(ControlEvent::WriteCr0(PE));
    begin.fill(1);
    begin.tell(ControlEvent::WriteCr0(PG | PE));
    assert_eq!(begin.held(), [], "the begin of paging too");
}
