//! `System.map` of a kernel build and the output of `nm`.
//!
//! ```text
//! ffffffff81000000 T _stext
//! 0000000000001139 0000000000000016 T main          with sizes, as `nm -S` prints
//!                  U puts                           undefined: left out
//! ```

use crate::error::{Error, Result};
use crate::symbol::SymbolRecord;
use crate::symbol_line::{self, ListKind, SymbolLine};
use crate::symbol_table::SymbolTable;
use crate::symbol_table_builder::SymbolTableBuilder;

const KIND: ListKind = ListKind {
    name: "a System.map or the output of nm",
    line: "`ADDRESS TYPE NAME` or `ADDRESS SIZE TYPE NAME`",
    remedy: "give the System.map of the kernel that ran, or the output of `nm -nS FILE`",
};

/// Reads a `System.map` or the output of `nm`, with or without `-S`, in any order. All symbols
/// belong to `module`; `file` names the input in messages.
///
/// # Errors
/// When it is empty, another kind of file, names nothing, or a line is malformed.
pub fn read_system_map(bytes: &[u8], file: &str, module: &str) -> Result<SymbolTable> {
    let mut builder = SymbolTableBuilder::new(module);
    for (number, line) in symbol_line::lines(bytes, file, &KIND)? {
        // Debian ships a file of this one line in place of the map.
        if line.contains("The real System.map is in") {
            return Err(Error::WrongKind {
                file: file.to_owned(),
                found: "the placeholder that Debian puts in place of System.map",
                expected: KIND.name,
                remedy: "copy /proc/kallsyms of the running kernel instead",
            });
        }
        if is_undefined(&line) {
            continue;
        }
        let Some(parsed) = SymbolLine::parse(&line) else {
            return Err(symbol_line::bad_line(file, number, &line, &KIND));
        };
        if let Some((kind, binding)) = symbol_line::classify(parsed.letter) {
            builder.add(SymbolRecord {
                address: parsed.address,
                size: parsed.size,
                name: parsed.rest,
                source_file: None,
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

/// Whether `nm` printed no address: the symbol is defined elsewhere.
fn is_undefined(line: &str) -> bool {
    let mut words = line.split_whitespace();
    matches!(words.next(), Some("U" | "w" | "v")) && words.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nm_output_with_sizes_and_undefined_symbols_is_read() {
        let text = b"                 U puts\n                 w __cxa_finalize\n\
                     0000000000001139 0000000000000016 T main\n0000000000004010 B __bss_start\n";
        let table = read_system_map(text, "nm", "hello").unwrap();
        assert_eq!(table.len(), 2);
        let main = table.lookup(0x1139 + 0x15).unwrap().symbol;
        assert_eq!((main.name, main.size, main.module), ("main", 0x16, "hello"));
        assert_eq!(table.lookup(0x1139 + 0x16), None);
        assert_eq!(table.lookup_data(0x4010).unwrap().symbol.name, "__bss_start");
    }

    #[test]
    fn debians_placeholder_is_recognised() {
        let text = b"ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg \
                     package\n";
        let error = read_system_map(text, "/boot/System.map", "vmlinux").unwrap_err().to_string();
        assert!(error.contains("placeholder") && error.contains("kallsyms"), "{error}");
    }

    #[test]
    fn a_list_of_undefined_symbols_names_nothing() {
        let error = read_system_map(b"                 U puts\n", "nm", "x").unwrap_err();
        assert!(matches!(error, Error::NoSymbols { .. }), "{error}");
    }
}
