//! Where the time goes at VM exits, as text, JSON, CSV and figures.

mod breakdown;
mod csv_rows;
mod figures;
pub(crate) mod json;
mod text;

pub use breakdown::ExitPhases;
pub use figures::ExitTimeline;

use strata_exits::{By, Coverage, Distribution, ExitReport, Isa, Row, Unit, Window};

/// An accounting with what it is of.
#[derive(Clone, Debug)]
pub struct ExitResult {
    /// The trace as the user named it.
    pub source: String,
    /// Its format, as `--from` names it.
    pub format: &'static str,
    /// Digest of a native trace in hexadecimal; `None` of others, or if it was not read to its end.
    pub trace_hash: Option<String>,
    /// Changes that the recorder made to the running guest.
    pub patches: Vec<String>,
    /// What was accounted.
    pub report: ExitReport,
    /// Phases of exits, if that was asked for.
    pub phases: Option<ExitPhases>,
}

/// As `--by` names it.
fn by_name(by: By) -> &'static str {
    match by {
        By::Reason => "reason",
        By::Port => "port",
        By::Address => "address",
        By::Scenario => "scenario",
        By::Vcpu => "vcpu",
    }
}

/// As `--window` names it.
fn window_name(window: Window) -> &'static str {
    match window {
        Window::ExitEntry => "exit-entry",
        Window::Perf | Window::PerfPort | Window::PerfMemory => "perf-compat",
        Window::Xenalyze => "xenalyze-compat",
    }
}

fn isa_name(isa: Isa) -> Option<&'static str> {
    match isa {
        Isa::Vmx => Some("vmx"),
        Isa::Svm => Some("svm"),
        Isa::Unsaid | Isa::Named => None,
    }
}

/// A part of a whole in per cent; `None` of nothing.
fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part * 100.0 / whole)
}

/// Shares of a row.
struct Shares {
    /// Of all exits.
    count: Option<f64>,
    /// Of the time of all exits.
    time: Option<f64>,
    /// Of the exits, and their time, that any row is of.
    listed_count: Option<f64>,
    listed_time: Option<f64>,
    /// Of the time from the first to the last event.
    elapsed: Option<f64>,
}

impl ExitResult {
    /// Whether waiting is known: it is `None` elsewhere, never 0.
    fn waiting(&self, time: u64) -> Option<u64> {
        self.report.has_run_states.then_some(time)
    }

    /// Whether stays in user space are known.
    fn told_userspace(&self, count: u64) -> Option<u64> {
        self.report.user_space_told.then_some(count)
    }

    fn elapsed(&self) -> u64 {
        let (first, last) = self.report.span;
        last - first
    }

    fn shares(&self, row: &Row) -> Shares {
        let of = |get: &dyn Fn(&Distribution) -> f64| {
            let own = get(&row.sums.durations);
            let listed = self.report.rows.iter().map(|row| get(&row.sums.durations)).sum();
            let all = get(&self.report.total.durations);
            (percent(own, all), percent(own, listed))
        };
        let (count, listed_count) = of(&|all| all.count() as f64);
        let (time, listed_time) = of(&|all| all.total() as f64);
        let elapsed = percent(row.sums.durations.total() as f64, self.elapsed() as f64);
        Shares { count, time, listed_count, listed_time, elapsed }
    }

    /// What a reader must know besides the numbers, a sentence each.
    fn notes(&self) -> Vec<String> {
        let report = &self.report;
        let mut notes = Vec::new();
        if !self.patches.is_empty() {
            let changes = self.patches.join(", ");
            notes.push(format!("the recorder changed the running guest: {changes}"));
        }
        if report.isa_guessed {
            let isa = if report.isa == Isa::Svm { "SVM" } else { "VMX" };
            notes.push(format!(
                "the trace does not say whether exit reasons are VMX's or SVM's; {isa}'s are \
                 taken, by the largest one"
            ));
        }
        let exits = report.total.durations.count();
        if exits == 0 {
            notes.push("there are no VM exits in this trace".to_owned());
        } else if !report.has_run_states {
            notes.push(
                "the trace does not tell when vCPUs wait (sched:sched_switch, run states): \
                 handling times include it"
                    .to_owned(),
            );
        }
        if report.options.by == By::Scenario && !report.user_space_told {
            notes.push(
                "the trace does not tell stays in user space (kvm_userspace_exit): that scenario \
                 is not available"
                    .to_owned(),
            );
        }
        if report.options.by == By::Scenario && !report.interrupts_told {
            notes.push(
                "the trace does not tell interrupts of the host within exits \
                 (irq_handler_entry): only exits that one caused are known"
                    .to_owned(),
            );
        }
        let entries = report.paravirtual.iter().map(|row| row.count).sum::<u64>();
        if entries > 0 {
            notes.push(
                "entries of paravirtualized guests have a time but no end in the trace: how long \
                 they take is not available"
                    .to_owned(),
            );
        }
        if report.total.durations.is_estimated() {
            notes.push(format!(
                "percentiles of more than 256 values are within {:.2} %",
                strata_exits::PERCENTILE_ERROR * 100.0
            ));
        }
        notes.extend(self.phases.iter().flat_map(ExitPhases::notes));
        notes
    }
}

/// What was not understood, a line each.
pub(crate) fn coverage_lines(coverage: &Coverage) -> Vec<String> {
    use crate::numbers::{counted, grouped};
    let mut lines = Vec::new();
    let mut read = counted(coverage.records, "record");
    if !coverage.skipped.is_empty() {
        let names: Vec<String> = coverage
            .skipped
            .iter()
            .map(|(name, count)| format!("{name} {}", grouped(*count)))
            .collect();
        read.push_str(&format!(
            ", {} of no interest here ({})",
            grouped(coverage.all_skipped()),
            names.join(", ")
        ));
    }
    lines.push(read);
    lines.push(format!(
        "{} lost in {}, {}, {} on a CPU whose vCPU is not known",
        counted(coverage.lost, "record"),
        counted(coverage.losses, "place"),
        counted(coverage.clock_steps, "clock step"),
        counted(coverage.unattributed, "event")
    ));
    if coverage.malformed > 0 || coverage.skipped_bytes > 0 {
        lines.push(format!(
            "{} malformed, {} skipped; the first: {}",
            counted(coverage.malformed, "record"),
            counted(coverage.skipped_bytes, "byte"),
            coverage.first_malformed.as_deref().unwrap_or("the end of the file")
        ));
    }
    if let Some(why) = &coverage.truncated {
        lines.push(format!("the trace ends early: {why}"));
    }
    lines
}

/// Name of a column of times.
fn timed(name: &str, unit: Unit) -> String {
    format!("{name}_{}", unit.name())
}
