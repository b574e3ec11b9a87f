//! What can go wrong while a capture is made.

use std::io;
use std::path::PathBuf;

use crate::manifest::ManifestError;

/// Why a capture was not made. Each message ends with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// Programs are missing on this machine or too old.
    #[error("{}", list_missing(.0))]
    Tools(Vec<MissingTool>),
    /// The recorder was not found.
    #[error(
        "the recorder ({name}) was not found; looked at {}; build it with `cargo build --release -p strata-recorder`, or name it with --recorder or STRATA_RECORDER",
        list_paths(.searched)
    )]
    Recorder {
        /// The file name looked for.
        name: &'static str,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// A file could not be read or written.
    #[error("{path}: cannot {action}: {source}")]
    File {
        /// What was attempted, such as `write`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A helper program failed.
    #[error("`{command}` failed ({status}): {}; {remedy}", last_line(.output))]
    Program {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines it printed.
        output: String,
        /// What to do.
        remedy: String,
    },
    /// A package cannot be resolved.
    #[error("no package {name} can be installed here; {remedy}")]
    Package {
        /// The package, or its pattern.
        name: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file in a package is not as expected.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// Xen's code does not have the form that tells where the running vCPU is kept.
    #[error(
        "Xen {version}: cannot find {what} in its code ({why}); this version of Xen is not supported yet"
    )]
    Layout {
        /// Xen's version.
        version: String,
        /// Which offset.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// The output folder is taken.
    #[error("{path} exists already: {remedy}")]
    Exists {
        /// The folder.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A stage took too long, the emulator died, a guest panicked or gave up.
    #[error("{stage}: {problem}; the whole log is {log}")]
    Guest {
        /// What was going on.
        stage: String,
        /// What happened.
        problem: String,
        /// The log to read.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The settings contradict each other or the machine.
    #[error("{0}")]
    Settings(String),
    /// The manifest could not be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// A program that a capture needs and this machine does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingTool {
    /// What is missing and why it is needed, such as `iperf3 (…): not found`.
    pub what: String,
    /// What to do, such as ``install it with `sudo apt-get install …` ``.
    pub remedy: String,
}

impl CaptureError {
    /// What there is to see beside the message, in lines: the end of a log or of a failed
    /// program's output.
    pub fn detail(&self) -> Option<&str> {
        match self {
            CaptureError::Guest { tail: lines, .. }
            | CaptureError::Program { output: lines, .. }
                if !lines.is_empty() =>
            {
                Some(lines)
            }
            _ => None,
        }
    }
}

fn list_missing(tools: &[MissingTool]) -> String {
    let tools: Vec<String> =
        tools.iter().map(|tool| format!("{}; {}", tool.what, tool.remedy)).collect();
    format!("this machine lacks what a capture needs: {}", tools.join("; "))
}

fn last_line(text: &str) -> &str {
    text.lines().next_back().unwrap_or("it said nothing").trim()
}

fn list_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Adds the file and the attempted action to an I/O error.
pub(super) trait FileContext<T> {
    /// `action` is a verb that fits "cannot …".
    fn on(self, action: &'static str, path: &std::path::Path) -> Result<T, CaptureError>;
}

impl<T> FileContext<T> for io::Result<T> {
    fn on(self, action: &'static str, path: &std::path::Path) -> Result<T, CaptureError> {
        self.map_err(|source| CaptureError::File { action, path: path.to_path_buf(), source })
    }
}
