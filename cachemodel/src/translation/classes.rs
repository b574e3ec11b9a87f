//! Why a TLB missed.

use rustc_hash::FxHashMap;

use super::entry::{Key, OwnerId, Target, base};
use super::flush::FlushCause;
use super::tlb::{Entry, Structure, Tlb, Wanted};
use crate::machine::TlbSpec;
use crate::page::Mapping;

/// Why a look-up missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlbMissClass {
    /// The first look-up of this page with this frame.
    Cold,
    /// An event dropped the entry, and a TLB that events do not touch would have hit.
    FlushInduced(FlushCause),
    /// All others.
    CapacityOrConflict,
}

/// What is remembered of a page with a frame.
#[derive(Debug, Clone, Copy, Default)]
struct Page {
    looked_up: bool,
    /// The event that dropped such an entry, unless it has been looked for in vain, or such an
    /// entry has been made or evicted, since.
    dropped_by: Option<FlushCause>,
}

/// Tells the classes of one TLB's misses. Its memory grows with the number of pages ever looked up.
#[derive(Debug, Clone)]
pub(super) struct Classifier {
    /// A TLB of the same shape that events do not touch. Its entries are owned by their frame.
    untouched: Tlb,
    frames: FxHashMap<u64, OwnerId>,
    /// By page and frame.
    pages: FxHashMap<(Key, OwnerId), Page>,
    last: Option<TlbMissClass>,
}

impl Classifier {
    pub(super) fn new(spec: &TlbSpec, structure: Structure, machine_seed: u64, cpu: u16) -> Self {
        Self {
            untouched: Tlb::new(spec, structure, machine_seed, cpu),
            frames: FxHashMap::default(),
            pages: FxHashMap::default(),
            last: None,
        }
    }

    /// Class of the last look-up, if it missed.
    pub(super) fn last(&self) -> Option<TlbMissClass> {
        self.last
    }

    /// Each look-up, before the TLB fills.
    pub(super) fn look_up(&mut self, vpn: u64, mapping: Mapping, missed: bool, now: u64) {
        let (array, size) = self.untouched.kept(mapping.size());
        let owner = self.frame(base(vpn, mapping.frame(), size));
        let key = Key::new(vpn, size, false, owner);
        let target = Target::new(vpn, mapping, size, 0);
        let entry = Entry { wanted: Wanted { array, key, owner }, target };
        let would_hit = self.untouched.use_exactly(&entry, now);
        let page = self.pages.entry((key, owner)).or_default();
        let is_first = !std::mem::replace(&mut page.looked_up, true);
        // An event is to blame for one miss.
        let dropped_by = if missed { page.dropped_by.take() } else { page.dropped_by };
        self.last = missed.then_some(match dropped_by {
            _ if is_first => TlbMissClass::Cold,
            Some(cause) if would_hit => TlbMissClass::FlushInduced(cause),
            _ => TlbMissClass::CapacityOrConflict,
        });
    }

    /// An entry went because of an event; without one, it was made or went to make room.
    pub(super) fn dropped(&mut self, key: Key, target: Target, by: Option<FlushCause>) {
        let owner = self.frame(target.base);
        let key = Key::new(key.first_vpn(), key.size(), false, owner);
        self.pages.entry((key, owner)).or_default().dropped_by = by;
    }

    fn frame(&mut self, base: u64) -> OwnerId {
        let next = OwnerId(self.frames.len() as u32);
        *self.frames.entry(base).or_insert(next)
    }
}
