//! A profile as JSON. Scripts rely on these keys: add, never rename.

use crate::data_table::DataSelection;
use crate::error::Error;
use crate::known::Known;
use crate::numbers::share_percent;
use crate::profile_json::classes::Classes;
use crate::profile_json::data::{DataEntry, OtherData, data_misses, data_name};
use crate::profile_report::ProfileReport;
use crate::profile_table::{Group, Named};
use crate::provenance::Symbols;
use crate::selection::{By, Selection};
use serde::Serialize;
use strata_cachemodel::{LevelCounts, Machine};
use strata_sim::{Counters, DataGrain, Tally};
use strata_symbols::Layer;

mod classes;
mod data;

/// Version of the layout below.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    strata: &'static str,
    source: &'a str,
    scenario: Option<&'a str>,
    machine: &'a Machine,
    semantics: String,
    event_delivery: String,
    trace_hash: Option<&'a str>,
    range: Range,
    warm_up: u64,
    truncated: Option<&'a str>,
    patches: &'a [String],
    dma: Dma,
    symbols: SymbolsUsed<'a>,
    remarks: Vec<String>,
    /// What the trace does not know; what depends on it is null.
    lacks: Vec<&'static str>,
    instructions: Option<u64>,
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
struct Range {
    from: u64,
    to: Option<u64>,
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
struct Structures {
    l1i: Option<Accesses>,
    l1d: Option<DataAccesses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l2: Option<UnifiedAccesses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3: Option<UnifiedAccesses>,
    itlb: Option<TlbAccesses>,
    dtlb: Option<TlbAccesses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stlb: Option<TlbAccesses>,
    page_walks: Walks,
    /// By the machine's cost model, which adds what processors overlap; null without one.
    estimated_cycles: Option<f64>,
    vm_exits: Option<u64>,
}

#[derive(Serialize)]
struct Walks {
    walks: u64,
    accesses: Option<u64>,
    memory_accesses: Option<u64>,
}

#[derive(Serialize)]
struct TlbAccesses {
    #[serde(flatten)]
    all: Accesses,
    /// Known of the whole only.
    #[serde(skip_serializing_if = "Option::is_none")]
    flushed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_hits: Option<u64>,
}

#[derive(Serialize)]
struct Accesses {
    accesses: u64,
    hits: u64,
    misses: u64,
    mpki: Option<f64>,
}

#[derive(Serialize)]
struct DataAccesses {
    #[serde(flatten)]
    all: Accesses,
    reads: u64,
    writes: u64,
    read_misses: u64,
    write_misses: u64,
}

#[derive(Serialize)]
struct UnifiedAccesses {
    #[serde(flatten)]
    all: Accesses,
    inst_misses: Option<u64>,
    read_misses: Option<u64>,
    write_misses: Option<u64>,
    /// Known of the whole only: a line is written back long after the function that dirtied it.
    #[serde(flatten)]
    traffic: Option<Traffic>,
}

/// What went on at a level besides demand accesses.
#[derive(Serialize)]
struct Traffic {
    writebacks: u64,
    writeback_misses: u64,
    written_on: u64,
    memory_writebacks: u64,
    victims: u64,
    back_invalidations: u64,
    device_invalidations: u64,
    invalidations: u64,
    interventions: u64,
    coherence_misses: u64,
    prefetches: u64,
    prefetch_misses: u64,
    useful_prefetches: u64,
    walk_accesses: u64,
    walk_misses: u64,
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
            schema: SCHEMA,
            strata: env!("CARGO_PKG_VERSION"),
            source: &provenance.source,
            scenario: provenance.manifest.as_ref().map(|manifest| manifest.scenario.as_str()),
            machine,
            semantics: machine.semantics().to_string(),
            event_delivery: machine.event_delivery().to_string(),
            trace_hash: provenance.trace_hash.as_deref(),
            range: Range { from: provenance.from, to: provenance.to },
            warm_up: provenance.warm_up,
            truncated: provenance.truncated.as_deref(),
            patches: provenance.patches(),
            dma: Dma {
                recorded: profile.remarks.dma_transfers > 0,
                transfers: events(profile.remarks.dma_transfers),
                lines_dropped: events(lines_dropped),
            },
            symbols: match &provenance.symbols {
                Symbols::Used { complaints } => SymbolsUsed { used: true, complaints },
                Symbols::None | Symbols::Off => SymbolsUsed { used: false, complaints: &[] },
            },
            remarks: self.remarks(),
            lacks: provenance.lacks.texts().collect(),
            instructions: known.instructions().then_some(total.instructions),
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

impl Accesses {
    fn new(tally: Tally, counters: &Counters) -> Self {
        Accesses {
            accesses: tally.accesses,
            hits: tally.hits(),
            misses: tally.misses,
            mpki: counters.per_thousand(tally.misses),
        }
    }
}

impl Traffic {
    fn new(level: &LevelCounts, is_last: bool) -> Self {
        Traffic {
            writebacks: level.writebacks,
            writeback_misses: level.writeback_misses,
            written_on: level.written_on,
            memory_writebacks: if is_last { level.written_on } else { 0 },
            victims: level.victims,
            back_invalidations: level.back_invalidations,
            device_invalidations: level.device_invalidations,
            invalidations: level.invalidations,
            interventions: level.interventions,
            coherence_misses: level.coherence_misses,
            prefetches: level.prefetches.accesses,
            prefetch_misses: level.prefetches.misses,
            useful_prefetches: level.useful_prefetches,
            walk_accesses: level.walks.accesses,
            walk_misses: level.walks.misses,
        }
    }
}

impl Structures {
    /// Of the whole machine.
    fn of_machine(
        total: &Counters,
        machine: &Machine,
        counts: &strata_cachemodel::Counts,
        known: Known,
    ) -> Self {
        let mut structures = Structures::new(total, machine, known);
        let depth = machine.levels().len();
        let traffic = |index: usize| Some(Traffic::new(counts.levels()[index], index + 1 == depth));
        structures.l2.iter_mut().for_each(|l2| l2.traffic = traffic(1));
        structures.l3.iter_mut().for_each(|l3| l3.traffic = traffic(2));
        let (itlb, dtlb, stlb) = (&counts.itlb, &counts.dtlb, &counts.stlb);
        for (tlb, flushed, stale_hits) in [
            (&mut structures.itlb, itlb.flushed, itlb.stale_hits),
            (&mut structures.dtlb, dtlb.flushed, dtlb.stale_hits),
            (&mut structures.stlb, stlb.flushed, stlb.stale_hits),
        ] {
            let Some(tlb) = tlb else { continue };
            tlb.flushed = known.events().then_some(flushed);
            tlb.stale_hits = known.translations().then_some(stale_hits);
        }
        structures
    }

    fn new(counters: &Counters, machine: &Machine, known: Known) -> Self {
        let instructions = |number: u64| known.instructions().then_some(number);
        let data = |number: u64| known.data().then_some(number);
        let walked = |number: u64| known.walk_references().then_some(number);
        let tlb = |tally| TlbAccesses {
            all: Accesses::new(tally, counters),
            flushed: None,
            stale_hits: None,
        };
        let [l1, ..] = &counters.levels;
        let lower = |index: usize| {
            machine.levels().get(index)?;
            let level = &counters.levels[index];
            Some(UnifiedAccesses {
                all: Accesses::new(level.all(), counters),
                inst_misses: instructions(level.instructions.misses),
                read_misses: data(level.reads.misses),
                write_misses: data(level.writes.misses),
                traffic: None,
            })
        };
        Structures {
            l1i: known.instructions().then(|| Accesses::new(counters.l1i(), counters)),
            l1d: known.data().then(|| DataAccesses {
                all: Accesses::new(counters.l1d(), counters),
                reads: l1.reads.accesses,
                writes: l1.writes.accesses,
                read_misses: l1.reads.misses,
                write_misses: l1.writes.misses,
            }),
            l2: lower(1),
            l3: lower(2),
            itlb: known.instructions().then(|| tlb(counters.itlb)),
            dtlb: known.data().then(|| tlb(counters.dtlb)),
            stlb: machine.stlb().map(|_| tlb(counters.stlb)),
            page_walks: Walks {
                walks: counters.walks,
                accesses: walked(counters.walk_accesses()),
                memory_accesses: walked(counters.walk_memory_accesses(machine.levels().len())),
            },
            estimated_cycles: known.cycles(counters, machine),
            vm_exits: known.events().then_some(counters.exits),
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
        let unknown = (by == By::Function).then_some("unknown");
        Entry {
            layer: group.layer,
            module: group.module.as_deref(),
            function: group.function.as_deref().or(unknown),
            address: group.address.map(|address| format!("{address:#x}")),
            counts: Counts::new(&group.counters, total, machine, known),
        }
    }
}
