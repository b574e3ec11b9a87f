//! A profile as JSON. Scripts rely on these keys: add, never rename.

use crate::error::Error;
use crate::numbers::share_percent;
use crate::profile_report::ProfileReport;
use crate::profile_table::{Group, Named};
use crate::provenance::Symbols;
use crate::selection::{By, Selection};
use serde::Serialize;
use strata_cachemodel::{LevelCounts, Machine};
use strata_sim::{Counters, Tally};
use strata_symbols::Layer;

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
    instructions: u64,
    rep_iterations: u64,
    #[serde(flatten)]
    structures: Structures,
    device_accesses: u64,
    stale_hits: u64,
    deliveries: u64,
    synthesised_references: u64,
    flushes: Flushes,
    named: Vec<NamedLayer>,
    grouped_by: &'static str,
    sorted_by: &'static str,
    layers: &'a [Layer],
    by: Vec<Entry<'a>>,
    others: Option<OtherRows>,
}

#[derive(Serialize)]
struct Range {
    from: u64,
    to: Option<u64>,
}

#[derive(Serialize)]
struct Dma {
    recorded: bool,
    transfers: u64,
    lines_dropped: u64,
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
    l1i: Accesses,
    l1d: DataAccesses,
    #[serde(skip_serializing_if = "Option::is_none")]
    l2: Option<UnifiedAccesses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3: Option<UnifiedAccesses>,
    itlb: Accesses,
    dtlb: Accesses,
    #[serde(skip_serializing_if = "Option::is_none")]
    stlb: Option<Accesses>,
    page_walks: Walks,
    /// By the machine's cost model, which adds what processors overlap; null without one.
    estimated_cycles: Option<f64>,
}

#[derive(Serialize)]
struct Walks {
    walks: u64,
    accesses: u64,
    memory_accesses: u64,
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
    inst_misses: u64,
    read_misses: u64,
    write_misses: u64,
    /// Known of the whole only: a line is written back long after the function that dirtied it.
    #[serde(flatten)]
    traffic: Option<Traffic>,
}

/// What went on at a level besides demand accesses.
#[derive(Serialize)]
struct Traffic {
    writebacks: u64,
    writeback_misses: u64,
    memory_writebacks: u64,
    victims: u64,
    back_invalidations: u64,
    device_invalidations: u64,
    invalidations: u64,
    interventions: u64,
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
    instructions: u64,
    share_percent: Option<f64>,
    rep_iterations: u64,
    #[serde(flatten)]
    structures: Structures,
    device_accesses: u64,
    stale_hits: u64,
}

impl ProfileReport {
    /// One object with everything, its rows as `selection` asks.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self, selection: Selection) -> Result<String, Error> {
        let table = self.table(selection);
        let (profile, provenance) = (&self.profile, &self.provenance);
        let (machine, counts) = (&profile.machine, &profile.counts);
        let (total, flushes) = (&profile.total, &counts.flushes);
        let structures = Structures::of_machine(total, machine, counts);
        let lines_dropped = counts.levels().iter().map(|level| level.device_invalidations).sum();
        let document = Document {
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
                transfers: profile.remarks.dma_transfers,
                lines_dropped,
            },
            symbols: match &provenance.symbols {
                Symbols::Used { complaints } => SymbolsUsed { used: true, complaints },
                Symbols::None | Symbols::Off => SymbolsUsed { used: false, complaints: &[] },
            },
            remarks: self.remarks(),
            instructions: total.instructions,
            rep_iterations: total.rep_iterations,
            structures,
            device_accesses: total.device,
            stale_hits: total.stale,
            deliveries: profile.remarks.deliveries,
            synthesised_references: profile.remarks.synthesised_references,
            flushes: Flushes {
                cr3_writes: flushes.cr3_writes,
                cr3_same_value: flushes.cr3_same_value,
                pge_changes: flushes.pge_changes,
                invlpg: flushes.invlpg,
                invpcid: flushes.invpcid,
                page_faults: flushes.page_faults,
            },
            named: self.named().iter().map(NamedLayer::new).collect(),
            grouped_by: table.selection.by.name(),
            sorted_by: table.selection.sort.name(),
            layers: &table.selection.layers,
            by: table
                .rows
                .iter()
                .map(|g| Entry::new(g, table.selection.by, total, machine))
                .collect(),
            others: table.others.as_ref().map(|others| OtherRows {
                rows: others.rows,
                counts: Counts::new(&others.counters, total, machine),
            }),
        };
        to_pretty(&document)
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
            memory_writebacks: if is_last { level.written_on } else { 0 },
            victims: level.victims,
            back_invalidations: level.back_invalidations,
            device_invalidations: level.device_invalidations,
            invalidations: level.invalidations,
            interventions: level.interventions,
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
    fn of_machine(total: &Counters, machine: &Machine, counts: &strata_cachemodel::Counts) -> Self {
        let mut structures = Structures::new(total, machine);
        let depth = machine.levels().len();
        let traffic = |index: usize| Some(Traffic::new(counts.levels()[index], index + 1 == depth));
        structures.l2.iter_mut().for_each(|l2| l2.traffic = traffic(1));
        structures.l3.iter_mut().for_each(|l3| l3.traffic = traffic(2));
        structures
    }

    fn new(counters: &Counters, machine: &Machine) -> Self {
        let [l1, ..] = &counters.levels;
        let lower = |index: usize| {
            machine.levels().get(index)?;
            let level = &counters.levels[index];
            Some(UnifiedAccesses {
                all: Accesses::new(level.all(), counters),
                inst_misses: level.instructions.misses,
                read_misses: level.reads.misses,
                write_misses: level.writes.misses,
                traffic: None,
            })
        };
        Structures {
            l1i: Accesses::new(counters.l1i(), counters),
            l1d: DataAccesses {
                all: Accesses::new(counters.l1d(), counters),
                reads: l1.reads.accesses,
                writes: l1.writes.accesses,
                read_misses: l1.reads.misses,
                write_misses: l1.writes.misses,
            },
            l2: lower(1),
            l3: lower(2),
            itlb: Accesses::new(counters.itlb, counters),
            dtlb: Accesses::new(counters.dtlb, counters),
            stlb: machine.stlb().map(|_| Accesses::new(counters.stlb, counters)),
            page_walks: Walks {
                walks: counters.walks,
                accesses: counters.walk_accesses(),
                memory_accesses: counters.walk_memory_accesses(machine.levels().len()),
            },
            estimated_cycles: counters.cycles(machine),
        }
    }
}

impl Counts {
    fn new(counters: &Counters, total: &Counters, machine: &Machine) -> Self {
        Counts {
            instructions: counters.instructions,
            share_percent: share_percent(counters.instructions, total.instructions),
            rep_iterations: counters.rep_iterations,
            structures: Structures::new(counters, machine),
            device_accesses: counters.device,
            stale_hits: counters.stale,
        }
    }
}

impl<'a> Entry<'a> {
    fn new(group: &'a Group, by: By, total: &Counters, machine: &Machine) -> Self {
        let unknown = (by == By::Function).then_some("unknown");
        Entry {
            layer: group.layer,
            module: group.module.as_deref(),
            function: group.function.as_deref().or(unknown),
            address: group.address.map(|address| format!("{address:#x}")),
            counts: Counts::new(&group.counters, total, machine),
        }
    }
}
