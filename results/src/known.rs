//! What of a report is known. What a trace lacks makes numbers not available, never 0.

use crate::structure::Structure;
use strata_cachemodel::{Machine, Semantics, WalkMemory};
use strata_sim::Counters;
use strata_workloads::trace::Lacks;

/// What is known of the counts of a trace that lacks something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    lacks: Lacks,
}

impl Known {
    /// After what a trace lacks.
    pub fn without(lacks: Lacks) -> Self {
        Known { lacks }
    }

    /// Instructions and what fetches do.
    pub fn instructions(self) -> bool {
        !self.lacks.fetches
    }

    /// What data references do.
    pub fn data(self) -> bool {
        !self.lacks.data
    }

    /// What devices' pages are and which frame is behind an address.
    pub fn translations(self) -> bool {
        !self.lacks.translations
    }

    /// What happens besides references.
    pub fn events(self) -> bool {
        !self.lacks.events
    }

    /// References of page walks, if the machine makes them.
    pub fn walk_references(self) -> bool {
        !self.lacks.walks
    }

    /// Accesses of a structure. Those that instructions and data share are known as far as either
    /// is.
    pub fn structure(self, structure: Structure) -> bool {
        match structure {
            Structure::L1i | Structure::Itlb => self.instructions(),
            Structure::L1d | Structure::Dtlb => self.data(),
            Structure::L2 | Structure::L3 | Structure::Stlb => true,
        }
    }

    /// Estimated cycles; `None` without a cost model, or if part of what costs is not known.
    pub fn cycles(self, counters: &Counters, machine: &Machine) -> Option<f64> {
        let all = self.instructions() && self.data();
        counters.cycles(machine).filter(|_| all)
    }

    /// What follows from the lacks for a replay on `machine`, a sentence each.
    pub(crate) fn remarks(self, machine: &Machine) -> Vec<String> {
        let Lacks { fetches, data, sizes, lengths, modifies, translations, .. } = self.lacks;
        let Lacks { walks, privilege, contexts, events, .. } = self.lacks;
        let folds = machine.semantics() == Semantics::Cachegrind;
        let reads_tables = machine.walk().memory != WalkMemory::Off;
        let sentences = [
            (
                fetches,
                "no instruction fetches in the trace: instructions, L1I and ITLB are not \
                 available, and the levels behind them count data only",
            ),
            (
                data,
                "no data references in the trace: L1D and DTLB are not available, and the levels \
                 behind them count instructions only",
            ),
            (
                sizes && !data,
                "sizes of data references are not known: each touches its first byte, so that \
                 those across lines or pages miss too little",
            ),
            (
                lengths && !fetches,
                "lengths of instructions are not known: each is taken to end where the next one \
                 begins, so that fetches across lines or pages may be missed",
            ),
            (
                modifies && folds && !data,
                "read-modify-writes are not marked in the trace: their writes count, other than \
                 in cachegrind",
            ),
            (
                translations,
                "page translations are not known: caches go by virtual address, all pages have \
                 4 KiB, none is global",
            ),
            (
                walks && reads_tables,
                "page tables are not known: page walks are counted and make no references",
            ),
            (privilege, "privilege levels are not known: all code is of layer unknown"),
            (
                contexts,
                "who runs is not known: everything is taken for one CPU and one address space",
            ),
            (events, "control events are not in the trace: they drop nothing from TLBs"),
        ];
        let said = sentences.into_iter().filter(|&(holds, _)| holds);
        said.map(|(_, sentence)| sentence.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_trace_has_is_known_and_nothing_is_said_of_it() {
        let known = Known::default();
        assert!(Structure::ALL.into_iter().all(|structure| known.structure(structure)));
        assert!(known.remarks(&Machine::load("vee07").unwrap()).is_empty());
    }

    #[test]
    fn a_lack_matters_only_where_something_depends_on_it() {
        let known = Known::without(Lacks { modifies: true, walks: true, ..Lacks::NOTHING });
        let mut machine = Machine::load("vee07").unwrap();
        assert_eq!(known.remarks(&machine).len(), 0);
        machine.set("semantics", "cachegrind").unwrap();
        machine.set("walk.memory", "l2").unwrap();
        assert_eq!(known.remarks(&machine).len(), 2);
    }

    #[test]
    fn cycles_of_half_a_trace_are_not_known() {
        let machine = Machine::load("zen4").unwrap();
        let counters = Counters { instructions: 7, ..Counters::default() };
        assert_eq!(Known::default().cycles(&counters, &machine), Some(7.0));
        let lacks = Lacks { data: true, ..Lacks::NOTHING };
        assert_eq!(Known::without(lacks).cycles(&counters, &machine), None);
    }
}
