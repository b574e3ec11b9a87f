//! What is replayed: options that all commands share that replay a capture.

use crate::capture_input::CaptureInput;
use crate::machine_args::MachineArgs;
use crate::quantity::{self, Span};
use crate::replaying::Replaying;
use crate::talk::TalkArgs;
use std::path::PathBuf;

/// Which part of which capture is replayed, on which machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReplayedArgs {
    /// Capture folder, trace file, or - for a trace on standard input
    #[arg(value_name = "CAPTURE")]
    pub(crate) capture: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
    /// Instructions to replay, as in 5M..20M, 2.5M.. or ..20M; caches are cold at its start
    #[arg(long, value_name = "A..B", value_parser = quantity::span)]
    pub(crate) range: Option<Span>,
    /// Replay what is whole of a trace that ends early
    #[arg(long)]
    pub(crate) allow_truncated: bool,
}

/// With which names, and from where on it counts.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct CountedArgs {
    /// Instructions at the start that warm the caches and are not counted
    #[arg(long, value_name = "N", default_value = "0", value_parser = quantity::quantity)]
    warm_up: u64,
    #[command(flatten)]
    names: NamesArgs,
}

/// With which names.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct NamesArgs {
    /// Replay without names
    #[arg(long)]
    no_symbols: bool,
}

impl ReplayedArgs {
    /// The replay, with names and counted from its start.
    ///
    /// # Errors
    /// If the machine cannot exist.
    pub(crate) fn replaying(&self, talk: TalkArgs) -> anyhow::Result<Replaying> {
        Ok(Replaying {
            machine: self.machine.load()?,
            what: "replaying",
            span: self.range.unwrap_or(Span { from: 0, to: None }),
            warm_up: 0,
            symbols: true,
            allow_truncated: self.allow_truncated,
            classify: false,
            data: None,
            threads: None,
            talk,
        })
    }

    /// The capture.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open(&self) -> anyhow::Result<CaptureInput> {
        CaptureInput::open(&self.capture)
    }
}

impl CountedArgs {
    /// The replay as these say.
    pub(crate) fn apply(self, replaying: Replaying) -> Replaying {
        self.names.apply(Replaying { warm_up: self.warm_up, ..replaying })
    }
}

impl NamesArgs {
    /// The replay as these say.
    pub(crate) fn apply(self, replaying: Replaying) -> Replaying {
        Replaying { symbols: !self.no_symbols, ..replaying }
    }
}
