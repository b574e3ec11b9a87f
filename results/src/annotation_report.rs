//! The annotated flow: a row for each entry of a function (VEE'07, Figures 3 and 4).
//!
//! There can be millions of rows: they are read from where they were kept and written one by one.

use crate::document_head::{DocumentHead, write_rows};
use crate::entry_names::{EntryName, arrival_name};
use crate::error::Error;
use crate::numbers::{counted, grouped, shortened};
use crate::profile_json::structures::Structures;
use crate::profile_report::ProfileReport;
use crate::result_table::{Cell, Column, Kind, Table};
use crate::returns::returns_text;
use crate::text_table::wrapped;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use strata_sim::{Attribution, Entries, Entry, Figure4, Found, Names, ReturnReport, lagging};
use strata_symbols::Layer;

/// Rows of an annotation, and how they came about.
pub struct AnnotationReport {
    /// Of what.
    pub report: ProfileReport,
    /// All rows.
    pub entries: Entries,
    /// What they are called.
    pub names: Names,
    /// How well returns could be followed.
    pub returns: ReturnReport,
    /// Which counts a row holds.
    pub attribution: Attribution,
}

/// Rows of an annotation to show, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnotationSelection {
    /// Show the 26 counters of Figure 4.
    pub stats: bool,
    /// Show them one row late, as the paper does.
    pub lag: bool,
    /// Layers to show; all if empty.
    pub layers: Vec<Layer>,
    /// CPUs to show; all if empty.
    pub cpus: Vec<u16>,
    /// Rows between two triggers; `None` is all.
    pub window: Option<Found>,
    /// How many rows to show at most.
    pub top: Option<usize>,
}

/// Widths of the names in a table.
const FUNCTION_WIDTH: usize = 32;
const MODULE_WIDTH: usize = 14;

/// Columns before the counters.
const NAMES: [&str; 8] =
    ["EIP", "Function", "Module", "Layer", "Instructions", "At", "CPU", "Arrival"];

/// Columns of CSV after the counters, and what they carry. The machine's parameters would make up
/// most of a file of millions of rows.
const ORIGIN: [(&str, &str); 6] = [
    ("Machine", "machine"),
    ("Semantics", "semantics"),
    ("Trace hash", "trace_hash"),
    ("Command", "command"),
    ("Version", "version"),
    ("Units", "units"),
];

#[derive(Serialize)]
struct Head<'a> {
    #[serde(flatten)]
    head: DocumentHead<'a>,
    attribution: &'static str,
    vee07_lag: bool,
    identities: IdentitiesKey,
    layers: &'a [Layer],
    /// Those of the stream; with a limit fewer follow.
    rows_in_all: u64,
}

#[derive(Serialize)]
struct IdentitiesKey {
    hold: bool,
    no_laws_because: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    address: String,
    function: &'a str,
    module: Option<&'a str>,
    layer: Layer,
    at: u64,
    cpu: u16,
    arrival: &'static str,
    instructions: u64,
    rep_iterations: u64,
    #[serde(flatten)]
    structures: Structures,
    device_accesses: u64,
}

impl AnnotationReport {
    /// Why the 17 identities say nothing of these rows; `None` where they do.
    pub fn no_laws(&self) -> Option<String> {
        Figure4::no_laws(&self.report.profile.machine)
            .map(|why| format!("the 17 identities of figure 4 do not apply: {why}"))
    }

    /// Rows to show, each held against the identities where they are laws. `checked` is whether
    /// counters were kept.
    fn rows<'a>(
        &'a self,
        selection: &'a AnnotationSelection,
        checked: bool,
    ) -> impl Iterator<Item = Result<(Entry, EntryName<'a>), Error>> {
        let window = match &selection.window {
            Some(found) => found.first..found.last + 1,
            None => 0..self.entries.len(),
        };
        let laws = checked && self.no_laws().is_none();
        let entries = self.entries.range(window);
        let late: Box<dyn Iterator<Item = _>> =
            if selection.lag { Box::new(lagging(entries)) } else { Box::new(entries) };
        let rows = late.map(move |entry| {
            let entry = entry?;
            let name = EntryName::of(entry.path, &self.names);
            if laws {
                Figure4::of(&entry.counters).check(entry.counters.device).map_err(|broken| {
                    Error::Identity { function: name.function.to_owned(), at: entry.at, broken }
                })?;
            }
            Ok((entry, name))
        });
        let shown = |(entry, name): &(Entry, EntryName<'_>)| {
            (selection.layers.is_empty() || selection.layers.contains(&name.layer))
                && (selection.cpus.is_empty() || selection.cpus.contains(&entry.cpu))
        };
        rows.filter(move |row| row.as_ref().map_or(true, shown))
    }

    /// As a table, with what was replayed on which machine.
    ///
    /// # Errors
    /// [`Error::Identity`] for a row that breaks a law, [`Error::Output`] if nothing more can be
    /// written.
    pub fn write_text(
        &self,
        selection: &AnnotationSelection,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let put =
            |out: &mut dyn Write, text: &str| out.write_all(text.as_bytes()).map_err(Error::Output);
        put(out, &self.report.head_text())?;
        put(out, &self.meaning(selection))?;
        put(out, &header(selection.stats))?;
        let (mut shown, mut left) = (0, 0);
        for row in self.rows(selection, selection.stats) {
            let (entry, name) = row?;
            if selection.top.is_some_and(|top| shown >= top) {
                left += 1;
                continue;
            }
            shown += 1;
            put(out, &line(&entry, &name, selection.stats))?;
        }
        if left > 0 {
            put(out, &format!("({} more; --top all shows them)\n", counted(left, "row")))?;
        }
        if (shown, left) == (0, 0) {
            let layers: BTreeSet<Layer> =
                self.names.functions().iter().map(|function| function.layer).collect();
            let layers: Vec<String> = layers.iter().map(Layer::to_string).collect();
            put(out, &format!("(no rows; {} ran in what was replayed)\n", layers.join(", ")))?;
        }
        put(out, "\n")?;
        put(out, &returns_text(&self.returns))?;
        put(out, &self.report.foot_text())
    }

    /// What the counters of a row are of.
    fn meaning(&self, selection: &AnnotationSelection) -> String {
        let mut said = match self.attribution {
            Attribution::Function => {
                "a row for each entry of a function, with what that function did, without what it \
                 called"
                    .to_owned()
            }
            Attribution::UntilNext => {
                "a row for each entry of a function, with all that ran until the next row"
                    .to_owned()
            }
        };
        if selection.lag {
            said.push_str("; shown one row late, as in figure 4 of the VEE'07 paper");
        }
        let mut text = wrapped("rows", &said);
        if selection.stats {
            let laws =
                self.no_laws().unwrap_or("all 17 identities of figure 4 hold in every row".into());
            text.push_str(&wrapped("laws", &laws));
        }
        text.push('\n');
        text
    }

    /// As CSV, one header and a row for each entry.
    ///
    /// # Errors
    /// As [`Self::write_text`]; also [`Error::Format`].
    pub fn write_csv(
        &self,
        selection: &AnnotationSelection,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        self.to_table(selection).write_csv(out)
    }

    /// The same as a table, which can be written in other formats too; its rows fail as those of
    /// [`Self::write_text`].
    pub fn to_table<'a>(&'a self, selection: &'a AnnotationSelection) -> Table<'a> {
        let stats = selection.stats;
        let mut columns = Column::texts([NAMES[0], NAMES[1], NAMES[2], NAMES[3]]);
        columns.extend(Column::counts([NAMES[4], NAMES[5], NAMES[6]]));
        columns.push(Column::new(NAMES[7], Kind::Text));
        if stats {
            columns.extend(Column::counts(Figure4::NAMES));
            columns.push(Column::new("Device refs", Kind::Whole));
        }
        let rows = self.rows(selection, stats).take(selection.top.unwrap_or(usize::MAX));
        let rows = rows.map(move |row| {
            let (entry, name) = row?;
            let mut cells = vec![
                Cell::Text(format!("{:#x}", entry.address)),
                name.function.into(),
                Cell::text(name.module),
                Cell::Text(name.layer.to_string()),
                Cell::Whole(entry.counters.instructions),
                Cell::Whole(entry.at),
                Cell::Whole(entry.cpu.into()),
                arrival_name(entry.arrival).into(),
            ];
            if stats {
                let numbers = Figure4::of(&entry.counters).to_array();
                cells.extend(numbers.map(Cell::Whole));
                cells.push(Cell::Whole(entry.counters.device));
            }
            Ok(cells)
        });
        Table::new("annotate", self.report.origin(), columns, rows).carrying(&ORIGIN)
    }

    /// As one JSON object, which needs all counters of each row.
    ///
    /// # Errors
    /// As [`Self::write_text`]; also [`Error::Format`].
    pub fn write_json(
        &self,
        selection: &AnnotationSelection,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let no_laws = self.no_laws();
        let head = Head {
            head: DocumentHead::new("annotate", &self.report, &self.returns),
            attribution: match self.attribution {
                Attribution::Function => "function",
                Attribution::UntilNext => "until-next",
            },
            vee07_lag: selection.lag,
            identities: IdentitiesKey { hold: no_laws.is_none(), no_laws_because: no_laws },
            layers: &selection.layers,
            rows_in_all: self.entries.len(),
        };
        let (machine, known) = (&self.report.profile.machine, self.report.known());
        let rows = self.rows(selection, true).map(|row| {
            let (entry, name) = row?;
            Ok(Row {
                address: format!("{:#x}", entry.address),
                function: name.function,
                module: name.module,
                layer: name.layer,
                at: entry.at,
                cpu: entry.cpu,
                arrival: arrival_name(entry.arrival),
                instructions: entry.counters.instructions,
                rep_iterations: entry.counters.rep_iterations,
                structures: Structures::new(&entry.counters, machine, known),
                device_accesses: entry.counters.device,
            })
        });
        write_rows(&head, rows.take(selection.top.unwrap_or(usize::MAX)), out)
    }
}

/// A counter's name in two lines, split before its last word.
fn two_lines(name: &str) -> (&str, &str) {
    name.rsplit_once(' ').unwrap_or(("", name))
}

/// Width of a counter's column.
fn width(name: &str) -> usize {
    let (top, bottom) = two_lines(name);
    top.len().max(bottom.len()).max(5)
}

fn header(stats: bool) -> String {
    let names = format!(
        "{:<18}  {:<FUNCTION_WIDTH$}  {:<MODULE_WIDTH$}  {:<11}",
        NAMES[0], NAMES[1], NAMES[2], NAMES[3]
    );
    if !stats {
        return format!("{names}  {:>12}  {:>14}\n", "Instructions", "at");
    }
    let mut lines = [" ".repeat(names.len()), names];
    for name in Figure4::NAMES {
        let (top, bottom) = two_lines(name);
        lines[0].push_str(&format!("  {top:>0$}", width(name)));
        lines[1].push_str(&format!("  {bottom:>0$}", width(name)));
    }
    format!("{}\n{}\n", lines[0], lines[1])
}

fn line(entry: &Entry, name: &EntryName<'_>, stats: bool) -> String {
    let mut line = format!(
        "{:#018x}  {:<FUNCTION_WIDTH$}  {:<MODULE_WIDTH$}  {:<11}",
        entry.address,
        shortened(name.function, FUNCTION_WIDTH),
        shortened(name.module_or_dash(), MODULE_WIDTH),
        name.layer,
    );
    if stats {
        let numbers = Figure4::of(&entry.counters).to_array();
        for (name, number) in Figure4::NAMES.iter().zip(numbers) {
            line.push_str(&format!("  {number:>0$}", width(name)));
        }
    } else {
        let (instructions, at) = (grouped(entry.counters.instructions), grouped(entry.at));
        line.push_str(&format!("  {instructions:>12}  {at:>14}"));
    }
    line.push('\n');
    line
}
