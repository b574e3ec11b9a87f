//! Counts of many machines, a row for each.

mod figure;

pub use figure::FigureAxis;

use crate::document_head::{DocumentHead, write_list};
use crate::error::Error;
use crate::known::Known;
use crate::numbers::{NOT_AVAILABLE, grouped, rate};
use crate::profile_csv::{count_columns, counts};
use crate::profile_json::structures::Structures;
use crate::profile_report::ProfileReport;
use crate::provenance::Provenance;
use crate::result_table::{Cell, Column, Kind, Table};
use crate::structure::Structure;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::io::Write;
use strata_cachemodel::Machine;
use strata_sim::{Profile, Setting, SweepAxis, SweepPoint};

/// A machine of a sweep, and what it counted.
#[derive(Clone, Debug)]
pub struct SweepRow {
    /// The parameters in which it differs from the sweep's machine.
    pub set: Setting,
    /// Its counts, without rows.
    pub profile: Profile,
}

impl SweepRow {
    /// The row of a point.
    pub fn new(set: Setting, machine: Machine, point: &SweepPoint) -> Self {
        SweepRow { set, profile: point.profile(machine) }
    }
}

/// What a sweep is of.
#[derive(Clone, Debug)]
pub struct SweepReport {
    /// The machine that all else is as in.
    pub machine: Machine,
    /// What is swept.
    pub axes: Vec<SweepAxis>,
    /// Of what.
    pub provenance: Provenance,
}

#[derive(Serialize)]
struct Head<'a> {
    #[serde(flatten)]
    document: DocumentHead<'a>,
    axes: Vec<Axis<'a>>,
}

#[derive(Serialize)]
struct Axis<'a> {
    keys: Vec<&'a str>,
    values: &'a [String],
}

#[derive(Serialize)]
struct Point<'a> {
    #[serde(serialize_with = "as_object")]
    set: &'a Setting,
    instructions: Option<u64>,
    rep_iterations: u64,
    #[serde(flatten)]
    structures: Structures,
    stale_hits: Option<u64>,
}

fn as_object<S: Serializer>(set: &&Setting, serializer: S) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(set.len()))?;
    for (key, value) in set.iter() {
        object.serialize_entry(key, value)?;
    }
    object.end()
}

impl SweepReport {
    fn known(&self) -> Known {
        Known::without(self.provenance.lacks)
    }

    /// Parameters that change, in the order of the rows' settings.
    fn keys(&self) -> impl Iterator<Item = &str> {
        self.axes.iter().flat_map(SweepAxis::keys)
    }

    /// The values that these parameters have in a row.
    fn values_of(&self, row: &SweepRow) -> impl Iterator<Item = String> {
        self.keys().map(|key| {
            let found = row.set.iter().find(|(known, _)| known == key);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        })
    }

    /// The sweep's own machine with what a row says of the stream.
    fn of_stream(&self, row: &SweepRow) -> ProfileReport {
        let mut profile = Profile { machine: self.machine.clone(), ..row.profile.clone() };
        profile.total.stale = 0;
        ProfileReport { profile, provenance: self.provenance.clone() }
    }

    /// Machine, semantics and provenance, as far as they are the same for all rows; any row will do.
    pub fn head_text(&self, any: &SweepRow) -> String {
        self.of_stream(any).head_text()
    }

    /// What else a reader should know; any row will do.
    pub fn foot_text(&self, any: &SweepRow) -> String {
        self.of_stream(any).remarks_text()
    }

    /// Structures with columns of their own: those of the sweep's machine.
    fn structures(&self) -> Vec<Structure> {
        Structure::of(&self.machine)
    }

    /// Widths of a table's columns.
    fn widths(&self) -> Vec<usize> {
        let of_axes = self.axes.iter().flat_map(|axis| {
            let widest = axis.values().iter().map(|value| value.chars().count()).max();
            axis.keys().map(move |key| key.len().max(widest.unwrap_or(0)))
        });
        let of_counts = self.structures().into_iter().flat_map(|_| [12, 8]);
        of_axes.chain(of_counts).collect()
    }

    fn line(&self, cells: impl Iterator<Item = String>) -> String {
        let padded = self.widths().into_iter().zip(cells);
        let mut line =
            padded.map(|(width, cell)| format!("{cell:>width$}")).collect::<Vec<_>>().join("  ");
        line.push('\n');
        line
    }

    /// The heading of a table, whose lines can be printed as they come.
    pub fn table_header(&self) -> String {
        let names = self.structures().into_iter().map(Structure::label);
        let of_counts = names.flat_map(|name| [format!("{name} misses"), format!("{name} MPKI")]);
        let header = self.line(self.keys().map(str::to_owned).chain(of_counts));
        let rule = "─".repeat(header.trim_end().chars().count());
        format!("{header}{rule}\n")
    }

    /// A line of the table.
    pub fn table_row(&self, row: &SweepRow) -> String {
        let counters = &row.profile.total;
        let present = Structure::of(&row.profile.machine);
        let of_counts = self.structures().into_iter().flat_map(|structure| {
            if !self.known().structure(structure) || !present.contains(&structure) {
                return [NOT_AVAILABLE, NOT_AVAILABLE].map(str::to_owned);
            }
            let misses = structure.tally(counters).misses;
            [grouped(misses), rate(counters.per_thousand(misses))]
        });
        self.line(self.values_of(row).chain(of_counts))
    }

    /// Rows with all their counts, and where they come from: `machine_parameters` is that of the
    /// first row's machine.
    fn table<'a>(&'a self, rows: &'a [SweepRow]) -> Table<'a> {
        let mut columns: Vec<Column> =
            self.keys().map(|key| Column::new(key, Kind::Text)).collect();
        columns.extend(count_columns());
        let machine = rows.first().map_or(&self.machine, |row| &row.profile.machine);
        let origin = match rows.first() {
            Some(row) => ProfileReport {
                profile: Profile { machine: machine.clone(), ..row.profile.clone() },
                provenance: self.provenance.clone(),
            }
            .origin(),
            None => Vec::new(),
        };
        let cells = rows.iter().map(|row| {
            let Profile { machine, total, .. } = &row.profile;
            let mut cells: Vec<Cell> = self.values_of(row).map(Cell::Text).collect();
            cells.extend(counts(total, machine, self.known()));
            Ok(cells)
        });
        Table::new("sweep", origin, columns, cells)
    }

    /// A row of CSV with its own machine, and before the first one the names of the columns.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn csv_row(&self, row: &SweepRow, is_first: bool) -> Result<String, Error> {
        let text = self.table(std::slice::from_ref(row)).to_csv()?;
        let header = text.find('\n').map_or(0, |end| end + 1);
        Ok(if is_first { text } else { text[header..].to_owned() })
    }

    /// All rows, as CSV has them.
    pub fn to_table<'a>(&'a self, rows: &'a [SweepRow]) -> Table<'a> {
        self.table(rows)
    }

    /// One object with all rows, of which there is at least one.
    ///
    /// # Errors
    /// [`Error::Format`] and [`Error::Output`] if it cannot be written.
    pub fn write_json(&self, rows: &[SweepRow], out: &mut dyn Write) -> Result<(), Error> {
        let any = rows.first().ok_or_else(|| Error::Format {
            format: "JSON",
            message: "a sweep has at least one point".to_owned(),
        })?;
        let (stream, known) = (self.of_stream(any), self.known());
        let head = Head {
            document: DocumentHead::plain("sweep", &stream),
            axes: self
                .axes
                .iter()
                .map(|axis| Axis { keys: axis.keys().collect(), values: axis.values() })
                .collect(),
        };
        let points = rows.iter().map(|row| {
            let Profile { machine, total, counts, .. } = &row.profile;
            Ok(Point {
                set: &row.set,
                instructions: known.instructions().then_some(total.instructions),
                rep_iterations: total.rep_iterations,
                structures: Structures::of_machine(total, machine, counts, known),
                stale_hits: known.translations().then_some(total.stale),
            })
        });
        write_list(&head, "points", points, out)
    }
}
