//! What an address is called, and in which layer.
//!
//! Readers turn what a machine or a build knows about its own code into a [`SymbolTable`]; the
//! table answers which function an address belongs to. Readers work on bytes and do no I/O;
//! [`read_file`] fetches (and decompresses) a file for them.
//!
//! ```
//! use strata_symbols::{Layer, read_xen_map};
//!
//! let map = b"0xffff82d040201190 T lstar_enter\n0xffff82d0402012e0 T cstar_enter\n";
//! let xen = read_xen_map(map, "xen-syms.map")?;
//! let hit = xen.lookup(0xffff_82d0_4020_1195).expect("inside lstar_enter");
//! assert_eq!(
//!     format!("{}:{}+{:#x}", Layer::Hypervisor, hit.symbol.name, hit.offset),
//!     "hypervisor:lstar_enter+0x5"
//! );
//! # Ok::<(), strata_symbols::Error>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod address_space;
mod agreement;
mod build_id;
mod demangle;
mod elf_reader;
mod entry_check;
mod error;
mod executed_code;
mod extents;
mod fingerprint;
mod fingerprint_file;
mod image_search;
mod input;
mod kallsyms;
mod layer;
mod list_text;
mod load_bias;
mod machine_symbols;
mod module_overlap;
mod name_pattern;
mod near_names;
mod place;
mod plt_stubs;
mod preference;
mod proc_maps;
mod proc_modules;
mod source_lines;
mod symbol;
mod symbol_line;
mod symbol_list;
mod symbol_source;
mod symbol_table;
mod symbol_table_builder;
mod system_map;
mod trim;
mod user_image;
mod xen_map;

pub use address_space::{AddressSpaceSymbols, Placement, RejectedPlacement};
pub use agreement::{Agreement, KERNEL_TOLERANCE, USER_TOLERANCE, Verdict};
pub use build_id::BuildId;
pub use demangle::demangle;
pub use entry_check::EntryCheck;
pub use error::{Error, Result};
pub use executed_code::ExecutedCode;
pub use fingerprint::Fingerprint;
pub use fingerprint_file::{NamedFingerprint, read_fingerprints, write_fingerprints};
pub use input::{INPUT_LIMIT_BYTES, decompress, read_file};
pub use kallsyms::{KERNEL_MODULE, read_kallsyms, read_kallsyms_with_modules};
pub use layer::{DomainId, Layer};
pub use load_bias::LoadBias;
pub use machine_symbols::{AddressSpaceId, DomainSymbols, MachineSymbols};
pub use module_overlap::ModuleOverlap;
pub use name_pattern::fits_pattern;
pub use near_names::{did_you_mean, near_names};
pub use place::Place;
pub use proc_maps::{Mapping, ProcessMaps, read_proc_maps};
pub use proc_modules::{ModuleRange, read_proc_modules};
pub use source_lines::Frame;
pub use symbol::{Binding, Hit, Symbol, SymbolId, SymbolKind, SymbolRecord};
pub use symbol_list::read_symbol_list;
pub use symbol_source::SymbolSource;
pub use symbol_table::SymbolTable;
pub use symbol_table_builder::SymbolTableBuilder;
pub use system_map::read_system_map;
pub use trim::{write_trimmed_image, write_trimmed_table};
pub use user_image::{CodeCheck, UserImage};
pub use xen_map::{XEN_MODULE, read_xen_map};
