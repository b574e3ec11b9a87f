//! What a cost is measured in.

use crate::error::Error;
use crate::known::Known;
use crate::selection::find;
use crate::structure::Structure;
use std::str::FromStr;
use strata_cachemodel::Machine;
use strata_sim::Counters;

/// What a cost is measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Instructions.
    #[default]
    Instructions,
    /// Misses of a structure.
    Misses(Structure),
    /// Page walks.
    Walks,
    /// Estimated cycles by the machine's cost model, rounded.
    Cycles,
}

impl Metric {
    /// All of them, in the order of reports.
    pub fn all() -> Vec<Metric> {
        let misses = Structure::ALL.map(Metric::Misses);
        let others = [Metric::Walks, Metric::Cycles];
        std::iter::once(Metric::Instructions).chain(misses).chain(others).collect()
    }

    /// Those that a machine has and a trace knows.
    pub fn of(machine: &Machine, known: Known) -> Vec<Metric> {
        Metric::all().into_iter().filter(|metric| metric.check(machine, known).is_ok()).collect()
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Instructions => "instructions",
            Metric::Misses(structure) => structure.miss_keys().0,
            Metric::Walks => "walks",
            Metric::Cycles => "cycles",
        }
    }

    /// Its name in JSON and CSV.
    pub(crate) fn key(self) -> String {
        match self {
            Metric::Walks => "page_walks".to_owned(),
            Metric::Cycles => "estimated_cycles".to_owned(),
            other => other.name().replace('-', "_"),
        }
    }

    /// Its name in text and figures.
    pub(crate) fn title(self) -> String {
        match self {
            Metric::Instructions => "instructions".to_owned(),
            Metric::Misses(structure) => format!("{} misses", structure.label()),
            Metric::Walks => "page walks".to_owned(),
            Metric::Cycles => "estimated cycles".to_owned(),
        }
    }

    /// Its event in files of callgrind's format, which likes short ones.
    pub(crate) fn event(self) -> String {
        match self {
            Metric::Instructions => "Ir".to_owned(),
            Metric::Misses(structure) => format!("{}m", structure.label()),
            Metric::Walks => "Walks".to_owned(),
            Metric::Cycles => "EstCyc".to_owned(),
        }
    }

    /// How much of it there is.
    pub(crate) fn value(self, counters: &Counters, machine: &Machine) -> u64 {
        match self {
            Metric::Cycles => self.exact(counters, machine).round() as u64,
            Metric::Instructions => counters.instructions,
            Metric::Misses(structure) => structure.tally(counters).misses,
            Metric::Walks => counters.walks,
        }
    }

    /// The same before rounding.
    pub(crate) fn exact(self, counters: &Counters, machine: &Machine) -> f64 {
        match self {
            Metric::Cycles => counters.cycles(machine).unwrap_or(0.0),
            other => other.value(counters, machine) as f64,
        }
    }

    /// Whether a machine has it and a trace knows it.
    ///
    /// # Errors
    /// [`Error::NoMetric`] if not, with what to do.
    pub fn check(self, machine: &Machine, known: Known) -> Result<(), Error> {
        let name = machine.name();
        let modelled = match self {
            Metric::Misses(structure) => Structure::of(machine).contains(&structure),
            Metric::Cycles => machine.cost().is_some(),
            Metric::Instructions | Metric::Walks => true,
        };
        let traced = match self {
            Metric::Instructions => known.instructions(),
            Metric::Misses(structure) => known.structure(structure),
            Metric::Cycles => known.instructions() && known.data(),
            Metric::Walks => true,
        };
        let (why, remedy) = match (modelled, traced) {
            (true, true) => return Ok(()),
            (false, _) if self == Metric::Cycles => (
                format!("machine {name} has no costs"),
                "give it some, as in --set cost.base-cpi=1 --set cost.memory=200",
            ),
            (false, _) => {
                (format!("machine {name} has no such structure"), "take another machine or metric")
            }
            (true, false) => {
                ("the trace lacks what they depend on".to_owned(), "take another metric or trace")
            }
        };
        Err(Error::NoMetric { metric: self.title(), why, remedy })
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        find(&Metric::all(), Metric::name, "metric", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_workloads::trace::Lacks;

    #[test]
    fn every_name_reads_back_as_the_metric_it_names() {
        for metric in Metric::all() {
            assert_eq!(metric.name().parse::<Metric>().unwrap(), metric);
        }
        let error = "l9-misses".parse::<Metric>().unwrap_err().to_string();
        assert!(error.starts_with("`l9-misses` is no metric; there are instructions, "), "{error}");
    }

    #[test]
    fn what_a_machine_or_a_trace_lacks_is_refused_with_a_remedy() {
        let machine = Machine::load("vee07").unwrap();
        let error = Metric::Cycles.check(&machine, Known::default()).unwrap_err().to_string();
        assert!(error.contains("vee07") && error.contains("--set cost."), "{error}");
        let known = Known::without(Lacks { data: true, ..Lacks::NOTHING });
        assert!(Metric::Misses(Structure::L1d).check(&machine, known).is_err());
        let l3 = Metric::Misses(Structure::L3).check(&machine, Known::default());
        assert!(l3.is_err());
        assert!(Metric::Misses(Structure::L2).check(&machine, known).is_ok());
    }
}
