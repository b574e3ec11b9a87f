//! One symbol: a name for a range of addresses.

use std::borrow::Cow;

use crate::demangle::demangle;

/// Handle of a symbol in the table that gave it out; meaningless in another table.
///
/// Dense, from 0 to the table's length: made for columns indexed by function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub u32);

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SymbolKind {
    /// Instructions: a function, a stub or a label in code.
    Code,
    /// A data object, or anything else that is not executed.
    Data,
}

/// How far a symbol is visible outside the object that defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binding {
    /// Visible everywhere.
    Global,
    /// Visible everywhere unless a global one takes its place.
    Weak,
    /// Visible in its own file only.
    Local,
}

/// A symbol of a [`SymbolTable`](crate::SymbolTable), as a view into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'t> {
    /// Handle of the symbol in its table.
    pub id: SymbolId,
    /// First address.
    pub address: u64,
    /// Length in bytes: as the source gave it, or up to the next symbol where it gave none. Zero
    /// for a label that has no bytes of its own.
    pub size: u64,
    /// Whether the source gave the size.
    pub size_is_given: bool,
    /// The name as the source has it, mangled if it was, without the source file.
    pub name: &'t str,
    /// The file that defines a local symbol, where the source says so (`x86_64/entry.S`).
    pub source_file: Option<&'t str>,
    /// Kernel module, program or library that the symbol belongs to.
    pub module: &'t str,
    /// What is named.
    pub kind: SymbolKind,
    /// How far the name is visible.
    pub binding: Binding,
}

impl<'t> Symbol<'t> {
    /// The C++ or Rust name where there is one, else the name itself. Parses: call it once per
    /// symbol shown.
    pub fn display_name(&self) -> Cow<'t, str> {
        demangle(self.name)
    }

    /// First address behind the symbol, exclusive.
    pub fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }
}

/// The answer to a look-up: a symbol and how far into it the address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'t> {
    /// The symbol whose range holds the address.
    pub symbol: Symbol<'t>,
    /// Distance from the symbol's first address, in bytes.
    pub offset: u64,
}

/// A symbol as a source states it, on its way into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolRecord<'a> {
    /// First address.
    pub address: u64,
    /// Length in bytes where the source gives one; 0 counts as not given.
    pub size: Option<u64>,
    /// The name.
    pub name: &'a str,
    /// The defining file of a local symbol, where known.
    pub source_file: Option<&'a str>,
    /// Module, where it is not the table's own.
    pub module: Option<&'a str>,
    /// What is named.
    pub kind: SymbolKind,
    /// How far the name is visible.
    pub binding: Binding,
}
