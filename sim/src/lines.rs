//! Which instructions of a block lie in one cache line, found once for each block.

use strata_workloads::trace::Block;

/// An instruction, and those after it that lie in the line it ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineRun {
    /// Index of the instruction in its block (0-based).
    pub(crate) first: u16,
    /// How many follow in the same line.
    pub(crate) more: u16,
    /// Where the instruction begins, in bytes from the block's start.
    pub(crate) offset: u32,
    /// Its length in bytes.
    pub(crate) length: u8,
}

/// The runs of every block met so far.
#[derive(Debug)]
pub(crate) struct Lines {
    line_bytes: u64,
    runs: Vec<LineRun>,
    /// Range of each block's runs; empty until it is met.
    blocks: Vec<(u32, u32)>,
}

impl Lines {
    /// None met yet, for lines of this size, a power of two.
    pub(crate) fn new(line_bytes: u64) -> Self {
        Lines { line_bytes, runs: Vec::new(), blocks: Vec::new() }
    }

    /// The runs of `block`, number `index`, in order.
    #[inline]
    pub(crate) fn of(&mut self, index: usize, block: &Block) -> &[LineRun] {
        let (start, end) = match self.blocks.get(index) {
            Some(&(start, end)) if start < end => (start, end),
            _ => self.find(index, block),
        };
        &self.runs[start as usize..end as usize]
    }

    #[cold]
    fn find(&mut self, index: usize, block: &Block) -> (u32, u32) {
        let line_of = |address: u64| address & !(self.line_bytes - 1);
        let start = self.runs.len();
        let mut offset = 0;
        let mut line = None;
        for (i, &length) in block.lengths.iter().enumerate() {
            let address = block.address.wrapping_add(u64::from(offset));
            let end = line_of(address.wrapping_add(u64::from(length).max(1) - 1));
            match self.runs.last_mut() {
                Some(run) if line == Some(end) && line_of(address) == end => run.more += 1,
                _ => self.runs.push(LineRun { first: i as u16, more: 0, offset, length }),
            }
            line = Some(end);
            offset += u32::from(length);
        }
        let range = (start as u32, self.runs.len() as u32);
        if self.blocks.len() <= index {
            self.blocks.resize(index + 1, (0, 0));
        }
        self.blocks[index] = range;
        range
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_workloads::trace::CodeSize;

    #[test]
    fn an_instruction_that_crosses_a_line_begins_a_run_and_so_does_the_first_of_a_line() {
        let block = Block {
            address: 0x1030,
            code_size: CodeSize::Bits64,
            privilege: 0,
            space: None,
            lengths: [8, 4, 8, 4, 40, 8, 1].into(),
            code: Box::default(),
        };
        let run = |first, more, offset, length| LineRun { first, more, offset, length };
        // Bytes 1030-103b, 103c-1043 across, 1044-1047 and 1048-106f, 1070-1077, 1078.
        let expected = [run(0, 1, 0, 8), run(2, 4, 12, 8)];
        let mut lines = Lines::new(64);
        assert_eq!(lines.of(3, &block), expected);
        assert_eq!(lines.of(3, &block), expected);
        let each = Lines::new(8).of(0, &block).len();
        assert_eq!(each, 6);
    }
}
