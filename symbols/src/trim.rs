//! Small lists of symbols that answer for a given trace as the full ones do.
//!
//! Kept are the symbols of the used addresses, their aliases, whatever lies inside them, and an
//! end mark wherever a symbol without size ended because of one that is left out. Looking up any
//! other address gives the same name as before or none, never a wrong one.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::extents;
use crate::list_text::escape;
use crate::symbol::{Symbol, SymbolId};
use crate::symbol_line;
use crate::symbol_list::{MAGIC, VERSION};
use crate::symbol_table::SymbolTable;
use crate::user_image::UserImage;

/// Writes the symbols that the used addresses need, code and data, as a list that
/// [`read_symbol_list`](crate::read_symbol_list) reads. Returns how many were kept.
///
/// # Errors
/// When writing fails.
pub fn write_trimmed_table(
    table: &SymbolTable,
    used: impl IntoIterator<Item = u64>,
    to: &mut impl Write,
) -> Result<usize> {
    let kept = kept_symbols(table, used);
    let written = write_header(table, to).and_then(|()| write_symbols(table, &kept, to));
    written.map_err(|source| Error::Write { what: "trimmed symbols", source })?;
    Ok(kept.len())
}

/// As [`write_trimmed_table`] for a program or library, by image address, with what is needed to
/// place it: path, build id and segments. Its code bytes are left out; keep a
/// [`Fingerprint`](crate::Fingerprint) of what ran instead.
///
/// # Errors
/// When writing fails.
pub fn write_trimmed_image(
    image: &UserImage,
    used: impl IntoIterator<Item = u64>,
    to: &mut impl Write,
) -> Result<usize> {
    let table = image.symbols();
    let kept = kept_symbols(table, used);
    let mut write = || -> io::Result<()> {
        write_header(table, to)?;
        writeln!(to, "# path {}", escape(image.path()))?;
        if image.is_fixed {
            writeln!(to, "# fixed")?;
        }
        for s in &image.segments {
            let flag = if s.executable { 'x' } else { '-' };
            let (address, size) = (s.address, s.size);
            writeln!(to, "# segment {address:x} {size:x} {:x} {:x} {flag}", s.offset, s.file_size)?;
        }
        write_symbols(table, &kept, to)
    };
    write().map_err(|source| Error::Write { what: "trimmed symbols", source })?;
    Ok(kept.len())
}

/// The symbols to keep, in the order of the table.
fn kept_symbols(table: &SymbolTable, used: impl IntoIterator<Item = u64>) -> BTreeSet<SymbolId> {
    let mut kept = BTreeSet::new();
    let mut to_do: Vec<SymbolId> = used
        .into_iter()
        .flat_map(|address| [table.lookup(address), table.lookup_data(address)])
        .flatten()
        .map(|hit| hit.symbol.id)
        .collect();
    while let Some(id) = to_do.pop() {
        if kept.contains(&id) {
            continue;
        }
        for alias in table.aliases(id) {
            kept.insert(alias.id);
            // Whatever owns addresses inside it; without them it would claim those.
            for spans in [&table.code, &table.data] {
                let inside = extents::within(spans, alias.address, alias.end());
                to_do.extend(inside.iter().map(|span| SymbolId(span.owner)));
            }
        }
    }
    kept
}

fn write_header(table: &SymbolTable, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{MAGIC}{VERSION}")?;
    writeln!(to, "# module {}", escape(table.own_module()))?;
    match table.build_id() {
        Some(build_id) => writeln!(to, "# build-id {build_id}"),
        None => Ok(()),
    }
}

fn write_symbols(
    table: &SymbolTable,
    kept: &BTreeSet<SymbolId>,
    to: &mut impl Write,
) -> io::Result<()> {
    let symbols: Vec<Symbol<'_>> = kept.iter().filter_map(|&id| table.symbol(id)).collect();
    let starts: BTreeSet<u64> = symbols.iter().map(|symbol| symbol.address).collect();
    let ends: BTreeSet<u64> = symbols
        .iter()
        .filter(|symbol| !symbol.size_is_given && symbol.size != 0)
        // One that took its size from an alias finds it there again; a mark would cut others.
        .filter(|symbol| {
            !table.aliases(symbol.id).any(|a| a.kind == symbol.kind && a.size_is_given)
        })
        .map(Symbol::end)
        .filter(|end| !starts.contains(end))
        .collect();
    for symbol in &symbols {
        write!(to, "{:016x} ", symbol.address)?;
        if symbol.size_is_given {
            // At least two digits: one alone would read as a type letter.
            write!(to, "{:08x} ", symbol.size)?;
        }
        write!(to, "{} ", symbol_line::letter(symbol.kind, symbol.binding))?;
        if let Some(source_file) = symbol.source_file {
            write!(to, "{}#", escape(source_file))?;
        }
        write!(to, "{}", escape(symbol.name))?;
        if symbol.module != table.own_module() {
            write!(to, " [{}]", escape(symbol.module))?;
        }
        writeln!(to)?;
    }
    ends.iter().try_for_each(|end| writeln!(to, "{end:016x} - end"))
}
