//! Why a look-up missed.

use crate::machine::Machine;
use crate::page::{Mapping, PageSize};
use crate::preset;
use crate::translation::{ControlEvent, FlushCause, Side, TlbMissClass, TranslationUnit};
use TlbMissClass::{CapacityOrConflict, Cold, FlushInduced};

struct Lab {
    unit: TranslationUnit,
    now: u64,
}

impl Lab {
    fn new(entries: &str) -> Self {
        let machine: Machine = preset::named("vee07").unwrap();
        let machine = machine.with_overrides([("dtlb.entries", entries)]).unwrap();
        let mut unit = TranslationUnit::new(&machine, 0);
        unit.enable_classification();
        Self { unit, now: 0 }
    }

    fn class_of(&mut self, page: u64, frame: u64) -> Option<TlbMissClass> {
        self.now += 1;
        assert_eq!(self.unit.front(Side::Data, page << 12, self.now), None);
        let mapping = Mapping::new(frame, PageSize::Size4K);
        self.unit.look_up(Side::Data, page << 12, mapping, self.now);
        self.unit.last_class()
    }
}

#[test]
fn the_first_look_up_is_cold_and_a_hit_has_no_class() {
    let mut lab = Lab::new("4");
    assert_eq!(lab.class_of(1, 1), Some(Cold));
    assert_eq!(lab.class_of(1, 1), None);
    lab.unit.control(ControlEvent::Invlpg(0x1000));
    assert_eq!(lab.class_of(1, 9), Some(Cold), "another frame");
}

#[test]
fn a_miss_after_a_flush_names_the_event() {
    let events = [
        (ControlEvent::WriteCr3(0x1000), FlushCause::Cr3Write),
        (ControlEvent::WriteCr3(0), FlushCause::Cr3SameValue),
        (ControlEvent::WriteCr4(0x20), FlushCause::PgeChange),
        (ControlEvent::WriteCr0(1), FlushCause::PagingMode),
        (ControlEvent::Invlpg(0x1000), FlushCause::Invlpg),
        (ControlEvent::InvpcidAll, FlushCause::Invpcid),
        (ControlEvent::PageFault(0x1000), FlushCause::PageFault),
        (ControlEvent::Reset, FlushCause::Other),
    ];
    for (event, cause) in events {
        let mut lab = Lab::new("4");
        lab.class_of(1, 1);
        lab.unit.control(event);
        assert_eq!(lab.class_of(1, 1), Some(FlushInduced(cause)));
    }
}

#[test]
fn a_miss_that_no_flush_caused_is_of_capacity() {
    let mut lab = Lab::new("2");
    for page in 1..=3 {
        assert_eq!(lab.class_of(page, page), Some(Cold));
    }
    assert_eq!(lab.class_of(1, 1), Some(CapacityOrConflict));
}

#[test]
fn a_flushed_entry_that_would_have_gone_anyway_is_a_miss_of_capacity() {
    let mut lab = Lab::new("2");
    lab.class_of(1, 1);
    lab.unit.control(ControlEvent::Invlpg(0x1000));
    lab.class_of(2, 2);
    lab.class_of(3, 3);
    assert_eq!(lab.class_of(1, 1), Some(CapacityOrConflict));
}

#[test]
fn the_last_event_that_dropped_an_entry_is_to_blame() {
    let mut lab = Lab::new("4");
    lab.class_of(1, 1);
    lab.unit.control(ControlEvent::WriteCr3(0x1000));
    lab.class_of(1, 1);
    lab.unit.control(ControlEvent::Invlpg(0x1000));
    assert_eq!(lab.class_of(1, 1), Some(FlushInduced(FlushCause::Invlpg)));
}

#[test]
fn a_flush_is_to_blame_for_one_miss_and_not_for_those_of_other_tags() {
    let mut lab = Lab::new("4");
    lab.class_of(1, 1);
    lab.unit.control(ControlEvent::WriteCr3(0));
    assert_eq!(lab.class_of(1, 1), Some(FlushInduced(FlushCause::Cr3SameValue)));
    let entry =
        ControlEvent::GuestEntry { asid: 3, tlb_control: 0, guest_cr3: 0, nested_root: None };
    lab.unit.control(entry);
    assert_eq!(lab.class_of(1, 1), Some(CapacityOrConflict), "never there under this VPID");
}
