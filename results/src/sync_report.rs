//! A guest's trace on its host's clock, as text, JSON and CSV.

use crate::error::Error;
use crate::exit_report::coverage_lines;
use crate::numbers::{NOT_AVAILABLE, counted, fine_percent, grouped};
use crate::profile_json::to_pretty;
use crate::result_table::{Cell, Column, Kind, Table};
use crate::text_table::{TextTable, wrapped};
use serde_json::{Value, json};
use strata_exits::{Check, Coverage, Guest, Synced, Unit, VcpuName};

/// One of the two traces.
#[derive(Clone, Debug)]
pub struct SyncedTrace {
    /// As the user named it.
    pub source: String,
    /// Of which format it is.
    pub format: &'static str,
    /// What its times are in.
    pub unit: Unit,
    /// What of it was understood.
    pub coverage: Coverage,
}

/// Two traces on one clock.
#[derive(Clone, Debug)]
pub struct SyncResult {
    /// The host's.
    pub host: SyncedTrace,
    /// The guest's.
    pub guest: SyncedTrace,
    /// How they are put together.
    pub synced: Synced,
    /// Names of the guest's vCPUs in the host's trace, as in `synced`.
    pub vcpus: Vec<VcpuName>,
}

/// With its sign, grouped by threes.
fn signed(number: i128) -> String {
    let size = grouped(u64::try_from(number.unsigned_abs()).unwrap_or(u64::MAX));
    if number < 0 { format!("−{size}") } else { size }
}

/// Events that a line was held to.
fn events(check: &Check) -> u64 {
    check.inside + check.violations + check.uncovered
}

impl SyncResult {
    fn unit(&self) -> &'static str {
        self.host.unit.name()
    }

    /// The guest as the host's trace names it.
    fn guest_name(&self) -> String {
        self.synced.guest.id.map_or_else(
            || "of all threads, since the host's trace tells no processes".to_owned(),
            |id| id.to_string(),
        )
    }

    /// Clock, how certain it is, and where events of each CPU fall.
    pub fn to_text(&self) -> String {
        let synced = &self.synced;
        let mut out = String::new();
        for (label, trace) in [("host", &self.host), ("guest", &self.guest)] {
            let about = format!("{}, {}, in {}", trace.source, trace.format, trace.unit.name());
            out.push_str(&wrapped(label, &about));
        }
        let method = match synced.offset {
            Some(offset) => format!("TSC offset {offset}, guest {}", self.guest_name()),
            None => {
                format!("events within runs, a linear problem, guest {}", self.guest_name())
            }
        };
        out.push_str(&wrapped("method", &method));
        let (a, b) = synced.line.coefficients();
        let sign = if b < 0 { '−' } else { '+' };
        let b = signed(b.abs());
        out.push_str(&wrapped(
            "clock",
            &format!("host = {a:.9} × guest {sign} {b} {}", self.unit()),
        ));
        if let Some((down, up)) = synced.certain {
            let about = format!(
                "{down:.0} to +{up:.0} {} in the middle, guest time {}: so far may it be moved with \
                 all events in runs",
                self.unit(),
                synced.line.guest_reference
            );
            out.push_str(&wrapped("certain", &about));
        }
        if synced.offset_changes > 0 {
            let times = counted(synced.offset_changes, "time");
            let about = format!("the offset is another {times} while the guest's trace runs");
            out.push_str(&wrapped("note", &about));
        }
        out.push('\n');
        let mut table = TextTable::new(2);
        let largest = format!("farthest, {}", self.unit());
        let header =
            ["guest CPU", "vCPU", "runs", "events", "in runs", "between", "%", &largest, "outside"];
        table.header(header.map(str::to_owned));
        let row = |cpu: String, vcpu: String, runs: u64, check: &Check| {
            let share = check.share().map(|share| share * 100.0);
            vec![
                cpu,
                vcpu,
                grouped(runs),
                grouped(events(check)),
                grouped(check.inside),
                grouped(check.violations),
                share.map_or_else(|| NOT_AVAILABLE.to_owned(), |_| fine_percent(share)),
                grouped(check.largest),
                grouped(check.uncovered),
            ]
        };
        for (vcpu, name) in synced.vcpus.iter().zip(&self.vcpus) {
            table.row(row(vcpu.cpu.to_string(), name.to_string(), vcpu.runs, &vcpu.check));
        }
        table.rule();
        let runs = synced.vcpus.iter().map(|vcpu| vcpu.runs).sum();
        table.row(row("all".to_owned(), String::new(), runs, &synced.check));
        out.push_str(&table.to_string());
        out.push('\n');
        if synced.without_vcpu > 0 {
            let events = counted(synced.without_vcpu, "event");
            let about = format!("{events} on CPUs that are no vCPU of the host's trace");
            out.push_str(&wrapped("left out", &about));
        }
        for (label, trace) in [("host", &self.host), ("guest", &self.guest)] {
            for line in coverage_lines(&trace.coverage) {
                out.push_str(&wrapped(label, &line));
            }
        }
        out
    }

    /// One object with everything.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, Error> {
        let synced = &self.synced;
        let (a, b) = synced.line.coefficients();
        let vcpus = synced.vcpus.iter().zip(&self.vcpus).map(|(vcpu, name)| {
            let mut entry = check_json(&vcpu.check);
            entry["cpu"] = json!(vcpu.cpu);
            entry["vcpu"] = json!(name.to_string());
            entry["runs"] = json!(vcpu.runs);
            entry
        });
        to_pretty(&json!({
            "schema": 1,
            "command": "sync",
            "version": env!("CARGO_PKG_VERSION"),
            "host": trace_json(&self.host),
            "guest": trace_json(&self.guest),
            "guest_id": synced.guest.id,
            "method": synced.method.name(),
            "tsc_offset": synced.offset,
            "tsc_offset_changes": synced.offset_changes,
            "a": a,
            // Of 64 bits and a sign: a text keeps all digits.
            "b": b.to_string(),
            "line": {
                "guest_reference": synced.line.guest_reference,
                "host_reference": synced.line.host_reference.to_string(),
                "ratio": synced.line.ratio,
                "drift": synced.line.drift,
                "shift": synced.line.shift,
            },
            "certain": synced.certain.map(|(down, up)| [down, up]),
            "events": check_json(&synced.check),
            "without_vcpu": synced.without_vcpu,
            "vcpus": vcpus.collect::<Vec<Value>>(),
        }))
    }

    /// A row for each CPU of the guest.
    pub fn to_table(&self) -> Table<'static> {
        let mut columns = Column::counts(["cpu"]);
        columns.extend(Column::texts(["vcpu"]));
        columns.extend(Column::counts([
            "runs",
            "inside",
            "violations",
            "largest_violation",
            "uncovered",
        ]));
        columns.extend([Column::new("violation_share", Kind::Real), Column::new("a", Kind::Real)]);
        columns.extend(Column::texts(["b", "method"]));
        let (a, b) = self.synced.line.coefficients();
        let mut rows = Vec::new();
        for (vcpu, name) in self.synced.vcpus.iter().zip(&self.vcpus) {
            let check = &vcpu.check;
            rows.push(Ok(vec![
                Cell::Whole(vcpu.cpu.into()),
                name.to_string().into(),
                Cell::Whole(vcpu.runs),
                Cell::Whole(check.inside),
                Cell::Whole(check.violations),
                Cell::Whole(check.largest),
                Cell::Whole(check.uncovered),
                Cell::real(check.share()),
                Cell::real(Some(a)),
                b.to_string().into(),
                self.synced.method.name().into(),
            ]));
        }
        Table::new("sync", Vec::new(), columns, rows.into_iter())
    }

    /// A row for each event of the guest: its times by both clocks, and how far from a run it is.
    pub fn guest_times<'g>(&'g self, guest: &'g Guest) -> Table<'g> {
        let mut columns = Column::counts(["guest_time"]);
        columns.push(Column::new("host_time", Kind::Text));
        columns.extend(Column::counts(["cpu", "thread"]));
        columns.extend(Column::texts(["event"]));
        columns.extend(Column::counts(["from_run"]));
        let rows = guest.events.iter().map(|event| {
            let (host, distance) = self.synced.place(event.cpu, event.time);
            Ok(vec![
                Cell::Whole(event.time),
                host.to_string().into(),
                Cell::Whole(event.cpu.into()),
                Cell::whole(event.thread.map(u64::from)),
                guest.names[event.name as usize].clone().into(),
                Cell::whole(distance),
            ])
        });
        Table::new("sync", Vec::new(), columns, rows)
    }
}

fn trace_json(trace: &SyncedTrace) -> Value {
    json!({
        "source": trace.source,
        "format": trace.format,
        "unit": trace.unit.name(),
        "coverage": crate::exit_report::json::coverage(&trace.coverage, 0),
    })
}

fn check_json(check: &Check) -> Value {
    json!({
        "count": events(check),
        "inside": check.inside,
        "violations": check.violations,
        "violation_percent": check.share().map(|share| share * 100.0),
        "largest_violation": check.largest,
        "uncovered": check.uncovered,
    })
}
