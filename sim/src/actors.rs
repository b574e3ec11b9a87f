//! Numbers of layers, for machines to which it matters who acts.

use std::collections::BTreeSet;
use strata_cachemodel::{Actor, Hierarchy, Machine};
use strata_symbols::Layer;

/// Names in a machine's partitions that no one has who was replayed, so that they are without
/// effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownPartitions {
    /// Their keys, as they would be set: `l2.partition.dom7`.
    pub keys: Vec<String>,
    /// Names that would have an effect: layers and their domains, in the order of reports.
    pub known: Vec<String>,
}

/// The layers that have acted, and which does now.
#[derive(Debug, Default)]
pub(crate) struct Actors {
    layers: Vec<Layer>,
    present: Option<Layer>,
}

impl Actors {
    /// Tells the machine who acts from now on.
    pub(crate) fn announce(&mut self, layer: Layer, hierarchy: &mut Hierarchy) {
        if self.present == Some(layer) {
            return;
        }
        self.present = Some(layer);
        let known = self.layers.iter().position(|known| *known == layer);
        let number = known.unwrap_or(self.layers.len());
        // More than 256 layers share the last number.
        let actor = Actor(u8::try_from(number).unwrap_or(u8::MAX));
        if known.is_none() {
            self.layers.push(layer);
            hierarchy.name_actor(actor, &layer.to_string(), &domain_of(layer));
        }
        hierarchy.set_actor(actor);
    }

    /// The layers by their numbers.
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What the machine's partitions name and no layer that has acted is.
    pub(crate) fn unknown_partitions(&self, machine: &Machine) -> UnknownPartitions {
        let layers: BTreeSet<Layer> = self.layers.iter().copied().collect();
        let mut known: Vec<String> =
            layers.iter().flat_map(|&layer| [domain_of(layer), layer.to_string()]).collect();
        // The layers of a domain follow one another, and a layer of none is its own.
        let mut seen = BTreeSet::new();
        known.retain(|name| seen.insert(name.clone()));
        let caches = (1..).zip(machine.levels()).flat_map(|(number, level)| level.caches(number));
        let mut keys: Vec<String> = caches
            .flat_map(|(cache, spec)| {
                let names = spec.partition().keys().filter(|&name| !seen.contains(name));
                names.map(|name| format!("{cache}.partition.{name}")).collect::<Vec<_>>()
            })
            .collect();
        keys.sort();
        UnknownPartitions { keys, known }
    }
}

/// What a layer is called as a whole: its domain, or itself if it belongs to none.
fn domain_of(layer: Layer) -> String {
    layer.domain().map_or_else(|| layer.to_string(), |domain| domain.to_string())
}
