//! A profile as a table for CSV and Parquet.
//!
//! A row for each group, and a last one for what `--top` left out, so that the rows sum to the
//! layers shown.

use crate::data_table::{DataSelection, data_structures, misses_of};
use crate::error::Error;
use crate::known::Known;
use crate::miss_classes::{
    CACHE_CLASSES, TLB_CLASSES, cache_numbers, caches, evictions, tlb_numbers, tlbs,
};
use crate::numbers::share_percent;
use crate::profile_report::ProfileReport;
use crate::result_table::{Cell, Column, Kind, Table};
use crate::selection::{By, Selection};
use crate::structure::Structure;
use std::collections::BTreeSet;
use strata_cachemodel::Machine;
use strata_sim::{Counters, DataMisses};
use strata_symbols::Layer;

impl ProfileReport {
    /// The rows that `selection` asks for.
    ///
    /// # Errors
    /// [`Error::Format`] if they cannot be written.
    pub fn to_csv(&self, selection: Selection) -> Result<String, Error> {
        self.to_table(selection).to_csv()
    }

    /// The same as a table, which can be written in other formats too.
    pub fn to_table(&self, selection: Selection) -> Table<'static> {
        let table = self.table(selection);
        let classes = self.class_columns(table.selection.by);
        let mut columns = columns();
        columns.extend(Column::counts(classes.iter().map(|column| column.name.clone())));
        let total = table.total.instructions;
        let machine = &self.profile.machine;
        let mut rows = Vec::new();
        for group in &table.rows {
            let function = match (&group.function, table.selection.by) {
                (Some(function), _) => Cell::Text(function.clone()),
                (None, By::Function | By::Line) => "unknown".into(),
                (None, _) => Cell::Missing,
            };
            let mut row = vec![
                Cell::Text(group.layer.to_string()),
                Cell::text(group.module.as_deref()),
                function,
                hex(group.address),
            ];
            row.extend(numbers(&group.counters, total, machine, table.known));
            row.extend(classes.iter().map(|column| column.of(|layer| layer == group.layer)));
            rows.push(Ok(row));
        }
        if let Some(others) = &table.others {
            let name = Cell::Text(format!("(others: {})", others.rows));
            let mut row = vec![name, Cell::Missing, Cell::Missing, Cell::Missing];
            row.extend(numbers(&others.counters, total, machine, table.known));
            let shown = |layer| table.rows.iter().any(|group| group.layer == layer);
            let wanted = |layer| {
                table.selection.layers.is_empty() || table.selection.layers.contains(&layer)
            };
            let left_out = |layer| wanted(layer) && !shown(layer);
            row.extend(classes.iter().map(|column| column.of(left_out)));
            rows.push(Ok(row));
        }
        Table::new("replay", self.origin(), columns, rows.into_iter())
    }

    /// The pages or objects that `selection` asks for, a row each.
    ///
    /// # Errors
    /// [`Error::Format`] if they cannot be written.
    pub fn to_data_csv(&self, selection: &DataSelection) -> Result<String, Error> {
        self.to_data_table(selection).to_csv()
    }

    /// The same as a table, which can be written in other formats too.
    pub fn to_data_table(&self, selection: &DataSelection) -> Table<'static> {
        let structures = data_structures(&self.profile.machine);
        let names = ["layer", "owner", "space", "module", "object", "address"];
        let mut columns = Column::texts(names);
        let misses = structures.iter().map(|structure| format!("{}_misses", structure.key()));
        columns.extend(Column::counts(misses));
        let numbers = |misses: &DataMisses| {
            let of = |&structure: &Structure| Cell::Whole(misses_of(structure, misses));
            structures.iter().map(of).collect::<Vec<_>>()
        };
        let table = self.data_table(selection);
        let mut rows = Vec::new();
        for row in table.iter().flat_map(|table| &table.rows) {
            let object = row.object.as_ref();
            let mut cells = vec![
                Cell::Text(row.layer.to_string()),
                Cell::Text(row.owner.to_string()),
                hex(row.root),
                Cell::text(object.map(|object| object.module.as_str())),
                Cell::text(object.map(|object| object.function.as_str())),
                hex(row.address),
            ];
            cells.extend(numbers(&row.misses));
            rows.push(Ok(cells));
        }
        if let Some((others, misses)) = table.and_then(|table| table.others) {
            let mut cells = vec![Cell::Missing; names.len()];
            cells[0] = Cell::Text(format!("(others: {others})"));
            cells.extend(numbers(&misses));
            rows.push(Ok(cells));
        }
        Table::new("replay", self.origin(), columns, rows.into_iter())
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

    /// Where the report comes from, by column.
    pub(crate) fn origin(&self) -> Vec<(&'static str, String)> {
        let machine = &self.profile.machine;
        let dma = self.profile.remarks.dma_transfers > 0;
        let provenance = &self.provenance;
        vec![
            ("machine", machine.name().to_owned()),
            ("machine_parameters", parameters(machine)),
            ("semantics", machine.semantics().to_string()),
            ("event_delivery", machine.event_delivery().to_string()),
            ("device_dma", if dma { "recorded" } else { "not modelled" }.to_owned()),
            ("trace_hash", provenance.trace_hash.clone().unwrap_or_default()),
            ("first_instruction", provenance.from.to_string()),
            ("end_instruction", provenance.to.map(|to| to.to_string()).unwrap_or_default()),
            ("warm_up_instructions", provenance.warm_up.to_string()),
            ("trace_truncated", provenance.truncated.is_some().to_string()),
            ("guest_patches", provenance.patches().join("; ")),
            ("trace_lacks", provenance.lacks.texts().collect::<Vec<_>>().join("; ")),
        ]
    }
}

/// An address as text; 64 bits of it are no count.
fn hex(address: Option<u64>) -> Cell {
    address.map_or(Cell::Missing, |address| Cell::Text(format!("{address:#x}")))
}

/// Misses of one class at one structure, or on lines that one layer evicted.
struct ClassColumn {
    name: String,
    rows: Vec<(Layer, u64)>,
}

impl ClassColumn {
    fn of(&self, takes: impl Fn(Layer) -> bool) -> Cell {
        let taken = self.rows.iter().filter(|(layer, _)| takes(*layer));
        Cell::Whole(taken.map(|(_, misses)| misses).sum())
    }
}

fn columns() -> Vec<Column> {
    let mut columns = Column::texts(["layer", "module", "function", "address"]);
    columns.push(Column::new("instructions", Kind::Whole));
    columns.push(Column::new("instructions_share_percent", Kind::Real));
    columns.push(Column::new("rep_iterations", Kind::Whole));
    for structure in Structure::ALL {
        let key = structure.key();
        columns.extend(Column::counts(
            ["accesses", "hits", "misses"].map(|name| format!("{key}_{name}")),
        ));
        columns.push(Column::new(format!("{key}_misses_per_1000_instructions"), Kind::Real));
    }
    columns.extend(Column::counts([
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
    ]));
    columns.push(Column::new("estimated_cycles", Kind::Real));
    columns.extend(Column::counts(["device_accesses", "stale_hits", "vm_exits"]));
    columns
}

fn numbers(counters: &Counters, total: u64, machine: &Machine, known: Known) -> Vec<Cell> {
    let mut present = Structure::of(machine);
    present.retain(|&structure| known.structure(structure));
    let or_missing = |known: bool, number: u64| Cell::whole(known.then_some(number));
    let mut cells = vec![
        or_missing(known.instructions(), counters.instructions),
        Cell::real(share_percent(counters.instructions, total)),
        Cell::Whole(counters.rep_iterations),
    ];
    for structure in Structure::ALL {
        if !present.contains(&structure) {
            cells.extend(std::iter::repeat_n(Cell::Missing, 4));
            continue;
        }
        let tally = structure.tally(counters);
        cells.extend([tally.accesses, tally.hits(), tally.misses].map(Cell::Whole));
        cells.push(Cell::real(counters.per_thousand(tally.misses)));
    }
    let [l1, l2, l3] = &counters.levels;
    let of = |structure, number| or_missing(present.contains(&structure), number);
    let cause = |is_known: bool, structure, number| {
        or_missing(is_known && present.contains(&structure), number)
    };
    let (instructions, data) = (known.instructions(), known.data());
    cells.extend([
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
        Cell::Whole(counters.walks),
        or_missing(known.walk_references(), counters.walk_accesses()),
        or_missing(known.walk_references(), counters.walk_memory_accesses(machine.levels().len())),
        Cell::real(known.cycles(counters, machine)),
        or_missing(known.translations(), counters.device),
        or_missing(known.translations(), counters.stale),
        or_missing(known.events(), counters.exits),
    ]);
    cells
}

/// Columns of the counts of a whole machine.
pub(crate) fn count_columns() -> Vec<Column> {
    columns().into_iter().skip(NAMES).filter(|column| column.name != SHARE).collect()
}

/// The counts of a whole machine, by [`count_columns`].
pub(crate) fn counts(counters: &Counters, machine: &Machine, known: Known) -> Vec<Cell> {
    let cells = numbers(counters, counters.instructions, machine, known);
    let columns = columns().into_iter().skip(NAMES);
    let pairs = cells.into_iter().zip(columns);
    pairs.filter(|(_, column)| column.name != SHARE).map(|(cell, _)| cell).collect()
}

/// Columns that name a row.
const NAMES: usize = 4;
/// The column that tells a row's share of all rows.
const SHARE: &str = "instructions_share_percent";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_column() {
        let counters = Counters { instructions: 3, ..Counters::default() };
        assert_eq!(
            columns().len(),
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
