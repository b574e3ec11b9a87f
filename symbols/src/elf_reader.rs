//! What an ELF file says about its code: segments, executable bytes, symbols, build id.
//!
//! Works from headers, sections and symbol tables alone, so that separate files of debugging
//! symbols (`xen-syms`, `/usr/lib/debug/…`), whose other parts are empty, read as well.

use goblin::container::Ctx;
use goblin::elf::header::{self, Header};
use goblin::elf::program_header::{self, ProgramHeader};
use goblin::elf::section_header::{self, SectionHeader};
use goblin::elf::sym::{self, Sym, Symtab};

use crate::build_id::BuildId;
use crate::error::{Error, Result};
use crate::plt_stubs;
use crate::symbol::{Binding, SymbolKind, SymbolRecord};
use crate::symbol_line::{self, ListKind};
use crate::symbol_table_builder::SymbolTableBuilder;

const KIND: ListKind = ListKind {
    name: "an ELF program or library",
    line: "an ELF file",
    remedy: "copy the file that was running from the domain",
};

/// A part of the file that the loader maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Image address of the first byte.
    pub(crate) address: u64,
    /// Length in memory, in bytes.
    pub(crate) size: u64,
    /// Offset in the file, in bytes.
    pub(crate) offset: u64,
    /// Length in the file, in bytes.
    pub(crate) file_size: u64,
    pub(crate) executable: bool,
}

/// A parsed file, by reference to its bytes.
pub(crate) struct ElfFile<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) ctx: Ctx,
    pub(crate) machine: u16,
    /// Linked for one fixed place (`ET_EXEC`).
    pub(crate) is_fixed: bool,
    pub(crate) segments: Vec<ProgramHeader>,
    pub(crate) sections: Vec<SectionHeader>,
    section_names: Names<'a>,
}

impl<'a> ElfFile<'a> {
    /// Reads the headers. `file` names the input in messages.
    pub(crate) fn parse(bytes: &'a [u8], file: &str) -> Result<Self> {
        symbol_line::check_not_empty(bytes, file, &KIND)?;
        if !bytes.starts_with(b"\x7fELF") {
            let found = crate::input::foreign_kind(bytes).unwrap_or("no ELF file");
            return Err(symbol_line::wrong_kind(file, found, &KIND));
        }
        let failed =
            |e: goblin::error::Error| Error::Elf { file: file.to_owned(), reason: e.to_string() };
        let header = goblin::elf::Elf::parse_header(bytes).map_err(failed)?;
        if !matches!(header.e_type, header::ET_EXEC | header::ET_DYN) {
            let reason = format!("type {}, expected a program or library", type_name(&header));
            return Err(Error::Elf { file: file.to_owned(), reason });
        }
        let container = header.container().map_err(failed)?;
        let ctx = Ctx::new(container, header.endianness().map_err(failed)?);
        let segments =
            ProgramHeader::parse(bytes, to_usize(header.e_phoff), usize::from(header.e_phnum), ctx)
                .map_err(failed)?;
        let sections =
            SectionHeader::parse(bytes, to_usize(header.e_shoff), usize::from(header.e_shnum), ctx)
                .map_err(failed)?;
        let section_names = match sections.get(usize::from(header.e_shstrndx)) {
            Some(section) => strings(bytes, section),
            None => Names::default(),
        };
        Ok(Self {
            bytes,
            ctx,
            machine: header.e_machine,
            is_fixed: header.e_type == header::ET_EXEC,
            segments,
            sections,
            section_names,
        })
    }

    pub(crate) fn section_name(&self, section: &SectionHeader) -> &'a str {
        self.section_names.get(section.sh_name)
    }

    /// The bytes of a section; none for one without bytes in the file or beyond its end.
    pub(crate) fn section_bytes(&self, section: &SectionHeader) -> Option<&'a [u8]> {
        self.bytes.get(section.file_range()?)
    }

    /// The parts that the loader maps.
    pub(crate) fn loaded_segments(&self) -> Vec<Segment> {
        let loaded = self.segments.iter().filter(|s| s.p_type == program_header::PT_LOAD);
        loaded
            .map(|segment| Segment {
                address: segment.p_vaddr,
                size: segment.p_memsz,
                offset: segment.p_offset,
                file_size: segment.p_filesz,
                executable: segment.is_executable(),
            })
            .collect()
    }

    /// Executable sections that take up memory.
    pub(crate) fn code_sections(&self) -> impl Iterator<Item = &SectionHeader> {
        self.sections.iter().filter(|s| s.is_alloc() && s.is_executable() && s.sh_size != 0)
    }

    /// Executable bytes with their image addresses, by address. From sections where there are
    /// any: they say honestly when a file of debugging symbols has none.
    pub(crate) fn code_bytes(&self) -> Vec<(u64, Vec<u8>)> {
        let mut code: Vec<(u64, Vec<u8>)> = if self.sections.is_empty() {
            let loaded = self.segments.iter();
            loaded
                .filter(|s| s.p_type == program_header::PT_LOAD && s.is_executable())
                .filter_map(|s| {
                    let start = to_usize(s.p_offset);
                    let bytes = self.bytes.get(start..start.checked_add(to_usize(s.p_filesz))?)?;
                    Some((s.p_vaddr, bytes.to_vec()))
                })
                .collect()
        } else {
            self.code_sections()
                .filter_map(|s| Some((s.sh_addr, self.section_bytes(s)?.to_vec())))
                .collect()
        };
        code.sort_by_key(|(address, _)| *address);
        code
    }

    /// The build id of the notes.
    pub(crate) fn build_id(&self) -> Option<BuildId> {
        let sections = self.sections.iter().filter(|s| s.sh_type == section_header::SHT_NOTE);
        let segments = self.segments.iter().filter(|s| s.p_type == program_header::PT_NOTE);
        let of_segments = segments.filter_map(|s| {
            let start = to_usize(s.p_offset);
            self.bytes.get(start..start.checked_add(to_usize(s.p_filesz))?)
        });
        sections
            .filter_map(|s| self.section_bytes(s))
            .chain(of_segments)
            .find_map(BuildId::from_notes)
    }

    /// The full symbol table, or else the dynamic one, or else nothing.
    pub(crate) fn symbol_section(&self) -> Option<(Symtab<'a>, Names<'a>)> {
        let of_type = |kind| {
            let sections = self.sections.iter().filter(move |s| s.sh_type == kind);
            sections.filter_map(|s| self.symbols_of(s)).find(|(symbols, _)| symbols.len() > 1)
        };
        of_type(section_header::SHT_SYMTAB).or_else(|| of_type(section_header::SHT_DYNSYM))
    }

    /// The symbols of a section and their names.
    pub(crate) fn symbols_of(&self, section: &SectionHeader) -> Option<(Symtab<'a>, Names<'a>)> {
        let bytes = self.section_bytes(section)?;
        if bytes.is_empty() {
            return None;
        }
        let count = bytes.len() / Sym::size(self.ctx.container);
        let symbols = Symtab::parse(bytes, 0, count, self.ctx).ok()?;
        let names = self.sections.get(section.sh_link as usize)?;
        Some((symbols, strings(self.bytes, names)))
    }

    /// Adds all symbols and PLT stubs to a table.
    pub(crate) fn add_symbols(&self, builder: &mut SymbolTableBuilder) {
        for section in self.sections.iter().filter(|s| s.is_alloc()) {
            builder.end_mark(section.sh_addr.saturating_add(section.sh_size));
            if section.is_executable() {
                builder.end_mark(section.sh_addr);
            }
        }
        if let Some((symbols, names)) = self.symbol_section() {
            let mut source_file = None;
            for symbol in symbols.iter() {
                let name = names.get(symbol.st_name);
                if symbol.st_type() == sym::STT_FILE {
                    source_file = (!name.is_empty()).then_some(name);
                } else if let Some(record) = self.record(&symbol, name, source_file) {
                    builder.add(record);
                }
            }
        }
        plt_stubs::add(self, builder);
    }

    /// A symbol as the table takes it; none for what names no address of this image.
    fn record<'n>(
        &self,
        symbol: &Sym,
        name: &'n str,
        source_file: Option<&'n str>,
    ) -> Option<SymbolRecord<'n>> {
        if symbol.st_shndx == section_header::SHN_UNDEF as usize {
            return None;
        }
        let section = self.sections.get(symbol.st_shndx).filter(|section| section.is_alloc());
        let kind = match symbol.st_type() {
            sym::STT_FUNC | sym::STT_GNU_IFUNC => SymbolKind::Code,
            sym::STT_OBJECT | sym::STT_COMMON => SymbolKind::Data,
            // Labels of assembler files have no type. Local ones of compilers are no names.
            sym::STT_NOTYPE if !name.starts_with(".L") => match section {
                Some(section) if section.is_executable() => SymbolKind::Code,
                Some(_) => SymbolKind::Data,
                None => return None,
            },
            _ => return None,
        };
        let size = match section {
            // Never beyond its section.
            Some(section) => {
                let end = section.sh_addr.saturating_add(section.sh_size);
                symbol.st_size.min(end.saturating_sub(symbol.st_value))
            }
            None => symbol.st_size,
        };
        let binding = match symbol.st_bind() {
            sym::STB_LOCAL => Binding::Local,
            sym::STB_WEAK => Binding::Weak,
            _ => Binding::Global,
        };
        Some(SymbolRecord {
            address: symbol.st_value,
            size: (size != 0).then_some(size),
            name,
            source_file: source_file.filter(|_| binding == Binding::Local),
            module: None,
            kind,
            binding,
        })
    }
}

/// The names that a string section holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Names<'a>(&'a [u8]);

impl<'a> Names<'a> {
    /// The name at an offset, up to its NUL; empty where there is none or it is no UTF-8, on which
    /// goblin's own look-up panics.
    pub(crate) fn get(&self, offset: usize) -> &'a str {
        let bytes = self.0.get(offset..).unwrap_or(&[]);
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(0);
        std::str::from_utf8(&bytes[..end]).unwrap_or("")
    }
}

fn strings<'a>(bytes: &'a [u8], section: &SectionHeader) -> Names<'a> {
    Names(section.file_range().and_then(|range| bytes.get(range)).unwrap_or(&[]))
}

fn type_name(header: &Header) -> &'static str {
    match header.e_type {
        header::ET_REL => "REL (an object file or kernel module)",
        header::ET_CORE => "CORE (a memory dump)",
        _ => "unknown",
    }
}

/// Offsets beyond the address space are beyond every file.
pub(crate) fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
