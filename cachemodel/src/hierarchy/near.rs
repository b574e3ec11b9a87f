//! Hits of known lines in the first level.
//!
//! Nine of ten references are to a line that is known by its virtual address to be in the first
//! level, and its page in the TLB. [`Near`] holds no more than what such a reference needs, so that
//! a processor can keep it at hand; whatever else comes up is left to the full way, which alone
//! would give the same counts.

use super::plain::FartherLines;
use super::stream::Touch;
use super::{FetchedLine, Hierarchy, Operand, PlainHits, RefKind, Run};
use crate::caches::{FirstSets, Found};
use crate::memory::{FIRST_SHIFT, FirstAndLower, Lower, Place};
use crate::page::PhysAddr;
use crate::span::PAGE_BYTES;
use crate::translation::{KnownPages, UseTimes};

/// What a reference near at hand touches: both first-level caches, the times of last use of both
/// TLBs' entries, and the line fetched last.
#[derive(Debug)]
pub struct Near<'h> {
    l1i: &'h mut FirstSets,
    l1d: &'h mut FirstSets,
    itlb: KnownPages<'h>,
    dtlb: KnownPages<'h>,
    fetched: FetchedLine,
    /// For TLBs; the lower half is the time for caches.
    now: u64,
    /// Most lines of a reference that is one access.
    most_lines: u64,
    /// For lines that are not in the first level; `None` where more than that is to be done.
    farther: Option<Farther<'h>>,
    /// Where the line fetched last and the time are kept.
    kept: (&'h mut FetchedLine, &'h mut u64),
}

impl Drop for Near<'_> {
    #[inline]
    fn drop(&mut self) {
        *self.kept.0 = self.fetched;
        *self.kept.1 = self.now;
        self.l1i.set_clock(self.now as u32);
        self.l1d.set_clock(self.now as u32);
    }
}

/// What a line that is not in the first level touches.
#[derive(Debug)]
struct Farther<'h> {
    lower: Lower<'h>,
    /// What is below the caches for instructions and for data.
    below: [Option<usize>; 2],
    lines: &'h mut FartherLines,
}

/// How far an execution has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Runs of fetches made.
    pub(super) runs: usize,
    /// Operands made.
    pub(super) operands: usize,
}

/// How many references a [`Near`] is good for.
pub(super) const GOOD_FOR: usize = 1 << 28;

pub(super) const LINE_BYTES: u64 = 1 << FIRST_SHIFT;
pub(super) const LINE_MASK: u64 = !(LINE_BYTES - 1);

impl Hierarchy {
    /// Whether [`Hierarchy::near`] gives something; else every reference has to go the full way.
    #[must_use]
    pub fn has_near(&self) -> bool {
        self.is_near
    }

    /// What most references need of the machine; `None` where more has to be told of them. Good for
    /// 2^30 references.
    #[inline]
    pub fn near(&mut self) -> Option<Near<'_>> {
        if !self.is_near {
            return None;
        }
        let misses_plainly = self.is_plain && !self.memory.notes_requests();
        let FirstAndLower { first: [l1i, l1d], below, lower } = self.memory.first_and_lower()?;
        self.now = common_time(l1i, l1d, self.now);
        let [itlb, dtlb] = self.unit.known_pages()?;
        Some(Near {
            l1i,
            l1d,
            itlb,
            dtlb,
            fetched: self.fetched,
            now: self.now,
            most_lines: self.most_lines,
            farther: misses_plainly.then_some(Farther { lower, below, lines: &mut self.farther }),
            kept: (&mut self.fetched, &mut self.now),
        })
    }
}

/// A time from `now` on, whose lower half is not before any use of both caches and far from the
/// largest.
#[inline]
fn common_time(l1i: &mut FirstSets, l1d: &mut FirstSets, mut now: u64) -> u64 {
    let latest = |l1i: &FirstSets, l1d: &FirstSets| l1i.clock().max(l1d.clock());
    if (now as u32).max(latest(l1i, l1d)) > u32::MAX / 2 {
        l1i.renumber();
        l1d.renumber();
        now = ((now >> 32) + 1) << 32;
    }
    now + u64::from(latest(l1i, l1d).saturating_sub(now as u32))
}

impl Near<'_> {
    /// Makes these touches of a stream, and their followers, until a touch has to be made the full
    /// way. Returns how many it has made, and adds those of two lines to `seconds`.
    ///
    /// `operand_is_here` tells whether the line of the last operand is in the first level, and its page
    /// in the TLB, as the last ones used.
    #[inline]
    pub(super) fn row(
        &mut self,
        touches: &[Touch],
        operand_is_here: &mut bool,
        seconds: &mut PlainHits,
    ) -> usize {
        let mut made = 0;
        loop {
            if self.fetched.reach > 0 && *operand_is_here {
                made += self.usual_row(&touches[made..], seconds);
            }
            let Some(touch) = touches.get(made) else { return made };
            // Its followers may be no hits.
            let Touch { shape, followed, .. } = *touch;
            let fetched = shape.is_fetch() || self.fetched.reach > 0;
            let used = !shape.is_fetch() || *operand_is_here;
            if followed.fetches() > 0 && !fetched || followed.operands() > 0 && !used {
                return made;
            }
            let mut lines = 0;
            if self.farther.is_none() || !(self.fetched.reach > 0 && *operand_is_here) {
                lines = self.reference(touch);
            }
            if lines == 0 {
                lines = self.farther(touch);
            }
            if lines == 0 {
                return made;
            }
            if lines > 1 {
                seconds.add(shape.kind(), 1);
            }
            *operand_is_here |= !shape.is_fetch();
            made += 1;
        }
    }

    #[inline(never)]
    fn reference(&mut self, touch: &Touch) -> u64 {
        let Touch { va, shape, .. } = *touch;
        match shape.is_fetch() {
            true => self.fetch(va, touch.beyond()),
            false => self.operand(shape.writes(), va, touch.beyond()),
        }
    }

    /// Makes a reference to one or two lines of one known page, wherever they are. Returns how many
    /// lines; 0, with nothing done, of any other reference.
    #[inline(never)]
    fn farther(&mut self, touch: &Touch) -> u64 {
        let Touch { va, shape, .. } = *touch;
        let Some(farther) = &mut self.farther else { return 0 };
        if !shape.is_in_page() {
            return 0;
        }
        let last = va.wrapping_add(touch.beyond());
        let kind = shape.kind();
        let (sets, tlb, below) = match shape.is_fetch() {
            true => (&mut *self.l1i, &mut self.itlb, farther.below[0]),
            false => (&mut *self.l1d, &mut self.dtlb, farther.below[1]),
        };
        let Some(known) = tlb.get(va) else { return 0 };
        let Some(entry) = known.near_place() else { return 0 };
        sets.set_clock(self.now as u32);
        self.now += 1;
        note_use(tlb.used, entry, self.now);
        let mut line = |place: Place| {
            let found = sets.demand(place.physical.0 / LINE_BYTES, kind.writes());
            sets.know_latest(place.va, entry);
            match found {
                Found::Here => 0,
                Found::Brought(victim) => farther.lower.replaced(below, place, victim),
            }
        };
        let missed = line(Place { physical: known.physical, va });
        if shape.is_fetch() {
            self.fetched = FetchedLine { line: last & LINE_MASK, reach: LINE_BYTES };
        }
        if shape.is_in_line() {
            farther.lines.add(kind, missed);
            return 1;
        }
        let physical = PhysAddr(known.physical.0 + (last - va));
        let also_missed = line(Place { physical, va: last });
        self.now += 1;
        if self.most_lines > 1 {
            farther.lines.add(kind, missed.max(also_missed));
        } else {
            farther.lines.add(kind, missed);
            farther.lines.add(kind, also_missed);
        }
        2
    }

    /// Makes touches of one known line each, and fetches that go on from the line fetched last,
    /// until there is another. Calls nothing, so that all that it needs is in registers.
    #[inline(never)]
    fn usual_row(&mut self, touches: &[Touch], seconds: &mut PlainHits) -> usize {
        let Self { l1i, l1d, itlb, dtlb, .. } = self;
        let (mut now, mut line) = (self.now, self.fetched.line);
        let mut crossing = 0;
        let further = touches.iter().position(|&Touch { va, shape, .. }| {
            now += 1;
            let own = va & LINE_MASK;
            if let Some(writes) = shape.operand_in_line() {
                let hit = l1d.use_known_line(own, writes, now as u32);
                let Some(entry) = hit else { return true };
                note_use(dtlb.used, entry, now);
                return false;
            }
            let goes_on = !shape.is_in_line();
            if goes_on && !(shape.fetches_next() && own == line) {
                return true;
            }
            // The use of the line fetched last is the latest as it is.
            let own = own + if goes_on { LINE_BYTES } else { 0 };
            let Some(entry) = l1i.use_known_line(own, false, now as u32) else { return true };
            note_use(itlb.used, entry, now);
            line = own;
            crossing += u64::from(goes_on);
            false
        });
        self.now = now;
        self.fetched.line = line;
        seconds.add(RefKind::Fetch, crossing);
        further.unwrap_or(touches.len())
    }

    /// How many lines a fetch of `1 + beyond` bytes hits, one or two, if all of them are known; it
    /// has then been made. 0 if it is to be made the full way.
    #[inline(always)]
    pub(super) fn fetch(&mut self, va: u64, beyond: u64) -> u64 {
        // Nothing but a fetch touches cache and TLB in between.
        let offset = va.wrapping_sub(self.fetched.line);
        let end = offset.wrapping_add(beyond);
        if offset | end < self.fetched.reach {
            return 1;
        }
        self.now += 1;
        // From the line fetched last into the next: its use is the latest as it is.
        let goes_on = offset < self.fetched.reach;
        let next = self.fetched.line.wrapping_add(LINE_BYTES);
        let (from, more) =
            if goes_on { (next, end.wrapping_sub(LINE_BYTES)) } else { (va, beyond) };
        if let Some(hit) = self.l1i.use_known(from, more, false, self.now as u32) {
            note_use(self.itlb.used, hit.entry, self.now);
            if goes_on && next.is_multiple_of(PAGE_BYTES) {
                return 0;
            }
            self.fetched = FetchedLine { line: hit.line, reach: LINE_BYTES };
            return 1 + u64::from(goes_on);
        }
        let lines = use_unknown(self.l1i, &mut self.itlb, va, beyond, false, &mut self.now);
        if lines > 0 {
            let line = va.wrapping_add(beyond) & LINE_MASK;
            self.fetched = FetchedLine { line, reach: LINE_BYTES };
        }
        lines
    }

    /// Begins an execution of code that consists of `runs` and `operands` at `addresses`, and makes
    /// of it what is near at hand, in an order that makes no difference. Tells how far it has come
    /// if something is left for [`Hierarchy::go_on`], the first of which is not near at hand.
    /// [`Hierarchy::count_near`] is to be told of all of it.
    #[inline(always)]
    pub fn begin(
        &mut self,
        runs: &[Run],
        operands: &[Operand],
        addresses: &[u64],
    ) -> Option<Progress> {
        for (made, run) in runs.iter().enumerate() {
            if !self.makes_run(run) {
                return Some(self.before(made, run, operands, addresses));
            }
        }
        for (made, (operand, &va)) in operands.iter().zip(addresses).enumerate() {
            if !self.makes_operand(operand, va) {
                return Some(Progress { runs: runs.len(), operands: made });
            }
        }
        None
    }

    /// The operands before a run that is not near at hand.
    #[inline(never)]
    fn before(
        &mut self,
        runs: usize,
        run: &Run,
        operands: &[Operand],
        addresses: &[u64],
    ) -> Progress {
        let mut made = 0;
        while let (Some(operand), Some(&va)) = (operands.get(made), addresses.get(made))
            && operand.instruction < run.first
            && self.makes_operand(operand, va)
        {
            made += 1;
        }
        Progress { runs, operands: made }
    }

    #[inline(always)]
    fn makes_run(&mut self, run: &Run) -> bool {
        let lines = self.fetch(run.va, u64::from(run.length).wrapping_sub(1));
        lines == 1 || lines == self.most_lines
    }

    #[inline(always)]
    fn makes_operand(&mut self, operand: &Operand, va: u64) -> bool {
        self.access(operand.kind, va, operand.bytes)
    }

    /// Fetches and operands share nothing but what misses reach, so that fetches near at hand may
    /// be made before the operands between them. What is not near is left to be made in its turn.
    #[inline(never)]
    pub(super) fn go_on(
        &mut self,
        runs: &[Run],
        operands: &[Operand],
        addresses: &[u64],
        progress: &mut Progress,
    ) {
        let mut until = u16::MAX;
        for run in &runs[progress.runs..] {
            if !self.makes_run(run) {
                until = run.first;
                break;
            }
            progress.runs += 1;
        }
        while let Some(operand) = operands.get(progress.operands)
            && operand.instruction < until
            && self.makes_operand(operand, addresses[progress.operands])
        {
            progress.operands += 1;
        }
    }

    /// Makes one load or store of `bytes` bytes, which [`Hierarchy::count_near`] is to be told of;
    /// false, with nothing made that would make a difference, if it is not near at hand.
    #[inline(always)]
    pub fn access(&mut self, kind: RefKind, va: u64, bytes: u16) -> bool {
        let lines = self.operand(kind.writes(), va, u64::from(bytes).wrapping_sub(1));
        lines == 1 || lines == self.most_lines
    }

    /// As [`Near::fetch`], of a load or store.
    #[inline(always)]
    fn operand(&mut self, write: bool, va: u64, beyond: u64) -> u64 {
        self.now += 1;
        if let Some(hit) = self.l1d.use_known(va, beyond, write, self.now as u32) {
            note_use(self.dtlb.used, hit.entry, self.now);
            return 1;
        }
        use_unknown(self.l1d, &mut self.dtlb, va, beyond, write, &mut self.now)
    }
}

/// Makes a reference to one or two lines of one page that are in the first level and whose page is
/// known, even if they are not known by their address; from then on they are. Returns how many
/// lines; 0, with nothing made that makes a difference, of any other reference.
///
/// A function of its own with no part in what the caller keeps in registers.
#[inline(never)]
fn use_unknown(
    sets: &mut FirstSets,
    tlb: &mut KnownPages<'_>,
    va: u64,
    beyond: u64,
    write: bool,
    now: &mut u64,
) -> u64 {
    let last = va.wrapping_add(beyond);
    let (first_line, last_line) = (va & LINE_MASK, last & LINE_MASK);
    let between = last_line.wrapping_sub(first_line);
    if between > LINE_BYTES || (va ^ last) >> 12 != 0 {
        return 0;
    }
    let Some(known) = tlb.get(va) else { return 0 };
    let Some(entry) = known.near_place() else { return 0 };
    let physical = (known.physical.0 & LINE_MASK) / LINE_BYTES;
    if !sets.use_here(physical, first_line, entry, write, *now as u32) {
        return 0;
    }
    if between > 0 {
        // If the second line is not there, another use of the first makes no difference.
        *now += 1;
        if !sets.use_here(physical + 1, last_line, entry, write, *now as u32) {
            return 0;
        }
    }
    note_use(tlb.used, entry, *now);
    1 + between / LINE_BYTES
}

#[inline(always)]
fn note_use(times: &mut UseTimes, entry: u16, now: u64) {
    times[usize::from(entry) % times.len()] = now;
}
