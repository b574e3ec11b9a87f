//! TLBs restated from `docs/models.md`: lists of entries, searched whole.

use std::collections::{HashMap, HashSet};

use super::naive_rules::{Context, Tags};
use crate::machine::{Machine, Replacement, TlbSpec};
use crate::page::{Mapping, PageSize};
use crate::translation::{ControlEvent, FlushCause, PageLookup, Side, TlbMissClass};

const VPN_BITS: u64 = (1 << 45) - 1;
const FRAME_BITS: u64 = (1 << 52) - 1;

fn align(vpn: u64, size: PageSize) -> u64 {
    vpn / pages(size) * pages(size)
}

/// 4 KiB pages of a page.
fn pages(size: PageSize) -> u64 {
    512u64.pow(size as u32)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// First 4 KiB page.
    vpn: u64,
    size: PageSize,
    /// Size of the page that it is a fragment of.
    page: PageSize,
    /// Frame of the first 4 KiB page.
    frame: u64,
    pub(super) tags: Tags,
}

impl Entry {
    fn new(vpn: u64, frame: u64, size: PageSize, page: PageSize, tags: Tags) -> Self {
        let start = align(vpn, size);
        Self { vpn: start, size, page, frame: frame.wrapping_sub(vpn - start) & FRAME_BITS, tags }
    }

    fn covers(&self, vpn: u64) -> bool {
        align(vpn, self.size) == self.vpn
    }

    fn frame_at(&self, vpn: u64) -> u64 {
        (self.frame + (vpn - self.vpn)) & FRAME_BITS
    }

    /// Whether it is of the page that the address is in.
    pub(super) fn serves(&self, va: u64) -> bool {
        let whole = self.page.max(self.size);
        align(va >> 12 & VPN_BITS, whole) == align(self.vpn, whole)
    }
}

#[derive(Debug, Clone, Copy)]
struct Way {
    entry: Entry,
    used: u64,
    filled: u64,
}

#[derive(Debug)]
struct Array {
    sets: Vec<Vec<Option<Way>>>,
    predicted: Vec<Vec<u8>>,
    /// Whether the half of the tree of a set that begins at a way, of some length, was used last.
    points_right: HashMap<(usize, usize, usize), bool>,
    replacement: Replacement,
    random: u64,
    fills: u64,
    selector: i32,
}

impl Array {
    fn hit(&mut self, set: usize, way: usize, now: u64) {
        self.sets[set][way].as_mut().unwrap().used = now;
        self.predicted[set][way] = 0;
        self.use_way(set, way);
    }

    fn use_way(&mut self, set: usize, way: usize) {
        let (mut first, mut length) = (0, self.sets[set].len().next_power_of_two());
        while length > 1 {
            let half = length / 2;
            let is_left = way < first + half;
            self.points_right.insert((set, first, length), is_left);
            first += if is_left { 0 } else { half };
            length = half;
        }
    }

    fn insert(&mut self, entry: Entry, now: u64) -> Option<Entry> {
        let set = (entry.vpn / pages(entry.size) % self.sets.len() as u64) as usize;
        let free = self.sets[set].iter().position(Option::is_none);
        let way = free.unwrap_or_else(|| self.victim(set));
        let gone = self.sets[set][way].replace(Way { entry, used: now, filled: now });
        self.use_way(set, way);
        self.fills += 1;
        let bimodal = match (self.replacement, set % 32) {
            (Replacement::Brrip, _) => true,
            (Replacement::Drrip, 0) => {
                self.selector = (self.selector + 1).min(1023);
                false
            }
            (Replacement::Drrip, 16) => {
                self.selector = (self.selector - 1).max(0);
                true
            }
            (Replacement::Drrip, _) => self.selector >= 512,
            _ => false,
        };
        self.predicted[set][way] = if bimodal && !self.fills.is_multiple_of(32) { 3 } else { 2 };
        gone.map(|way| way.entry)
    }

    fn victim(&mut self, set: usize) -> usize {
        let ways = self.sets[set].len();
        let earliest = |time: fn(&Way) -> u64| {
            (0..ways).min_by_key(|&way| time(self.sets[set][way].as_ref().unwrap())).unwrap()
        };
        match self.replacement {
            Replacement::Lru => earliest(|way| way.used),
            Replacement::Fifo => earliest(|way| way.filled),
            Replacement::Random => {
                self.random ^= self.random >> 12;
                self.random ^= self.random << 25;
                self.random ^= self.random >> 27;
                let x = self.random.wrapping_mul(2_685_821_657_736_338_717) >> 32;
                ((u128::from(x) * ways as u128) >> 32) as usize
            }
            Replacement::TreePlru => {
                let (mut first, mut length) = (0, ways.next_power_of_two());
                while length > 1 {
                    let half = length / 2;
                    let right = self.points_right.get(&(set, first, length)) == Some(&true);
                    first += if right && first + half < ways { half } else { 0 };
                    length = half;
                }
                first
            }
            _ => loop {
                if let Some(way) = self.predicted[set].iter().position(|&value| value == 3) {
                    break way;
                }
                self.predicted[set].iter_mut().for_each(|value| *value += 1);
            },
        }
    }
}

#[derive(Debug)]
struct Tlb {
    spec: TlbSpec,
    arrays: Vec<Array>,
    flushed: u64,
}

impl Tlb {
    fn new(spec: &TlbSpec, seed: u64, structure: u64) -> Self {
        let arrays = spec.arrays().iter().enumerate().map(|(number, array)| {
            let (sets, ways) = (array.geometry().sets() as usize, array.geometry().ways());
            let start = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let start = start.wrapping_add(structure + 16 * number as u64);
            Array {
                sets: vec![vec![None; ways]; sets],
                predicted: vec![vec![0; ways]; sets],
                points_right: HashMap::new(),
                replacement: array.replacement(),
                random: if start == 0 { 1 } else { start },
                fills: 0,
                selector: 512,
            }
        });
        Self { spec: spec.clone(), arrays: arrays.collect(), flushed: 0 }
    }

    fn own(&self, vpn: u64, mapping: Mapping, tags: Tags) -> Entry {
        let (_, size) = self.spec.array_of(mapping.size());
        Entry::new(vpn, mapping.frame(), size, mapping.size(), tags)
    }

    /// The entry that is hit: the first by agreement in size and globality, agreement in size, size,
    /// globality.
    fn look_up(
        &mut self,
        vpn: u64,
        own: Entry,
        usable: impl Fn(&Entry) -> bool,
        now: u64,
    ) -> Option<Entry> {
        let mut best: Option<(Rank, usize, usize, usize)> = None;
        for (a, array) in self.arrays.iter().enumerate() {
            for (s, set) in array.sets.iter().enumerate() {
                for (w, way) in set.iter().enumerate() {
                    let Some(Way { entry, .. }) = way else { continue };
                    if !entry.covers(vpn) || !usable(entry) {
                        continue;
                    }
                    let agrees = entry.size == own.size && entry.tags.global == own.tags.global;
                    let rank = (!agrees, entry.size != own.size, entry.size, !entry.tags.global);
                    if best.is_none_or(|(least, ..)| rank < least) {
                        best = Some((rank, a, s, w));
                    }
                }
            }
        }
        let (_, a, s, w) = best?;
        self.arrays[a].hit(s, w, now);
        self.arrays[a].sets[s][w].map(|way| way.entry)
    }

    fn insert(&mut self, entry: Entry, now: u64) -> Option<Entry> {
        let (array, _) = self.spec.array_of(entry.size);
        self.arrays[array].insert(entry, now)
    }

    fn drop_where(&mut self, goes: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut dropped = Vec::new();
        for way in self.arrays.iter_mut().flat_map(|array| array.sets.iter_mut().flatten()) {
            if way.is_some_and(|way| goes(&way.entry)) {
                dropped.extend(way.take().map(|way| way.entry));
            }
        }
        self.flushed += dropped.len() as u64;
        dropped
    }
}

/// Agrees less, is of another size, of which size, is not global: the least is found.
type Rank = (bool, bool, PageSize, bool);

/// A page of one size, with its frame.
type Seen = (u64, PageSize, u64);

#[derive(Debug)]
struct Classes {
    untouched: Tlb,
    seen: HashSet<Seen>,
    dropped_by: HashMap<Seen, FlushCause>,
}

/// ITLB, DTLB and STLB.
#[derive(Debug)]
pub(super) struct NaiveTlbs {
    first: [Tlb; 2],
    stlb: Option<Tlb>,
    classes: [Classes; 2],
    now: u64,
}

impl NaiveTlbs {
    pub(super) fn new(machine: &Machine) -> Self {
        let first = || {
            [
                Tlb::new(machine.itlb(), machine.seed(), 8),
                Tlb::new(machine.dtlb(), machine.seed(), 9),
            ]
        };
        Self {
            first: first(),
            stlb: machine.stlb().map(|spec| Tlb::new(spec, machine.seed(), 10)),
            classes: first().map(|untouched| Classes {
                untouched,
                seen: HashSet::new(),
                dropped_by: HashMap::new(),
            }),
            now: 0,
        }
    }

    pub(super) fn look_up(
        &mut self,
        side: Side,
        va: u64,
        mapping: Mapping,
        context: &Context,
    ) -> (PageLookup, Option<TlbMissClass>) {
        self.now += 1;
        let (now, vpn) = (self.now, va >> 12 & VPN_BITS);
        let tags = context.tags_for(mapping);
        let usable = |entry: &Entry| context.may_use(&entry.tags);
        let first = &mut self.first[side as usize];
        let own = first.own(vpn, mapping, tags);
        let hit = first.look_up(vpn, own, usable, now);
        let class = self.classes[side as usize].look_up(vpn, own, now);
        if let Some(hit) = hit {
            let stale = hit.frame_at(vpn) != mapping.frame();
            return (PageLookup { stale, ..PageLookup::HIT }, None);
        }
        let mut found = PageLookup { missed: true, ..PageLookup::HIT };
        let mut entry = own;
        if let Some(stlb) = &mut self.stlb {
            let own = stlb.own(vpn, mapping, tags);
            let hit = stlb.look_up(vpn, own, usable, now);
            found.stlb_missed = Some(hit.is_none());
            if let Some(hit) = hit {
                found.stale = hit.frame_at(vpn) != mapping.frame();
                if found.stale {
                    let (_, size) = first.spec.array_of(hit.size);
                    entry = Entry::new(vpn, hit.frame_at(vpn), size, hit.page, hit.tags);
                }
            } else {
                stlb.insert(own, now);
            }
        }
        let classes = &mut self.classes[side as usize];
        if let Some(gone) = first.insert(entry, now) {
            classes.dropped(&gone, None);
        }
        classes.dropped(&entry, None);
        classes.dropped(&own, None);
        (found, Some(class))
    }

    /// `context` is that before the event.
    pub(super) fn control(&mut self, event: ControlEvent, context: &Context) {
        let goes = |entry: &Entry| context.drops(event, entry.tags, &|va| entry.serves(va), false);
        for (first, classes) in self.first.iter_mut().zip(&mut self.classes) {
            for entry in first.drop_where(goes) {
                classes.dropped(&entry, Some(context.cause(event, entry.tags)));
            }
        }
        if let Some(stlb) = &mut self.stlb {
            stlb.drop_where(goes);
        }
    }

    pub(super) fn flushed(&self) -> [u64; 3] {
        let stlb = self.stlb.as_ref().map_or(0, |stlb| stlb.flushed);
        [self.first[0].flushed, self.first[1].flushed, stlb]
    }
}

impl Classes {
    fn look_up(&mut self, vpn: u64, own: Entry, now: u64) -> TlbMissClass {
        let same = |entry: &Entry| (entry.size, entry.frame) == (own.size, own.frame);
        let own = Entry { tags: Tags::default(), ..own };
        let would_hit = self.untouched.look_up(vpn, own, same, now).is_some();
        if !would_hit {
            self.untouched.insert(own, now);
        }
        let seen = (own.vpn, own.size, own.frame);
        if self.seen.insert(seen) {
            return TlbMissClass::Cold;
        }
        match self.dropped_by.get(&seen) {
            Some(cause) if would_hit => TlbMissClass::FlushInduced(*cause),
            _ => TlbMissClass::CapacityOrConflict,
        }
    }

    fn dropped(&mut self, entry: &Entry, by: Option<FlushCause>) {
        let of = (entry.vpn, entry.size, entry.frame);
        match by {
            Some(cause) => self.dropped_by.insert(of, cause),
            None => self.dropped_by.remove(&of),
        };
    }
}
