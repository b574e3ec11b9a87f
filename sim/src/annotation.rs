//! The annotated flow: a row for each entry of a function, with what the function then did.

mod store;

use crate::calls::{Arrival, PathId, Scene, Tracer, Visit, is_thunk};
use crate::counters::Counters;
use crate::error::Error;
use crate::functions::{Function, FunctionId};
use rustc_hash::FxHashMap;
use std::ops::Range;
use store::Store;
use strata_symbols::Layer;

/// An entry of a function, or of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Instructions since the start of the stream, before it.
    pub at: u64,
    /// Where control then is; the function on top is the one entered.
    pub path: PathId,
    /// How control came there.
    pub arrival: Arrival,
    /// CPU.
    pub cpu: u16,
    /// Virtual address of the first instruction.
    pub address: u64,
    /// What happened, by the [`Attribution`] asked for.
    pub counters: Counters,
}

/// Which counts a row holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attribution {
    /// Those of the function that ran: from this entry on, without what it called, until the
    /// function is entered again on the same path. Sums over the rows of a function are what it did.
    #[default]
    Function,
    /// All from this entry to the next one, whoever ran: a callee's row also holds what its callers
    /// did after it returned. So does the VEE'07 paper, with its rows one entry late. Thunks that
    /// jump or return for others have no rows here: entering one is no more than its jump.
    UntilNext,
}

/// What is kept of each row. Rows go to a temporary file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Instructions; 32 bytes in the file.
    Instructions,
    /// All counters; 172 bytes.
    Counters,
}

/// Collects rows as a [`Tracer`]. Takes memory for the rows of the last moments and a word for each
/// path of calls; a capture has millions of rows, so that they are kept in a temporary file.
pub struct Annotation {
    attribution: Attribution,
    store: Store,
    /// For each path, one more than the row that it was entered at last; 0 is none.
    open: Vec<u64>,
    cpus: FxHashMap<u16, Now>,
    /// By function, whether it is a thunk.
    thunks: Vec<bool>,
    failed: Option<Error>,
}

/// Where a CPU is.
struct Now {
    layer: Layer,
    path: PathId,
    row: u64,
}

impl Annotation {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// [`Error::Rows`] if there is no place for a temporary file.
    pub fn new(attribution: Attribution, kept: Kept) -> Result<Self, Error> {
        Ok(Annotation {
            attribution,
            store: Store::new(kept).map_err(Error::Rows)?,
            open: Vec::new(),
            cpus: FxHashMap::default(),
            thunks: Vec::new(),
            failed: None,
        })
    }

    /// The rows, when the stream has ended.
    ///
    /// # Errors
    /// [`Error::Rows`] if the temporary file could not be written.
    pub fn finish(mut self) -> Result<Entries, Error> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => {
                self.store.flush().map_err(Error::Rows)?;
                Ok(Entries { store: self.store })
            }
        }
    }

    /// The row that a visit is charged to, where it is not the first of a new one.
    fn row_of(&self, visit: &Visit, number: u32, function: &Function) -> Option<u64> {
        let now = self.cpus.get(&visit.cpu)?;
        let jumps_for_others = self.attribution == Attribution::UntilNext
            && self.thunks.get(number as usize) == Some(&true);
        if !jumps_for_others && enters(visit, function, now) {
            return None;
        }
        match self.attribution {
            Attribution::UntilNext => Some(now.row),
            Attribution::Function => {
                self.open.get(visit.path.0 as usize).and_then(|row| row.checked_sub(1))
            }
        }
    }

    fn charge(&mut self, visit: &Visit, scene: &Scene<'_>) -> std::io::Result<()> {
        let FunctionId(number) = scene.paths[visit.path].function;
        let function = &scene.functions[number as usize];
        for function in &scene.functions[self.thunks.len().min(scene.functions.len())..] {
            self.thunks.push(is_thunk(function));
        }
        let row = match self.row_of(visit, number, function) {
            Some(row) => {
                self.store.add(row, &visit.counters)?;
                row
            }
            None => self.store.push(Entry {
                at: visit.at,
                path: visit.path,
                arrival: visit.arrival,
                cpu: visit.cpu,
                address: visit.address,
                counters: visit.counters,
            })?,
        };
        let path = visit.path.0 as usize;
        if self.open.len() <= path {
            self.open.resize(path + 1, 0);
        }
        self.open[path] = row + 1;
        self.cpus.insert(visit.cpu, Now { layer: function.layer, path: visit.path, row });
        Ok(())
    }
}

impl Tracer for Annotation {
    fn visit(&mut self, visit: &Visit, scene: &Scene<'_>) {
        if self.failed.is_none()
            && let Err(error) = self.charge(visit, scene)
        {
            self.failed = Some(Error::Rows(error));
        }
    }
}

/// Whether a visit is a row of its own: a function is entered, or the first instruction of another
/// domain or privilege is executed. A jump into the middle of a function goes on with it.
fn enters(visit: &Visit, function: &Function, now: &Now) -> bool {
    let is_first_byte = function.name.as_ref().is_none_or(|name| name.address == visit.address);
    match visit.arrival {
        Arrival::Start
        | Arrival::Tail
        | Arrival::Syscall
        | Arrival::Hypercall
        | Arrival::Exception
        | Arrival::Interrupt
        | Arrival::Entered
        | Arrival::Gap => true,
        // A thunk calls itself to have its return address replaced.
        Arrival::Call => is_first_byte || visit.path != now.path,
        Arrival::FallThrough | Arrival::ReturnAsJump => is_first_byte,
        Arrival::Resumed | Arrival::Switched => now.layer != function.layer,
        Arrival::Return | Arrival::Unwound => false,
    }
}

/// Rows in the order of the stream.
pub struct Entries {
    store: Store,
}

impl Entries {
    /// Number of rows.
    pub fn len(&self) -> u64 {
        self.store.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of a range, 0-based.
    pub fn range(&self, rows: Range<u64>) -> impl Iterator<Item = Result<Entry, Error>> {
        self.store.range(rows.start..rows.end.min(self.len())).map(|row| row.map_err(Error::Rows))
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = Result<Entry, Error>> {
        self.range(0..self.len())
    }
}

/// Gives each row the counters of the row before, and the first one none: how the tables of the
/// VEE'07 paper are printed, whose counters were read when a function was entered.
pub fn lagging<E>(
    rows: impl Iterator<Item = Result<Entry, E>>,
) -> impl Iterator<Item = Result<Entry, E>> {
    let mut before = Counters::default();
    rows.map(move |row| {
        row.map(|mut row| {
            std::mem::swap(&mut before, &mut row.counters);
            row
        })
    })
}

#[cfg(test)]
pub(crate) mod tests;
