//! Why a result could not be written.

use std::io;
use std::path::PathBuf;

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name of a grouping, sort key, column or format that does not exist.
    #[error("`{given}` is no {what}; there are {known}")]
    UnknownName {
        /// What was given.
        given: String,
        /// What it should have been.
        what: &'static str,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// A machine has nothing that could be sorted by.
    #[error("machine {machine} has nothing to sort by {key}; {remedy}")]
    NotModelled {
        /// The sort key.
        key: &'static str,
        /// The machine.
        machine: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file of categories is wrong.
    #[error("{}: {why}", path.display())]
    Categories {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Categories do not sum to the whole, which is a fault of this program.
    #[error(
        "categories sum to {sum} and the whole is {whole}; this is a fault in strata, and no figure \
         of this run can be trusted"
    )]
    CategorySum {
        /// Over all categories.
        sum: f64,
        /// What they are of.
        whole: f64,
    },
    /// A metric that the machine does not have or the trace does not know.
    #[error("there are no {metric}: {why}; {remedy}")]
    NoMetric {
        /// The metric.
        metric: String,
        /// Why there is none.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A selection with nothing in it.
    #[error("there are no {what}; select more, or replay another range")]
    NothingSelected {
        /// What there is none of.
        what: String,
    },
    /// A function that never ran.
    #[error("no function {given} ran in what was replayed; {what_to_do}")]
    UnknownFunction {
        /// What was given.
        given: String,
        /// Functions that ran and are called like it, or where to find some.
        what_to_do: String,
    },
    /// A file exists that may not be replaced.
    #[error("{}: exists already; give another name, or --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file of a result folder exists, and no earlier run wrote it.
    #[error(
        "{}: exists already and was not written by an earlier run (it is not listed in {list}); \
         choose another folder, or move the file away", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Name of the list.
        list: &'static str,
    },
    /// The list of a result folder's files cannot be trusted.
    #[error(
        "{}: names {entry:?}, which is no file of this folder; choose another folder, or remove \
         that line", path.display()
    )]
    List {
        /// The list.
        path: PathBuf,
        /// The offending line.
        entry: String,
    },
    /// Another run works in a sweep folder.
    #[error("{}: in use by another run; wait for its end, or choose another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A sweep folder that is not to be resumed holds points.
    #[error(
        "{}: holds points of an earlier sweep; --resume uses them and goes on, or choose another \
         folder", path.display()
    )]
    HasPoints {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a sweep folder cannot be used.
    #[error("{}: {why}; remove it, and the point is counted again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something could not be written.
    #[error("{}: cannot be written: {source}; choose another place with -o, or free it", path.display())]
    Unwritable {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A point of a sweep could not be kept.
    #[error(
        "{}: this point cannot be kept: {source}; those before it are, make room and go on with \
         --resume",
        path.display()
    )]
    PointNotKept {
        /// The point's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A sweep, or a parameter of it, without an axis to draw over.
    #[error(
        "a figure is drawn over several numbers, which {given} has not; sweep some, as in \
         --l2-size 512KiB..32MiB"
    )]
    NoFigureAxis {
        /// What has none.
        given: String,
    },
    /// A result could not be put into its format.
    #[error("the result could not be written as {format}: {message}")]
    Format {
        /// CSV or JSON.
        format: &'static str,
        /// Why.
        message: String,
    },
    /// Rows of a replay could not be read.
    #[error(transparent)]
    Replay(#[from] strata_sim::Error),
    /// A row breaks one of the 17 identities, which is a fault of this program.
    #[error(
        "{function}, entered after {at} instructions: {broken}; this is a fault in strata, and no \
         figure of this run can be trusted"
    )]
    Identity {
        /// Function of the row.
        function: String,
        /// Instructions before it.
        at: u64,
        /// What does not hold.
        broken: strata_sim::BrokenIdentity,
    },
    /// Parquet was asked for of a program built without.
    #[error(
        "this strata was built without Parquet; build it with `cargo build --release --features \
         parquet`, or take --format csv"
    )]
    NoParquet,
    /// Nothing was sampled.
    #[error(
        "no sample was taken: {events} events of {event} are fewer than one interval; give a shorter \
         --every, or replay more"
    )]
    NoSamples {
        /// What was sampled.
        event: &'static str,
        /// How many there were.
        events: u64,
    },
    /// A profile by hardware that is none.
    #[error(
        "{name}: has no rows of a profile; give what `perf report --stdio` or `opreport -l` printed"
    )]
    HardwareProfile {
        /// The file.
        name: String,
    },
    /// A result could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no result of a command, or not a whole one.
    #[error(
        "{}: is no result that can be compared: {why}; give a file that a command wrote with \
         --format json or csv", path.display()
    )]
    NoResult {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A result of another layout.
    #[error(
        "{}: is of schema {found}, and this version of strata reads schema {known}; write it anew, \
         or take the version that wrote it", path.display()
    )]
    OtherSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: String,
        /// The one that can be read.
        known: u64,
    },
    /// Two results that have no rows in common by what they are.
    #[error("{} is {what_a} and {} is {what_b}; {remedy}", a.display(), b.display())]
    NotAlike {
        /// The one.
        a: PathBuf,
        /// What it is.
        what_a: String,
        /// The other.
        b: PathBuf,
        /// What that is.
        what_b: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Output could not be written.
    #[error("the output cannot be written: {0}")]
    Output(#[source] io::Error),
}
