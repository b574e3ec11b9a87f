//! Tag schemes: what stays at a switch, and what an explicit flush drops.

use crate::machine::Machine;
use crate::page::{Mapping, PageSize};
use crate::preset;
use crate::translation::{ControlEvent, ControlRegisters, PageLookup, Side, TranslationUnit};

const PAE: u64 = 1 << 5;
const PGE: u64 = 1 << 7;

struct Lab {
    unit: TranslationUnit,
    now: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    /// Marked global.
    Marked,
    /// Of the hypervisor, not marked.
    Hypervisor,
}
use Kind::{Hypervisor, Marked, Plain};

impl Lab {
    /// Domain 1 runs in address space 1000h.
    fn new(tags: &str) -> Self {
        let machine: Machine = preset::named("vee07").unwrap();
        let mut unit = TranslationUnit::new(&machine.with_overrides([("tags", tags)]).unwrap(), 0);
        unit.control(ControlEvent::Domain(1));
        unit.set_registers(ControlRegisters { cr0: 0x8000_0001, cr3: 0x1000, cr4: PAE | PGE });
        Self { unit, now: 0 }
    }

    fn look_up(&mut self, page: u64, kind: Kind) -> PageLookup {
        self.now += 1;
        let mapping = Mapping::new(page, PageSize::Size4K)
            .with_global(matches!(kind, Marked))
            .with_hypervisor(matches!(kind, Hypervisor));
        self.unit.look_up(Side::Data, page << 12, mapping, self.now)
    }

    /// Pages 1, marked 2 and the hypervisor's 3.
    fn fill(&mut self) {
        self.hits();
    }

    fn hits(&mut self) -> [bool; 3] {
        [(1, Plain), (2, Marked), (3, Hypervisor)]
            .map(|(page, kind)| !self.look_up(page, kind).missed)
    }

    /// As `hits`, without filling what is missed.
    fn would_hit(&self) -> [bool; 3] {
        Self { unit: self.unit.clone(), now: self.now }.hits()
    }

    fn cr3(&mut self, value: u64) {
        self.unit.control(ControlEvent::WriteCr3(value));
    }

    fn pge(&mut self, on: bool) {
        self.unit.control(ControlEvent::WriteCr4(PAE | if on { PGE } else { 0 }));
    }

    /// As Xen 4.17 changes address spaces.
    fn pair(&mut self, cr3: u64) {
        self.pge(false);
        self.cr3(cr3);
        self.pge(true);
    }

    fn domain(&mut self, domain: u16) {
        self.unit.control(ControlEvent::Domain(domain));
    }

    fn counted(&self) -> (u64, u64) {
        let counts = self.unit.flush_counts();
        (counts.switches, counts.explicit_flushes)
    }
}

const NONE: [bool; 3] = [false; 3];
const ALL: [bool; 3] = [true; 3];
const WHAT_IF: [&str; 7] = [
    "global-hypervisor",
    "vpid",
    "pcid",
    "vpid+pcid",
    "global-hypervisor+vpid",
    "global-hypervisor+pcid",
    "global-hypervisor+vpid+pcid",
];

#[test]
fn a_pair_without_a_new_address_space_drops_everything_under_every_scheme() {
    for tags in WHAT_IF.into_iter().chain(["none", "architectural"]) {
        for rewrites_cr3 in [false, true] {
            let mut lab = Lab::new(tags);
            lab.fill();
            lab.pge(false);
            if rewrites_cr3 {
                lab.cr3(0x1000);
            }
            lab.pge(true);
            assert_eq!(lab.would_hit(), NONE, "{tags}");
            let explicit = u64::from(WHAT_IF.contains(&tags));
            assert_eq!(lab.counted(), (0, explicit), "{tags}");
        }
    }
}

#[test]
fn a_cr3_write_of_the_same_value_drops_the_present_tags_entries_that_are_not_global() {
    for tags in WHAT_IF {
        let mut lab = Lab::new(tags);
        lab.fill();
        lab.cr3(0x1000);
        let marked = tags == "vpid";
        let hypervisor = tags.starts_with("global-hypervisor");
        assert_eq!(lab.would_hit(), [false, marked, hypervisor], "{tags}");
        assert_eq!(lab.counted(), (0, 1), "{tags}");
    }
}

#[test]
fn invlpg_drops_its_page_under_every_scheme() {
    for tags in WHAT_IF.into_iter().chain(["none", "architectural"]) {
        let mut lab = Lab::new(tags);
        lab.fill();
        for page in 1..=3 {
            lab.unit.control(ControlEvent::Invlpg(page << 12));
        }
        assert_eq!(lab.would_hit(), NONE, "{tags}");
        let explicit = if WHAT_IF.contains(&tags) { 3 } else { 0 };
        assert_eq!(lab.counted(), (0, explicit), "{tags}");
    }
}

#[test]
fn a_pair_around_a_new_address_space_is_one_switch() {
    for tags in WHAT_IF {
        let mut lab = Lab::new(tags);
        lab.fill();
        lab.pair(0x2000);
        assert_eq!(lab.counted(), (1, 0), "{tags}");
        assert_eq!(lab.unit.flush_counts().pge_changes, 2);
    }
}

#[test]
fn a_pair_has_no_effect_before_its_end() {
    for tags in WHAT_IF {
        let mut lab = Lab::new(tags);
        lab.fill();
        lab.pge(false);
        lab.cr3(0x2000);
        assert_eq!(lab.would_hit(), ALL, "{tags}");
        assert_eq!(lab.counted(), (0, 0));
    }
}

#[test]
fn none_drops_everything_at_every_cr3_write_and_change_of_pge() {
    let mut lab = Lab::new("none");
    for _ in 0..2 {
        lab.fill();
        lab.cr3(0x2000);
        assert_eq!(lab.would_hit(), NONE, "also of the same value");
        lab.fill();
        let on = lab.unit.registers().global_pages();
        lab.pge(!on);
        assert_eq!(lab.would_hit(), NONE);
    }
    assert_eq!(lab.counted(), (0, 0));
}

#[test]
fn global_hypervisor_keeps_the_hypervisors_pages_at_a_switch_and_no_others() {
    for by_pair in [false, true] {
        let mut lab = Lab::new("global-hypervisor");
        lab.fill();
        if by_pair {
            lab.pair(0x2000);
        } else {
            lab.cr3(0x2000);
        }
        assert_eq!(lab.would_hit(), [false, false, true]);
    }
}

#[test]
fn vpid_keeps_what_a_domain_left_until_it_comes_back() {
    for by_pair in [false, true] {
        let mut lab = Lab::new("vpid");
        let switch = |lab: &mut Lab, domain, cr3| {
            lab.domain(domain);
            if by_pair {
                lab.pair(cr3);
            } else {
                lab.cr3(cr3);
            }
        };
        lab.fill();
        switch(&mut lab, 2, 0x2000);
        assert_eq!(lab.would_hit(), NONE, "another domain's");
        lab.fill();
        switch(&mut lab, 1, 0x1000);
        assert_eq!(lab.would_hit(), ALL);
        switch(&mut lab, 2, 0x2000);
        assert_eq!(lab.would_hit(), ALL);
    }
}

#[test]
fn vpid_drops_within_a_domain_what_a_cr3_write_would() {
    let mut lab = Lab::new("vpid");
    lab.fill();
    lab.cr3(0x2000);
    assert_eq!(lab.would_hit(), [false, true, false], "marked entries stay");
    lab.fill();
    lab.pair(0x3000);
    assert_eq!(lab.would_hit(), NONE, "and go with a pair");
    lab.fill();
    lab.domain(2);
    lab.cr3(0x9000);
    lab.domain(1);
    lab.cr3(0x4000);
    assert_eq!(lab.would_hit(), [false, true, false], "not the address space that it left");
}

#[test]
fn the_domain_is_the_tag_from_the_next_load_of_cr3_on() {
    let mut lab = Lab::new("vpid");
    lab.fill();
    lab.domain(2);
    assert_eq!(lab.would_hit(), ALL);
}

#[test]
fn pcid_keeps_what_an_address_space_left() {
    for tags in ["pcid", "vpid+pcid", "global-hypervisor+pcid"] {
        let mut lab = Lab::new(tags);
        lab.fill();
        lab.pair(0x2000);
        let shared = tags.starts_with("global-hypervisor");
        assert_eq!(lab.would_hit(), [false, false, shared], "{tags}");
        lab.cr3(0x1000);
        assert_eq!(lab.would_hit(), ALL, "{tags}");
    }
}

#[test]
fn global_hypervisor_with_tags_shares_the_hypervisors_pages_among_all() {
    let mut lab = Lab::new("global-hypervisor+vpid");
    lab.fill();
    lab.domain(2);
    lab.pair(0x2000);
    assert_eq!(lab.would_hit(), [false, false, true]);
    lab.pair(0x3000);
    assert_eq!(lab.would_hit(), [false, false, true], "also after a switch within the domain");
}

#[test]
fn guests_have_tags_of_their_own_where_there_are_tags() {
    for tags in WHAT_IF.into_iter().chain(["none"]) {
        let mut lab = Lab::new(tags);
        lab.fill();
        let guest_cr3 = 0x1000;
        let entry = ControlEvent::GuestEntry {
            asid: 4,
            tlb_control: 0,
            guest_cr3,
            nested_root: Some(0x9000),
        };
        lab.unit.control(entry);
        assert_eq!(lab.would_hit(), NONE, "{tags}: the CR3 is equal, the address space is not");
        lab.unit.control(ControlEvent::GuestExit);
        let kept = !matches!(tags, "none" | "global-hypervisor");
        // The machine is of Intel: with a VPID nothing is dropped.
        assert_eq!(lab.would_hit(), [kept; 3], "{tags}");
        assert_eq!(lab.counted(), (0, 0), "entries and exits are counted apart");
    }
}
