//! What every JSON document says of itself before its results. Scripts rely on these keys.

use crate::error::Error;
use crate::profile_json::to_pretty;
use crate::profile_report::ProfileReport;
use crate::returns::Returns;
use serde::Serialize;
use std::io::{self, Write};
use strata_cachemodel::Machine;
use strata_sim::ReturnReport;

/// Version of the layout.
const SCHEMA: u32 = 1;

/// Machine, trace and what to know of them.
#[derive(Serialize)]
pub(crate) struct DocumentHead<'a> {
    schema: u32,
    command: &'static str,
    version: &'static str,
    source: &'a str,
    scenario: Option<&'a str>,
    machine: &'a Machine,
    semantics: String,
    event_delivery: String,
    trace_hash: Option<&'a str>,
    range: Range,
    warm_up: u64,
    truncated: Option<&'a str>,
    patches: &'a [String],
    remarks: Vec<String>,
    /// What the trace does not know; what depends on it is null.
    lacks: Vec<&'static str>,
    /// Of everything that was replayed.
    instructions: Option<u64>,
    /// Where calls were followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    returns: Option<Returns>,
}

#[derive(Serialize)]
struct Range {
    from: u64,
    to: Option<u64>,
}

impl<'a> DocumentHead<'a> {
    /// Of a command that follows calls.
    pub(crate) fn new(
        command: &'static str,
        report: &'a ProfileReport,
        returns: &ReturnReport,
    ) -> Self {
        DocumentHead { returns: Some(returns.into()), ..DocumentHead::plain(command, report) }
    }

    /// Of one that follows none.
    pub(crate) fn plain(command: &'static str, report: &'a ProfileReport) -> Self {
        let (provenance, known) = (&report.provenance, report.known());
        let machine = &report.profile.machine;
        DocumentHead {
            schema: SCHEMA,
            command,
            version: env!("CARGO_PKG_VERSION"),
            source: &provenance.source,
            scenario: provenance.manifest.as_ref().map(|manifest| manifest.scenario.as_str()),
            machine,
            semantics: machine.semantics().to_string(),
            event_delivery: machine.event_delivery().to_string(),
            trace_hash: provenance.trace_hash.as_deref(),
            range: Range { from: provenance.from, to: provenance.to },
            warm_up: provenance.warm_up,
            truncated: provenance.truncated.as_deref(),
            patches: provenance.patches(),
            remarks: report.remarks(),
            lacks: provenance.lacks.texts().collect(),
            instructions: known.instructions().then_some(report.profile.total.instructions),
            returns: None,
        }
    }
}

/// Writes one object: the keys of `head`, then `rows`, one on a line, as they come.
///
/// # Errors
/// Those of the rows; [`Error::Format`] and [`Error::Output`] if they cannot be written.
pub(crate) fn write_rows<R: Serialize>(
    head: &impl Serialize,
    rows: impl Iterator<Item = Result<R, Error>>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    write_list(head, "rows", rows, out)
}

/// The same with the rows under another key.
///
/// # Errors
/// As [`write_rows`].
pub(crate) fn write_list<R: Serialize>(
    head: &impl Serialize,
    key: &str,
    rows: impl Iterator<Item = Result<R, Error>>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let head = to_pretty(head)?;
    // Its closing brace comes after the rows.
    let open = head.trim_end().trim_end_matches('}').trim_end();
    write!(out, "{open},\n  \"{key}\": [").map_err(Error::Output)?;
    for (number, row) in rows.enumerate() {
        let row = row?;
        out.write_all(if number == 0 { b"\n    " } else { b",\n    " }).map_err(Error::Output)?;
        serde_json::to_writer(&mut *out, &row).map_err(json_error)?;
    }
    out.write_all(b"\n  ]\n}\n").map_err(Error::Output)
}

fn json_error(error: serde_json::Error) -> Error {
    match error.io_error_kind() {
        Some(kind) => Error::Output(io::Error::from(kind)),
        None => Error::Format { format: "JSON", message: error.to_string() },
    }
}

/// An error of a CSV writer whose own is the system's.
pub(crate) fn csv_error(error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::Output(error),
        other => Error::Format { format: "CSV", message: format!("{other:?}") },
    }
}
