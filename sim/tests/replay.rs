//! A replay against a naive one that expands every reference by hand.

use proptest::prelude::*;
use strata_cachemodel::{
    ControlEvent, ControlRegisters, Hierarchy, Machine, Mapping, PageSize as Size, PageWalk,
    PhysAddr, RefKind, TableWalk, Translator,
};
use strata_sim::{Counters, Extent, Name, Nameless, Namer, Naming, Place, Profile, Replay};
use strata_symbols::{DomainId, Layer};
use strata_workloads::trace::{
    AccessKind, Base, Batch, Block, BlockId, CodeSize, ControlRegister, CpuState, Definitions,
    Event, Flow, Interrupt, InterruptKind, MachineState, PageFlags, PageSize, Repeat, Shape,
    ShapeId, Slot, Space, SpaceId, StackEffect, Translation, TranslationId, Vcpu, Walk, WalkId,
};

const CR0_PG: u64 = 1 << 31 | 1;
const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x60_0000;
const PAGES: u64 = 24;
const ROOTS: [u64; 2] = [0x1000, 0x2000];
/// CR4 with PAE, and with or without PGE.
const CR4: [u64; 2] = [0x20, 0xa0];
const TABLES: [u64; 4] = [1, 3, 4, 5];

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
fn marked(slot: Slot) -> Slot {
    Slot { modify: true, ..slot }
}

/// An operand whose address both halves of a modify share.
fn at_stack(instruction: u16, kind: AccessKind) -> Slot {
    Slot { base: Base::Register(4), displacement: 16, ..slot(instruction, kind, 8) }
}

/// Number of shapes in [`definitions`].
const SHAPES: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Run { shape: usize, addresses: Vec<u64>, iterations: u64 },
    Cr3(bool),
    Pge(bool),
    Invlpg(u64),
    Fault(u64),
    Cpu(bool),
    CacheFlush,
    Dma(u64, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
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
fn initial() -> MachineState {
    let cpu = |number: u16| CpuState {
        cr0: CR0_PG,
        cr3: ROOTS[usize::from(number)],
        cr4: CR4[1],
        current: Vcpu { pointer: 0xffff_8300_0000_0000, domain: 1, number },
        ..CpuState::default()
    };
    MachineState { cpus: vec![cpu(0), cpu(1)], cpu: 0 }
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

fn replay<N: Namer>(machine: &Machine, namer: N, batches: Vec<Batch>, extent: Extent) -> Profile {
    let mut replay = Replay::new(machine, namer, initial(), extent);
    for mut batch in batches {
        replay.batch(&mut batch);
    }
    replay.finish().expect("the laws hold").0
}

/// Translations, found by searching the definitions.
struct Searched {
    defined: Definitions,
    /// The address space of each CPU.
    spaces: [u32; 2],
    cpu: usize,
}

impl Searched {
    fn find(&self, address: u64) -> Option<&Translation> {
        let space = SpaceId(self.spaces[self.cpu]);
        self.defined.translations.iter().find(|t| t.space == space && t.page == address >> 12)
    }
}

impl Translator for Searched {
    fn mapping(&mut self, va: u64) -> Mapping {
        match self.find(va) {
            Some(t) => Mapping::new(t.frame, Size::Size4K)
                .with_global(t.flags.global)
                .with_device(t.flags.device),
            None => Mapping::identity(va),
        }
    }

    fn walk(&mut self, va: u64) -> Option<PageWalk> {
        self.find(va).map(|_| PageWalk::Plain(TableWalk::new(&TABLES, 12)))
    }
}

/// The same stream, reference by reference.
struct Naive {
    hierarchy: Hierarchy,
    searched: Searched,
    instructions: u64,
    iterations: u64,
}

impl Naive {
    fn new(machine: &Machine) -> Self {
        let mut hierarchy = Hierarchy::new(machine);
        for cpu in [1, 0] {
            hierarchy.set_cpu(cpu % machine.cpus());
            hierarchy.set_control_registers(ControlRegisters {
                cr0: CR0_PG,
                cr3: ROOTS[usize::from(cpu)],
                cr4: CR4[1],
            });
        }
        let searched = Searched { defined: definitions(), spaces: [0, 1], cpu: 0 };
        Naive { hierarchy, searched, instructions: 0, iterations: 0 }
    }

    fn touch(&mut self, kind: RefKind, address: u64, bytes: u64) {
        self.hierarchy.access(kind, address, bytes as u32, &mut self.searched);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Run { shape, addresses, iterations } => self.run(*shape, addresses, *iterations),
            Step::Cr3(second) => {
                self.searched.spaces[self.searched.cpu] = u32::from(*second);
                self.hierarchy.control(ControlEvent::WriteCr3(ROOTS[usize::from(*second)]));
            }
            Step::Pge(on) => {
                self.hierarchy.control(ControlEvent::WriteCr4(CR4[usize::from(*on)]));
            }
            Step::Invlpg(address) => self.hierarchy.control(ControlEvent::Invlpg(*address)),
            Step::Fault(address) => self.hierarchy.control(ControlEvent::PageFault(*address)),
            Step::Cpu(second) => {
                self.searched.cpu = usize::from(*second);
                self.hierarchy.set_cpu(u16::from(*second));
            }
            Step::CacheFlush => self.hierarchy.flush_caches(),
            Step::Dma(address, bytes) => {
                self.hierarchy.invalidate_physical(PhysAddr(*address), u64::from(*bytes));
            }
        }
    }

    fn run(&mut self, shape: usize, addresses: &[u64], iterations: u64) {
        let shape = self.searched.defined.shapes[shape].clone();
        let block = self.searched.defined.blocks[shape.block.index()].clone();
        for i in 0..=usize::from(shape.completed) {
            if i < usize::from(shape.completed) {
                let length = u64::from(block.lengths[i]);
                self.touch(RefKind::Fetch, block.instruction_address(i), length);
                self.instructions += 1;
            }
            let times = if shape.repeat.is_some() { iterations } else { 1 };
            for time in 0..times {
                for (index, (slot, address)) in shape.slots.iter().zip(addresses).enumerate() {
                    if usize::from(slot.instruction) == i {
                        let bytes = u64::from(slot.bytes);
                        let kind = expected_kind(&shape.slots[..index], slot);
                        self.touch(kind, address + time * bytes, bytes);
                    }
                }
            }
        }
        if shape.repeat.is_some() {
            self.iterations += iterations;
        }
    }
}

/// What a slot is, after those before it.
fn expected_kind(before: &[Slot], slot: &Slot) -> RefKind {
    if slot.kind == AccessKind::Read {
        return RefKind::Read;
    }
    let its_read = Slot { kind: AccessKind::Read, ..slot.clone() };
    let reads_the_same = slot.base != Base::Own && before.last() == Some(&its_read);
    if slot.modify || reads_the_same { RefKind::ModifyWrite } else { RefKind::Write }
}

/// Small enough that random streams miss in everything.
fn small(more: &[(&str, &str)]) -> Machine {
    let small = [
        ("event-delivery", "off"),
        ("itlb.entries", "3"),
        ("dtlb.entries", "7"),
        ("l1d.size", "1KiB"),
        ("l2.size", "16KiB"),
    ];
    let overrides = small.iter().chain(more).copied();
    vee07().with_overrides(overrides).expect("a machine that can be")
}

/// Every part of the models that a replay feeds.
fn machines() -> Vec<Machine> {
    let l3 = [("l3.size", "32KiB"), ("l3.ways", "4"), ("l3.line-size", "64")];
    let stlb = [("stlb.entries", "12"), ("stlb.ways", "3")];
    vec![
        small(&[]),
        small(&[("semantics", "cachegrind")]),
        small(&[("semantics", "split-writeback"), ("l1d.replacement", "srrip")]),
        small(&[("cpus", "2"), ("tags", "pcid")]),
        small(&[("walk.memory", "l1d"), ("walk.pde-cache", "2"), l3[0], l3[1], l3[2]]),
        small(&[stlb[0], stlb[1], ("l1d.prefetch", "stride"), ("tags", "vpid")]),
    ]
}

proptest! {
    #[test]
    fn replay_counts_what_a_naive_expansion_counts(steps in steps(), size in 1..50usize) {
        for machine in machines() {
            let profile = replay(&machine, Nameless, batches(&steps, size), Extent::default());
            let mut naive = Naive::new(&machine);
            for step in &steps {
                naive.step(step);
            }
            prop_assert_eq!(profile.counts, naive.hierarchy.counts());
            prop_assert_eq!(profile.total.instructions, naive.instructions);
            prop_assert_eq!(profile.total.rep_iterations, naive.iterations);
        }
    }

    #[test]
    fn a_warm_up_and_what_follows_it_add_up_to_the_whole(steps in steps(), warm_up in 1..300u64) {
        let machine = small(&[]);
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
    assert_eq!(
        handler(&with).levels[0].reads.accesses,
        handler(&without).levels[0].reads.accesses + 3
    );
    assert_eq!(
        handler(&with).levels[0].writes.accesses,
        handler(&without).levels[0].writes.accesses + 6
    );
    assert_eq!(
        (with.remarks.synthesised_references, without.remarks.synthesised_references),
        (9, 0)
    );
    assert_eq!(with.total.instructions, without.total.instructions);
}

#[test]
fn accesses_of_an_instruction_that_faulted_count_and_its_fetch_does_not() {
    let profile = replay(&vee07(), ByPage, batches(&[run(3)], 50), Extent::default());
    assert_eq!((profile.total.instructions, profile.total.l1i().accesses), (1, 1));
    assert_eq!(profile.total.dtlb.accesses, 1);
}

#[test]
fn every_iteration_of_a_rep_makes_its_accesses_and_the_instruction_counts_once() {
    let profile = replay(&vee07(), ByPage, batches(&[run(4)], 50), Extent::default());
    assert_eq!((profile.total.instructions, profile.total.rep_iterations), (2, 3));
    assert_eq!(
        (profile.total.levels[0].reads.accesses, profile.total.levels[0].writes.accesses),
        (3, 3)
    );
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

#[test]
fn a_write_that_follows_the_read_of_its_operand_is_no_access_under_cachegrind_semantics() {
    let machine = small(&[("semantics", "cachegrind")]);
    let writes = |shape: usize| {
        let profile = replay(&machine, Nameless, batches(&[run(shape)], 50), Extent::default());
        let level = profile.total.levels[0];
        (level.reads.accesses, level.writes.accesses, profile.counts.references.folded_writes)
    };
    assert_eq!([2, 5, 6, 7].map(writes), [(1, 1, 0), (1, 0, 1), (1, 0, 1), (1, 1, 0)]);
}

#[test]
fn a_walk_reads_one_entry_of_each_table_and_a_page_beside_it_finds_them_cached() {
    let machine = small(&[("walk.memory", "l1d")]);
    let at =
        |page: u64| Step::Run { shape: 1, addresses: vec![DATA + page * 4096, 0], iterations: 0 };
    let walks = |steps: &[Step]| {
        let total = replay(&machine, Nameless, batches(steps, 50), Extent::default()).total;
        (total.walks, total.walk_accesses(), total.walk_levels[0].misses)
    };
    // Two pages of code and one of data, whose entries share a line in each table.
    assert_eq!(walks(&[at(5)]), (3, 12, 4));
    assert_eq!(walks(&[at(5), at(6)]), (4, 16, 4));
    assert_eq!(walks(&[at(5), at(12)]), (4, 16, 5));
    // Without a translation there are no tables.
    let mut batch = batches(&[at(5)], 50);
    batch[0].events.clear();
    let profile = replay(&machine, Nameless, batch, Extent::default());
    assert_eq!((profile.counts.walks.unknown, profile.total.walk_accesses()), (3, 0));
}

#[test]
fn each_cpu_has_its_own_translations_and_a_write_of_one_takes_the_lines_of_the_other() {
    let machine = small(&[("cpus", "2")]);
    // Page 5 of the first address space and page 22 of the second are one frame.
    let write =
        |page: u64| Step::Run { shape: 7, addresses: vec![DATA + page * 4096; 2], iterations: 0 };
    let other = PAGES + 3 - 5;
    let steps = [write(5), Step::Cpu(true), write(other), Step::Cpu(false), write(5)];
    let profile = replay(&machine, Nameless, batches(&steps, 50), Extent::default());
    let l1 = profile.counts.l1;
    assert_eq!((l1.invalidations, l1.coherence_misses), (2, 1));
    assert_eq!((profile.counts.dtlb.all.accesses, profile.counts.dtlb.all.misses), (6, 2));
    assert_eq!(profile.total.stale, 0);
}

#[test]
fn after_a_cache_flush_every_line_is_fetched_again_and_no_translation() {
    let twice = |between: &[Step]| {
        let steps = [&[run(2)], between, &[run(2)]].concat();
        let profile = replay(&small(&[]), Nameless, batches(&steps, 50), Extent::default());
        (profile.total.l1i().misses, profile.total.l1d().misses, profile.total.dtlb.misses)
    };
    let (fetches, data, pages) = twice(&[]);
    assert_eq!(twice(&[Step::CacheFlush]), (2 * fetches, 2 * data, pages));
}
