//! Addresses, pages and translations.

use std::fmt;

/// Size of a page, and so of what one TLB entry covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PageSize {
    /// 4 KiB.
    Size4K = 0,
    /// 2 MiB.
    Size2M = 1,
    /// 1 GiB.
    Size1G = 2,
}

impl PageSize {
    /// Every size, small to large.
    pub const ALL: [Self; 3] = [Self::Size4K, Self::Size2M, Self::Size1G];

    /// Bits of an offset in the page: 12, 21 or 30.
    #[inline]
    #[must_use]
    pub fn shift(self) -> u32 {
        12 + 9 * self as u32
    }

    /// Bits of a 4 KiB page number that count 4 KiB pages within this page.
    #[inline]
    pub(crate) fn inner_mask(self) -> u64 {
        (1 << (self.shift() - 12)) - 1
    }
}

/// A physical address in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhysAddr(pub u64);

/// Translation of one 4 KiB page of virtual addresses, with the attributes of the page (of
/// whatever size) that holds it. Eight bytes, to be kept in tables.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mapping(u64);

const FRAME_BITS: u32 = 52;
pub(crate) const FRAME_MASK: u64 = (1 << FRAME_BITS) - 1;
const SIZE_SHIFT: u32 = FRAME_BITS;
const GLOBAL: u64 = 1 << (SIZE_SHIFT + 2);
const DEVICE: u64 = 1 << (SIZE_SHIFT + 3);
const HYPERVISOR: u64 = 1 << (SIZE_SHIFT + 4);

impl Mapping {
    /// A page that is neither global nor a device's.
    ///
    /// `frame` is the 4 KiB frame of *this* 4 KiB page of virtual addresses: inside a larger page
    /// not the page's first frame. Bits above the 52 of a frame number are dropped.
    #[inline]
    #[must_use]
    pub const fn new(frame: u64, size: PageSize) -> Self {
        Self((frame & FRAME_MASK) | (size as u64) << SIZE_SHIFT)
    }

    /// The 4 KiB page at `va`, translated to itself: for streams that know no translations.
    #[inline]
    #[must_use]
    pub const fn identity(va: u64) -> Self {
        Self::new(va >> 12, PageSize::Size4K)
    }

    /// The same with the G bit of its page-table entry set or clear.
    #[inline]
    #[must_use]
    pub const fn with_global(self, global: bool) -> Self {
        Self(if global { self.0 | GLOBAL } else { self.0 & !GLOBAL })
    }

    /// The same as memory of a device, which is not cached, or as ordinary memory.
    #[inline]
    #[must_use]
    pub const fn with_device(self, device: bool) -> Self {
        Self(if device { self.0 | DEVICE } else { self.0 & !DEVICE })
    }

    /// The same as one of the hypervisor's own pages, or not: what some tag schemes go by.
    #[inline]
    #[must_use]
    pub const fn with_hypervisor(self, hypervisor: bool) -> Self {
        Self(if hypervisor { self.0 | HYPERVISOR } else { self.0 & !HYPERVISOR })
    }

    /// 4 KiB frame number.
    #[inline]
    #[must_use]
    pub const fn frame(self) -> u64 {
        self.0 & FRAME_MASK
    }

    /// Size of the page that holds this 4 KiB page.
    #[inline]
    #[must_use]
    pub const fn size(self) -> PageSize {
        match (self.0 >> SIZE_SHIFT) & 3 {
            0 => PageSize::Size4K,
            1 => PageSize::Size2M,
            _ => PageSize::Size1G,
        }
    }

    /// Whether the page-table entry has its G bit set.
    #[inline]
    #[must_use]
    pub const fn is_global(self) -> bool {
        self.0 & GLOBAL != 0
    }

    /// Whether accesses to it go to a device and not to a cache.
    #[inline]
    #[must_use]
    pub const fn is_device(self) -> bool {
        self.0 & DEVICE != 0
    }

    /// Whether it is one of the hypervisor's own pages.
    #[inline]
    #[must_use]
    pub const fn is_hypervisor(self) -> bool {
        self.0 & HYPERVISOR != 0
    }

    /// Where `va`, an address in this page, is in memory.
    #[inline]
    #[must_use]
    pub const fn physical(self, va: u64) -> PhysAddr {
        PhysAddr(self.frame() << 12 | va & 0xfff)
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("frame", &format_args!("{:#x}", self.frame()))
            .field("size", &self.size())
            .field("global", &self.is_global())
            .field("device", &self.is_device())
            .field("hypervisor", &self.is_hypervisor())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_keeps_frame_size_and_attributes_apart() {
        for size in PageSize::ALL {
            let mapping =
                Mapping::new(0xf_ffff_ffff_ffff, size).with_global(true).with_device(true);
            assert_eq!((mapping.frame(), mapping.size()), (0xf_ffff_ffff_ffff, size));
            let plain = mapping.with_global(false).with_device(false);
            assert!(mapping.is_global() && mapping.is_device());
            assert!(!plain.is_global() && !plain.is_device());
        }
        assert_eq!(Mapping::new(0x123, PageSize::Size4K).physical(0xffff_8abc).0, 0x12_3abc);
    }
}
