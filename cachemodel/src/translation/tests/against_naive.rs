//! The unit equals its restatement on random machines, pages and events.

use proptest::prelude::*;

use super::naive_rules::Context;
use super::naive_tlb::NaiveTlbs;
use super::naive_walk::NaiveWalker;
use crate::machine::Machine;
use crate::page::{Mapping, PageSize};
use crate::translation::{
    Broadcast, ControlEvent, ControlRegisters, PageLookup, Side, TranslationUnit,
};
use crate::translator::{NestedWalk, PageWalk, TableWalk};

#[derive(Debug, Clone)]
pub(super) enum Step {
    Access {
        side: Side,
        va: u64,
    },
    Event(ControlEvent),
    /// The page tables change for a page.
    Remap {
        va: u64,
        bytes: u64,
    },
    SetRegisters(ControlRegisters),
}

fn replacement() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just("lru"),
        1 => Just("tree-plru"),
        1 => Just("fifo"),
        1 => Just("random"),
        1 => Just("srrip"),
        1 => Just("brrip"),
        1 => Just("drrip"),
    ]
}

/// `entries` and `ways` of an array.
fn geometry() -> impl Strategy<Value = String> {
    let shapes =
        vec![(1, 1), (1, 3), (3, 2), (5, 1), (2, 4), (20, 2), (1, 7), (1, 17), (1, 40), (1, 50)];
    (proptest::sample::select(shapes), replacement()).prop_map(|((sets, ways), policy)| {
        let entries = sets * ways;
        format!("entries = {entries}\nways = {ways}\nreplacement = \"{policy}\"\n")
    })
}

fn tlb(name: &'static str) -> impl Strategy<Value = String> {
    let own = |size: &'static str| {
        proptest::option::of(geometry())
            .prop_map(move |array| array.map(|text| format!("[{name}.{size}]\n{text}")))
    };
    (geometry(), own("2m"), own("1g"), any::<bool>()).prop_map(
        move |(array, large, huge, small_only)| {
            let pages = if small_only { "pages = [\"4k\"]\n" } else { "" };
            let (large, huge) = (large.unwrap_or_default(), huge.unwrap_or_default());
            format!("[{name}]\n{array}{pages}{large}{huge}")
        },
    )
}

fn machine() -> impl Strategy<Value = Machine> {
    let scheme = proptest::sample::select(vec![
        "none",
        "architectural",
        "architectural",
        "architectural",
        "global-hypervisor",
        "vpid",
        "pcid",
        "vpid+pcid",
        "global-hypervisor+vpid",
        "global-hypervisor+pcid",
    ]);
    let vendor = proptest::sample::select(vec!["intel", "amd", "intel-p6"]);
    let stlb = proptest::option::of(tlb("stlb"));
    (scheme, vendor, tlb("itlb"), tlb("dtlb"), stlb, 0..3u32, 0..3u32).prop_map(
        |(scheme, vendor, itlb, dtlb, stlb, structures, nested)| {
            let stlb = stlb.unwrap_or_default();
            Machine::from_toml(&format!(
                "name = \"random\"\ntags = \"{scheme}\"\nvendor = \"{vendor}\"\n\
                 [l1]\nsize = 64\nways = 1\nline-size = 64\n\
                 [walk]\npml5-cache = {structures}\npml4-cache = {structures}\n\
                 pdpte-cache = {structures}\npde-cache = {structures}\nnested-cache = {nested}\n\
                 {itlb}{dtlb}{stlb}"
            ))
            .unwrap()
        },
    )
}

fn address() -> impl Strategy<Value = u64> {
    let base = prop_oneof![6 => Just(0), 2 => Just(0xffff_8000_0000_0000), 1 => Just(1 << 48)];
    (base, 0..2u64, 0..3u64, 0..5u64, 0..4096u64).prop_map(|(base, huge, large, small, byte)| {
        base + (huge << 30 | large << 21 | small << 12) + byte
    })
}

/// Of few pages, so that most are looked up again and again.
fn near() -> impl Strategy<Value = u64> {
    (0..2u64, 0..4u64, 0..4096u64)
        .prop_map(|(large, small, byte)| (large << 21 | small << 12) + byte)
}

fn cr3() -> impl Strategy<Value = u64> {
    (0..3u64, 0..3u64, any::<bool>())
        .prop_map(|(root, pcid, keep)| root << 12 | pcid | u64::from(keep) << 63)
}

fn cr4() -> impl Strategy<Value = u64> {
    let more = vec![0u64, 0, 0, 1 << 4, 1 << 12, 1 << 20, 1 << 22];
    (any::<bool>(), any::<bool>(), any::<bool>(), proptest::sample::select(more)).prop_map(
        |(pae, pge, pcide, more)| {
            u64::from(pae) << 5 | u64::from(pge) << 7 | u64::from(pcide) << 17 | more
        },
    )
}

fn broadcast() -> impl Strategy<Value = Broadcast> {
    (address(), 0..4u32, any::<bool>(), 0..64u64, 0..3u32, 0..3u32).prop_map(
        |(va, pages, large, flags, pcid, asid)| {
            let ecx = pages | u32::from(large) << 31;
            Broadcast::from_registers(va & !0xfff | flags, ecx, pcid << 16 | asid)
        },
    )
}

fn event() -> impl Strategy<Value = ControlEvent> {
    let pcid = || 0..3u16;
    let root = || proptest::option::of((1..3u64).prop_map(|root| root << 12 | 0x1e));
    prop_oneof![
        1 => proptest::sample::select(vec![0x8000_0001, 0x8000_0009, 1, 0x8000_0000])
            .prop_map(ControlEvent::WriteCr0),
        6 => cr3().prop_map(ControlEvent::WriteCr3),
        6 => cr4().prop_map(ControlEvent::WriteCr4),
        3 => address().prop_map(ControlEvent::Invlpg),
        1 => (address(), pcid()).prop_map(|(va, pcid)| ControlEvent::InvpcidAddress { va, pcid }),
        1 => pcid().prop_map(|pcid| ControlEvent::InvpcidSingle { pcid }),
        1 => Just(ControlEvent::InvpcidAll),
        1 => Just(ControlEvent::InvpcidAllButGlobal),
        2 => address().prop_map(ControlEvent::PageFault),
        1 => (0..3u64).prop_map(|root| ControlEvent::TaskSwitch { cr3: root << 12 }),
        3 => (0..3u16).prop_map(ControlEvent::Domain),
        5 => (0..3u16, 0..9u8, cr3(), root()).prop_map(|(asid, tlb_control, guest_cr3, nested_root)| {
            let guest_cr3 = guest_cr3 & !(1 << 63);
            ControlEvent::GuestEntry { asid, tlb_control, guest_cr3, nested_root }
        }),
        4 => Just(ControlEvent::GuestExit),
        1 => (address(), 0..3u16).prop_map(|(va, asid)| ControlEvent::Invlpga { va, asid }),
        1 => broadcast().prop_map(ControlEvent::Invlpgb),
        2 => (0..5u8, 0..3u16, address())
            .prop_map(|(kind, vpid, va)| ControlEvent::Invvpid { kind, vpid, va }),
        1 => (0..4u8, 1..3u64).prop_map(|(kind, root)| ControlEvent::Invept { kind, root: root << 12 }),
        1 => (0..4u64, proptest::option::of(address()))
            .prop_map(|(frame, va)| ControlEvent::EptViolation { gpa: frame << 12 | 8, va }),
        1 => Just(ControlEvent::VmxOperation),
        1 => Just(ControlEvent::SystemManagement),
        1 => Just(ControlEvent::Reset),
    ]
}

fn access((data, va): (bool, u64)) -> Step {
    Step::Access { side: if data { Side::Data } else { Side::Instruction }, va }
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (any::<bool>(), near()).prop_map(access),
        10 => (any::<bool>(), address()).prop_map(access),
        6 => event().prop_map(Step::Event),
        2 => (address(), proptest::sample::select(vec![4096, 1 << 21, 1 << 30]))
            .prop_map(|(va, bytes)| Step::Remap { va, bytes }),
        1 => (cr3(), cr4()).prop_map(|(cr3, cr4)| {
            Step::SetRegisters(ControlRegisters { cr0: 0x8000_0001, cr3: cr3 & !(1 << 63), cr4 })
        }),
    ]
}

/// Page tables of every address space, made up from numbers.
pub(super) struct Tables {
    /// By the shift of a page's size and its number.
    pub(super) versions: std::collections::HashMap<(u32, u64), u64>,
}

pub(super) fn mix(values: &[u64]) -> u64 {
    values.iter().fold(7, |mixed: u64, value| {
        let mixed = (mixed ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    })
}

impl Tables {
    /// How many times what is behind the page was changed.
    pub(super) fn version(&self, va: u64) -> u64 {
        let sizes = [12, 21, 30].map(|shift| self.versions.get(&(shift, va >> shift)));
        sizes.into_iter().flatten().sum()
    }

    pub(super) fn change(&mut self, va: u64, bytes: u64) {
        let shift = bytes.trailing_zeros();
        *self.versions.entry((shift, va >> shift)).or_default() += 1;
    }

    pub(super) fn mapping(&self, va: u64, context: &Context) -> Mapping {
        let space = mix(&[context.registers().cr3 >> 12, context.asid().into()]) % 2;
        let what = mix(&[space, va >> 30, self.version(va)]);
        let size = PageSize::ALL[(mix(&[what, va >> 21]) % 3) as usize];
        let page = mix(&[what, va >> size.shift()]);
        // Now and then a frame that is not aligned to its page.
        let base = ((page & 1) << 18) + u64::from(page >> 8 & 7 == 0) * 5;
        let frame = base + (va >> 12 & ((1 << (size.shift() - 12)) - 1));
        Mapping::new(frame, size)
            .with_global(page >> 16 & 3 == 0)
            .with_hypervisor(page >> 20 & 3 == 0)
            .with_device(page >> 24 & 7 == 0)
    }

    fn walk(&self, va: u64, mapping: Mapping, context: &Context) -> PageWalk {
        let depth =
            4 - mapping.size() as usize + usize::from(context.registers().cr4 >> 12 & 1 == 1);
        let frame = |level: usize| mix(&[va >> (48 - 9 * level.min(4)), level as u64]) % 4;
        let frames: Vec<u64> = (0..depth).map(frame).collect();
        let tables = TableWalk::new(&frames, mapping.size().shift());
        if context.root().is_none() {
            return PageWalk::Plain(tables);
        }
        let guest_frames = [0, 1, 2, 3, 4, 5].map(frame);
        let nested = guest_frames.map(|frame| TableWalk::new(&[frame, frame + 1, frame + 2], 21));
        PageWalk::Nested(NestedWalk { guest: tables, guest_frames, nested })
    }
}

proptest! {
    #[test]
    fn the_unit_equals_its_restatement(
        machine in machine(),
        classify in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..500),
    ) {
        let mut unit = TranslationUnit::new(&machine, 0);
        if classify {
            unit.enable_classification();
        }
        let mut context = Context::new(&machine);
        let mut naive = NaiveTlbs::new(&machine);
        let mut walker = NaiveWalker::new(&machine);
        let mut tables = Tables { versions: Default::default() };
        for (now, step) in (1..).zip(steps) {
            match step {
                Step::Access { side, va } => {
                    let mapping = tables.mapping(va, &context);
                    let (expected, class) = naive.look_up(side, va, mapping, &context);
                    // Both ways to what is known are to do the same.
                    let known = if unit.keeps_only_times() && va % 2 == 0 {
                        unit.known(side, va).map(|known| {
                            let pages = unit.known_pages().unwrap();
                            pages[side as usize].used[known.place as usize] = now;
                            known.physical.0
                        })
                    } else {
                        unit.front(side, va, now).map(|known| known.physical.0)
                    };
                    if let Some(physical) = known {
                        prop_assert!(!classify && !mapping.is_device());
                        prop_assert_eq!(physical, mapping.physical(va).0);
                        prop_assert!(!expected.missed && !expected.stale);
                        continue;
                    }
                    let found = unit.look_up(side, va, mapping, now);
                    let expected = PageLookup { replaced: found.replaced, ..expected };
                    prop_assert_eq!(found, expected, "{:x}", va);
                    prop_assert_eq!(unit.last_class(), class.filter(|_| classify));
                    if found.walked() {
                        let walk = tables.walk(va, mapping, &context);
                        let mut reads = Vec::new();
                        unit.walk(va, &walk, |address| reads.push(address.0));
                        prop_assert_eq!(reads, walker.walk(va, &walk, &context));
                    }
                }
                Step::Event(event) => {
                    unit.control(event);
                    if context.happens(event) {
                        naive.control(event, &context);
                        walker.control(event, &context);
                        context.apply(event);
                    }
                    prop_assert_eq!(unit.registers(), context.registers());
                    prop_assert_eq!(unit.flushed(), naive.flushed(), "{:?}", event);
                }
                Step::Remap { va, bytes } => {
                    tables.change(va, bytes);
                    unit.forget_translation(va, bytes);
                }
                Step::SetRegisters(registers) => {
                    unit.set_registers(registers);
                    context.set_registers(registers);
                }
            }
            let counts = unit.flush_counts();
            prop_assert_eq!(counts.switches, context.switches);
            prop_assert_eq!(counts.explicit_flushes, context.explicit_flushes);
        }
    }
}
