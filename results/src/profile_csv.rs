//! A profile as CSV.
//!
//! One header, then a row for each group, and a last one for what `--top` left out, so that the
//! rows sum to the layers shown. Every row carries the machine and the trace that it comes from.
//! What is not known is an empty field.

use crate::data_table::{DataSelection, data_structures, misses_of};
use crate::error::Error;
use crate::known::Known;
use crate::miss_classes::{
    CACHE_CLASSES, TLB_CLASSES, cache_numbers, caches, evictions, tlb_numbers, tlbs,
};
use crate::numbers::share_percent;
use crate::profile_report::ProfileReport;
use crate::provenance::Provenance;
use crate::selection::{By, Selection};
use crate::structure::Structure;
use std::collections::BTreeSet;
use strata_cachemodel::Machine;
use strata_sim::{Counters, DataMisses, Profile};
use strata_symbols::Layer;

impl ProfileReport {
    /// The rows that `selection` asks for.
    ///
    /// # Errors
    /// [`Error::Format`] if they cannot be written.
    pub fn to_csv(&self, selection: Selection) -> Result<String, Error> {
        let table = self.table(selection);
        let mut writer = csv::Writer::from_writer(Vec::new());
        let origin = self.origin();
        let classes = self.class_columns(table.selection.by);
        let class_header = classes.iter().map(|column| column.name.clone());
        let header = header().into_iter().chain(class_header).chain(ORIGIN.map(str::to_owned));
        writer.write_record(header).map_err(failed)?;
        let total = table.total.instructions;
        let machine = &self.profile.machine;
        for group in &table.rows {
            let module = group.module.clone().unwrap_or_default();
            let function = match (&group.function, table.selection.by) {
                (Some(function), _) => function.clone(),
                (None, By::Function | By::Line) => "unknown".to_owned(),
                (None, _) => String::new(),
            };
            let address = group.address.map(|address| format!("{address:#x}")).unwrap_or_default();
            let names = [group.layer.to_string(), module, function, address];
            let fields =
                names.into_iter().chain(numbers(&group.counters, total, machine, table.known));
            let classes = classes.iter().map(|column| column.of(|layer| layer == group.layer));
            writer.write_record(fields.chain(classes).chain(origin.clone())).map_err(failed)?;
        }
        if let Some(others) = &table.others {
            let names = [format!("(others: {})", others.rows), "".into(), "".into(), "".into()];
            let fields =
                names.into_iter().chain(numbers(&others.counters, total, machine, table.known));
            let shown = |layer| table.rows.iter().any(|group| group.layer == layer);
            let wanted = |layer| {
                table.selection.layers.is_empty() || table.selection.layers.contains(&layer)
            };
            let left_out = |layer| wanted(layer) && !shown(layer);
            let classes = classes.iter().map(|column| column.of(left_out));
            writer.write_record(fields.chain(classes).chain(origin)).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(failed)?;
        String::from_utf8(bytes).map_err(failed)
    }

    /// The pages or objects that `selection` asks for, a row each.
    ///
    /// # Errors
    /// [`Error::Format`] if they cannot be written.
    pub fn to_data_csv(&self, selection: &DataSelection) -> Result<String, Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let machine = &self.profile.machine;
        let structures = data_structures(machine);
        let names = ["layer", "owner", "space", "module", "object", "address"].map(str::to_owned);
        let misses = structures.iter().map(|structure| format!("{}_misses", structure.key()));
        let header = names.into_iter().chain(misses).chain(ORIGIN.map(str::to_owned));
        writer.write_record(header).map_err(failed)?;
        let numbers = |misses: &DataMisses| {
            let of = |&structure: &Structure| misses_of(structure, misses).to_string();
            structures.iter().map(of).collect::<Vec<_>>()
        };
        let hex =
            |number: Option<u64>| number.map(|number| format!("{number:#x}")).unwrap_or_default();
        let table = self.data_table(selection);
        for row in table.iter().flat_map(|table| &table.rows) {
            let (module, object) = match &row.object {
                Some(object) => (object.module.clone(), object.function.clone()),
                None => (String::new(), String::new()),
            };
            let (layer, owner) = (row.layer.to_string(), row.owner.to_string());
            let names = [layer, owner, hex(row.root), module, object, hex(row.address)];
            let fields = names.into_iter().chain(numbers(&row.misses)).chain(self.origin());
            writer.write_record(fields).map_err(failed)?;
        }
        if let Some((rows, misses)) = table.and_then(|table| table.others) {
            let mut names = [const { String::new() }; 6];
            names[0] = format!("(others: {rows})");
            let fields = names.into_iter().chain(numbers(&misses)).chain(self.origin());
            writer.write_record(fields).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(failed)?;
        String::from_utf8(bytes).map_err(failed)
    }

    /// Classes of misses and who evicted whom, which are known by layer only; none in other tables.
    fn class_columns(&self, by: By) -> Vec<ClassColumn> {
        let Some(classes) = self.profile.classes.as_ref().filter(|_| by == By::Layer) else {
            return Vec::new();
        };
        let mut columns = Vec::new();
        let mut add = |structure: Structure, class: &str, rows: Vec<(Layer, u64)>| {
            columns.push(ClassColumn { name: format!("{}_{class}_misses", structure.key()), rows });
        };
        for (structure, rows) in caches(classes, &self.profile.machine, self.known()) {
            for (i, class) in CACHE_CLASSES.into_iter().enumerate() {
                let of = |(&layer, misses)| (layer, cache_numbers(misses)[i]);
                add(structure, class, rows.iter().map(of).collect());
            }
        }
        for (structure, rows) in tlbs(classes, self.known()) {
            for (i, class) in TLB_CLASSES.into_iter().enumerate() {
                let of = |(&layer, misses)| (layer, tlb_numbers(misses)[i]);
                add(structure, class, rows.iter().map(of).collect());
            }
        }
        for (level, matrix) in evictions(classes, &self.profile.machine) {
            let evictors: BTreeSet<Layer> = matrix.keys().map(|&(_, by)| by).collect();
            columns.extend(evictors.into_iter().map(|evictor| {
                ClassColumn {
                    name: format!("{level}_evicted_by_{evictor}"),
                    rows: matrix
                        .iter()
                        .filter(|&(&(_, by), _)| by == evictor)
                        .map(|(&(missed, _), &misses)| (missed, misses))
                        .collect(),
                }
            }));
        }
        columns
    }

    /// Where the report comes from, a value for each column of [`ORIGIN`].
    pub(crate) fn origin(&self) -> [String; ORIGIN.len()] {
        origin(&self.profile, &self.provenance)
    }
}

/// Where a profile comes from, a value for each column of [`ORIGIN`].
pub(crate) fn origin(profile: &Profile, provenance: &Provenance) -> [String; ORIGIN.len()] {
    let machine = &profile.machine;
    [
        machine.name().to_owned(),
        parameters(machine),
        machine.semantics().to_string(),
        machine.event_delivery().to_string(),
        if profile.remarks.dma_transfers > 0 { "recorded" } else { "not modelled" }.into(),
        provenance.trace_hash.clone().unwrap_or_default(),
        provenance.from.to_string(),
        provenance.to.map(|to| to.to_string()).unwrap_or_default(),
        provenance.warm_up.to_string(),
        provenance.truncated.is_some().to_string(),
        provenance.patches().join("; "),
        provenance.lacks.texts().collect::<Vec<_>>().join("; "),
    ]
}

/// Names of the columns that say where a row comes from.
pub(crate) fn origin_header() -> impl Iterator<Item = String> {
    ORIGIN.into_iter().map(str::to_owned)
}

/// Misses of one class at one structure, or on lines that one layer evicted.
struct ClassColumn {
    name: String,
    rows: Vec<(Layer, u64)>,
}

impl ClassColumn {
    fn of(&self, takes: impl Fn(Layer) -> bool) -> String {
        let taken = self.rows.iter().filter(|(layer, _)| takes(*layer));
        taken.map(|(_, misses)| misses).sum::<u64>().to_string()
    }
}

/// Columns that say where a row comes from, the same in each row.
pub(crate) const ORIGIN: [&str; 12] = [
    "machine",
    "machine_parameters",
    "semantics",
    "event_delivery",
    "device_dma",
    "trace_hash",
    "first_instruction",
    "end_instruction",
    "warm_up_instructions",
    "trace_truncated",
    "guest_patches",
    "trace_lacks",
];

pub(crate) fn header() -> Vec<String> {
    let fixed = [
        "layer",
        "module",
        "function",
        "address",
        "instructions",
        "instructions_share_percent",
        "rep_iterations",
    ];
    let mut names: Vec<String> = fixed.map(str::to_owned).into();
    for structure in Structure::ALL {
        let key = structure.key();
        for name in ["accesses", "hits", "misses", "misses_per_1000_instructions"] {
            names.push(format!("{key}_{name}"));
        }
    }
    let details = [
        "l1d_reads",
        "l1d_writes",
        "l1d_read_misses",
        "l1d_write_misses",
        "l2_inst_misses",
        "l2_read_misses",
        "l2_write_misses",
        "l3_inst_misses",
        "l3_read_misses",
        "l3_write_misses",
        "page_walks",
        "walk_accesses",
        "walk_memory_accesses",
        "estimated_cycles",
        "device_accesses",
        "stale_hits",
        "vm_exits",
    ];
    names.extend(details.map(str::to_owned));
    names
}

pub(crate) fn numbers(
    counters: &Counters,
    total: u64,
    machine: &Machine,
    known: Known,
) -> Vec<String> {
    let mut present = Structure::of(machine);
    present.retain(|&structure| known.structure(structure));
    let or_empty =
        |known: bool, number: u64| if known { number.to_string() } else { String::new() };
    let float = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut fields = vec![
        or_empty(known.instructions(), counters.instructions),
        float(share_percent(counters.instructions, total)),
        counters.rep_iterations.to_string(),
    ];
    for structure in Structure::ALL {
        if !present.contains(&structure) {
            fields.extend(std::iter::repeat_n(String::new(), 4));
            continue;
        }
        let tally = structure.tally(counters);
        fields.extend([tally.accesses, tally.hits(), tally.misses].map(|n| n.to_string()));
        fields.push(float(counters.per_thousand(tally.misses)));
    }
    let [l1, l2, l3] = &counters.levels;
    let of = |structure, number| or_empty(present.contains(&structure), number);
    let cause = |is_known: bool, structure, number| {
        or_empty(is_known && present.contains(&structure), number)
    };
    let (instructions, data) = (known.instructions(), known.data());
    fields.extend([
        of(Structure::L1d, l1.reads.accesses),
        of(Structure::L1d, l1.writes.accesses),
        of(Structure::L1d, l1.reads.misses),
        of(Structure::L1d, l1.writes.misses),
        cause(instructions, Structure::L2, l2.instructions.misses),
        cause(data, Structure::L2, l2.reads.misses),
        cause(data, Structure::L2, l2.writes.misses),
        cause(instructions, Structure::L3, l3.instructions.misses),
        cause(data, Structure::L3, l3.reads.misses),
        cause(data, Structure::L3, l3.writes.misses),
        counters.walks.to_string(),
        or_empty(known.walk_references(), counters.walk_accesses()),
        or_empty(known.walk_references(), counters.walk_memory_accesses(machine.levels().len())),
        float(known.cycles(counters, machine)),
        or_empty(known.translations(), counters.device),
        or_empty(known.translations(), counters.stale),
        or_empty(known.events(), counters.exits),
    ]);
    fields
}

/// All parameters of a machine as they would be set: `l1i.size=32KiB l1i.ways=8 …`.
fn parameters(machine: &Machine) -> String {
    let mut out = Vec::new();
    if let Ok(serde_json::Value::Object(values)) = serde_json::to_value(machine) {
        for (key, value) in values {
            if !matches!(key.as_str(), "name" | "description") {
                assignments(&key, &value, &mut out);
            }
        }
    }
    out.join(" ")
}

fn assignments(key: &str, value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(inside) => {
            for (name, value) in inside {
                assignments(&format!("{key}.{name}"), value, out);
            }
        }
        serde_json::Value::String(text) => out.push(format!("{key}={text}")),
        other => out.push(format!("{key}={other}")),
    }
}

pub(crate) fn failed(error: impl ToString) -> Error {
    Error::Format { format: "CSV", message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_column() {
        let counters = Counters { instructions: 3, ..Counters::default() };
        assert_eq!(
            header().len(),
            4 + numbers(&counters, 9, &Machine::load("vee07").unwrap(), Known::default()).len()
        );
    }

    #[test]
    fn a_machines_parameters_read_as_they_would_be_set() {
        let machine = Machine::load("vee07").unwrap();
        let text = parameters(&machine);
        for pair in text.split(' ') {
            let (key, value) = pair.split_once('=').unwrap();
            let mut again = machine.clone();
            again.set(key, value).unwrap();
            assert_eq!(again, machine, "{pair}");
        }
        assert!(text.contains("l2.size=2MiB"), "{text}");
    }
}
