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

mod build_id;
mod demangle;
mod error;
mod extents;
mod input;
mod kallsyms;
mod layer;
mod module_overlap;
mod preference;
mod proc_modules;
mod symbol;
mod symbol_line;
mod symbol_table;
mod symbol_table_builder;
mod system_map;
mod xen_map;

pub use build_id::BuildId;
pub use demangle::demangle;
pub use error::{Error, Result};
pub use input::{INPUT_LIMIT_BYTES, decompress, read_file};
pub use kallsyms::{KERNEL_MODULE, read_kallsyms, read_kallsyms_with_modules};
pub use layer::{DomainId, Layer};
pub use module_overlap::ModuleOverlap;
pub use proc_modules::{ModuleRange, read_proc_modules};
pub use symbol::{Binding, Hit, Symbol, SymbolId, SymbolKind, SymbolRecord};
pub use symbol_table::SymbolTable;
pub use symbol_table_builder::SymbolTableBuilder;
pub use system_map::read_system_map;
pub use xen_map::{XEN_MODULE, read_xen_map};
