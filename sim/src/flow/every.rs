//! All flows of several kinds, found in one pass.

use super::{FlowQuery, Names, Trigger};
use crate::annotation::Entries;
use crate::error::Error;

/// Where a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowPlace {
    /// First row, 0-based.
    pub first: u64,
    /// Last row, which belongs to it.
    pub last: u64,
    /// Instructions of the stream before its first row.
    pub at: u64,
    /// Instructions from its first to its last row.
    pub instructions: u64,
}

/// For each query, every flow that comes to its end, in order. Each begins with the last
/// `from` before what follows it, so that none lies in another. `nth`, `latest` and `ambiguous`
/// names make no difference; a flow of more than `limit` rows is none, nor is one without `to`.
///
/// # Errors
/// [`Error::Rows`] if the rows cannot be read.
pub fn every_flow(
    queries: &[FlowQuery],
    rows: &Entries,
    names: &Names,
) -> Result<Vec<Vec<FlowPlace>>, Error> {
    let mut searches: Vec<Search> = queries.iter().map(|query| Search::new(query, names)).collect();
    for (row, entry) in (0..).zip(rows.iter()) {
        let entry = entry?;
        let function = names.function_of(entry.path) as usize;
        searches.iter_mut().for_each(|search| search.entry(row, entry.at, function));
    }
    Ok(searches.into_iter().map(|search| search.found).collect())
}

/// Flows of one query, up to a row.
struct Search {
    /// For each function, the triggers that it sets off, a bit each; the first is `from`.
    sets_off: Vec<u64>,
    /// Triggers in all.
    triggers: u32,
    limit: u64,
    under_way: Option<UnderWay>,
    found: Vec<FlowPlace>,
}

/// A flow that has begun.
#[derive(Clone, Copy)]
struct UnderWay {
    row: u64,
    at: u64,
    /// Triggers that it has come to.
    reached: u32,
}

impl Search {
    fn new(query: &FlowQuery, names: &Names) -> Self {
        let triggers: Vec<&Trigger> =
            std::iter::once(&query.from).chain(&query.via).chain(&query.to).take(64).collect();
        let bits = |function| {
            let set_off = triggers.iter().enumerate().filter(|(_, t)| t.matches(function));
            set_off.fold(0, |bits, (number, _)| bits | 1 << number)
        };
        let ends = query.to.is_some();
        Search {
            sets_off: names.functions().iter().map(|f| if ends { bits(f) } else { 0 }).collect(),
            triggers: triggers.len() as u32,
            limit: query.limit,
            under_way: None,
            found: Vec::new(),
        }
    }

    #[inline]
    fn entry(&mut self, row: u64, at: u64, function: usize) {
        let bits = self.sets_off[function];
        if bits == 0 {
            return;
        }
        self.under_way = self.under_way.filter(|begun| row - begun.row < self.limit);
        if bits & 1 != 0 && self.under_way.is_none_or(|begun| begun.reached == 1) {
            self.under_way = Some(UnderWay { row, at, reached: 1 });
        } else if let Some(begun) = &mut self.under_way
            && bits & 1 << begun.reached != 0
        {
            begun.reached += 1;
            if begun.reached == self.triggers {
                let (first, instructions) = (begun.row, at - begun.at);
                self.found.push(FlowPlace { first, last: row, at: begun.at, instructions });
                self.under_way = None;
            }
        }
    }
}
