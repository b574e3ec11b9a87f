//! Writing a trace.

use super::batch::{Batch, Definitions};
use super::chunk::{ChunkEncoder, ChunkHead, Totals};
use super::container::{self, ContentHash, FrameKind};
use super::definitions_codec::{self, TableSizes};
use super::error::TraceError;
use super::event::Event;
use super::index::{self, Ending, IndexEntry};
use super::predict::Coded;
use super::state::MachineState;
use std::io::Write;

/// A chunk is closed when its columns reach this size even if it is short of instructions, so that
/// a stream of endless iterations stays within bounds too.
const MAX_CHUNK_BYTES: usize = 64 << 20;

/// How a trace is written.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// zstd level, 1 to 22.
    pub level: i32,
    /// Who wrote it and from what: free text in the header.
    pub description: String,
    /// Instructions after which a chunk is closed.
    pub chunk_instructions: u64,
    /// The machine's state before the first batch.
    pub initial: MachineState,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions {
            level: 6,
            description: String::new(),
            chunk_instructions: 1 << 20,
            initial: MachineState::default(),
        }
    }
}

/// Writes a trace to anything that takes bytes, without seeking.
///
/// What has been handed over is in the file up to the last closed chunk; [`finish`](Self::finish)
/// closes the last one and adds index and end. Without it the file is one that ends early, which
/// readers can use up to the last chunk.
pub struct TraceWriter<W: Write> {
    out: W,
    offset: u64,
    compressor: zstd::bulk::Compressor<'static>,
    payload: Vec<u8>,
    chunk_instructions: u64,
    /// Sizes of all tables that are in the file.
    written: TableSizes,
    pending: Definitions,
    blocks: Vec<super::block::Block>,
    coded: Coded,
    encoder: ChunkEncoder,
    head: ChunkHead,
    state: MachineState,
    told: u32,
    totals: Totals,
    hash: ContentHash,
    index: Vec<IndexEntry>,
}

impl<W: Write> TraceWriter<W> {
    /// Writes the header and gets ready.
    ///
    /// # Errors
    /// Fails if the sink does.
    pub fn create(mut out: W, options: WriterOptions) -> Result<Self, TraceError> {
        let offset = container::write_header(&mut out, &options.description)?;
        let mut encoder = ChunkEncoder::new();
        let coded = Coded::default();
        encoder.begin(&coded, &options.initial);
        let head = ChunkHead {
            before: Totals::default(),
            within: Totals::default(),
            tables: TableSizes::default(),
            state: options.initial.clone(),
        };
        Ok(TraceWriter {
            out,
            offset,
            compressor: zstd::bulk::Compressor::new(options.level)?,
            payload: Vec::new(),
            chunk_instructions: options.chunk_instructions.max(1),
            written: TableSizes::default(),
            pending: Definitions::default(),
            blocks: Vec::new(),
            coded,
            encoder,
            head,
            state: options.initial,
            told: 0,
            totals: Totals::default(),
            hash: ContentHash::default(),
            index: Vec::new(),
        })
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Everything handed over so far.
    pub fn totals(&self) -> Totals {
        let mut all = self.totals;
        all += self.head.within;
        all
    }

    /// Appends a batch and takes its definitions.
    ///
    /// # Errors
    /// Fails if the sink does, or if the batch names something that is not defined or has too few
    /// addresses for its shapes.
    pub fn write(&mut self, batch: &mut Batch) -> Result<(), TraceError> {
        self.define(&mut batch.new)?;
        let mut events = batch.events.iter().peekable();
        let (mut addresses, mut iterations) = (batch.addresses.as_slice(), batch.iterations.iter());
        for (i, &id) in batch.shapes.iter().enumerate() {
            while let Some((_, event)) = events.next_if(|(before, _)| *before as usize <= i) {
                self.event(event)?;
            }
            let Some(&shape) = self.coded.shapes.get(id.index()) else {
                return Err(TraceError::Inconsistent(format!("shape {id} is not defined")));
            };
            let Some((here, rest)) = addresses.split_at_checked(shape.slots as usize) else {
                return Err(TraceError::Inconsistent("fewer addresses than slots".into()));
            };
            addresses = rest;
            let mut repeated = 0;
            if shape.repeats {
                repeated = *iterations.next().ok_or_else(|| {
                    TraceError::Inconsistent("fewer iteration counts than repeating shapes".into())
                })?;
            }
            self.encoder.execution(id, here, repeated, &self.coded);
            let within = &mut self.head.within;
            within.executions += 1;
            within.instructions += u64::from(shape.completed);
            within.rep_iterations += repeated;
            let once = u64::from(shape.slots) - u64::from(shape.repeated_slots);
            within.data_accesses += once + u64::from(shape.repeated_slots) * repeated;
            if within.instructions >= self.chunk_instructions
                || within.executions.is_multiple_of(4096) && self.encoder.bytes() >= MAX_CHUNK_BYTES
            {
                self.close_chunk()?;
            }
        }
        for (_, event) in events {
            self.event(event)?;
        }
        Ok(())
    }

    fn define(&mut self, new: &mut Definitions) -> Result<(), TraceError> {
        if new.is_empty() {
            return Ok(());
        }
        self.blocks.extend(new.blocks.iter().cloned());
        for shape in &new.shapes {
            if shape.block.index() >= self.blocks.len() {
                let message = format!("a shape of block {}, which is not defined", shape.block);
                return Err(TraceError::Inconsistent(message));
            }
            self.coded.push(shape, &self.blocks);
        }
        self.encoder.grow(&self.coded);
        self.pending.append(new);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), TraceError> {
        if let Event::Translation(id) = event {
            let defined = self.written.translations as usize + self.pending.translations.len();
            if id.0 != self.told || id.index() >= defined {
                return Err(TraceError::Inconsistent(format!(
                    "translation {id} is told where {} of {defined} is next",
                    self.told
                )));
            }
            self.told += 1;
        }
        self.encoder.event(event, &mut self.state);
        self.head.within.events += 1;
        Ok(())
    }

    fn close_chunk(&mut self) -> Result<(), TraceError> {
        if !self.pending.is_empty() {
            let columns = definitions_codec::encode(&self.pending, &self.written);
            let sizes = TableSizes::of(&self.pending);
            self.written.add(&sizes);
            self.frame(FrameKind::Definitions, &columns, Totals::default())?;
            self.pending = Definitions::default();
        }
        let within = self.head.within;
        if within == Totals::default() {
            return Ok(());
        }
        let columns = self.encoder.finish(&self.head).clone();
        self.frame(FrameKind::Chunk, &columns, within)?;
        self.totals += within;
        self.encoder.settle(&mut self.state);
        self.head = ChunkHead {
            before: self.totals,
            within: Totals::default(),
            tables: TableSizes { translations: self.told, ..self.written },
            state: self.state.clone(),
        };
        self.encoder.begin(&self.coded, &self.state);
        self.out.flush()?;
        Ok(())
    }

    fn frame(
        &mut self,
        kind: FrameKind,
        columns: &[Vec<u8>],
        within: Totals,
    ) -> Result<(), TraceError> {
        let sums = container::pack(columns, &mut self.compressor, &mut self.payload)?;
        if matches!(kind, FrameKind::Definitions | FrameKind::Chunk) {
            self.hash.add(kind, &sums);
            self.index.push(IndexEntry { kind, offset: self.offset, within });
        }
        self.offset += container::write_frame(&mut self.out, kind, &self.payload)?;
        Ok(())
    }

    /// Closes the last chunk and writes index and end.
    ///
    /// # Errors
    /// Fails if the sink does.
    pub fn finish(mut self) -> Result<(W, Ending), TraceError> {
        self.close_chunk()?;
        let index_offset = self.offset;
        self.frame(FrameKind::Index, &[index::encode(&self.index)], Totals::default())?;
        let ending =
            Ending { totals: self.totals, tables: self.written, hash: self.hash.value() };
        self.frame(FrameKind::End, &[ending.encode()], Totals::default())?;
        self.out.write_all(&index_offset.to_le_bytes())?;
        self.out.write_all(&container::TRAILER)?;
        self.out.flush()?;
        Ok((self.out, ending))
    }
}
