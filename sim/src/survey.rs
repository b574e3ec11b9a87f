//! A look at a whole trace beforehand: which program runs in which address space.
//!
//! All that counts is which blocks ran as whose user code, in order of first execution; addresses
//! of data do not. A trace with an index is looked through in as many parts as there are
//! processors, since each chunk tells the machine's state at its start.

use crate::addressing::Addressing;
use crate::capture_names::CaptureNames;
use crate::error::Error;
use crate::layers::layer_of;
use crate::pipeline::for_each_batch;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io::Read;
use std::ops::Range;
use std::thread;
use strata_symbols::{DomainId, Layer};
use strata_workloads::trace::{
    Batch, Definitions, Event, IndexedTrace, MachineState, ShapeId, SpaceId, TraceReader,
    TranslationId,
};

impl CaptureNames {
    /// Reads `trace` up to instruction `until` (exclusive) for the user code that runs in it, so
    /// that afterwards its functions are known at their first execution and not only when the
    /// stream has ended. A pass that follows calls needs that: what is a jump within a function
    /// and what one to another. Costs the decoding of the trace.
    ///
    /// # Errors
    /// If the trace is damaged. A truncated one is no failure here.
    pub fn learn<R: Read + Send>(
        mut self,
        trace: TraceReader<R>,
        until: u64,
    ) -> Result<Self, Error> {
        let (found, tables) = survey_stream(trace, until)?;
        self.know(&found, &tables);
        Ok(self)
    }

    /// The same by the trace's index, which is several times as fast.
    ///
    /// # Errors
    /// If the trace is damaged. Damage to what the data accesses are is not found here.
    pub fn learn_indexed(mut self, trace: &IndexedTrace, until: u64) -> Result<Self, Error> {
        let parts = thread::available_parallelism().map_or(1, usize::from);
        let found = survey_chunks(trace, until, parts)?;
        self.know(&found, trace.tables());
        Ok(self)
    }

    fn know(&mut self, found: &[Ran], tables: &Definitions) {
        for ran in found {
            let block = &tables.blocks[ran.block as usize];
            self.add_user_code(ran.domain, ran.space, block.address, &block.code);
        }
        self.begin_again();
    }
}

/// What ran before instruction `until`, each once, in order of first execution, and all tables.
/// Without privilege levels there are no layers, and so no programs.
fn survey_stream<R: Read + Send>(
    trace: TraceReader<R>,
    until: u64,
) -> Result<(Vec<Ran>, Definitions), Error> {
    let mut tables = Definitions::default();
    if trace.lacks().privilege {
        return Ok((Vec::new(), tables));
    }
    let begin = |state| Survey::new(state, 0, until, &Definitions::default(), 0);
    let (survey, _) = for_each_batch(trace, begin, |survey, batch| {
        tables.append(&mut batch.new);
        survey.batch(batch, &tables, &tables);
        !survey.is_done()
    })?;
    Ok((survey.found, tables))
}

/// The same in so many parts at a time.
fn survey_chunks(trace: &IndexedTrace, until: u64, parts: usize) -> Result<Vec<Ran>, Error> {
    if trace.lacks().privilege {
        return Ok(Vec::new());
    }
    let count = trace.chunks().partition_point(|chunk| chunk.before.instructions < until);
    let size = count.div_ceil(parts).max(1);
    let found: Vec<Result<Vec<Ran>, Error>> = thread::scope(|scope| {
        let part = |start: usize| {
            scope.spawn(move || survey_part(trace, start..(start + size).min(count), until))
        };
        let parts: Vec<_> = (0..count).step_by(size).map(part).collect();
        let joined = |part: thread::ScopedJoinHandle<'_, _>| {
            part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        parts.into_iter().map(joined).collect()
    });
    let mut seen = FxHashSet::default();
    let mut all = Vec::new();
    for part in found {
        all.extend(part?.into_iter().filter(|&ran| seen.insert(ran)));
    }
    Ok(all)
}

/// The same of these chunks alone.
fn survey_part(trace: &IndexedTrace, chunks: Range<usize>, until: u64) -> Result<Vec<Ran>, Error> {
    let mut outline = trace.outline(chunks)?;
    let mut batch = Batch::default();
    let mut survey: Option<Survey> = None;
    // Address spaces become known as they do to who reads from the start of the trace.
    let all = trace.tables();
    let mut told = Definitions { translations: all.translations.clone(), ..Definitions::default() };
    while let Some((number, head)) = outline.next_chunk()? {
        let known = |number: usize| trace.known_tables(number).spaces as usize;
        let survey = survey.get_or_insert_with(|| {
            let before = number.checked_sub(1).map_or(0, known);
            told.spaces.extend_from_slice(&all.spaces[..before]);
            let (position, told_before) = (head.before.instructions, head.tables.translations);
            Survey::new(head.state.clone(), position, until, &told, told_before)
        });
        told.spaces.extend_from_slice(&all.spaces[told.spaces.len()..known(number)]);
        while !survey.is_done() && outline.read(&mut batch)? {
            survey.batch(&batch, all, &told);
        }
    }
    Ok(survey.map_or_else(Vec::new, |survey| survey.found))
}

/// A block that ran as a program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ran {
    domain: DomainId,
    space: Option<SpaceId>,
    block: u32,
}

/// All that it depends on whose code in ring 3 is, besides the code itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Circumstances {
    hypervisor: bool,
    guest: bool,
    domain: u16,
    space: Option<SpaceId>,
    /// Changes when pages change hands.
    owners: u64,
}

/// A shape and the circumstances in which it was looked at last.
#[derive(Clone, Copy, Debug)]
struct Looked {
    at: u32,
    completed: u16,
}

/// Not looked at yet, or never to be.
const NOT_YET: u32 = u32::MAX;
const NEVER: u32 = u32::MAX - 1;

/// Follows who runs, and nothing else.
struct Survey {
    addressing: Addressing,
    state: MachineState,
    /// Completed instructions so far, and where to end.
    position: u64,
    until: u64,
    numbers: FxHashMap<Circumstances, u32>,
    present: u32,
    /// By shape.
    looked: Vec<Looked>,
    seen: FxHashSet<Ran>,
    /// In order of first execution.
    found: Vec<Ran>,
}

impl Survey {
    /// At `position`, before which the first `count` translations of `told` were told.
    fn new(state: MachineState, position: u64, until: u64, told: &Definitions, count: u32) -> Self {
        let mut survey = Survey {
            addressing: Addressing::default(),
            state,
            position,
            until,
            numbers: FxHashMap::default(),
            present: 0,
            looked: Vec::new(),
            seen: FxHashSet::default(),
            found: Vec::new(),
        };
        for number in 0..count {
            survey.addressing.tell(TranslationId(number), &survey.state, told);
        }
        survey.follow(told);
        survey
    }

    fn is_done(&self) -> bool {
        self.position >= self.until
    }

    /// `told` has the spaces and translations, `all` the code.
    fn batch(&mut self, batch: &Batch, all: &Definitions, told: &Definitions) {
        for shape in &all.shapes[self.looked.len()..] {
            let is_shared = all.blocks[shape.block.index()].privilege == 3;
            let at = if is_shared { NOT_YET } else { NEVER };
            self.looked.push(Looked { at, completed: shape.completed });
        }
        let mut done = 0;
        for (before, event) in &batch.events {
            let before = (*before as usize).clamp(done, batch.shapes.len());
            self.executions(&batch.shapes[done..before], all, told);
            done = before;
            self.event(event, told);
        }
        self.executions(&batch.shapes[done..], all, told);
    }

    fn executions(&mut self, shapes: &[ShapeId], all: &Definitions, told: &Definitions) {
        for shape in shapes {
            if self.is_done() {
                return;
            }
            let Looked { at, completed } = self.looked[shape.index()];
            if at != self.present && at != NEVER {
                self.look_at(shape.index(), all, told);
            }
            self.position += u64::from(completed);
        }
    }

    #[cold]
    fn look_at(&mut self, shape: usize, all: &Definitions, told: &Definitions) {
        self.looked[shape].at = self.present;
        let number = all.shapes[shape].block;
        let block = &all.blocks[number.index()];
        let guest_kernel = self.addressing.page(block.address, told).guest_kernel;
        if let Layer::User(domain) = layer_of(block, &self.state, guest_kernel) {
            let ran = Ran { domain, space: self.addressing.space(), block: number.0 };
            if self.seen.insert(ran) {
                self.found.push(ran);
            }
        }
    }

    fn event(&mut self, event: &Event, told: &Definitions) {
        self.state.apply(event);
        match *event {
            Event::Translation(id) => {
                let owners = self.addressing.owners_changed;
                self.addressing.tell(id, &self.state, told);
                if owners != self.addressing.owners_changed || self.addressing.space().is_none() {
                    self.note_circumstances();
                }
            }
            Event::Control { .. }
            | Event::Cpu { .. }
            | Event::VmRun { .. }
            | Event::VmExit { .. }
            | Event::Current(_) => self.follow(told),
            _ => {}
        }
    }

    fn follow(&mut self, told: &Definitions) {
        self.addressing.follow(&self.state, told);
        self.note_circumstances();
    }

    fn note_circumstances(&mut self) {
        let cpu = self.state.running();
        let circumstances = Circumstances {
            hypervisor: cpu.current.pointer != 0,
            guest: cpu.guest.is_some(),
            domain: cpu.current.domain,
            space: self.addressing.space(),
            owners: self.addressing.owners_changed,
        };
        let next = self.numbers.len() as u32;
        self.present = *self.numbers.entry(circumstances).or_insert(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn sample(name: &str) -> PathBuf {
        let samples = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/samples"));
        samples.join(name).join("trace.strata")
    }

    #[test]
    fn in_any_number_of_parts_the_same_code_is_found_in_the_same_order() {
        for (name, until) in [
            ("xen-net-tx", u64::MAX),
            ("xen-net-tx", 7_654_321),
            ("linux-calls", u64::MAX),
            ("linux-calls", 100_000),
        ] {
            let path = sample(name);
            let (wanted, _) = survey_stream(TraceReader::open(&path).unwrap(), until).unwrap();
            assert!(!wanted.is_empty());
            let trace = IndexedTrace::open(&path).unwrap();
            for parts in [1, 2, 7] {
                let found = survey_chunks(&trace, until, parts).unwrap();
                assert!(found == wanted, "{name} until {until} in {parts} parts");
            }
        }
    }
}
