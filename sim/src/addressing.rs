//! Which frame is behind an address now.

use rustc_hash::FxHashMap;
use strata_cachemodel as model;
use strata_workloads::trace::{
    Definitions, MachineState, PageMap, PageSize, Space, SpaceId, Translation, TranslationId,
};

/// Entries of the table in front of the map, indexed by virtual page. A replay asks for the same
/// few hundred pages over and over; this answers all but a few in a hundred and stays in the
/// first-level cache.
const RECENT: usize = 1 << 10;

/// A 4 KiB virtual page and what is behind it.
#[derive(Clone, Copy, Debug)]
struct Recent {
    /// Page number, with the generation above bit 52; no page has the number of an empty entry.
    tag: u64,
    mapping: model::Mapping,
}

/// What is behind a 4 KiB page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// As the cache model takes it.
    pub mapping: model::Mapping,
    /// A paravirtualized kernel's own page, as Xen marks them.
    pub guest_kernel: bool,
    /// False where the stream told no translation; the mapping is then the identity.
    pub known: bool,
}

/// Follows the address space in use and the translations told.
#[derive(Debug)]
pub struct Addressing {
    map: PageMap,
    spaces: FxHashMap<Space, SpaceId>,
    spaces_seen: usize,
    space: Option<SpaceId>,
    paging: bool,
    recent: Box<[Recent]>,
    recent_code: Box<[(u64, Page)]>,
    generation: u64,
    /// Look-ups of pages that no translation was told for while paging was on.
    pub unknown_pages: u64,
}

const EMPTY: Recent = Recent { tag: u64::MAX, mapping: model::Mapping::identity(0) };

/// The code page asked for last at each of these places, likewise.
const RECENT_CODE: usize = 1 << 8;

const EMPTY_CODE: (u64, Page) =
    (u64::MAX, Page { mapping: model::Mapping::identity(0), guest_kernel: false, known: false });

impl Default for Addressing {
    fn default() -> Self {
        Addressing {
            map: PageMap::default(),
            spaces: FxHashMap::default(),
            spaces_seen: 0,
            space: None,
            paging: false,
            recent: vec![EMPTY; RECENT].into(),
            recent_code: vec![EMPTY_CODE; RECENT_CODE].into(),
            generation: 0,
            unknown_pages: 0,
        }
    }
}

const CR0_PG: u64 = 1 << 31;
/// Low bits of CR3 that are no part of the root's address: PCID or cache control, and bit 63.
const CR3_ROOT: u64 = 0x000f_ffff_ffff_f000;

impl Addressing {
    /// The address space in use, if the stream has told of it.
    pub fn space(&self) -> Option<SpaceId> {
        self.space
    }

    /// Follows a change of the machine's state: another CPU, CR3, paging mode or nested guest.
    pub fn follow(&mut self, state: &MachineState, tables: &Definitions) {
        for (i, space) in tables.spaces.iter().enumerate().skip(self.spaces_seen) {
            self.spaces.insert(*space, SpaceId(i as u32));
        }
        self.spaces_seen = tables.spaces.len();
        let cpu = state.running();
        let space = match cpu.guest {
            Some(guest) if guest.nested_cr3 != 0 => Space::Guest {
                root: guest.guest_cr3 & CR3_ROOT,
                nested: guest.nested_cr3 & CR3_ROOT,
            },
            _ if cpu.cr0 & CR0_PG == 0 => Space::Physical,
            _ => Space::Paged { root: cpu.active_cr3() & CR3_ROOT },
        };
        self.paging = space != Space::Physical;
        let found = self.spaces.get(&space).copied();
        if found != self.space || found.is_none() {
            self.space = found;
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.generation += 1;
        if self.generation == 0xfff {
            self.generation = 0;
            self.recent.fill(EMPTY);
            self.recent_code.fill(EMPTY_CODE);
        }
    }

    /// Takes note of a translation that holds from here on.
    pub fn tell(&mut self, id: TranslationId, state: &MachineState, tables: &Definitions) {
        let translation = &tables.translations[id.index()];
        self.map.insert(id, translation);
        if self.space.is_none() {
            self.follow(state, tables);
        }
        if self.space == Some(translation.space) {
            if translation.size == PageSize::Size4K {
                self.recent[translation.page as usize % RECENT] = EMPTY;
                self.recent_code[translation.page as usize % RECENT_CODE] = EMPTY_CODE;
            } else {
                self.forget();
            }
        }
    }

    /// What is behind the page of `address`, for code.
    #[inline]
    pub fn page(&mut self, address: u64, tables: &Definitions) -> Page {
        let number = address >> 12;
        let tag = number | self.generation << 52;
        let slot = number as usize % RECENT_CODE;
        let (seen, page) = self.recent_code[slot];
        if seen == tag {
            return page;
        }
        let page = self.look_up(address, tables);
        self.recent_code[slot] = (tag, page);
        page
    }

    /// Where the page of `address` is.
    #[inline]
    pub fn mapping(&mut self, address: u64, tables: &Definitions) -> model::Mapping {
        let number = address >> 12;
        let tag = number | self.generation << 52;
        let slot = number as usize % RECENT;
        let recent = self.recent[slot];
        if recent.tag == tag {
            return recent.mapping;
        }
        let mapping = self.look_up(address, tables).mapping;
        self.recent[slot] = Recent { tag, mapping };
        mapping
    }

    #[cold]
    fn look_up(&mut self, address: u64, tables: &Definitions) -> Page {
        let found = self.space.and_then(|space| self.map.lookup(space, address));
        match found {
            Some(id) => page_of(address, &tables.translations[id.index()]),
            None => {
                self.unknown_pages += u64::from(self.paging);
                let mapping = model::Mapping::identity(address);
                Page { mapping, guest_kernel: false, known: !self.paging }
            }
        }
    }
}

fn page_of(address: u64, translation: &Translation) -> Page {
    let size = match translation.size {
        PageSize::Size4K => model::PageSize::Size4K,
        // A 4 MiB page of 32-bit paging occupies two entries of a 2 MiB array.
        PageSize::Size2M | PageSize::Size4M => model::PageSize::Size2M,
        PageSize::Size1G => model::PageSize::Size1G,
    };
    let mapping = model::Mapping::new(translation.physical(address) >> 12, size)
        .with_global(translation.flags.global)
        .with_device(translation.flags.device);
    Page { mapping, guest_kernel: translation.flags.guest_kernel, known: true }
}
