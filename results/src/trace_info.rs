//! What is in a trace, as text and JSON.

use crate::error::Error;
use crate::numbers::{NOT_AVAILABLE, counted, grouped, percent, rate};
use crate::profile_json::to_pretty;
use crate::result_table::{Cell, Table, number_columns};
use crate::text_table::{TextTable, wrapped};
use crate::trace_survey::TraceContents;
use crate::units::unit_of;
use serde::Serialize;
use std::collections::BTreeMap;
use strata_symbols::Layer;
use strata_workloads::manifest::CaptureManifest;
use strata_workloads::trace::Lacks;

/// A trace's contents, and what its file and its capture say.
#[derive(Clone, Debug)]
pub struct TraceInfo {
    /// The capture as the user named it.
    pub source: String,
    /// Free text in the trace's header.
    pub description: String,
    /// Digest of the contents in hexadecimal.
    pub trace_hash: String,
    /// Size of the trace in bytes.
    pub bytes: u64,
    /// Why the trace ends early, if it does.
    pub truncated: Option<String>,
    /// What the capture says of itself; `None` for a bare trace.
    pub manifest: Option<CaptureManifest>,
    /// What the trace does not know.
    pub lacks: Lacks,
    /// What was found in it.
    pub contents: TraceContents,
}

/// Scripts rely on these keys: add, never rename.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'static str,
    version: &'static str,
    /// The version too, under the name that it had first.
    strata: &'static str,
    source: &'a str,
    scenario: Option<&'a str>,
    guest_command: Option<&'a str>,
    deterministic: Option<bool>,
    patches: &'a [String],
    description: &'a str,
    trace_hash: &'a str,
    truncated: Option<&'a str>,
    /// What the trace does not know; what depends on it is null.
    lacks: Vec<&'static str>,
    instructions: Option<u64>,
    rep_iterations: u64,
    data_accesses: Option<u64>,
    blocks: u64,
    block_executions: u64,
    pages: u64,
    translations: u64,
    address_spaces: u64,
    cpus: u64,
    vcpus: u64,
    events: &'a BTreeMap<&'static str, u64>,
    bytes: u64,
    bytes_per_instruction: Option<f64>,
    virtual_time_ns: Option<u64>,
    layers: Vec<LayerEntry>,
    vcpu_list: Vec<VcpuEntry>,
}

#[derive(Serialize)]
struct LayerEntry {
    layer: Layer,
    instructions: u64,
}

#[derive(Serialize)]
struct VcpuEntry {
    vcpu: String,
    instructions: u64,
}

impl TraceInfo {
    fn bytes_per_instruction(&self) -> Option<f64> {
        let instructions = self.contents.totals.instructions;
        (instructions > 0).then(|| self.bytes as f64 / instructions as f64)
    }

    fn nanoseconds(&self) -> Option<u64> {
        self.contents.times.map(|(first, last)| last.saturating_sub(first))
    }

    /// One object with everything.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, Error> {
        let (contents, manifest) = (&self.contents, self.manifest.as_ref());
        to_pretty(&Document {
            schema: 1,
            command: "info",
            version: env!("CARGO_PKG_VERSION"),
            strata: env!("CARGO_PKG_VERSION"),
            source: &self.source,
            scenario: manifest.map(|manifest| manifest.scenario.as_str()),
            guest_command: manifest.map(|manifest| manifest.guest_command.as_str()),
            deterministic: manifest.map(|manifest| manifest.deterministic),
            patches: manifest.map_or(&[], |manifest| manifest.patches.as_slice()),
            description: &self.description,
            trace_hash: &self.trace_hash,
            truncated: self.truncated.as_deref(),
            lacks: self.lacks.texts().collect(),
            instructions: (!self.lacks.fetches).then_some(contents.totals.instructions),
            rep_iterations: contents.totals.rep_iterations,
            data_accesses: (!self.lacks.data).then_some(contents.totals.data_accesses),
            blocks: contents.blocks,
            block_executions: contents.totals.executions,
            pages: contents.pages,
            translations: contents.translations,
            address_spaces: contents.spaces,
            cpus: contents.cpus,
            vcpus: contents.vcpus.len() as u64,
            events: &contents.events,
            bytes: self.bytes,
            bytes_per_instruction: self.bytes_per_instruction(),
            virtual_time_ns: self.nanoseconds(),
            layers: contents
                .layers
                .iter()
                .map(|&(layer, instructions)| LayerEntry { layer, instructions })
                .collect(),
            vcpu_list: contents
                .vcpus
                .iter()
                .map(|&(vcpu, instructions)| VcpuEntry { vcpu: vcpu.to_string(), instructions })
                .collect(),
        })
    }

    /// A row for each number: of the whole, of a layer, of a vCPU, of events of a kind.
    pub fn to_table(&self) -> Table<'static> {
        let (contents, totals) = (&self.contents, &self.contents.totals);
        let mut rows = Vec::new();
        let mut add = |of: &str, name: &str, count: Option<u64>, unit: &str| {
            rows.push(Ok(vec![of.into(), name.into(), Cell::whole(count), unit.into()]));
        };
        for (name, count) in [
            ("instructions", (!self.lacks.fetches).then_some(totals.instructions)),
            ("rep_iterations", Some(totals.rep_iterations)),
            ("data_accesses", (!self.lacks.data).then_some(totals.data_accesses)),
            ("blocks", Some(contents.blocks)),
            ("block_executions", Some(totals.executions)),
            ("pages", Some(contents.pages)),
            ("translations", Some(contents.translations)),
            ("address_spaces", Some(contents.spaces)),
            ("cpus", Some(contents.cpus)),
            ("bytes", Some(self.bytes)),
            ("virtual_time_ns", self.nanoseconds()),
        ] {
            add("total", name, count, unit_of(name));
        }
        for (layer, count) in &contents.layers {
            add("layer", &layer.to_string(), Some(*count), "instructions");
        }
        for (vcpu, count) in &contents.vcpus {
            add("vcpu", &vcpu.to_string(), Some(*count), "instructions");
        }
        for (kind, &count) in &contents.events {
            add("event", kind, Some(count), "count");
        }
        let patches = self.manifest.as_ref().map_or(&[][..], |manifest| &manifest.patches);
        let origin = vec![
            ("trace_hash", self.trace_hash.clone()),
            ("trace_truncated", self.truncated.is_some().to_string()),
            ("guest_patches", patches.join("; ")),
            ("trace_lacks", self.lacks.texts().collect::<Vec<_>>().join("; ")),
        ];
        Table::new("info", origin, number_columns(), rows.into_iter())
    }

    /// Totals, then a table each of layers, vCPUs and events.
    pub fn to_text(&self) -> String {
        let contents = &self.contents;
        let mut out = self.head_text();
        let instructions = contents.totals.instructions;
        let share = |count: u64| percent(count, instructions);
        out.push('\n');
        out.push_str(&counts_table(
            ["layer", "instructions", "share %"],
            contents
                .layers
                .iter()
                .map(|(layer, count)| [layer.to_string(), grouped(*count), share(*count)]),
        ));
        out.push('\n');
        out.push_str(&counts_table(
            ["vCPU", "instructions", "share %"],
            contents
                .vcpus
                .iter()
                .map(|(vcpu, count)| [vcpu.to_string(), grouped(*count), share(*count)]),
        ));
        let rate_of = |count: u64| {
            let rate_of = |n| count as f64 * 1e6 / n as f64;
            rate((instructions > 0).then(|| rate_of(instructions)))
        };
        let events = contents.events.iter().filter(|&(_, &count)| count > 0);
        out.push('\n');
        out.push_str(&counts_table(
            ["event", "count", "per million instructions"],
            events.map(|(kind, &count)| [kind.replace('_', " "), grouped(count), rate_of(count)]),
        ));
        out
    }

    fn head_text(&self) -> String {
        let (contents, totals) = (&self.contents, &self.contents.totals);
        let mut lines: Vec<(&str, String)> = Vec::new();
        if let Some(manifest) = &self.manifest {
            let again = if manifest.deterministic { "deterministic" } else { "not deterministic" };
            lines.push((
                "capture",
                format!("{} ({again}): {}", manifest.scenario, manifest.guest_command),
            ));
            lines.extend(manifest.result.iter().map(|line| ("result", line.clone())));
            lines.extend(manifest.patches.iter().map(|patch| ("patched", patch.clone())));
        }
        lines.push(("trace", format!("{}, hash {}", self.source, self.trace_hash)));
        if !self.description.is_empty() {
            lines.push(("made by", self.description.clone()));
        }
        if !self.lacks.is_nothing() {
            lines.push(("lacks", self.lacks.texts().collect::<Vec<_>>().join(", ")));
        }
        let per = self.bytes_per_instruction();
        let per = per.map_or_else(|| NOT_AVAILABLE.to_owned(), |bytes| format!("{bytes:.3}"));
        lines
            .push(("size", format!("{}, {per} for each instruction", counted(self.bytes, "byte"))));
        lines.push((
            "executed",
            format!(
                "{}, {}, {}",
                match self.lacks.fetches {
                    true => format!("{NOT_AVAILABLE} instructions"),
                    false => counted(totals.instructions, "instruction"),
                },
                counted(totals.rep_iterations, "rep iteration"),
                match self.lacks.data {
                    true => format!("{NOT_AVAILABLE} data accesses"),
                    false => format!("{} data accesses", grouped(totals.data_accesses)),
                },
            ),
        ));
        let length =
            (totals.executions > 0).then(|| totals.instructions as f64 / totals.executions as f64);
        lines.push((
            "blocks",
            format!(
                "{} defined, {} executed, {} instructions each",
                grouped(contents.blocks),
                grouped(totals.executions),
                rate(length)
            ),
        ));
        lines.push((
            "pages",
            format!(
                "{} in {}, {} told",
                counted(contents.pages, "virtual page"),
                counted(contents.spaces, "address space"),
                counted(contents.translations, "translation"),
            ),
        ));
        if let Some(nanoseconds) = self.nanoseconds() {
            lines.push((
                "time",
                format!("{:.6} s of the emulated machine", nanoseconds as f64 / 1e9),
            ));
        }
        if let Some(why) = &self.truncated {
            lines.push(("truncated", why.clone()));
        }
        lines.into_iter().map(|(label, text)| wrapped(label, &text)).collect()
    }
}

fn counts_table(header: [&str; 3], rows: impl Iterator<Item = [String; 3]>) -> String {
    let mut table = TextTable::new(1);
    table.header(header.map(str::to_owned));
    for row in rows {
        table.row(row.into());
    }
    table.to_string()
}
