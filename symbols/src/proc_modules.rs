//! Linux's `/proc/modules`: where each loaded module lies.
//!
//! ```text
//! xen_netfront 53248 0 - Live 0xffffffffc0201000
//! ```

use crate::error::{Error, Result};
use crate::symbol_line::{self, ListKind};

const KIND: ListKind = ListKind {
    name: "the loaded kernel modules (a copy of /proc/modules)",
    line: "`NAME SIZE USES USERS STATE ADDRESS`",
    remedy: "copy /proc/modules as root in the domain whose kernel it is, with \
             `sysctl kernel.kptr_restrict=0`",
};

/// A loaded module and its memory.
///
/// Since Linux 6.4 a module's code and data lie apart and the kernel states the sum of their
/// sizes, so that the end is an upper bound for the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleRange {
    /// Name of the module.
    pub name: String,
    /// Where its code begins.
    pub address: u64,
    /// Length in bytes.
    pub size_bytes: u64,
}

impl ModuleRange {
    /// First address behind the module, exclusive.
    pub fn end(&self) -> u64 {
        self.address.saturating_add(self.size_bytes)
    }
}

/// Reads a copy of `/proc/modules`. An empty one is a kernel without modules. `file` names it in
/// messages.
///
/// # Errors
/// When it is another kind of file, has its addresses hidden, or a line is malformed.
pub fn read_proc_modules(bytes: &[u8], file: &str) -> Result<Vec<ModuleRange>> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let mut modules = Vec::new();
    for (number, line) in symbol_line::lines(bytes, file, &KIND)? {
        let module = parse(&line);
        modules.push(module.ok_or_else(|| symbol_line::bad_line(file, number, &line, &KIND))?);
    }
    if modules.iter().all(|module| module.address == 0) {
        let symbols = modules.len() as u64;
        return Err(Error::AddressesHidden { file: file.to_owned(), symbols });
    }
    Ok(modules)
}

fn parse(line: &str) -> Option<ModuleRange> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let size_bytes = words.next()?.parse().ok()?;
    // Behind the address there may be taint flags.
    let address = words.nth(3)?.strip_prefix("0x")?;
    Some(ModuleRange { name, address: u64::from_str_radix(address, 16).ok()?, size_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_with_users_and_taint_flags_are_read() {
        let text = b"bridge 311296 1 br_netfilter, Live 0xffffffffc0a00000\n\
                     zfs 4000 0 - Live 0xffffffffc0b00000 (POE)\n";
        let modules = read_proc_modules(text, "m").unwrap();
        assert_eq!((&*modules[0].name, modules[0].end()), ("bridge", 0xffff_ffff_c0a4_c000));
        assert_eq!(modules[1].size_bytes, 4000);
        assert!(read_proc_modules(b"", "m").unwrap().is_empty());
    }

    #[test]
    fn hidden_and_foreign_input_is_an_error() {
        let hidden = read_proc_modules(b"bridge 311296 1 - Live 0x0000000000000000\n", "m");
        assert!(matches!(hidden, Err(Error::AddressesHidden { symbols: 1, .. })));
        let foreign = read_proc_modules(b"ffffffff81000000 T _stext\n", "m").unwrap_err();
        assert!(foreign.to_string().starts_with("m:1: expected `NAME SIZE"), "{foreign}");
    }
}
