//! The replay restated: every reference by hand, every translation by search.

use crate::stream::{CR0_PG, CR4, ROOTS, Step, TABLES, definitions};
use crate::vee07;
use strata_cachemodel::{
    ControlEvent, ControlRegisters, Hierarchy, Machine, Mapping, PageSize as Size, PageWalk,
    PhysAddr, RefKind, TableWalk, Translator,
};
use strata_workloads::trace::{AccessKind, Base, Definitions, Slot, SpaceId, Translation};

/// Translations, found by searching the definitions.
pub(crate) struct Searched {
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
pub(crate) struct Naive {
    pub(crate) hierarchy: Hierarchy,
    searched: Searched,
    cr4: [u64; 2],
    pub(crate) instructions: u64,
    pub(crate) iterations: u64,
}

impl Naive {
    pub(crate) fn new(machine: &Machine) -> Self {
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
        Naive { hierarchy, searched, cr4: [CR4[1]; 2], instructions: 0, iterations: 0 }
    }

    fn touch(&mut self, kind: RefKind, address: u64, bytes: u64) {
        self.hierarchy.access(kind, address, bytes as u32, &mut self.searched);
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Run { shape, addresses, iterations } => self.run(*shape, addresses, *iterations),
            Step::Cr3(second) => {
                self.searched.spaces[self.searched.cpu] = u32::from(*second);
                self.hierarchy.control(ControlEvent::WriteCr3(ROOTS[usize::from(*second)]));
            }
            Step::Pge(on) => {
                self.cr4[self.searched.cpu] = CR4[usize::from(*on)];
                self.hierarchy.control(ControlEvent::WriteCr4(CR4[usize::from(*on)]));
            }
            Step::Invlpg(address) => self.hierarchy.control(ControlEvent::Invlpg(*address)),
            Step::Fault(address) => self.hierarchy.control(ControlEvent::PageFault(*address)),
            Step::Cpu(second) => {
                let (before, now) = (self.searched.cpu, usize::from(*second));
                self.searched.cpu = now;
                self.hierarchy.set_cpu(now as u16);
                if before != now && self.hierarchy.machine().cpus() == 1 {
                    let cr3 = ROOTS[self.searched.spaces[now] as usize];
                    let registers = ControlRegisters { cr0: CR0_PG, cr3, cr4: self.cr4[now] };
                    self.hierarchy.set_control_registers(registers);
                    self.hierarchy.control(ControlEvent::WriteCr3(cr3));
                }
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
pub(crate) fn expected_kind(before: &[Slot], slot: &Slot) -> RefKind {
    if slot.kind == AccessKind::Read {
        return RefKind::Read;
    }
    let its_read = Slot { kind: AccessKind::Read, ..*slot };
    let reads_the_same = slot.base != Base::Own && before.last() == Some(&its_read);
    if slot.modify || reads_the_same { RefKind::ModifyWrite } else { RefKind::Write }
}

/// Small enough that random streams miss in everything.
pub(crate) fn small(more: &[(&str, &str)]) -> Machine {
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
pub(crate) fn machines() -> Vec<Machine> {
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
