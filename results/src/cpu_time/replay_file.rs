//! A result that `strata replay --format json` wrote, put into categories.

use super::{Categories, CpuTimeResult, CpuTimeSource, Gathering};
use crate::error::Error;
use crate::metric::Metric;
use serde::Deserialize;
use std::fs;
use std::path::Path;
use strata_sim::{Function, Name};

/// Version of the layout that can be read.
const SCHEMA: u64 = 1;

/// What is read of the result.
#[derive(Deserialize)]
struct ReplayFile {
    schema: u64,
    command: String,
    machine: NamedMachine,
    trace_hash: Option<String>,
    patches: Vec<String>,
    remarks: Vec<String>,
    grouped_by: String,
    instructions: Option<u64>,
    estimated_cycles: Option<f64>,
    #[serde(default)]
    by: Vec<FileRow>,
    others: Option<LeftOut>,
}

#[derive(Deserialize)]
struct NamedMachine {
    name: String,
}

#[derive(Deserialize)]
struct FileRow {
    layer: String,
    module: Option<String>,
    function: Option<String>,
    instructions: Option<u64>,
    estimated_cycles: Option<f64>,
}

#[derive(Deserialize)]
struct LeftOut {
    rows: u64,
}

impl FileRow {
    /// What the row is of. By layer or module, the names that it lacks are unknown.
    fn function(&self) -> Option<Function> {
        let unknown = || "unknown".to_owned();
        let name = self.module.as_ref().map(|module| Name {
            module: module.clone(),
            function: self.function.clone().unwrap_or_else(unknown),
            address: 0,
        });
        Some(Function { layer: self.layer.parse().ok()?, name })
    }
}

impl CpuTimeResult {
    /// The rows of a replay's JSON by category.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::NoResult`] or [`Error::OtherSchema`] if it is no such file or
    /// lacks rows; [`Error::CategorySum`] if categories do not sum to the whole.
    pub fn of_replay_file(
        path: &Path,
        metric: Metric,
        categories: &Categories,
    ) -> Result<Self, Error> {
        let no_result = |why: String| Error::NoResult { path: path.to_owned(), why };
        let bytes =
            fs::read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        let file: ReplayFile = serde_json::from_slice(&bytes).map_err(|error| {
            no_result(format!("it is none that strata replay --format json wrote: {error}"))
        })?;
        if file.schema != SCHEMA {
            let found = file.schema.to_string();
            return Err(Error::OtherSchema { path: path.to_owned(), found, known: SCHEMA });
        }
        if file.command != "replay" || !["function", "module", "layer"].contains(&&*file.grouped_by)
        {
            let (command, by) = (&file.command, &file.grouped_by);
            return Err(no_result(format!(
                "it is of {command} by {by}; categories of code are made of a replay by function, \
                 module or layer"
            )));
        }
        if let Some(LeftOut { rows }) = file.others {
            return Err(no_result(format!("it leaves out {rows} rows; make it with --top all")));
        }
        let is_estimate = metric == Metric::Cycles;
        let of = |instructions: Option<u64>, cycles: Option<f64>| match is_estimate {
            true => cycles,
            false => instructions.map(|count| count as f64),
        };
        let unit = if is_estimate { "cycles" } else { "instructions" };
        let Some(whole) = of(file.instructions, file.estimated_cycles) else {
            return Err(no_result(format!("it has no {}", metric.title())));
        };
        let mut gathering = Gathering::without_counts(categories);
        let mut sum = 0.0;
        for row in &file.by {
            let function =
                row.function().ok_or_else(|| no_result(format!("`{}` is no layer", row.layer)))?;
            let amount = of(row.instructions, row.estimated_cycles).unwrap_or(0.0);
            sum += amount;
            gathering.add(categories.place(|rule| rule.code(&function)), amount, None);
        }
        if (sum - whole).abs() > whole * 1e-9 {
            return Err(no_result(format!("its rows sum to {sum} and its total is {whole}")));
        }
        let source = CpuTimeSource {
            name: path.display().to_string(),
            format: "replay",
            trace_hash: file.trace_hash,
            patches: file.patches,
            machine: Some(file.machine.name),
            remarks: file.remarks,
            coverage: None,
        };
        gathering.finish((unit, is_estimate), source)
    }
}
