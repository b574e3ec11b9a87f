//! Which rows of a profile are shown, and in what order.

use crate::error::Error;
use crate::structure::Structure;
use std::cmp::Ordering;
use std::str::FromStr;
use strata_cachemodel::Machine;
use strata_sim::Counters;
use strata_symbols::Layer;

/// What the rows of a table stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Layers.
    Layer,
    /// Modules of a layer: `xen`, `vmlinux`, kernel modules, programs and libraries.
    Module,
    /// Functions.
    #[default]
    Function,
    /// Lines of source code with the calls inlined there, where debugging information tells
    /// them, else functions. The replay's names must tell them too.
    Line,
}

impl By {
    /// All groupings, coarsest first.
    pub const ALL: [By; 4] = [By::Layer, By::Module, By::Function, By::Line];

    /// Whether a row is a function or a part of one.
    pub(crate) fn names_functions(self) -> bool {
        matches!(self, By::Function | By::Line)
    }

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            By::Layer => "layer",
            By::Module => "module",
            By::Function => "function",
            By::Line => "line",
        }
    }
}

impl FromStr for By {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        find(&By::ALL, By::name, "grouping", text)
    }
}

/// What rows are sorted by, the largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortKey {
    /// Instructions.
    #[default]
    Instructions,
    /// Estimated cycles; instructions where the machine has no costs.
    Cycles,
    /// Misses of a structure.
    Misses(Structure),
    /// Misses of a structure for each thousand instructions.
    Mpki(Structure),
}

impl SortKey {
    /// All keys.
    pub fn all() -> Vec<SortKey> {
        let misses = Structure::ALL.map(SortKey::Misses);
        let rates = Structure::ALL.map(SortKey::Mpki);
        [SortKey::Instructions, SortKey::Cycles].into_iter().chain(misses).chain(rates).collect()
    }

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            SortKey::Instructions => "instructions",
            SortKey::Cycles => "cycles",
            SortKey::Misses(structure) => structure.miss_keys().0,
            SortKey::Mpki(structure) => structure.miss_keys().1,
        }
    }

    /// Says whether a machine has what is asked for.
    ///
    /// # Errors
    /// [`Error::NotModelled`] if it does not.
    pub fn check(self, machine: &Machine) -> Result<(), Error> {
        let (has, remedy) = match self {
            SortKey::Instructions => (true, ""),
            SortKey::Cycles => (
                machine.cost().is_some(),
                "give it costs, as in --set cost.base-cpi=1 --set cost.memory=200",
            ),
            SortKey::Misses(structure) | SortKey::Mpki(structure) => (
                Structure::of(machine).contains(&structure),
                "take another machine, or another key",
            ),
        };
        let (key, machine) = (self.name(), machine.name().to_owned());
        if has { Ok(()) } else { Err(Error::NotModelled { key, machine, remedy }) }
    }

    /// Orders the larger first.
    pub(crate) fn compare(self, a: &Counters, b: &Counters, machine: &Machine) -> Ordering {
        let mpki = |counters: &Counters, structure: Structure| {
            counters.per_thousand(structure.tally(counters).misses).unwrap_or(0.0)
        };
        match self {
            SortKey::Instructions => b.instructions.cmp(&a.instructions),
            SortKey::Cycles => match (a.cycles(machine), b.cycles(machine)) {
                (Some(a), Some(b)) => b.total_cmp(&a),
                _ => b.instructions.cmp(&a.instructions),
            },
            SortKey::Misses(of) => of.tally(b).misses.cmp(&of.tally(a).misses),
            SortKey::Mpki(of) => mpki(b, of).total_cmp(&mpki(a, of)),
        }
    }
}

impl FromStr for SortKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        find(&SortKey::all(), SortKey::name, "sort key", text)
    }
}

/// Rows to show, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What a row stands for.
    pub by: By,
    /// Order of the rows.
    pub sort: SortKey,
    /// How many rows to show; the others are summed into one. `None` shows all.
    pub top: Option<usize>,
    /// Layers to show; all if empty.
    pub layers: Vec<Layer>,
}

/// The value of this name.
pub(crate) fn find<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    what: &'static str,
    given: &str,
) -> Result<T, Error> {
    all.iter().copied().find(|&value| name(value) == given).ok_or_else(|| Error::UnknownName {
        given: given.to_owned(),
        what,
        known: all.iter().map(|&value| name(value)).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_the_value_it_names() {
        for key in SortKey::all() {
            assert_eq!(key.name().parse::<SortKey>().unwrap(), key);
        }
        for by in By::ALL {
            assert_eq!(by.name().parse::<By>().unwrap(), by);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "l4-misses".parse::<SortKey>().unwrap_err().to_string();
        assert!(
            error.starts_with("`l4-misses` is no sort key; there are instructions, "),
            "{error}"
        );
    }
}
