//! Misses over instructions retired (VEE'07, Figures 11 and 12).

mod csv_rows;
mod figures;
mod json;
#[cfg(test)]
mod tests;
mod text;

pub use csv_rows::TimelineRows;
pub use figures::TimelineFigures;

use crate::profile_report::ProfileReport;
use crate::structure::Structure;
use strata_sim::{Mark, MarkKind, Misses, Timeline, Window};

/// A timeline, and what of.
#[derive(Clone, Debug)]
pub struct TimelineReport {
    report: ProfileReport,
    timeline: Timeline,
}

impl TimelineReport {
    /// Of a replay that noted one; `None` of any other.
    pub fn new(mut report: ProfileReport) -> Option<Self> {
        let timeline = report.profile.timeline.take()?;
        Some(TimelineReport { report, timeline })
    }

    /// The timeline.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Structures that the machine has and the trace tells of.
    fn structures(&self) -> Vec<Structure> {
        let known = self.report.known();
        let structures = Structure::of(&self.report.profile.machine).into_iter();
        structures.filter(|&structure| known.structure(structure)).collect()
    }

    /// Places of `kind`, and its operations.
    fn count(&self, kind: MarkKind) -> (u64, u64) {
        let marks = self.timeline.marks.iter().filter(|mark| mark.kind == kind);
        marks.fold((0, 0), |(places, all), mark| (places + 1, all + mark.operations))
    }

    /// Each window with the misses up to its end, and its marks.
    fn windows(&self) -> impl Iterator<Item = (&Window, Misses, &[Mark])> {
        let mut sum = Misses::default();
        let mut marks = self.timeline.marks.as_slice();
        let last = self.timeline.windows.len().saturating_sub(1);
        self.timeline.windows.iter().enumerate().map(move |(index, window)| {
            sum.iter_mut().zip(&window.misses).for_each(|(sum, more)| *sum += more);
            // What happens at the very end is in the last window.
            let own = marks.partition_point(|mark| index == last || mark.at < window.to);
            let (own, later) = marks.split_at(own);
            marks = later;
            (window, sum, own)
        })
    }

    /// What no window, bin or mark says of itself.
    fn notes(&self) -> Vec<String> {
        let timeline = &self.timeline;
        let mut notes = Vec::new();
        if timeline.options.window > timeline.instructions {
            notes.push(format!(
                "the window is longer than the {} instructions replayed, so that there is only one",
                timeline.instructions
            ));
        }
        let missing = timeline.options.marks.iter().filter(|&&kind| self.count(kind).0 == 0);
        let missing: Vec<&str> = missing.map(|kind| kind.name()).collect();
        if !missing.is_empty() {
            notes.push(format!(
                "no events of these kinds in what was replayed: {}",
                missing.join(", ")
            ));
        }
        notes
    }
}
