//! A stream of two CPUs, two address spaces, and everything that a replay follows.

use proptest::prelude::*;
use strata_cachemodel::Machine;
use strata_sim::{Extent, Namer, Profile, Replay};
use strata_workloads::trace::{
    AccessKind, Base, Batch, Block, BlockId, CodeSize, ControlRegister, CpuState, Definitions,
    Event, Flow, Interrupt, InterruptKind, MachineState, PageFlags, PageSize, Repeat, Shape,
    ShapeId, Slot, Space, SpaceId, StackEffect, Translation, TranslationId, Vcpu, Walk, WalkId,
};

pub(crate) const CR0_PG: u64 = 1 << 31 | 1;
pub(crate) const CODE: u64 = 0x40_0000;
pub(crate) const DATA: u64 = 0x60_0000;
pub(crate) const PAGES: u64 = 24;
pub(crate) const ROOTS: [u64; 2] = [0x1000, 0x2000];
/// CR4 with PAE, and with or without PGE.
pub(crate) const CR4: [u64; 2] = [0x20, 0xa0];
pub(crate) const TABLES: [u64; 4] = [1, 3, 4, 5];

pub(crate) fn block(address: u64, privilege: u8, lengths: &[u8]) -> Block {
    Block {
        address,
        code_size: CodeSize::Bits64,
        privilege,
        space: None,
        lengths: lengths.into(),
        code: Box::default(),
    }
}

pub(crate) fn slot(instruction: u16, kind: AccessKind, bytes: u16) -> Slot {
    Slot { instruction, kind, bytes, modify: false, base: Base::Own, displacement: 0 }
}

pub(crate) fn shape(block: u32, completed: u16, slots: Vec<Slot>) -> Shape {
    Shape {
        block: BlockId(block),
        completed,
        interrupted: false,
        slots: slots.into(),
        repeat: None,
        flow: Flow::Other,
        stack: StackEffect::Moves(0),
    }
}

/// Two address spaces whose code is shared and whose data pages are each other's in reverse.
pub(crate) fn definitions() -> Definitions {
    let mut new = Definitions {
        spaces: ROOTS.map(|root| Space::Paged { root }).into(),
        walks: vec![Walk { tables: TABLES.into() }],
        ..Definitions::default()
    };
    for space in 0..2u32 {
        for page in 0..PAGES {
            let (base, frame, guest_kernel) = if page < 4 {
                (CODE >> 12, 0x100 + page, page < 2)
            } else {
                let other = if space == 0 { page } else { PAGES + 3 - page };
                (DATA >> 12, 0x200 + other, false)
            };
            new.translations.push(Translation {
                space: SpaceId(space),
                page: base + page,
                frame,
                guest_frame: frame,
                size: PageSize::Size4K,
                flags: PageFlags {
                    global: page % 3 == 0,
                    user: true,
                    writable: true,
                    executable: true,
                    guest_kernel,
                    device: page == PAGES - 1,
                },
                walk: WalkId(0),
            });
        }
    }
    new.blocks = vec![
        block(CODE + 0x10, 0, &[4, 3, 5]),
        block(CODE + 0xffa, 3, &[7, 2]),
        block(CODE + 0x2030, 3, &[1, 15, 8, 2]),
    ];
    new.shapes = vec![
        shape(0, 3, vec![slot(0, AccessKind::Read, 8), slot(2, AccessKind::Write, 4)]),
        shape(1, 2, vec![slot(1, AccessKind::Read, 16)]),
        shape(2, 4, vec![slot(1, AccessKind::Read, 8), slot(1, AccessKind::Write, 8)]),
        Shape { interrupted: true, ..shape(2, 1, vec![slot(1, AccessKind::Read, 8)]) },
        Shape {
            repeat: Some(Repeat { slots: 2, backward: false }),
            ..shape(1, 2, vec![slot(1, AccessKind::Read, 8), slot(1, AccessKind::Write, 8)])
        },
        shape(0, 3, vec![slot(1, AccessKind::Read, 8), marked(slot(1, AccessKind::Write, 8))]),
        shape(0, 3, vec![at_stack(1, AccessKind::Read), at_stack(1, AccessKind::Write)]),
        // Of another instruction: no modify.
        shape(0, 3, vec![at_stack(0, AccessKind::Read), at_stack(2, AccessKind::Write)]),
    ];
    new
}

/// A write that its producer calls the second half of a modify.
pub(crate) fn marked(slot: Slot) -> Slot {
    Slot { modify: true, ..slot }
}

/// An operand whose address both halves of a modify share.
pub(crate) fn at_stack(instruction: u16, kind: AccessKind) -> Slot {
    Slot { base: Base::Register(4), displacement: 16, ..slot(instruction, kind, 8) }
}

/// Number of shapes in [`definitions`].
pub(crate) const SHAPES: usize = 8;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Run { shape: usize, addresses: Vec<u64>, iterations: u64 },
    Cr3(bool),
    Pge(bool),
    Invlpg(u64),
    Fault(u64),
    Cpu(bool),
    CacheFlush,
    Dma(u64, u32),
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let address = (DATA + 4 * 4096..DATA + (PAGES - 1) * 4096 - 2048).prop_map(|a| a);
    let run = (0..SHAPES, prop::collection::vec(address.clone(), 2), 1..40u64)
        .prop_map(|(shape, addresses, iterations)| Step::Run { shape, addresses, iterations });
    let step = prop_oneof![
        20 => run,
        1 => any::<bool>().prop_map(Step::Cr3),
        1 => any::<bool>().prop_map(Step::Pge),
        1 => address.clone().prop_map(Step::Invlpg),
        1 => address.prop_map(Step::Fault),
        2 => any::<bool>().prop_map(Step::Cpu),
        1 => Just(Step::CacheFlush),
        1 => (0x200u64 << 12..0x220 << 12, 1..4096u32).prop_map(|(at, bytes)| Step::Dma(at, bytes)),
    ];
    prop::collection::vec(step, 1..200)
}

/// Two CPUs in one address space each.
pub(crate) fn initial() -> MachineState {
    let cpu = |number: u16| CpuState {
        cr0: CR0_PG,
        cr3: ROOTS[usize::from(number)],
        cr4: CR4[1],
        current: Vcpu { pointer: 0xffff_8300_0000_0000, domain: 1, number },
        ..CpuState::default()
    };
    MachineState { cpus: vec![cpu(0), cpu(1)], cpu: 0 }
}

pub(crate) fn fault(address: u64) -> Interrupt {
    Interrupt {
        vector: Some(14),
        kind: InterruptKind::Exception,
        error_code: Some(4),
        resume: CODE,
        code_segment: 0xe033,
        stack_before: 0x7fff_0000,
        stack_after: DATA + 4 * 4096 + 128,
        fault_address: address,
        gate_segment: 0xe008,
        gate_stack: 0,
    }
}

/// All translations told, then the steps, cut into batches of `size` executions.
pub(crate) fn batches(steps: &[Step], size: usize) -> Vec<Batch> {
    let mut first = Batch { new: definitions(), ..Batch::default() };
    for id in 0..first.new.translations.len() {
        first.event(Event::Translation(TranslationId(id as u32)));
    }
    let mut out = vec![first];
    let shapes = definitions().shapes;
    for step in steps {
        if out.last().is_none_or(|batch| batch.shapes.len() >= size) {
            out.push(Batch::default());
        }
        let batch = out.last_mut().expect("pushed above");
        match step {
            Step::Run { shape, addresses, iterations } => {
                batch.shapes.push(ShapeId(*shape as u32));
                batch.addresses.extend(&addresses[..shapes[*shape].slots.len()]);
                if shapes[*shape].repeat.is_some() {
                    batch.iterations.push(*iterations);
                }
            }
            Step::Cr3(second) => {
                let value = ROOTS[usize::from(*second)];
                batch.event(Event::Control { register: ControlRegister::Cr3, value });
            }
            Step::Pge(on) => {
                let value = CR4[usize::from(*on)];
                batch.event(Event::Control { register: ControlRegister::Cr4, value });
            }
            Step::Invlpg(address) => batch.event(Event::Invlpg { address: *address }),
            Step::Fault(address) => batch.event(Event::Interrupt(fault(*address))),
            Step::Cpu(second) => batch.event(Event::Cpu { number: u16::from(*second) }),
            Step::CacheFlush => batch.event(Event::CacheFlush),
            Step::Dma(address, bytes) => {
                batch.event(Event::Dma { address: *address, bytes: *bytes, write: true });
            }
        }
    }
    out
}

pub(crate) fn replay<N: Namer>(
    machine: &Machine,
    namer: N,
    batches: Vec<Batch>,
    extent: Extent,
) -> Profile {
    let mut replay = Replay::new(machine, namer, initial(), extent);
    for mut batch in batches {
        replay.batch(&mut batch);
    }
    replay.finish().expect("the laws hold").0
}
