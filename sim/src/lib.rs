//! Replay: joins stream, models and names.
//!
//! A [`Replay`] takes the batches of a trace, follows who runs in which address space, sends every
//! fetch and data access through a [`Hierarchy`](strata_cachemodel::Hierarchy), and charges what
//! happened to the function that did it.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod actors;
mod addressing;
mod annotation;
mod call_graph;
mod calls;
mod capture_names;
mod counters;
mod data_misses;
mod delivery;
mod error;
mod figure4;
mod flow;
mod functions;
mod layers;
mod lives;
mod miss_classes;
mod pipeline;
mod plans;
mod profile;
mod replay;
mod sampling;
mod stretches;
mod survey;
mod sweep;
mod timeline;
mod trim;
mod who;

pub use actors::UnknownPartitions;
pub use addressing::{Addressing, Page};
pub use annotation::{Annotation, Attribution, Entries, Entry, Kept, lagging};
pub use call_graph::{CallArc, CallGraph, CallNode, CallTree, FunctionCost, NodeId};
pub use calls::{
    Arrival, CallFollower, CallRecord, Course, Link, Path, PathId, Paths, ReturnReport, Scene,
    Tracer, Visit,
};
pub use capture_names::{CaptureNames, FINGERPRINTS, NamesError};
pub use counters::{Counters, Level, Tally};
pub use data_misses::{DataGrain, DataMisses, DataRow, DataSide};
pub use error::Error;
pub use figure4::{BrokenIdentity, Figure4, LevelColumns};
pub use flow::{
    Flow, FlowPlace, FlowQuery, FlowRow, FlowSelection, Found, Names, Stage, Trigger, every_flow,
};
pub use functions::{
    Function, FunctionId, Functions, Name, Nameless, Namer, Naming, Place, Segment,
};
pub use layers::layer_of;
pub use lives::{
    Bar, Counted, Direction, IdlePattern, LayerPattern, Life, LifeChoice, LifeError, LifeReport,
    LifeStage, LifeVisit, Lives, MOST_PHASES, Outside, Pattern, Patterns, Phase, PhaseTotal, Rules,
    Summary,
};
pub use miss_classes::{CacheMisses, Evictions, MissClasses, TlbMisses};
pub use pipeline::{Ahead, ReadReport, for_each_batch, for_each_batch_behind};
pub use profile::{Profile, Row};
pub use replay::{Extent, Remarks, Replay, Traced};
pub use sampling::{SampledEvent, Sampler, Sampling, SamplingOptions};
pub use stretches::{InStretches, replay_in_stretches, why_not_in_stretches};
pub use sweep::{
    GridError, Setting, SweepAxis, SweepGrid, SweepPass, SweepPlan, SweepPoint, Sweeping,
};
pub use timeline::{
    After, AfterBin, Correlation, Estimate, MOST_WINDOWS, Mark, MarkKind, Misses, STRUCTURES,
    Timeline, TimelineOptions, TimelineWatch, Window, misses_of,
};
pub use trim::{TrimError, TrimOptions, TrimReport, trim};
