//! What counts as an access: each simulator answers differently, and each answer is a setting.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How references become accesses of caches and TLBs.
///
/// The models differ only for references that touch several lines or pages, for modifies, and in
/// whether write-backs reach the second level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Semantics {
    /// One L1 and one TLB access for each instruction and each data operand, as in Figure 4 of the
    /// VEE'07 paper. It misses if any line (page) it touches misses; every one is looked up, in
    /// order. The lines that missed are looked up in L2, together one L2 access. A dirty L1D victim
    /// is written back into L2.
    #[default]
    PerReference,
    /// Each line and each page touched is an access of its own; victims do not reach L2.
    /// Exact with DynamoRIO drcachesim.
    SplitDemandOnly,
    /// As [`Semantics::SplitDemandOnly`], and a dirty L1D victim is written back into L2.
    /// Exact with Dinero IV.
    SplitWriteback,
    /// As [`Semantics::PerReference`] with three differences: the write half of a modify is not
    /// an access, L2 is asked for all the lines of a reference that missed in L1 (also for those
    /// that hit), and victims do not reach L2. Exact with valgrind's cachegrind.
    Cachegrind,
    /// Only the line and the page of the first byte are touched; victims do not reach L2.
    /// Exact with QEMU's cache plugin.
    FirstByte,
}

impl Semantics {
    /// Whether a reference is one access however many lines it touches.
    #[must_use]
    pub fn counts_references(self) -> bool {
        !matches!(self, Self::SplitDemandOnly | Self::SplitWriteback)
    }

    pub(crate) fn writes_back(self) -> bool {
        matches!(self, Self::PerReference | Self::SplitWriteback)
    }
}

impl fmt::Display for Semantics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerReference => "per-reference",
            Self::SplitDemandOnly => "split-demand-only",
            Self::SplitWriteback => "split-writeback",
            Self::Cachegrind => "cachegrind",
            Self::FirstByte => "first-byte",
        })
    }
}
