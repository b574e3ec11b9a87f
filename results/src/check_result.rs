//! What a check of a trace found, as text and JSON.

use crate::error::Error;
use crate::numbers::{counted, grouped};
use crate::profile_json::to_pretty;
use crate::result_table::{Table, number_columns};
use crate::text_table::wrapped;
use crate::units::unit_of;
use serde::Serialize;
use strata_workloads::trace::{CheckReport, SalvageReport};

/// A trace held to its laws.
#[derive(Debug)]
pub struct CheckResult {
    /// The capture as the user named it.
    pub source: String,
    /// What was found.
    pub report: CheckReport,
}

/// Scripts rely on these keys: add, never rename.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'static str,
    version: &'static str,
    source: &'a str,
    sound: bool,
    instructions: u64,
    chunks: u64,
    bytes: u64,
    trace_hash: String,
    undecoded_instructions: u64,
    broken: Vec<BrokenLaw>,
    findings: Vec<Breach<'a>>,
}

#[derive(Serialize)]
struct BrokenLaw {
    law: &'static str,
    times: u64,
}

#[derive(Serialize)]
struct Breach<'a> {
    law: &'static str,
    instructions: u64,
    what: &'a str,
}

impl CheckResult {
    /// One object with everything.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, Error> {
        let report = &self.report;
        to_pretty(&Document {
            schema: 1,
            command: "check",
            version: env!("CARGO_PKG_VERSION"),
            source: &self.source,
            sound: report.is_sound(),
            instructions: report.ending.totals.instructions,
            chunks: report.chunks,
            bytes: report.bytes,
            trace_hash: report.ending.hash_text(),
            undecoded_instructions: report.undecoded_instructions,
            broken: report
                .broken
                .iter()
                .map(|(law, &times)| BrokenLaw { law: law.text(), times })
                .collect(),
            findings: report
                .findings
                .iter()
                .map(|finding| Breach {
                    law: finding.law.text(),
                    instructions: finding.instructions,
                    what: &finding.what,
                })
                .collect(),
        })
    }

    /// A row for each number of the whole, and for each broken law how often it is.
    pub fn to_table(&self) -> Table<'static> {
        let report = &self.report;
        let mut rows = Vec::new();
        for (name, count) in [
            ("instructions", report.ending.totals.instructions),
            ("chunks", report.chunks),
            ("bytes", report.bytes),
            ("undecoded_instructions", report.undecoded_instructions),
        ] {
            rows.push(Ok(vec!["total".into(), name.into(), count.into(), unit_of(name).into()]));
        }
        for (law, &times) in &report.broken {
            let law = law.text();
            rows.push(Ok(vec!["broken".into(), law.into(), times.into(), "count".into()]));
        }
        let origin = vec![("trace_hash", report.ending.hash_text())];
        Table::new("check", origin, number_columns(), rows.into_iter())
    }

    /// A verdict, and each breach found.
    pub fn to_text(&self) -> String {
        let report = &self.report;
        let mut out = wrapped(
            "trace",
            &format!(
                "{}, {} in {}, {}, hash {}",
                self.source,
                counted(report.ending.totals.instructions, "instruction"),
                counted(report.chunks, "chunk"),
                counted(report.bytes, "byte"),
                report.ending.hash_text()
            ),
        );
        if report.undecoded_instructions > 0 {
            let number = counted(report.undecoded_instructions, "defined instruction");
            out.push_str(&wrapped("note", &format!("{number} of unknown encoding")));
        }
        if report.is_sound() {
            out.push_str(&wrapped("sound", "every checksum, every total and every law holds"));
        }
        for (law, times) in &report.broken {
            out.push_str(&wrapped("broken", &format!("{} times: {}", grouped(*times), law.text())));
        }
        for finding in &report.findings {
            let at = grouped(finding.instructions);
            out.push_str(&wrapped("found", &format!("before instruction {at}: {}", finding.what)));
        }
        out
    }
}

/// What a salvage kept and lost, in a few lines.
pub fn salvage_text(source: &str, output: &str, report: &SalvageReport) -> String {
    let kept = &report.kept;
    let mut out = wrapped(
        "kept",
        &format!(
            "{} of {source} as {output}, {}, hash {}",
            counted(kept.totals.instructions, "instruction"),
            counted(report.bytes, "byte"),
            kept.hash_text()
        ),
    );
    match &report.first_error {
        None => out.push_str(&wrapped("lost", "nothing: the trace is whole")),
        Some(error) => {
            let gaps = counted(report.gaps, "damaged chunk");
            let lost = counted(report.lost_instructions, "instruction");
            out.push_str(&wrapped(
                "lost",
                &format!("{gaps} of {lost}, each now a gap; the first damage: {error}"),
            ));
        }
    }
    if let Some(error) = &report.last_error {
        out.push_str(&wrapped("lost", &format!("everything from there on: {error}")));
    }
    out
}
