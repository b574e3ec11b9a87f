//! A profile's rows, merged, filtered, sorted and cut to what a reader asked for.

use crate::known::Known;
use crate::selection::{By, Selection};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use strata_cachemodel::Machine;
use strata_sim::{Counters, Profile, Row};
use strata_symbols::Layer;

/// Counts of one layer, module or function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Layer, and with it the domain.
    pub layer: Layer,
    /// Module; `None` where it is not known, and in a table by layer.
    pub module: Option<String>,
    /// Function; `None` where it is not known, and in coarser tables.
    pub function: Option<String>,
    /// Address of the function's first instruction.
    pub address: Option<u64>,
    /// Its counts.
    pub counters: Counters,
}

/// What `--top` left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Number of rows.
    pub rows: u64,
    /// Their sum.
    pub counters: Counters,
}

/// How much of a layer has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The layer.
    pub layer: Layer,
    /// Its instructions.
    pub instructions: u64,
    /// Those of code whose function has a name.
    pub functions: u64,
    /// Those of code of which at least program or library is known.
    pub modules: u64,
}

/// Rows of a profile. Shown rows and others sum to `selected`.
#[derive(Clone, Debug)]
pub struct ProfileTable {
    /// What was asked for.
    pub selection: Selection,
    /// The rows to show, in order.
    pub rows: Vec<Group>,
    /// What was left out; `None` if nothing was.
    pub others: Option<Others>,
    /// Sum over the layers asked for.
    pub selected: Counters,
    /// Sum over everything.
    pub total: Counters,
    /// What was modelled.
    pub machine: Machine,
    /// Which of the counts are known.
    pub known: Known,
}

/// What rows are merged by.
type Key<'a> = (Layer, Option<&'a str>, Option<&'a str>, Option<u64>);

fn key(row: &Row, by: By) -> Key<'_> {
    let layer = row.function.layer;
    let Some(name) = &row.function.name else { return (layer, None, None, None) };
    match by {
        By::Layer => (layer, None, None, None),
        By::Module => (layer, Some(&name.module), None, None),
        By::Function | By::Line => {
            (layer, Some(&name.module), Some(&name.function), Some(name.address))
        }
    }
}

impl ProfileTable {
    /// Merges and sorts the rows of `profile`.
    pub fn new(profile: &Profile, known: Known, selection: Selection) -> Self {
        let mut groups: BTreeMap<Key<'_>, Counters> = BTreeMap::new();
        let mut selected = Counters::default();
        let wanted = |layer| selection.layers.is_empty() || selection.layers.contains(&layer);
        for row in profile.rows.iter().filter(|row| wanted(row.function.layer)) {
            *groups.entry(key(row, selection.by)).or_default() += &row.counters;
            selected += &row.counters;
        }
        let mut rows: Vec<Group> = groups
            .into_iter()
            .map(|((layer, module, function, address), counters)| Group {
                layer,
                module: module.map(str::to_owned),
                function: function.map(str::to_owned),
                address,
                counters,
            })
            .collect();
        // Stable: what compares equal stays in the order of layer, module and name.
        rows.sort_by(|a, b| {
            selection
                .sort
                .compare(&a.counters, &b.counters, &profile.machine)
                .then_with(|| by_size(a, b))
        });
        let others = selection.top.filter(|&top| top < rows.len()).map(|top| {
            let mut others = Others::default();
            for group in rows.drain(top..) {
                others.rows += 1;
                others.counters += &group.counters;
            }
            others
        });
        ProfileTable {
            selection,
            rows,
            others,
            selected,
            total: profile.total,
            machine: profile.machine.clone(),
            known,
        }
    }
}

fn by_size(a: &Group, b: &Group) -> Ordering {
    b.counters.instructions.cmp(&a.counters.instructions)
}

/// How much of each layer has a name, by layer.
pub(crate) fn named(profile: &Profile) -> Vec<Named> {
    let mut layers: BTreeMap<Layer, Named> = BTreeMap::new();
    for row in &profile.rows {
        let layer = row.function.layer;
        let named = layers.entry(layer).or_insert(Named {
            layer,
            instructions: 0,
            functions: 0,
            modules: 0,
        });
        let instructions = row.counters.instructions;
        named.instructions += instructions;
        if let Some(name) = &row.function.name {
            named.modules += instructions;
            // A stripped program stands for its functions: `[program]`.
            if name.function != format!("[{}]", name.module) {
                named.functions += instructions;
            }
        }
    }
    layers.into_values().collect()
}
