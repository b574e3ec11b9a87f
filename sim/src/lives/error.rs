//! Why lives could not be followed.

use strata_symbols::{did_you_mean, near_names};

/// Layers that rules are likely to name.
const LAYERS: [&str; 9] = [
    "hypervisor",
    "idle",
    "unknown",
    "dom0-kernel",
    "dom0-user",
    "dom1-kernel",
    "dom1-user",
    "guest-kernel",
    "guest-user",
];

/// To go on with after a name that does not exist.
fn suggestion<N: AsRef<str>>(near: &[N]) -> String {
    did_you_mean(near).map_or_else(String::new, |question| format!("; {question}"))
}

/// Why lives could not be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifeError {
    /// A rules file that makes no sense.
    #[error("{place}: {why}")]
    Rules {
        /// The file.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A layer that does not exist.
    #[error(
        "`{given}` is no layer; there are hypervisor, idle, dom0-kernel, dom0-user, dom1-kernel, … and guest-kernel and guest-user for all domains but 0{}",
        suggestion(&near_names(given, LAYERS))
    )]
    UnknownLayer {
        /// What was given.
        given: String,
    },
    /// A pattern that can match nothing.
    #[error("pattern `{given}`: {why}")]
    Pattern {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A phase that every life must have names functions that never ran.
    #[error(
        "phase {phase}: no function that ran is `{pattern}` of {layer}; correct the rules, or make the phase optional{}",
        suggestion(near)
    )]
    NeverRan {
        /// The phase.
        phase: String,
        /// Its first pattern.
        pattern: String,
        /// Where it looks.
        layer: String,
        /// Functions of that layer with like names.
        near: Vec<String>,
    },
    /// A trace without grant operations.
    #[error(
        "the trace has no grant-table operations, which packets are followed by: record a guest of Xen that uses its network, or take all of the trace instead of a range"
    )]
    NoGrants,
    /// Grant operations, but none where the rules look for them.
    #[error(
        "none of the {operations} grant-table operations of the trace were made in a phase that accepts them ({phases}): choose the other direction, or other rules"
    )]
    NotAccepted {
        /// Number of operations.
        operations: u64,
        /// Names of these phases.
        phases: String,
    },
    /// The lives and what is outside are not the whole.
    #[error(
        "conservation law broken: lives and what is outside of them have {sum} {counter}, the replay counted {total}; this is a fault in strata, and no figure of this run can be trusted"
    )]
    Sum {
        /// Which counter.
        counter: &'static str,
        /// Over all lives and outside.
        sum: u64,
        /// Of the replay.
        total: u64,
    },
    /// A life that does not exist.
    #[error("there is no life {given}; there are {lives}, numbered from 1")]
    NoSuchLife {
        /// What was asked for.
        given: u64,
        /// How many there are.
        lives: u64,
    },
    /// No life of which the median or the slowest could be told.
    #[error(
        "none of the {lives} lives came to its end in the trace; --life N chooses one that did not"
    )]
    NoneClosed {
        /// Lives begun.
        lives: u64,
    },
}
