//! The distance between where an image was linked and where it runs.

use std::fmt;

/// What to add to an image address to get the address in memory; 0 for programs linked for a
/// fixed place. Arithmetic wraps, as the hardware's does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadBias(pub u64);

impl LoadBias {
    /// The image address behind an address in memory.
    pub fn to_image(self, memory_address: u64) -> u64 {
        memory_address.wrapping_sub(self.0)
    }

    /// The address in memory of an image address.
    pub fn to_memory(self, image_address: u64) -> u64 {
        image_address.wrapping_add(self.0)
    }

    /// The bias that brings an image address to a memory address; none when they differ within
    /// their pages, since images are loaded in whole pages.
    pub fn between(image_address: u64, memory_address: u64) -> Option<Self> {
        let bias = memory_address.wrapping_sub(image_address);
        bias.is_multiple_of(4096).then_some(Self(bias))
    }
}

impl fmt::Display for LoadBias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
