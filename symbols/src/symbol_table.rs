//! Names for the addresses of one program, library, kernel or hypervisor.

use crate::build_id::BuildId;
use crate::extents::{self, Span};
use crate::module_overlap::ModuleOverlap;
use crate::symbol::{Binding, Hit, Symbol, SymbolId, SymbolKind};

/// Sorted symbols with look-up by address.
///
/// Made by a reader of this crate or by a [`SymbolTableBuilder`](crate::SymbolTableBuilder).
///
/// Rules:
/// - An address belongs to the symbol that covers it and begins last. Of several symbols that
///   begin at one address the first by this order is shown: functions before borders of sections,
///   sized before unsized, exported before local, fewer leading underscores, global before weak,
///   shorter, alphabetical. All stay in the table, see [`aliases`](Self::aliases).
/// - A symbol without a size reaches to the next symbol of any kind, to the end of its section
///   or module where that is known, and never beyond the builder's limit.
/// - An unsized symbol strictly inside a sized one is a label of that function: found by name,
///   but its addresses belong to the function.
/// - Code and data are looked up separately; data never names an instruction.
///
/// ```
/// use strata_symbols::read_kallsyms;
/// let text = b"ffffffff81000000 T first\nffffffff81000040 t second\nffffffff81000080 T _etext\n";
/// let kernel = read_kallsyms(text, "kallsyms")?;
/// let hit = kernel.lookup(0xffff_ffff_8100_0044).expect("inside `second`");
/// assert_eq!((hit.symbol.name, hit.offset), ("second", 4));
/// assert!(kernel.lookup(0xffff_ffff_8100_0080).is_none());
/// # Ok::<(), strata_symbols::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    pub(crate) entries: Vec<Entry>,
    pub(crate) code: Vec<Span>,
    pub(crate) data: Vec<Span>,
    /// All names, one after the other.
    pub(crate) names: String,
    /// Names of modules; the first is the table's own.
    pub(crate) modules: Vec<String>,
    /// Names of source files; the first is empty and means none.
    pub(crate) source_files: Vec<String>,
    pub(crate) overlaps: Vec<ModuleOverlap>,
    pub(crate) build_id: Option<BuildId>,
}

/// A symbol as stored: texts by reference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) name_start: u32,
    pub(crate) name_length: u32,
    pub(crate) module: u32,
    pub(crate) source_file: u32,
    pub(crate) size_is_given: bool,
    pub(crate) kind: SymbolKind,
    pub(crate) binding: Binding,
}

impl SymbolTable {
    /// The code symbol that an address belongs to. O(log n).
    pub fn lookup(&self, address: u64) -> Option<Hit<'_>> {
        self.hit(extents::find(&self.code, address)?, address)
    }

    /// The data object that an address belongs to. O(log n).
    pub fn lookup_data(&self, address: u64) -> Option<Hit<'_>> {
        self.hit(extents::find(&self.data, address)?, address)
    }

    fn hit(&self, owner: u32, address: u64) -> Option<Hit<'_>> {
        let symbol = self.symbol(SymbolId(owner))?;
        Some(Hit { symbol, offset: address - symbol.address })
    }

    /// The symbol of a handle; none for a handle of a larger table.
    pub fn symbol(&self, id: SymbolId) -> Option<Symbol<'_>> {
        let entry = self.entries.get(id.0 as usize)?;
        let source_file = &self.source_files[entry.source_file as usize];
        Some(Symbol {
            id,
            address: entry.address,
            size: entry.size,
            size_is_given: entry.size_is_given,
            name: self.name(entry),
            source_file: (!source_file.is_empty()).then_some(source_file.as_str()),
            module: &self.modules[entry.module as usize],
            kind: entry.kind,
            binding: entry.binding,
        })
    }

    pub(crate) fn name(&self, entry: &Entry) -> &str {
        let start = entry.name_start as usize;
        &self.names[start..start + entry.name_length as usize]
    }

    /// All symbols, code and data, by address and then by preference.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.len() as u32).filter_map(|index| self.symbol(SymbolId(index)))
    }

    /// All symbols that begin where this one begins, itself included, the preferred one first.
    pub fn aliases(&self, id: SymbolId) -> impl Iterator<Item = Symbol<'_>> {
        let address = self.entries.get(id.0 as usize).map(|entry| entry.address);
        let first = self.entries.partition_point(|entry| Some(entry.address) < address);
        (first..self.len())
            .map(|index| SymbolId(index as u32))
            .map_while(move |id| self.symbol(id).filter(|symbol| Some(symbol.address) == address))
    }

    /// All symbols of a name, as the source spells it or demangled. Linear in the table.
    pub fn find<'t>(&'t self, name: &'t str) -> impl Iterator<Item = Symbol<'t>> + 't {
        self.symbols().filter(move |symbol| symbol.name == name || symbol.display_name() == name)
    }

    /// The code ranges of the table in order, each with the symbol it belongs to.
    pub fn code_ranges(&self) -> impl Iterator<Item = (std::ops::Range<u64>, SymbolId)> {
        self.code.iter().map(|span| (span.start..span.end, SymbolId(span.owner)))
    }

    /// Number of symbols, code and data, aliases included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the table names nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The module of symbols that name none: the kernel, program or library itself.
    pub fn own_module(&self) -> &str {
        self.modules.first().map_or("", String::as_str)
    }

    /// Names of all modules, the table's own first.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    /// Modules whose code lies in one another, which happens when the symbols of two domains or
    /// two boots were mixed. Names in the shared ranges are not to be trusted.
    pub fn overlaps(&self) -> &[ModuleOverlap] {
        &self.overlaps
    }

    /// Which build the symbols belong to, where known.
    pub fn build_id(&self) -> Option<&BuildId> {
        self.build_id.as_ref()
    }

    /// States which build the symbols belong to: kallsyms does not say, the kernel's notes do
    /// (see [`BuildId::from_notes`]).
    #[must_use]
    pub fn with_build_id(mut self, build_id: BuildId) -> Self {
        self.build_id = Some(build_id);
        self
    }
}
