//! References cut at page borders.

use crate::memory::Place;
use crate::page::{Mapping, PhysAddr};

pub(crate) const PAGE_BYTES: u64 = 4096;

/// The part of a reference that lies in one 4 KiB page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) va: u64,
    /// At least one, and none beyond the page.
    pub(crate) bytes: u64,
    pub(crate) mapping: Mapping,
}

impl Span {
    /// The starts of the lines that it touches, in order.
    pub(crate) fn places(self, line_shift: u32) -> impl Iterator<Item = Place> {
        let first = self.mapping.physical(self.va).0;
        let last = first + (self.bytes - 1);
        let page = self.va & !(PAGE_BYTES - 1);
        (first >> line_shift..=last >> line_shift).map(move |line| {
            let physical = line << line_shift;
            Place { physical: PhysAddr(physical), va: page | (physical % PAGE_BYTES) }
        })
    }

    pub(crate) fn is_in_large_page_of(self, other: Self) -> bool {
        let size = self.mapping.size();
        size == other.mapping.size() && self.va >> size.shift() == other.va >> size.shift()
    }
}
