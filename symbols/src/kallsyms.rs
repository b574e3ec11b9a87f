//! Linux's `/proc/kallsyms`: the kernel's symbols and those of its modules.
//!
//! ```text
//! ffffffff81000000 T _stext
//! ffffffffc0201000 t xennet_open<TAB>[xen_netfront]
//! ```

use crate::error::{Error, Result};
use crate::proc_modules::ModuleRange;
use crate::symbol::SymbolRecord;
use crate::symbol_line::{self, ListKind, SymbolLine};
use crate::symbol_table::SymbolTable;
use crate::symbol_table_builder::SymbolTableBuilder;

/// Module of the symbols that are part of the kernel itself.
pub const KERNEL_MODULE: &str = "vmlinux";

const KIND: ListKind = ListKind {
    name: "the kernel's symbols (a copy of /proc/kallsyms)",
    line: "`ADDRESS TYPE NAME`, perhaps with `[MODULE]`",
    remedy: "copy /proc/kallsyms as root in the domain whose kernel it is, with \
             `sysctl kernel.kptr_restrict=0`",
};

/// Reads a copy of `/proc/kallsyms`. Symbols without a module belong to
/// [`KERNEL_MODULE`]; no sizes are given there. `file` names it in messages.
///
/// # Errors
/// When it is empty, another kind of file, has its addresses hidden, or a line is malformed.
pub fn read_kallsyms(bytes: &[u8], file: &str) -> Result<SymbolTable> {
    read_kallsyms_with_modules(bytes, file, &[])
}

/// As [`read_kallsyms`], knowing from `/proc/modules` where each module ends, so that the last
/// function of a module does not reach over what follows.
///
/// # Errors
/// As [`read_kallsyms`].
pub fn read_kallsyms_with_modules(
    bytes: &[u8],
    file: &str,
    modules: &[ModuleRange],
) -> Result<SymbolTable> {
    let mut builder = SymbolTableBuilder::new(KERNEL_MODULE);
    let (mut seen, mut hidden) = (0, 0);
    for (number, line) in symbol_line::lines(bytes, file, &KIND)? {
        seen += 1;
        // Kernels before 4.15 print `(null)` where later ones print zeros.
        if line.starts_with('(') {
            hidden += 1;
            continue;
        }
        if line.starts_with("0x") {
            return Err(symbol_line::wrong_kind(file, "Xen's map of symbols", &KIND));
        }
        let parsed = SymbolLine::parse(&line).filter(|parsed| parsed.size.is_none());
        let Some(parsed) = parsed else {
            return Err(symbol_line::bad_line(file, number, &line, &KIND));
        };
        hidden += u64::from(parsed.address == 0);
        let (name, module) = split_module(parsed.rest);
        if let Some((kind, binding)) = symbol_line::classify(parsed.letter) {
            builder.add(SymbolRecord {
                address: parsed.address,
                size: None,
                name,
                source_file: None,
                module,
                kind,
                binding,
            });
        }
    }
    if hidden == seen {
        return Err(Error::AddressesHidden { file: file.to_owned(), symbols: seen });
    }
    modules.iter().for_each(|module| builder.end_mark(module.end()));
    Ok(builder.finish())
}

/// Splits `name<TAB>[module]`.
fn split_module(rest: &str) -> (&str, Option<&str>) {
    let module = rest.strip_suffix(']').and_then(|inner| {
        let (name, module) = inner.rsplit_once('[')?;
        let name = name.strip_suffix(char::is_whitespace)?.trim_end();
        (!module.is_empty() && !name.is_empty()).then_some((name, Some(module)))
    });
    module.unwrap_or((rest, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_addresses_name_the_setting_that_hides_them() {
        for text in ["0000000000000000 T _stext\n0000000000000000 t x\n", "(null) T _stext\n"] {
            let error = read_kallsyms(text.as_bytes(), "dom0.kallsyms").unwrap_err().to_string();
            assert!(error.starts_with("dom0.kallsyms: all "), "{error}");
            assert!(error.contains("sysctl kernel.kptr_restrict=0"), "{error}");
        }
    }

    #[test]
    fn a_module_ends_where_the_kernel_says_it_ends() {
        let text = b"ffffffffc0000000 t f\t[m]\nffffffffc0000100 t g\t[m]\n";
        let modules = [ModuleRange {
            name: "m".to_owned(),
            address: 0xffff_ffff_c000_0000,
            size_bytes: 0x180,
        }];
        let table = read_kallsyms_with_modules(text, "k", &modules).unwrap();
        let hit = table.lookup(0xffff_ffff_c000_017f).unwrap();
        assert_eq!((hit.symbol.name, hit.symbol.module), ("g", "m"));
        assert_eq!(table.lookup(0xffff_ffff_c000_0180), None);
    }

    #[test]
    fn other_files_are_recognised() {
        for (bytes, words) in [
            (&b" \n"[..], "the file is empty"),
            (b"\x7fELF\x02\x01", "this is an ELF file"),
            (b"55663d7ce000-55663d7d0000 r--p 00000000 fe:00 2 /bin/cat\n", "mappings"),
            (b"0xffff82d040200000 T _stext\n", "this is Xen's map"),
            (b"ffffffff81000000 T ok\nrubbish\n", "k:2: expected `ADDRESS TYPE NAME`"),
        ] {
            let error = read_kallsyms(bytes, "k").unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("/proc/kallsyms"), "{error}");
        }
    }

    #[test]
    fn brackets_in_names_are_no_modules() {
        assert_eq!(split_module("f\t[m]"), ("f", Some("m")));
        for rest in ["f[m]", "[m]", "f []", "f]"] {
            assert_eq!(split_module(rest), (rest, None));
        }
    }
}
