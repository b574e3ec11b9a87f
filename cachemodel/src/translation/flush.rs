//! Which entries an event drops.

use super::entry::{Key, Target, VPN_MASK};
use super::tags::Owner;
use crate::page::PageSize;

/// Kind of event that dropped an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FlushCause {
    /// A CR3 write of a new value; under the what-if schemes, a switch.
    Cr3Write,
    /// A CR3 write of the value that it had.
    Cr3SameValue,
    /// A change of CR4.PGE; under the what-if schemes, a pair without a switch.
    PgeChange,
    /// A change of another bit of CR0 or CR4.
    PagingMode,
    /// INVLPG, INVLPGA or INVLPGB.
    Invlpg,
    /// INVPCID.
    Invpcid,
    /// A page fault.
    PageFault,
    /// Entry to a guest or exit from it.
    GuestSwitch,
    /// A flush that names guests: TLB control at entry, INVVPID, INVEPT, an EPT violation.
    GuestFlush,
    /// A task switch, a reset, system management.
    Other,
}

impl FlushCause {
    /// Every cause, in a fixed order.
    pub const ALL: [Self; 10] = [
        Self::Cr3Write,
        Self::Cr3SameValue,
        Self::PgeChange,
        Self::PagingMode,
        Self::Invlpg,
        Self::Invpcid,
        Self::PageFault,
        Self::GuestSwitch,
        Self::GuestFlush,
        Self::Other,
    ];
}

impl std::fmt::Display for FlushCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cr3Write => "cr3-write",
            Self::Cr3SameValue => "cr3-same-value",
            Self::PgeChange => "pge-change",
            Self::PagingMode => "paging-mode",
            Self::Invlpg => "invlpg",
            Self::Invpcid => "invpcid",
            Self::PageFault => "page-fault",
            Self::GuestSwitch => "guest-switch",
            Self::GuestFlush => "guest-flush",
            Self::Other => "other",
        })
    }
}

/// 4 KiB pages by number, first to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRange {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl PageRange {
    /// Has a part of no page.
    pub(super) const NONE: Self = Self { first: u64::MAX, last: 0 };

    /// The 4 KiB page of an address.
    pub(super) fn of(va: u64) -> Self {
        let vpn = va >> 12 & VPN_MASK;
        Self { first: vpn, last: vpn }
    }

    /// `count` pages of `stride` from the one of an address; ends where addresses end.
    pub(super) fn strided(va: u64, count: u32, stride: PageSize) -> Self {
        let first = (va >> 12 & VPN_MASK) & !stride.inner_mask();
        let length = u64::from(count) << (stride.shift() - 12);
        Self { first, last: (first + length.max(1) - 1).min(VPN_MASK) }
    }
}

/// VPIDs or ASIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vpids {
    Any,
    Is(u16),
    /// All but the host's.
    Guests,
}

/// Roots of nested tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Roots {
    /// Any, and entries made without nested paging.
    Any,
    /// Any, of entries made under nested paging.
    Nested,
    Is(u64),
}

/// Owners, by their tags. `None` is any; domain and space are looked at only of owners that have
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TagFilter {
    pub(super) domain: Option<u16>,
    pub(super) vpid: Vpids,
    pub(super) root: Roots,
    pub(super) space: Option<u64>,
}

impl TagFilter {
    pub(super) const ANY: Self =
        Self { domain: None, vpid: Vpids::Any, root: Roots::Any, space: None };

    pub(super) fn matches(self, owner: &Owner) -> bool {
        self.domain.is_none_or(|domain| owner.domain.is_none_or(|of| of == domain))
            && match self.vpid {
                Vpids::Any => true,
                Vpids::Is(vpid) => owner.vpid == vpid,
                Vpids::Guests => owner.vpid != 0,
            }
            && match self.root {
                Roots::Any => true,
                Roots::Nested => owner.root.is_some(),
                Roots::Is(root) => owner.root == Some(root),
            }
            && self.space.is_none_or(|space| owner.space.is_none_or(|of| of == space))
    }
}

/// What happens to global entries of the owners selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Globals {
    Stay,
    Go,
    /// Those go that were made under this PCID.
    GoIfMadeUnder(u16),
}

/// Which paging-structure-cache entries of the owners selected go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Structures {
    Stay,
    /// Those used for the pages, where a flush is of pages; else all.
    ForPages,
    All,
}

/// Which entries of the nested cache go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nested {
    Stay,
    /// Those of the owners that these tags name.
    Of(TagFilter),
    /// The one of a guest-physical 4 KiB page.
    Page {
        tags: TagFilter,
        frame: u64,
    },
}

/// Entries to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flush {
    pub(super) tags: TagFilter,
    pub(super) globals: Globals,
    /// All pages where there is none.
    pub(super) pages: Option<PageRange>,
    pub(super) structures: Structures,
    pub(super) nested: Nested,
    pub(super) cause: FlushCause,
}

impl Flush {
    /// Every entry of these tags, global ones too; the nested cache stays.
    pub(super) fn all_of(tags: TagFilter, cause: FlushCause) -> Self {
        Self {
            tags,
            globals: Globals::Go,
            pages: None,
            structures: Structures::ForPages,
            nested: Nested::Stay,
            cause,
        }
    }

    /// Every entry of these tags that is not global.
    pub(super) fn non_global_of(tags: TagFilter, cause: FlushCause) -> Self {
        Self { globals: Globals::Stay, ..Self::all_of(tags, cause) }
    }

    /// Every entry there is.
    pub(super) fn everything(cause: FlushCause) -> Self {
        Self { nested: Nested::Of(TagFilter::ANY), ..Self::all_of(TagFilter::ANY, cause) }
    }

    /// Whether every entry of every TLB goes.
    pub(super) fn is_of_all_entries(&self) -> bool {
        self.tags == TagFilter::ANY && self.globals == Globals::Go && self.pages.is_none()
    }

    /// Whether it drops an entry of an owner that the tags select.
    pub(super) fn drops(&self, key: Key, target: Target) -> bool {
        let by_globality = !key.is_global()
            || match self.globals {
                Globals::Stay => false,
                Globals::Go => true,
                Globals::GoIfMadeUnder(pcid) => target.made_under == pcid,
            };
        by_globality && self.pages.is_none_or(|range| target.is_in(key, range))
    }
}
