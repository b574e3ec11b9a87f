//! Which entry of a full set goes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the victim of a full set is chosen, in caches and TLBs alike. `docs/models.md` states each
/// rule to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Replacement {
    /// The one not used for longest.
    #[default]
    Lru,
    /// One bit for each node of a binary tree over the ways, pointing away from the last use. With
    /// a number of ways that is no power of two the tree is that of the next power of two, and
    /// leaves without a way are never chosen.
    TreePlru,
    /// The one filled longest ago.
    Fifo,
    /// Any, by a seeded generator.
    Random,
    /// Static re-reference interval prediction with 2 bits, hit priority (Jaleel et al., "High
    /// Performance Cache Replacement Using Re-Reference Interval Prediction", ISCA 2010).
    Srrip,
    /// Bimodal RRIP, of the same paper: nearly all fills are predicted to be used in the distant
    /// future.
    Brrip,
    /// Dynamic RRIP, of the same paper: sets that follow SRRIP duel with sets that follow BRRIP.
    Drrip,
}

impl Replacement {
    /// Every policy.
    pub const ALL: [Self; 7] = [
        Self::Lru,
        Self::TreePlru,
        Self::Fifo,
        Self::Random,
        Self::Srrip,
        Self::Brrip,
        Self::Drrip,
    ];
}

impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lru => "lru",
            Self::TreePlru => "tree-plru",
            Self::Fifo => "fifo",
            Self::Random => "random",
            Self::Srrip => "srrip",
            Self::Brrip => "brrip",
            Self::Drrip => "drrip",
        })
    }
}
