//! Caches and TLBs driven by references.
//!
//! Nine of ten references hit in a page that was looked up not long ago and in the first level, and
//! concern nothing else. They are made near at hand and counted together; all others take the full
//! way, which alone would give the same counts.

mod execution;
mod full;
mod halves;
mod lower_halves;
mod near;
mod past;
mod plain;
mod stream;

pub use execution::{Code, Operand, Run};
pub use halves::LowerHalf;
pub use lower_halves::{LowerHalves, LowerPart};
use near::GOOD_FOR;
pub use near::{Near, Progress};
pub use past::{Notes, Past, Settled, Unsettled};
use plain::{FartherLines, PlainOutcomes};
pub use stream::{Reference, Stream};

use crate::caches::{Actor, FirstSets};
use crate::counts::Counts;
use crate::error::BrokenLaw;
use crate::machine::{Machine, WalkMemory};
use crate::memory::{CacheClasses, Memory};
use crate::outcome::Outcome;
use crate::page::PhysAddr;
use crate::semantics::Semantics;
use crate::span::PAGE_BYTES;
use crate::translation::{ControlEvent, ControlRegisters, Side, TranslationUnit};
use crate::translator::Translator;
use std::collections::BTreeMap;

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
    pub(crate) fn side(self) -> Side {
        if self == Self::Fetch { Side::Instruction } else { Side::Data }
    }
}

/// References that hit in the TLB and, but for [`FartherLines`], in level 1, by kind.
///
/// Those of an execution may be counted after those among them that did not simply hit have been
/// taken off again, so that a number can be below zero meanwhile: all of it wraps.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PlainHits {
    fetches: u64,
    reads: u64,
    writes: u64,
}

impl PlainHits {
    #[inline(always)]
    fn add(&mut self, kind: RefKind, count: u64) {
        let counted = self.of(kind);
        *counted = counted.wrapping_add(count);
    }

    #[inline(always)]
    fn of(&mut self, kind: RefKind) -> &mut u64 {
        match kind {
            RefKind::Fetch => &mut self.fetches,
            RefKind::Read => &mut self.reads,
            RefKind::Write | RefKind::ModifyWrite => &mut self.writes,
        }
    }

    #[inline(always)]
    fn add_all(&mut self, more: Self) {
        self.fetches = self.fetches.wrapping_add(more.fetches);
        self.reads = self.reads.wrapping_add(more.reads);
        self.writes = self.writes.wrapping_add(more.writes);
    }
}

/// What a first look at a reference found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// That more is to be looked at.
    Further,
    /// A hit of one line.
    Hit,
    /// Hits of two lines.
    TwoHits,
}

/// The line of the last fetch, as long as another fetch from it is plain: nothing but a fetch, and
/// what forgets this, touches L1I and ITLB.
#[derive(Debug, Clone, Copy)]
struct FetchedLine {
    /// Virtual address of its first byte.
    line: u64,
    /// Its size, a power of two; 0 if there is none.
    reach: u64,
}

impl FetchedLine {
    const NONE: Self = Self { line: 0, reach: 0 };

    /// Whether all of `1 + beyond` bytes at `va` are in it.
    #[inline(always)]
    fn has(self, va: u64, beyond: u64) -> bool {
        let offset = va.wrapping_sub(self.line);
        offset | offset.wrapping_add(beyond) < self.reach
    }
}

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
    /// All ones, or zero where only the first byte of a fetch counts.
    fetch_mask: u32,
    /// All ones, or zero where only the first byte of an operand counts.
    data_mask: u32,
    /// The write half of a modify is no access.
    folds_modifies: bool,
    /// Whether [`near::Near`] may be used.
    is_near: bool,
    /// Whether [`Hierarchy::plainly`] may be used.
    is_plain: bool,
    /// Most lines of a reference that is one access.
    most_lines: u64,
    fetch_line_mask: u64,
    data_line_mask: u64,
    fetched: FetchedLine,
    /// Fetches and data accesses can disturb each other's lines.
    entangled: bool,
    walks: bool,
    /// Address of the instruction whose operands come next.
    instruction: u64,
    needs_instruction: bool,
    plain: PlainHits,
    /// Lines beyond the first of those, where each line is an access.
    plain_lines: PlainHits,
    farther: FartherLines,
    plain_outcomes: PlainOutcomes,
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
        let mut hierarchy = Self {
            semantics: machine.semantics(),
            memory: Memory::new(machine),
            unit: TranslationUnit::new(machine, 0),
            parked: std::iter::once(None).chain(parked).collect(),
            cpu: 0,
            now: 0,
            fetch_mask: first_byte_mask(machine.semantics()),
            data_mask: first_byte_mask(machine.semantics()),
            is_near: false,
            is_plain: false,
            plain_outcomes: PlainOutcomes::new(machine.levels().len()),
            most_lines: if machine.semantics().counts_references() { 2 } else { 1 },
            fetch_line_mask: !(machine.l1i().line_bytes() - 1),
            data_line_mask: !(machine.l1d().line_bytes() - 1),
            folds_modifies: machine.semantics() == Semantics::Cachegrind,
            fetched: FetchedLine::NONE,
            entangled: level_1.is_unified() || some_inclusive,
            walks: machine.walk().memory != WalkMemory::Off,
            instruction: 0,
            needs_instruction: machine
                .levels()
                .iter()
                .any(|level| level.data().prefetcher() == crate::machine::Prefetcher::Stride),
            plain: PlainHits::default(),
            plain_lines: PlainHits::default(),
            farther: FartherLines::default(),
            counts: Counts::default(),
            machine: machine.clone(),
            classes: None,
        };
        hierarchy.is_near = hierarchy.can_be_near();
        hierarchy.is_plain = hierarchy.is_near && hierarchy.memory.is_plain();
        hierarchy
    }

    /// Whether all bytes and all modifies count, nothing but first-level caches takes part in a
    /// hit there, and TLB entries know the time of their last use only.
    fn can_be_near(&mut self) -> bool {
        !matches!(self.semantics, Semantics::FirstByte | Semantics::Cachegrind)
            && !self.entangled
            && self.memory.first_is_alone()
            && self.unit.keeps_only_times()
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
        match self.first_look(kind, va, bytes) {
            Look::Further => self.full(kind, va, bytes, translator),
            Look::Hit => {
                self.plain.add(kind, 1);
                Outcome::HIT
            }
            Look::TwoHits => self.two_lines_hit(kind),
        }
    }

    /// Many references, as if by [`Hierarchy::access`] one after the other.
    pub fn run<T: Translator>(&mut self, references: &Stream, translator: &mut T) {
        if !self.is_near {
            for Reference { kind, va, bytes } in references.iter() {
                self.access(kind, va, bytes, translator);
            }
            return;
        }
        // Those that are not near at hand are taken off again.
        self.plain.add_all(references.counts());
        let (mut made, mut seconds) = (0, PlainHits::default());
        // The line of the last operand is known, and nothing in its set was used after it.
        let mut operand_is_here = false;
        // Touches whose followers are counted, and how many these are.
        let (mut counted, mut followers) = (0, 0);
        let touches = &references.touches;
        while made < touches.len() {
            let Some(mut near) = self.near() else { return };
            let most = touches.len().min(made + GOOD_FOR);
            made += near.row(&touches[made..most], &mut operand_is_here, &mut seconds);
            drop(near);
            if made == most {
                continue;
            }
            let touch = touches[made].reference();
            let Reference { kind, va, bytes } = touch;
            self.further(kind, va, bytes, translator);
            operand_is_here = match kind {
                RefKind::Fetch => operand_is_here && !self.walks,
                _ => self.memory.knows_operand(touch.last_line()),
            };
            let followed = touches[made].followed;
            if followed.operands() > 0 && !operand_is_here
                || followed.fetches() > 0 && self.fetched.reach == 0
            {
                let before = &touches[counted..made];
                followers += before.iter().map(|touch| touch.followed.all()).sum::<usize>();
                counted = made;
                let own = followers..followers + followed.all();
                for reference in references.followers(own, references.lines_at(made)) {
                    let Reference { kind, va, bytes } = reference;
                    self.further(kind, va, bytes, translator);
                }
            }
            made += 1;
        }
        // Accesses of their own, where each line is one.
        if !self.semantics.counts_references() {
            self.plain_lines.add_all(seconds);
        }
    }

    /// Makes a reference that was counted as a plain hit beforehand and is not near at hand.
    fn further<T: Translator>(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u32,
        translator: &mut T,
    ) -> Outcome {
        let outcome = self.full(kind, va, bytes, translator);
        let counted = self.plain.of(kind);
        *counted = counted.wrapping_sub(1);
        outcome
    }

    /// Makes a reference that hits in known pages and the first level and concerns nothing else,
    /// but for the counts; any other it leaves alone.
    #[inline(never)]
    fn first_look(&mut self, kind: RefKind, va: u64, bytes: u32) -> Look {
        if kind == RefKind::ModifyWrite && self.folds_modifies {
            return Look::Further;
        }
        let mask = if kind == RefKind::Fetch { self.fetch_mask } else { self.data_mask };
        let beyond = beyond_first(bytes, mask);
        let line_mask = self.line_mask(kind);
        let last = va.wrapping_add(beyond);
        let (first_line, last_line) = (va & line_mask, last & line_mask);
        let crosses = first_line != last_line;
        if kind == RefKind::Fetch && self.fetched.has(va, beyond) {
            return Look::Hit;
        }
        if kind == RefKind::Fetch || self.entangled {
            self.forget_fetch();
        }
        // Two lines of one page.
        if crosses && ((va ^ last) >> 12 != 0 || last_line - first_line > !line_mask + 1) {
            return Look::Further;
        }
        self.now += 1;
        let Some(known) = self.unit.front(kind.side(), va, self.now) else {
            return Look::Further;
        };
        let physical = known.physical.0;
        if !self.memory.hits_first(kind, physical)
            || crosses && !self.memory.hits_first(kind, physical + beyond)
        {
            return Look::Further;
        }
        if kind == RefKind::Fetch {
            self.fetched = FetchedLine { line: last_line, reach: !line_mask + 1 };
        }
        if crosses { Look::TwoHits } else { Look::Hit }
    }

    /// Counts a reference to two lines that both hit.
    fn two_lines_hit(&mut self, kind: RefKind) -> Outcome {
        self.plain.add(kind, 1);
        if self.semantics.counts_references() {
            return Outcome::HIT;
        }
        self.plain_lines.add(kind, 1);
        Outcome { accesses: [2, 0, 0], ..Outcome::HIT }
    }

    #[inline(always)]
    fn line_mask(&self, kind: RefKind) -> u64 {
        if kind == RefKind::Fetch { self.fetch_line_mask } else { self.data_line_mask }
    }

    /// The lengths of instructions are not known: each fetch touches its first byte only.
    pub fn fetch_first_bytes(&mut self) {
        self.fetch_mask = 0;
        self.is_near = false;
        self.is_plain = false;
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
        self.is_near = false;
        self.is_plain = false;
        self.forget_fetch();
    }

    /// Why caches missed, if that was asked for.
    #[must_use]
    pub fn cache_classes(&self) -> Option<&CacheClasses> {
        self.memory.classes()
    }

    /// Who evicted whose lines at a level of cache, level 1 being 0: how often each layer missed on
    /// a line that a fill for each layer had evicted. Empty if that was not asked for.
    #[must_use]
    pub fn evictions(&self, level: usize) -> BTreeMap<(Actor, Actor), u64> {
        self.memory.evictions(level)
    }

    /// Why TLBs missed, if that was asked for.
    #[must_use]
    pub fn tlb_classes(&self) -> Option<&TlbClasses> {
        self.classes.as_deref()
    }

    /// An event that changes what TLBs may answer.
    pub fn control(&mut self, event: ControlEvent) {
        if self.unit.control(event) {
            self.forget_known();
        }
    }

    /// Gives the present CPU these control registers, dropping nothing.
    pub fn set_control_registers(&mut self, registers: ControlRegisters) {
        self.unit.set_registers(registers);
        self.forget_known();
    }

    /// The stream has told another translation for the page of `bytes` bytes at `va`. It drops
    /// nothing: that takes an event.
    pub fn translation_changed(&mut self, va: u64, bytes: u64) {
        self.unit.forget_translation(va, bytes);
        for unit in self.parked.iter_mut().flatten() {
            unit.forget_translation(va, bytes);
        }
        for sets in self.memory.all_first_sets() {
            if bytes <= PAGE_BYTES {
                sets.forget_page(va);
            } else {
                sets.forget_all();
            }
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

    /// Hits of the present CPU that were known are to be looked up again.
    fn forget_known(&mut self) {
        if let Some(first) = self.memory.first_sets() {
            first.into_iter().for_each(FirstSets::forget_all);
        }
        self.forget_fetch();
    }

    #[inline]
    fn forget_fetch(&mut self) {
        self.fetched = FetchedLine::NONE;
    }

    /// Size of a line of the first-level instruction cache in bytes, a power of two.
    #[must_use]
    pub fn fetch_line_bytes(&self) -> u64 {
        self.machine.l1i().line_bytes()
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
        counts.l1.fetches.add_hits(fetches + self.plain_lines.fetches);
        counts.l1.reads.add_hits(reads + self.plain_lines.reads);
        counts.l1.writes.add_hits(writes + self.plain_lines.writes);
        self.farther.add_to(&mut counts, self.machine.levels().len());
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

fn first_byte_mask(semantics: Semantics) -> u32 {
    if semantics == Semantics::FirstByte { 0 } else { u32::MAX }
}

/// Bytes that count, less the first.
#[inline(always)]
fn beyond_first(bytes: u32, mask: u32) -> u64 {
    u64::from(bytes.saturating_sub(1) & mask)
}
