//! The `strata` command: one file for each subcommand, no logic.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod annotate;
mod callgraph;
mod capture;
mod capture_input;
mod check;
mod compare;
mod cputime;
mod event_trace;
mod exits;
mod failure;
mod flow;
mod import;
mod info;
mod life;
mod lint;
mod machine_args;
mod output_args;
mod quantity;
mod replay;
mod replayed_args;
mod replaying;
mod reproduce;
mod reproducing;
mod sample;
mod sampling;
mod sweep;
mod sweep_figure;
mod sweep_rows;
mod sweeping;
mod sync;
mod talk;
mod timeline;
mod trim;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Which code causes which cache and TLB misses in a virtualized machine.
///
/// CAPTURE is a capture folder (capture.toml, trace.strata, symbols/) or a bare trace file; `-`
/// reads a trace from standard input. Results go to standard output, everything else to standard
/// error. Exit status: 0 done, 1 the input or the run failed, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Reproduce(reproduce::ReproduceArgs),
    Capture(capture::CaptureArgs),
    Import(import::ImportArgs),
    Info(info::InfoArgs),
    Check(check::CheckArgs),
    Replay(replay::ReplayArgs),
    Sweep(sweep::SweepArgs),
    Life(life::LifeArgs),
    Annotate(annotate::AnnotateArgs),
    Flow(flow::FlowArgs),
    Callgraph(callgraph::CallgraphArgs),
    Timeline(timeline::TimelineArgs),
    Sample(sampling::SampleArgs),
    Exits(exits::ExitsArgs),
    Cputime(cputime::CputimeArgs),
    Sync(sync::SyncArgs),
    Lint(lint::LintArgs),
    Compare(compare::CompareArgs),
    Trim(trim::TrimArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Reproduce(args) => reproduce::run(args),
        Command::Capture(args) => capture::run(args),
        Command::Import(args) => import::run(args),
        Command::Info(args) => info::run(args),
        Command::Check(args) => check::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Life(args) => life::run(args),
        Command::Annotate(args) => annotate::run(args),
        Command::Flow(args) => flow::run(args),
        Command::Callgraph(args) => callgraph::run(args),
        Command::Timeline(args) => timeline::run(args),
        Command::Sample(args) => sampling::run(args),
        Command::Exits(args) => exits::run(args),
        Command::Cputime(args) => cputime::run(args),
        Command::Sync(args) => sync::run(args),
        Command::Lint(args) => lint::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Trim(args) => trim::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough of it.
        Err(error) if failure::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            failure::report(&error);
            ExitCode::FAILURE
        }
    }
}
