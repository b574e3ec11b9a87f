//! Which frame is behind an address now.

use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;
use strata_cachemodel as model;
use strata_workloads::trace::{
    Definitions, MachineState, PageMap, PageSize, Space, SpaceId, Translation, TranslationId,
};

/// Entries of the table in front of the map, indexed by virtual page.
const RECENT: usize = 1 << 10;

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
    /// Of guest-physical addresses, while a guest under nested paging runs.
    nested: Option<SpaceId>,
    paging: bool,
    /// The hypervisor's own addresses.
    hypervisor: Range<u64>,
    /// The page asked for last at each of these places, by its number with the generation above
    /// bit 52; no page has the number of an empty place.
    recent: Box<[(u64, Page)]>,
    generation: u64,
    /// How many address spaces the stream has defined so far, where more are in the tables.
    spaces_defined: usize,
    /// Translations told.
    told: usize,
    /// Pages looked up that no translation was told for while paging was on.
    unknown_pages: FxHashSet<(Option<SpaceId>, u64)>,
    /// Times that a page changed hands between a paravirtualized kernel and its programs.
    pub owners_changed: u64,
}

const EMPTY: (u64, Page) =
    (u64::MAX, Page { mapping: model::Mapping::identity(0), guest_kernel: false, known: false });

impl Default for Addressing {
    fn default() -> Self {
        Addressing {
            map: PageMap::default(),
            spaces: FxHashMap::default(),
            spaces_seen: 0,
            space: None,
            nested: None,
            paging: false,
            hypervisor: 0..0,
            recent: vec![EMPTY; RECENT].into(),
            generation: 0,
            spaces_defined: usize::MAX,
            told: 0,
            unknown_pages: FxHashSet::default(),
            owners_changed: 0,
        }
    }
}

const CR0_PG: u64 = 1 << 31;
/// Xen's own addresses in 64-bit mode: slots 256 to 271 of the top-level table, reserved in every
/// guest (xen/arch/x86/include/asm/config.h, HYPERVISOR_VIRT_START to HYPERVISOR_VIRT_END).
const XEN: Range<u64> = 0xffff_8000_0000_0000..0xffff_8800_0000_0000;
/// Kernel addresses: the hypervisor's where the host's kernel is one.
const UPPER_HALF: Range<u64> = 0xffff_8000_0000_0000..u64::MAX;
/// Low bits of CR3 that are no part of the root's address: PCID or cache control, and bit 63.
const CR3_ROOT: u64 = 0x000f_ffff_ffff_f000;

impl Addressing {
    /// The address space in use, if the stream has told of it.
    pub fn space(&self) -> Option<SpaceId> {
        self.space
    }

    /// Pages that were looked up and that no translation was told for while paging was on.
    pub(crate) fn unknown_pages(&self) -> &FxHashSet<(Option<SpaceId>, u64)> {
        &self.unknown_pages
    }

    /// Goes on at a later place of the stream, before which `told` translations were told and
    /// `spaces` address spaces defined.
    pub(crate) fn go_to(&mut self, told: usize, spaces: usize, tables: &Definitions) {
        self.spaces_defined = spaces;
        for number in self.told..told {
            let id = TranslationId(number as u32);
            self.map.insert(id, &tables.translations[number]);
        }
        self.told = self.told.max(told);
        self.space = None;
        self.forget();
        // Whose pages are may have changed meanwhile.
        self.owners_changed += 1;
    }

    /// So many address spaces are defined from here on.
    pub(crate) fn set_spaces_defined(&mut self, spaces: usize) {
        self.spaces_defined = spaces;
    }

    /// Follows a change of the machine's state: another CPU, CR3, paging mode or nested guest.
    pub fn follow(&mut self, state: &MachineState, tables: &Definitions) {
        let defined = tables.spaces.len().min(self.spaces_defined);
        for (i, space) in tables.spaces[..defined].iter().enumerate().skip(self.spaces_seen) {
            self.spaces.insert(*space, SpaceId(i as u32));
        }
        self.spaces_seen = defined.max(self.spaces_seen);
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
        self.nested = match space {
            Space::Guest { nested, .. } => {
                self.spaces.get(&Space::Nested { root: nested }).copied()
            }
            _ => None,
        };
        let hypervisor = match cpu.guest {
            Some(_) => 0..0,
            None if cpu.current.pointer != 0 => XEN,
            None => UPPER_HALF,
        };
        if found != self.space || found.is_none() || hypervisor != self.hypervisor {
            self.space = found;
            self.hypervisor = hypervisor;
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.generation += 1;
        if self.generation == 0xfff {
            self.generation = 0;
            self.recent.fill(EMPTY);
        }
    }

    /// Takes note of a translation that holds from here on. Says whether it is one of the space in
    /// use.
    pub fn tell(&mut self, id: TranslationId, state: &MachineState, tables: &Definitions) -> bool {
        let translation = &tables.translations[id.index()];
        let address = translation.page << 12;
        let before = self.map.lookup(translation.space, address);
        let mark = |id: TranslationId| tables.translations[id.index()].flags.guest_kernel;
        let same_owner = match before {
            Some(before) => mark(before) == mark(id),
            // What ran there already was taken for nobody's.
            None => self.unknown_pages.is_empty(),
        };
        self.owners_changed += u64::from(!same_owner);
        self.map.insert(id, translation);
        self.told = self.told.max(id.index() + 1);
        if self.space.is_none() {
            self.follow(state, tables);
        }
        let here = self.space == Some(translation.space);
        if here {
            if translation.size == PageSize::Size4K {
                self.recent[translation.page as usize % RECENT] = EMPTY;
            } else {
                self.forget();
            }
        }
        here
    }

    /// What is behind the page of `address`.
    #[inline]
    pub fn page(&mut self, address: u64, tables: &Definitions) -> Page {
        let number = address >> 12;
        let tag = number | self.generation << 52;
        let slot = number as usize % RECENT;
        let (seen, page) = self.recent[slot];
        if seen == tag {
            return page;
        }
        let page = self.look_up(address, tables);
        self.recent[slot] = (tag, page);
        page
    }

    /// The tables that translate `address`, where the stream tells them all.
    pub fn walk(&self, address: u64, tables: &Definitions) -> Option<model::PageWalk> {
        let translation = self.translation(self.space?, address, tables)?;
        let own = table_walk(translation, tables)?;
        let Some(nested) = self.nested else {
            return Some(model::PageWalk::Plain(own));
        };
        // The guest's tables are at guest-physical addresses.
        let mut walk = model::NestedWalk {
            guest: own,
            guest_frames: [0; model::TableWalk::MAX_LEVELS + 1],
            nested: [model::TableWalk::default(); model::TableWalk::MAX_LEVELS + 1],
        };
        let mut host_frames = [0; model::TableWalk::MAX_LEVELS];
        let page = translation.guest_frame
            + (address >> 12 & ((1 << (translation.size.shift() - 12)) - 1));
        for level in 0..=own.levels() {
            let guest_frame = if level < own.levels() { own.frame(level) } else { page };
            let behind = self.translation(nested, guest_frame << 12, tables)?;
            walk.guest_frames[level] = guest_frame;
            walk.nested[level] = table_walk(behind, tables)?;
            if let Some(frame) = host_frames.get_mut(level) {
                *frame = behind.physical(guest_frame << 12) >> 12;
            }
        }
        walk.guest = model::TableWalk::new(&host_frames[..own.levels()], translation.size.shift());
        Some(model::PageWalk::Nested(walk))
    }

    fn translation<'t>(
        &self,
        space: SpaceId,
        address: u64,
        tables: &'t Definitions,
    ) -> Option<&'t Translation> {
        let id = self.map.lookup(space, address)?;
        Some(&tables.translations[id.index()])
    }

    #[cold]
    fn look_up(&mut self, address: u64, tables: &Definitions) -> Page {
        let found = self.space.and_then(|space| self.map.lookup(space, address));
        match found {
            Some(id) => {
                let mut page = page_of(address, &tables.translations[id.index()]);
                let own = self.hypervisor.contains(&address);
                page.mapping = page.mapping.with_hypervisor(own);
                page
            }
            None => {
                if self.paging {
                    self.unknown_pages.insert((self.space, address >> 12));
                }
                let mapping = model::Mapping::identity(address);
                Page { mapping, guest_kernel: false, known: !self.paging }
            }
        }
    }
}

/// `None` for walks of fewer than eight bytes an entry, whose tables have 1024 entries.
fn table_walk(translation: &Translation, tables: &Definitions) -> Option<model::TableWalk> {
    let walk = tables.walks.get(translation.walk.index())?;
    let shift = translation.size.shift();
    let levels = walk.tables.len() + (shift as usize - 12) / 9;
    let wide = (3..=model::TableWalk::MAX_LEVELS).contains(&levels);
    (wide && translation.size != PageSize::Size4M)
        .then(|| model::TableWalk::new(&walk.tables, shift))
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

/// Translations as the models ask for them.
pub(crate) struct Now<'r> {
    pub(crate) addressing: &'r mut Addressing,
    pub(crate) tables: &'r Definitions,
}

impl model::Translator for Now<'_> {
    fn mapping(&mut self, va: u64) -> model::Mapping {
        self.addressing.page(va, self.tables).mapping
    }

    fn walk(&mut self, va: u64) -> Option<model::PageWalk> {
        self.addressing.walk(va, self.tables)
    }
}
