//! `strata compare`: two results side by side.

use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::quantity::{self, RowLimit};
use crate::talk::TalkArgs;
use std::path::PathBuf;
use strata_results::{CompareSelection, Comparison, ResultFile};

/// Shows two results of one command side by side, with differences (B − A) and ratios (B ∕ A), and
/// of times with gains ((A − B) ∕ A).
///
/// Rows are matched by name: layer, module and function, path of calls, phase, point of a sweep.
/// Those that are farthest apart come first.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Result of any command, as its JSON or CSV
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another result of the same command
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Numbers to show, separated by commas, such as l2-misses; rows are sorted by the first [default: those that differ]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    metric: Vec<String>,
    /// Rows of each kind to show, or `all` [default: 20 in a table, else all]
    #[arg(long, value_name = "N", value_parser = quantity::rows)]
    top: Option<RowLimit>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Rows of a table that still read well.
const TABLE_ROWS: usize = 20;

/// Runs the subcommand.
///
/// # Errors
/// If one of the files is no result, they are not alike, or the comparison cannot be written.
pub(crate) fn run(args: CompareArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let comparison = Comparison::new(ResultFile::read(&args.a)?, ResultFile::read(&args.b)?)?;
    let default_top = (args.format == TableFormat::Table).then_some(TABLE_ROWS);
    let selection = CompareSelection {
        metrics: args.metric,
        top: args.top.map_or(default_top, |limit| limit.0),
    };
    if args.format != TableFormat::Table {
        comparison.warnings().iter().for_each(|warning| args.talk.note(warning));
    }
    args.output.put(match args.format {
        TableFormat::Table => Written::Text(comparison.to_text(&selection)?),
        TableFormat::Csv => Written::Csv(comparison.to_table(&selection)?),
        TableFormat::Json => Written::Text(comparison.to_json(&selection)?),
        TableFormat::Parquet => Written::Parquet(comparison.to_table(&selection)?),
    })
}
