//! A TLB from its definition, with the invalidation rules of the Intel SDM, volume 3, 4.10.4.1,
//! each spelt out as a predicate on entries.

use strata_cachemodel::{ControlEvent, FlushCounts, Mapping, PageSize, TlbLookup};

const ADDRESS_MASK: u64 = (1 << 57) - 1;

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// First address of the page.
    start: u64,
    size: PageSize,
    global: bool,
    /// That was current when the entry was made.
    pcid: u16,
    /// Frame of the page's first 4 KiB.
    frame: u64,
    used: u64,
}

impl Entry {
    fn covers(&self, va: u64) -> bool {
        page_start(va, self.size) == self.start
    }
}

fn page_start(va: u64, size: PageSize) -> u64 {
    (va & ADDRESS_MASK) >> size.shift() << size.shift()
}

/// How many 4 KiB pages lie between the start of the page and `va`.
fn pages_into(va: u64, size: PageSize) -> u64 {
    ((va & ADDRESS_MASK) - page_start(va, size)) / 4096
}

#[derive(Debug)]
pub(crate) struct NaiveTlb {
    sets: u64,
    ways: usize,
    entries: Vec<Entry>,
    now: u64,
}

impl NaiveTlb {
    pub(crate) fn new(sets: u64, ways: usize) -> Self {
        Self { sets, ways, entries: Vec::new(), now: 0 }
    }

    fn set_of(&self, start: u64, size: PageSize) -> u64 {
        (start >> size.shift()) % self.sets
    }

    pub(crate) fn access(&mut self, va: u64, mapping: Mapping, state: &State) -> TlbLookup {
        self.now += 1;
        let global = mapping.is_global() && state.pge();
        let pcid = state.pcid();
        // Of the entries that cover the address: the one that agrees with the stream, then one of
        // its size, then small before large and global before own.
        let rank = |entry: &Entry| {
            let agrees = entry.size == mapping.size() && entry.global == global;
            (!agrees, entry.size != mapping.size(), entry.size, !entry.global)
        };
        let usable = |entry: &&mut Entry| entry.covers(va) && (entry.global || entry.pcid == pcid);
        if let Some(entry) = self.entries.iter_mut().filter(usable).min_by_key(|entry| rank(entry))
        {
            entry.used = self.now;
            let frame = entry.frame.wrapping_add(pages_into(va, entry.size)) & ((1 << 52) - 1);
            return if frame == mapping.frame() { TlbLookup::Hit } else { TlbLookup::StaleHit };
        }
        let size = mapping.size();
        let start = page_start(va, size);
        let set = self.set_of(start, size);
        let in_set = |entry: &Entry| self.set_of(entry.start, entry.size) == set;
        if self.entries.iter().filter(|entry| in_set(entry)).count() == self.ways {
            let oldest = self.entries.iter().filter(|entry| in_set(entry)).map(|entry| entry.used);
            let oldest = oldest.min().unwrap();
            self.entries.retain(|entry| entry.used != oldest);
        }
        let frame = mapping.frame().wrapping_sub(pages_into(va, size)) & ((1 << 52) - 1);
        self.entries.push(Entry { start, size, global, pcid, frame, used: self.now });
        TlbLookup::Miss
    }

    /// `state` is that before the event.
    pub(crate) fn drop_for(&mut self, event: ControlEvent, state: &State) -> u64 {
        let before = self.entries.len();
        self.entries.retain(|entry| !state.drops(event, entry));
        (before - self.entries.len()) as u64
    }
}

/// The control registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) cr0: u64,
    pub(crate) cr3: u64,
    pub(crate) cr4: u64,
}

impl State {
    fn bit(register: u64, bit: u32) -> bool {
        register >> bit & 1 == 1
    }

    fn pge(&self) -> bool {
        Self::bit(self.cr4, 7)
    }

    fn pcide(&self) -> bool {
        Self::bit(self.cr4, 17)
    }

    pub(crate) fn pcid(&self) -> u16 {
        if self.pcide() { (self.cr3 % 4096) as u16 } else { 0 }
    }

    fn drops(&self, event: ControlEvent, entry: &Entry) -> bool {
        let local = |pcid: u16| !entry.global && entry.pcid == pcid;
        match event {
            ControlEvent::WriteCr0(value) => Self::bit(self.cr0, 31) && !Self::bit(value, 31),
            ControlEvent::WriteCr3(value) if self.pcide() => {
                !Self::bit(value, 63) && local((value % 4096) as u16)
            }
            ControlEvent::WriteCr3(_) => local(0),
            ControlEvent::WriteCr4(value) => {
                let rises = |bit| !Self::bit(self.cr4, bit) && Self::bit(value, bit);
                let falls = |bit| Self::bit(self.cr4, bit) && !Self::bit(value, bit);
                let everything = rises(7) || falls(7) || falls(17);
                let current = rises(5) || falls(5) || rises(20);
                everything || (current && entry.pcid == self.pcid())
            }
            ControlEvent::Invlpg(va) => {
                let canonical = (va << 7).cast_signed() >> 7 == va.cast_signed();
                canonical && entry.covers(va) && (entry.global || entry.pcid == self.pcid())
            }
            ControlEvent::PageFault(va) => {
                entry.covers(va) && (entry.global || entry.pcid == self.pcid())
            }
            ControlEvent::InvpcidAddress { va, pcid } => local(pcid) && entry.covers(va),
            ControlEvent::InvpcidSingle { pcid } => local(pcid),
            ControlEvent::InvpcidAll => true,
            ControlEvent::InvpcidAllButGlobal => !entry.global,
            other => panic!("the oracle does not know {other:?}"),
        }
    }

    /// What the event does to the registers, and under what it is counted.
    pub(crate) fn apply(&mut self, event: ControlEvent, counts: &mut FlushCounts) {
        match event {
            ControlEvent::WriteCr0(value) => {
                let ends = Self::bit(self.cr0, 31) && !Self::bit(value, 31);
                counts.paging_mode_changes += u64::from(ends);
                self.cr0 = value;
            }
            ControlEvent::WriteCr3(value) => {
                let keeps = self.pcide() && Self::bit(value, 63);
                let stored = if keeps { value - (1 << 63) } else { value };
                counts.cr3_writes += 1;
                counts.cr3_same_value += u64::from(stored == self.cr3);
                counts.cr3_keeping += u64::from(keeps);
                self.cr3 = stored;
            }
            ControlEvent::WriteCr4(value) => {
                let changes = |bit| Self::bit(self.cr4, bit) != Self::bit(value, bit);
                let falls = |bit| changes(bit) && !Self::bit(value, bit);
                let rises = |bit| changes(bit) && Self::bit(value, bit);
                if changes(7) {
                    counts.pge_changes += 1;
                } else if falls(17) || changes(5) || rises(20) {
                    counts.paging_mode_changes += 1;
                }
                self.cr4 = value;
            }
            ControlEvent::Invlpg(_) => counts.invlpg += 1,
            ControlEvent::PageFault(_) => counts.page_faults += 1,
            _ => counts.invpcid += 1,
        }
    }
}
