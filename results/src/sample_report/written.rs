//! A statistical profile as text, rows and JSON.

use super::{CONFIDENCE, SampleReport, SampleRow};
use crate::document_head::DocumentHead;
use crate::error::Error;
use crate::numbers::{NOT_AVAILABLE, counted, grouped, rate};
use crate::profile_json::to_pretty;
use crate::result_table::{Cell, Column, Kind, Table};
use crate::selection::By;
use crate::text_table::{TextTable, wrapped};
use serde::Serialize;
use strata_symbols::Layer;

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    head: DocumentHead<'a>,
    event: &'static str,
    unit: &'static str,
    every: u64,
    skid: u64,
    random_seed: Option<u64>,
    confidence: f64,
    samples: u64,
    lost: u64,
    events: f64,
    /// Rows, and how many of them have their exact share in their interval.
    rows_in_all: usize,
    rows_inside: usize,
    /// Half the sum of all differences of shares.
    distance_percent: f64,
    hardware: Option<Hardware>,
    grouped_by: &'static str,
    layers: &'a [Layer],
    rows: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Hardware {
    tool: &'static str,
    rows: usize,
    skipped: u64,
    overlap_percent: f64,
    unmatched_percent: f64,
}

#[derive(Serialize)]
struct Entry<'a> {
    layer: Layer,
    module: Option<&'a str>,
    function: Option<&'a str>,
    address: Option<String>,
    instructions: u64,
    samples: u64,
    share_percent: f64,
    low_percent: f64,
    high_percent: f64,
    estimated_events: u64,
    events: f64,
    exact_share_percent: f64,
    is_inside: bool,
    hardware_percent: Option<f64>,
}

impl SampleReport {
    /// Rows, and how far they are from the exact counts.
    pub fn to_text(&self) -> String {
        let mut out = self.report.head_text();
        let options = &self.sampling.options;
        let interval = match options.random {
            None => String::new(),
            Some(seed) => format!(" on average (random, seed {seed})"),
        };
        let mut how = format!(
            "{}, one every {} {}{interval}, {} later",
            counted(self.sampling.taken, "sample"),
            grouped(options.every),
            self.unit(),
            counted(options.skid, "instruction"),
        );
        if self.sampling.lost > 0 {
            how.push_str(&format!("; {} lost behind the end", grouped(self.sampling.lost)));
        }
        out.push_str(&wrapped("sampled", &how));
        let exact = format!("{} {}", grouped(self.events.round() as u64), self.unit());
        out.push_str(&wrapped("exactly", &exact));
        out.push('\n');
        out.push_str(&self.rows_text());
        out.push('\n');
        for (label, text) in self.findings() {
            out.push_str(&wrapped(label, &text));
        }
        out.push_str(&self.report.remarks_text());
        out
    }

    fn rows_text(&self) -> String {
        let by = self.selection.by;
        let mut names = vec!["layer".to_owned()];
        if by != By::Layer {
            names.push("module".to_owned());
        }
        if by.names_functions() {
            names.push("function".to_owned());
        }
        let columns = names.len();
        names.extend(
            ["samples", "share %", "95 % from", "to", "exactly %", "error", "inside"]
                .map(str::to_owned),
        );
        names.extend(self.hardware.as_ref().map(|_| "hardware %".to_owned()));
        let mut table = TextTable::new(columns);
        table.header(names);
        let mut shown = 0;
        for row in self.shown() {
            shown += 1;
            let name =
                |name: &Option<String>| name.clone().unwrap_or_else(|| NOT_AVAILABLE.to_owned());
            let mut cells = vec![row.layer.to_string()];
            if by != By::Layer {
                cells.push(name(&row.module));
            }
            if by.names_functions() {
                cells.push(name(&row.function));
            }
            cells.push(grouped(row.samples));
            let [low, high] = row.interval;
            cells.extend([row.share, low, high, row.exact_share].map(|share| rate(Some(share))));
            cells.push(format!("{:+.2}", row.error()));
            cells.push(if row.is_inside() { "yes" } else { "no" }.to_owned());
            if self.hardware.is_some() {
                cells.push(rate(row.hardware));
            }
            table.row(cells);
        }
        let mut out = table.to_string();
        if shown < self.rows.len() {
            let more = counted((self.rows.len() - shown) as u64, "row");
            out.push_str(&format!("({more} more)\n"));
        }
        out
    }

    fn findings(&self) -> Vec<(&'static str, String)> {
        let mut found = vec![(
            "error",
            format!(
                "{} of {} rows have their exact share in their interval; {} % of the samples are \
                 elsewhere than the events",
                grouped(self.inside() as u64),
                grouped(self.rows.len() as u64),
                rate(Some(self.distance())),
            ),
        )];
        if let Some(worst) = self.worst() {
            let name = worst.function.as_ref().or(worst.module.as_ref());
            let name = name
                .map_or_else(|| worst.layer.to_string(), |name| format!("{}:{name}", worst.layer));
            found.push(("worst", format!("{name}, {:+.2} percentage points", worst.error())));
        }
        if let Some((profile, overlap)) = &self.hardware {
            found.push((
                "hardware",
                format!(
                    "{} of {}: {} % of it in common with the samples, {} % in functions that the \
                     replay has not met",
                    counted(profile.rows.len() as u64, "row"),
                    profile.tool,
                    rate(Some(overlap.percent)),
                    rate(Some(overlap.unmatched)),
                ),
            ));
        }
        found.push((
            "interval",
            "of Wilson, 95 %, samples taken for independent; equal intervals are not where code \
             repeats in step with them (--random)"
                .to_owned(),
        ));
        found
    }

    /// The rows shown.
    pub fn to_table(&self) -> Table<'_> {
        let mut columns = Column::texts(["layer", "module", "function", "address"]);
        columns.extend(Column::counts(["instructions", "samples"]));
        let real = |name: &str| Column::new(name, Kind::Real);
        columns.extend(["share_percent", "low_percent", "high_percent"].map(real));
        columns.extend(Column::counts(["estimated_events"]));
        columns.extend(["events", "exact_share_percent"].map(real));
        columns.push(Column::new("is_inside", Kind::Text));
        columns.push(real("hardware_percent"));
        let rows = self.shown().map(|row| {
            let [low, high] = row.interval;
            Ok(vec![
                row.layer.to_string().into(),
                Cell::text(row.module.as_deref()),
                Cell::text(row.function.as_deref()),
                Cell::text(address(row).as_deref()),
                row.instructions.into(),
                row.samples.into(),
                Cell::Real(row.share),
                Cell::Real(low),
                Cell::Real(high),
                self.estimated(row).into(),
                Cell::Real(row.events),
                Cell::Real(row.exact_share),
                row.is_inside().to_string().into(),
                Cell::real(row.hardware),
            ])
        });
        let options = &self.sampling.options;
        let mut origin = self.report.origin();
        origin.push(("event", self.event.to_owned()));
        origin.push(("every", options.every.to_string()));
        origin.push(("skid_instructions", options.skid.to_string()));
        origin
            .push(("random_seed", options.random.map(|seed| seed.to_string()).unwrap_or_default()));
        Table::new("sample", origin, columns, rows)
    }

    /// One object with everything about the rows shown.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, Error> {
        let options = &self.sampling.options;
        let rows = self.shown().map(|row| Entry {
            layer: row.layer,
            module: row.module.as_deref(),
            function: row.function.as_deref(),
            address: address(row),
            instructions: row.instructions,
            samples: row.samples,
            share_percent: row.share,
            low_percent: row.interval[0],
            high_percent: row.interval[1],
            estimated_events: self.estimated(row),
            events: row.events,
            exact_share_percent: row.exact_share,
            is_inside: row.is_inside(),
            hardware_percent: row.hardware,
        });
        to_pretty(&Document {
            head: DocumentHead::plain("sample", &self.report),
            event: self.event,
            unit: self.unit(),
            every: options.every,
            skid: options.skid,
            random_seed: options.random,
            confidence: CONFIDENCE,
            samples: self.sampling.taken,
            lost: self.sampling.lost,
            events: self.events,
            rows_in_all: self.rows.len(),
            rows_inside: self.inside(),
            distance_percent: self.distance(),
            hardware: self.hardware.as_ref().map(|(profile, overlap)| Hardware {
                tool: profile.tool,
                rows: profile.rows.len(),
                skipped: profile.skipped,
                overlap_percent: overlap.percent,
                unmatched_percent: overlap.unmatched,
            }),
            grouped_by: self.selection.by.name(),
            layers: &self.selection.layers,
            rows: rows.collect(),
        })
    }

    /// Events that the samples of a row stand for.
    fn estimated(&self, row: &SampleRow) -> u64 {
        row.samples.saturating_mul(self.sampling.options.every)
    }
}

fn address(row: &SampleRow) -> Option<String> {
    row.address.map(|address| format!("{address:#x}"))
}
