//! `strata life`: what a packet goes through, and what each part of it costs.

use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::replayed_args::ReplayedArgs;
use crate::talk::TalkArgs;
use anyhow::{Context, bail};
use clap::ValueEnum;
use std::path::PathBuf;
use strata_results::{LifeResult, Symbols, check_writable, life_figure, write_file};
use strata_sim::{Direction, LifeChoice, LifeError, Lives, Rules};

/// Follows packets from the guest to the wire, or back: phases, layers, the cost of each.
///
/// Where the stack batches packets, a life is a batch. Numbers of instructions may end in k, M or G.
#[derive(Debug, clap::Args)]
pub(crate) struct LifeArgs {
    #[command(flatten)]
    replayed: ReplayedArgs,
    /// Which packets: those that a guest sends (tx), or those for it (rx)
    #[arg(long, value_enum, default_value_t = Way::Tx, conflicts_with = "rules")]
    direction: Way,
    /// Phases by rules of your own (TOML, see docs/life.md)
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Life to tell and to draw: median, slowest, or its number
    #[arg(long, value_name = "LIFE", default_value = "median", value_parser = str::parse::<LifeChoice>)]
    life: LifeChoice,
    /// Draw that life as SVG, a lane for each layer
    #[arg(long, value_name = "FILE.svg")]
    figure: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    #[command(flatten)]
    output: OutputArgs,
    /// Replace the figure if it exists
    #[arg(long, requires = "figure")]
    force_figure: bool,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Which packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Those that a guest sends
    Tx,
    /// Those that a guest receives
    Rx,
}

/// Runs the subcommand.
///
/// # Errors
/// If the rules make no sense, the capture cannot be replayed, or no life can be followed in it.
pub(crate) fn run(args: LifeArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    if let Some(figure) = &args.figure {
        check_writable(figure, args.force_figure)?;
    }
    let rules = match (&args.rules, args.direction) {
        (Some(path), _) => {
            let place = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{place}: the rules cannot be read"))?;
            Rules::parse(&text, &place)?
        }
        (None, Way::Tx) => Rules::xen_net(Direction::Tx),
        (None, Way::Rx) => Rules::xen_net(Direction::Rx),
    };
    let replaying = args.replayed.replaying(args.talk)?;
    let input = args.replayed.open()?;
    if input.folder.is_none() {
        bail!(
            "{}: a bare trace has no names, which phases are told by; give the capture folder",
            input.place()
        );
    }
    let traced = replaying.trace(&input, Lives::new(rules))?;
    debug_assert!(matches!(traced.report.provenance.symbols, Symbols::Used { .. }));
    let total = &traced.report.profile.total;
    let lives = traced
        .tracer
        .finish(&traced.record.paths, &traced.record.functions, total)
        .with_context(|| input.place())?;
    let chosen = match lives.choose(args.life) {
        Ok(life) => Some(life),
        // Without a whole life there are still costs to tell, unless one was asked for.
        Err(LifeError::NoneClosed { .. })
            if args.figure.is_none() && args.life == LifeChoice::Median =>
        {
            None
        }
        Err(error) => return Err(error).with_context(|| input.place()),
    };
    let called = args.life.to_string();
    let result = LifeResult {
        profile: &traced.report,
        lives: &lives,
        returns: &traced.record.returns,
        chosen: chosen.map(|life| (life, called.as_str())),
    };
    let written = match args.format {
        TableFormat::Table => Written::Text(result.to_text()),
        TableFormat::Csv => Written::Csv(result.to_table()),
        TableFormat::Json => Written::Text(result.to_json()?),
        TableFormat::Parquet => Written::Parquet(result.to_table()),
    };
    if let (Some(path), Some(life)) = (&args.figure, chosen) {
        let called = match args.life {
            LifeChoice::Number(_) => "chosen by number",
            LifeChoice::Median => "the median",
            LifeChoice::Slowest => "the slowest",
        };
        let source = traced.report.provenance.title();
        let svg = life_figure(&lives, life, called, source);
        write_file(path, svg.as_bytes(), args.force_figure)?;
        args.talk.note(&format!("drew life {} in {}", life + 1, path.display()));
    }
    args.output.put(written)
}
