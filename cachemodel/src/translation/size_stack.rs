//! Fully associative LRU TLBs of several sizes in one list, after R. L. Mattson et al., "Evaluation
//! techniques for storage hierarchies", IBM Systems Journal 9(2), 1970.
//!
//! A TLB of size S holds what is in the first S slots of a list in order of last use. A look-up
//! takes its entry to the top, and what was above it moves one slot down. What an event drops leaves
//! a hole: nothing below moves up, and the first hole above a look-up's slot takes up what moves
//! down from there, which is a free place being filled in TLBs that reach beyond the hole. The slot
//! that the look-up left is then a hole itself, in those that had the entry.
//!
//! ```text
//! look-up of e:   a b – c e f   →   e a b c – f
//! ```
//!
//! Recent entries, those at the top that were looked up since the last event, are kept outside, in a
//! list that all schemes share ([`RecentPages`](super::recent_pages::RecentPages)) and that tells of
//! them only when they come and go; only the slots below are linked here.

use rustc_hash::FxHashMap;

use super::entry::{Key, OwnerId};

/// No slot.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// The entry is recent.
    Above,
    /// It is in the list.
    Entry,
    Hole,
}

/// What an entry is found by.
pub(super) type Name = (Key, OwnerId);

#[derive(Debug, Clone)]
struct Slot {
    name: Name,
    /// It has another name in some sizes: see [`SizeStack::second_names`].
    has_two_names: bool,
    /// Frame of the entry's first 4 KiB.
    base: u64,
    /// Frames differ between sizes: see [`SizeStack::mixed`].
    is_mixed: bool,
    holds: Holds,
    /// How many sizes do not reach down to here.
    beyond: u8,
    /// Larger the higher it is in the list.
    stamp: u64,
    above: u32,
    below: u32,
}

/// The list, for one side and one tag scheme.
#[derive(Debug, Clone)]
pub(super) struct SizeStack {
    /// Rising.
    sizes: Vec<u64>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    top: u32,
    bottom: u32,
    /// Slots in the list.
    listed: u64,
    /// Recent entries.
    recent: u64,
    /// For each size, the slot at the end of its reach, if the list goes that far.
    ends: Vec<u32>,
    first_hole: u32,
    clock: u64,
    /// By every name.
    numbers: FxHashMap<Name, u32>,
    /// Second names, of entries that were filled anew in small sizes while larger ones found them by
    /// their first.
    second_names: FxHashMap<u32, Name>,
    /// Frames by size, of entries that were filled anew in small sizes after their page had changed.
    mixed: FxHashMap<u32, Box<[u64]>>,
}

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked {
    /// The entry's number, by which it is known as long as it is recent.
    pub(super) slot: u32,
    /// How many sizes missed, the smallest first.
    pub(super) missed: usize,
    /// Of the others, those whose entry has another frame: bit 0 is the smallest size.
    pub(super) stale: u64,
}

impl SizeStack {
    /// Most sizes.
    pub(super) const MOST: usize = 64;

    /// `sizes` rise; at least one and at most [`SizeStack::MOST`].
    pub(super) fn new(sizes: &[u64]) -> Self {
        Self {
            sizes: sizes.to_vec(),
            slots: Vec::new(),
            free: Vec::new(),
            top: NONE,
            bottom: NONE,
            listed: 0,
            recent: 0,
            ends: vec![NONE; sizes.len()],
            first_hole: NONE,
            clock: 0,
            numbers: FxHashMap::default(),
            second_names: FxHashMap::default(),
            mixed: FxHashMap::default(),
        }
    }

    fn at(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// The entry of this name.
    pub(super) fn find(&self, name: Name) -> Option<u32> {
        self.numbers.get(&name).copied()
    }

    /// The names that an entry has in one size or another.
    pub(super) fn names(&self, slot: u32) -> (Name, Option<Name>) {
        let Slot { name, has_two_names, .. } = self.slots[slot as usize];
        (name, if has_two_names { self.second_names.get(&slot).copied() } else { None })
    }

    /// An entry that was not recent becomes it: the one found, or a new one. Sizes that
    /// miss it fill it under `name`.
    pub(super) fn look_up(&mut self, found: Option<u32>, name: Name, base: u64) -> Looked {
        let looked = match found {
            Some(slot) => self.take(slot, name, base),
            None => {
                let slot = self.make(name, base);
                if self.first_hole == NONE {
                    self.grow()
                } else {
                    self.fill_hole()
                }
                Looked { slot, missed: self.sizes.len(), stale: 0 }
            }
        };
        self.recent += 1;
        looked
    }

    fn make(&mut self, name: Name, base: u64) -> u32 {
        let slot = self.allocate(Slot {
            name,
            has_two_names: false,
            base,
            is_mixed: false,
            holds: Holds::Above,
            beyond: 0,
            stamp: 0,
            above: NONE,
            below: NONE,
        });
        self.numbers.insert(name, slot);
        slot
    }

    fn allocate(&mut self, slot: Slot) -> u32 {
        if let Some(number) = self.free.pop() {
            self.slots[number as usize] = slot;
            return number;
        }
        self.slots.push(slot);
        (self.slots.len() - 1) as u32
    }

    /// Takes an entry out of the list.
    fn take(&mut self, slot: u32, name: Name, base: u64) -> Looked {
        let Slot { beyond, stamp, holds, .. } = self.slots[slot as usize];
        debug_assert_eq!(holds, Holds::Entry, "it is looked up where it is recent");
        let missed = usize::from(beyond);
        self.rename(slot, missed, name);
        let stale = self.refill(slot, missed, base);
        let hole = self.first_hole;
        if hole != NONE && self.slots[hole as usize].stamp > stamp {
            self.leave_hole(slot);
            self.fill_hole();
        } else {
            self.take_out(slot);
        }
        self.at(slot).holds = Holds::Above;
        Looked { slot, missed, stale }
    }

    /// Sizes that miss an entry fill it anew under `name`.
    pub(super) fn rename(&mut self, slot: u32, missed: usize, name: Name) {
        if missed > 0 && name != self.slots[slot as usize].name {
            self.second_names.insert(slot, name);
            self.numbers.insert(name, slot);
            self.at(slot).has_two_names = true;
        }
    }

    /// Puts a hole where an entry is.
    fn leave_hole(&mut self, slot: u32) {
        let entry = self.slots[slot as usize].clone();
        let left = Slot { holds: Holds::Hole, is_mixed: false, has_two_names: false, ..entry };
        let (above, below) = (left.above, left.below);
        let hole = self.allocate(left);
        if above == NONE {
            self.top = hole
        } else {
            self.at(above).below = hole
        }
        if below == NONE {
            self.bottom = hole
        } else {
            self.at(below).above = hole
        }
        self.ends.iter_mut().filter(|end| **end == slot).for_each(|end| *end = hole);
    }

    /// What is above the first hole moves down into it.
    fn fill_hole(&mut self) {
        let hole = self.first_hole;
        let mut next = self.slots[hole as usize].below;
        while next != NONE && self.slots[next as usize].holds != Holds::Hole {
            next = self.slots[next as usize].below;
        }
        self.first_hole = next;
        self.take_out(hole);
        self.free.push(hole);
    }

    /// Takes a slot out of the list; what is above it moves one slot down.
    fn take_out(&mut self, slot: u32) {
        let Slot { stamp, above, .. } = self.slots[slot as usize];
        for size in 0..self.ends.len() {
            let end = self.ends[size];
            if end == slot {
                self.ends[size] = above;
            } else if end != NONE && self.slots[end as usize].stamp > stamp {
                self.ends[size] = self.leave_reach(end, size);
            }
        }
        self.unlink(slot);
    }

    /// The slot at the end of a size's reach moves beyond it. Returns the one that is there then.
    fn leave_reach(&mut self, end: u32, size: usize) -> u32 {
        let end = self.at(end);
        end.beyond = (size + 1) as u8;
        end.above
    }

    /// Everything moves one slot down.
    fn grow(&mut self) {
        let grown = self.listed + self.recent + 1;
        for size in 0..self.ends.len() {
            let end = self.ends[size];
            if end != NONE {
                self.ends[size] = self.leave_reach(end, size);
            } else if grown == self.sizes[size] {
                self.ends[size] = self.bottom;
            }
        }
        if self.bottom != NONE
            && usize::from(self.slots[self.bottom as usize].beyond) == self.sizes.len()
        {
            let gone = self.bottom;
            self.unlink(gone);
            self.forget(gone);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { above, below, .. } = self.slots[slot as usize];
        if above == NONE {
            self.top = below
        } else {
            self.at(above).below = below
        }
        if below == NONE {
            self.bottom = above
        } else {
            self.at(below).above = above
        }
        self.listed -= 1;
    }

    /// An entry is in no size any more.
    fn forget(&mut self, slot: u32) {
        self.forget_names(slot);
        self.free.push(slot);
    }

    fn forget_names(&mut self, slot: u32) {
        let Slot { name, has_two_names, is_mixed, .. } = self.slots[slot as usize];
        self.numbers.remove(&name);
        if has_two_names && let Some(second) = self.second_names.remove(&slot) {
            self.numbers.remove(&second);
        }
        if is_mixed {
            self.mixed.remove(&slot);
        }
        let slot = self.at(slot);
        (slot.is_mixed, slot.has_two_names) = (false, false);
    }

    /// An entry is no longer among the recent ones, of which it was the one not used for longest.
    pub(super) fn leave_recent(&mut self, slot: u32) {
        self.clock += 1;
        let (stamp, top, depth) = (self.clock, self.top, self.recent);
        let beyond = self.sizes.iter().take_while(|&&size| size < depth).count();
        let entry = self.at(slot);
        (entry.holds, entry.beyond, entry.stamp) = (Holds::Entry, beyond as u8, stamp);
        (entry.above, entry.below) = (NONE, top);
        if top == NONE {
            self.bottom = slot
        } else {
            self.at(top).above = slot
        }
        self.top = slot;
        self.listed += 1;
        if self.sizes.get(beyond) == Some(&depth) {
            self.ends[beyond] = slot;
        }
        self.recent -= 1;
    }

    /// A recent entry is in no size any more.
    pub(super) fn forget_recent(&mut self, slot: u32) {
        self.recent -= 1;
        self.forget(slot);
    }

    /// Drops the entries that `goes` names and counts them: for each number of sizes, those that so
    /// many sizes did not have. None may be recent. Returns false if an entry goes under
    /// one of its names and not under the other. Costs a walk over the list.
    #[must_use]
    pub(super) fn drop_where(
        &mut self,
        mut goes: impl FnMut(Name) -> bool,
        dropped: &mut [u64],
    ) -> bool {
        debug_assert_eq!(self.recent, 0, "none is recent at an event");
        self.first_hole = NONE;
        let mut is_clear = true;
        let mut slot = self.top;
        while slot != NONE {
            let Slot { name, has_two_names, holds, beyond, below, .. } = self.slots[slot as usize];
            if holds == Holds::Entry {
                let goes_so = goes(name);
                if has_two_names && let Some(&second) = self.second_names.get(&slot) {
                    is_clear &= goes(second) == goes_so;
                }
                if goes_so {
                    dropped[usize::from(beyond)] += 1;
                    self.forget_names(slot);
                    self.at(slot).holds = Holds::Hole;
                }
            }
            if self.first_hole == NONE && self.slots[slot as usize].holds == Holds::Hole {
                self.first_hole = slot;
            }
            slot = below;
        }
        self.trim();
        is_clear
    }

    /// Holes at the bottom are as good as nothing.
    fn trim(&mut self) {
        while self.bottom != NONE && self.slots[self.bottom as usize].holds == Holds::Hole {
            let hole = self.bottom;
            self.ends.iter_mut().filter(|end| **end == hole).for_each(|end| *end = NONE);
            if self.first_hole == hole {
                self.first_hole = NONE;
            }
            self.unlink(hole);
            self.free.push(hole);
        }
    }

    /// Whether some size has the entry `one` and not the entry `other`.
    pub(super) fn is_higher(&self, one: u32, other: Option<u32>) -> bool {
        let one = &self.slots[one as usize];
        let Some(other) = other else { return true };
        one.holds == Holds::Above || one.stamp > self.slots[other as usize].stamp
    }

    /// Gives an entry the frame that those sizes get that have missed. Returns the sizes of which
    /// the frame is another.
    pub(super) fn refill(&mut self, slot: u32, missed: usize, base: u64) -> u64 {
        let entry = &self.slots[slot as usize];
        if !entry.is_mixed && entry.base == base {
            return 0;
        }
        self.refill_other(slot, missed, base)
    }

    #[cold]
    fn refill_other(&mut self, slot: u32, missed: usize, base: u64) -> u64 {
        let all = self.sizes.len();
        let old = self.slots[slot as usize].base;
        let frames = self.mixed.entry(slot).or_insert_with(|| vec![old; all].into());
        frames[..missed].fill(base);
        let others = (missed..all).filter(|&size| frames[size] != base);
        let stale = others.fold(0, |stale, size| stale | 1 << size);
        let first = frames[0];
        let is_mixed = frames.iter().any(|&frame| frame != first);
        if !is_mixed {
            self.mixed.remove(&slot);
        }
        let entry = self.at(slot);
        entry.is_mixed = is_mixed;
        entry.base = first;
        stale
    }
}
