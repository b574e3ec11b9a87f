//! Xen's map of its own symbols, `xen-syms-VERSION.map`.
//!
//! ```text
//! 0xffff82d040201190 T lstar_enter
//! 0xffff82d040201000 t x86_64/entry.S#restore_all_guest      local: with its source file
//! ```

use crate::error::{Error, Result};
use crate::symbol::SymbolRecord;
use crate::symbol_line::{self, ListKind, SymbolLine};
use crate::symbol_table::SymbolTable;
use crate::symbol_table_builder::SymbolTableBuilder;

/// Module of the hypervisor's symbols.
pub const XEN_MODULE: &str = "xen";

const KIND: ListKind = ListKind {
    name: "Xen's map of symbols (xen-syms-*.map)",
    line: "`0xADDRESS TYPE NAME` or `0xADDRESS TYPE FILE#NAME`",
    remedy: "take xen-syms-VERSION.map of the hypervisor that ran; on Debian it is in the package \
             xen-hypervisor-VERSION-amd64-dbg, under /usr/lib/debug/boot",
};

/// Reads Xen's map. All symbols belong to [`XEN_MODULE`]; `file` names the input in messages.
///
/// # Errors
/// When it is empty, another kind of file, names nothing, or a line is malformed.
pub fn read_xen_map(bytes: &[u8], file: &str) -> Result<SymbolTable> {
    let mut builder = SymbolTableBuilder::new(XEN_MODULE);
    for (number, line) in symbol_line::lines(bytes, file, &KIND)? {
        let Some(parsed) = SymbolLine::parse(&line) else {
            return Err(symbol_line::bad_line(file, number, &line, &KIND));
        };
        if !line.trim_start().starts_with("0x") {
            let found = "a System.map, kallsyms or the output of nm";
            return Err(symbol_line::wrong_kind(file, found, &KIND));
        }
        let (source_file, name) = match parsed.rest.split_once('#') {
            Some((source_file, name)) => (Some(source_file), name),
            None => (None, parsed.rest),
        };
        if let Some((kind, binding)) = symbol_line::classify(parsed.letter) {
            builder.add(SymbolRecord {
                address: parsed.address,
                size: parsed.size,
                name,
                source_file,
                module: None,
                kind,
                binding,
            });
        }
    }
    if builder.is_empty() {
        return Err(Error::NoSymbols { file: file.to_owned(), remedy: KIND.remedy });
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_symbol_comes_with_its_source_file() {
        let text = b"0xffff82d040201000 T _stextentry\n\
                     0xffff82d040201000 t x86_64/entry.S#restore_all_guest\n";
        let table = read_xen_map(text, "m").unwrap();
        let symbol = table.lookup(0xffff_82d0_4020_1010).unwrap().symbol;
        assert_eq!(symbol.name, "restore_all_guest");
        assert_eq!(symbol.source_file, Some("x86_64/entry.S"));
        assert_eq!(symbol.module, "xen");
    }

    #[test]
    fn a_kernel_map_is_not_taken_for_xens() {
        let error = read_xen_map(b"ffffffff81000000 T _stext\n", "m").unwrap_err().to_string();
        assert!(error.contains("xen-syms") && error.contains("this is a System.map"), "{error}");
    }
}
