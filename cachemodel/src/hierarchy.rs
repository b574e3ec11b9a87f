//! Caches and TLBs driven by references.
//!
//! A reference is *plain* if its page is where the TLB's last look-up of it left it, its line is the
//! one touched last in its set, and it lies in one line: then it is a hit in both, changes nothing
//! but the page's recency, and is counted without a look-up. Nine of ten references are, on any
//! machine. All others take the full way, which alone would give the same counts.

mod execution;
mod full;

pub use execution::{Code, Operand, Run};

use crate::caches::Actor;
use crate::counts::Counts;
use crate::error::BrokenLaw;
use crate::machine::{Machine, WalkMemory};
use crate::memory::{CacheClasses, Memory};
use crate::outcome::Outcome;
use crate::page::PhysAddr;
use crate::semantics::Semantics;
use crate::translation::{ControlEvent, ControlRegisters, Side, TranslationUnit};
use crate::translator::Translator;

/// Kind of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefKind {
    /// An instruction is fetched.
    Fetch,
    /// An operand is read; also the read half of a modify.
    Read,
    /// An operand is written.
    Write,
    /// The write half of a modify, which some semantics do not count.
    ModifyWrite,
}

impl RefKind {
    #[inline(always)]
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ModifyWrite)
    }

    #[inline(always)]
    fn side(self) -> Side {
        if self == Self::Fetch { Side::Instruction } else { Side::Data }
    }
}

/// One reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Its kind.
    pub kind: RefKind,
    /// Virtual address of its first byte.
    pub va: u64,
    /// Its size; 0 touches the first byte.
    pub bytes: u32,
}

/// Plain references by kind: read, write, fetch.
#[derive(Debug, Clone, Copy, Default)]
struct PlainHits {
    fetches: u64,
    reads: u64,
    writes: u64,
}

/// No line has this number.
const NO_LINE: u64 = u64::MAX;

/// Caches and TLBs of a machine.
///
/// ```
/// use strata_cachemodel::{Hierarchy, Identity, RefKind, preset};
///
/// let mut hierarchy = Hierarchy::new(&preset::named("vee07")?);
/// let outcome = hierarchy.access(RefKind::Read, 0x7f00_0000_0010, 8, &mut Identity);
/// assert_eq!((outcome.misses, outcome.tlb_misses), ([1, 1, 0], 1));
/// let again = hierarchy.access(RefKind::Write, 0x7f00_0000_0018, 8, &mut Identity);
/// assert!(again.is_all_hits());
/// assert_eq!(hierarchy.counts().l1.data().accesses, 2);
/// # Ok::<(), strata_cachemodel::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hierarchy {
    semantics: Semantics,
    memory: Memory,
    /// TLBs of the present CPU.
    unit: TranslationUnit,
    /// Those of the others, by CPU; the present one's place holds what is left of it.
    parked: Vec<Option<TranslationUnit>>,
    cpu: u16,
    /// Counts look-ups, for recency.
    now: u64,
    fetch_shift: u32,
    data_shift: u32,
    /// Virtual number of the line of the last plain fetch: nothing but a fetch, and what forgets
    /// this, touches L1I and ITLB, so another fetch from it is plain.
    last_fetch_line: u64,
    /// Fetches and data accesses can disturb each other's lines.
    entangled: bool,
    walks: bool,
    /// Address of the instruction whose operands come next.
    instruction: u64,
    needs_instruction: bool,
    plain: PlainHits,
    counts: Counts,
    machine: Machine,
    classes: Option<Box<TlbClasses>>,
}

pub use full::{TlbClassCounts, TlbClasses};

impl Hierarchy {
    /// Empty caches and TLBs, with global pages on and PCID 0, running on CPU 0.
    #[must_use]
    pub fn new(machine: &Machine) -> Self {
        let parked = (1..machine.cpus()).map(|cpu| Some(TranslationUnit::new(machine, cpu)));
        let level_1 = &machine.levels()[0];
        let some_inclusive = machine.levels().iter().any(|level| {
            [level.instruction(), level.data()]
                .iter()
                .any(|cache| cache.inclusion() == crate::machine::Inclusion::Inclusive)
        });
        Self {
            semantics: machine.semantics(),
            memory: Memory::new(machine),
            unit: TranslationUnit::new(machine, 0),
            parked: std::iter::once(None).chain(parked).collect(),
            cpu: 0,
            now: 0,
            fetch_shift: machine.l1i().geometry().line_shift(),
            data_shift: machine.l1d().geometry().line_shift(),
            last_fetch_line: NO_LINE,
            entangled: level_1.is_unified() || some_inclusive,
            walks: machine.walk().memory != WalkMemory::Off,
            instruction: 0,
            needs_instruction: machine
                .levels()
                .iter()
                .any(|level| level.data().prefetcher() == crate::machine::Prefetcher::Stride),
            plain: PlainHits::default(),
            counts: Counts::default(),
            machine: machine.clone(),
            classes: None,
        }
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// One reference of `bytes` bytes at virtual address `va`.
    ///
    /// What lies beyond the page of `va` and the one behind it is left out and the reference
    /// counted as clipped. A reference of 0 bytes touches its first byte. A reference that touches
    /// a device's page goes to no cache.
    #[inline]
    pub fn access<T: Translator>(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u32,
        translator: &mut T,
    ) -> Outcome {
        if self.is_plain(kind, va, bytes) {
            self.count_plain(kind, 1);
            return Outcome::HIT;
        }
        self.full(kind, va, bytes, translator)
    }

    /// Many references, as if by [`Hierarchy::access`] one after the other.
    pub fn run<T: Translator>(
        &mut self,
        references: impl IntoIterator<Item = Reference>,
        translator: &mut T,
    ) {
        let mut plain = PlainHits::default();
        for Reference { kind, va, bytes } in references {
            if self.is_plain(kind, va, bytes) {
                match kind {
                    RefKind::Fetch => plain.fetches += 1,
                    RefKind::Read => plain.reads += 1,
                    RefKind::Write | RefKind::ModifyWrite => plain.writes += 1,
                }
            } else {
                self.full(kind, va, bytes, translator);
            }
        }
        self.plain.fetches += plain.fetches;
        self.plain.reads += plain.reads;
        self.plain.writes += plain.writes;
    }

    /// Whether a reference is plain; if so its effect has taken place, but for the counts.
    #[inline(always)]
    fn is_plain(&mut self, kind: RefKind, va: u64, bytes: u32) -> bool {
        match kind {
            RefKind::Fetch => self.is_plain_fetch(va, bytes),
            RefKind::Read => self.is_plain_data(va, bytes, false),
            RefKind::Write => self.is_plain_data(va, bytes, true),
            RefKind::ModifyWrite => {
                self.semantics != Semantics::Cachegrind && self.is_plain_data(va, bytes, true)
            }
        }
    }

    #[inline(always)]
    fn is_plain_fetch(&mut self, va: u64, bytes: u32) -> bool {
        let last = va.wrapping_add(self.bytes_touched(bytes) - 1);
        let line = va >> self.fetch_shift;
        if last >> self.fetch_shift != line {
            return false;
        }
        if line == self.last_fetch_line {
            return true;
        }
        self.now += 1;
        let Some(mapping) = self.unit.front(Side::Instruction, va, self.now) else {
            return false;
        };
        let rests = self.memory.fetch_front.rests(mapping.physical(va).0);
        if rests {
            self.last_fetch_line = line;
        }
        rests
    }

    #[inline(always)]
    fn is_plain_data(&mut self, va: u64, bytes: u32, write: bool) -> bool {
        let last = va.wrapping_add(self.bytes_touched(bytes) - 1);
        if (va ^ last) >> self.data_shift != 0 {
            return false;
        }
        self.now += 1;
        let Some(mapping) = self.unit.front(Side::Data, va, self.now) else {
            return false;
        };
        let physical = mapping.physical(va).0;
        if write {
            self.memory.data_front.rests_written(physical)
        } else {
            self.memory.data_front.rests(physical)
        }
    }

    /// Bytes that count: one where only the first does, and of none the first.
    #[inline(always)]
    fn bytes_touched(&self, bytes: u32) -> u64 {
        if self.semantics == Semantics::FirstByte { 1 } else { u64::from(bytes.max(1)) }
    }

    #[inline(always)]
    fn count_plain(&mut self, kind: RefKind, count: u64) {
        match kind {
            RefKind::Fetch => self.plain.fetches += count,
            RefKind::Read => self.plain.reads += count,
            RefKind::Write | RefKind::ModifyWrite => self.plain.writes += count,
        }
    }

    /// Address of the instruction whose operands come next, for prefetchers that go by it. A fetch
    /// tells it too.
    #[inline]
    pub fn set_instruction(&mut self, address: u64) {
        self.instruction = address;
    }

    /// Whether [`Hierarchy::set_instruction`] or a fetch before each operand is needed.
    #[must_use]
    pub fn needs_instruction(&self) -> bool {
        self.needs_instruction
    }

    /// What follows runs on this CPU; one beyond the machine's is taken modulo their number.
    pub fn set_cpu(&mut self, cpu: u16) {
        let cpu = cpu % self.machine.cpus();
        if cpu == self.cpu {
            return;
        }
        let coming =
            self.parked[usize::from(cpu)].take().expect("only the present CPU is not parked");
        let going = std::mem::replace(&mut self.unit, coming);
        self.parked[usize::from(self.cpu)] = Some(going);
        self.cpu = cpu;
        self.memory.set_cpu(cpu);
        self.forget_fetch();
    }

    /// What follows is done by this layer.
    pub fn set_actor(&mut self, actor: Actor) {
        self.memory.set_actor(actor);
        if let Some(classes) = &mut self.classes {
            classes.set_actor(actor);
        }
    }

    /// Gives the number of a layer (`dom0-kernel`) of a domain (`dom0`), for machines whose ways
    /// are partitioned between them.
    pub fn name_actor(&mut self, actor: Actor, layer: &str, domain: &str) {
        self.memory.name_actor(actor, layer, domain);
    }

    /// Whether who acts makes a difference to anything counted.
    #[must_use]
    pub fn needs_actors(&self) -> bool {
        let partitioned = |level: &crate::machine::Level| {
            !level.instruction().partition().is_empty() || !level.data().partition().is_empty()
        };
        self.classes.is_some() || self.machine.levels().iter().any(partitioned)
    }

    /// From now on every miss is told apart, at several times the cost; best before the first
    /// reference.
    pub fn enable_classification(&mut self) {
        self.memory.enable_classes();
        for unit in self.parked.iter_mut().flatten() {
            unit.enable_classification();
        }
        self.unit.enable_classification();
        self.classes = Some(Box::default());
        self.forget_fetch();
    }

    /// Why caches missed, if that was asked for.
    #[must_use]
    pub fn cache_classes(&self) -> Option<&CacheClasses> {
        self.memory.classes()
    }

    /// Why TLBs missed, if that was asked for.
    #[must_use]
    pub fn tlb_classes(&self) -> Option<&TlbClasses> {
        self.classes.as_deref()
    }

    /// An event that changes what TLBs may answer.
    pub fn control(&mut self, event: ControlEvent) {
        self.unit.control(event);
        self.forget_fetch();
    }

    /// Gives the present CPU these control registers, dropping nothing.
    pub fn set_control_registers(&mut self, registers: ControlRegisters) {
        self.unit.set_registers(registers);
        self.forget_fetch();
    }

    /// The stream has told another translation for the page of `bytes` bytes at `va`. It drops
    /// nothing: that takes an event.
    pub fn translation_changed(&mut self, va: u64, bytes: u64) {
        self.unit.forget_translation(va, bytes);
        for unit in self.parked.iter_mut().flatten() {
            unit.forget_translation(va, bytes);
        }
        self.forget_fetch();
    }

    /// Drops every line with a byte in `length` bytes from `start`, as when a device has
    /// overwritten them in memory. Costs at most a walk over each cache.
    pub fn invalidate_physical(&mut self, start: PhysAddr, length: u64) {
        self.counts.dma_transfers += 1;
        self.memory.overwritten(start, length);
        self.forget_fetch();
    }

    /// Empties every cache; what is dirty is written back.
    pub fn flush_caches(&mut self) {
        self.counts.cache_flushes += 1;
        self.memory.flush();
        self.forget_fetch();
    }

    #[inline]
    fn forget_fetch(&mut self) {
        self.last_fetch_line = NO_LINE;
    }

    /// Size of a line of the first-level instruction cache in bytes, a power of two.
    #[must_use]
    pub fn fetch_line_bytes(&self) -> u64 {
        1 << self.fetch_shift
    }

    /// Dirty lines in the first level of all CPUs. Costs a walk over it.
    #[must_use]
    pub fn dirty_l1_lines(&self) -> u64 {
        self.memory.dirty_l1_lines()
    }

    /// Everything counted since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        let PlainHits { fetches, reads, writes } = self.plain;
        counts.references.fetches += fetches;
        counts.references.reads += reads;
        counts.references.writes += writes;
        counts.l1.fetches.add_hits(fetches);
        counts.l1.reads.add_hits(reads);
        counts.l1.writes.add_hits(writes);
        counts.itlb.all.add_hits(fetches);
        counts.dtlb.all.add_hits(reads + writes);
        self.memory.add_counts(&mut counts);
        for unit in self.parked.iter().flatten().chain([&self.unit]) {
            let [itlb, dtlb, stlb] = unit.flushed();
            counts.itlb.flushed += itlb;
            counts.dtlb.flushed += dtlb;
            counts.stlb.flushed += stlb;
            counts.flushes += unit.flush_counts();
        }
        counts
    }

    /// Checks the laws that hold at every moment of every run.
    ///
    /// # Errors
    /// The first law that is broken, with the values of its sides.
    pub fn check_laws(&self) -> Result<(), BrokenLaw> {
        self.counts().check_laws(&self.machine)
    }
}
