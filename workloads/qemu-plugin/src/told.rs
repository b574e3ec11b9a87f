//! What the stream has already been told of a CPU's pages since it last had reason to look again.

/// Entries; a power of two. 64 KiB in all, so that the table stays in the host's L2 cache.
const ENTRIES: usize = 4096;
/// Low bits of a key that hold the generation.
const GENERATION_BITS: u32 = 16;
const GENERATION: u64 = (1 << GENERATION_BITS) - 1;
/// The frame of a page that could not be walked to: equal to no block's frame.
const STORED: u64 = 1;

/// A direct-mapped table of pages whose translation the stream has been told, with the frame it
/// was told. Forgetting everything costs one addition.
///
/// A key is the page's number above a generation, so that one comparison says whether the page was
/// told since all was last forgotten.
#[derive(Debug)]
pub struct Told {
    entries: Box<[Entry]>,
    generation: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: u64,
    /// Frame number above a bit that says that a store to the page was looked at too.
    frame: u64,
}

impl Default for Told {
    fn default() -> Self {
        Told { entries: vec![Entry::default(); ENTRIES].into_boxed_slice(), generation: 1 }
    }
}

impl Told {
    #[inline(always)]
    fn key(&self, address: u64) -> u64 {
        ((address & !0xfff) << (GENERATION_BITS - 12)) | self.generation
    }

    #[inline(always)]
    fn slot(address: u64) -> usize {
        let page = address >> 12;
        (page ^ (page >> 12)) as usize & (ENTRIES - 1)
    }

    /// True when the page of `address` was told, and for a store also checked for one.
    #[inline(always)]
    pub fn has(&self, address: u64, store: bool) -> bool {
        let entry = &self.entries[Self::slot(address)];
        entry.key == self.key(address) && entry.frame & STORED >= u64::from(store)
    }

    /// True when the page of `address` was told to be at `frame`.
    #[inline(always)]
    pub fn is_at(&self, address: u64, frame: u32) -> bool {
        let entry = &self.entries[Self::slot(address)];
        entry.key == self.key(address) && entry.frame >> 1 == u64::from(frame)
    }

    /// Remembers that the page of `address` was told to be at `frame`. With `stored`, stores need
    /// not be looked at again.
    pub fn remember(&mut self, address: u64, frame: u64, stored: bool) {
        let key = self.key(address);
        self.entries[Self::slot(address)] = Entry { key, frame: frame << 1 | u64::from(stored) };
    }

    /// Forgets every page.
    pub fn forget(&mut self) {
        self.generation += 1;
        if self.generation > GENERATION {
            self.entries.fill(Entry::default());
            self.generation = 1;
        }
    }

    /// Forgets the 4 KiB page of `address`.
    pub fn forget_page(&mut self, address: u64) {
        let key = self.key(address);
        let entry = &mut self.entries[Self::slot(address)];
        if entry.key == key {
            *entry = Entry::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_told_as_read_only_is_looked_at_again_for_a_store() {
        let mut told = Told::default();
        told.remember(0x5000, 7, false);
        assert!(told.has(0x5fff, false));
        assert!(!told.has(0x5000, true));
        told.remember(0x5000, 7, true);
        assert!(told.has(0x5000, true) && told.has(0x5000, false));
        assert!(told.is_at(0x5123, 7) && !told.is_at(0x5123, 8));
    }

    #[test]
    fn forgetting_one_page_leaves_the_others() {
        let mut told = Told::default();
        told.remember(0x5000, 7, true);
        told.remember(0x6000, 8, true);
        told.forget_page(0x5abc);
        assert!(!told.has(0x5000, false) && told.has(0x6000, true));
    }

    #[test]
    fn nothing_is_remembered_over_any_number_of_generations() {
        let mut told = Told::default();
        for n in 0..3 * GENERATION {
            if n % 1000 == 0 {
                told.remember(0xffff_8000_0000_0000, 1, true);
            }
            told.forget();
            assert!(!told.has(0xffff_8000_0000_0000, false));
        }
    }

    #[test]
    fn pages_of_one_slot_do_not_pass_for_each_other() {
        let mut told = Told::default();
        let (a, b) = (0x1000, 0x1000 + ((ENTRIES as u64 + 1) << 12));
        told.remember(a, 1, true);
        assert!(!told.has(b, false));
    }
}
