//! Hits in known pages, in the first level, of the usual machine.
//!
//! Most machines have first-level caches of 64 sets and 64-byte lines, with LRU replacement, and
//! nine of ten references hit there in a page looked up not long ago. [`Near`] holds no more than
//! what such a reference needs, so that a processor can keep it at hand; whatever else comes up is
//! left to the full way, which alone would give the same counts.

use super::{Code, Hierarchy, Operand, PlainHits, RefKind, Run};
use crate::caches::{UsualSets, touch_plain_line};
use crate::translation::Pages;

/// What a reference near at hand touches: both first-level caches, of `I` and `D` ways, the pages
/// known of both TLBs, and the line fetched last.
#[derive(Debug)]
pub struct Near<'h, const I: usize, const D: usize> {
    l1i: &'h mut UsualSets<I>,
    l1d: &'h mut UsualSets<D>,
    fetched_pages: Pages<'h>,
    data_pages: Pages<'h>,
    last_fetch_line: u64,
    now: u64,
    plain: PlainHits,
    /// Most lines of a reference that is one access.
    most_lines: u64,
    /// Where line, time and counts are put back: they are taken out so that a processor can keep
    /// them in registers.
    home: Home<'h>,
}

#[derive(Debug)]
struct Home<'h> {
    last_fetch_line: &'h mut u64,
    now: &'h mut u64,
    plain: &'h mut PlainHits,
}

impl<const I: usize, const D: usize> Drop for Near<'_, I, D> {
    fn drop(&mut self) {
        *self.home.last_fetch_line = self.last_fetch_line;
        *self.home.now = self.now;
        *self.home.plain = self.plain;
    }
}

/// How far an execution has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Runs of fetches made.
    pub(super) runs: usize,
    /// Operands made.
    pub(super) operands: usize,
}

impl Progress {
    /// Whether nothing of `code` is left.
    #[inline(always)]
    #[must_use]
    pub fn is_all_of(self, code: &Code<'_>) -> bool {
        self.runs == code.runs.len() && self.operands == code.operands.len()
    }
}

const LINE_SHIFT: u32 = 6;
const LINE_MASK: u64 = !((1 << LINE_SHIFT) - 1);

impl Hierarchy {
    /// Ways of the first-level caches for which [`Hierarchy::near`] gives something; `None` where
    /// every reference has to go the full way.
    #[must_use]
    pub fn near_ways(&self) -> Option<(usize, usize)> {
        self.usual
    }

    /// What most references need of the machine; `None` where its first-level caches do not have
    /// `I` and `D` ways, or are not usual.
    #[inline]
    pub fn near<const I: usize, const D: usize>(&mut self) -> Option<Near<'_, I, D>> {
        if self.usual != Some((I, D)) {
            return None;
        }
        let [fetched_pages, data_pages] = self.unit.known_pages();
        let (l1i, l1d) = self.memory.usual_first()?;
        Some(Near {
            l1i,
            l1d,
            fetched_pages,
            data_pages,
            last_fetch_line: self.last_fetch_line,
            now: self.now,
            plain: self.plain,
            most_lines: if self.semantics.counts_references() { 2 } else { 1 },
            home: Home {
                last_fetch_line: &mut self.last_fetch_line,
                now: &mut self.now,
                plain: &mut self.plain,
            },
        })
    }
}

impl<const I: usize, const D: usize> Near<'_, I, D> {
    /// How many lines a fetch of `1 + beyond` bytes hits in known pages, one or two; it has then
    /// been made. 0 if it is to be made the full way.
    #[inline(always)]
    pub(super) fn fetch(&mut self, va: u64, beyond: u64) -> u64 {
        let offset = va.wrapping_sub(self.last_fetch_line);
        // Both the first byte and the last are in the line fetched last. Nothing but a fetch
        // touches cache and TLB in between.
        if offset | offset.wrapping_add(beyond) < 1 << LINE_SHIFT {
            return 1;
        }
        let Some(physical) = self.fetched_pages.physical(va, &mut self.now) else { return 0 };
        let lines = touch(self.l1i, physical, va, beyond, false);
        if lines > 0 {
            self.last_fetch_line = va.wrapping_add(beyond) & LINE_MASK;
        }
        lines
    }

    /// Begins an execution of `code` at `addresses` and makes of it what is near at hand, in an
    /// order that makes no difference. The rest is for [`Hierarchy::go_on`].
    #[inline(always)]
    pub fn begin(&mut self, code: &Code<'_>, addresses: &[u64]) -> Progress {
        let reads = u64::from(code.reads);
        self.plain.fetches += code.lengths.len() as u64;
        self.plain.reads += reads;
        self.plain.writes += code.operands.len() as u64 - reads;
        for run in code.runs {
            if !self.makes_run(code, run) {
                let mut progress = Progress::default();
                self.go_on(code, addresses, &mut progress);
                return progress;
            }
        }
        let runs = code.runs.len();
        for (operands, (operand, &va)) in code.operands.iter().zip(addresses).enumerate() {
            if !self.makes_operand(operand, va) {
                return Progress { runs, operands };
            }
        }
        Progress { runs, operands: code.operands.len() }
    }

    #[inline(always)]
    fn makes_run(&mut self, code: &Code<'_>, run: &Run) -> bool {
        let va = code.address.wrapping_add(u64::from(run.offset));
        let lines = self.fetch(va, u64::from(run.length.saturating_sub(1)));
        lines > 0 && lines <= self.most_lines
    }

    #[inline(always)]
    fn makes_operand(&mut self, operand: &Operand, va: u64) -> bool {
        let lines = self.operand(operand.kind, va, u64::from(operand.bytes.saturating_sub(1)));
        lines > 0 && lines <= self.most_lines
    }

    /// Fetches and operands share nothing but what misses reach, so that fetches near at hand may
    /// be made before the operands between them. What is not near is left to be made in its turn.
    #[inline(never)]
    pub(super) fn go_on(&mut self, code: &Code<'_>, addresses: &[u64], progress: &mut Progress) {
        let mut until = u16::MAX;
        for run in &code.runs[progress.runs..] {
            if !self.makes_run(code, run) {
                until = run.first;
                break;
            }
            progress.runs += 1;
        }
        while let Some(operand) = code.operands.get(progress.operands)
            && operand.instruction < until
            && self.makes_operand(operand, addresses[progress.operands])
        {
            progress.operands += 1;
        }
    }

    /// Makes one load or store of `bytes` bytes and counts it; false, with nothing made that would
    /// make a difference, if it is not near at hand.
    #[inline(always)]
    pub fn access(&mut self, kind: RefKind, va: u64, bytes: u16) -> bool {
        let lines = self.operand(kind, va, u64::from(bytes.saturating_sub(1)));
        let made = lines > 0 && lines <= self.most_lines;
        if made {
            self.plain.add(kind, 1);
        }
        made
    }

    /// As [`Near::fetch`], of a load or store.
    #[inline(always)]
    pub(super) fn operand(&mut self, kind: RefKind, va: u64, beyond: u64) -> u64 {
        let Some(physical) = self.data_pages.physical(va, &mut self.now) else { return 0 };
        touch(self.l1d, physical, va, beyond, kind.writes())
    }
}

/// Touches the lines of a reference that are in their sets and were not brought by a prefetcher;
/// returns how many they are, or 0 if one is not there or they are not of one page.
#[inline(always)]
fn touch<const N: usize>(
    sets: &mut UsualSets<N>,
    physical: u64,
    va: u64,
    beyond: u64,
    written: bool,
) -> u64 {
    let crossed = (va ^ va.wrapping_add(beyond)) & LINE_MASK;
    if !touch_plain_line(sets, physical >> LINE_SHIFT, written) {
        return 0;
    }
    if crossed == 0 {
        return 1;
    }
    let two_lines = beyond <= 1 << LINE_SHIFT && crossed >> 12 == 0;
    if two_lines && touch_plain_line(sets, (physical + beyond) >> LINE_SHIFT, written) {
        2
    } else {
        0
    }
}
