//! The guest's RAM, through the file that backs it.

#![allow(unsafe_code, reason = "reads memory that the emulated machine changes")]

use std::fs::File;
use std::path::{Path, PathBuf};

/// Where QEMU's `pc` machine splits RAM when it does not fit below the PCI hole
/// (hw/i386/pc_piix.c: from 3.5 GiB on, RAM ends at 3 GiB and goes on at 4 GiB).
const SPLIT_FROM: u64 = 0xe000_0000;
const SPLIT_AT: u64 = 0xc000_0000;
const FOUR_GIB: u64 = 1 << 32;
/// Legacy video memory: a device amid RAM.
const VIDEO: std::ops::Range<u64> = 0xa_0000..0xc_0000;

/// Why guest RAM cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("ram={path}: {source}; give the mem-path of -object memory-backend-file,share=on")]
pub struct MemoryError {
    path: PathBuf,
    source: std::io::Error,
}

/// Guest-physical memory, to be read and, where asked for, to be changed.
pub struct Memory {
    base: *const u8,
    bytes: u64,
    changeable: bool,
    _owner: Owner,
}

enum Owner {
    Mapped {
        _map: memmap2::MmapRaw,
    },
    #[cfg(test)]
    Own {
        _words: Box<[u64]>,
    },
}

impl Memory {
    /// Maps the file at `path`, which QEMU maps too; only if `changeable` it can be changed.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped.
    pub fn map(path: &Path, changeable: bool) -> Result<Self, MemoryError> {
        let error = |source| MemoryError { path: path.to_owned(), source };
        let file = File::options().read(true).write(changeable).open(path).map_err(error)?;
        let options = memmap2::MmapOptions::new();
        // Only ever accessed through raw pointers, volatile, never as a slice, so that the
        // machine's writes to it break no assumption of the compiler. QEMU keeps the file at its
        // size for as long as it runs.
        let map =
            if changeable { options.map_raw(&file) } else { options.map_raw_read_only(&file) };
        let map = map.map_err(error)?;
        Ok(Memory {
            base: map.as_ptr(),
            bytes: map.len() as u64,
            changeable,
            _owner: Owner::Mapped { _map: map },
        })
    }

    /// Clears bits of the four bytes at physical address `address`; false where there is no RAM
    /// that can be changed.
    pub fn clear_u32(&self, address: u64, bits: u32) -> bool {
        let Some(offset) = self.offset(address, 4).filter(|_| self.changeable) else {
            return false;
        };
        // SAFETY: `offset` + 4 lies in the mapping, which can be written to. The machine does not
        // access it while this thread, which is the one that emulates it, is here.
        unsafe {
            let word = self.base.cast_mut().add(offset).cast::<[u8; 4]>();
            let value = u32::from_le_bytes(word.read_volatile());
            word.write_volatile((value & !bits).to_le_bytes());
        }
        true
    }

    /// Eight bytes at physical address `address`; `None` where there is no RAM.
    pub fn u64(&self, address: u64) -> Option<u64> {
        let offset = self.offset(address, 8)?;
        // SAFETY: `offset` + 8 lies in the mapping. The load is volatile as the machine may write
        // there; it does not while this thread, which is the one that emulates it, is here.
        Some(u64::from_le_bytes(unsafe { self.base.add(offset).cast::<[u8; 8]>().read_volatile() }))
    }

    /// Four bytes at physical address `address`; `None` where there is no RAM.
    pub fn u32(&self, address: u64) -> Option<u32> {
        let offset = self.offset(address, 4)?;
        // SAFETY: as for `u64`, with 4 bytes.
        Some(u32::from_le_bytes(unsafe { self.base.add(offset).cast::<[u8; 4]>().read_volatile() }))
    }

    /// Two bytes at physical address `address`; `None` where there is no RAM.
    pub fn u16(&self, address: u64) -> Option<u16> {
        let offset = self.offset(address, 2)?;
        // SAFETY: as for `u64`, with 2 bytes.
        Some(u16::from_le_bytes(unsafe { self.base.add(offset).cast::<[u8; 2]>().read_volatile() }))
    }

    /// True when the 4 KiB frame is no RAM, so that accesses to it reach a device.
    pub fn is_device(&self, frame: u64) -> bool {
        let address = frame << 12;
        VIDEO.contains(&address) || self.offset(address, 4096).is_none()
    }

    fn offset(&self, address: u64, bytes: u64) -> Option<usize> {
        let offset = if self.bytes < SPLIT_FROM || address < SPLIT_AT {
            address
        } else {
            address.checked_sub(FOUR_GIB)?.checked_add(SPLIT_AT)?
        };
        (offset.checked_add(bytes)? <= self.bytes).then_some(offset as usize)
    }

    /// Memory of its own, for tests.
    #[cfg(test)]
    pub(crate) fn zeroed(bytes: usize) -> Self {
        let words = vec![0u64; bytes / 8].into_boxed_slice();
        Memory {
            base: words.as_ptr().cast(),
            bytes: bytes as u64,
            changeable: true,
            _owner: Owner::Own { _words: words },
        }
    }

    /// Stores into memory made by `zeroed`.
    #[cfg(test)]
    pub(crate) fn store(&self, address: u64, value: u64) {
        let offset = self.offset(address, 8).expect("inside the test's memory");
        // SAFETY: test memory is owned by this value, and all reads are volatile.
        unsafe {
            self.base.cast_mut().add(offset).cast::<[u8; 8]>().write_volatile(value.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_end_where_ram_ends() {
        let memory = Memory::zeroed(8192);
        memory.store(8184, 0x1122_3344_5566_7788);
        assert_eq!(memory.u64(8184), Some(0x1122_3344_5566_7788));
        assert_eq!(memory.u32(8188), Some(0x1122_3344));
        assert_eq!(memory.u16(8190), Some(0x1122));
        assert_eq!(memory.u64(8185), None);
        assert_eq!(memory.u64(u64::MAX - 3), None);
    }

    #[test]
    fn only_what_may_be_changed_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ram");
        std::fs::write(&path, [0xff; 4096]).unwrap();
        assert!(!Memory::map(&path, false).unwrap().clear_u32(8, 1));
        let memory = Memory::map(&path, true).unwrap();
        assert!(memory.clear_u32(8, 0x8001));
        assert_eq!(memory.u64(8), Some(0xffff_ffff_ffff_7ffe));
        assert!(!memory.clear_u32(4094, 1));
    }

    #[test]
    fn frames_beyond_ram_are_devices() {
        let memory = Memory::zeroed(8192);
        assert!(!memory.is_device(1));
        assert!(memory.is_device(2));
        assert!(memory.is_device(0xfee00));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error =
            Memory::map(Path::new("/nonexistent/guest.ram"), false).err().unwrap().to_string();
        assert!(error.contains("ram=/nonexistent/guest.ram"), "{error}");
    }
}
