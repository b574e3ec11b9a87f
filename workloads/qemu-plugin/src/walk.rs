//! Page-table walks through guest RAM (Intel SDM volume 3, chapter 4; AMD APM volume 2, 15.25).

use crate::memory::Memory;
use strata_workloads::trace::{PageFlags, PageSize, Space};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
/// Xen's `_PAGE_GUEST_KERNEL`.
const GUEST_KERNEL: u64 = 1 << 52;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const EFER_LMA: u64 = 1 << 10;

/// The registers that decide how a linear address is translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// nCR3 while a guest with nested paging runs. The nested tables are taken to have the four
    /// levels of a 64-bit host.
    pub nested: Option<u64>,
}

/// How many levels, and how entries look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Off,
    Legacy { large: bool },
    Pae,
    Long { levels: u32 },
}

/// Frames of the tables that a walk went through, root first. Held in place: there is a walk for
/// each page after each flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tables {
    frames: [u64; 5],
    levels: u8,
}

impl Tables {
    fn push(&mut self, frame: u64) {
        self.frames[usize::from(self.levels)] = frame;
        self.levels += 1;
    }
}

impl std::ops::Deref for Tables {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.frames[..usize::from(self.levels)]
    }
}

impl From<&[u64]> for Tables {
    /// The first five of `frames`: no walk has more.
    fn from(frames: &[u64]) -> Self {
        let mut tables = Tables::default();
        frames.iter().take(5).for_each(|&frame| tables.push(frame));
        tables
    }
}

/// The end of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Host-physical address.
    pub physical: u64,
    /// Guest-physical address; equal to `physical` without nested paging.
    pub guest_physical: u64,
    /// Size of the page (nested: the smaller of the two).
    pub size: PageSize,
    /// Attributes, `device` left false.
    pub flags: PageFlags,
    /// The tables; guest-physical under nested paging.
    pub tables: Tables,
}

impl Paging {
    /// The space that linear addresses are looked up in.
    pub fn space(&self) -> Space {
        let root = self.cr3 & ADDRESS;
        match (self.format(), self.nested) {
            (Format::Off, None) => Space::Physical,
            (Format::Off, Some(nested)) => Space::Nested { root: nested & ADDRESS },
            (_, None) => Space::Paged { root },
            (_, Some(nested)) => Space::Guest { root, nested: nested & ADDRESS },
        }
    }

    /// The host's view of guest-physical memory, as paging of its own.
    pub fn of_nested(root: u64) -> Self {
        Paging { cr0: CR0_PG, cr3: root, cr4: CR4_PAE, efer: EFER_LMA, nested: None }
    }

    /// CR0.PE is 0.
    pub fn is_real_mode(&self) -> bool {
        self.cr0 & 1 == 0
    }

    fn format(&self) -> Format {
        if self.cr0 & CR0_PG == 0 {
            Format::Off
        } else if self.efer & EFER_LMA != 0 {
            Format::Long { levels: if self.cr4 & CR4_LA57 != 0 { 5 } else { 4 } }
        } else if self.cr4 & CR4_PAE != 0 {
            Format::Pae
        } else {
            Format::Legacy { large: self.cr4 & CR4_PSE != 0 }
        }
    }

    /// Translates `address`; `None` when no page is mapped there or a table lies outside RAM.
    pub fn walk(&self, memory: &Memory, address: u64) -> Option<Walked> {
        match self.format() {
            Format::Off => {
                let (physical, size) = self.host(memory, address)?;
                let flags = PageFlags {
                    user: true,
                    writable: true,
                    executable: true,
                    ..Default::default()
                };
                Some(Walked {
                    physical,
                    guest_physical: address,
                    size,
                    flags,
                    tables: Tables::default(),
                })
            }
            Format::Legacy { large } => self.legacy(memory, address & 0xffff_ffff, large),
            Format::Pae => self.wide(memory, address & 0xffff_ffff, 3),
            Format::Long { levels } => self.wide(memory, address, levels),
        }
    }

    /// Only the physical address; cheaper than [`walk`](Self::walk).
    pub fn physical(&self, memory: &Memory, address: u64) -> Option<u64> {
        self.walk(memory, address).map(|walked| walked.physical)
    }

    /// Host-physical address behind a guest-physical one, and the size of its nested page.
    fn host(&self, memory: &Memory, address: u64) -> Option<(u64, PageSize)> {
        match self.nested {
            None => Some((address, PageSize::Size4K)),
            Some(root) => {
                let walked = Paging::of_nested(root).wide(memory, address, 4)?;
                Some((walked.physical, walked.size))
            }
        }
    }

    /// PAE, four-level and five-level paging: 512 entries of eight bytes (PAE's root has four).
    fn wide(&self, memory: &Memory, address: u64, levels: u32) -> Option<Walked> {
        let mut tables = Tables::default();
        let mut flags = Rights::default();
        let mut table = self.cr3 & if levels == 3 { 0xffff_ffe0 } else { ADDRESS };
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let index = (address >> shift) & 0x1ff;
            tables.push(table >> 12);
            let entry = memory.u64(self.host(memory, table + index * 8)?.0)?;
            if entry & PRESENT == 0 {
                return None;
            }
            // PAE's root entries hold no rights.
            if !(levels == 3 && level == 2) {
                flags.narrow(entry);
            }
            let large = level > 0 && level < 3 && entry & LARGE != 0 && (levels > 3 || level == 1);
            if level == 0 || large {
                let size = PageSize::from_shift(shift)?;
                return self.finish(memory, address, entry & ADDRESS, size, entry, flags, tables);
            }
            table = entry & ADDRESS;
        }
        None
    }

    /// 32-bit paging: 1024 entries of four bytes.
    fn legacy(&self, memory: &Memory, address: u64, large: bool) -> Option<Walked> {
        let mut flags = Rights::default();
        let root = self.cr3 & 0xffff_f000;
        let entry = memory.u32(self.host(memory, root + (address >> 22) * 4)?.0)?.into();
        if entry & PRESENT == 0 {
            return None;
        }
        flags.narrow(entry);
        if large && entry & LARGE != 0 {
            // PSE-36: bits 13 to 20 are bits 32 to 39 of the frame.
            let frame = (entry & 0xffc0_0000) | (entry & 0x1f_e000) << 19;
            let tables = Tables::from(&[root >> 12][..]);
            return self.finish(memory, address, frame, PageSize::Size4M, entry, flags, tables);
        }
        let table = entry & 0xffff_f000;
        let entry = memory.u32(self.host(memory, table + ((address >> 12) & 0x3ff) * 4)?.0)?.into();
        if entry & PRESENT == 0 {
            return None;
        }
        flags.narrow(entry);
        let tables = Tables::from(&[root >> 12, table >> 12][..]);
        self.finish(memory, address, entry & 0xffff_f000, PageSize::Size4K, entry, flags, tables)
    }

    #[allow(clippy::too_many_arguments, reason = "one caller per paging format")]
    fn finish(
        &self,
        memory: &Memory,
        address: u64,
        frame: u64,
        size: PageSize,
        entry: u64,
        rights: Rights,
        tables: Tables,
    ) -> Option<Walked> {
        let within = (1 << size.shift()) - 1;
        let guest_physical = (frame & !within) | (address & within);
        let (physical, size) = match self.nested {
            None => (guest_physical, size),
            Some(_) => {
                let (physical, nested) = self.host(memory, guest_physical)?;
                (physical, size.min(nested))
            }
        };
        Some(Walked { physical, guest_physical, size, flags: rights.flags(entry), tables })
    }
}

/// What every entry on the way allows.
#[derive(Clone, Copy)]
struct Rights(u64);

impl Default for Rights {
    fn default() -> Self {
        Rights(WRITABLE | USER)
    }
}

impl Rights {
    fn narrow(&mut self, entry: u64) {
        self.0 = (self.0 & entry & (WRITABLE | USER)) | ((self.0 | entry) & NO_EXECUTE);
    }

    fn flags(self, last: u64) -> PageFlags {
        PageFlags {
            global: last & GLOBAL != 0,
            user: self.0 & USER != 0,
            writable: self.0 & WRITABLE != 0,
            executable: self.0 & NO_EXECUTE == 0,
            guest_kernel: last & GUEST_KERNEL != 0,
            device: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = PRESENT | WRITABLE | USER;

    fn long(cr3: u64) -> Paging {
        Paging { cr0: CR0_PG, cr3, cr4: CR4_PAE, efer: EFER_LMA, nested: None }
    }

    /// Maps the page of `address` at `frame_entry` through tables from `table` on.
    fn map(memory: &Memory, root: u64, tables: [u64; 3], address: u64, entry: u64) {
        let index = |level: u32| ((address >> (12 + 9 * level)) & 0x1ff) * 8;
        memory.store(root + index(3), tables[0] | BASE);
        memory.store(tables[0] + index(2), tables[1] | BASE);
        memory.store(tables[1] + index(1), tables[2] | BASE);
        memory.store(tables[2] + index(0), entry);
    }

    #[test]
    fn four_levels_lead_to_a_small_page_with_the_rights_of_all() {
        let memory = Memory::zeroed(1 << 16);
        let va = 0xffff_8000_1234_5000;
        map(
            &memory,
            0x1000,
            [0x2000, 0x3000, 0x4000],
            va,
            0x9000 | PRESENT | USER | GLOBAL | NO_EXECUTE | GUEST_KERNEL,
        );
        let walked = long(0x1000).walk(&memory, va + 0x123).unwrap();
        assert_eq!(walked.physical, 0x9123);
        assert_eq!(walked.tables[..], [1, 2, 3, 4]);
        assert!(walked.flags.global && walked.flags.user && walked.flags.guest_kernel);
        assert!(!walked.flags.writable && !walked.flags.executable);
        assert_eq!(long(0x1000).walk(&memory, va + 0x1000), None);
    }

    #[test]
    fn large_pages_end_a_walk_early() {
        let memory = Memory::zeroed(1 << 16);
        memory.store(0x1000, 0x2000 | BASE);
        memory.store(0x2000, 0x3000 | BASE);
        memory.store(0x2008, 0x8000_0000 | LARGE | BASE);
        memory.store(0x3008, 0x40_0000 | LARGE | BASE);
        let two = long(0x1000).walk(&memory, 0x20_1234).unwrap();
        assert_eq!((two.physical, two.size), (0x40_1234, PageSize::Size2M));
        let one = long(0x1000).walk(&memory, 0x4012_3456).unwrap();
        assert_eq!((one.physical, one.size), (0x8012_3456, PageSize::Size1G));
        assert_eq!(one.tables[..], [1, 2]);
    }

    #[test]
    fn five_levels_start_one_table_higher() {
        let memory = Memory::zeroed(1 << 16);
        memory.store(0x5000, 0x1000 | BASE);
        map(&memory, 0x1000, [0x2000, 0x3000, 0x4000], 0, 0x9000 | BASE);
        let paging = Paging { cr4: CR4_PAE | CR4_LA57, ..long(0x5000) };
        assert_eq!(paging.walk(&memory, 8).unwrap().tables[..], [5, 1, 2, 3, 4]);
    }

    #[test]
    fn legacy_paging_has_four_byte_entries_and_four_mebibyte_pages() {
        let memory = Memory::zeroed(1 << 16);
        memory.store(0x1000, 0x2000 | BASE | (0x40_0000 | LARGE | BASE) << 32);
        memory.store(0x2000, (0x7000 | BASE) << 32);
        let paging = Paging { cr0: CR0_PG, cr3: 0x1000, cr4: CR4_PSE, ..Paging::default() };
        assert_eq!(paging.walk(&memory, 0x1004).unwrap().physical, 0x7004);
        let large = paging.walk(&memory, 0x40_0010).unwrap();
        assert_eq!((large.physical, large.size), (0x40_0010, PageSize::Size4M));
    }

    #[test]
    fn pae_has_three_levels_and_a_root_off_a_page_boundary() {
        let memory = Memory::zeroed(1 << 16);
        memory.store(0x1020, 0x2000 | PRESENT);
        memory.store(0x2000, 0x3000 | BASE);
        memory.store(0x3000, 0x8000 | BASE);
        let paging = Paging { cr0: CR0_PG, cr3: 0x1020, cr4: CR4_PAE, ..Paging::default() };
        let walked = paging.walk(&memory, 0x10).unwrap();
        assert_eq!(walked.physical, 0x8010);
        assert!(walked.flags.writable && walked.flags.user);
    }

    #[test]
    fn without_paging_addresses_are_physical() {
        let memory = Memory::zeroed(4096);
        let walked = Paging::default().walk(&memory, 0x1234).unwrap();
        assert_eq!((walked.physical, walked.tables.len()), (0x1234, 0));
        assert_eq!(Paging::default().space(), Space::Physical);
    }

    #[test]
    fn a_nested_walk_goes_through_both_sets_of_tables() {
        let memory = Memory::zeroed(1 << 20);
        // Nested: guest-physical 0 to 64 KiB lies at host 0x8_0000.
        let nested = [0x2_0000, 0x2_1000, 0x2_2000];
        for page in 0..16 {
            map(&memory, 0x2_3000, nested, page << 12, (0x8_0000 + (page << 12)) | BASE);
        }
        // The guest's own tables, at guest-physical 0x1000 on.
        let at = |guest: u64| 0x8_0000 + guest;
        memory.store(at(0x1000), 0x2000 | BASE);
        memory.store(at(0x2000), 0x3000 | BASE);
        memory.store(at(0x3000), 0x4000 | BASE);
        memory.store(at(0x4008), 0x7000 | BASE);
        let paging = Paging { nested: Some(0x2_3000), ..long(0x1000) };
        let walked = paging.walk(&memory, 0x1010).unwrap();
        assert_eq!((walked.guest_physical, walked.physical), (0x7010, 0x8_7010));
        assert_eq!(walked.tables[..], [1, 2, 3, 4]);
        assert_eq!(paging.space(), Space::Guest { root: 0x1000, nested: 0x2_3000 });
    }
}
