//! Why structures missed, for people and as columns: one list of tables that all forms are made of.

use crate::known::Known;
use crate::numbers::grouped;
use crate::structure::Structure;
use crate::text_table::{TextTable, wrapped};
use std::collections::{BTreeMap, BTreeSet};
use strata_cachemodel::{FlushCause, Machine};
use strata_sim::{CacheMisses, Evictions, MissClasses, TlbMisses};
use strata_symbols::Layer;

/// Names of the classes of cache misses in JSON and CSV, in the order in which they apply.
pub(crate) const CACHE_CLASSES: [&str; 5] =
    ["compulsory", "invalidated", "inflicted", "conflict", "capacity"];

/// Names of the classes of TLB misses.
pub(crate) const TLB_CLASSES: [&str; 3] = ["cold", "flush_induced", "capacity_or_conflict"];

/// The misses of a layer in the order of [`CACHE_CLASSES`].
pub(crate) fn cache_numbers(misses: &CacheMisses) -> [u64; 5] {
    [
        misses.compulsory,
        misses.invalidated,
        misses.inflicted_total(),
        misses.conflict,
        misses.capacity,
    ]
}

/// The misses of a layer in the order of [`TLB_CLASSES`].
pub(crate) fn tlb_numbers(misses: &TlbMisses) -> [u64; 3] {
    [misses.cold, misses.flush_induced_total(), misses.capacity_or_conflict]
}

/// The caches whose misses are told apart, with their misses by layer.
pub(crate) fn caches(
    classes: &MissClasses,
    machine: &Machine,
    known: Known,
) -> Vec<(Structure, BTreeMap<Layer, CacheMisses>)> {
    let all = [
        (Structure::L1i, classes.instructions[0].clone()),
        (Structure::L1d, classes.data[0].clone()),
        (Structure::L2, classes.level(1)),
        (Structure::L3, classes.level(2)),
    ];
    let present = Structure::of(machine);
    let told = |structure: &Structure| present.contains(structure) && known.structure(*structure);
    all.into_iter().filter(|(structure, _)| told(structure)).collect()
}

/// The same of TLBs.
pub(crate) fn tlbs(
    classes: &MissClasses,
    known: Known,
) -> Vec<(Structure, &BTreeMap<Layer, TlbMisses>)> {
    let all = [(Structure::Itlb, &classes.itlb), (Structure::Dtlb, &classes.dtlb)];
    all.into_iter().filter(|(structure, _)| known.structure(*structure)).collect()
}

/// Names of the levels of cache in JSON and CSV.
const LEVELS: [&str; 3] = ["l1", "l2", "l3"];

/// Who evicted whom at each level that the machine has, by the key of the level.
pub(crate) fn evictions<'c>(
    classes: &'c MissClasses,
    machine: &Machine,
) -> impl Iterator<Item = (&'static str, &'c Evictions)> {
    LEVELS.into_iter().zip(&classes.evictions).take(machine.levels().len())
}

/// Tables of all classes by layer, and of who evicted whom.
pub(crate) fn to_text(classes: &MissClasses, machine: &Machine, known: Known) -> String {
    let caches = caches(classes, machine, known);
    let mut out = String::from("Why caches missed\n");
    out.push_str(&cache_table(&caches));
    for (level, evictions) in evictions(classes, machine) {
        out.push_str(&matrix(level, evictions));
    }
    out.push_str("\nWhy TLBs missed\n");
    out.push_str(&tlb_table(&tlbs(classes, known)));
    out.push('\n');
    out.push_str(&wrapped(
        "classes",
        "compulsory: first access of the line here; invalidated: a device or another CPU had \
         dropped it; inflicted: a fill for another layer had evicted it; conflict: a fully \
         associative LRU cache of the same size would have hit; capacity: the rest; the first that \
         applies; classes count references, who evicted whom counts lines",
    ));
    out
}

fn cache_table(caches: &[(Structure, BTreeMap<Layer, CacheMisses>)]) -> String {
    let mut table = TextTable::new(2);
    table.header(["", "layer"].into_iter().chain(CACHE_CLASSES).chain(["misses"]).map(cell));
    for (structure, rows) in caches {
        let mut total = CacheMisses::default();
        for (i, (layer, misses)) in rows.iter().enumerate() {
            total += misses;
            let label = if i == 0 { structure.label() } else { "" };
            table.row(line(label, layer.to_string(), &cache_numbers(misses)));
        }
        table.row(line("", "all".to_owned(), &cache_numbers(&total)));
        table.rule();
    }
    table.to_string()
}

/// Rows are the layers that missed; columns, those for which the lines had been evicted.
fn matrix(level: &str, evictions: &Evictions) -> String {
    if evictions.is_empty() {
        return String::new();
    }
    let layers: BTreeSet<Layer> = evictions.keys().flat_map(|&(missed, by)| [missed, by]).collect();
    let mut table = TextTable::new(1);
    table.header(std::iter::once("missed".to_owned()).chain(layers.iter().map(Layer::to_string)));
    for &missed in &layers {
        let of = |&by: &Layer| evictions.get(&(missed, by)).copied().unwrap_or(0);
        let counts = layers.iter().map(|by| grouped(of(by)));
        table.row(std::iter::once(missed.to_string()).chain(counts).collect());
    }
    let level = level.to_uppercase();
    format!(
        "\nWho evicted whom in {level}: misses on lines evicted by fills for the layer above, its own \
         on the diagonal\n{table}"
    )
}

fn tlb_table(tlbs: &[(Structure, &BTreeMap<Layer, TlbMisses>)]) -> String {
    let rows = || tlbs.iter().flat_map(|(_, rows)| rows.values());
    let causes: BTreeSet<FlushCause> =
        rows().flat_map(|misses| misses.flush_induced.keys().copied()).collect();
    let mut table = TextTable::new(2);
    let by_cause = causes.iter().map(|cause| format!("by\n{cause}"));
    let fixed = ["", "layer", "cold", "flush-\ninduced"].map(str::to_owned);
    let rest = ["capacity or\nconflict", "misses"].map(str::to_owned);
    table.header(fixed.into_iter().chain(by_cause).chain(rest));
    for (structure, rows) in tlbs {
        let mut total = TlbMisses::default();
        for (i, (layer, misses)) in rows.iter().enumerate() {
            total += misses;
            let label = if i == 0 { structure.label() } else { "" };
            table.row(tlb_line(label, layer.to_string(), misses, &causes));
        }
        table.row(tlb_line("", "all".to_owned(), &total, &causes));
        table.rule();
    }
    table.to_string()
}

fn tlb_line(
    label: &str,
    layer: String,
    misses: &TlbMisses,
    causes: &BTreeSet<FlushCause>,
) -> Vec<String> {
    let by_cause = causes.iter().map(|cause| misses.flush_induced.get(cause).copied().unwrap_or(0));
    let numbers = [misses.cold, misses.flush_induced_total()]
        .into_iter()
        .chain(by_cause)
        .chain([misses.capacity_or_conflict, misses.total()]);
    [label.to_owned(), layer].into_iter().chain(numbers.map(grouped)).collect()
}

fn line(label: &str, layer: String, numbers: &[u64]) -> Vec<String> {
    let total: u64 = numbers.iter().sum();
    let cells = numbers.iter().chain([&total]).map(|&number| grouped(number));
    [label.to_owned(), layer].into_iter().chain(cells).collect()
}

fn cell(text: &str) -> String {
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_symbols::DomainId;

    #[test]
    fn a_layer_that_evicts_another_is_named_with_what_it_inflicted() {
        let kernel = Layer::Kernel(DomainId(0));
        let mut classes = MissClasses::default();
        let inflicted = [(Layer::Hypervisor, 1234)].into();
        classes.data[0]
            .insert(kernel, CacheMisses { compulsory: 6, inflicted, ..CacheMisses::default() });
        let causes = [(FlushCause::Cr3Write, 77)].into();
        classes
            .dtlb
            .insert(kernel, TlbMisses { cold: 3, flush_induced: causes, capacity_or_conflict: 0 });
        classes.evictions[0] = [((kernel, Layer::Hypervisor), 1250), ((kernel, kernel), 5)].into();
        let machine = Machine::load("vee07").unwrap();
        let text = to_text(&classes, &machine, Known::default());
        for part in [
            "1,240",
            "Who evicted whom in L1:",
            "dom0-kernel       1,250            5",
            "cr3-write",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        for absent in ["L3", "whom in L2"] {
            assert!(!text.contains(absent), "vee07 has no L3, and nothing was evicted: {text}");
        }
    }
}
