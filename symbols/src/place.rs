//! The answer to the question what an address in memory is called.

use crate::load_bias::LoadBias;
use crate::symbol::{Hit, Symbol};

/// What an address in memory is called: always a module, and a symbol where one is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'t> {
    /// Kernel module, program, library or `xen`.
    pub module: &'t str,
    /// The function or data object; its own address is an image address.
    pub symbol: Option<Symbol<'t>>,
    /// Where in memory the symbol begins; without a symbol, where the module does.
    pub start: u64,
    /// Distance of the address from `start`, in bytes.
    pub offset: u64,
}

impl<'t> Place<'t> {
    pub(crate) fn of_hit(hit: Hit<'t>, bias: LoadBias) -> Self {
        Self {
            module: hit.symbol.module,
            symbol: Some(hit.symbol),
            start: bias.to_memory(hit.symbol.address),
            offset: hit.offset,
        }
    }

    pub(crate) fn of_module(module: &'t str, start: u64, address: u64) -> Self {
        Self { module, symbol: None, start, offset: address - start }
    }

    /// Name of the symbol as the source spells it.
    pub fn name(&self) -> Option<&'t str> {
        self.symbol.map(|symbol| symbol.name)
    }
}
