//! A timeline as one JSON object.

use super::TimelineReport;
use crate::document_head::DocumentHead;
use crate::error::Error;
use crate::profile_json::to_pretty;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use strata_sim::Misses;

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    head: DocumentHead<'a>,
    unit: &'static str,
    begin: u64,
    window: u64,
    after_instructions: u64,
    bin: u64,
    near: u64,
    correlation_bin: u64,
    confidence: f64,
    total: Value,
    notes: Vec<String>,
    windows: Vec<Box<RawValue>>,
    marks: Vec<Box<RawValue>>,
    after: Vec<Box<RawValue>>,
    correlation: Vec<Box<RawValue>>,
}

/// Share of the probability that confidence intervals cover.
const CONFIDENCE: f64 = 0.95;

impl TimelineReport {
    /// Everything. Numbers of misses are keyed by structure.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, Error> {
        let timeline = &self.timeline;
        let options = &timeline.options;
        let windows = self.windows().map(|(window, sum, _)| {
            let layers = timeline.layers.iter().zip(&window.by_layer);
            let layers = layers.map(|(layer, misses)| (layer.to_string(), self.misses(misses)));
            json!({
                "from": window.from,
                "to": window.to,
                "misses": self.misses(&window.misses),
                "cumulative": self.misses(&sum),
                "by_layer": layers.collect::<Map<_, _>>(),
            })
        });
        let marks = timeline.marks.iter().map(
            |mark| json!({"at": mark.at, "kind": mark.kind.name(), "operations": mark.operations}),
        );
        let after = timeline.after.iter().map(|after| {
            let bins = after.bins.iter().map(|bin| {
                let estimates = self.by_structure(|s| {
                    let estimate = bin.misses[s];
                    json!({
                        "mean": estimate.mean,
                        "half_width": estimate.half_width,
                        "anywhere": bin.anywhere[s],
                    })
                });
                json!({"from": bin.from, "to": bin.to, "misses": estimates})
            });
            json!({
                "kind": after.kind.name(),
                "events": after.events,
                "cut": after.cut,
                "overlapping": after.overlapping,
                "bins": bins.collect::<Vec<_>>(),
            })
        });
        let correlation = timeline.correlations.iter().map(|figures| {
            json!({
                "kind": figures.kind.name(),
                "events": figures.events,
                "near_instructions": figures.near_instructions,
                "near_misses": self.misses(&figures.near_misses),
                "lift": self.by_structure(|s| json!(figures.lift[s])),
                "pearson": self.by_structure(|s| json!(figures.pearson[s])),
            })
        });
        to_pretty(&Document {
            head: DocumentHead::plain("timeline", &self.report),
            unit: "instructions",
            begin: timeline.begin,
            window: options.window,
            after_instructions: options.after,
            bin: options.bin,
            near: options.near,
            correlation_bin: options.correlation_bin,
            confidence: CONFIDENCE,
            total: self.misses(&timeline.total()),
            notes: self.notes(),
            windows: raw(windows)?,
            marks: raw(marks)?,
            after: raw(after)?,
            correlation: raw(correlation)?,
        })
    }

    fn misses(&self, misses: &Misses) -> Value {
        self.by_structure(|structure| misses[structure].into())
    }

    fn by_structure(&self, value: impl Fn(usize) -> Value) -> Value {
        let structures = self.structures().into_iter();
        let pairs = structures.map(|s| (s.key().to_owned(), value(s as usize)));
        Value::Object(pairs.collect())
    }
}

/// Each value on a line of its own.
fn raw(values: impl Iterator<Item = Value>) -> Result<Vec<Box<RawValue>>, Error> {
    let failed =
        |error: serde_json::Error| Error::Format { format: "JSON", message: error.to_string() };
    values.map(|value| serde_json::value::to_raw_value(&value).map_err(failed)).collect()
}
