//! What is said besides results, on standard error.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;
use std::io::{IsTerminal, Write, stderr};
use std::sync::LazyLock;

/// All bars of this run.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));

/// How much is said.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct TalkArgs {
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Say also how long things took
    #[arg(short, long)]
    verbose: bool,
}

impl TalkArgs {
    /// Says something that matters to most.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            // With standard error closed there is nobody to tell.
            let _ = writeln!(stderr(), "{text}");
        }
    }

    /// Says something for those who asked for more.
    pub(crate) fn detail(self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Whether a bar would be seen.
    pub(crate) fn shows_progress(self) -> bool {
        !self.quiet && stderr().is_terminal()
    }

    /// A bar over instructions, drawn on a terminal only; of unknown length it counts.
    pub(crate) fn progress(
        self,
        what: impl Into<Cow<'static, str>>,
        instructions: Option<u64>,
    ) -> ProgressBar {
        let template = "{msg} {wide_bar} {human_pos} of {human_len} instructions, {eta} left";
        self.bar(what, instructions, template, "{spinner} {msg} {human_pos} instructions")
    }

    /// The same over anything else, which `what` tells.
    pub(crate) fn progress_in_steps(self, what: &'static str, steps: u64) -> ProgressBar {
        self.bar(what, Some(steps), "{msg} {wide_bar} {pos} of {len}", "{spinner} {msg}")
    }

    /// The same over bytes.
    pub(crate) fn progress_in_bytes(self, what: &'static str, bytes: Option<u64>) -> ProgressBar {
        let template = "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left";
        self.bar(what, bytes, template, "{spinner} {msg} {bytes}")
    }

    fn bar(
        self,
        what: impl Into<Cow<'static, str>>,
        length: Option<u64>,
        with_length: &str,
        without: &str,
    ) -> ProgressBar {
        if !self.shows_progress() {
            return ProgressBar::hidden();
        }
        let (bar, template) = match length {
            Some(length) => (ProgressBar::new(length), with_length),
            None => (ProgressBar::new_spinner(), without),
        };
        // Of several at once each has a line of its own.
        let bar = BARS.add(bar);
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.with_style(style).with_message(what)
    }
}
