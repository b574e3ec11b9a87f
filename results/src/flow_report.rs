//! Functions in order between two of them (VEE'07, Figures 7 to 10).

use crate::document_head::{DocumentHead, write_rows};
use crate::entry_names::{EntryName, arrival_name};
use crate::error::Error;
use crate::numbers::{counted, grouped, shortened};
use crate::profile_report::ProfileReport;
use crate::result_table::{Cell, Column, Kind, Table};
use crate::returns::returns_text;
use crate::text_table::wrapped;
use serde::Serialize;
use std::collections::BTreeSet;
use strata_sim::{Flow, FlowQuery, FlowRow, Names, ReturnReport, Stage};
use strata_symbols::Layer;

/// A flow, and what was asked for.
#[derive(Clone, Debug)]
pub struct FlowReport {
    /// Of what.
    pub report: ProfileReport,
    /// Its rows.
    pub flow: Flow,
    /// What they are called.
    pub names: Names,
    /// How well returns could be followed.
    pub returns: ReturnReport,
    /// What was asked for.
    pub query: FlowQuery,
    /// The built-in stage that was asked for, if it was one.
    pub stage: Option<Stage>,
    /// Triggers that stand for several functions, a sentence each.
    pub ambiguous: Vec<String>,
}

/// Deepest indentation of a table, in frames.
const DEEPEST: i64 = 24;

/// Longest function name shown; CSV and JSON have all of it.
const FUNCTION_WIDTH: usize = 56;
const MODULE_WIDTH: usize = 14;

#[derive(Serialize)]
struct Head<'a> {
    #[serde(flatten)]
    head: DocumentHead<'a>,
    stage: Option<&'static str>,
    from: String,
    via: Vec<String>,
    to: Option<String>,
    nth: u64,
    /// Instructions of the stream before its first row.
    at: u64,
    flow_instructions: u64,
    elided: u64,
    hidden: u64,
    ambiguous: &'a [String],
}

#[derive(Serialize)]
struct Row<'a> {
    address: String,
    function: &'a str,
    module: Option<&'a str>,
    layer: Layer,
    instructions: u64,
    depth: i64,
    cpu: u16,
    arrival: &'static str,
    elided_after: u64,
}

impl FlowReport {
    fn name(&self, row: &FlowRow) -> EntryName<'_> {
        EntryName::of(row.path, &self.names)
    }

    /// As a table of at most `top` rows, indented by depth, with what was replayed.
    pub fn to_text(&self, top: Option<usize>) -> String {
        let flow = &self.flow;
        let mut said = self.title();
        said.push_str(&format!(
            ", from instruction {}: {}, {}",
            grouped(flow.at),
            counted(flow.rows.len() as u64, "row"),
            counted(flow.instructions, "instruction"),
        ));
        if flow.elided > 0 {
            said.push_str(&format!("; {} left out as repetitions", grouped(flow.elided)));
        }
        if flow.hidden > 0 {
            said.push_str(&format!("; {} hidden by layer, CPU or depth", grouped(flow.hidden)));
        }
        let mut out = self.report.head_text();
        out.push_str(&wrapped("flow", &said));
        out.push('\n');
        out.push_str(&self.table(top));
        out.push('\n');
        for sentence in &self.ambiguous {
            out.push_str(&wrapped("note", sentence));
        }
        out.push_str(&returns_text(&self.returns));
        out.push_str(&self.report.foot_text());
        out
    }

    fn title(&self) -> String {
        let stage = self.stage.map(|stage| format!("stage {stage}, ")).unwrap_or_default();
        let via: String = self.query.via.iter().map(|trigger| format!(" via {trigger}")).collect();
        let to = self.query.to.as_ref().map(|trigger| format!(" to {trigger}")).unwrap_or_default();
        format!("{stage}{}{via}{to}, number {}", self.query.from, self.query.nth)
    }

    fn table(&self, top: Option<usize>) -> String {
        let shown = top.unwrap_or(usize::MAX).min(self.flow.rows.len());
        // Numbers stand left of the names, which are of any width.
        let width = |number: u64| grouped(number).len();
        let count_width = width(self.flow.instructions).max("instructions".len());
        let layers = self.flow.rows[..shown].iter().map(|row| self.name(row).layer);
        let layer_width = layers.map(|layer| layer.to_string().len()).max().unwrap_or(0).max(5);
        // Of several CPUs the rows lie in between one another.
        let cpus: BTreeSet<u16> = self.flow.rows.iter().map(|row| row.cpu).collect();
        let cpu = |text: &dyn std::fmt::Display| match cpus.len() {
            0 | 1 => String::new(),
            _ => format!("{text:>3}  "),
        };
        let blank = count_width + layer_width + MODULE_WIDTH + 18 + 8 + cpu(&"").len();
        let mut out = format!(
            "{:>count_width$}  {}{:<layer_width$}  {:<MODULE_WIDTH$}  {:<18}  {}\n",
            "instructions",
            cpu(&"CPU"),
            "layer",
            "module",
            "address",
            "function"
        );
        out.push_str(&"─".repeat(blank + 24));
        out.push('\n');
        // What is below the first row stands left of it.
        let lowest = self.flow.rows[..shown].iter().map(|row| row.depth).min().unwrap_or(0).min(0);
        for row in &self.flow.rows[..shown] {
            let name = self.name(row);
            let indent = " ".repeat(2 * (row.depth - lowest).clamp(0, DEEPEST) as usize);
            out.push_str(&format!(
                "{:>count_width$}  {}{:<layer_width$}  {:<MODULE_WIDTH$}  {:#018x}  {indent}{}\n",
                grouped(row.instructions),
                cpu(&row.cpu),
                name.layer,
                shortened(name.module_or_dash(), MODULE_WIDTH),
                row.address,
                shortened(name.function, FUNCTION_WIDTH),
            ));
            if row.elided > 0 {
                let rows = counted(row.elided, "row");
                out.push_str(&format!("{}{indent}… {rows} left out\n", " ".repeat(blank)));
            }
        }
        if shown < self.flow.rows.len() {
            let left = (self.flow.rows.len() - shown) as u64;
            out.push_str(&format!("({} more; --top all shows them)\n", counted(left, "row")));
        }
        out
    }

    /// As CSV.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_csv(&self, top: Option<usize>) -> Result<String, Error> {
        self.to_table(top).to_csv()
    }

    /// The same as a table, which can be written in other formats too.
    pub fn to_table(&self, top: Option<usize>) -> Table<'_> {
        let mut columns = Column::texts(["address", "function", "module", "layer"]);
        columns.push(Column::new("instructions", Kind::Whole));
        columns.push(Column::new("depth", Kind::Signed));
        columns.push(Column::new("cpu", Kind::Whole));
        columns.push(Column::new("arrival", Kind::Text));
        columns.push(Column::new("elided_after", Kind::Whole));
        let rows = self.flow.rows.iter().take(top.unwrap_or(usize::MAX)).map(|row| {
            let name = self.name(row);
            Ok(vec![
                Cell::Text(format!("{:#x}", row.address)),
                name.function.into(),
                Cell::text(name.module),
                Cell::Text(name.layer.to_string()),
                Cell::Whole(row.instructions),
                Cell::Signed(row.depth),
                Cell::Whole(row.cpu.into()),
                arrival_name(row.arrival).into(),
                Cell::Whole(row.elided),
            ])
        });
        Table::new("flow", self.report.origin(), columns, rows).carrying(&[
            ("machine", "machine"),
            ("trace_hash", "trace_hash"),
            ("semantics", "semantics"),
            ("command", "command"),
            ("version", "version"),
            ("units", "units"),
        ])
    }

    /// As one JSON object.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self, top: Option<usize>) -> Result<String, Error> {
        let (query, flow) = (&self.query, &self.flow);
        let head = Head {
            head: DocumentHead::new("flow", &self.report, &self.returns),
            stage: self.stage.map(Stage::name),
            from: query.from.to_string(),
            via: query.via.iter().map(ToString::to_string).collect(),
            to: query.to.as_ref().map(ToString::to_string),
            nth: query.nth,
            at: flow.at,
            flow_instructions: flow.instructions,
            elided: flow.elided,
            hidden: flow.hidden,
            ambiguous: &self.ambiguous,
        };
        let rows = flow.rows.iter().take(top.unwrap_or(usize::MAX)).map(|row| {
            let name = self.name(row);
            Ok(Row {
                address: format!("{:#x}", row.address),
                function: name.function,
                module: name.module,
                layer: name.layer,
                instructions: row.instructions,
                depth: row.depth,
                cpu: row.cpu,
                arrival: arrival_name(row.arrival),
                elided_after: row.elided,
            })
        });
        let mut out = Vec::new();
        write_rows(&head, rows, &mut out)?;
        String::from_utf8(out)
            .map_err(|error| Error::Format { format: "JSON", message: error.to_string() })
    }
}
