//! The data side of a replay: pages or objects by their misses.

use crate::error::Error;
use crate::known::Known;
use crate::numbers::{NOT_AVAILABLE, counted, grouped, shortened};
use crate::profile_report::ProfileReport;
use crate::selection::SortKey;
use crate::structure::Structure;
use crate::text_table::{TextTable, wrapped};
use std::cmp::Reverse;
use strata_cachemodel::Machine;
use strata_sim::{DataGrain, DataMisses, DataRow};
use strata_symbols::Layer;

/// Structures that data misses are told of.
const STRUCTURES: [Structure; 5] =
    [Structure::L1d, Structure::L2, Structure::L3, Structure::Dtlb, Structure::Stlb];

/// Those that a machine has.
pub(crate) fn data_structures(machine: &Machine) -> Vec<Structure> {
    let present = Structure::of(machine);
    STRUCTURES.into_iter().filter(|structure| present.contains(structure)).collect()
}

/// Misses of a structure on data.
pub(crate) fn misses_of(structure: Structure, misses: &DataMisses) -> u64 {
    match structure {
        Structure::L1d => misses.levels[0],
        Structure::L2 => misses.levels[1],
        Structure::L3 => misses.levels[2],
        Structure::Dtlb => misses.dtlb,
        Structure::Stlb => misses.stlb,
        Structure::L1i | Structure::Itlb => 0,
    }
}

/// Rows of the data side to show, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSelection {
    /// Structure whose misses rows are sorted by, the most first.
    pub sort: Structure,
    /// How many rows to show; the others are summed into one. `None` shows all.
    pub top: Option<usize>,
    /// Layers to show; all if empty.
    pub layers: Vec<Layer>,
}

impl DataSelection {
    /// A selection sorted by `sort`; without one, by L1D misses.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a key that is none of the data side.
    pub fn new(
        sort: Option<SortKey>,
        top: Option<usize>,
        layers: Vec<Layer>,
    ) -> Result<Self, Error> {
        let sort = match sort {
            None => Structure::L1d,
            Some(SortKey::Misses(structure)) if STRUCTURES.contains(&structure) => structure,
            Some(other) => {
                return Err(Error::UnknownName {
                    given: other.name().to_owned(),
                    what: "sort key of pages and objects",
                    known: STRUCTURES.map(|structure| structure.miss_keys().0).join(", "),
                });
            }
        };
        Ok(DataSelection { sort, top, layers })
    }
}

/// Pages or objects. Shown rows and others sum to the layers asked for.
#[derive(Clone, Debug)]
pub(crate) struct DataTable<'a> {
    pub(crate) grain: DataGrain,
    pub(crate) rows: Vec<&'a DataRow>,
    /// What was left out: how many, and their misses.
    pub(crate) others: Option<(u64, DataMisses)>,
    pub(crate) total: DataMisses,
}

impl ProfileReport {
    /// The data side as `selection` asks; `None` if it was not collected or the trace has no data.
    pub(crate) fn data_table(&self, selection: &DataSelection) -> Option<DataTable<'_>> {
        let data = self.profile.data.as_ref().filter(|_| self.known().data())?;
        let wanted = |layer| selection.layers.is_empty() || selection.layers.contains(&layer);
        let mut rows: Vec<&DataRow> = data.rows.iter().filter(|row| wanted(row.layer)).collect();
        // Stable: what has as many stays in the order of layer and address.
        rows.sort_by_key(|row| Reverse(misses_of(selection.sort, &row.misses)));
        let others = selection.top.filter(|&top| top < rows.len()).map(|top| {
            let mut sum = DataMisses::default();
            let left = rows.split_off(top);
            left.iter().for_each(|row| sum += &row.misses);
            (left.len() as u64, sum)
        });
        Some(DataTable { grain: data.grain, rows, others, total: data.total() })
    }

    /// The whole report with the data side for its table.
    pub fn to_data_text(&self, selection: &DataSelection) -> String {
        let mut out = self.head_text();
        out.push('\n');
        let machine = &self.profile.machine;
        match self.data_table(selection) {
            Some(table) => out.push_str(&table.to_text(machine, self.known())),
            None => out.push_str("data misses: not available\n"),
        }
        out.push('\n');
        out.push_str(&self.classes_text());
        out.push_str(&wrapped(
            "counting",
            "misses of data references, by the address of their first byte; L2 and beyond \
             without those on instructions",
        ));
        out.push_str(&self.object_note());
        out.push_str(&self.remarks_text());
        out
    }

    /// How many of the misses have an object.
    fn object_note(&self) -> String {
        let Some(data) = self.profile.data.as_ref().filter(|data| data.grain == DataGrain::Object)
        else {
            return String::new();
        };
        let named = data.rows.iter().filter(|row| row.object.is_some());
        let named: u64 = named.map(|row| row.misses.levels[0]).sum();
        let all = data.total().levels[0];
        let note = format!(
            "known for {} of {} L1D misses; the others are on memory that is allocated at run \
             time, or where the symbols at hand name no data (a trimmed capture keeps those of \
             code that ran)",
            grouped(named),
            grouped(all),
        );
        wrapped("objects", &note)
    }
}

impl DataTable<'_> {
    fn to_text(&self, machine: &Machine, known: Known) -> String {
        let structures = data_structures(machine);
        let mut table = TextTable::new(4);
        let what = match self.grain {
            DataGrain::Page => ["layer", "memory of", "address space", "page"],
            DataGrain::Object => ["layer", "memory of", "module", "object"],
        };
        let labels = structures.iter().map(|structure| structure.label());
        let top = what.map(|_| "").into_iter().chain(labels);
        let bottom = what.into_iter().chain(structures.iter().map(|_| "misses"));
        table.header(top.zip(bottom).map(|(top, bottom)| format!("{top}\n{bottom}")));
        let numbers = |misses: &DataMisses| {
            let cell = |&structure: &Structure| match known.structure(structure) {
                true => grouped(misses_of(structure, misses)),
                false => NOT_AVAILABLE.to_owned(),
            };
            structures.iter().map(cell).collect::<Vec<_>>()
        };
        for row in &self.rows {
            let names = [row.layer.to_string(), row.owner.to_string()].into_iter();
            table.row(names.chain(self.place(row)).chain(numbers(&row.misses)).collect());
        }
        let mut line = |label: &str, more: String, misses: &DataMisses| {
            let names = [label.to_owned(), String::new(), String::new(), more];
            table.row(names.into_iter().chain(numbers(misses)).collect());
        };
        if let Some((rows, misses)) = &self.others {
            line("others", format!("({})", counted(*rows, "row")), misses);
        }
        table.rule();
        table.row(
            ["total", "", "", ""]
                .map(str::to_owned)
                .into_iter()
                .chain(numbers(&self.total))
                .collect(),
        );
        table.to_string()
    }

    fn place(&self, row: &DataRow) -> [String; 2] {
        let hex = |number: Option<u64>| {
            number.map_or(NOT_AVAILABLE.to_owned(), |number| format!("{number:#x}"))
        };
        match (self.grain, &row.object) {
            (DataGrain::Page, _) => [hex(row.root), hex(row.address)],
            (DataGrain::Object, Some(object)) => {
                [shortened(&object.module, 14), shortened(&object.function, 32)]
            }
            (DataGrain::Object, None) => [NOT_AVAILABLE.to_owned(), "unknown".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_data_misses_cannot_be_sorted_by_is_refused_with_what_they_can() {
        let key = |name: &str| Some(name.parse::<SortKey>().unwrap());
        let selected = |name| DataSelection::new(key(name), None, Vec::new());
        assert_eq!(selected("dtlb-misses").unwrap().sort, Structure::Dtlb);
        for name in ["instructions", "l1i-misses", "l2-mpki"] {
            let said = selected(name).unwrap_err().to_string();
            assert!(said.contains("l1d-misses, l2-misses"), "{said}");
        }
    }
}
