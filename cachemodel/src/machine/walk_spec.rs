//! What a TLB miss costs in memory references.

use serde::{Deserialize, Serialize};

/// Where a page walk's reads of table entries enter the caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WalkMemory {
    /// Nowhere: walks make no references.
    #[default]
    Off,
    /// The first-level data cache.
    L1d,
    /// The second level.
    L2,
}

/// Page walks and the caches that shorten them (Intel SDM volume 3, 4.10.3; AMD APM volume 2,
/// 5.5.3 and 15.25). All are fully associative with least recently used replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WalkSpec {
    /// Where the reads of table entries go.
    pub memory: WalkMemory,
    /// Entries of the cache of PML5 entries, 0 for none.
    pub pml5_cache: u32,
    /// Entries of the cache of PML4 entries, 0 for none.
    pub pml4_cache: u32,
    /// Entries of the cache of page-directory-pointer entries, 0 for none.
    pub pdpte_cache: u32,
    /// Entries of the cache of page-directory entries, 0 for none.
    pub pde_cache: u32,
    /// Entries of the cache of guest-physical translations used within nested walks, 0 for none.
    pub nested_cache: u32,
}

/// Most entries of one paging-structure cache.
pub(crate) const MAX_WALK_CACHE: u32 = 1 << 16;
