//! What each shape does to caches and TLBs, prepared once.

use strata_cachemodel::{Code, Operand, RefKind, Run};
use strata_workloads::trace::{AccessKind, Base, Block, Definitions, Shape, Slot};

/// What one execution of a shape does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Number of its block.
    pub(crate) block: u32,
    /// Instructions completed.
    pub(crate) completed: u16,
    /// Operands made once, and of these the reads.
    pub(crate) once: u16,
    pub(crate) reads: u16,
    /// Operands made by each iteration of the `rep` that ends the shape; they follow the others.
    pub(crate) again: u8,
    /// The last instruction was begun and left.
    pub(crate) interrupted: bool,
    /// The shape takes a number of iterations.
    pub(crate) repeats: bool,
    /// Addresses fall from iteration to iteration.
    pub(crate) backward: bool,
    /// The block's privilege level.
    pub(crate) privilege: u8,
    first_run: u32,
    runs: u16,
    first_operand: u32,
}

impl Plan {
    /// Number of addresses that come with an execution.
    #[inline]
    pub(crate) fn addresses(&self) -> usize {
        usize::from(self.once) + usize::from(self.again)
    }
}

impl Plan {
    /// The references of the `rep` that ends the shape: `operands`, which are its repeated ones, at
    /// `starts` and then on from there for each iteration.
    pub(crate) fn references<'o>(
        &self,
        operands: &'o [Operand],
        starts: &'o [u64],
        iterations: u64,
    ) -> impl Iterator<Item = (&'o Operand, u64)> + use<'o> {
        let backward = self.backward;
        (0..iterations).flat_map(move |iteration| {
            operands.iter().zip(starts).map(move |(operand, start)| {
                let moved = iteration.wrapping_mul(u64::from(operand.bytes));
                let va =
                    if backward { start.wrapping_sub(moved) } else { start.wrapping_add(moved) };
                (operand, va)
            })
        })
    }
}

/// The plans of all shapes met, by number.
#[derive(Debug)]
pub(crate) struct Plans {
    line_bytes: u64,
    plans: Vec<Plan>,
    runs: Vec<Run>,
    operands: Vec<Operand>,
}

impl Plans {
    /// None, for fetches from lines of this size, a power of two.
    pub(crate) fn new(line_bytes: u64) -> Self {
        Plans { line_bytes, plans: Vec::new(), runs: Vec::new(), operands: Vec::new() }
    }

    /// Plans those shapes that are new.
    pub(crate) fn extend(&mut self, tables: &Definitions) {
        for shape in &tables.shapes[self.plans.len()..] {
            let plan = self.plan(shape, &tables.blocks[shape.block.index()]);
            self.plans.push(plan);
        }
    }

    /// The plan of shape `index`.
    #[inline]
    pub(crate) fn of(&self, index: usize) -> &Plan {
        &self.plans[index]
    }

    /// All plans, by the number of the shape.
    pub(crate) fn all(&self) -> &[Plan] {
        &self.plans
    }

    /// The lines fetched from and the operands made once.
    #[inline(always)]
    pub(crate) fn parts(&self, plan: &Plan) -> (&[Run], &[Operand]) {
        let (run, operand) = (plan.first_run as usize, plan.first_operand as usize);
        let runs = &self.runs[run..][..usize::from(plan.runs)];
        (runs, &self.operands[operand..][..usize::from(plan.once)])
    }

    /// The fetches and the operands made once.
    #[inline]
    pub(crate) fn code<'a>(&'a self, plan: &Plan, block: &'a Block) -> Code<'a> {
        let (runs, operands) = self.parts(plan);
        Code {
            address: block.address,
            lengths: &block.lengths[..usize::from(plan.completed)],
            runs,
            operands,
            reads: u32::from(plan.reads),
        }
    }

    /// The operands of each iteration.
    pub(crate) fn repeated(&self, plan: &Plan) -> &[Operand] {
        let first = plan.first_operand as usize + usize::from(plan.once);
        &self.operands[first..first + usize::from(plan.again)]
    }

    fn plan(&mut self, shape: &Shape, block: &Block) -> Plan {
        let again = shape.repeat.map_or(0, |repeat| repeat.slots);
        let once = shape.slots.len() - usize::from(again);
        let (first_run, first_operand) = (self.runs.len(), self.operands.len());
        self.add_runs(block, usize::from(shape.completed));
        self.operands.extend((0..shape.slots.len()).map(|i| Operand {
            instruction: shape.slots[i].instruction,
            kind: kind_of(&shape.slots, i),
            bytes: shape.slots[i].bytes,
        }));
        let reads = self.operands[first_operand..first_operand + once]
            .iter()
            .filter(|operand| operand.kind == RefKind::Read)
            .count();
        Plan {
            block: shape.block.0,
            completed: shape.completed,
            once: once as u16,
            reads: reads as u16,
            again,
            interrupted: shape.interrupted,
            repeats: shape.repeat.is_some(),
            backward: shape.repeat.is_some_and(|repeat| repeat.backward),
            privilege: block.privilege,
            first_run: first_run as u32,
            runs: (self.runs.len() - first_run) as u16,
            first_operand: first_operand as u32,
        }
    }

    /// The first `completed` instructions of `block` by the line they lie in.
    fn add_runs(&mut self, block: &Block, completed: usize) {
        let line_of = |address: u64| address & !(self.line_bytes - 1);
        let start = self.runs.len();
        let mut offset = 0;
        let mut line = None;
        for (i, &length) in block.lengths[..completed].iter().enumerate() {
            let address = block.address.wrapping_add(u64::from(offset));
            let end = line_of(address.wrapping_add(u64::from(length).max(1) - 1));
            match self.runs[start..].last_mut() {
                Some(run) if line == Some(end) && line_of(address) == end => run.more += 1,
                _ => self.runs.push(Run { va: address, length, first: i as u16, more: 0 }),
            }
            line = Some(end);
            offset += u32::from(length);
        }
    }
}

/// A write is the second half of a modify where the producer says so, or where it is to the very
/// operand that its instruction has just read.
fn kind_of(slots: &[Slot], index: usize) -> RefKind {
    let slot = &slots[index];
    if slot.kind == AccessKind::Read {
        return RefKind::Read;
    }
    let after_its_read = index.checked_sub(1).is_some_and(|before| {
        let read = &slots[before];
        read.kind == AccessKind::Read
            && slot.base != Base::Own
            && (read.instruction, read.base, read.displacement, read.bytes)
                == (slot.instruction, slot.base, slot.displacement, slot.bytes)
    });
    if slot.modify || after_its_read { RefKind::ModifyWrite } else { RefKind::Write }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_workloads::trace::{BlockId, CodeSize, Flow, StackEffect};

    fn block(lengths: &[u8]) -> Block {
        Block {
            address: 0x1030,
            code_size: CodeSize::Bits64,
            privilege: 0,
            space: None,
            lengths: lengths.into(),
            code: Box::default(),
        }
    }

    fn shape(completed: u16, slots: Vec<Slot>) -> Shape {
        Shape {
            block: BlockId(0),
            completed,
            interrupted: false,
            slots: slots.into(),
            repeat: None,
            flow: Flow::Other,
            stack: StackEffect::Moves(0),
        }
    }

    fn slot(kind: AccessKind, base: Base, displacement: i64) -> Slot {
        Slot { instruction: 0, kind, bytes: 8, modify: false, base, displacement }
    }

    fn runs(line_bytes: u64, completed: u16) -> Vec<Run> {
        let tables = Definitions {
            blocks: vec![block(&[8, 4, 8, 4, 40, 8, 1])],
            shapes: vec![shape(completed, Vec::new())],
            ..Definitions::default()
        };
        let mut plans = Plans::new(line_bytes);
        plans.extend(&tables);
        plans.code(plans.of(0), &tables.blocks[0]).runs.to_vec()
    }

    #[test]
    fn an_instruction_that_crosses_a_line_begins_a_run_and_so_does_the_first_of_a_line() {
        let run =
            |first, more, offset: u64, length| Run { va: 0x1030 + offset, length, first, more };
        // Bytes 1030-1037, 1038-103b, 103c-1043 across, 1044-1047, 1048-106f, 1070-1077, 1078.
        assert_eq!(runs(64, 7), [run(0, 1, 0, 8), run(2, 4, 12, 8)]);
        assert_eq!(runs(64, 4), [run(0, 1, 0, 8), run(2, 1, 12, 8)]);
        assert_eq!(runs(8, 7).len(), 6);
        assert!(runs(64, 0).is_empty());
    }

    #[test]
    fn a_write_to_the_operand_just_read_is_the_second_half_of_a_modify() {
        let register = Base::Register(3);
        let kinds = |second: Slot| kind_of(&[slot(AccessKind::Read, register, 16), second], 1);
        assert_eq!(kinds(slot(AccessKind::Write, register, 16)), RefKind::ModifyWrite);
        assert_eq!(kinds(slot(AccessKind::Write, register, 24)), RefKind::Write);
        assert_eq!(kinds(slot(AccessKind::Write, Base::Own, 16)), RefKind::Write);
        let marked = Slot { modify: true, ..slot(AccessKind::Write, Base::Own, 0) };
        assert_eq!(kinds(marked), RefKind::ModifyWrite);
        assert_eq!(kinds(slot(AccessKind::Read, register, 16)), RefKind::Read);
    }
}
