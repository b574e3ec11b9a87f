//! Sets of a first-level cache whose hits can be known by virtual address.
//!
//! Nine of ten references are to a line that was used not long ago, under the same address. For
//! such a line it is kept which TLB entry its page was found by, so that another reference to it
//! needs neither the page's look-up nor the set's:
//!
//! ```text
//!   virtual line ──hash──▶ slot ──▶ line known there?  ──yes──▶ time of last use of line and entry
//! ```
//!
//! Replacement is LRU by the time of last use. Lines keep their slot while they are here.

use super::cache::{Fill, Found, Line, Removed, Touched, Victim};
use crate::geometry::{CacheGeometry, SetIndex};

/// Bits of an offset in a line.
const LINE_SHIFT: u32 = 6;
const LINE_BYTES: u64 = 1 << LINE_SHIFT;

/// Virtual lines are told apart by so many hash values. Twice as many find the slot of a line more
/// often, and crowd out more of the host's own cache.
const HASHES: usize = 4096;

/// Most lines of such a cache.
const MOST_LINES: usize = 1024;

/// Slots, a power of two, of which the last two never hold a line.
const SLOTS: usize = 2 * MOST_LINES;
const NOTHING_HERE: u16 = SLOTS as u16 - 1;
const NOTHING_THERE: u16 = SLOTS as u16 - 2;

/// What an unknown slot is known as: its hash does not lead to such a slot, whatever the address.
const UNKNOWN: u64 = 1 << 63;
const HASH_OF_UNKNOWN: usize = hash(UNKNOWN);
const UNKNOWN_THERE: u64 = UNKNOWN + LINE_BYTES;

const fn hash(va: u64) -> usize {
    (va >> LINE_SHIFT) as usize % HASHES
}

/// No physical line has this number: lines have more than one byte.
const EMPTY: u64 = u64::MAX;

/// Times of a line's last read and last write since it came or was cleaned; 0 for none. A line
/// with a write is dirty.
type Uses = [u32; 2];

#[inline(always)]
fn last_use(uses: Uses) -> u32 {
    uses[0].max(uses[1])
}

/// What a known hit looks at and changes; together, so that it costs one line of the host's cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
struct Slot {
    /// Virtual address of the first byte of the line that this is known as.
    known: u64,
    uses: Uses,
}

/// A reference that hits a known line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownHit {
    /// Virtual address of the line's first byte.
    pub(crate) line: u64,
    /// Place of the TLB entry that its page was found by.
    pub(crate) entry: u16,
}

/// Physical lines of 64 bytes, LRU.
#[derive(Debug, Clone)]
pub(crate) struct FirstSets {
    /// By hash of the virtual line: the slot that line may be in.
    slots: [u16; HASHES],
    at: [Slot; SLOTS],
    /// By slot, the TLB entry that goes with `known`.
    entries: [u16; SLOTS],
    /// By TLB entry, a bit for each slot known with it.
    slots_of: Vec<[u64; MOST_LINES / 64]>,
    /// By slot, the physical number of the line that it holds.
    lines: Vec<u64>,
    prefetched: Vec<bool>,
    index: SetIndex,
    ways: usize,
    /// Time of the last use.
    clock: u32,
    /// The slot that the last look-up or fill ended at; [`NOWHERE`] after a miss.
    latest: usize,
}

const NOWHERE: usize = usize::MAX;

impl FirstSets {
    /// `None` for a cache that is too large or has other lines.
    pub(super) fn new(geometry: &CacheGeometry) -> Option<Box<Self>> {
        let sets = usize::try_from(geometry.sets()).ok()?;
        let lines = sets.checked_mul(geometry.ways()).filter(|&lines| lines <= MOST_LINES)?;
        if geometry.line_shift() != LINE_SHIFT {
            return None;
        }
        let mut new = Box::new(Self {
            slots: [NOTHING_HERE; HASHES],
            at: [Slot { known: UNKNOWN, uses: [0; 2] }; SLOTS],
            entries: [0; SLOTS],
            slots_of: Vec::new(),
            lines: vec![EMPTY; lines],
            prefetched: vec![false; lines],
            index: SetIndex::new(geometry.sets()),
            ways: geometry.ways(),
            clock: 0,
            latest: NOWHERE,
        });
        new.at[usize::from(NOTHING_THERE)].known = UNKNOWN_THERE;
        new.slots[HASH_OF_UNKNOWN] = NOTHING_THERE;
        Some(new)
    }

    /// Uses the line of `1 + beyond` bytes at `va`, if it is known and they lie in it. `now` is
    /// after every use so far.
    #[inline(always)]
    pub(crate) fn use_known(
        &mut self,
        va: u64,
        beyond: u64,
        write: bool,
        now: u32,
    ) -> Option<KnownHit> {
        let number = usize::from(self.slots[hash(va)]) % SLOTS;
        let slot = &mut self.at[number];
        let line = slot.known;
        let offset = va.wrapping_sub(line);
        if offset | offset.wrapping_add(beyond) >= LINE_BYTES {
            return None;
        }
        slot.uses[usize::from(write)] = now;
        Some(KnownHit { line, entry: self.entries[number] })
    }

    /// Uses the line that begins at `line`, if it is known. `now` is after every use so far. Returns the
    /// place of the TLB entry that its page was found by.
    #[inline(always)]
    pub(crate) fn use_known_line(&mut self, line: u64, write: bool, now: u32) -> Option<u16> {
        let number = usize::from(self.slots[hash(line)]) % SLOTS;
        let slot = &mut self.at[number];
        if slot.known != line {
            return None;
        }
        slot.uses[usize::from(write)] = now;
        Some(self.entries[number])
    }

    /// Whether the line that begins at `line` is known.
    #[inline]
    pub(crate) fn knows(&self, line: u64) -> bool {
        self.at[usize::from(self.slots[hash(line)]) % SLOTS].known == line
    }

    /// Uses a line that is here, and knows it from now on at `va` with the TLB entry its page was
    /// found by. False, with nothing done, if it is not here or was prefetched. `now` is after every
    /// use so far.
    #[inline]
    pub(crate) fn use_here(
        &mut self,
        physical: u64,
        va: u64,
        entry: u16,
        write: bool,
        now: u32,
    ) -> bool {
        let found = match self.ways {
            8 => self.find_of::<8>(physical),
            _ => self.find(physical),
        };
        let Some(slot) = found.filter(|&slot| !self.prefetched[slot]) else { return false };
        self.at[slot].uses[usize::from(write)] = now;
        self.latest = slot;
        self.know_latest(va, entry)
    }

    #[inline(always)]
    fn find_of<const WAYS: usize>(&self, physical: u64) -> Option<usize> {
        let first = self.index.of(physical) * WAYS;
        let way = way_of(&self.lines[first..first + WAYS], physical);
        (way != NO_WAY).then(|| first + way)
    }

    /// The line that the last look-up hit or brought is from now on known at `va`, with the TLB
    /// entry its page was found by. False if there is none.
    #[inline(always)]
    pub(crate) fn know_latest(&mut self, va: u64, entry: u16) -> bool {
        let slot = self.latest;
        if slot == NOWHERE {
            return false;
        }
        debug_assert!(!self.prefetched[slot], "its use counts for the prefetcher");
        self.forget(slot);
        self.at[slot].known = va & !(LINE_BYTES - 1);
        self.entries[slot] = entry;
        self.slots[hash(va)] = slot as u16;
        let entry = usize::from(entry);
        if self.slots_of.len() <= entry {
            self.slots_of.resize(entry + 1, [0; MOST_LINES / 64]);
        }
        self.slots_of[entry][slot / 64] |= 1 << (slot % 64);
        true
    }

    #[inline]
    fn forget(&mut self, slot: usize) {
        if self.at[slot].known == UNKNOWN {
            return;
        }
        self.at[slot].known = UNKNOWN;
        self.slots_of[usize::from(self.entries[slot])][slot / 64] &= !(1 << (slot % 64));
        if usize::from(self.slots[HASH_OF_UNKNOWN]) == slot {
            self.slots[HASH_OF_UNKNOWN] = NOTHING_THERE;
        }
    }

    /// Another page is behind this TLB entry.
    pub(crate) fn forget_entry(&mut self, entry: u16) {
        let Some(&slots) = self.slots_of.get(usize::from(entry)) else { return };
        for (word, mut bits) in slots.into_iter().enumerate() {
            while bits != 0 {
                self.forget(word * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    /// The 4 KiB page of `va` may be another now.
    pub(crate) fn forget_page(&mut self, va: u64) {
        let first = va >> 12 << 12;
        for line in (0..4096).step_by(LINE_BYTES as usize).map(|offset| first + offset) {
            let slot = usize::from(self.slots[hash(line)]);
            if self.at[slot].known == line && slot < self.lines.len() {
                self.forget(slot);
            }
        }
    }

    /// Nothing is known any more.
    pub(crate) fn forget_all(&mut self) {
        let lines = self.lines.len();
        self.at[..lines].iter_mut().for_each(|slot| slot.known = UNKNOWN);
        self.slots_of.fill([0; MOST_LINES / 64]);
        self.slots[HASH_OF_UNKNOWN] = NOTHING_THERE;
    }

    /// Time of the last use.
    #[inline]
    pub(crate) fn clock(&self) -> u32 {
        self.clock
    }

    /// The last use was at this time.
    #[inline]
    pub(crate) fn set_clock(&mut self, now: u32) {
        self.clock = now;
    }

    #[inline]
    fn tick(&mut self) -> u32 {
        if self.clock == u32::MAX {
            self.renumber();
        }
        self.clock += 1;
        self.clock
    }

    /// Puts times up to the number of ways in the place of all others, in the same order within
    /// each set.
    #[cold]
    pub(crate) fn renumber(&mut self) {
        for set in self.at[..self.lines.len()].chunks_exact_mut(self.ways) {
            let mut order: Vec<usize> = (0..set.len()).collect();
            order.sort_unstable_by_key(|&way| last_use(set[way].uses));
            for (way, time) in order.into_iter().zip(1..) {
                let uses = &mut set[way].uses;
                if last_use(*uses) > 0 {
                    *uses = if uses[1] > 0 { [0, time] } else { [time, 0] };
                }
            }
        }
        self.clock = self.ways as u32;
    }

    /// Number of lines that there is room for.
    pub(super) fn room(&self) -> usize {
        self.lines.len()
    }

    /// The set that a line belongs to.
    pub(super) fn set_of(&self, physical: u64) -> usize {
        self.index.of(physical)
    }

    pub(crate) fn number_of_sets(&self) -> usize {
        self.lines.len() / self.ways
    }

    /// The slots of the line's set.
    #[inline]
    fn set(&self, physical: u64) -> std::ops::Range<usize> {
        let first = self.index.of(physical) * self.ways;
        first..first + self.ways
    }

    #[inline]
    fn find(&self, physical: u64) -> Option<usize> {
        let set = self.set(physical);
        let way = way_of(&self.lines[set.clone()], physical);
        (way != NO_WAY).then(|| set.start + way)
    }

    #[inline]
    pub(super) fn touch(&mut self, physical: u64, write: bool) -> Option<Touched> {
        let Some(slot) = self.find(physical) else {
            self.latest = NOWHERE;
            return None;
        };
        let now = self.tick();
        let before = Touched {
            was_dirty: self.at[slot].uses[1] > 0,
            was_prefetched: std::mem::take(&mut self.prefetched[slot]),
        };
        self.at[slot].uses[usize::from(write)] = now;
        self.latest = slot;
        Some(before)
    }

    pub(super) fn fill(&mut self, physical: u64, state: Fill) -> Option<Victim> {
        debug_assert!(self.find(physical).is_none(), "filled twice");
        let set = self.set(physical);
        let slot = set.start + oldest_of(&self.at[set]);
        self.bring(slot, physical, state)
    }

    /// A touch and, where that finds nothing, a fill.
    #[inline(always)]
    pub(crate) fn demand(&mut self, physical: u64, write: bool) -> Found {
        // The compiler unrolls the walks where it knows the number of ways.
        match self.ways {
            8 => self.demand_of::<8>(physical, write),
            4 => self.demand_of::<4>(physical, write),
            12 => self.demand_of::<12>(physical, write),
            16 => self.demand_of::<16>(physical, write),
            _ => match self.touch(physical, write) {
                Some(_) => Found::Here,
                None => {
                    Found::Brought(self.fill(physical, Fill { dirty: write, prefetched: false }))
                }
            },
        }
    }

    #[inline(always)]
    fn demand_of<const WAYS: usize>(&mut self, physical: u64, write: bool) -> Found {
        let first = self.index.of(physical) * WAYS;
        let way = way_of(&self.lines[first..first + WAYS], physical);
        if way == NO_WAY {
            let slot = first + oldest_of(&self.at[first..first + WAYS]);
            return Found::Brought(self.bring(
                slot,
                physical,
                Fill { dirty: write, prefetched: false },
            ));
        }
        let slot = first + way;
        debug_assert!(!self.prefetched[slot], "a use of a prefetched line is more than a use");
        self.at[slot].uses[usize::from(write)] = self.tick();
        self.latest = slot;
        Found::Here
    }

    /// Puts a line into a slot of its set.
    #[inline(always)]
    fn bring(&mut self, slot: usize, physical: u64, state: Fill) -> Option<Victim> {
        let now = self.tick();
        let gone = std::mem::replace(&mut self.lines[slot], physical);
        let victim = Victim {
            line: Line { physical: gone, virtual_: 0 },
            dirty: self.at[slot].uses[1] > 0,
            prefetched: std::mem::replace(&mut self.prefetched[slot], state.prefetched),
        };
        self.at[slot].uses = if state.dirty { [0, now] } else { [now, 0] };
        self.forget(slot);
        self.latest = slot;
        (gone != EMPTY).then_some(victim)
    }

    pub(super) fn mark_prefetched(&mut self, physical: u64) {
        if let Some(slot) = self.find(physical) {
            self.prefetched[slot] = true;
            self.forget(slot);
        }
    }

    pub(super) fn remove(&mut self, physical: u64) -> Option<Removed> {
        Some(self.take(self.find(physical)?))
    }

    fn take(&mut self, slot: usize) -> Removed {
        let physical = std::mem::replace(&mut self.lines[slot], EMPTY);
        let line = Line { physical, virtual_: 0 };
        let removed = Removed { line, dirty: self.at[slot].uses[1] > 0 };
        self.at[slot].uses = [0; 2];
        self.prefetched[slot] = false;
        self.forget(slot);
        removed
    }

    pub(super) fn clean(&mut self, physical: u64) -> bool {
        let Some(slot) = self.find(physical) else { return false };
        let uses = &mut self.at[slot].uses;
        let was_dirty = uses[1] > 0;
        *uses = [last_use(*uses), 0];
        was_dirty
    }

    pub(super) fn contains(&self, physical: u64) -> Option<bool> {
        Some(self.at[self.find(physical)?].uses[1] > 0)
    }

    pub(super) fn dirty_lines(&self) -> u64 {
        self.at.iter().filter(|slot| slot.uses[1] > 0).count() as u64
    }

    pub(super) fn remove_range(&mut self, first: u64, last: u64, each: &mut impl FnMut(Removed)) {
        if first > last {
            return;
        }
        if last - first < (self.lines.len() / self.ways) as u64 {
            (first..=last).filter_map(|line| self.remove(line)).for_each(each);
            return;
        }
        let mut removed = Vec::new();
        for slot in 0..self.lines.len() {
            let here = self.lines[slot];
            if here != EMPTY && (first..=last).contains(&here) {
                removed.push(self.take(slot));
            }
        }
        removed.sort_unstable_by_key(|removed| removed.line);
        removed.into_iter().for_each(each);
    }
}

/// Two stretches of one stream put together.
impl FirstSets {
    /// Drops all lines of a set, as if they had not been.
    pub(crate) fn clear_set(&mut self, set: usize) {
        for slot in set * self.ways..(set + 1) * self.ways {
            if self.lines[slot] != EMPTY {
                self.take(slot);
            }
        }
    }

    /// Takes into a set, as used before everything here, the lines of `older` that are not here
    /// and for which there is room.
    pub(crate) fn adopt_older(&mut self, older: &Self, set: usize) {
        self.renumber();
        self.latest = NOWHERE;
        let slots = set * self.ways..(set + 1) * self.ways;
        let mut lines: Vec<usize> = slots
            .clone()
            .filter(|&slot| older.lines[slot] != EMPTY && self.find(older.lines[slot]).is_none())
            .collect();
        lines.sort_unstable_by_key(|&slot| last_use(older.at[slot].uses));
        let free: Vec<usize> = slots.filter(|&slot| self.lines[slot] == EMPTY).collect();
        debug_assert!(lines.len() <= free.len(), "what is left of before has room");
        for (time, (line, slot)) in (1..).zip(lines.into_iter().zip(free)) {
            self.lines[slot] = older.lines[line];
            let was_dirty = older.at[line].uses[1] > 0;
            self.at[slot].uses = if was_dirty { [0, time] } else { [time, 0] };
        }
    }

    /// A line that is here was written to before.
    pub(crate) fn mark_dirty(&mut self, physical: u64) {
        if let Some(slot) = self.find(physical) {
            let uses = &mut self.at[slot].uses;
            *uses = [0, last_use(*uses)];
        }
    }
}

const NO_WAY: usize = usize::MAX;

/// The way of a set that holds a line; without a branch for each, which could hardly be foretold.
#[inline(always)]
fn way_of(set: &[u64], physical: u64) -> usize {
    let mut found = NO_WAY;
    for (way, &here) in set.iter().enumerate() {
        found = if here == physical { way } else { found };
    }
    found
}

/// The way whose last use was the earliest; empty ones were never used.
#[inline(always)]
fn oldest_of(set: &[Slot]) -> usize {
    let (mut oldest, mut earliest) = (0, u32::MAX);
    for (way, slot) in set.iter().enumerate() {
        let time = last_use(slot.uses);
        oldest = if time < earliest { way } else { oldest };
        earliest = earliest.min(time);
    }
    oldest
}
