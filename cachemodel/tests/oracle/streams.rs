//! Random streams that find many hits, misses and collisions.

use proptest::prelude::*;
use strata_cachemodel::{Broadcast, Machine, Mapping, PageSize, RefKind, Vendor};

use crate::counts::Outcome;
use crate::events::Event;
use crate::hierarchy::Oracle;
use crate::machines::ACTORS;
use crate::world::{FRAMES, Space, View, World};

/// One step of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Access {
        kind: RefKind,
        va: u64,
        bytes: u32,
    },
    /// The instruction whose data come next.
    Instruction(u64),
    Remap {
        va: u64,
        mapping: Mapping,
    },
    Control(Event),
    Registers {
        cr3: u64,
        cr4: u64,
    },
    /// Modulo the machine's CPUs.
    Cpu(u16),
    Actor(u8),
    DeviceWrite {
        start: u64,
        length: u64,
    },
    FlushCaches,
}

impl Step {
    /// Paging in protected mode.
    pub(crate) const CR0: u64 = 1 << 31 | 1;
}

/// Neighbouring small pages, both sides of 2 MiB and 1 GiB borders, large and huge pages, both ends
/// of the address space and an address that is not canonical.
const PAGES: [u64; 20] = [
    0x10,
    0x11,
    0x12,
    0x13,
    0x1ff,
    0x200,
    0x201,
    0x3ff,
    0x400,
    0x3_ffff,
    0x4_0000,
    0x4_0203,
    0x7_ffff_ffff,
    0xf_8000_0000_0000,
    0xf_8000_0000_0001,
    0xf_8000_0000_0085,
    0xf_8000_0004_0001,
    0xf_ffff_ffff_ffff,
    0x0_4000_0000_0000,
    0x0_8000_0000_0010,
];

fn addresses() -> impl Strategy<Value = u64> {
    let offset = prop_oneof![
        6 => (0u64..6).prop_map(|line| line * 8),
        1 => 0u64..4096,
        2 => 4080u64..4096,
    ];
    // The first few pages most of the time.
    let page = prop_oneof![3 => 0usize..2, 2 => 0usize..4, 1 => 0..PAGES.len()];
    (page, offset).prop_map(|(page, offset)| PAGES[page] << 12 | offset)
}

fn mappings() -> impl Strategy<Value = Mapping> {
    let size = prop::sample::select(PageSize::ALL.as_slice());
    let attributes = (any::<bool>(), prop::bool::weighted(0.2), any::<bool>());
    (0..FRAMES, size, attributes).prop_map(|(frame, size, (global, device, hypervisor))| {
        Mapping::new(frame, size)
            .with_global(global)
            .with_device(device)
            .with_hypervisor(hypervisor)
    })
}

fn accesses() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        3 => Just(RefKind::Fetch),
        3 => Just(RefKind::Read),
        3 => Just(RefKind::Write),
        1 => Just(RefKind::ModifyWrite),
    ];
    let bytes = prop_oneof![
        200 => 1u32..9,
        20 => 0u32..80,
        1 => prop::sample::select([4096, 4097, 9000].as_slice()),
    ];
    (kind, addresses(), bytes).prop_map(|(kind, va, bytes)| Step::Access { kind, va, bytes })
}

/// Loads and stores of one instruction at equal distances.
fn strides() -> impl Strategy<Value = Vec<Step>> {
    let instruction = prop::sample::select([0x40_0000u64, 0x40_0003, 0x40_0100].as_slice());
    (instruction, 0usize..4, 0u64..32, -24i64..25, 3usize..6, any::<bool>()).prop_map(
        |(instruction, page, start, step, count, write)| {
            let kind = if write { RefKind::Write } else { RefKind::Read };
            let first = (PAGES[page] << 12) + start * 8;
            let access = |i: usize| {
                let va = first.wrapping_add_signed(i as i64 * step * 4);
                [Step::Instruction(instruction), Step::Access { kind, va, bytes: 4 }]
            };
            (0..count).flat_map(access).collect()
        },
    )
}

fn cr3_values() -> impl Strategy<Value = u64> {
    (0u64..3, 0u64..3, prop::bool::weighted(0.2))
        .prop_map(|(table, pcid, keep)| table << 12 | pcid | u64::from(keep) << 63)
}

fn cr4_values() -> impl Strategy<Value = u64> {
    let often = || prop::bool::weighted(0.9);
    (any::<bool>(), any::<bool>(), often(), often(), often(), often()).prop_map(
        |(pge, pcide, pae, not_smep, not_pse, not_pke)| {
            u64::from(!not_pse) << 4
                | u64::from(pae) << 5
                | u64::from(pge) << 7
                | u64::from(pcide) << 17
                | u64::from(!not_smep) << 20
                | u64::from(!not_pke) << 22
        },
    )
}

const ROOTS: [Option<u64>; 3] = [None, Some(0x5000), Some(0x6000)];

fn guest_entries() -> impl Strategy<Value = Event> {
    let control = prop::sample::select([0u8, 0, 0, 1, 3, 7].as_slice());
    (0u16..3, control, 0u64..3, 0usize..3).prop_map(|(asid, tlb_control, table, root)| {
        let (guest_cr3, nested_root) = (table << 12, ROOTS[root]);
        Event::GuestEntry { asid, tlb_control, guest_cr3, nested_root }
    })
}

fn broadcasts() -> impl Strategy<Value = Broadcast> {
    let named = (
        prop::option::of(addresses().prop_map(|va| va & !0xfff)),
        prop::option::of(0u16..3),
        prop::option::of(0u16..3),
    );
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (named, 1u32..4, flags).prop_map(
        |((va, pcid, asid), pages, (large, global, final_only, nested))| {
            let stride = if large { PageSize::Size2M } else { PageSize::Size4K };
            Broadcast { va, pages, stride, pcid, asid, global, final_only, nested }
        },
    )
}

fn control_events() -> impl Strategy<Value = Event> {
    let pcid = || 0u16..3;
    prop_oneof![
        8 => cr3_values().prop_map(Event::WriteCr3),
        4 => cr4_values().prop_map(Event::WriteCr4),
        1 => (any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(on, pe)| Event::WriteCr0(u64::from(on) << 31 | u64::from(pe))),
        4 => addresses().prop_map(Event::Invlpg),
        2 => addresses().prop_map(Event::PageFault),
        1 => (addresses(), pcid()).prop_map(|(va, pcid)| Event::InvpcidAddress { va, pcid }),
        1 => pcid().prop_map(|pcid| Event::InvpcidSingle { pcid }),
        1 => Just(Event::InvpcidAll),
        1 => Just(Event::InvpcidAllButGlobal),
        1 => (0u64..3).prop_map(|table| Event::TaskSwitch { cr3: table << 12 }),
        3 => (0u16..3).prop_map(Event::Domain),
        2 => guest_entries(),
        3 => Just(Event::GuestExit),
        1 => (addresses(), 0u16..3).prop_map(|(va, asid)| Event::Invlpga { va, asid }),
        1 => broadcasts().prop_map(Event::Invlpgb),
        1 => Just(Event::VmxOperation),
        1 => (0u8..4, 0u16..3, addresses())
            .prop_map(|(kind, vpid, va)| Event::Invvpid { kind, vpid, va }),
        1 => (1u8..3, 5u64..7).prop_map(|(kind, root)| Event::Invept { kind, root: root << 12 }),
        1 => (0u64..40, prop::option::of(addresses()))
            .prop_map(|(frame, va)| Event::EptViolation { gpa: frame << 12 | 8, va }),
        1 => prop_oneof![Just(Event::SystemManagement), Just(Event::Reset)],
    ]
}

/// PGE off, perhaps CR3 writes, PGE on: as Xen flushes and switches.
fn pairs() -> impl Strategy<Value = Vec<Step>> {
    let between = prop_oneof![
        2 => cr3_values().prop_map(|cr3| Step::Control(Event::WriteCr3(cr3))),
        1 => accesses(),
        1 => (0u16..3).prop_map(|domain| Step::Control(Event::Domain(domain))),
    ];
    prop::collection::vec(between, 0..3).prop_map(|between| {
        let cr4 = |value| vec![Step::Control(Event::WriteCr4(value))];
        [cr4(1 << 5), between, cr4(1 << 5 | 1 << 7)].concat()
    })
}

/// The same few accesses again and again.
fn loops() -> impl Strategy<Value = Vec<Step>> {
    (prop::collection::vec(accesses(), 1..6), 2usize..5)
        .prop_map(|(accesses, times)| accesses.repeat(times))
}

/// A guest that runs for a while.
fn guests() -> impl Strategy<Value = Vec<Step>> {
    let within = prop_oneof![
        3 => accesses(),
        1 => control_events().prop_map(Step::Control),
    ];
    (guest_entries(), prop::collection::vec(within, 0..8)).prop_map(|(entry, within)| {
        let step = |event| vec![Step::Control(event)];
        [step(entry), within, step(Event::GuestExit)].concat()
    })
}

/// A few steps that belong together, mostly one access.
fn runs() -> impl Strategy<Value = Vec<Step>> {
    let one = |step: Step| vec![step];
    let device_write = (0..FRAMES << 12, prop_oneof![0u64..200, Just(1 << 14)])
        .prop_map(|(start, length)| Step::DeviceWrite { start, length });
    let registers = (cr3_values(), cr4_values())
        .prop_map(|(cr3, cr4)| Step::Registers { cr3: cr3 & !(1 << 63), cr4 });
    prop_oneof![
        60 => accesses().prop_map(one),
        12 => loops(),
        4 => strides(),
        2 => (0u64..4).prop_map(|number| vec![Step::Instruction(0x40_0000 + number * 0x80)]),
        4 => (addresses(), mappings()).prop_map(|(va, mapping)| vec![Step::Remap { va, mapping }]),
        6 => control_events().prop_map(|event| vec![Step::Control(event)]),
        2 => pairs(),
        1 => guests(),
        8 => (0u16..4).prop_map(|cpu| vec![Step::Cpu(cpu)]),
        3 => (0..ACTORS.len() as u8).prop_map(|actor| vec![Step::Actor(actor)]),
        2 => device_write.prop_map(one),
        1 => prop_oneof![4 => registers, 1 => Just(Step::FlushCaches)].prop_map(one),
    ]
}

/// Any stream.
pub(crate) fn streams() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(runs(), 1..250).prop_map(|runs| runs.concat())
}

/// Whether the event can occur on such a processor.
fn exists(event: Event, vendor: Vendor) -> bool {
    let amd = vendor == Vendor::Amd;
    match event {
        Event::GuestEntry { tlb_control, .. } => amd || tlb_control == 0,
        Event::Invlpga { .. } | Event::Invlpgb(_) => amd,
        Event::Invvpid { .. } | Event::Invept { .. } | Event::EptViolation { .. } => !amd,
        _ => true,
    }
}

/// What of a stream such a machine can do.
pub(crate) fn possible(steps: &[Step], machine: &Machine) -> Vec<Step> {
    let step = |step: &Step| match *step {
        Step::Control(event) if !exists(event, machine.vendor()) => None,
        Step::Cpu(cpu) => Some(Step::Cpu(cpu % machine.cpus())),
        other => Some(other),
    };
    steps.iter().filter_map(step).collect()
}

/// Gives a step to the oracle; what came of it if it is a reference.
pub(crate) fn drive(oracle: &mut Oracle, world: &mut World, step: &Step) -> Option<Outcome> {
    let space = Space::of(oracle.context());
    match *step {
        Step::Access { kind, va, bytes } => {
            return Some(oracle.access(kind, va, bytes, &mut View { world, space }));
        }
        Step::Instruction(address) => oracle.set_instruction(address),
        Step::Remap { va, mapping } => world.remap(space, va, mapping),
        Step::Control(event) => oracle.control(event),
        Step::Registers { cr3, cr4 } => oracle.set_registers(Step::CR0, cr3, cr4),
        Step::Cpu(cpu) => oracle.set_cpu(cpu),
        Step::Actor(actor) => {
            let (layer, domain) = ACTORS[usize::from(actor)];
            oracle.memory.set_actor(actor, layer, domain);
        }
        Step::DeviceWrite { start, length } => oracle.memory.device_write(start, length),
        Step::FlushCaches => oracle.memory.flush(),
    }
    None
}
