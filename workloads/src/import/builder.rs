//! References into blocks, shapes and executions, without changing their order.
//!
//! Fetches that follow on one another form a block; data references belong to the instruction
//! fetched last. An execution is described by a *key*: its address, its context and a word for each
//! reference. Equal keys are equal shapes, so that one look-up finds the shape of an execution.

use super::error::ImportError;
use super::key::{
    self, CODE, Context, DATA, FLOW_SHIFT, HEAD, MODIFY, Parts, WITHOUT_FETCH, WRITE,
};
use super::report::Counted;
use crate::code::{Analysis, Observed};
use crate::trace::{
    AccessKind, Batch, Block, BlockId, Ending, Event, Flow, Lacks, Shape, ShapeId, StackEffect,
    TraceWriter, Translation, TranslationId, WriterOptions,
};
use rustc_hash::FxHashMap;
use std::io::{Seek, Write};

/// References of one execution at most: longer runs are cut, so that their shapes stay few.
const MAX_REFERENCES: usize = 128;
/// References of an execution without a fetch: a `rep` iteration makes one or two.
const MAX_WITHOUT_FETCH: usize = 2;
/// A batch is handed to the writer when it has this many executions or events.
const BATCH: usize = 1 << 13;

/// Number of an instruction's bytes among all that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CodeId(u32);

/// Builds a native trace from references.
pub(crate) struct Builder<W: Write> {
    writer: TraceWriter<W>,
    batch: Batch,
    /// Of the execution being built; empty if none is.
    key: Vec<u32>,
    /// References that still fit into it.
    room: usize,
    /// Address after its last instruction.
    next: u64,
    /// Address and length of the instruction fetched last.
    last: (u64, u8),
    context: Context,
    shapes: FxHashMap<Box<[u32]>, ShapeId>,
    blocks: FxHashMap<Box<[u32]>, BlockId>,
    codes: Vec<Box<[u8]>>,
    /// Of each shape: how many of its writes were marked because of the code. Empty without code.
    modifies: Vec<u16>,
    code_ids: FxHashMap<Box<[u8]>, CodeId>,
    translations: u32,
    counted: Counted,
}

impl<W: Write + Seek> Builder<W> {
    /// # Errors
    /// If the sink fails.
    pub(crate) fn new(out: W, options: WriterOptions) -> Result<Self, ImportError> {
        Ok(Builder {
            writer: TraceWriter::create(out, options)?,
            batch: Batch::default(),
            key: Vec::with_capacity(HEAD + 2 * MAX_REFERENCES),
            room: 0,
            next: 0,
            last: (0, 1),
            context: Context::default(),
            shapes: FxHashMap::default(),
            blocks: FxHashMap::default(),
            codes: Vec::new(),
            modifies: Vec::new(),
            code_ids: FxHashMap::default(),
            translations: 0,
            counted: Counted::default(),
        })
    }

    /// The references taken so far.
    pub(crate) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// An instruction of `length` bytes was fetched; 0 if its length is unknown, it then touches
    /// its first byte.
    ///
    /// # Errors
    /// If the sink fails.
    #[inline]
    pub(crate) fn fetch(&mut self, address: u64, length: u8) -> Result<(), ImportError> {
        self.counted.fetches_without_length += u64::from(length == 0);
        let length = length.max(1);
        self.place(address)?;
        self.key.push(u32::from(length));
        self.fetched(address, length);
        Ok(())
    }

    /// The same, of an instruction whose bytes are known; its length is theirs.
    ///
    /// # Errors
    /// If the sink fails.
    pub(crate) fn fetch_code(
        &mut self,
        address: u64,
        code: CodeId,
        length: u8,
    ) -> Result<(), ImportError> {
        self.place(address)?;
        self.key.extend([u32::from(length) | CODE, code.0]);
        self.fetched(address, length);
        Ok(())
    }

    /// Makes sure that a fetch from `address` can be added.
    #[inline]
    fn place(&mut self, address: u64) -> Result<(), ImportError> {
        let follows =
            self.room > 0 && address == self.next && self.key[HEAD - 1] & WITHOUT_FETCH == 0;
        if follows {
            return Ok(());
        }
        self.close(Flow::Other)?;
        self.begin(address, 0, MAX_REFERENCES);
        Ok(())
    }

    #[inline]
    fn fetched(&mut self, address: u64, length: u8) {
        self.next = address.wrapping_add(u64::from(length));
        self.last = (address, length);
        self.room -= 1;
        self.counted.fetches += 1;
    }

    /// The data references from here on belong to the instruction at `address`, which is not
    /// fetched anew: another iteration of a `rep`.
    ///
    /// # Errors
    /// If the sink fails.
    pub(crate) fn refer_to(&mut self, address: u64, length: u8) -> Result<(), ImportError> {
        self.close(Flow::Other)?;
        self.last = (address, length.max(1));
        Ok(())
    }

    /// A data reference of the instruction fetched last; size 0 if it is unknown.
    ///
    /// # Errors
    /// If the sink fails.
    #[inline]
    pub(crate) fn data(
        &mut self,
        kind: AccessKind,
        address: u64,
        bytes: u16,
        modify: bool,
    ) -> Result<(), ImportError> {
        if self.room == 0 {
            self.close(Flow::Other)?;
            let (at, length) = self.last;
            self.begin(at, WITHOUT_FETCH, MAX_WITHOUT_FETCH);
            self.key.push(u32::from(length));
        }
        let mut word = DATA | u32::from(bytes);
        match kind {
            AccessKind::Read => self.counted.reads += 1,
            AccessKind::Write => {
                word |= WRITE | if modify { MODIFY } else { 0 };
                self.counted.writes += 1;
                self.counted.modifies += u64::from(modify);
            }
        }
        self.counted.data_without_size += u64::from(bytes == 0);
        self.key.push(word);
        self.batch.addresses.push(address);
        self.room -= 1;
        Ok(())
    }

    /// The instruction fetched last was a call or return.
    ///
    /// # Errors
    /// If the sink fails.
    pub(crate) fn end_block(&mut self, flow: Flow) -> Result<(), ImportError> {
        self.close(flow)
    }

    /// What follows runs in this context.
    ///
    /// # Errors
    /// If the sink fails.
    pub(crate) fn enter(&mut self, context: Context) -> Result<(), ImportError> {
        if context != self.context {
            self.close(Flow::Other)?;
            self.context = context;
        }
        Ok(())
    }

    /// An event after all references so far.
    ///
    /// # Errors
    /// If the sink fails.
    pub(crate) fn event(&mut self, event: Event) -> Result<(), ImportError> {
        self.close(Flow::Other)?;
        self.batch.event(event);
        if self.batch.events.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Defines a page translation and tells it.
    ///
    /// # Errors
    /// If the sink fails.
    pub(crate) fn translate(&mut self, translation: Translation) -> Result<(), ImportError> {
        let id = TranslationId(self.translations);
        self.translations += 1;
        self.batch.new.translations.push(translation);
        self.event(Event::Translation(id))
    }

    /// The definitions that go with the next batch.
    pub(crate) fn definitions(&mut self) -> &mut crate::trace::Definitions {
        &mut self.batch.new
    }

    /// The number of an instruction's bytes.
    pub(crate) fn code(&mut self, bytes: &[u8]) -> CodeId {
        if let Some(&id) = self.code_ids.get(bytes) {
            return id;
        }
        let id = CodeId(self.codes.len() as u32);
        self.codes.push(bytes.into());
        self.code_ids.insert(bytes.into(), id);
        id
    }

    fn begin(&mut self, address: u64, how: u32, room: usize) {
        let context = self.context.word() | how;
        self.key.extend([address as u32, (address >> 32) as u32, context]);
        self.room = room;
    }

    /// Ends the execution being built, if one is.
    #[inline]
    fn close(&mut self, flow: Flow) -> Result<(), ImportError> {
        self.room = 0;
        if self.key.is_empty() {
            return Ok(());
        }
        // Without a fetch nothing was completed, no call either.
        let fetched = self.key[HEAD - 1] & WITHOUT_FETCH == 0;
        let flow = if fetched { flow } else { Flow::Other };
        self.key[HEAD - 1] |= (flow as u32) << FLOW_SHIFT;
        let id = match self.shapes.get(self.key.as_slice()) {
            Some(&id) => id,
            None => self.define(flow),
        };
        self.key.clear();
        self.batch.shapes.push(id);
        self.counted.modifies += self.modifies.get(id.index()).map_or(0, |&marks| marks.into());
        if self.batch.shapes.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    #[cold]
    fn define(&mut self, flow: Flow) -> ShapeId {
        let Parts { block_key, lengths, code, slots, fetched, context } =
            key::parts(&self.key, &self.codes);
        let instructions = lengths.len() as u16;
        let static_block = Block {
            address: key::address(&self.key),
            code_size: context.code_size,
            privilege: context.privilege,
            space: None,
            lengths: lengths.into(),
            code: code.into(),
        };
        let next = BlockId(self.blocks.len() as u32);
        let block = *self.blocks.entry(block_key.into()).or_insert(next);
        let mut shape = Shape {
            block,
            completed: if fetched { instructions } else { 0 },
            interrupted: !fetched,
            slots: slots.into(),
            repeat: None,
            flow,
            stack: StackEffect::Moves(0),
        };
        if !self.codes.is_empty() {
            // Shapes before the first code have none.
            self.modifies.resize(self.shapes.len(), 0);
            self.modifies.push(mark_modifies(&mut shape, &static_block));
        }
        if block == next {
            self.batch.new.blocks.push(static_block);
        }
        self.batch.new.shapes.push(shape);
        let id = ShapeId(self.shapes.len() as u32);
        self.shapes.insert(self.key.as_slice().into(), id);
        id
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        self.writer.write(&mut self.batch)?;
        self.batch.clear();
        Ok(())
    }

    /// Ends the trace, with what is known now of what the stream lacks: `lacks` is what its format
    /// always does.
    ///
    /// # Errors
    /// If the sink fails.
    pub(crate) fn finish(
        mut self,
        mut lacks: Lacks,
    ) -> Result<(W, Ending, Lacks, Counted), ImportError> {
        self.close(Flow::Other)?;
        self.flush()?;
        let counted = self.counted;
        let data = counted.reads + counted.writes;
        lacks.fetches |= counted.fetches == 0;
        lacks.data |= data == 0;
        lacks.lengths |= counted.fetches_without_length == counted.fetches;
        lacks.sizes |= counted.data_without_size == data;
        let (out, ending) = self.writer.finish_lacking(lacks)?;
        Ok((out, ending, lacks, counted))
    }
}

/// Marks those writes of `shape` that the code of its block shows to be the second half of a
/// read-modify-write; returns how many.
fn mark_modifies(shape: &mut Shape, block: &Block) -> u16 {
    if block.code.is_empty() {
        return 0;
    }
    let observed: Vec<Observed> = shape
        .slots
        .iter()
        .map(|slot| Observed { instruction: slot.instruction, kind: slot.kind, bytes: slot.bytes })
        .collect();
    let analysed =
        Analysis::of(block).shape(shape.block, shape.completed, shape.interrupted, &observed, None);
    for (slot, found) in shape.slots.iter_mut().zip(&analysed.slots) {
        slot.modify = found.modify;
    }
    analysed.slots.iter().filter(|slot| slot.modify).count() as u16
}
