//! Lives of packets as text, CSV and JSON.

use crate::document_head::DocumentHead;
use crate::error::Error;
use crate::numbers::{NOT_AVAILABLE, counted, grouped, percent, share_percent, shortened};
use crate::profile_json::structures::Structures;
use crate::profile_json::to_pretty;
use crate::profile_report::ProfileReport;
use crate::result_table::{Cell, Column, Kind, Table};
use crate::returns::returns_text;
use crate::structure::Structure;
use crate::text_table::{TextTable, wrapped};
use serde::Serialize;
use std::collections::BTreeMap;
use strata_sim::{Counters, Direction, LifeReport, LifeStage, ReturnReport, Summary};
use strata_symbols::Layer;

/// Rows of a flow that a table shows; CSV of phases and JSON have all.
const FLOW_ROWS: usize = 30;

/// Lives, with the replay that they were found in.
#[derive(Clone, Copy, Debug)]
pub struct LifeResult<'r> {
    /// The replay.
    pub profile: &'r ProfileReport,
    /// The lives.
    pub lives: &'r LifeReport,
    /// How well returns could be followed.
    pub returns: &'r ReturnReport,
    /// Index of the life to tell, and what it is called: `median`, `slowest`, `7`.
    pub chosen: Option<(usize, &'r str)>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    head: DocumentHead<'a>,
    rules: RulesEntry<'a>,
    count: u64,
    whole: u64,
    begun_before: u64,
    unfinished: BTreeMap<&'static str, u64>,
    instructions_per_life: SummaryEntry,
    elapsed_per_life: SummaryEntry,
    phases: Vec<PhaseEntry<'a>>,
    lives: Vec<LifeEntry<'a>>,
    outside: OutsideEntry,
    flow: Option<FlowEntry<'a>>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct RulesEntry<'a> {
    name: &'a str,
    title: &'a str,
    direction: &'static str,
}

#[derive(Serialize)]
struct SummaryEntry {
    count: u64,
    sum: u64,
    mean: Option<f64>,
    min: u64,
    median: u64,
    p95: u64,
    max: u64,
}

#[derive(Serialize)]
struct Counts {
    instructions: u64,
    share_percent: Option<f64>,
    #[serde(flatten)]
    structures: Structures,
}

#[derive(Serialize)]
struct LayerEntry {
    layer: Layer,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct PhaseEntry<'a> {
    name: &'a str,
    title: &'a str,
    lives: u64,
    #[serde(flatten)]
    counts: Counts,
    per_life: SummaryEntry,
    layers: Vec<LayerEntry>,
}

#[derive(Serialize)]
struct LifeEntry<'a> {
    number: usize,
    domain: Option<u16>,
    whole: bool,
    stage: &'static str,
    begin: u64,
    end: u64,
    elapsed: u64,
    instructions: u64,
    packets: u64,
    granted: u64,
    references: u64,
    copied: u64,
    copied_bytes: u64,
    mapped: u64,
    still_mapped: u64,
    ended: u64,
    ports: Vec<Port>,
    phases: BTreeMap<&'a str, u64>,
}

#[derive(Serialize)]
struct Port {
    sender: u16,
    port: u32,
}

#[derive(Serialize)]
struct OutsideEntry {
    #[serde(flatten)]
    counts: Counts,
    /// While a life was under way.
    between: Vec<LayerEntry>,
    /// While none was.
    idle: Vec<LayerEntry>,
}

#[derive(Serialize)]
struct FlowEntry<'a> {
    life: usize,
    chosen: &'a str,
    rows: Vec<FlowRowEntry<'a>>,
}

#[derive(Serialize)]
struct FlowRowEntry<'a> {
    at: u64,
    phase: &'a str,
    layer: Layer,
    module: Option<String>,
    function: Option<String>,
    instructions: u64,
}

impl From<&Summary> for SummaryEntry {
    fn from(summary: &Summary) -> Self {
        let &Summary { count, sum, min, median, p95, max } = summary;
        SummaryEntry { count, sum, mean: summary.mean(), min, median, p95, max }
    }
}

impl LifeResult<'_> {
    /// Everything as one object.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, Error> {
        let (lives, profile) = (self.lives, self.profile);
        let name = |phase: usize| lives.rules.phases[phase].name.as_str();
        let phases = lives.phases.iter().enumerate().map(|(i, phase)| PhaseEntry {
            name: name(i),
            title: &lives.rules.phases[i].title,
            lives: phase.lives,
            counts: self.counts(&phase.counters, &lives.total),
            per_life: (&phase.per_life).into(),
            layers: self.layers(&phase.layers, &phase.counters),
        });
        let entries = lives.lives.iter().enumerate().map(|(i, life)| {
            let mut of_phase = BTreeMap::new();
            for (&(phase, _), counters) in &life.cells {
                *of_phase.entry(name(usize::from(phase))).or_default() += counters.instructions;
            }
            LifeEntry {
                number: i + 1,
                domain: life.domain,
                whole: life.is_closed && !life.is_headless,
                stage: life.stage.name(),
                begin: life.begin,
                end: life.end,
                elapsed: life.elapsed(),
                instructions: life.total().instructions,
                packets: life.packets,
                granted: life.granted,
                references: life.references,
                copied: life.copied,
                copied_bytes: life.copied_bytes,
                mapped: life.mapped,
                still_mapped: life.still_mapped,
                ended: life.ended,
                ports: life.ports.iter().map(|&(sender, port)| Port { sender, port }).collect(),
                phases: of_phase,
            }
        });
        let outside = lives.outside.total();
        let flow = self.chosen.map(|(life, chosen)| FlowEntry {
            life: life + 1,
            chosen,
            rows: lives
                .flow(life)
                .into_iter()
                .map(|row| {
                    let (module, function) =
                        row.function.name.map(|name| (name.module, name.function)).unzip();
                    FlowRowEntry {
                        at: row.at,
                        phase: name(row.phase),
                        layer: row.function.layer,
                        module,
                        function,
                        instructions: row.instructions,
                    }
                })
                .collect(),
        });
        to_pretty(&Document {
            head: DocumentHead::new("life", profile, self.returns),
            rules: RulesEntry {
                name: &lives.rules.name,
                title: &lives.rules.title,
                direction: match lives.rules.direction {
                    Direction::Tx => "tx",
                    Direction::Rx => "rx",
                },
            },
            count: lives.lives.len() as u64,
            whole: lives.whole().count() as u64,
            begun_before: lives.lives.iter().filter(|life| life.is_headless).count() as u64,
            unfinished: lives.unfinished().map(|(stage, n)| (stage.name(), n)).into(),
            instructions_per_life: (&lives.instructions).into(),
            elapsed_per_life: (&lives.elapsed).into(),
            phases: phases.collect(),
            lives: entries.collect(),
            outside: OutsideEntry {
                counts: self.counts(&outside, &lives.total),
                between: self.layers(&lives.outside.between, &outside),
                idle: self.layers(&lives.outside.idle, &outside),
            },
            flow,
            notes: self.notes(),
        })
    }

    fn counts(&self, counters: &Counters, whole: &Counters) -> Counts {
        let machine = &self.profile.profile.machine;
        Counts {
            instructions: counters.instructions,
            share_percent: share_percent(counters.instructions, whole.instructions),
            structures: Structures::new(counters, machine, self.profile.known()),
        }
    }

    fn layers(&self, layers: &BTreeMap<Layer, Counters>, whole: &Counters) -> Vec<LayerEntry> {
        let entry = |(&layer, counters)| LayerEntry { layer, counts: self.counts(counters, whole) };
        layers.iter().map(entry).collect()
    }

    fn structures(&self) -> Vec<Structure> {
        let mut structures = Structure::of(&self.profile.profile.machine);
        structures.retain(|&structure| self.profile.known().structure(structure));
        structures
    }

    /// A row for each phase of each life and layer, then what is outside: they sum to the replay.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_csv(&self) -> Result<String, Error> {
        self.to_table().to_csv()
    }

    /// The same as a table, which can be written in other formats too.
    pub fn to_table(&self) -> Table<'static> {
        let structures = self.structures();
        let mut columns = vec![Column::new("life", Kind::Whole)];
        columns.extend(Column::texts(["whole", "phase", "layer"]));
        columns.extend(Column::counts(["instructions", "l1d_reads", "l1d_writes"]));
        let misses = structures.iter().map(|structure| format!("{}_misses", structure.key()));
        columns.extend(Column::counts(misses));
        let mut rows = Vec::new();
        let mut add = |names: [Cell; 4], counters: &Counters| {
            let [l1, ..] = &counters.levels;
            let numbers = [counters.instructions, l1.reads.accesses, l1.writes.accesses];
            let misses = structures.iter().map(|structure| structure.tally(counters).misses);
            let numbers = numbers.into_iter().chain(misses).map(Cell::Whole);
            rows.push(Ok(names.into_iter().chain(numbers).collect()));
        };
        for (i, life) in self.lives.lives.iter().enumerate() {
            let whole = (life.is_closed && !life.is_headless).to_string();
            for (&(phase, layer), counters) in &life.cells {
                let phase = self.lives.rules.phases[usize::from(phase)].name.as_str();
                let number = Cell::Whole(i as u64 + 1);
                add(
                    [number, whole.as_str().into(), phase.into(), layer.to_string().into()],
                    counters,
                );
            }
        }
        let outside = &self.lives.outside;
        for (name, layers) in [("(between)", &outside.between), ("(no life)", &outside.idle)] {
            for (layer, counters) in layers {
                let layer = layer.to_string().into();
                add([Cell::Missing, Cell::Missing, name.into(), layer], counters);
            }
        }
        Table::new("life", self.profile.origin(), columns, rows.into_iter()).carrying(&[
            ("machine", "machine"),
            ("trace_hash", "trace_hash"),
            ("semantics", "semantics"),
            ("command", "command"),
            ("version", "version"),
            ("units", "units"),
        ])
    }

    /// Tables for people.
    pub fn to_text(&self) -> String {
        let mut out = self.profile.head_text();
        out.push_str(&wrapped("lives", &self.lives_line()));
        out.push('\n');
        out.push_str(&self.summary_table().to_string());
        out.push('\n');
        out.push_str(&self.phase_table().to_string());
        out.push('\n');
        if let Some((life, chosen)) = self.chosen {
            out.push_str(&self.flow_text(life, chosen));
        }
        out.push_str(&returns_text(self.returns));
        out.push_str(&self.profile.names_text());
        for note in self.notes() {
            out.push_str(&wrapped("note", &note));
        }
        out
    }

    fn lives_line(&self) -> String {
        let lives = self.lives;
        let packets: u64 = lives.lives.iter().map(|life| life.packets).sum();
        let grants: u64 = lives.lives.iter().map(|life| life.references).sum();
        format!(
            "{} ({}), {} whole, {}, {}",
            counted(lives.lives.len() as u64, "life").replace("lifes", "lives"),
            lives.rules.title.to_lowercase(),
            grouped(lives.whole().count() as u64),
            counted(packets, "packet"),
            counted(grants, "grant"),
        )
    }

    fn summary_table(&self) -> TextTable {
        let mut table = TextTable::new(1);
        let header = ["of each whole life", "count", "mean", "median", "p95", "max"];
        table.header(header.map(str::to_owned));
        for (name, summary) in [
            ("instructions for it", &self.lives.instructions),
            ("instructions from first to last", &self.lives.elapsed),
        ] {
            let mean = summary
                .mean()
                .map_or(NOT_AVAILABLE.to_owned(), |mean| grouped(mean.round() as u64));
            let numbers = [summary.median, summary.p95, summary.max].map(grouped);
            let mut row = vec![name.to_owned(), grouped(summary.count), mean];
            row.extend(numbers);
            table.row(row);
        }
        table
    }

    fn phase_table(&self) -> TextTable {
        let lives = self.lives;
        let structures = self.structures();
        let mut table = TextTable::new(2);
        let fixed = ["phase", "layers", "lives", "instructions", "%", "median", "p95"];
        let misses = structures.iter().map(|structure| structure.label().to_owned());
        table.header(fixed.map(str::to_owned).into_iter().chain(misses));
        let row = |name: &str, layers: &BTreeMap<Layer, Counters>, middle: [String; 3]| {
            let mut counters = Counters::default();
            layers.values().for_each(|more| counters += more);
            let [number, median, p95] = middle;
            let share = percent(counters.instructions, lives.total.instructions);
            let mut cells = vec![shortened(name, 38), layers_text(layers, &counters), number];
            cells.extend([grouped(counters.instructions), share, median, p95]);
            let misses = structures.iter().map(|structure| structure.tally(&counters).misses);
            cells.extend(misses.map(grouped));
            cells
        };
        for (i, phase) in lives.phases.iter().enumerate() {
            let numbers = [phase.lives, phase.per_life.median, phase.per_life.p95].map(grouped);
            table.row(row(&lives.rules.phases[i].title, &phase.layers, numbers));
        }
        table.rule();
        let none = || [const { String::new() }; 3];
        table.row(row("outside, a life under way", &lives.outside.between, none()));
        table.row(row("outside, none under way", &lives.outside.idle, none()));
        table.rule();
        let mut all: BTreeMap<Layer, Counters> = BTreeMap::new();
        let parts = lives.phases.iter().map(|phase| &phase.layers);
        for part in parts.chain([&lives.outside.between, &lives.outside.idle]) {
            part.iter().for_each(|(&layer, more)| *all.entry(layer).or_default() += more);
        }
        table.row(row("total", &all, none()));
        table
    }

    fn flow_text(&self, number: usize, chosen: &str) -> String {
        let life = &self.lives.lives[number];
        let rows = self.lives.flow(number);
        let mut table = TextTable::new(3);
        let header = ["phase", "layer", "function", "at", "instructions"];
        table.header(header.map(str::to_owned));
        let mut longest: Vec<usize> = (0..rows.len()).collect();
        longest.sort_by_key(|&i| (std::cmp::Reverse(rows[i].instructions), i));
        longest.truncate(FLOW_ROWS);
        longest.sort_unstable();
        for row in longest.into_iter().map(|i| &rows[i]) {
            let name = row.function.name.as_ref().map_or("unknown", |name| name.function.as_str());
            table.row(vec![
                self.lives.rules.phases[row.phase].name.clone(),
                row.function.layer.to_string(),
                shortened(name, 34),
                grouped(row.at),
                grouped(row.instructions),
            ]);
        }
        format!(
            "life {} ({chosen}), from instruction {}: its {} longest visits of {}; JSON has all\n{table}\n",
            number + 1,
            grouped(life.begin),
            FLOW_ROWS.min(rows.len()),
            grouped(rows.len() as u64),
        )
    }

    /// What else to know, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let lives = self.lives;
        let mut notes = self.profile.remarks();
        for (stage, count) in lives.unfinished() {
            if count > 0 {
                let whose = match stage {
                    LifeStage::Gathering => "nothing was granted for",
                    LifeStage::Granted => "the driver domain did not take",
                    LifeStage::Accepted => "the driver domain did not give back",
                    LifeStage::Released => "the guest did not take back",
                };
                notes.push(format!(
                    "{whose} {} before the trace ended; their costs are in the phases, not in the statistics of whole lives",
                    counted(count, "life").replace("lifes", "lives")
                ));
            }
        }
        for (count, what) in [
            (
                lives.lives.iter().filter(|life| life.is_headless).count() as u64,
                "lives had begun before the trace; they are in no statistics of whole lives",
            ),
            (lives.gaps, "gaps in the trace, which cut off the lives under way"),
            (
                lives.repeated_operations,
                "grant operations were asked for again after Xen had left off in the middle; they are counted once",
            ),
            (lives.stray_ends, "grants taken back belong to no life"),
        ] {
            if count > 0 {
                notes.push(format!("{} {what}", grouped(count)));
            }
        }
        for idle in &lives.idle_patterns {
            let place =
                idle.phase.as_ref().map_or(String::new(), |phase| format!("phase {phase}: "));
            let near = match idle.near.as_slice() {
                [] => String::new(),
                near => format!("; names like it: {}", near.join(", ")),
            };
            notes.push(format!(
                "{place}no function that ran is `{}` of {}{near}",
                idle.pattern.text(),
                idle.pattern.layer()
            ));
        }
        notes
    }
}

/// `dom1-kernel 92 %, hypervisor 8 %`, the largest first.
fn layers_text(layers: &BTreeMap<Layer, Counters>, whole: &Counters) -> String {
    let mut shares: Vec<(u64, Layer)> =
        layers.iter().map(|(&layer, counters)| (counters.instructions, layer)).collect();
    shares.sort_by_key(|&(instructions, layer)| (std::cmp::Reverse(instructions), layer));
    let text = |(instructions, layer): (u64, Layer)| {
        let share = share_percent(instructions, whole.instructions)?;
        Some(format!("{layer} {share:.0} %")).filter(|_| share >= 0.5)
    };
    shares.into_iter().filter_map(text).take(2).collect::<Vec<_>>().join(", ")
}
