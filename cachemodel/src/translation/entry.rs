//! What one entry of a TLB holds.

use super::flush::PageRange;
use crate::page::{FRAME_MASK, Mapping, PageSize};

/// Number of an [`Owner`](super::tags::Owner) in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct OwnerId(pub(super) u32);

/// What an entry is found by, but for the rest of its owner's number: page number (of the entry's
/// own size) in bits 0–44, size in 45–46, global in 47, the low 16 bits of the owner in 48–63.
///
/// Virtual addresses have 57 bits at most; bits 57 to 63 of an address are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

/// Bits of a 4 KiB page number.
pub(super) const VPN_MASK: u64 = (1 << 45) - 1;
const SIZE_SHIFT: u32 = 45;
const GLOBAL: u64 = 1 << 47;
const OWNER_SHIFT: u32 = 48;

impl Key {
    /// Its size bits are those of no page size.
    pub(super) const EMPTY: Self = Self(u64::MAX);

    #[inline]
    pub(super) fn new(vpn: u64, size: PageSize, global: bool, owner: OwnerId) -> Self {
        let page = (vpn & VPN_MASK) >> (size.shift() - 12);
        let owner = u64::from(owner.0) << OWNER_SHIFT;
        Self(page | (size as u64) << SIZE_SHIFT | if global { GLOBAL } else { 0 } | owner)
    }

    /// Page number in units of its own size.
    #[inline]
    pub(super) fn page(self) -> u64 {
        self.0 & VPN_MASK
    }

    #[inline]
    pub(super) fn size(self) -> PageSize {
        match self.0 >> SIZE_SHIFT & 3 {
            0 => PageSize::Size4K,
            1 => PageSize::Size2M,
            _ => PageSize::Size1G,
        }
    }

    #[inline]
    pub(super) fn is_global(self) -> bool {
        self.0 & GLOBAL != 0
    }

    /// Number of its first 4 KiB page.
    #[inline]
    pub(super) fn first_vpn(self) -> u64 {
        self.page() << (self.size().shift() - 12)
    }
}

/// What a key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// Frame of the entry's first 4 KiB.
    pub(super) base: u64,
    /// The PCID that was current when the entry was made: a global entry's owner does not tell it.
    pub(super) made_under: u16,
    /// Size of the page that the entry is, or is a fragment of.
    pub(super) page: PageSize,
}

impl Target {
    pub(super) const NONE: Self = Self { base: 0, made_under: 0, page: PageSize::Size4K };

    /// What an entry of `size` holds for a stream's translation.
    #[inline]
    pub(super) fn new(vpn: u64, mapping: Mapping, size: PageSize, made_under: u16) -> Self {
        Self { base: base(vpn, mapping.frame(), size), made_under, page: mapping.size() }
    }

    /// Frame of a 4 KiB page that the entry, of `size`, covers.
    #[inline]
    pub(super) fn frame_of(self, vpn: u64, size: PageSize) -> u64 {
        self.base.wrapping_add(vpn & size.inner_mask()) & FRAME_MASK
    }

    /// The same for a fragment of `size` around `vpn`, from an entry of size `from`.
    pub(super) fn fragment(self, vpn: u64, from: PageSize, size: PageSize) -> Self {
        Self { base: base(vpn, self.frame_of(vpn, from), size), ..self }
    }

    /// Whether the page that `key` is of, all its fragments included, has a part in `range`.
    pub(super) fn is_in(self, key: Key, range: PageRange) -> bool {
        let inner = self.page.inner_mask().max(key.size().inner_mask());
        let first = key.first_vpn() & !inner;
        first <= range.last && range.first <= first | inner
    }
}

/// Frame of the first 4 KiB of the page of `size` around `vpn`, whose own frame is `frame`. Wraps
/// for a page whose frame is not aligned to its size: such a translation cannot exist, but this
/// one address of it is then still translated as the stream says.
#[inline]
pub(super) fn base(vpn: u64, frame: u64, size: PageSize) -> u64 {
    frame.wrapping_sub(vpn & size.inner_mask()) & FRAME_MASK
}
