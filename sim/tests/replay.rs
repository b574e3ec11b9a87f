//! A replay against a naive one that expands every reference by hand.

use proptest::prelude::*;
use strata_cachemodel::{ControlEvent, Hierarchy, Machine, Mapping, PageSize as Size, RefKind};
use strata_sim::{Counters, Extent, Name, Nameless, Namer, Naming, Place, Profile, Replay};
use strata_symbols::{DomainId, Layer};
use strata_workloads::trace::{
    AccessKind, Base, Batch, Block, BlockId, CodeSize, ControlRegister, Definitions, Event, Flow,
    Interrupt, InterruptKind, MachineState, PageFlags, PageSize, Repeat, Shape, ShapeId, Slot,
    Space, SpaceId, StackEffect, Translation, TranslationId, Vcpu, Walk, WalkId,
};

const CR0_PG: u64 = 1 << 31 | 1;
const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x60_0000;
const PAGES: u64 = 24;

fn vee07() -> Machine {
    Machine::load("vee07").expect("a preset")
}

fn block(address: u64, privilege: u8, lengths: &[u8]) -> Block {
    Block {
        address,
        code_size: CodeSize::Bits64,
        privilege,
        space: None,
        lengths: lengths.into(),
        code: Box::default(),
    }
}

fn slot(instruction: u16, kind: AccessKind, bytes: u16) -> Slot {
    Slot { instruction, kind, bytes, modify: false, base: Base::Own, displacement: 0 }
}

fn shape(block: u32, completed: u16, slots: Vec<Slot>) -> Shape {
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
fn definitions() -> Definitions {
    let mut new = Definitions {
        spaces: vec![Space::Paged { root: 0x1000 }, Space::Paged { root: 0x2000 }],
        walks: vec![Walk { tables: vec![1, 3, 4, 5] }],
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
    ];
    new
}

#[derive(Clone, Debug)]
enum Step {
    Run { shape: usize, addresses: Vec<u64>, iterations: u64 },
    Cr3(bool),
    Pge(bool),
    Invlpg(u64),
    Fault(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let address = (DATA + 4 * 4096..DATA + (PAGES - 1) * 4096 - 2048).prop_map(|a| a);
    let run = (0..5usize, prop::collection::vec(address.clone(), 2), 1..40u64)
        .prop_map(|(shape, addresses, iterations)| Step::Run { shape, addresses, iterations });
    let step = prop_oneof![
        20 => run,
        1 => any::<bool>().prop_map(Step::Cr3),
        1 => any::<bool>().prop_map(Step::Pge),
        1 => address.clone().prop_map(Step::Invlpg),
        1 => address.prop_map(Step::Fault),
    ];
    prop::collection::vec(step, 1..200)
}

fn initial() -> MachineState {
    let mut state = MachineState::default();
    let cpu = state.running_mut();
    (cpu.cr0, cpu.cr3, cpu.cr4) = (CR0_PG, 0x1000, 0xa0);
    cpu.current = Vcpu { pointer: 0xffff_8300_0000_0000, domain: 1, number: 0 };
    state
}

fn fault(address: u64) -> Interrupt {
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
fn batches(steps: &[Step], size: usize) -> Vec<Batch> {
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
                let value = if *second { 0x2000 } else { 0x1000 };
                batch.event(Event::Control { register: ControlRegister::Cr3, value });
            }
            Step::Pge(on) => {
                let value = if *on { 0xa0 } else { 0x20 };
                batch.event(Event::Control { register: ControlRegister::Cr4, value });
            }
            Step::Invlpg(address) => batch.event(Event::Invlpg { address: *address }),
            Step::Fault(address) => batch.event(Event::Interrupt(fault(*address))),
        }
    }
    out
}

fn replay<N: Namer>(machine: &Machine, namer: N, batches: Vec<Batch>, extent: Extent) -> Profile {
    let mut replay = Replay::new(machine, namer, initial(), extent);
    for mut batch in batches {
        replay.batch(&mut batch);
    }
    replay.finish().expect("the laws hold").0
}

/// The same stream, each reference looked up by searching the definitions.
struct Naive {
    hierarchy: Hierarchy,
    defined: Definitions,
    space: u32,
    instructions: u64,
    iterations: u64,
}

impl Naive {
    fn new(machine: &Machine) -> Self {
        let mut hierarchy = Hierarchy::new(machine);
        hierarchy.set_control_registers(strata_cachemodel::ControlRegisters {
            cr0: CR0_PG,
            cr3: 0x1000,
            cr4: 0xa0,
        });
        Naive { hierarchy, defined: definitions(), space: 0, instructions: 0, iterations: 0 }
    }

    fn mapping(&self, address: u64) -> Mapping {
        let found = self
            .defined
            .translations
            .iter()
            .find(|t| t.space == SpaceId(self.space) && t.page == address >> 12);
        match found {
            Some(t) => Mapping::new(t.frame, Size::Size4K)
                .with_global(t.flags.global)
                .with_device(t.flags.device),
            None => Mapping::identity(address),
        }
    }

    fn touch(&mut self, kind: RefKind, address: u64, bytes: u64) {
        let first = self.mapping(address);
        let last = address + bytes - 1;
        let second = (last >> 12 != address >> 12).then(|| self.mapping(last));
        self.hierarchy.access(kind, address, bytes as u32, first, second);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Run { shape, addresses, iterations } => {
                let shape = self.defined.shapes[*shape].clone();
                let block = self.defined.blocks[shape.block.index()].clone();
                for i in 0..=usize::from(shape.completed) {
                    if i < usize::from(shape.completed) {
                        let length = u64::from(block.lengths[i]);
                        self.touch(RefKind::Fetch, block.instruction_address(i), length);
                        self.instructions += 1;
                    }
                    let times = if shape.repeat.is_some() { *iterations } else { 1 };
                    for time in 0..times {
                        for (slot, address) in shape.slots.iter().zip(addresses) {
                            if usize::from(slot.instruction) == i {
                                let kind = match slot.kind {
                                    AccessKind::Read => RefKind::Read,
                                    AccessKind::Write => RefKind::Write,
                                };
                                let bytes = u64::from(slot.bytes);
                                self.touch(kind, address + time * bytes, bytes);
                            }
                        }
                    }
                }
                if shape.repeat.is_some() {
                    self.iterations += iterations;
                }
            }
            Step::Cr3(second) => {
                self.space = u32::from(*second);
                let value = if *second { 0x2000 } else { 0x1000 };
                self.hierarchy.control(ControlEvent::WriteCr3(value));
            }
            Step::Pge(on) => {
                self.hierarchy.control(ControlEvent::WriteCr4(if *on { 0xa0 } else { 0x20 }));
            }
            Step::Invlpg(address) => self.hierarchy.control(ControlEvent::Invlpg(*address)),
            Step::Fault(address) => self.hierarchy.control(ControlEvent::PageFault(*address)),
        }
    }
}

fn without_delivery() -> Machine {
    let mut machine = vee07();
    machine.set("event-delivery", "off").expect("a known key");
    machine.set("itlb.entries", "3").expect("a known key");
    machine.set("dtlb.entries", "7").expect("a known key");
    machine.set("l1d.size", "1KiB").expect("a known key");
    machine
}

proptest! {
    #[test]
    fn replay_counts_what_a_naive_expansion_counts(steps in steps(), size in 1..50usize) {
        let machine = without_delivery();
        let profile = replay(&machine, Nameless, batches(&steps, size), Extent::default());
        let mut naive = Naive::new(&machine);
        for step in &steps {
            naive.step(step);
        }
        prop_assert_eq!(profile.counts, naive.hierarchy.counts());
        prop_assert_eq!(profile.total.instructions, naive.instructions);
        prop_assert_eq!(profile.total.rep_iterations, naive.iterations);
    }

    #[test]
    fn a_warm_up_and_what_follows_it_add_up_to_the_whole(steps in steps(), warm_up in 1..300u64) {
        let machine = without_delivery();
        let all = replay(&machine, Nameless, batches(&steps, 50), Extent::default());
        prop_assume!(warm_up < all.total.instructions);
        let late = replay(&machine, Nameless, batches(&steps, 50), Extent { warm_up, range: 0..u64::MAX });
        let early = Extent { range: 0..warm_up, warm_up: 0 };
        let early = replay(&machine, Nameless, batches(&steps, 50), early);
        prop_assert_eq!(early.total.instructions + late.total.instructions, all.total.instructions);
        prop_assert_eq!(early.total.l1d().misses + late.total.l1d().misses, all.total.l1d().misses);
        prop_assert_eq!(early.total.dtlb.misses + late.total.dtlb.misses, all.total.dtlb.misses);
    }
}

/// Names code by its page.
struct ByPage;

impl Namer for ByPage {
    fn name(&mut self, place: &Place<'_>) -> Naming {
        if matches!(place.layer, Layer::User(_)) {
            return Naming::Later;
        }
        Naming::Known(self.settle(place))
    }

    fn settle(&mut self, place: &Place<'_>) -> Option<Name> {
        let function = format!("page_{}", (place.address - CODE) >> 12);
        Some(Name { module: "test".into(), function, address: place.address & !0xfff })
    }
}

fn run(shape: usize) -> Step {
    Step::Run { shape, addresses: vec![DATA + 5 * 4096, DATA + 6 * 4096], iterations: 3 }
}

fn rows(profile: &Profile) -> Vec<(Layer, String, Counters)> {
    let name = |row: &strata_sim::Row| {
        row.function.name.as_ref().map_or("?".to_owned(), |name| name.function.clone())
    };
    profile.rows.iter().map(|row| (row.function.layer, name(row), row.counters)).collect()
}

#[test]
fn each_instruction_is_charged_to_the_function_it_lies_in_even_in_the_middle_of_a_block() {
    let profile =
        replay(&vee07(), ByPage, batches(&[run(0), run(1), run(2)], 50), Extent::default());
    let kernel = Layer::Kernel(DomainId(1));
    let seen: Vec<_> = rows(&profile)
        .into_iter()
        .map(|(l, n, c)| (l, n, c.instructions, c.dtlb.accesses))
        .collect();
    assert_eq!(
        seen,
        [
            (Layer::Hypervisor, "page_0".to_owned(), 3, 2),
            (kernel, "page_0".to_owned(), 1, 0),
            (kernel, "page_1".to_owned(), 1, 1),
            (Layer::User(DomainId(1)), "page_2".to_owned(), 4, 2),
        ]
    );
}

#[test]
fn a_delivery_is_charged_to_the_handler_and_can_be_switched_off() {
    let steps = [run(2), Step::Fault(DATA), run(0)];
    let mut machine = vee07();
    let with = replay(&machine, ByPage, batches(&steps, 50), Extent::default());
    machine.set("event-delivery", "off").expect("a known key");
    let without = replay(&machine, ByPage, batches(&steps, 50), Extent::default());
    let handler = |profile: &Profile| rows(profile)[1].2;
    // Gate, descriptor and RSP0; SS, RSP, RFLAGS, CS, RIP and the error code.
    assert_eq!(handler(&with).l1d_reads.accesses, handler(&without).l1d_reads.accesses + 3);
    assert_eq!(handler(&with).l1d_writes.accesses, handler(&without).l1d_writes.accesses + 6);
    assert_eq!(
        (with.remarks.synthesised_references, without.remarks.synthesised_references),
        (9, 0)
    );
    assert_eq!(with.total.instructions, without.total.instructions);
}

#[test]
fn accesses_of_an_instruction_that_faulted_count_and_its_fetch_does_not() {
    let profile = replay(&vee07(), ByPage, batches(&[run(3)], 50), Extent::default());
    assert_eq!((profile.total.instructions, profile.total.l1i.accesses), (1, 1));
    assert_eq!(profile.total.dtlb.accesses, 1);
}

#[test]
fn every_iteration_of_a_rep_makes_its_accesses_and_the_instruction_counts_once() {
    let profile = replay(&vee07(), ByPage, batches(&[run(4)], 50), Extent::default());
    assert_eq!((profile.total.instructions, profile.total.rep_iterations), (2, 3));
    assert_eq!((profile.total.l1d_reads.accesses, profile.total.l1d_writes.accesses), (3, 3));
}

#[test]
fn a_range_beyond_the_trace_is_an_error_that_says_where_the_trace_ends() {
    let extent = Extent { range: 1000..2000, warm_up: 0 };
    let mut replay = Replay::new(&vee07(), Nameless, initial(), extent);
    for mut batch in batches(&[run(0)], 50) {
        replay.batch(&mut batch);
    }
    let error = replay.finish().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("the trace ends at instruction 3"), "{error}");
}

#[test]
fn a_range_begins_with_the_control_registers_of_its_place() {
    // CR4.PGE is cleared before the range and set within it: one change.
    let steps = [run(0), Step::Pge(false), run(0), Step::Pge(true), run(0)];
    let extent = Extent { range: 6..u64::MAX, warm_up: 0 };
    let profile = replay(&vee07(), Nameless, batches(&steps, 50), extent);
    assert_eq!((profile.total.instructions, profile.counts.flushes.pge_changes), (3, 1));
}

#[test]
fn device_pages_go_through_the_tlb_and_no_cache() {
    let device = DATA + (PAGES - 1) * 4096;
    let step = Step::Run { shape: 1, addresses: vec![device, 0], iterations: 0 };
    let profile = replay(&vee07(), Nameless, batches(&[step], 50), Extent::default());
    assert_eq!((profile.total.device, profile.total.l1d().accesses), (1, 0));
    assert_eq!(profile.total.dtlb.accesses, 1);
}
