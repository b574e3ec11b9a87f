//! `strata sync`: a guest's trace and its host's on one clock.

use crate::event_trace::{self, formats};
use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::talk::TalkArgs;
use anyhow::Context;
use clap::ValueEnum;
use std::path::PathBuf;
use strata_exits::{
    Accounting, Format, Guest, Host, Intervals, Method, Source, SyncOptions, synchronize,
};
use strata_results::{Mark, SyncResult, SyncedTrace, TraceEvents, write_file_with};
use strata_workloads::import::Input;

/// Puts a guest's trace on its host's clock.
///
/// HOST has the host's entries and exits of the guest's vCPUs, GUEST any events that the guest itself
/// recorded, each on the CPU of its vCPU's number. Where both count the TSC and the host tells the
/// guest's TSC offset, that is the answer; else every guest event must be within a run of its vCPU,
/// and a linear problem is solved for host = a × guest + b. Events that are in no run all the same are
/// counted.
#[derive(Debug, clap::Args)]
pub(crate) struct SyncArgs {
    /// Trace of the host: perf, trace-cmd, ftrace, LTTng or xentrace
    #[arg(value_name = "HOST")]
    host: PathBuf,
    /// Trace of the guest: text of perf script, trace-cmd report, ftrace or LTTng
    #[arg(value_name = "GUEST")]
    guest: PathBuf,
    /// Format of the host's trace [default: found by its first bytes]
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    host_from: Option<Format>,
    /// Format of the guest's trace [default: found by its first bytes]
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    guest_from: Option<Format>,
    /// The guest's process, or domain of Xen, in the host's trace [default: the one that fits best]
    #[arg(long = "guest", value_name = "ID")]
    guest_id: Option<u32>,
    /// A CPU of the guest is the vCPU of another number, as 0=2
    #[arg(long, value_name = "CPU=VCPU", value_parser = pair)]
    vcpu: Vec<(u16, u32)>,
    /// How the clocks are put together [default: tsc-offset where the host tells it]
    #[arg(long, value_enum)]
    method: Option<MethodArg>,
    /// About how many ticks of the host's clock one of the guest's takes, if their units differ
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    ratio: Option<f64>,
    /// Write exits and guest events as a Chrome trace, which the Perfetto UI opens
    #[arg(long, value_name = "FILE")]
    trace_events: Option<PathBuf>,
    /// Write guest events with their host times as CSV
    #[arg(long, value_name = "FILE")]
    guest_times: Option<PathBuf>,
    /// Take a trace of the host that ends early for what is whole of it
    #[arg(long)]
    allow_truncated: bool,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// How the clocks are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodArg {
    /// By the guest's TSC offset, which the host's trace tells
    TscOffset,
    /// By the runs of vCPUs that guest events must be in
    Intervals,
}

fn pair(text: &str) -> Result<(u16, u32), String> {
    let pair =
        text.split_once('=').and_then(|(cpu, vcpu)| Some((cpu.parse().ok()?, vcpu.parse().ok()?)));
    pair.ok_or_else(|| "it is the guest's CPU, =, and the number of its vCPU, as 0=2".to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio: &f64| ratio.is_finite() && *ratio > 0.0);
    ratio.ok_or_else(|| "it is a number above 0".to_owned())
}

/// Runs the subcommand.
///
/// # Errors
/// If a trace cannot be read, the two cannot be put on one clock, or the result not be written.
pub(crate) fn run(args: SyncArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let guest_name = args.guest.display().to_string();
    let guest = Input::open(&args.guest).map_err(strata_exits::Error::from);
    let with_fields = args.trace_events.is_some();
    let guest = guest
        .and_then(|input| Guest::read(input, args.guest_from, with_fields))
        .with_context(|| guest_name.clone())?;
    let mut trace = event_trace::open(&args.host, args.host_from, args.allow_truncated)?;
    let mut host = Host::default();
    let mut intervals = Intervals::new(Accounting::default().window);
    let mut events = TraceEvents::default();
    let read = trace.source.bytes_read();
    let bar = args.talk.progress_in_bytes("reading", trace.size);
    let mut seen = 0u64;
    while let Some(event) = trace.source.next_event().with_context(|| trace.name.clone())? {
        host.event(&event);
        if let (true, Some(interval)) = (with_fields, intervals.event(&event)) {
            events.add(interval);
        }
        seen += 1;
        if seen.is_multiple_of(1 << 16) {
            bar.set_position(read());
        }
    }
    bar.finish_and_clear();
    trace.check_end()?;
    let names = trace.source.vcpus();
    let options = SyncOptions {
        guest: args.guest_id,
        vcpus: args.vcpu,
        method: args.method.map(|method| match method {
            MethodArg::TscOffset => Method::TscOffset,
            MethodArg::Intervals => Method::Intervals,
        }),
        ratio: args.ratio,
    };
    let synced = synchronize((&host, names, trace.source.unit()), &guest, &options)
        .with_context(|| format!("{} and {guest_name}", trace.name))?;
    let result = SyncResult {
        host: SyncedTrace {
            source: trace.name.clone(),
            format: trace.source.format().name(),
            unit: trace.source.unit(),
            coverage: trace.source.coverage().clone(),
        },
        guest: SyncedTrace {
            source: guest_name,
            format: guest.format.name(),
            unit: guest.unit,
            coverage: guest.coverage.clone(),
        },
        vcpus: synced.vcpus.iter().map(|vcpu| names.name(vcpu.vcpu)).collect(),
        synced,
    };
    if let Some(path) = &args.trace_events {
        for event in &guest.events {
            events.mark(Mark {
                time: result.synced.line.host(event.time),
                process: result.synced.guest.id.unwrap_or(0),
                track: event.cpu,
                name: guest.names[event.name as usize].clone(),
                thread: event.thread,
                fields: event.fields.clone(),
            });
        }
        let isa = strata_exits::Isa::Unsaid;
        let all_names = (names, trace.source.reason_names());
        write_file_with(path, false, |out| events.write(all_names, trace.source.unit(), isa, out))?;
        if events.left_out() > 0 {
            args.talk.note(&format!(
                "{}: {} exits and events are left out, the last ones",
                path.display(),
                events.left_out()
            ));
        }
    }
    if let Some(path) = &args.guest_times {
        write_file_with(path, false, |out| result.guest_times(&guest).write_csv(out))?;
    }
    args.output.put(match args.format {
        TableFormat::Table => Written::Text(result.to_text()),
        TableFormat::Csv => Written::Csv(result.to_table()),
        TableFormat::Json => Written::Text(result.to_json()?),
        TableFormat::Parquet => Written::Parquet(result.to_table()),
    })
}
