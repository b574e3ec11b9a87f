//! Address spaces and page translations.

use super::block::index_type;
use rustc_hash::FxHashMap;

index_type!(
    /// An address space, numbered from 0 in the order of definition.
    SpaceId
);
index_type!(
    /// A translation, numbered from 0 in the order in which the stream tells them.
    TranslationId
);
index_type!(
    /// The page-table pages that a walk goes through, numbered from 0.
    WalkId
);

/// What an address is looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Paging is off: linear addresses are physical.
    Physical,
    /// Ordinary paging; the physical address of the top table (CR3 without its low 12 bits).
    Paged {
        /// Root table.
        root: u64,
    },
    /// A guest under nested paging: its addresses go through its own tables, whose own addresses
    /// and results are guest-physical.
    Guest {
        /// The guest's root table, guest-physical.
        root: u64,
        /// The nested root table.
        nested: u64,
    },
    /// Guest-physical addresses under a nested root.
    Nested {
        /// The nested root table, host-physical.
        root: u64,
    },
}

/// Size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PageSize {
    /// 4 KiB.
    Size4K,
    /// 2 MiB.
    Size2M,
    /// 4 MiB (32-bit paging without PAE).
    Size4M,
    /// 1 GiB.
    Size1G,
}

impl PageSize {
    /// All sizes, smallest first.
    pub const ALL: [PageSize; 4] =
        [PageSize::Size4K, PageSize::Size2M, PageSize::Size4M, PageSize::Size1G];

    /// Base-2 logarithm of the size in bytes.
    pub fn shift(self) -> u32 {
        match self {
            PageSize::Size4K => 12,
            PageSize::Size2M => 21,
            PageSize::Size4M => 22,
            PageSize::Size1G => 30,
        }
    }

    /// From the base-2 logarithm of the size in bytes.
    pub fn from_shift(shift: u32) -> Option<Self> {
        PageSize::ALL.into_iter().find(|s| s.shift() == shift)
    }

    /// Number of 4 KiB frames.
    pub fn frames(self) -> u64 {
        1 << (self.shift() - 12)
    }
}

/// Attributes of a page, as its table entries give them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PageFlags {
    /// G bit of the last entry (without effect while CR4.PGE is 0).
    pub global: bool,
    /// U bit of every entry.
    pub user: bool,
    /// W bit of every entry.
    pub writable: bool,
    /// No NX bit in any entry.
    pub executable: bool,
    /// Bit 52 of the last entry: Xen's _PAGE_GUEST_KERNEL, which tells a 64-bit paravirtualized
    /// kernel's pages from its programs', as both run in ring 3.
    pub guest_kernel: bool,
    /// Not RAM: accesses go to a device and to no cache.
    pub device: bool,
}

/// The table pages of one walk, from the root down; as many as the walk has levels. The entry used
/// at a level is `table + 8 × index`, the index being the address's bits for that level, so that
/// one walk serves every page of its last table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Walk {
    /// 4 KiB frame numbers of the tables, root first.
    pub tables: Vec<u64>,
}

/// A virtual page and the frame behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Translation {
    /// The address space.
    pub space: SpaceId,
    /// Virtual address / 4 KiB of the page's start.
    pub page: u64,
    /// Physical address / 4 KiB of the frame's start; host-physical even for a nested guest.
    pub frame: u64,
    /// Guest-physical address / 4 KiB of the frame's start: equal to `frame` without nested paging.
    pub guest_frame: u64,
    /// Size of the page: for a nested guest the smaller of the two walks'.
    pub size: PageSize,
    /// Attributes.
    pub flags: PageFlags,
    /// The tables it came from.
    pub walk: WalkId,
}

impl Translation {
    /// Physical address of `address`, which must lie in this page.
    pub fn physical(&self, address: u64) -> u64 {
        (self.frame << 12) | (address & ((1 << self.size.shift()) - 1))
    }
}

/// The translations valid now, by address space and page.
#[derive(Clone, Debug, Default)]
pub struct PageMap {
    pages: FxHashMap<(SpaceId, u64), TranslationId>,
    /// Sizes seen in each space, as a bit set over [`PageSize::ALL`].
    sizes: Vec<u8>,
}

impl PageMap {
    /// Makes `id` the translation of its page, in place of the one before.
    pub fn insert(&mut self, id: TranslationId, translation: &Translation) {
        let space = translation.space.index();
        if self.sizes.len() <= space {
            self.sizes.resize(space + 1, 0);
        }
        self.sizes[space] |= 1 << translation.size as u8;
        self.pages.insert((translation.space, key(translation.page, translation.size)), id);
    }

    /// The translation of `address` in `space`. Where pages of several sizes cover it, the one
    /// told last holds.
    pub fn lookup(&self, space: SpaceId, address: u64) -> Option<TranslationId> {
        let sizes = *self.sizes.get(space.index())?;
        PageSize::ALL
            .into_iter()
            .filter(|&size| sizes & (1 << size as u8) != 0)
            .filter_map(|size| {
                let page = (address >> size.shift()) << (size.shift() - 12);
                self.pages.get(&(space, key(page, size))).copied()
            })
            .max()
    }

    /// Number of pages known.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// True when no page is known.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

/// A page's number with its size in the bits that a page number leaves free (it has 52).
fn key(page: u64, size: PageSize) -> u64 {
    (page & ((1 << 52) - 1)) | (size as u64) << 52
}
