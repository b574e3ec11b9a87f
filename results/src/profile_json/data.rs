//! Pages and objects as JSON.

use crate::data_table::{data_structures, misses_of};
use serde::Serialize;
use std::collections::BTreeMap;
use strata_cachemodel::Machine;
use strata_sim::{DataGrain, DataMisses, DataRow};
use strata_symbols::Layer;

#[derive(Serialize)]
pub(super) struct DataEntry<'a> {
    layer: Layer,
    owner: Layer,
    space: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(flatten)]
    object: Option<Object<'a>>,
    #[serde(flatten)]
    misses: Misses,
}

#[derive(Serialize)]
struct Object<'a> {
    module: Option<&'a str>,
    object: &'a str,
    address: Option<String>,
}

#[derive(Serialize)]
pub(super) struct OtherData {
    pub(super) rows: u64,
    #[serde(flatten)]
    pub(super) misses: Misses,
}

/// By the key of the structure.
pub(super) type Misses = BTreeMap<&'static str, Count>;

#[derive(Serialize)]
pub(super) struct Count {
    misses: u64,
}

pub(super) fn data_misses(misses: &DataMisses, machine: &Machine) -> Misses {
    let count = |structure| Count { misses: misses_of(structure, misses) };
    let structures = data_structures(machine).into_iter();
    structures.map(|structure| (structure.key(), count(structure))).collect()
}

/// The grouping's name on the command line and in JSON.
pub(crate) fn data_name(grain: DataGrain) -> &'static str {
    match grain {
        DataGrain::Page => "page",
        DataGrain::Object => "object",
    }
}

impl<'a> DataEntry<'a> {
    pub(super) fn new(row: &'a DataRow, grain: DataGrain, machine: &Machine) -> Self {
        let hex = |number: Option<u64>| number.map(|number| format!("{number:#x}"));
        let object = (grain == DataGrain::Object).then(|| Object {
            module: row.object.as_ref().map(|object| object.module.as_str()),
            object: row.object.as_ref().map_or("unknown", |object| object.function.as_str()),
            address: hex(row.address),
        });
        let page = if grain == DataGrain::Page { hex(row.address) } else { None };
        DataEntry {
            layer: row.layer,
            owner: row.owner,
            space: hex(row.root),
            page,
            object,
            misses: data_misses(&row.misses, machine),
        }
    }
}
