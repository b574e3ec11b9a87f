//! Where results go.

use anyhow::Context;
use clap::ValueEnum;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use strata_results::{check_writable, write_file, write_file_with};

/// Where results go.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    force: bool,
}

/// How a result without a tabular form is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One object
    Json,
}

impl OutputArgs {
    /// Finds out early that the result cannot be written.
    ///
    /// # Errors
    /// If the file exists and may not be replaced.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match &self.output {
            Some(path) => Ok(check_writable(path, self.force)?),
            None => Ok(()),
        }
    }

    /// Whether the result goes to a file.
    pub(crate) fn is_file(&self) -> bool {
        self.output.is_some()
    }

    /// Writes the result.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn write(&self, text: &str) -> anyhow::Result<()> {
        match &self.output {
            Some(path) => Ok(write_file(path, text.as_bytes(), self.force)?),
            None => print(text),
        }
    }
}

impl OutputArgs {
    /// Writes a result that is made piece by piece.
    ///
    /// # Errors
    /// If the system refuses, or the result cannot be made.
    pub(crate) fn write_with(
        &self,
        contents: impl FnOnce(&mut dyn Write) -> Result<(), strata_results::Error>,
    ) -> anyhow::Result<()> {
        match &self.output {
            Some(path) => Ok(write_file_with(path, self.force, contents)?),
            None => {
                let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
                contents(&mut out)?;
                out.flush().context("standard output")
            }
        }
    }
}

/// Writes to standard output.
///
/// # Errors
/// If nobody reads any more, or the system refuses.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output")
}
