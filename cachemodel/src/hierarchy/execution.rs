//! Executions of code whose shape is known beforehand.
//!
//! Blocks of code are executed over and over, so that what an execution touches is prepared once:
//! the lines that it is fetched from, and its operands but for their addresses. Most executions
//! consist of plain references only, and these are counted together.

use super::{Hierarchy, Look, PlainHits, Progress, RefKind};
use crate::outcome::Outcome;
use crate::translator::Translator;

/// An instruction, and those after it that lie in the line it ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Virtual address of the instruction.
    pub va: u64,
    /// Its length in bytes.
    pub length: u8,
    /// Index of the instruction in its block (0-based).
    pub first: u16,
    /// How many follow in the same line.
    pub more: u16,
}

/// An operand in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// Index of its instruction in the block; that is fetched before, and what follows it after.
    pub instruction: u16,
    /// Kind of the reference; not a fetch.
    pub kind: RefKind,
    /// Size in bytes, 0 if unknown.
    pub bytes: u16,
}

/// What one kind of execution of a block does.
#[derive(Debug, Clone, Copy)]
pub struct Code<'a> {
    /// Virtual address of the first instruction.
    pub address: u64,
    /// Length in bytes of each instruction that is executed.
    pub lengths: &'a [u8],
    /// The same instructions by the line they lie in, for lines of
    /// [`Hierarchy::fetch_line_bytes`].
    pub runs: &'a [Run],
    /// Operands in order.
    pub operands: &'a [Operand],
    /// How many of them are reads.
    pub reads: u32,
}

impl Hierarchy {
    /// Fetches the instructions of `code` and makes the operands' references at `addresses`, one
    /// for each, in program order. `unusual` is told of each reference that was not simply a hit
    /// ([`Outcome::HIT`]), with its address.
    ///
    /// Equal to as many calls of [`Hierarchy::access`], which is what tests hold it against.
    #[inline]
    pub fn execute<T: Translator>(
        &mut self,
        code: Code<'_>,
        addresses: &[u64],
        translator: &mut T,
        unusual: &mut impl FnMut(RefKind, u64, &Outcome),
    ) {
        let Some(mut near) = self.near() else {
            return self.one_by_one(code, addresses, translator, unusual);
        };
        let left = near.begin(code.runs, code.operands, addresses);
        drop(near);
        let reads = u64::from(code.reads);
        self.count_near(code.lengths.len() as u64, reads, code.operands.len() as u64 - reads);
        if let Some(progress) = left {
            let Code { runs, operands, lengths, .. } = code;
            self.go_on((runs, operands), || lengths, addresses, progress, translator, unusual);
        }
    }

    /// Counts as hits all references of executions that [`Near::begin`](super::Near::begin) began.
    pub fn count_near(&mut self, fetches: u64, reads: u64, writes: u64) {
        self.plain.add_all(PlainHits { fetches, reads, writes });
    }

    /// The rest of an execution that [`Near::begin`](super::Near::begin) has begun, all of whose
    /// references [`Hierarchy::count_near`] counts before or after. `lengths` tells those of the
    /// block's instructions; it is seldom asked.
    pub fn go_on<'l, T: Translator>(
        &mut self,
        (runs, operands): (&[Run], &[Operand]),
        lengths: impl Fn() -> &'l [u8],
        addresses: &[u64],
        mut progress: Progress,
        translator: &mut T,
        unusual: &mut impl FnMut(RefKind, u64, &Outcome),
    ) {
        loop {
            let run = runs.get(progress.runs);
            let operand = operands.get(progress.operands);
            let comes_first =
                |operand: &&Operand| run.is_none_or(|run| operand.instruction < run.first);
            match (operand.filter(comes_first), run) {
                (Some(operand), _) => {
                    let (kind, bytes) = (operand.kind, u32::from(operand.bytes));
                    let va = addresses[progress.operands];
                    let outcome = self.further(kind, va, bytes, translator);
                    tell_unusual(kind, va, &outcome, unusual);
                    progress.operands += 1;
                }
                (None, Some(run)) => {
                    self.fetch_run(run, &lengths, translator, unusual);
                    progress.runs += 1;
                }
                (None, None) => return,
            }
            if progress.runs == runs.len() && progress.operands == operands.len() {
                return;
            }
            if let Some(mut near) = self.near() {
                near.go_on(runs, operands, addresses, &mut progress);
            }
        }
    }

    /// A run whose first fetch is not near at hand.
    fn fetch_run<'l, T: Translator>(
        &mut self,
        run: &Run,
        lengths: &impl Fn() -> &'l [u8],
        translator: &mut T,
        unusual: &mut impl FnMut(RefKind, u64, &Outcome),
    ) {
        let outcome = self.further(RefKind::Fetch, run.va, u32::from(run.length), translator);
        tell_unusual(RefKind::Fetch, run.va, &outcome, unusual);
        // The others lie in the line that the first ends in: if that is known now, they hit.
        let last = run.va.wrapping_add(u64::from(run.length.saturating_sub(1)));
        if run.more == 0 || self.fetched.has(last, 0) {
            return;
        }
        let mut va = run.va.wrapping_add(u64::from(run.length));
        let others = usize::from(run.first) + 1;
        for &length in &lengths()[others..others + usize::from(run.more)] {
            let bytes = u32::from(length);
            if self.first_look(RefKind::Fetch, va, bytes) == Look::Hit {
                // So are those that are left.
                return;
            }
            let outcome = self.further(RefKind::Fetch, va, bytes, translator);
            tell_unusual(RefKind::Fetch, va, &outcome, unusual);
            va = va.wrapping_add(u64::from(length));
        }
    }

    /// In program order throughout: where operands can take lines from fetches, or the address of
    /// each operand's instruction matters.
    #[inline(never)]
    fn one_by_one<T: Translator>(
        &mut self,
        code: Code<'_>,
        addresses: &[u64],
        translator: &mut T,
        unusual: &mut impl FnMut(RefKind, u64, &Outcome),
    ) {
        let mut access = |hierarchy: &mut Self, kind, va, bytes| {
            let outcome = hierarchy.access(kind, va, bytes, translator);
            if outcome != Outcome::HIT {
                unusual(kind, va, &outcome);
            }
        };
        let mut operands = code.operands.iter().zip(addresses).peekable();
        let mut va = code.address;
        for (index, &length) in code.lengths.iter().enumerate() {
            self.set_instruction(va);
            access(self, RefKind::Fetch, va, u32::from(length));
            va = va.wrapping_add(u64::from(length));
            while let Some((operand, &address)) =
                operands.next_if(|(operand, _)| usize::from(operand.instruction) <= index)
            {
                access(self, operand.kind, address, u32::from(operand.bytes));
            }
        }
        // Those of an instruction that was begun and not completed.
        self.set_instruction(va);
        for (operand, &address) in operands {
            access(self, operand.kind, address, u32::from(operand.bytes));
        }
    }
}

#[inline(always)]
fn tell_unusual(
    kind: RefKind,
    va: u64,
    outcome: &Outcome,
    unusual: &mut impl FnMut(RefKind, u64, &Outcome),
) {
    if *outcome != Outcome::HIT {
        unusual(kind, va, outcome);
    }
}
