//! Laws that hold for every stream.

use proptest::prelude::*;

use crate::machine::Machine;
use crate::page::{Mapping, PageSize};
use crate::preset;
use crate::translation::{ControlEvent, ControlRegisters, Side, TranslationUnit};

const PCIDE: u64 = 1 << 17;
const KEEP: u64 = 1 << 63;

fn unit(overrides: &[(&str, &str)]) -> TranslationUnit {
    let machine: Machine = preset::named("vee07").unwrap();
    TranslationUnit::new(&machine.with_overrides(overrides.iter().copied()).unwrap(), 0)
}

/// What a careful kernel does: it flushes what it changes, as the manual asks.
#[derive(Debug, Clone)]
enum Step {
    Access(u64),
    /// A page of the running address space, of one only it has, gets another frame.
    Remap(u64),
    /// A page that all address spaces share, and that is marked global.
    RemapShared(u64),
    /// A process runs; its PCID is its number.
    Run(u64),
    /// A process ends and another takes its number.
    Replace(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..24u64).prop_map(Step::Access),
        2 => (0..12u64).prop_map(Step::Remap),
        1 => (12..24u64).prop_map(Step::RemapShared),
        3 => (0..4u64).prop_map(Step::Run),
        1 => (0..4u64).prop_map(Step::Replace),
    ]
}

proptest! {
    /// SDM 4.10.4.2 and 4.10.4.3 say which flush each change needs.
    #[test]
    fn no_hit_is_stale_if_each_change_is_followed_by_its_flush(
        pcids in any::<bool>(),
        stlb in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..400),
    ) {
        let mut overrides = vec![("tags", "architectural"), ("dtlb.entries", "8")];
        if stlb {
            overrides.extend([("stlb.entries", "12"), ("stlb.ways", "4")]);
        }
        let mut unit = unit(&overrides);
        let cr4 = 0xa0 | if pcids { PCIDE } else { 0 };
        unit.set_registers(ControlRegisters { cr0: 0x8000_0001, cr3: 0, cr4 });
        let mut frames = [[0u64; 24]; 4];
        let mut fresh = 0;
        let mut running = 0;
        let mut next = || { fresh += 1; fresh };
        for (now, step) in (1..).zip(steps) {
            match step {
                Step::Access(page) => {
                    let mapping = Mapping::new(frames[running][page as usize], PageSize::Size4K)
                        .with_global(page >= 12);
                    if let Some(known) = unit.front(Side::Data, page << 12, now) {
                        prop_assert_eq!(known.physical, mapping.physical(page << 12));
                    } else {
                        prop_assert!(!unit.look_up(Side::Data, page << 12, mapping, now).stale);
                    }
                }
                Step::Remap(page) => {
                    frames[running][page as usize] = next();
                    unit.forget_translation(page << 12, 4096);
                    unit.control(ControlEvent::Invlpg(page << 12));
                }
                Step::RemapShared(page) => {
                    let frame = next();
                    frames.iter_mut().for_each(|frames| frames[page as usize] = frame);
                    unit.forget_translation(page << 12, 4096);
                    unit.control(ControlEvent::Invlpg(page << 12));
                }
                Step::Run(process) => {
                    running = process as usize;
                    let cr3 = process << 12 | if pcids { process | KEEP } else { 0 };
                    unit.control(ControlEvent::WriteCr3(cr3));
                }
                Step::Replace(process) => {
                    let kept = process as usize == running;
                    frames[process as usize][..12].iter_mut().for_each(|frame| *frame = next());
                    if pcids {
                        unit.control(ControlEvent::InvpcidSingle { pcid: process as u16 });
                    } else if kept {
                        unit.control(ControlEvent::WriteCr3(process << 12));
                    }
                    for page in 0..12 {
                        unit.forget_translation(page << 12, 4096);
                    }
                }
            }
        }
    }

    #[test]
    fn a_larger_fully_associative_lru_tlb_never_misses_where_a_smaller_hits(
        sizes in (1..12u64, 0..12u64),
        steps in proptest::collection::vec((0..20u64, 0..30u8), 1..300),
    ) {
        let (small, more) = sizes;
        let large = (small + more).to_string();
        let mut small = unit(&[("dtlb.entries", &small.to_string())]);
        let mut large = unit(&[("dtlb.entries", &large)]);
        for (now, (page, event)) in (1..).zip(steps) {
            for unit in [&mut small, &mut large] {
                match event {
                    0 => unit.control(ControlEvent::WriteCr3(0x1000)),
                    1 => unit.control(ControlEvent::Invlpg(page << 12)),
                    _ => false,
                };
            }
            let mapping = Mapping::identity(page << 12).with_global(page % 3 == 0);
            let missed = [&mut large, &mut small].map(|unit| {
                unit.look_up(Side::Data, page << 12, mapping, now).missed
            });
            prop_assert!(!missed[0] || missed[1]);
        }
    }

    #[test]
    fn an_infinite_tlb_without_flushes_misses_once_for_each_page(
        pages in proptest::collection::vec(0..3000u64, 1..2000),
    ) {
        let mut unit = unit(&[("dtlb.entries", "4096")]);
        let misses = (1..)
            .zip(&pages)
            .filter(|&(now, page)| {
                unit.front(Side::Data, page << 12, now).is_none()
                    && unit
                        .look_up(Side::Data, page << 12, Mapping::identity(page << 12), now)
                        .missed
            })
            .count();
        let distinct: std::collections::HashSet<_> = pages.iter().collect();
        prop_assert_eq!(misses, distinct.len());
    }

    /// Not so for small ones, where entries that stay take the place of others.
    #[test]
    fn tags_never_add_misses_to_an_infinite_tlb(
        steps in proptest::collection::vec((0..40u64, 0..40u8), 1..400),
    ) {
        let schemes = [
            "none",
            "architectural",
            "global-hypervisor",
            "vpid",
            "pcid",
            "global-hypervisor+vpid",
            "global-hypervisor+pcid",
            "global-hypervisor+vpid+pcid",
        ];
        let misses = schemes.map(|tags| {
            let mut unit = unit(&[("dtlb.entries", "4096"), ("tags", tags)]);
            let mut space = 0;
            let mut misses = 0;
            for (now, &(page, event)) in (1..).zip(&steps) {
                match event {
                    0..4 => {
                        space = u64::from(event);
                        unit.control(ControlEvent::Domain(u16::from(event) / 2));
                        unit.control(ControlEvent::WriteCr3(space << 12));
                    }
                    4 => {
                        unit.control(ControlEvent::WriteCr4(0x20));
                        unit.control(ControlEvent::WriteCr4(0xa0));
                    }
                    5 => {
                        unit.control(ControlEvent::Invlpg(page << 12));
                    }
                    _ => {}
                }
                // The hypervisor's pages are the same everywhere.
                let hypervisor = page >= 30;
                let frame = if hypervisor { page } else { page + space * 100 };
                let mapping = Mapping::new(frame, PageSize::Size4K)
                    .with_hypervisor(hypervisor)
                    .with_global(hypervisor);
                misses += u32::from(unit.look_up(Side::Data, page << 12, mapping, now).missed);
            }
            misses
        });
        for (scheme, tagged) in schemes.iter().zip(misses) {
            prop_assert!(tagged <= misses[0], "{}: {} > {}", scheme, tagged, misses[0]);
        }
    }
}
