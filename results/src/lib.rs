//! What people look at: tables, CSV and JSON.
//!
//! A [`ProfileReport`] is a replay's profile with its provenance; a [`Selection`] says which rows
//! of it to show. Every form of it names the machine, the trace and what was left out, because a
//! number without them means nothing.
//!
//! ```
//! use strata_cachemodel::Machine;
//! use strata_results::{ProfileReport, Provenance, Selection};
//! use strata_sim::{Extent, Nameless, Replay};
//! use strata_workloads::trace::MachineState;
//!
//! let machine = Machine::load("vee07")?;
//! let replay = Replay::new(&machine, Nameless, MachineState::default(), Extent::default());
//! let (profile, _) = replay.finish()?;
//! let report = ProfileReport { profile, provenance: Provenance::default() };
//! let json = report.to_json(Selection::default())?;
//! assert!(json.contains("\"semantics\": \"per-reference\""));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod annotation_report;
mod call_graph;
mod check_result;
mod comparison;
mod cpu_time;
mod data_table;
mod document_head;
mod entry_names;
mod error;
mod exit_report;
mod flow_report;
mod known;
mod layer_colour;
mod layer_figure;
mod life_figure;
mod life_result;
mod line_chart;
mod lint_report;
mod metric;
mod miss_classes;
mod numbers;
mod output;
mod paper;
#[cfg(feature = "parquet")]
mod parquet_file;
mod picture;
mod profile_csv;
mod profile_json;
mod profile_report;
mod profile_table;
mod profile_text;
mod provenance;
mod result_table;
mod returns;
mod sample_report;
mod selection;
mod structure;
mod summary;
mod sweep_folder;
mod sweep_report;
mod sync_report;
mod text_table;
mod timeline_report;
mod trace_events;
mod trace_info;
mod trace_survey;
mod units;

pub use annotation_report::{AnnotationReport, AnnotationSelection};
pub use call_graph::{CallExport, CallGraphReport, CallSelection, CallsBy};
pub use check_result::{CheckResult, salvage_text};
pub use comparison::{CompareSelection, Comparison, ResultFile};
pub use cpu_time::{Categories, CategoriesOf, CpuTimeResult, CpuTimeSource};
pub use data_table::DataSelection;
pub use error::Error;
pub use exit_report::{ExitPhases, ExitResult, ExitTimeline};
pub use flow_report::FlowReport;
pub use known::Known;
pub use layer_figure::layer_figure;
pub use life_figure::life_figure;
pub use life_result::LifeResult;
pub use line_chart::{
    Axis, ChartFile, ChartSource, Form, Labels, Lane, LineChart, Panel, Scale, Series,
};
pub use lint_report::LintResult;
pub use metric::Metric;
pub use output::{FILE_LIST, OutputFolder, check_writable, write_file, write_file_with};
pub use paper::{PaperCalls, PaperCapture, PaperReport, PaperSweeps, Shape, Verdict};
pub use picture::png_of_svg;
pub use profile_report::ProfileReport;
pub use profile_table::{Group, Named, Others, ProfileTable};
pub use profile_text::Figure;
pub use provenance::{Provenance, Symbols};
pub use result_table::{Table, check_parquet};
pub use sample_report::{
    HardwareProfile, HardwareRow, Overlap, SampleReport, SampleRow, SampleSelection,
};
pub use selection::{By, Selection, SortKey};
pub use structure::Structure;
pub use sweep_folder::SweepFolder;
pub use sweep_report::{FigureAxis, SweepReport, SweepRow};
pub use sync_report::{SyncResult, SyncedTrace};
pub use timeline_report::{TimelineFigures, TimelineReport, TimelineRows};
pub use trace_events::{Mark, TraceEvents};
pub use trace_info::TraceInfo;
pub use trace_survey::{TraceContents, TraceSurvey, VcpuName};
