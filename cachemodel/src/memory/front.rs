//! What is known without a look-up.

use crate::geometry::SetIndex;
use crate::machine::CacheSpec;

/// For each set of a first-level cache, the line touched last, as long as another touch of it would
/// change nothing: it is in the cache, and every policy leaves such a set as it is.
///
/// Nearly all references are of this kind, whatever the policy, and are then done with one
/// comparison. A write changes nothing only if the line is dirty already.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    index: SetIndex,
    line_shift: u32,
    /// Line number shifted left by one; bit 0 is set if a write changes nothing either.
    lines: Box<[u64]>,
}

/// No line has this number: lines have at least eight bytes.
const EMPTY: u64 = u64::MAX;

impl Front {
    pub(crate) fn new(spec: &CacheSpec) -> Self {
        let sets = usize::try_from(spec.sets()).expect("bounded by MAX_LINES");
        Self {
            index: SetIndex::new(spec.sets()),
            line_shift: spec.geometry().line_shift(),
            lines: vec![EMPTY; sets].into(),
        }
    }

    pub(crate) fn line_shift(&self) -> u32 {
        self.line_shift
    }

    /// Whether reading at this physical address changes nothing.
    #[inline(always)]
    pub(crate) fn rests(&self, physical: u64) -> bool {
        let line = physical >> self.line_shift;
        self.lines[self.index.of(line)] >> 1 == line
    }

    /// Whether writing at this physical address changes nothing.
    #[inline(always)]
    pub(crate) fn rests_written(&self, physical: u64) -> bool {
        let line = physical >> self.line_shift;
        self.lines[self.index.of(line)] == line << 1 | 1
    }

    /// `line` is the one touched last in its set.
    #[inline]
    pub(super) fn enter(&mut self, line: u64, dirty: bool) {
        self.lines[self.index.of(line)] = line << 1 | u64::from(dirty);
    }

    /// Something else happened in the set of `line`.
    #[inline]
    pub(super) fn leave(&mut self, line: u64) {
        self.lines[self.index.of(line)] = EMPTY;
    }

    pub(super) fn clear(&mut self) {
        self.lines.fill(EMPTY);
    }
}
