//! Functions in order between two of them: the life of a packet, as Figures 7 to 10 of the VEE'07
//! paper tell it.

mod collapse;
mod depths;
mod every;
mod names;
mod stages;
mod trigger;

pub use every::{FlowPlace, every_flow};
pub use names::Names;
pub use stages::Stage;
pub use trigger::Trigger;

use crate::annotation::{Entries, Entry};
use crate::calls::{Arrival, PathId};
use crate::error::Error;
use collapse::Collapsing;
use depths::Depths;
use names::Matches;
use strata_symbols::Layer;

/// Where a flow begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowQuery {
    /// It begins when this is entered.
    pub from: Trigger,
    /// Then these have to be entered, in this order.
    pub via: Vec<Trigger>,
    /// It ends when this is entered, or with the rows.
    pub to: Option<Trigger>,
    /// Which one, 1-based.
    pub nth: u64,
    /// Whether it begins with the last `from` before what follows it. If not, it begins with the
    /// `nth` one, whatever comes of it.
    pub latest: bool,
    /// Rows after which it counts as never ending.
    pub limit: u64,
}

/// Rows that a query found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// First row, 0-based.
    pub first: u64,
    /// Last row, which belongs to it.
    pub last: u64,
    /// Triggers that stand for several functions, a sentence each.
    pub ambiguous: Vec<String>,
}

/// A flow under way.
struct Begun {
    row: u64,
    at: u64,
    path: PathId,
    /// How many of the triggers after the first it has come to.
    reached: usize,
}

impl FlowQuery {
    /// Finds its rows.
    ///
    /// # Errors
    /// [`Error::NoFunction`] for a trigger that nothing is entered for, [`Error::Occurrences`] if
    /// there are fewer than asked for, [`Error::Unclosed`] if the end never comes or not within the
    /// limit.
    pub fn find(&self, rows: &Entries, names: &Names) -> Result<Found, Error> {
        let next: Vec<&Trigger> = self.via.iter().chain(&self.to).collect();
        let mut from = Matches::new(&self.from, names);
        let mut next: Vec<Matches<'_>> =
            next.into_iter().map(|trigger| Matches::new(trigger, names)).collect();
        let (mut begun, mut starts, mut ends) = (None::<Begun>, 0, 0);
        let mut found = None;
        let mut last = (0, 0);
        for (row, entry) in (0..).zip(rows.iter()) {
            let entry = entry?;
            last = (row, entry.at);
            let function = names.function_of(entry.path);
            // All are counted to the end, for what has to be said of them.
            let is_from = from.count(function);
            let awaited = begun.as_ref().map_or(0, |begun| begun.reached);
            let mut comes = false;
            for (index, trigger) in next.iter_mut().enumerate() {
                comes |= trigger.count(function) && index == awaited;
            }
            if found.is_some() {
                continue;
            }
            if let Some(begun) = &begun
                && row - begun.row >= self.limit
            {
                break;
            }
            starts += u64::from(is_from);
            let restarts = self.latest && begun.as_ref().is_none_or(|begun| begun.reached == 0);
            if is_from && (restarts || (begun.is_none() && starts == self.nth)) {
                let Entry { at, path, .. } = entry;
                begun = Some(Begun { row, at, path, reached: 0 });
            } else if comes && let Some(under_way) = &mut begun {
                under_way.reached += 1;
                if under_way.reached == next.len() && self.to.is_some() {
                    ends += 1;
                    if !self.latest || ends == self.nth {
                        found = Some((under_way.row, row));
                    } else {
                        begun = None;
                    }
                }
            }
            if let (Some(under_way), None) = (&begun, &self.to)
                && under_way.reached == next.len()
                && found.is_none()
            {
                found = Some((under_way.row, rows.len() - 1));
            }
        }
        let Some((first, end)) = found else {
            return Err(self.failure(begun.as_ref(), last, (starts, ends), &from, &next, names));
        };
        let ambiguous =
            std::iter::once(&from).chain(&next).filter_map(Matches::ambiguity).collect();
        Ok(Found { first, last: end, ambiguous })
    }

    /// Why nothing was found.
    fn failure(
        &self,
        begun: Option<&Begun>,
        (row, at): (u64, u64),
        (starts, ends): (u64, u64),
        from: &Matches<'_>,
        next: &[Matches<'_>],
        names: &Names,
    ) -> Error {
        let limited = begun.is_some_and(|begun| row - begun.row >= self.limit);
        let mut triggers = std::iter::once(from).chain(next);
        if let Some(missing) = triggers.find(|trigger| trigger.never())
            && !(limited && missing.ran())
        {
            return missing.missing();
        }
        // Of flows that came to their ends there are too few, whatever began after the last of them.
        let begun = begun.filter(|_| limited || ends == 0);
        let Some(begun) = begun else {
            let (what, found) = match self.latest {
                true => (format!("the flows from {} to their ends", self.from), ends),
                false => (format!("the entries of {}", self.from), starts),
            };
            return Error::Occurrences { nth: self.nth, what, found };
        };
        let awaited = next.get(begun.reached).map_or("its end".to_owned(), Matches::text);
        Error::Unclosed {
            from: names.text_of(begun.path),
            at: begun.at,
            awaited,
            rows: row - begun.row,
            instructions: at - begun.at,
            why: match limited {
                true => format!("which is the limit of {} rows; raise --limit", self.limit),
                false => "where what was replayed ends; choose an earlier one with --nth, or \
                          another function"
                    .to_owned(),
            },
        }
    }
}

/// Which rows of a flow are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowSelection {
    /// Layers to show; all if empty.
    pub layers: Vec<Layer>,
    /// CPUs to show; all if empty.
    pub cpus: Vec<u16>,
    /// Greatest depth to show.
    pub depth: Option<u32>,
    /// Whether what repeats is left out.
    pub collapse: bool,
}

/// A row of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRow {
    /// Instructions since the first row of the flow.
    pub instructions: u64,
    /// Where control is.
    pub path: PathId,
    /// How it came there.
    pub arrival: Arrival,
    /// CPU.
    pub cpu: u16,
    /// Virtual address of the first instruction.
    pub address: u64,
    /// Frames more than at the first row of the flow, or fewer. On a stack that does not begin like
    /// that of the first row: frames above the one that was entered by interrupt, system call,
    /// hypercall or exception.
    pub depth: i64,
    /// Rows between this one and the next that were left out as repetitions.
    pub elided: u64,
}

/// A flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Its rows.
    pub rows: Vec<FlowRow>,
    /// Instructions since the start of the stream, before its first row.
    pub at: u64,
    /// Instructions from its first to its last row.
    pub instructions: u64,
    /// Rows left out as repetitions.
    pub elided: u64,
    /// Rows left out by layer, CPU and depth.
    pub hidden: u64,
}

impl Flow {
    /// The rows of a flow that was found. Its first and last row are always shown.
    ///
    /// # Errors
    /// [`Error::Rows`] if they cannot be read.
    pub fn new(
        found: &Found,
        rows: &Entries,
        names: &Names,
        selection: &FlowSelection,
    ) -> Result<Self, Error> {
        let mut flow = Flow::default();
        let mut collapsing = Collapsing::default();
        let mut depths = None;
        for (row, entry) in (found.first..).zip(rows.range(found.first..found.last + 1)) {
            let entry = entry?;
            if row == found.first {
                flow.at = entry.at;
            }
            let function = names.function_of(entry.path);
            let layer = names.function(function).layer;
            let depth =
                depths.get_or_insert_with(|| Depths::new(names.paths(), entry.path)).of(entry.path);
            flow.instructions = entry.at - flow.at;
            let row_of_flow = FlowRow {
                instructions: flow.instructions,
                path: entry.path,
                arrival: entry.arrival,
                cpu: entry.cpu,
                address: entry.address,
                depth,
                elided: 0,
            };
            let is_end = row == found.first || row == found.last;
            let shown = (selection.layers.is_empty() || selection.layers.contains(&layer))
                && (selection.cpus.is_empty() || selection.cpus.contains(&entry.cpu));
            let too_deep = selection.depth.is_some_and(|most| depth > i64::from(most));
            if !is_end && (!shown || too_deep) {
                flow.hidden += 1;
            } else {
                collapsing.push(row_of_flow, function, selection.collapse && !is_end);
            }
        }
        (flow.rows, flow.elided) = collapsing.finish();
        Ok(flow)
    }
}

#[cfg(test)]
mod tests;
