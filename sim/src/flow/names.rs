//! What entries are called, and which triggers they set off.

use super::Trigger;
use crate::calls::{PathId, Paths};
use crate::error::Error;
use crate::functions::{Function, FunctionId};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use strata_symbols::{did_you_mean, near_names};

/// Names of all paths of a stream that has ended. Functions that turned out to be the same while
/// names were settled are one here.
#[derive(Clone, Debug)]
pub struct Names {
    paths: Paths,
    functions: Vec<Function>,
    /// For each number, the first one that means the same function.
    same: Vec<u32>,
}

impl Names {
    /// Of a stream's paths and settled functions.
    pub fn new(paths: Paths, functions: Vec<Function>) -> Self {
        let mut first: FxHashMap<&Function, u32> = FxHashMap::default();
        let numbered = functions.iter().enumerate();
        let same = numbered
            .map(|(number, function)| *first.entry(function).or_insert(number as u32))
            .collect();
        Names { paths, functions, same }
    }

    /// All paths.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// All functions, by number.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Number of the function on top of a path, the same for the same function.
    pub fn function_of(&self, path: PathId) -> u32 {
        let FunctionId(number) = self.paths[path].function;
        self.same[number as usize]
    }

    /// The function of a number.
    pub fn function(&self, number: u32) -> &Function {
        &self.functions[number as usize]
    }

    /// `layer:function` of the top of a path.
    pub fn text_of(&self, path: PathId) -> String {
        text(self.function(self.function_of(path)))
    }
}

fn text(function: &Function) -> String {
    let name = function.name.as_ref().map_or("unknown", |name| name.function.as_str());
    format!("{}:{name}", function.layer)
}

/// A trigger, with the functions it stands for and how often each was entered.
pub(super) struct Matches<'a> {
    trigger: &'a Trigger,
    names: &'a Names,
    is_match: Vec<bool>,
    counts: FxHashMap<u32, u64>,
    first: Option<u32>,
}

impl<'a> Matches<'a> {
    pub(super) fn new(trigger: &'a Trigger, names: &'a Names) -> Self {
        let is_match = names.functions.iter().map(|function| trigger.matches(function)).collect();
        Matches { trigger, names, is_match, counts: FxHashMap::default(), first: None }
    }

    /// Counts an entry; says whether it sets the trigger off.
    pub(super) fn count(&mut self, function: u32) -> bool {
        let comes = self.is_match[function as usize];
        if comes {
            *self.counts.entry(function).or_default() += 1;
            self.first.get_or_insert(function);
        }
        comes
    }

    pub(super) fn text(&self) -> String {
        self.trigger.to_string()
    }

    pub(super) fn never(&self) -> bool {
        self.counts.is_empty()
    }

    /// Whether a function that it stands for ran, entered or not.
    pub(super) fn ran(&self) -> bool {
        self.is_match.contains(&true)
    }

    /// That a trigger without a pattern stands for functions of several layers or places.
    pub(super) fn ambiguity(&self) -> Option<String> {
        if self.trigger.is_pattern() || self.counts.len() < 2 {
            return None;
        }
        let first = self.first?;
        let place = |number: u32| {
            let function = self.names.function(number);
            let address = function.name.as_ref().map_or(0, |name| name.address);
            format!("{} at {address:#x} ({} times)", text(function), self.counts[&number])
        };
        let mut all: Vec<u32> = self.counts.keys().copied().collect();
        all.sort_unstable();
        let all: Vec<String> = all.into_iter().map(place).collect();
        Some(format!(
            "{} stands for several functions: {}; each of them counts, and the first entered is {}; \
             name one as LAYER:FUNCTION",
            self.trigger,
            all.join(", "),
            text(self.names.function(first)),
        ))
    }

    /// That nothing is entered for it, and what is called alike.
    pub(super) fn missing(&self) -> Error {
        let functions = &self.names.functions;
        let near = if self.ran() {
            "it ran, but was entered before what was replayed begins".to_owned()
        } else if functions.iter().all(|function| function.name.is_none()) {
            "nothing that was replayed has a name; give the capture folder, with its symbols, and \
             leave out --no-symbols"
                .to_owned()
        } else {
            did_you_mean(&near(self.trigger, functions))
                .unwrap_or("`strata replay --by function --top all` tells what ran".to_owned())
        };
        Error::NoFunction { trigger: self.trigger.to_string(), near }
    }
}

/// Names to propose: one may be that of functions in several layers.
const PROPOSALS: usize = 4;

/// Functions whose names are like a trigger's, the most alike first.
fn near(trigger: &Trigger, functions: &[Function]) -> Vec<String> {
    let name_of = |function: &'_ Function| function.name.as_ref().map(|name| name.function.clone());
    let names: BTreeSet<String> = functions.iter().filter_map(name_of).collect();
    let alike = near_names(trigger.function(), names.iter().map(String::as_str));
    let labels = alike.into_iter().flat_map(|alike| {
        let of_name = functions.iter().filter(|f| name_of(f).as_deref() == Some(alike));
        of_name.map(text).collect::<BTreeSet<String>>()
    });
    labels.take(PROPOSALS).collect()
}
