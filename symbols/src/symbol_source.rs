//! The kinds of files that hold the symbols of a hypervisor or kernel.

use std::path::Path;

use crate::error::{Error, Result};
use crate::input::read_file;
use crate::kallsyms::{KERNEL_MODULE, read_kallsyms};
use crate::symbol_list::{self, read_symbol_list};
use crate::symbol_table::SymbolTable;
use crate::system_map::read_system_map;
use crate::user_image::UserImage;
use crate::xen_map::{XEN_MODULE, read_xen_map};

/// What a file of symbols is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SymbolSource {
    /// A copy of `/proc/kallsyms`.
    Kallsyms,
    /// A kernel's `System.map`.
    SystemMap,
    /// Xen's `xen-syms-*.map`.
    XenMap,
    /// Xen's ELF file, `xen-syms-*`.
    XenElf,
}

impl SymbolSource {
    /// Reads symbols of this kind, or the trimmed list that stands in for such a file.
    ///
    /// # Errors
    /// As the reader of the kind.
    pub fn read(self, bytes: &[u8], file: &str) -> Result<SymbolTable> {
        if symbol_list::is_list(bytes) {
            return read_symbol_list(bytes, file);
        }
        match self {
            Self::Kallsyms => read_kallsyms(bytes, file),
            Self::SystemMap => read_system_map(bytes, file, KERNEL_MODULE),
            Self::XenMap => read_xen_map(bytes, file),
            Self::XenElf => {
                let table = UserImage::read(bytes, file, XEN_MODULE)?.symbols;
                if table.is_empty() {
                    let remedy = "take xen-syms-VERSION from the package with debugging symbols";
                    return Err(Error::NoSymbols { file: file.to_owned(), remedy });
                }
                Ok(table)
            }
        }
    }

    /// Reads a file of this kind, decompressing it if need be.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`read`](Self::read).
    pub fn open(self, path: &Path) -> Result<SymbolTable> {
        self.read(&read_file(path)?, &path.display().to_string())
    }
}
