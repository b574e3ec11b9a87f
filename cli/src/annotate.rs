//! `strata annotate`: a row for each entry of a function.

use crate::output_args::{OutputArgs, TableFormat};
use crate::quantity::{self, RowLimit};
use crate::replayed_args::{CountedArgs, ReplayedArgs};
use crate::replaying::Traced;
use crate::talk::TalkArgs;
use anyhow::bail;
use strata_results::{AnnotationReport, AnnotationSelection};
use strata_sim::{Annotation, Attribution, Figure4, FlowQuery, Kept, Names, Trigger};
use strata_symbols::Layer;

/// Tells which functions were entered, in order, with what each did (VEE'07, Figures 3 and 4).
///
/// A row holds what its function did from that entry on, without what it called. Numbers of
/// instructions may end in k, M or G.
#[derive(Debug, clap::Args)]
pub(crate) struct AnnotateArgs {
    #[command(flatten)]
    replayed: ReplayedArgs,
    /// Show the 26 counters of Figure 4
    #[arg(long)]
    stats: bool,
    /// Count in a row all that ran until the next one, whoever ran
    #[arg(long)]
    until_next: bool,
    /// Show counts one row late, as the paper's tables do
    #[arg(long)]
    vee07_lag: bool,
    /// Begin with the first entry of this function, as FUNCTION or LAYER:FUNCTION, in which * stands for anything
    #[arg(long, value_name = "FUNCTION")]
    from: Option<Trigger>,
    /// End with the first entry of this function after the beginning
    #[arg(long, value_name = "FUNCTION", requires = "from")]
    to: Option<Trigger>,
    /// Begin with another than the first entry of --from, 1-based
    #[arg(long, value_name = "N", default_value = "1", requires = "from",
        value_parser = clap::value_parser!(u64).range(1..))]
    nth: u64,
    /// Show this layer only (hypervisor, dom0-kernel, dom1-user, idle, …); may be repeated
    #[arg(long, value_name = "LAYER")]
    layer: Vec<Layer>,
    /// Show this CPU of the trace only; may be repeated
    #[arg(long, value_name = "CPU")]
    cpu: Vec<u16>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    /// Rows to show, or `all` [default: 40 in a table, else all]
    #[arg(long, value_name = "N", value_parser = quantity::rows)]
    top: Option<RowLimit>,
    #[command(flatten)]
    counted: CountedArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Rows of a table that still read well.
const TABLE_ROWS: usize = 40;

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be replayed, a function never be entered, or the result not be written.
pub(crate) fn run(args: AnnotateArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let replaying = args.counted.apply(args.replayed.replaying(args.talk)?);
    let attribution = if args.until_next { Attribution::UntilNext } else { Attribution::Function };
    let counts = args.stats || args.format == TableFormat::Json;
    let kept = if counts { Kept::Counters } else { Kept::Instructions };
    if let (true, Some(why)) = (args.stats, Figure4::no_laws(&replaying.machine)) {
        args.talk.note(&format!("the 17 identities of figure 4 do not apply: {why}"));
    }
    let input = args.replayed.open()?;
    let traced = replaying.trace(&input, Annotation::new(attribution, kept)?)?;
    let Traced { tracer, record, report } = traced;
    if !report.known().instructions() {
        bail!("{}: the trace has no instructions, so that no function is entered", input.place());
    }
    let entries = tracer.finish()?;
    let names = Names::new(record.paths, record.functions);
    let window = match args.from {
        Some(from) => {
            let query = FlowQuery {
                from,
                via: Vec::new(),
                to: args.to,
                nth: args.nth,
                latest: false,
                limit: u64::MAX,
            };
            let found = query.find(&entries, &names)?;
            found.ambiguous.iter().for_each(|sentence| args.talk.note(sentence));
            Some(found)
        }
        None => None,
    };
    let default_top = (args.format == TableFormat::Table).then_some(TABLE_ROWS);
    let selection = AnnotationSelection {
        stats: args.stats,
        lag: args.vee07_lag,
        layers: args.layer,
        cpus: args.cpu,
        window,
        top: args.top.map_or(default_top, |limit| limit.0),
    };
    let annotation =
        AnnotationReport { report, entries, names, returns: record.returns, attribution };
    args.output.write_with(|out| match args.format {
        TableFormat::Table => annotation.write_text(&selection, out),
        TableFormat::Csv => annotation.to_table(&selection).write_csv(out),
        TableFormat::Parquet => annotation.to_table(&selection).write_parquet(out),
        TableFormat::Json => annotation.write_json(&selection, out),
    })
}
