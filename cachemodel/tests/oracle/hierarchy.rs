//! A machine from its definition: TLBs in front, caches behind.

use std::collections::BTreeMap;

use strata_cachemodel::{Machine, Mapping, RefKind, Semantics, Translator, WalkMemory};

use crate::cache::At;
use crate::classes::{TlbClass, TlbClasses};
use crate::counts::{Counts, Kinds, Outcome};
use crate::events::{Context, Event};
use crate::memory::{Cause, Memory};
use crate::tlb::{Found, Tlb};
use crate::walk::Walker;

/// What each CPU has for itself besides caches.
#[derive(Debug, Clone)]
struct Cpu {
    /// For instructions and for data.
    first: [Tlb; 2],
    second: Option<Tlb>,
    walker: Walker,
    context: Context,
    /// Of the two TLBs of the first level.
    classes: Option<[TlbClasses; 2]>,
}

/// Everything, the slow way.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    semantics: Semantics,
    walks_enter: WalkMemory,
    cpus: Vec<Cpu>,
    cpu: u16,
    instruction: u64,
    pub(crate) memory: Memory,
    /// Misses of first-level TLBs by whether of a fetch, who missed, and why.
    pub(crate) tlb_classes: BTreeMap<(bool, u8, TlbClass), u64>,
}

/// What looking up the pages of one unit of counting found.
#[derive(Debug, Clone, Copy, Default)]
struct PagesFound {
    missed: bool,
    stale: bool,
    asked_second: bool,
    missed_second: bool,
    stale_second: bool,
    /// Of the first page that missed.
    class: Option<TlbClass>,
}

/// `va`, and the first address of each further `unit` that the bytes touch.
fn pieces(va: u64, bytes: u64, unit: u64) -> Vec<u64> {
    let first = va / unit * unit;
    let count = (va % unit + bytes).div_ceil(unit);
    let start = |number: u64| if number == 0 { va } else { first.wrapping_add(number * unit) };
    (0..count).map(start).collect()
}

fn of_kind(kinds: &mut Kinds, kind: RefKind) -> &mut u64 {
    match kind {
        RefKind::Fetch => &mut kinds.fetches,
        RefKind::Read => &mut kinds.reads,
        RefKind::Write | RefKind::ModifyWrite => &mut kinds.writes,
    }
}

impl Oracle {
    pub(crate) fn new(machine: &Machine) -> Self {
        let semantics = machine.semantics();
        let cpu = |cpu: u16| {
            let copy = 256 * u64::from(cpu);
            let tlb = |spec, structure| Tlb::new(spec, machine.seed(), structure + copy);
            Cpu {
                first: [tlb(machine.itlb(), 8), tlb(machine.dtlb(), 9)],
                second: machine.stlb().map(|spec| tlb(spec, 10)),
                walker: Walker::new(machine.walk()),
                context: Context::new(machine),
                classes: None,
            }
        };
        let writes_back = matches!(semantics, Semantics::PerReference | Semantics::SplitWriteback);
        Self {
            semantics,
            walks_enter: machine.walk().memory,
            cpus: (0..machine.cpus()).map(cpu).collect(),
            cpu: 0,
            instruction: 0,
            memory: Memory::new(machine, writes_back),
            tlb_classes: BTreeMap::new(),
        }
    }

    /// Before the first reference.
    pub(crate) fn enable_classes(&mut self) {
        for placed in &mut self.memory.caches {
            placed.classes.enabled = true;
        }
        for cpu in &mut self.cpus {
            cpu.classes = Some(cpu.first.clone().map(TlbClasses::new));
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.memory.counts
    }

    pub(crate) fn set_cpu(&mut self, cpu: u16) {
        self.cpu = cpu;
        self.memory.set_cpu(cpu);
    }

    pub(crate) fn set_instruction(&mut self, address: u64) {
        self.instruction = address;
    }

    pub(crate) fn context(&self) -> &Context {
        &self.cpus[usize::from(self.cpu)].context
    }

    pub(crate) fn set_registers(&mut self, cr0: u64, cr3: u64, cr4: u64) {
        self.cpus[usize::from(self.cpu)].context.set_registers(cr0, cr3, cr4);
    }

    pub(crate) fn control(&mut self, event: Event) {
        let cpu = &mut self.cpus[usize::from(self.cpu)];
        if !cpu.context.takes_place(event) {
            return;
        }
        let counts = &mut self.memory.counts;
        let flushed = [&mut counts.itlb.flushed, &mut counts.dtlb.flushed];
        for (side, flushed) in flushed.into_iter().enumerate() {
            let dropped = cpu.first[side].control(event, &cpu.context);
            *flushed += dropped.len() as u64;
            if let Some(classes) = &mut cpu.classes {
                classes[side].dropped(&dropped, cpu.context.cause(event));
            }
        }
        if let Some(second) = &mut cpu.second {
            counts.stlb.flushed += second.control(event, &cpu.context).len() as u64;
        }
        cpu.walker.control(event, &cpu.context);
        cpu.context.apply(event, &mut counts.flushes);
    }

    pub(crate) fn access(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u32,
        translator: &mut impl Translator,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if kind == RefKind::ModifyWrite && self.semantics == Semantics::Cachegrind {
            self.memory.counts.folded_writes += 1;
            return outcome;
        }
        *of_kind(&mut self.memory.counts.references, kind) += 1;
        if kind == RefKind::Fetch {
            self.instruction = va;
        }
        let bytes = match self.semantics {
            Semantics::FirstByte => 1,
            _ => u64::from(bytes.max(1)),
        };
        let within_two_pages = bytes.min(2 * 4096 - va % 4096);
        self.memory.counts.clipped += u64::from(within_two_pages < bytes);
        let bytes = within_two_pages;
        let small_pages = pieces(va, bytes, 4096);
        let mappings: Vec<Mapping> = small_pages.iter().map(|&va| translator.mapping(va)).collect();

        let mut pages: Vec<(u64, Mapping)> =
            small_pages.iter().copied().zip(mappings.iter().copied()).collect();
        pages.dedup_by_key(|(va, mapping)| (*va >> mapping.size().shift(), mapping.size()));
        self.access_pages(kind, &pages, translator, &mut outcome);

        if mappings.iter().any(|mapping| mapping.is_device()) {
            *of_kind(&mut self.memory.counts.device, kind) += 1;
            outcome.device = true;
            return outcome;
        }
        let lines = pieces(va, bytes, self.memory.line_bytes(kind == RefKind::Fetch));
        let lines = lines.into_iter().map(|line| {
            let page = (va % 4096 + line.wrapping_sub(va)) / 4096;
            At { va: line, pa: mappings[page as usize].physical(line).0 }
        });
        self.access_lines(kind, &lines.collect::<Vec<_>>(), &mut outcome);
        outcome
    }

    fn splits(&self) -> bool {
        matches!(self.semantics, Semantics::SplitDemandOnly | Semantics::SplitWriteback)
    }

    fn access_pages(
        &mut self,
        kind: RefKind,
        pages: &[(u64, Mapping)],
        translator: &mut impl Translator,
        outcome: &mut Outcome,
    ) {
        let unit = if self.splits() { 1 } else { pages.len() };
        for unit in pages.chunks(unit) {
            let mut found = PagesFound::default();
            for &(va, mapping) in unit {
                self.look_up_page(kind, va, mapping, &mut found, translator, outcome);
            }
            let counts = &mut self.memory.counts;
            let (first, second) = match kind {
                RefKind::Fetch => (&mut counts.itlb, &mut counts.stlb.fetches),
                _ => (&mut counts.dtlb, &mut counts.stlb.data),
            };
            first.all.count(found.missed);
            first.stale_hits += u64::from(found.stale);
            if found.asked_second {
                second.count(found.missed_second);
                outcome.stlb_accesses += 1;
            }
            counts.stlb.stale_hits += u64::from(found.stale_second);
            if let Some(class) = found.class {
                let key = (kind == RefKind::Fetch, self.memory.actor, class);
                *self.tlb_classes.entry(key).or_default() += 1;
            }
            outcome.tlb_accesses += 1;
            outcome.tlb_misses += u64::from(found.missed);
            outcome.stlb_misses += u64::from(found.missed_second);
            outcome.stale_hits += u64::from(found.stale) + u64::from(found.stale_second);
        }
    }

    fn look_up_page(
        &mut self,
        kind: RefKind,
        va: u64,
        mapping: Mapping,
        found: &mut PagesFound,
        translator: &mut impl Translator,
        outcome: &mut Outcome,
    ) {
        let side = usize::from(kind != RefKind::Fetch);
        let Cpu { first, second, context, classes, .. } = &mut self.cpus[usize::from(self.cpu)];
        let first = &mut first[side];
        let tags = context.tags(mapping);
        let entry = first.entry_for(va, mapping, tags);
        let mut made = entry;
        let look_up = |tlb: &mut Tlb| {
            tlb.look_up(va, mapping, |entry| context.may_use(&entry.tags), tags.global)
        };
        let class = classes.as_mut().map(|classes| classes[side].look_up(va, mapping, &entry));
        match look_up(first) {
            Found::Right => return,
            Found::Stale(_) => {
                found.stale = true;
                return;
            }
            Found::Nothing => found.missed = true,
        }
        found.class = found.class.or(class);
        let mut walks = true;
        if let Some(second) = second {
            found.asked_second = true;
            match look_up(second) {
                Found::Right => walks = false,
                Found::Stale(other) => {
                    walks = false;
                    found.stale_second = true;
                    made = first.copy_of(va, &other);
                }
                Found::Nothing => {
                    found.missed_second = true;
                    second.insert(second.entry_for(va, mapping, tags));
                }
            }
        }
        let evicted = first.insert(made);
        if let Some(classes) = classes {
            classes[side].missed(&entry, &made, evicted.as_ref());
        }
        if walks {
            self.walk(va, translator, outcome);
        }
    }

    fn walk(&mut self, va: u64, translator: &mut impl Translator, outcome: &mut Outcome) {
        self.memory.counts.walks.walks += 1;
        outcome.walks += 1;
        let enters_at = match self.walks_enter {
            WalkMemory::Off => return,
            WalkMemory::L1d => 0,
            WalkMemory::L2 => 1,
        };
        let Some(walk) = translator.walk(va) else {
            self.memory.counts.walks.unknown += 1;
            return;
        };
        let Cpu { walker, context, .. } = &mut self.cpus[usize::from(self.cpu)];
        for address in walker.walk(va, &walk, context) {
            self.memory.counts.walks.references += 1;
            self.memory.walk_read(address, enters_at, outcome);
        }
    }

    fn access_lines(&mut self, kind: RefKind, lines: &[At], outcome: &mut Outcome) {
        let fetch = kind == RefKind::Fetch;
        let cause = match kind {
            RefKind::Fetch => Cause::Fetch,
            RefKind::Read => Cause::Read,
            RefKind::Write | RefKind::ModifyWrite => Cause::Write,
        };
        let memory = &mut self.memory;
        if self.semantics == Semantics::Cachegrind {
            for &at in lines {
                memory.first_level_only(at, cause);
            }
            let (all, missing) = memory.first_sends_writes_on();
            let (all, missing) = (cause == Cause::Write && all, cause == Cause::Write && missing);
            if memory.missed_first() || all {
                for &at in lines {
                    memory.below_first(at, cause, all || missing);
                }
            }
        } else {
            for &at in lines {
                memory.demand(at, cause);
                if matches!(self.semantics, Semantics::SplitDemandOnly | Semantics::SplitWriteback)
                {
                    memory.end_of_unit(cause, outcome);
                }
            }
        }
        memory.end_of_unit(cause, outcome);
        if !fetch {
            memory.train(self.instruction, lines[0]);
        }
        memory.prefetch(fetch);
    }
}
