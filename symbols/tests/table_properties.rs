//! Look-ups and trimming against their definitions, on random tables.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use strata_symbols::{
    Binding, SymbolKind, SymbolRecord, SymbolTable, SymbolTableBuilder, read_symbol_list,
    write_trimmed_table,
};

/// Highest address tried.
const LAST: u64 = 400;

#[derive(Clone, Debug)]
struct Given {
    address: u64,
    size: u64,
    name: String,
    kind: SymbolKind,
    binding: Binding,
    module: Option<&'static str>,
}

fn given() -> impl Strategy<Value = Given> {
    let kind = prop_oneof![3 => Just(SymbolKind::Code), 1 => Just(SymbolKind::Data)];
    let binding = prop_oneof![Just(Binding::Global), Just(Binding::Weak), Just(Binding::Local)];
    let size = prop_oneof![Just(0), 1u64..60];
    let module = prop_oneof![Just(None), Just(Some("m")), Just(Some("odd ]name"))];
    ("[_]{0,2}[ab#]{1,2}| |\\\\", 0u64..300, size, kind, binding, module).prop_map(
        |(name, address, size, kind, binding, module)| Given {
            address,
            size,
            name,
            kind,
            binding,
            module,
        },
    )
}

fn table(symbols: &[Given], end_marks: &[u64], limit: u64) -> SymbolTable {
    let mut builder = SymbolTableBuilder::new("own module").unsized_limit(limit);
    for s in symbols {
        builder.add(SymbolRecord {
            address: s.address,
            size: Some(s.size),
            name: &s.name,
            source_file: None,
            module: s.module,
            kind: s.kind,
            binding: s.binding,
        });
    }
    end_marks.iter().for_each(|&end| builder.end_mark(end));
    builder.finish()
}

/// Straight from the documentation of `SymbolTable`: the range of a symbol.
fn end_of(symbol: &Given, all: &[Given], end_marks: &[u64], limit: u64) -> u64 {
    if symbol.size != 0 {
        return symbol.address + symbol.size;
    }
    let same_kind = || all.iter().filter(|other| other.kind == symbol.kind && other.size != 0);
    let sized_alias = same_kind().filter(|o| o.address == symbol.address).map(|o| o.size).max();
    if let Some(size) = sized_alias {
        return symbol.address + size;
    }
    let is_label =
        same_kind().any(|o| o.address < symbol.address && symbol.address < o.address + o.size);
    if is_label {
        return symbol.address;
    }
    let ends = all.iter().map(|other| other.address).chain(end_marks.iter().copied());
    let next = ends.filter(|&end| end > symbol.address).min().unwrap_or(u64::MAX);
    next.min(symbol.address + limit)
}

/// Straight from the documentation: the symbol that covers the address and begins last, and of
/// several the preferred one.
fn naive_lookup<'a>(
    address: u64,
    kind: SymbolKind,
    all: &'a [Given],
    end_marks: &[u64],
    limit: u64,
) -> Option<&'a Given> {
    let covering = all
        .iter()
        .filter(|s| s.kind == kind)
        .filter(|s| s.address <= address && address < end_of(s, all, end_marks, limit));
    covering.min_by_key(|s| {
        let underscores = s.name.len() - s.name.trim_start_matches('_').len();
        (
            std::cmp::Reverse(s.address),
            s.size == 0,
            s.binding == Binding::Local,
            underscores,
            s.binding == Binding::Weak,
            s.name.len(),
            s.name.clone(),
            s.module.unwrap_or("own module"),
            std::cmp::Reverse(s.size),
        )
    })
}

proptest! {
    #[test]
    fn lookups_equal_a_naive_scan(
        symbols in prop::collection::vec(given(), 0..30),
        end_marks in prop::collection::vec(0u64..300, 0..4),
        limit in 1u64..100,
    ) {
        let table = table(&symbols, &end_marks, limit);
        for address in 0..LAST {
            for (kind, hit) in [
                (SymbolKind::Code, table.lookup(address)),
                (SymbolKind::Data, table.lookup_data(address)),
            ] {
                let expected = naive_lookup(address, kind, &symbols, &end_marks, limit);
                prop_assert_eq!(
                    hit.map(|h| (h.symbol.name, h.symbol.address, h.offset, h.symbol.module)),
                    expected.map(|s| {
                        (&*s.name, s.address, address - s.address, s.module.unwrap_or("own module"))
                    }),
                    "at {}", address
                );
            }
        }
    }

    #[test]
    fn a_trimmed_table_keeps_used_names_and_invents_none(
        symbols in prop::collection::vec(given(), 0..30),
        end_marks in prop::collection::vec(0u64..300, 0..4),
        limit in 1u64..100,
        used in prop::collection::vec(0u64..LAST, 0..10),
    ) {
        let full = table(&symbols, &end_marks, limit);
        let mut text = Vec::new();
        write_trimmed_table(&full, used.iter().copied(), &mut text).unwrap();
        let trimmed = read_symbol_list(&text, "trimmed").unwrap();
        for address in 0..LAST {
            for (before, after) in [
                (full.lookup(address), trimmed.lookup(address)),
                (full.lookup_data(address), trimmed.lookup_data(address)),
            ] {
                let named = |hit: strata_symbols::Hit<'_>| {
                    let s = hit.symbol;
                    (s.name.to_owned(), s.module.to_owned(), s.address, s.size, s.binding)
                };
                let (before, after) = (before.map(named), after.map(named));
                if used.contains(&address) || after.is_some() {
                    prop_assert_eq!(before, after, "at {} in {}", address, String::from_utf8_lossy(&text));
                }
            }
        }
    }
}
