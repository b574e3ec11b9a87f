//! `strata lint`: does a published table agree with itself?

use crate::output_args::{OutputArgs, TableFormat, Written};
use anyhow::Context;
use std::fs;
use std::path::PathBuf;
use strata_results::LintResult;

/// Tells whether a published table agrees with itself, and with what is said of it.
///
/// TABLE is CSV as printed; lines that begin with #: say what must hold, such as
/// `sum(percent) = 100`. A printed number stands for all that are rounded to it. Exit status: 0 also
/// if something does not hold; --strict makes it 1.
#[derive(Debug, clap::Args)]
pub(crate) struct LintArgs {
    /// Tables as CSV
    #[arg(value_name = "TABLE", required = true)]
    tables: Vec<PathBuf>,
    /// Show also what holds
    #[arg(long)]
    all: bool,
    /// Fail if there is a contradiction
    #[arg(long)]
    strict: bool,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// If a table cannot be read, or the result not be written; with --strict for a contradiction.
pub(crate) fn run(args: LintArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let mut result = LintResult::default();
    for path in &args.tables {
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .with_context(|| format!("{name}: cannot be read; a table is CSV as UTF-8"))?;
        result.tables.push((name.clone(), strata_exits::lint(&text, &name)?));
    }
    args.output.put(match args.format {
        TableFormat::Table => Written::Text(result.to_text(args.all)),
        TableFormat::Csv => Written::Csv(result.to_table()),
        TableFormat::Json => Written::Text(result.to_json()?),
        TableFormat::Parquet => Written::Parquet(result.to_table()),
    })?;
    let contradictions = result.contradictions();
    anyhow::ensure!(
        !args.strict || contradictions == 0,
        "{contradictions} checks do not hold; the table says which"
    );
    Ok(())
}
