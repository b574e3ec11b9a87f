//! `strata replay`: who causes which misses.

use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::quantity::{self, RowLimit};
use crate::replayed_args::{CountedArgs, ReplayedArgs};
use crate::replaying::Replaying;
use crate::talk::TalkArgs;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::num::NonZeroUsize;
use strata_results::{By, DataSelection, Figure, Selection, SortKey};
use strata_sim::DataGrain;
use strata_symbols::Layer;

/// Replays a capture through caches and TLBs and says who missed what.
///
/// Numbers of instructions may end in k, M or G (thousands, millions, billions).
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    replayed: ReplayedArgs,
    /// What a row stands for; page and object are those that data misses are on
    #[arg(long, value_parser = groupings(), default_value = "function")]
    by: Grouping,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    /// Rows to show, or `all`; the rest is summed into one row [default: 40 in a table, else all]
    #[arg(long, value_name = "N", value_parser = quantity::rows)]
    top: Option<RowLimit>,
    /// What rows are sorted by, the largest first [default: instructions, or l1d-misses by page or object]
    #[arg(long, value_name = "KEY", value_parser = PossibleValuesParser::new(SortKey::all().into_iter().map(SortKey::name)).try_map(|name| name.parse::<SortKey>()))]
    sort: Option<SortKey>,
    /// Say of each miss why: first access, room, conflicts, other layers, flushes; several times slower
    #[arg(long)]
    classify: bool,
    /// Show this layer only (hypervisor, dom0-kernel, dom1-user, idle, …); may be repeated
    #[arg(long, value_name = "LAYER")]
    layer: Vec<Layer>,
    /// What a table tells of each cache and TLB, separated by commas [default: misses, and mpki by layer]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', value_parser = names(Figure::ALL.map(Figure::name)).try_map(|name| name.parse::<Figure>()))]
    columns: Vec<Figure>,
    #[command(flatten)]
    counted: CountedArgs,
    /// Threads to replay on, with the same result [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// What rows stand for.
#[derive(Clone, Copy, Debug)]
enum Grouping {
    /// Code.
    Code(By),
    /// What data misses are on.
    Data(DataGrain),
}

/// Names of data groupings on the command line.
const DATA: [(&str, DataGrain); 2] = [("page", DataGrain::Page), ("object", DataGrain::Object)];

fn groupings() -> impl TypedValueParser<Value = Grouping> {
    let all = By::ALL.map(By::name).into_iter().chain(DATA.map(|(name, _)| name));
    PossibleValuesParser::new(all).try_map(|name| {
        match DATA.into_iter().find(|(data, _)| *data == name) {
            Some((_, grain)) => Ok(Grouping::Data(grain)),
            None => name.parse().map(Grouping::Code),
        }
    })
}

/// Rows of a table that still read well.
const TABLE_ROWS: usize = 40;

fn names<const N: usize>(names: [&'static str; N]) -> PossibleValuesParser {
    PossibleValuesParser::new(names)
}

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be replayed or the result not be written.
pub(crate) fn run(args: ReplayArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let replaying = args.counted.apply(args.replayed.replaying(args.talk)?);
    if let Some(sort) = args.sort {
        sort.check(&replaying.machine)?;
    }
    let default_top = (args.format == TableFormat::Table).then_some(TABLE_ROWS);
    let top = args.top.map_or(default_top, |limit| limit.0);
    let rows = match args.by {
        Grouping::Code(by) => {
            let sort = args.sort.unwrap_or_default();
            Rows::Code(Selection { by, sort, top, layers: args.layer })
        }
        Grouping::Data(grain) => Rows::Data(grain, DataSelection::new(args.sort, top, args.layer)?),
    };
    let replaying = Replaying {
        classify: args.classify,
        data: match rows {
            Rows::Code(_) => None,
            Rows::Data(grain, _) => Some(grain),
        },
        threads: args.threads,
        ..replaying
    };
    let input = args.replayed.open()?;
    let report = match args.by {
        Grouping::Code(By::Line) => replaying.run_by_line(&input)?,
        _ => replaying.run(&input)?,
    };
    let written = match (rows, args.format) {
        (Rows::Code(selection), TableFormat::Table) => {
            let fitting = Figure::fitting(selection.by, &report.profile.machine);
            let columns = if args.columns.is_empty() { fitting } else { &args.columns };
            Written::Text(report.to_text(selection, columns))
        }
        (Rows::Code(selection), TableFormat::Csv) => Written::Csv(report.to_table(selection)),
        (Rows::Code(selection), TableFormat::Parquet) => {
            Written::Parquet(report.to_table(selection))
        }
        (Rows::Code(selection), TableFormat::Json) => Written::Text(report.to_json(selection)?),
        (Rows::Data(_, selection), TableFormat::Table) => {
            Written::Text(report.to_data_text(&selection))
        }
        (Rows::Data(_, selection), TableFormat::Csv) => {
            Written::Csv(report.to_data_table(&selection))
        }
        (Rows::Data(_, selection), TableFormat::Parquet) => {
            Written::Parquet(report.to_data_table(&selection))
        }
        (Rows::Data(_, selection), TableFormat::Json) => {
            Written::Text(report.to_data_json(&selection)?)
        }
    };
    args.output.put(written)
}

/// Rows that were asked for.
enum Rows {
    Code(Selection),
    Data(DataGrain, DataSelection),
}
