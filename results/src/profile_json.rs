//! A profile as JSON. Scripts rely on these keys: add, never rename.

use crate::data_table::DataSelection;
use crate::document_head::DocumentHead;
use crate::error::Error;
use crate::known::Known;
use crate::numbers::share_percent;
use crate::profile_json::classes::{Classes, Evictions, evictions_of};
use crate::profile_json::data::{DataEntry, OtherData, data_misses, data_name};
use crate::profile_json::structures::{Structures, Traffic};
use crate::profile_report::ProfileReport;
use crate::profile_table::{Group, Named};
use crate::provenance::Symbols;
use crate::selection::{By, Selection};
use serde::Serialize;
use strata_cachemodel::Machine;
use strata_sim::{Counters, DataGrain};
use strata_symbols::Layer;

mod classes;
mod data;
pub(crate) mod structures;

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    head: DocumentHead<'a>,
    /// Version of strata, as in the head.
    strata: &'static str,
    dma: Dma,
    symbols: SymbolsUsed<'a>,
    rep_iterations: u64,
    l1: Traffic,
    #[serde(flatten)]
    structures: Structures,
    device_accesses: Option<u64>,
    stale_hits: Option<u64>,
    deliveries: Option<u64>,
    synthesised_references: Option<u64>,
    cache_flushes: Option<u64>,
    flushes: Option<Flushes>,
    named: Vec<NamedLayer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Classes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evictions: Option<Evictions>,
    grouped_by: &'static str,
    sorted_by: &'static str,
    layers: &'a [Layer],
    by: Vec<Row<'a>>,
    others: Option<Others>,
}

/// One of the forms that rows have.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Code(Box<Entry<'a>>),
    Data(DataEntry<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Others {
    Code(Box<OtherRows>),
    Data(OtherData),
}

#[derive(Serialize)]
struct Dma {
    recorded: bool,
    transfers: Option<u64>,
    lines_dropped: Option<u64>,
}

#[derive(Serialize)]
struct SymbolsUsed<'a> {
    used: bool,
    complaints: &'a [String],
}

#[derive(Serialize)]
struct Flushes {
    cr3_writes: u64,
    cr3_same_value: u64,
    pge_changes: u64,
    invlpg: u64,
    invpcid: u64,
    page_faults: u64,
    cr3_keeping: u64,
    paging_mode_changes: u64,
    guest_entries: u64,
    guest_exits: u64,
    guest_flushes: u64,
    others: u64,
    /// As what-if tags tell them apart.
    switches: u64,
    explicit_flushes: u64,
}

#[derive(Serialize)]
struct NamedLayer {
    layer: Layer,
    instructions: u64,
    with_function: u64,
    with_module: u64,
}

#[derive(Serialize)]
struct Entry<'a> {
    layer: Layer,
    module: Option<&'a str>,
    function: Option<&'a str>,
    address: Option<String>,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct OtherRows {
    rows: u64,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct Counts {
    instructions: Option<u64>,
    share_percent: Option<f64>,
    rep_iterations: u64,
    #[serde(flatten)]
    structures: Structures,
    device_accesses: Option<u64>,
    stale_hits: Option<u64>,
}

impl ProfileReport {
    /// One object with everything, its rows as `selection` asks.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self, selection: Selection) -> Result<String, Error> {
        let table = self.table(selection);
        let (machine, known, total) = (&self.profile.machine, self.known(), &self.profile.total);
        let rows = table.rows.iter().map(|group| {
            Row::Code(Box::new(Entry::new(group, table.selection.by, total, machine, known)))
        });
        let others = table.others.as_ref().map(|others| {
            let counts = Counts::new(&others.counters, total, machine, known);
            Others::Code(Box::new(OtherRows { rows: others.rows, counts }))
        });
        to_pretty(&self.document(
            (table.selection.by.name(), table.selection.sort.name()),
            &table.selection.layers,
            rows.collect(),
            others,
        ))
    }

    /// The same with the data side for its rows.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_data_json(&self, selection: &DataSelection) -> Result<String, Error> {
        let table = self.data_table(selection);
        let machine = &self.profile.machine;
        let rows = table.iter().flat_map(|table| &table.rows);
        let others = table.as_ref().and_then(|table| table.others.as_ref());
        let grain = self.profile.data.as_ref().map_or(DataGrain::Page, |data| data.grain);
        to_pretty(&self.document(
            (data_name(grain), selection.sort.miss_keys().0),
            &selection.layers,
            rows.map(|row| Row::Data(DataEntry::new(row, grain, machine))).collect(),
            others.map(|(rows, misses)| {
                Others::Data(OtherData { rows: *rows, misses: data_misses(misses, machine) })
            }),
        ))
    }

    fn document<'a>(
        &'a self,
        (grouped_by, sorted_by): (&'static str, &'static str),
        layers: &'a [Layer],
        by: Vec<Row<'a>>,
        others: Option<Others>,
    ) -> Document<'a> {
        let (profile, provenance) = (&self.profile, &self.provenance);
        let (machine, counts) = (&profile.machine, &profile.counts);
        let (total, flushes) = (&profile.total, &counts.flushes);
        let known = self.known();
        let events = |number: u64| known.events().then_some(number);
        let structures = Structures::of_machine(total, machine, counts, known);
        let lines_dropped = counts.levels().iter().map(|level| level.device_invalidations).sum();
        Document {
            head: DocumentHead::plain("replay", self),
            strata: env!("CARGO_PKG_VERSION"),
            dma: Dma {
                recorded: profile.remarks.dma_transfers > 0,
                transfers: events(profile.remarks.dma_transfers),
                lines_dropped: events(lines_dropped),
            },
            symbols: match &provenance.symbols {
                Symbols::Used { complaints } => SymbolsUsed { used: true, complaints },
                Symbols::None | Symbols::Off | Symbols::NotNeeded => {
                    SymbolsUsed { used: false, complaints: &[] }
                }
            },
            rep_iterations: total.rep_iterations,
            l1: Traffic::new(&counts.l1, machine.levels().len() == 1),
            structures,
            device_accesses: known.translations().then_some(total.device),
            stale_hits: known.translations().then_some(total.stale),
            deliveries: events(profile.remarks.deliveries),
            synthesised_references: events(profile.remarks.synthesised_references),
            cache_flushes: Some(counts.cache_flushes).filter(|&n| n > 0 || known.events()),
            flushes: known.events().then_some(Flushes {
                cr3_writes: flushes.cr3_writes,
                cr3_same_value: flushes.cr3_same_value,
                pge_changes: flushes.pge_changes,
                invlpg: flushes.invlpg,
                invpcid: flushes.invpcid,
                page_faults: flushes.page_faults,
                cr3_keeping: flushes.cr3_keeping,
                paging_mode_changes: flushes.paging_mode_changes,
                guest_entries: flushes.guest_entries,
                guest_exits: flushes.guest_exits,
                guest_flushes: flushes.guest_flushes,
                others: flushes.others,
                switches: flushes.switches,
                explicit_flushes: flushes.explicit_flushes,
            }),
            named: match known.instructions() {
                true => self.named().iter().map(NamedLayer::new).collect(),
                false => Vec::new(),
            },
            classes: profile.classes.as_ref().map(|classes| Classes::new(classes, machine, known)),
            evictions: profile.classes.as_ref().map(|classes| evictions_of(classes, machine)),
            grouped_by,
            sorted_by,
            layers,
            by,
            others,
        }
    }
}

/// As indented JSON with a newline at its end.
pub(crate) fn to_pretty(document: &impl Serialize) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|error| Error::Format { format: "JSON", message: error.to_string() })?;
    text.push('\n');
    Ok(text)
}

impl NamedLayer {
    fn new(named: &Named) -> Self {
        NamedLayer {
            layer: named.layer,
            instructions: named.instructions,
            with_function: named.functions,
            with_module: named.modules,
        }
    }
}

impl Counts {
    fn new(counters: &Counters, total: &Counters, machine: &Machine, known: Known) -> Self {
        Counts {
            instructions: known.instructions().then_some(counters.instructions),
            share_percent: share_percent(counters.instructions, total.instructions),
            rep_iterations: counters.rep_iterations,
            structures: Structures::new(counters, machine, known),
            device_accesses: known.translations().then_some(counters.device),
            stale_hits: known.translations().then_some(counters.stale),
        }
    }
}

impl<'a> Entry<'a> {
    fn new(group: &'a Group, by: By, total: &Counters, machine: &Machine, known: Known) -> Self {
        let unknown = by.names_functions().then_some("unknown");
        Entry {
            layer: group.layer,
            module: group.module.as_deref(),
            function: group.function.as_deref().or(unknown),
            address: group.address.map(|address| format!("{address:#x}")),
            counts: Counts::new(&group.counters, total, machine, known),
        }
    }
}
