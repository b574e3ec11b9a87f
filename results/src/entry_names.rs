//! What a row of a flow is called.

use crate::numbers::NOT_AVAILABLE;
use strata_sim::{Arrival, Names, PathId};
use strata_symbols::Layer;

/// Layer, module and function of the top of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryName<'a> {
    pub(crate) layer: Layer,
    pub(crate) module: Option<&'a str>,
    /// `unknown` without a name.
    pub(crate) function: &'a str,
}

impl<'a> EntryName<'a> {
    pub(crate) fn of(path: PathId, names: &'a Names) -> Self {
        let function = names.function(names.function_of(path));
        let name = function.name.as_ref();
        EntryName {
            layer: function.layer,
            module: name.map(|name| name.module.as_str()),
            function: name.map_or("unknown", |name| name.function.as_str()),
        }
    }

    pub(crate) fn module_or_dash(&self) -> &'a str {
        self.module.unwrap_or(NOT_AVAILABLE)
    }
}

/// Name of an arrival in CSV and JSON.
pub(crate) fn arrival_name(arrival: Arrival) -> &'static str {
    match arrival {
        Arrival::Start => "start",
        Arrival::Call => "call",
        Arrival::Tail => "tail",
        Arrival::FallThrough => "fall-through",
        Arrival::Return => "return",
        Arrival::Unwound => "unwound",
        Arrival::ReturnAsJump => "return-as-jump",
        Arrival::Syscall => "syscall",
        Arrival::Hypercall => "hypercall",
        Arrival::Exception => "exception",
        Arrival::Interrupt => "interrupt",
        Arrival::Resumed => "resumed",
        Arrival::Entered => "entered",
        Arrival::Switched => "switched",
        Arrival::Gap => "gap",
    }
}
