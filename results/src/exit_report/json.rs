//! The whole as one JSON object.

use super::{ExitPhases, ExitResult, by_name, isa_name, window_name};
use crate::error::Error;
use crate::profile_json::to_pretty;
use serde::Serialize;
use serde_json::{Map, Value, json};
use strata_exits::{Coverage, Distribution, Row, RunState, Sums};

/// Scripts rely on these keys: add, never rename.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'static str,
    version: &'static str,
    source: &'a str,
    format: &'static str,
    machine: Option<()>,
    /// What a row's time is.
    semantics: &'static str,
    trace_hash: Option<&'a str>,
    patches: &'a [String],
    notes: Vec<String>,
    unit: &'static str,
    by: &'static str,
    waiting: &'static str,
    isa: Option<&'static str>,
    isa_guessed: bool,
    begin: u64,
    end: u64,
    percentile_error: f64,
    edges: &'a [u64],
    rows: Vec<Value>,
    total: Value,
    without_key: u64,
    unmatched: u64,
    unmatched_by: Value,
    lost: u64,
    vcpus: Vec<Value>,
    paravirtual: Vec<Value>,
    breakdown: Option<Value>,
    coverage: Value,
}

impl ExitResult {
    /// Everything; at most `top` rows.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self, top: Option<usize>) -> Result<String, Error> {
        let report = &self.report;
        let unmatched = &report.unmatched;
        let rows = report.rows.iter().take(top.unwrap_or(usize::MAX));
        to_pretty(&Document {
            schema: 1,
            command: "exits",
            version: env!("CARGO_PKG_VERSION"),
            source: &self.source,
            format: self.format,
            machine: None,
            semantics: window_name(report.options.window),
            trace_hash: self.trace_hash.as_deref(),
            patches: &self.patches,
            notes: self.notes(),
            unit: report.unit.name(),
            by: by_name(report.options.by),
            waiting: match (report.has_run_states, report.options.exclude_waiting) {
                (false, _) => "not told",
                (true, true) => "excluded",
                (true, false) => "included",
            },
            isa: isa_name(report.isa),
            isa_guessed: report.isa_guessed,
            begin: report.span.0,
            end: report.span.1,
            percentile_error: strata_exits::PERCENTILE_ERROR,
            edges: &report.options.edges,
            rows: rows.map(|row| self.row(row)).collect(),
            total: self.sums(&report.total),
            without_key: report.without_key,
            unmatched: unmatched.all_exits(),
            unmatched_by: json!({
                "exits": unmatched.exits,
                "at_end": unmatched.at_end,
                "lost": unmatched.lost,
                "backwards": unmatched.backwards,
                "entries": unmatched.entries,
            }),
            lost: report.coverage.lost,
            vcpus: report.vcpus.iter().map(|row| self.vcpu(row)).collect(),
            paravirtual: report
                .paravirtual
                .iter()
                .map(|row| {
                    json!({
                        "vcpu": row.vcpu.map(|vcpu| vcpu.to_string()),
                        "entry": row.entry.class(),
                        "number": row.entry.number(),
                        "name": row.entry.name(),
                        "count": row.count,
                        "total": null,
                    })
                })
                .collect(),
            breakdown: self.phases.as_ref().map(ExitPhases::to_json),
            coverage: coverage(&report.coverage, report.unknown_reasons),
        })
    }

    fn row(&self, row: &Row) -> Value {
        let shares = self.shares(row);
        let mut value = json!({
            "key": row.name,
            "count_percent": shares.count,
            "time_percent": shares.time,
            "listed_count_percent": shares.listed_count,
            "listed_time_percent": shares.listed_time,
            "elapsed_percent": shares.elapsed,
        });
        if let (Value::Object(keys), Value::Object(sums)) = (&mut value, self.sums(&row.sums)) {
            keys.extend(sums);
            let parts = row.parts.iter().map(|part| {
                let mut value = self.sums(&part.sums);
                value["key"] = part.name.clone().into();
                value
            });
            keys.insert("parts".to_owned(), parts.collect());
        }
        value
    }

    fn sums(&self, sums: &Sums) -> Value {
        let mut keys = durations(&sums.durations);
        let edged = !self.report.options.edges.is_empty();
        let more = [
            ("blocked", json!(self.waiting(sums.blocked))),
            ("preempted", json!(self.waiting(sums.preempted))),
            ("userspace", json!(self.told_userspace(sums.userspace))),
            ("emulated", json!(sums.emulated)),
            ("interrupted", json!(sums.interrupted)),
            (
                "userspace_and_interrupted",
                json!(self.told_userspace(sums.userspace_and_interrupted)),
            ),
            ("bins", if edged { json!(sums.bins) } else { Value::Null }),
        ];
        keys.extend(more.map(|(key, value)| (key.to_owned(), value)));
        Value::Object(keys)
    }

    fn vcpu(&self, row: &strata_exits::VcpuRow) -> Value {
        let times = &row.times;
        let handling = times.outside.saturating_sub(times.blocked + times.preempted);
        let states = RunState::ALL.into_iter().filter_map(|state| {
            let stays = row.run_states.stays(state);
            let mut keys = durations(stays);
            keys.insert("state".to_owned(), state.name().into());
            (stays.count() > 0).then_some(Value::Object(keys))
        });
        json!({
            "vcpu": row.name.to_string(),
            "exits": times.exits,
            "entries": times.entries,
            "guest": times.guest,
            "handling": handling,
            "blocked": self.waiting(times.blocked),
            "preempted": self.waiting(times.preempted),
            "run_states": states.collect::<Vec<_>>(),
        })
    }
}

/// `{ "count", "total", "mean", "median", "p95", "p99", "max", "min" }`.
pub(crate) fn durations(all: &Distribution) -> Map<String, Value> {
    let keys = [
        ("count", json!(all.count())),
        ("total", json!(all.total())),
        ("mean", json!(all.mean())),
        ("median", json!(all.percentile(0.5))),
        ("p95", json!(all.percentile(0.95))),
        ("p99", json!(all.percentile(0.99))),
        ("max", json!(all.maximum())),
        ("min", json!(all.minimum())),
    ];
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What was understood of a trace.
pub(crate) fn coverage(coverage: &Coverage, unknown_reasons: u64) -> Value {
    json!({
        "records": coverage.records,
        "skipped": coverage.skipped,
        "malformed": coverage.malformed,
        "first_malformed": coverage.first_malformed,
        "skipped_bytes": coverage.skipped_bytes,
        "lost": coverage.lost,
        "losses": coverage.losses,
        "unattributed": coverage.unattributed,
        "clock_steps": coverage.clock_steps,
        "unknown_reasons": unknown_reasons,
        "truncated": coverage.truncated,
    })
}
