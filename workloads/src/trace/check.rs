//! The laws that a stream must keep, beyond those without which it cannot be read at all.

use super::batch::{Batch, Definitions};
use super::block::{Block, Shape, StackEffect};
use super::definitions_codec::TableSizes;
use super::error::TraceError;
use super::event::Event;
use super::index::Ending;
use super::reader::TraceReader;
use super::state::MachineState;
use crate::code::{Analysis, repeats};
use std::collections::BTreeMap;
use std::io::Read;

/// Findings told in full; the rest are counted.
const TOLD: usize = 20;

/// A law of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Law {
    /// Every translation that is defined is told, in the order of definition.
    TranslationsTold,
    /// A chunk begins with the state that the events before it lead to.
    StateFollows,
    /// After an execution that loads the stack pointer an event tells it before the next execution
    /// on that CPU.
    StackPointerTold,
    /// Instructions have the lengths that their bytes decode to.
    LengthsDecode,
    /// An execution repeats exactly if its last instruction is a `rep` string instruction, and has
    /// repeated slots exactly if it has iterations.
    RepeatsRepeat,
}

impl Law {
    /// The law in a few words.
    pub fn text(self) -> &'static str {
        match self {
            Law::TranslationsTold => "every translation that is defined is told",
            Law::StateFollows => "a chunk begins with the state that the events lead to",
            Law::StackPointerTold => "a loaded stack pointer is told before the next execution",
            Law::LengthsDecode => "instructions have the lengths that their bytes decode to",
            Law::RepeatsRepeat => "iterations, repeated slots and `rep` prefixes go together",
        }
    }
}

/// A breach of a law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The law.
    pub law: Law,
    /// Instructions in the chunks up to that of the breach, itself included.
    pub instructions: u64,
    /// What was found.
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// What the trace says of itself; equal to what was read.
    pub ending: Ending,
    /// Size in bytes.
    pub bytes: u64,
    /// Number of chunks.
    pub chunks: u64,
    /// How often each law was broken; empty for a sound trace.
    pub broken: BTreeMap<Law, u64>,
    /// The first breaches.
    pub findings: Vec<Finding>,
    /// Instructions in block definitions whose bytes are known and decode to no instruction.
    pub undecoded_instructions: u64,
}

impl CheckReport {
    /// True when no law is broken.
    pub fn is_sound(&self) -> bool {
        self.broken.is_empty()
    }
}

/// Reads a trace to its end and holds it to the laws. `progress` is called now and then with the
/// number of bytes read.
///
/// # Errors
/// With the first damage, or where the trace is cut off: reading itself verifies checksums, numbers
/// of definitions, alignment of pages, and all totals.
pub fn check<R: Read>(
    mut reader: TraceReader<R>,
    mut progress: impl FnMut(u64),
) -> Result<CheckReport, TraceError> {
    let mut checker = Checker::default();
    let mut batch = Batch::default();
    while reader.read(&mut batch)? {
        checker.instructions = reader.totals().instructions;
        if reader.chunks() > checker.chunks {
            checker.chunks = reader.chunks();
            checker.chunk(reader.chunk_head().map(|head| &head.state));
            progress(reader.offset());
        }
        checker.definitions(&batch.new, reader.tables());
        checker.batch(&batch, &reader.tables().shapes);
        checker.state = reader.state();
    }
    let ending = *reader.ending().expect("reading ended without an error");
    checker.end(&ending.tables);
    Ok(CheckReport {
        ending,
        bytes: reader.offset(),
        chunks: reader.chunks(),
        broken: checker.broken,
        findings: checker.findings,
        undecoded_instructions: checker.undecoded,
    })
}

#[derive(Default)]
struct Checker {
    instructions: u64,
    chunks: u64,
    state: Option<MachineState>,
    told: u32,
    cpu: u16,
    /// CPUs whose stack pointer was loaded and not told since.
    loaded: Vec<u16>,
    undecoded: u64,
    broken: BTreeMap<Law, u64>,
    findings: Vec<Finding>,
}

impl Checker {
    fn found(&mut self, law: Law, what: impl FnOnce() -> String) {
        *self.broken.entry(law).or_default() += 1;
        if self.findings.len() < TOLD {
            self.findings.push(Finding { law, instructions: self.instructions, what: what() });
        }
    }

    fn chunk(&mut self, begins: Option<&MachineState>) {
        match (self.state.take(), begins) {
            (Some(led_to), Some(begins)) if led_to != *begins => {
                self.found(Law::StateFollows, || {
                    format!("the events lead to {led_to:?}, the chunk begins with {begins:?}")
                });
            }
            (None, Some(begins)) => self.cpu = begins.cpu,
            _ => {}
        }
    }

    fn definitions(&mut self, new: &Definitions, all: &Definitions) {
        for block in &new.blocks {
            self.lengths(block);
        }
        for shape in &new.shapes {
            self.repeat(shape, &all.blocks[shape.block.index()]);
        }
    }

    fn lengths(&mut self, block: &Block) {
        if block.code.is_empty() {
            return;
        }
        for (i, instruction) in Analysis::of(block).decoded().iter().enumerate() {
            let (decoded, told) = (instruction.len(), usize::from(block.lengths[i]));
            if instruction.is_invalid() {
                self.undecoded += 1;
            } else if decoded != told {
                let address = block.instruction_address(i);
                self.found(Law::LengthsDecode, || {
                    format!("{told} bytes at {address:#x} decode to an instruction of {decoded}")
                });
            }
        }
    }

    fn repeat(&mut self, shape: &Shape, block: &Block) {
        let begun = usize::from(shape.completed) + usize::from(shape.interrupted);
        let known = !block.code.is_empty() && begun > 0;
        if !known {
            return;
        }
        let analysis = Analysis::of(block);
        let last = &analysis.decoded()[begun - 1];
        if shape.repeat.is_some() && !last.is_invalid() && !repeats(last) {
            let address = block.instruction_address(begun - 1);
            self.found(Law::RepeatsRepeat, || {
                format!("the instruction at {address:#x} has iterations, but is no `rep`: {last:?}")
            });
        }
    }

    fn batch(&mut self, batch: &Batch, shapes: &[Shape]) {
        let mut events = batch.events.iter().peekable();
        let mut iterations = batch.iterations.iter();
        for (i, id) in batch.shapes.iter().enumerate() {
            while let Some((_, event)) = events.next_if(|(before, _)| *before as usize <= i) {
                self.event(event);
            }
            let shape = &shapes[id.index()];
            if let Some(at) = self.loaded.iter().position(|&cpu| cpu == self.cpu) {
                self.loaded.swap_remove(at);
                self.found(Law::StackPointerTold, || {
                    format!("block {} runs with an unknown stack pointer", shape.block)
                });
            }
            if shape.stack == StackEffect::Loaded {
                self.loaded.push(self.cpu);
            }
            if let Some(repeat) = shape.repeat {
                let count = iterations.next().copied().unwrap_or_default();
                if (count == 0) != (repeat.slots == 0) {
                    self.found(Law::RepeatsRepeat, || {
                        format!("{count} iterations of {} slots of shape {id}", repeat.slots)
                    });
                }
            }
        }
        for (_, event) in events {
            self.event(event);
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Translation(_) => self.told += 1,
            Event::Cpu { number } => self.cpu = *number,
            Event::StackPointer { .. } | Event::Interrupt(_) => {
                self.loaded.retain(|&cpu| cpu != self.cpu);
            }
            Event::Gap { .. } => self.loaded.clear(),
            _ => {}
        }
    }

    fn end(&mut self, tables: &TableSizes) {
        if self.told != tables.translations {
            let told = self.told;
            self.found(Law::TranslationsTold, || {
                format!("{told} of {} translations are told", tables.translations)
            });
        }
    }
}
