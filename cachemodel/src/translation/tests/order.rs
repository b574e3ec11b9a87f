//! Which entry is found where several cover an address.

use crate::machine::Machine;
use crate::page::{Mapping, PageSize};
use crate::preset;
use crate::translation::{ControlEvent, ControlRegisters, Side, TranslationUnit};

const KEEP: u64 = 1 << 63;
const VA: u64 = 0x20_1000;
/// In the same 2 MiB page as `VA`.
const BESIDE: u64 = 0x20_2000;
const OWN_SMALL: u64 = 20;
const GLOBAL_SMALL: u64 = 10;
/// Frame of `VA` in the 2 MiB entry.
const OWN_LARGE: u64 = 31;

struct Lab {
    unit: TranslationUnit,
    now: u64,
}

impl Lab {
    /// PCID 2 runs, which can use three entries for `VA`, with three frames: its own of 4 KiB and
    /// of 2 MiB, and a global one of 4 KiB that PCID 1 made.
    fn new() -> Self {
        let machine: Machine = preset::named("vee07").unwrap();
        let machine = machine.with_overrides([("tags", "architectural")]).unwrap();
        let mut lab = Self { unit: TranslationUnit::new(&machine, 0), now: 0 };
        lab.unit.set_registers(ControlRegisters { cr0: 0x8000_0001, cr3: 0x2002, cr4: 0x2_00a0 });
        assert!(lab.misses(VA, Mapping::new(OWN_SMALL, PageSize::Size4K)));
        assert!(lab.misses(BESIDE, Mapping::new(OWN_LARGE + 1, PageSize::Size2M)));
        lab.unit.control(ControlEvent::WriteCr3(KEEP | 0x1001));
        assert!(lab.misses(VA, Mapping::new(GLOBAL_SMALL, PageSize::Size4K).with_global(true)));
        lab.unit.control(ControlEvent::WriteCr3(KEEP | 0x2002));
        lab
    }

    fn misses(&mut self, va: u64, mapping: Mapping) -> bool {
        self.now += 1;
        self.unit.look_up(Side::Data, va, mapping, self.now).missed
    }

    /// The frame of the entry that serves `VA` for a translation of this size and globality.
    fn found(&mut self, size: PageSize, global: bool) -> u64 {
        let frames = [OWN_SMALL, GLOBAL_SMALL, OWN_LARGE];
        let right = frames.into_iter().filter(|&frame| {
            self.now += 1;
            let mapping = Mapping::new(frame, size).with_global(global);
            let found = self.unit.look_up(Side::Data, VA, mapping, self.now);
            assert!(!found.missed);
            !found.stale
        });
        let right: Vec<u64> = right.collect();
        assert_eq!(right.len(), 1, "one entry serves whatever the stream's frame is");
        right[0]
    }
}

#[test]
fn the_entry_that_agrees_in_size_and_globality_comes_first() {
    assert_eq!(Lab::new().found(PageSize::Size4K, false), OWN_SMALL);
    assert_eq!(Lab::new().found(PageSize::Size4K, true), GLOBAL_SMALL);
    assert_eq!(Lab::new().found(PageSize::Size2M, false), OWN_LARGE);
}

#[test]
fn an_entry_of_the_same_size_comes_before_smaller_ones() {
    assert_eq!(Lab::new().found(PageSize::Size2M, true), OWN_LARGE);
}

#[test]
fn small_comes_before_large_and_global_before_own() {
    assert_eq!(Lab::new().found(PageSize::Size1G, false), GLOBAL_SMALL);
    let mut lab = Lab::new();
    lab.unit.control(ControlEvent::PageFault(VA));
    assert!(lab.misses(VA, Mapping::new(OWN_SMALL, PageSize::Size4K)));
    assert!(lab.misses(BESIDE, Mapping::new(OWN_LARGE + 1, PageSize::Size2M)));
    assert_eq!(
        [OWN_SMALL, OWN_LARGE].map(|frame| {
            lab.now += 1;
            let mapping = Mapping::new(frame, PageSize::Size1G);
            lab.unit.look_up(Side::Data, VA, mapping, lab.now).stale
        }),
        [false, true],
        "4 KiB before 2 MiB"
    );
}
