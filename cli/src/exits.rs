//! `strata exits`: where the time goes at VM exits.

use crate::event_trace::{EventTrace, TraceArgs};
use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::quantity::{self, RowLimit};
use crate::talk::TalkArgs;
use anyhow::{Context, bail};
use clap::ValueEnum;
use indicatif::ProgressBar;
use std::fs;
use std::path::{Path, PathBuf};
use strata_exits::{
    Account, Accounting, Breakdown, By, Event, PAPER_EDGES, Phases, Source, Take, Timeline, Window,
};
use strata_results::{
    ExitPhases, ExitResult, ExitTimeline, OutputFolder, TraceEvents, write_file_with,
};

/// Tells where the time goes at VM exits: by reason, port, address, scenario or vCPU.
///
/// An exit takes from where the guest is left to the next entry of the same vCPU (Xen/VT, Tables 1
/// to 7; DORSAL's scenarios). Paravirtualized guests have no exits: their hypercalls and traps are
/// counted, and the states of their vCPUs timed.
#[derive(Debug, clap::Args)]
pub(crate) struct ExitsArgs {
    #[command(flatten)]
    trace: TraceArgs,
    /// What rows are of
    #[arg(long, value_enum, default_value_t = ByArg::Reason)]
    by: ByArg,
    /// Count also how many exits take how long: edges separated by commas
    #[arg(
        long,
        value_name = "EDGES",
        value_delimiter = ',',
        num_args = 0..,
        require_equals = true,
        default_missing_values = ["50k", "500k", "5M"],
        value_parser = quantity::quantity
    )]
    histogram: Option<Vec<u64>>,
    /// Break exits down by phases between probes, which this TOML file names
    #[arg(long, value_name = "FILE")]
    breakdown: Option<PathBuf>,
    /// What is timed
    #[arg(long, value_enum, default_value_t = WindowArg::ExitEntry)]
    window: WindowArg,
    /// Leave out time in which a vCPU waits for an event or for a CPU
    #[arg(long)]
    exclude_waiting: bool,
    /// Draw figures into this folder, each as SVG, PNG and CSV
    #[arg(long, value_name = "DIR")]
    figures: Option<PathBuf>,
    /// Write exits as a Chrome trace, which the Perfetto UI opens
    #[arg(long, value_name = "FILE")]
    trace_events: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    /// Rows to show, or `all` [default: 40 in a table, else all]
    #[arg(long, value_name = "N", value_parser = quantity::rows)]
    top: Option<RowLimit>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// What rows are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ByArg {
    /// Exit reason
    Reason,
    /// I/O port, reads and writes apart
    Port,
    /// Guest-physical address of a device's memory or of a nested page fault
    Address,
    /// Whether the host, user space or an interrupt is involved
    Scenario,
    /// vCPU, and reason within
    Vcpu,
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WindowArg {
    /// From the exit to the next entry of the same vCPU
    ExitEntry,
    /// As perf kvm stat report does: ports and addresses from other events
    PerfCompat,
    /// As xenalyze does: not beyond where the vCPU could run again
    XenalyzeCompat,
}

/// Rows of a table that still read well.
const TABLE_ROWS: usize = 40;

/// An account whose reader's progress is shown.
struct Watched<'a, F> {
    account: &'a mut Account,
    bar: &'a ProgressBar,
    read: &'a F,
    events: u32,
}

/// Events between two looks at how far the reader is.
const LOOK: u32 = 1 << 16;

impl<F: Fn() -> u64> Take for Watched<'_, F> {
    #[inline(always)]
    fn take(&mut self, event: &Event) {
        self.account.event(event);
        self.events = self.events.wrapping_add(1);
        if self.events.is_multiple_of(LOOK) {
            self.bar.set_position((self.read)());
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// If the trace cannot be read or has nothing in it, or the result not be written.
pub(crate) fn run(args: ExitsArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let mut folder = args.figures.as_deref().map(OutputFolder::open).transpose()?;
    let by = match args.by {
        ByArg::Reason => By::Reason,
        ByArg::Port => By::Port,
        ByArg::Address => By::Address,
        ByArg::Scenario => By::Scenario,
        ByArg::Vcpu => By::Vcpu,
    };
    let window = match (args.window, by) {
        (WindowArg::ExitEntry, _) => Window::ExitEntry,
        (WindowArg::PerfCompat, By::Port) => Window::PerfPort,
        (WindowArg::PerfCompat, By::Address) => Window::PerfMemory,
        (WindowArg::PerfCompat, _) => Window::Perf,
        (WindowArg::XenalyzeCompat, _) => Window::Xenalyze,
    };
    if args.exclude_waiting && window != Window::ExitEntry {
        bail!(
            "--exclude-waiting goes with --window exit-entry only: the others say what they time"
        );
    }
    if args.breakdown.is_some() && (window != Window::ExitEntry || args.exclude_waiting) {
        bail!(
            "--breakdown goes with --window exit-entry and without --exclude-waiting: its phases \
             are all of the time between probes"
        );
    }
    let edges = args.histogram.unwrap_or_default();
    debug_assert_eq!(PAPER_EDGES, [50_000, 500_000, 5_000_000], "as the default of --histogram");
    let options = Accounting { by, window, exclude_waiting: args.exclude_waiting, edges };
    let mut account = Account::new(options)?;
    let mut trace = args.trace.open()?;
    let mut breakdown =
        args.breakdown.as_deref().map(|path| phases(path, &mut trace)).transpose()?;
    let mut timeline = Timeline::default();
    let mut events = TraceEvents::default();
    let read = trace.source.bytes_read();
    let bar = args.talk.progress_in_bytes("reading", trace.size);
    if folder.is_some() || args.trace_events.is_some() || breakdown.is_some() {
        while let Some(event) = trace.source.next_event().with_context(|| trace.name.clone())? {
            let interval = account.event(&event);
            breakdown.iter_mut().for_each(|all| all.event(&event, interval));
            timeline.event(&event, interval);
            interval.iter().for_each(|interval| events.add(interval));
        }
    } else {
        // The same without what nobody asked for, which may take events in any order.
        let mut account = Watched { account: &mut account, bar: &bar, read: &read, events: 0 };
        trace.source.each_event(&mut account).with_context(|| trace.name.clone())?;
    }
    bar.finish_and_clear();
    trace.check_end()?;
    let report = account.finish(&trace.source).with_context(|| trace.name.clone())?;
    let phases = match (breakdown, &args.breakdown) {
        (Some(breakdown), Some(path)) => {
            let file = path.display().to_string();
            Some(ExitPhases { file, report: breakdown.finish(&report)? })
        }
        _ => None,
    };
    if let Some(path) = &args.trace_events {
        let names = (trace.source.vcpus(), trace.source.reason_names());
        write_file_with(path, false, |out| events.write(names, report.unit, report.isa, out))?;
        if events.left_out() > 0 {
            args.talk.note(&format!(
                "{}: {} exits are left out, the last ones",
                path.display(),
                events.left_out()
            ));
        }
    }
    let result = ExitResult {
        source: trace.name.clone(),
        format: trace.source.format().name(),
        trace_hash: trace.hash(),
        patches: trace.patches.clone(),
        report,
        phases,
    };
    if let (Some(mut folder), Some(path)) = (folder.take(), &args.figures) {
        let vcpus = trace.source.vcpus();
        result.write_figures(&ExitTimeline { timeline: &timeline, vcpus }, &mut folder)?;
        let names = folder.commit()?;
        args.talk.note(&format!("drew {} files in {}", names.len(), path.display()));
    }
    let default_top = (args.format == TableFormat::Table).then_some(TABLE_ROWS);
    let top = args.top.map_or(default_top, |limit| limit.0);
    // A table has rows of one kind: those of the phases if they were asked for.
    let table = || result.phases_to_table().unwrap_or_else(|| result.to_table(top));
    args.output.put(match args.format {
        TableFormat::Table => Written::Text(result.to_text(top)),
        TableFormat::Csv => Written::Csv(table()),
        TableFormat::Json => Written::Text(result.to_json(top)?),
        TableFormat::Parquet => Written::Parquet(table()),
    })
}

/// Reads a file of phases, and has the trace look for its probes.
fn phases(path: &Path, trace: &mut EventTrace) -> anyhow::Result<Breakdown> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path)
        .with_context(|| format!("{}: cannot be read; phases are TOML as UTF-8", name()))?;
    let phases = Phases::parse(&text, path)?;
    trace.source.watch(phases.watch())?;
    Ok(Breakdown::new(phases))
}
