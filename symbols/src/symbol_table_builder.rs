//! Collects symbols in any order and makes a table of them.

use std::collections::HashMap;

use crate::build_id::BuildId;
use crate::extents;
use crate::module_overlap;
use crate::preference::{self, Contender};
use crate::symbol::{SymbolKind, SymbolRecord};
use crate::symbol_table::{Entry, SymbolTable};

/// Furthest that a symbol without size reaches, in bytes. The largest function seen in Xen or
/// Linux is Xen's `x86_emulate` with 145 KiB.
const DEFAULT_UNSIZED_LIMIT: u64 = 256 * 1024;

/// Collects symbols in any order; [`finish`](Self::finish) sorts them, settles where each ends and
/// which of several names is shown.
#[derive(Debug)]
pub struct SymbolTableBuilder {
    entries: Vec<Entry>,
    names: String,
    modules: Interner,
    source_files: Interner,
    end_marks: Vec<u64>,
    unsized_limit: u64,
    build_id: Option<BuildId>,
}

impl SymbolTableBuilder {
    /// A builder for symbols of `module`, unless a symbol names another.
    pub fn new(module: &str) -> Self {
        Self {
            entries: Vec::new(),
            names: String::new(),
            modules: Interner::new(module),
            source_files: Interner::new(""),
            end_marks: Vec::new(),
            unsized_limit: DEFAULT_UNSIZED_LIMIT,
            build_id: None,
        }
    }

    /// Sets how far a symbol without size may reach, in bytes (256 KiB unless set).
    #[must_use]
    pub fn unsized_limit(mut self, bytes: u64) -> Self {
        self.unsized_limit = bytes;
        self
    }

    /// Adds a symbol. A nameless one names nothing and is left out.
    ///
    /// # Panics
    /// When all names together exceed 4 GiB.
    pub fn add(&mut self, record: SymbolRecord<'_>) {
        if record.name.is_empty() {
            return;
        }
        let name_start = u32::try_from(self.names.len()).expect("names exceed 4 GiB");
        let name_length = u32::try_from(record.name.len()).expect("a name exceeds 4 GiB");
        self.names.push_str(record.name);
        let size = record.size.unwrap_or(0);
        self.entries.push(Entry {
            address: record.address,
            size,
            name_start,
            name_length,
            module: record.module.map_or(0, |module| self.modules.index(module)),
            source_file: record.source_file.map_or(0, |file| self.source_files.index(file)),
            size_is_given: size != 0,
            kind: record.kind,
            binding: record.binding,
        });
    }

    /// States that no symbol without size reaches over this address: the end of a section, of a
    /// module, or of a symbol that is not in the table.
    pub fn end_mark(&mut self, address: u64) {
        self.end_marks.push(address);
    }

    /// States which build the symbols belong to.
    pub fn set_build_id(&mut self, build_id: BuildId) {
        self.build_id = Some(build_id);
    }

    /// Number of symbols so far.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no symbol was added yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The table. Cost: O(n log n).
    pub fn finish(self) -> SymbolTable {
        let mut table = SymbolTable {
            entries: self.entries,
            code: Vec::new(),
            data: Vec::new(),
            names: self.names,
            modules: self.modules.texts,
            source_files: self.source_files.texts,
            overlaps: Vec::new(),
            build_id: self.build_id,
        };
        sort(&mut table);
        settle_sizes(&mut table.entries, self.end_marks, self.unsized_limit);
        forget_sizes_of_marks(&mut table);
        let extents = |kind: SymbolKind| -> Vec<(u64, u64, u32)> {
            (0u32..)
                .zip(&table.entries)
                .filter(|(_, entry)| entry.kind == kind && entry.size != 0)
                .map(|(index, e)| (e.address, e.address.saturating_add(e.size), index))
                .collect()
        };
        let (code, data) = (extents(SymbolKind::Code), extents(SymbolKind::Data));
        table.overlaps = module_overlap::overlaps(module_ranges(&table, &code));
        table.code = extents::flatten(&code);
        table.data = extents::flatten(&data);
        table
    }
}

/// Orders by address and preference and drops symbols stated twice.
fn sort(table: &mut SymbolTable) {
    let mut entries = std::mem::take(&mut table.entries);
    let contender = |entry: &Entry| Contender {
        name: table.name(entry),
        source_file: &table.source_files[entry.source_file as usize],
        module: &table.modules[entry.module as usize],
        size: entry.size,
        binding: entry.binding,
    };
    entries.sort_by(|a, b| {
        a.address
            .cmp(&b.address)
            .then_with(|| preference::compare(&contender(a), &contender(b)))
            .then(a.kind.cmp(&b.kind))
    });
    entries.dedup_by(|later, first| {
        (later.address, later.size, later.kind, later.module, later.source_file)
            == (first.address, first.size, first.kind, first.module, first.source_file)
            && table.name(later) == table.name(first)
    });
    table.entries = entries;
}

/// Gives each symbol without size its end.
fn settle_sizes(entries: &mut [Entry], mut ends: Vec<u64>, limit: u64) {
    ends.extend(entries.iter().map(|entry| entry.address));
    ends.sort_unstable();
    ends.dedup();
    for group in entries.chunk_by_mut(|a, b| a.address == b.address) {
        let address = group[0].address;
        let next = ends.partition_point(|&end| end <= address);
        let room = ends.get(next).map_or(limit, |end| (end - address).min(limit));
        for kind in [SymbolKind::Code, SymbolKind::Data] {
            // An alias without size is as long as the sized symbol it is another name of.
            let sized = group.iter().filter(|e| e.kind == kind).map(|e| e.size).max().unwrap_or(0);
            let size = if sized == 0 { room } else { sized };
            for entry in group.iter_mut().filter(|e| e.kind == kind && !e.size_is_given) {
                entry.size = size;
            }
        }
    }
}

/// Takes the bytes from symbols that only mark a place: ends of sections (and beginnings where
/// one ends, which are empty sections), and labels, which are unsized and strictly inside a sized
/// symbol of the same kind.
fn forget_sizes_of_marks(table: &mut SymbolTable) {
    let mut entries = std::mem::take(&mut table.entries);
    for group in entries.chunk_by_mut(|a, b| a.address == b.address) {
        let has_end = group.iter().any(|entry| preference::is_section_end(table.name(entry)));
        for entry in group.iter_mut().filter(|entry| has_end && !entry.size_is_given) {
            if preference::is_section_mark(table.name(entry)) {
                entry.size = 0;
            }
        }
    }
    for kind in [SymbolKind::Code, SymbolKind::Data] {
        let mut reach = 0;
        for group in entries.chunk_by_mut(|a, b| a.address == b.address) {
            let address = group[0].address;
            let sized_end = group
                .iter()
                .filter(|entry| entry.kind == kind && entry.size_is_given)
                .map(|entry| address.saturating_add(entry.size))
                .max();
            if sized_end.is_none() && address < reach {
                group.iter_mut().filter(|entry| entry.kind == kind).for_each(|e| e.size = 0);
            }
            reach = reach.max(sized_end.unwrap_or(0));
        }
    }
    table.entries = entries;
}

/// First and last code address of each module that is one piece of memory.
fn module_ranges<'t>(table: &'t SymbolTable, code: &[(u64, u64, u32)]) -> Vec<(u64, u64, &'t str)> {
    let mut ranges: Vec<Option<(u64, u64)>> = vec![None; table.modules.len()];
    for &(start, _, index) in code {
        // Up to the last symbol's first byte: where an unsized one ends is only an estimate.
        let range = &mut ranges[table.entries[index as usize].module as usize];
        let (first, _) = range.unwrap_or((start, start));
        *range = Some((first, start.saturating_add(1)));
    }
    ranges
        .into_iter()
        .zip(&table.modules)
        .filter(|(_, name)| !module_overlap::is_scattered(name))
        .filter_map(|(range, name)| range.map(|(start, end)| (start, end, name.as_str())))
        .collect()
}

/// Texts that many symbols share, each kept once.
#[derive(Debug)]
struct Interner {
    texts: Vec<String>,
    indices: HashMap<String, u32>,
}

impl Interner {
    /// With `first` at index 0.
    fn new(first: &str) -> Self {
        Self { texts: vec![first.to_owned()], indices: HashMap::from([(first.to_owned(), 0)]) }
    }

    fn index(&mut self, text: &str) -> u32 {
        if let Some(&index) = self.indices.get(text) {
            return index;
        }
        let index = u32::try_from(self.texts.len()).expect("fewer texts than symbols");
        self.texts.push(text.to_owned());
        self.indices.insert(text.to_owned(), index);
        index
    }
}
