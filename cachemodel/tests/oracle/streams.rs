//! Random machines, and random streams that find many hits, misses and collisions in them.

use std::collections::HashMap;

use proptest::prelude::*;
use strata_cachemodel::{ControlEvent, Machine, Mapping, PageSize, RefKind};

/// One step of a stream.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Access { kind: RefKind, va: u64, bytes: u32, knows_second: bool },
    Remap { va: u64, mapping: Mapping },
    Control(ControlEvent),
    Dma { start: u64, length: u64 },
}

/// The page tables: what is not in them is mapped somewhere all the same.
#[derive(Debug, Default)]
pub(crate) struct World {
    remapped: HashMap<u64, Mapping>,
}

impl World {
    pub(crate) fn mapping(&self, va: u64) -> Mapping {
        let vpn = va >> 12;
        let default = Mapping::new(vpn % FRAMES, PageSize::Size4K);
        self.remapped.get(&vpn).copied().unwrap_or(default)
    }

    pub(crate) fn remap(&mut self, va: u64, mapping: Mapping) {
        self.remapped.insert(va >> 12, mapping);
    }
}

/// Few, so that pages share frames.
const FRAMES: u64 = 12;

/// Neighbouring small pages, both sides of 2 MiB and 1 GiB borders, both ends of the address space
/// and an address that is not canonical.
const PAGES: [u64; 14] = [
    0x10,
    0x11,
    0x12,
    0x13,
    0x1ff,
    0x200,
    0x201,
    0x3_ffff,
    0x4_0000,
    0x7_ffff_ffff,
    0xf_8000_0000_0000,
    0xf_8000_0000_0001,
    0xf_ffff_ffff_ffff,
    0x0_4000_0000_0000,
];

fn addresses() -> impl Strategy<Value = u64> {
    let offset = prop_oneof![
        3 => (0u64..6).prop_map(|line| line * 8),
        1 => 0u64..4096,
        2 => 4080u64..4096,
    ];
    (prop::sample::select(PAGES.as_slice()), offset).prop_map(|(page, offset)| page << 12 | offset)
}

fn mappings() -> impl Strategy<Value = Mapping> {
    let size = prop::sample::select(PageSize::ALL.as_slice());
    (0..FRAMES, size, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(frame, size, global, device)| {
            Mapping::new(frame, size).with_global(global).with_device(device)
        },
    )
}

fn accesses() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        4 => Just(RefKind::Fetch),
        3 => Just(RefKind::Read),
        2 => Just(RefKind::Write),
        1 => Just(RefKind::ModifyWrite),
    ];
    let bytes = prop_oneof![
        8 => 1u32..9,
        2 => 0u32..80,
        1 => prop::sample::select([4096, 4097, 9000].as_slice()),
    ];
    (kind, addresses(), bytes, prop::bool::weighted(0.9))
        .prop_map(|(kind, va, bytes, knows_second)| Step::Access { kind, va, bytes, knows_second })
}

fn control_events() -> impl Strategy<Value = ControlEvent> {
    let pcid = 0u16..3;
    let cr3 = (0u64..2, 0u64..3, any::<bool>())
        .prop_map(|(table, pcid, keep)| table << 12 | pcid | u64::from(keep) << 63);
    let cr4 = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.9), any::<bool>()).prop_map(
        |(pge, pcide, pae, smep)| {
            u64::from(pae) << 5
                | u64::from(pge) << 7
                | u64::from(pcide) << 17
                | u64::from(smep) << 20
        },
    );
    prop_oneof![
        6 => cr3.prop_map(ControlEvent::WriteCr3),
        2 => cr4.prop_map(ControlEvent::WriteCr4),
        1 => any::<bool>().prop_map(|on| ControlEvent::WriteCr0(u64::from(on) << 31 | 1)),
        4 => addresses().prop_map(ControlEvent::Invlpg),
        2 => addresses().prop_map(ControlEvent::PageFault),
        1 => (addresses(), pcid.clone())
            .prop_map(|(va, pcid)| ControlEvent::InvpcidAddress { va, pcid }),
        1 => pcid.prop_map(|pcid| ControlEvent::InvpcidSingle { pcid }),
        1 => Just(ControlEvent::InvpcidAll),
        1 => Just(ControlEvent::InvpcidAllButGlobal),
    ]
}

/// A step of any kind, mostly an access.
pub(crate) fn steps() -> impl Strategy<Value = Step> {
    let dma = (0..FRAMES << 12, prop_oneof![0u64..200, Just(1 << 14)])
        .prop_map(|(start, length)| Step::Dma { start, length });
    prop_oneof![
        40 => accesses(),
        3 => (addresses(), mappings()).prop_map(|(va, mapping)| Step::Remap { va, mapping }),
        2 => control_events().prop_map(Step::Control),
        1 => dma,
    ]
}

/// Small machines, so that everything collides; sets are seldom a power of two.
pub(crate) fn machines() -> impl Strategy<Value = Machine> {
    let cache = || (1u64..8, prop_oneof![1u64..6, Just(8), Just(16)], 0u32..3);
    let tlb = || (1u64..5, 1u64..6);
    let semantics = prop::sample::select(
        ["per-reference", "split-demand-only", "split-writeback", "cachegrind", "first-byte"]
            .as_slice(),
    );
    (cache(), cache(), cache(), tlb(), tlb(), semantics).prop_map(
        |(l1i, l1d, l2, itlb, dtlb, semantics)| {
            let largest_l1_line = l1i.2.max(l1d.2);
            let section = |name: &str, (sets, ways, line): (u64, u64, u32), least: u32| {
                let line_size = 8u64 << (least + line);
                let size = sets * ways * line_size;
                format!("[{name}]\nsize = {size}\nways = {ways}\nline-size = {line_size}\n")
            };
            let tlb_section = |name: &str, (sets, ways): (u64, u64)| {
                format!("[{name}]\nentries = {}\nways = {ways}\n", sets * ways)
            };
            let text = [
                format!("name = \"random\"\nsemantics = \"{semantics}\"\n"),
                section("l1i", l1i, 0),
                section("l1d", l1d, 0),
                section("l2", l2, largest_l1_line),
                tlb_section("itlb", itlb),
                tlb_section("dtlb", dtlb),
            ];
            Machine::from_toml(&text.concat()).unwrap()
        },
    )
}
