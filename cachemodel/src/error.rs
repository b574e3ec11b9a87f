//! What can be wrong with a machine description, and with counts.

use std::path::PathBuf;

/// Why a machine could not be described or built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value outside what can exist, such as a cache with more ways than lines.
    #[error("{key}: must be {rule}, got {got}")]
    Geometry {
        /// Where the value stands, as in `l2.size`.
        key: String,
        /// What it would have to be, with the limit.
        rule: String,
        /// The value found.
        got: String,
    },
    /// An override or file names a key that machines do not have.
    #[error("{key}: no such key; known here are {known}")]
    UnknownKey {
        /// The key as given.
        key: String,
        /// The keys that exist at this place, separated by commas.
        known: String,
    },
    /// An override gives a value that its key cannot take.
    #[error("{key}: cannot be `{value}`: {reason}")]
    BadValue {
        /// The key as given.
        key: String,
        /// The value as given.
        value: String,
        /// What the key takes.
        reason: String,
    },
    /// Overrides add a section and leave out what has no default there.
    #[error("{section}: not complete without {missing}")]
    Incomplete {
        /// The section, as in `l3`.
        section: String,
        /// The keys that it lacks, separated by commas.
        missing: String,
    },
    /// The text of a machine description is not what it should be.
    #[error("machine description: {0}")]
    Parse(String),
    /// Neither a preset nor a file.
    #[error(
        "`{name}` is neither a file nor a machine preset; the presets are {known}, and a machine \
         of one's own is given as the path of a TOML file"
    )]
    UnknownMachine {
        /// The name as given.
        name: String,
        /// The presets, separated by commas.
        known: String,
    },
    /// A machine file exists but cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A machine file was read and refused.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<Error>,
    },
}

/// A conservation law that a set of counts does not keep: a bug in the model, never in its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "law broken: {law}: {left} is not {right}; this is an error in the model, please report it"
)]
pub struct BrokenLaw {
    /// The law, with the names of its two sides.
    pub law: String,
    /// Value of the left side.
    pub left: u64,
    /// Value of the right side.
    pub right: u64,
}
