//! Where results go.

use anyhow::{Context, bail};
use clap::ValueEnum;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use strata_results::{Table, check_parquet, check_writable, write_file, write_file_with};

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

/// How a result of rows is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// For people
    Table,
    /// One line for each row, units in the header
    Csv,
    /// One object
    Json,
    /// The rows of CSV as a Parquet file, where strata is built with it
    Parquet,
}

/// A result in the form that was asked for.
pub(crate) enum Written<'t> {
    /// Text of any kind.
    Text(String),
    /// Rows, to be written as CSV.
    Csv(Table<'t>),
    /// Rows, to be written as Parquet.
    Parquet(Table<'t>),
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

    /// The file that the result goes to, if it goes to one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.output.as_deref()
    }

    /// Finds out early that Parquet cannot be written.
    ///
    /// # Errors
    /// If this is built without, or a terminal would get it.
    pub(crate) fn check_parquet(&self) -> anyhow::Result<()> {
        check_parquet()?;
        if self.output.is_none() && io::stdout().is_terminal() {
            bail!("Parquet is no text for a terminal; name a file with -o");
        }
        Ok(())
    }

    /// Writes the result in its form.
    ///
    /// # Errors
    /// If the system refuses, or the result cannot be made.
    pub(crate) fn put(&self, written: Written<'_>) -> anyhow::Result<()> {
        match written {
            Written::Text(text) => self.write(&text),
            Written::Csv(table) => self.write_with(|out| table.write_csv(out)),
            Written::Parquet(table) => self.write_with(|out| table.write_parquet(out)),
        }
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
