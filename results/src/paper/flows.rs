//! The flows of Figures 3, 4 and 7 to 10: published functions beside those that play their parts.

use super::published::{self, PublishedRow};
use crate::entry_names::EntryName;
use crate::error::Error;
use strata_sim::{
    Counters, Entries, Entry, FlowPlace, Function, Names, ReturnReport, Stage, every_flow,
};
use strata_symbols::Layer;

/// Calls of a replay that were followed: the rows have all counters, each until the next.
pub struct PaperCalls {
    /// All rows.
    pub entries: Entries,
    /// What they are called.
    pub names: Names,
    /// How well returns could be followed.
    pub returns: ReturnReport,
}

/// A flow of one kind, of median length among those that nothing else comes between.
#[derive(Clone, Debug)]
pub(super) struct PaperFlow {
    /// Flows of its kind in the capture, and those of them that are direct.
    pub(super) flows: usize,
    pub(super) direct: usize,
    /// Which of them it is, 1-based.
    pub(super) number: usize,
    pub(super) place: FlowPlace,
    /// Entries of functions in it, thunks aside.
    pub(super) entries: u64,
    /// The published rows, in order.
    pub(super) rows: Vec<PaperRow>,
    /// Entries of `xennet_start_xmit` or `br_forward` in it: packets that pass.
    pub(super) packets: u64,
    /// Shortest and longest direct one, in instructions.
    pub(super) range: (u64, u64),
}

/// A published row with what plays its part.
#[derive(Clone, Debug)]
pub(super) struct PaperRow {
    pub(super) published: PublishedRow,
    pub(super) own: Option<OwnRow>,
    /// Where something plays its part out of order, in instructions since the first row.
    pub(super) elsewhere: Option<u64>,
}

/// A row of the capture.
#[derive(Clone, Debug)]
pub(super) struct OwnRow {
    /// Instructions since the first row of the flow.
    pub(super) instructions: u64,
    pub(super) address: u64,
    pub(super) function: String,
    pub(super) module: String,
    pub(super) layer: Layer,
    /// All that ran until the next row that plays a part.
    pub(super) counters: Counters,
    /// Rows between this one and the next that does.
    pub(super) others: u64,
}

/// Most rows of a flow.
const LIMIT: u64 = 20_000;
/// A flow with more rows than this times those of the shortest one is not direct: other work came in
/// between, such as another VM's turn.
pub(super) const DIRECT: u64 = 4;
/// Rows behind the end of the timer's flow in which the interrupt it leads to is looked for.
const BEYOND: u64 = 60;
/// A packet is handed on by the guest's driver, or by dom0's bridge.
const PASSES: [&str; 2] = ["xennet_start_xmit", "br_forward"];

/// Flows by figure.
pub(super) struct PaperFlows {
    /// Figures 3 and 4.
    pub(super) annotated: Result<PaperFlow, String>,
    /// Figures 7 to 10.
    pub(super) stages: [(Stage, Result<PaperFlow, String>); 4],
}

impl PaperFlows {
    /// Finds them.
    ///
    /// # Errors
    /// [`Error::Replay`] if the rows cannot be read.
    pub(super) fn find(calls: &PaperCalls) -> Result<Self, Error> {
        let queries = Stage::ALL.map(|stage| stage.query(1, LIMIT));
        let places = every_flow(&queries, &calls.entries, &calls.names)?;
        let tables =
            [published::FIGURE_7, published::FIGURE_8, published::FIGURE_9, published::FIGURE_10];
        let mut stages = Vec::new();
        for ((stage, places), table) in Stage::ALL.into_iter().zip(&places).zip(tables) {
            let flow = match PaperFlow::median(calls, places, table, 0)? {
                Some(flow) => Ok(flow),
                // The query knows what is missing.
                None => Err(match stage.query(1, LIMIT).find(&calls.entries, &calls.names) {
                    Err(error) => error.to_string(),
                    Ok(_) => format!("no flow {stage} has fewer than {LIMIT} rows"),
                }),
            };
            stages.push((stage, flow));
        }
        let timer = Stage::ALL.iter().position(|stage| *stage == Stage::TimerToContextSwitch);
        let of_timer = timer.map_or(&[][..], |timer| &places[timer]);
        let annotated = match PaperFlow::median(calls, of_timer, published::FIGURE_3, BEYOND)? {
            Some(flow) => Ok(flow),
            None => Err(timer.map_or_else(String::new, |timer| match &stages[timer].1 {
                Err(why) => why.clone(),
                Ok(_) => String::new(),
            })),
        };
        let stages = stages.try_into().unwrap_or_else(|_| unreachable!("one for each stage"));
        Ok(PaperFlows { annotated, stages })
    }
}

impl PaperFlow {
    /// The direct flow of median length (the lower of two), with `beyond` rows behind its end;
    /// `None` if there is no flow.
    fn median(
        calls: &PaperCalls,
        places: &[FlowPlace],
        table: &str,
        beyond: u64,
    ) -> Result<Option<Self>, Error> {
        let rows = |number: &usize| places[*number].last - places[*number].first + 1;
        let shortest = (0..places.len()).map(|number| rows(&number)).min().unwrap_or(0);
        let direct = (0..places.len()).filter(|number| rows(number) <= DIRECT * shortest);
        let mut by_length: Vec<usize> = direct.collect();
        by_length.sort_by_key(|&number| (places[number].instructions, number));
        let Some(&number) = by_length.get(by_length.len().saturating_sub(1) / 2) else {
            return Ok(None);
        };
        let place = places[number];
        let entries = calls
            .entries
            .range(place.first..place.last + 1 + beyond)
            .collect::<Result<Vec<Entry>, _>>()?;
        let functions: Vec<u32> =
            entries.iter().map(|entry| calls.names.function_of(entry.path)).collect();
        let published = published::rows(table)?;
        let plays = |row: usize, entry: usize| {
            let function: &Function = calls.names.function(functions[entry]);
            published[row].roles.iter().any(|role| role.matches(function))
        };
        let matched = aligned(&published, functions.len(), plays);
        let elsewhere: Vec<Option<u64>> = (0..published.len())
            .map(|row| {
                let free = |&entry: &usize| plays(row, entry) && !matched.contains(&Some(entry));
                let found = (0..functions.len()).find(free).filter(|_| matched[row].is_none());
                found.map(|entry| entries[entry].at - place.at)
            })
            .collect();
        let own_entries = (place.last - place.first + 1) as usize;
        let passes = functions[..own_entries].iter().filter(|&&function| {
            let name = calls.names.function(function).name.as_ref();
            name.is_some_and(|name| PASSES.contains(&name.function.as_str()))
        });
        let packets = passes.count() as u64;
        // A row reaches up to the next that plays a part; the last one is on its own.
        let next_of = |row: usize| matched[row + 1..].iter().flatten().next().copied();
        let own = |row: usize, first: usize| {
            let end = next_of(row).unwrap_or(first + 1);
            let mut counters = Counters::default();
            entries[first..end].iter().for_each(|entry| counters += &entry.counters);
            let entry = &entries[first];
            let name = EntryName::of(entry.path, &calls.names);
            OwnRow {
                instructions: entry.at - place.at,
                address: entry.address,
                function: name.function.to_owned(),
                module: name.module_or_dash().to_owned(),
                layer: name.layer,
                counters,
                others: (end - first - 1) as u64,
            }
        };
        let owns: Vec<Option<OwnRow>> =
            (0..published.len()).map(|row| matched[row].map(|first| own(row, first))).collect();
        let rows = published.into_iter().zip(owns).zip(elsewhere);
        Ok(Some(PaperFlow {
            flows: places.len(),
            direct: by_length.len(),
            number: number + 1,
            place,
            entries: own_entries as u64,
            rows: rows
                .map(|((published, own), elsewhere)| PaperRow { published, own, elsewhere })
                .collect(),
            packets,
            range: (
                places[by_length[0]].instructions,
                places[by_length[by_length.len() - 1]].instructions,
            ),
        }))
    }

    /// Rows that something plays the part of.
    pub(super) fn played(&self) -> usize {
        self.rows.iter().filter(|row| row.own.is_some()).count()
    }

    /// Rows that something plays the part of out of order.
    pub(super) fn elsewhere(&self) -> usize {
        self.rows.iter().filter(|row| row.elsewhere.is_some()).count()
    }

    /// The row that plays the part of the first published function of this name.
    pub(super) fn own(&self, published: &str) -> Option<&OwnRow> {
        let found = self.rows.iter().filter(|row| row.published.function == published);
        found.filter_map(|row| row.own.as_ref()).next()
    }
}

/// For each published row the entry that plays its part, so that they come in order and as many as
/// can be do; of several such ways each row takes the earliest entry.
fn aligned(
    rows: &[PublishedRow],
    entries: usize,
    plays: impl Fn(usize, usize) -> bool,
) -> Vec<Option<usize>> {
    let is_match: Vec<Vec<bool>> =
        (0..rows.len()).map(|row| (0..entries).map(|entry| plays(row, entry)).collect()).collect();
    // The most that rows from `row` on can match with entries from `entry` on.
    let mut most = vec![vec![0_u32; entries + 1]; rows.len() + 1];
    for row in (0..rows.len()).rev() {
        for entry in (0..entries).rev() {
            let with = if is_match[row][entry] { 1 + most[row + 1][entry + 1] } else { 0 };
            most[row][entry] = with.max(most[row + 1][entry]).max(most[row][entry + 1]);
        }
    }
    let mut next = 0;
    (0..rows.len())
        .map(|row| {
            let wanted = most[row][next];
            let takes =
                |&entry: &usize| is_match[row][entry] && 1 + most[row + 1][entry + 1] == wanted;
            let found = (next..entries).find(takes)?;
            next = found + 1;
            Some(found)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(parts: &[&str]) -> Vec<PublishedRow> {
        let row = |part: &&str| PublishedRow {
            function: (*part).to_owned(),
            instructions: None,
            roles: Vec::new(),
            note: String::new(),
        };
        parts.iter().map(row).collect()
    }

    fn matched(parts: &[&str], entries: &[&str]) -> Vec<Option<usize>> {
        aligned(&rows(parts), entries.len(), |row, entry| parts[row] == entries[entry])
    }

    #[test]
    fn as_many_parts_as_can_be_are_played_in_order() {
        let found = matched(&["a", "lock", "b", "lock"], &["a", "b", "lock"]);
        assert_eq!(found, [Some(0), None, Some(1), Some(2)]);
        // A function that comes late again does not keep the others from their parts.
        let found = matched(&["a", "x", "b", "c"], &["a", "b", "c", "x"]);
        assert_eq!(found, [Some(0), None, Some(1), Some(2)]);
    }

    #[test]
    fn of_several_entries_the_earliest_plays() {
        assert_eq!(matched(&["a", "b"], &["a", "b", "a", "b"]), [Some(0), Some(1)]);
        assert_eq!(matched(&["a"], &[]), [None]);
    }
}
