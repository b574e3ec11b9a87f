//! Whose an entry is: the tags that decide who can use it.

use rustc_hash::FxHashMap;

use super::entry::OwnerId;
use super::flush::TagFilter;

/// Tags of an entry. Which of them a scheme uses differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Owner {
    /// Domain, under the scheme `vpid`; `None` for entries that all may use.
    pub(super) domain: Option<u16>,
    /// VPID or ASID; 0 is the host.
    pub(super) vpid: u16,
    /// Physical address of the root of the nested tables, where there are some.
    pub(super) root: Option<u64>,
    /// PCID, or the root table under the scheme `pcid`, or 0; `None` for entries that all may use.
    pub(super) space: Option<u64>,
}

/// Gives owners short numbers. Grows with the number of address spaces that ever ran.
#[derive(Debug, Clone)]
pub(super) struct OwnerTable {
    owners: Vec<Owner>,
    numbers: FxHashMap<Owner, OwnerId>,
}

impl OwnerTable {
    pub(super) fn new() -> Self {
        Self { owners: Vec::new(), numbers: FxHashMap::default() }
    }

    pub(super) fn number(&mut self, owner: Owner) -> OwnerId {
        *self.numbers.entry(owner).or_insert_with(|| {
            let id = u32::try_from(self.owners.len()).expect("fewer than 2^32 address spaces");
            self.owners.push(owner);
            OwnerId(id)
        })
    }

    pub(super) fn get(&self, id: OwnerId) -> &Owner {
        &self.owners[id.0 as usize]
    }

    /// For each owner, whether a flush of these tags is for it.
    pub(super) fn select(&self, filter: TagFilter) -> impl Fn(OwnerId) -> bool {
        move |id| filter.matches(self.get(id))
    }
}

/// Which of the stream's translations make global entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GlobalPages {
    /// None.
    Never,
    /// Those whose page-table entry has the G bit.
    Marked,
    /// Those of the hypervisor.
    Hypervisor,
}

/// Which entries can be used at present, and how new ones are tagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Context {
    /// Owner of entries that are not global.
    pub(super) own: OwnerId,
    /// Owner of global ones.
    pub(super) global: OwnerId,
    /// Which are global.
    pub(super) global_pages: GlobalPages,
    /// The PCID.
    pub(super) pcid: u16,
}

impl Context {
    #[inline]
    pub(super) fn owner(&self, global: bool) -> OwnerId {
        if global { self.global } else { self.own }
    }
}
