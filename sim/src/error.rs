//! Why a replay failed.

use strata_cachemodel::BrokenLaw;
use strata_workloads::trace::TraceError;

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The trace could not be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A conservation law does not hold: a fault of this program, never of its input.
    #[error(
        "conservation law broken: {0}; this is a fault in strata, and no figure of this run can be trusted"
    )]
    Law(#[from] BrokenLaw),
    /// The calls were asked for of a replay that did not follow them.
    #[error("this replay followed no calls: give it a tracer before its first batch")]
    NotTraced,
    /// The trace or the machine does not allow a replay in stretches.
    #[error("the trace cannot be replayed in stretches: {why}; replay it as a whole")]
    Stretches {
        /// What stands against it.
        why: &'static str,
    },
    /// The sum over functions is not the total.
    #[error(
        "conservation law broken: the functions' {counter} sum to {sum}, the machine counted {total}; this is a fault in strata, and no figure of this run can be trusted"
    )]
    Sum {
        /// Which counter.
        counter: String,
        /// Over all functions.
        sum: u64,
        /// Of the hierarchy.
        total: u64,
    },
    /// What the paths of calls sum to is not the total.
    #[error(
        "conservation law broken: the call paths' {counter} sum to {sum}, the functions counted {total}; this is a fault in strata, and no figure of this run can be trusted"
    )]
    Paths {
        /// Which counter.
        counter: String,
        /// Over all paths.
        sum: u64,
        /// Over all functions.
        total: u64,
    },
    /// The classes of a layer's misses do not sum to its misses.
    #[error(
        "conservation law broken: the {structure} misses of {layer} are {misses}, their classes sum to {sum}; this is a fault in strata, and no figure of this run can be trusted"
    )]
    Classes {
        /// Which structure.
        structure: &'static str,
        /// Whose misses.
        layer: strata_symbols::Layer,
        /// Over all classes.
        sum: u64,
        /// Counted by the functions.
        misses: u64,
    },
    /// More misses were inflicted by one layer on another than lines were missed that it had evicted.
    #[error(
        "conservation law broken: {by} inflicted {inflicted} misses on {layer} at level {level}, which missed {evictions} lines evicted by it; this is a fault in strata, and no figure of this run can be trusted"
    )]
    Evictions {
        /// Level of cache, 1-based.
        level: usize,
        /// Who missed.
        layer: strata_symbols::Layer,
        /// Whose fills had evicted the lines.
        by: strata_symbols::Layer,
        /// Misses on lines, by the matrix.
        evictions: u64,
        /// Misses of references, by their classes.
        inflicted: u64,
    },
    /// The misses of a timeline's windows do not sum to those counted.
    #[error(
        "conservation law broken: the windows' {structure} misses sum to {sum}, the functions counted {total}; this is a fault in strata, and no figure of this run can be trusted"
    )]
    Windows {
        /// Which structure.
        structure: &'static str,
        /// Over all windows.
        sum: u64,
        /// Over all functions.
        total: u64,
    },
    /// The range of instructions has nothing in it.
    #[error("instructions {from}..{to} hold nothing: {why}")]
    Range {
        /// First instruction (0-based).
        from: u64,
        /// One past the last.
        to: u64,
        /// Why.
        why: String,
    },
    /// A length that no timeline can have.
    #[error("{what}: {value} instructions make no timeline: {why}")]
    Timeline {
        /// Which one.
        what: &'static str,
        /// In instructions.
        value: u64,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// Samples that cannot be taken.
    #[error("no sample can be taken every {every} events: {why}")]
    Sampling {
        /// Events from one sample to the next.
        every: u64,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Rows of an annotation could not be kept.
    #[error("the rows cannot be kept in a temporary file: {0}; point TMPDIR to a folder with room")]
    Rows(#[source] std::io::Error),
    /// A trigger that is none.
    #[error(
        "`{given}` is no trigger: {why}; it is a function or LAYER:FUNCTION, in which * stands for anything"
    )]
    Trigger {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A trigger that no function was entered for.
    #[error("no function {trigger} is entered in what was replayed; {near}")]
    NoFunction {
        /// The trigger.
        trigger: String,
        /// Names like it, or where to find some, as a clause.
        near: String,
    },
    /// A trigger that does not come as often as was asked for.
    #[error(
        "there is no number {nth} of {what}: what was replayed has {found} of them; ask for an earlier one with --nth"
    )]
    Occurrences {
        /// Which one was asked for, 1-based.
        nth: u64,
        /// Of what.
        what: String,
        /// How many there are.
        found: u64,
    },
    /// A flow that begins and does not end.
    #[error(
        "the flow from {from} (at instruction {at}) does not reach {awaited}: followed for {rows} \
         rows and {instructions} instructions, {why}"
    )]
    Unclosed {
        /// Its first function.
        from: String,
        /// Instructions before it.
        at: u64,
        /// What it should have come to next.
        awaited: String,
        /// Rows seen.
        rows: u64,
        /// Instructions seen.
        instructions: u64,
        /// What ended it, and what to do.
        why: String,
    },
}
