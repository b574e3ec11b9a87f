//! Phases of an exit between probes, as Table 3 of the Xen/VT paper.

mod engine;
mod phases;
mod watch;

pub use engine::{Breakdown, BreakdownReport, PhaseRow, ProbeCount};
pub use phases::Phases;
pub use watch::Watch;

pub(crate) use watch::{EventRef, FieldValue, add_probes};
