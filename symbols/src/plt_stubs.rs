//! Names for the stubs through which x86-64 programs call other libraries.
//!
//! Stubs have no symbols of their own. Each jumps through a slot of the global offset table, and a
//! relocation says which function the loader puts into that slot:
//!
//! ```text
//!   .plt entry:  jmp *[rip + d]  ──▶ slot ◀── relocation JUMP_SLOT/GLOB_DAT ──▶ `write`
//! ```

use std::collections::HashMap;

use goblin::elf::header::EM_X86_64;
use goblin::elf::reloc::{R_X86_64_GLOB_DAT, R_X86_64_IRELATIVE, R_X86_64_JUMP_SLOT, RelocSection};
use goblin::elf::section_header::{SHT_RELA, SectionHeader};

use crate::elf_reader::ElfFile;
use crate::symbol::{Binding, SymbolKind, SymbolRecord};
use crate::symbol_table_builder::SymbolTableBuilder;

/// Opcode and ModRM of `jmp *[rip + disp32]`.
const JUMP_THROUGH_SLOT: [u8; 2] = [0xff, 0x25];
/// Length of a stub where the section does not say, in bytes.
const USUAL_STUB_BYTES: u64 = 16;

/// Adds `NAME@plt` for each stub whose function is known. Others, such as the first one, which
/// calls the loader, go by the section's name. Other machines than x86-64 get nothing.
pub(crate) fn add(file: &ElfFile<'_>, builder: &mut SymbolTableBuilder) {
    if file.machine != EM_X86_64 {
        return;
    }
    let slots = slots(file);
    for section in file.code_sections() {
        let name = file.section_name(section);
        if !matches!(name, ".plt" | ".plt.sec" | ".plt.got" | ".iplt") {
            continue;
        }
        for (address, size, slot) in stubs(file, section) {
            match slot.and_then(|slot| slots.get(&slot)) {
                Some(function) => builder.add(stub(address, size, &format!("{function}@plt"))),
                None => builder.add(stub(address, size, name)),
            }
        }
    }
}

fn stub(address: u64, size: u64, name: &str) -> SymbolRecord<'_> {
    SymbolRecord {
        address,
        size: Some(size),
        name,
        source_file: None,
        module: None,
        kind: SymbolKind::Code,
        binding: Binding::Local,
    }
}

/// Address and size of each stub in a section, and the slot that it jumps through.
fn stubs(file: &ElfFile<'_>, section: &SectionHeader) -> Vec<(u64, u64, Option<u64>)> {
    let bytes = file.section_bytes(section).unwrap_or(&[]);
    let size = match section.sh_entsize {
        size @ 8..=64 => size,
        _ => USUAL_STUB_BYTES,
    };
    let entries = bytes.chunks(size as usize).zip(0u64..);
    entries
        .map(|(code, index)| {
            let address = section.sh_addr.wrapping_add(index * size);
            (address, code.len() as u64, slot(code, address))
        })
        .collect()
}

fn slot(code: &[u8], address: u64) -> Option<u64> {
    let at = code.windows(2).position(|pair| pair == JUMP_THROUGH_SLOT)?;
    let distance = code.get(at + 2..)?.first_chunk::<4>()?;
    let next_instruction = address.wrapping_add(at as u64 + 6);
    Some(next_instruction.wrapping_add_signed(i32::from_le_bytes(*distance).into()))
}

/// Function names by address of the slot that will hold the function's address.
fn slots<'a>(file: &ElfFile<'a>) -> HashMap<u64, &'a str> {
    let mut slots = HashMap::new();
    // Static programs resolve their own functions by address.
    let mut names_by_address: Option<HashMap<u64, &'a str>> = None;
    for section in file.sections.iter().filter(|section| section.sh_type == SHT_RELA) {
        let bytes = file.section_bytes(section).unwrap_or(&[]);
        let Ok(relocations) = RelocSection::parse(bytes, 0, bytes.len(), true, file.ctx) else {
            continue;
        };
        let symbols =
            file.sections.get(section.sh_link as usize).and_then(|link| file.symbols_of(link));
        for relocation in relocations.iter() {
            let name = match relocation.r_type {
                R_X86_64_JUMP_SLOT | R_X86_64_GLOB_DAT => {
                    symbols.as_ref().and_then(|(symbols, names)| {
                        Some(names.get(symbols.get(relocation.r_sym)?.st_name))
                    })
                }
                R_X86_64_IRELATIVE => names_by_address
                    .get_or_insert_with(|| names_of(file))
                    .get(&(relocation.r_addend.unwrap_or(0) as u64))
                    .copied(),
                _ => None,
            };
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                slots.insert(relocation.r_offset, name);
            }
        }
    }
    slots
}

/// The shortest name of each symbol address.
fn names_of<'a>(file: &ElfFile<'a>) -> HashMap<u64, &'a str> {
    let mut shortest: HashMap<u64, &'a str> = HashMap::new();
    if let Some((symbols, names)) = file.symbol_section() {
        for symbol in symbols.iter().filter(|symbol| symbol.is_function() || symbol.st_size != 0) {
            let name = names.get(symbol.st_name);
            if !name.is_empty() {
                let held = shortest.entry(symbol.st_value).or_insert(name);
                if (name.len(), name) < (held.len(), *held) {
                    *held = name;
                }
            }
        }
    }
    shortest
}
