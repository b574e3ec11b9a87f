//! A profile as CSV.
//!
//! One header, then a row for each group, and a last one for what `--top` left out, so that the
//! rows sum to the layers shown. Every row carries the machine and the trace that it comes from.
//! What is not known is an empty field.

use crate::error::Error;
use crate::numbers::share_percent;
use crate::profile_report::ProfileReport;
use crate::selection::Selection;
use crate::structure::Structure;
use strata_cachemodel::Machine;
use strata_sim::Counters;

impl ProfileReport {
    /// The rows that `selection` asks for.
    ///
    /// # Errors
    /// [`Error::Format`] if they cannot be written.
    pub fn to_csv(&self, selection: Selection) -> Result<String, Error> {
        let table = self.table(selection);
        let mut writer = csv::Writer::from_writer(Vec::new());
        let origin = self.origin();
        let header = header().into_iter().chain(ORIGIN.map(str::to_owned));
        writer.write_record(header).map_err(failed)?;
        let total = table.total.instructions;
        for group in &table.rows {
            let module = group.module.clone().unwrap_or_default();
            let function = match (&group.function, table.selection.by) {
                (Some(function), _) => function.clone(),
                (None, crate::By::Function) => "unknown".to_owned(),
                (None, _) => String::new(),
            };
            let address = group.address.map(|address| format!("{address:#x}")).unwrap_or_default();
            let names = [group.layer.to_string(), module, function, address];
            let fields = names.into_iter().chain(numbers(&group.counters, total));
            writer.write_record(fields.chain(origin.clone())).map_err(failed)?;
        }
        if let Some(others) = &table.others {
            let names = [format!("(others: {})", others.rows), "".into(), "".into(), "".into()];
            let fields = names.into_iter().chain(numbers(&others.counters, total));
            writer.write_record(fields.chain(origin)).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(failed)?;
        String::from_utf8(bytes).map_err(failed)
    }

    fn origin(&self) -> [String; ORIGIN.len()] {
        let machine = &self.profile.machine;
        [
            machine.name().to_owned(),
            parameters(machine),
            machine.semantics().to_string(),
            machine.event_delivery().to_string(),
            if self.profile.remarks.dma_transfers > 0 { "recorded" } else { "not modelled" }.into(),
            self.provenance.trace_hash.clone().unwrap_or_default(),
            self.provenance.from.to_string(),
            self.provenance.to.map(|to| to.to_string()).unwrap_or_default(),
            self.provenance.warm_up.to_string(),
            self.provenance.truncated.is_some().to_string(),
            self.provenance.patches().join("; "),
        ]
    }
}

/// Columns that say where a row comes from, the same in each row.
const ORIGIN: [&str; 11] = [
    "machine",
    "machine_parameters",
    "semantics",
    "event_delivery",
    "device_dma",
    "trace_hash",
    "first_instruction",
    "end_instruction",
    "warm_up_instructions",
    "trace_truncated",
    "guest_patches",
];

fn header() -> Vec<String> {
    let fixed = [
        "layer",
        "module",
        "function",
        "address",
        "instructions",
        "instructions_share_percent",
        "rep_iterations",
    ];
    let mut names: Vec<String> = fixed.map(str::to_owned).into();
    for structure in Structure::ALL {
        let key = structure.key();
        for name in ["accesses", "hits", "misses", "misses_per_1000_instructions"] {
            names.push(format!("{key}_{name}"));
        }
    }
    let details = [
        "l1d_reads",
        "l1d_writes",
        "l1d_read_misses",
        "l1d_write_misses",
        "l2_inst_misses",
        "l2_read_misses",
        "l2_write_misses",
        "device_accesses",
        "stale_hits",
    ];
    names.extend(details.map(str::to_owned));
    names
}

fn numbers(counters: &Counters, total: u64) -> Vec<String> {
    let float = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut fields = vec![
        counters.instructions.to_string(),
        float(share_percent(counters.instructions, total)),
        counters.rep_iterations.to_string(),
    ];
    for structure in Structure::ALL {
        let tally = structure.tally(counters);
        fields.extend([tally.accesses, tally.hits(), tally.misses].map(|n| n.to_string()));
        fields.push(float(counters.per_thousand(tally.misses)));
    }
    let details = [
        counters.l1d_reads.accesses,
        counters.l1d_writes.accesses,
        counters.l1d_reads.misses,
        counters.l1d_writes.misses,
        counters.l2_instructions.misses,
        counters.l2_reads.misses,
        counters.l2_writes.misses,
        counters.device,
        counters.stale,
    ];
    fields.extend(details.map(|number| number.to_string()));
    fields
}

/// All parameters of a machine as they would be set: `l1i.size=32KiB l1i.ways=8 …`.
fn parameters(machine: &Machine) -> String {
    let mut out = Vec::new();
    if let Ok(serde_json::Value::Object(sections)) = serde_json::to_value(machine) {
        for (section, value) in sections {
            if let serde_json::Value::Object(values) = value {
                out.extend(values.iter().map(|(key, value)| {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    format!("{section}.{key}={text}")
                }));
            }
        }
    }
    out.push(format!("tags={}", machine.tags()));
    out.join(" ")
}

fn failed(error: impl ToString) -> Error {
    Error::Format { format: "CSV", message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_column() {
        let counters = Counters { instructions: 3, ..Counters::default() };
        assert_eq!(header().len(), 4 + numbers(&counters, 9).len());
    }

    #[test]
    fn a_machines_parameters_read_as_they_would_be_set() {
        let machine = Machine::load("vee07").unwrap();
        let text = parameters(&machine);
        for pair in text.split(' ') {
            let (key, value) = pair.split_once('=').unwrap();
            let mut again = machine.clone();
            again.set(key, value).unwrap();
            assert_eq!(again, machine, "{pair}");
        }
        assert!(text.contains("l2.size=2MiB"), "{text}");
    }
}
