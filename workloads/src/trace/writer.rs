//! Writing a trace.

use super::batch::{Batch, Definitions};
use super::chunk::{ChunkHead, Totals};
use super::chunk_encoder::ChunkEncoder;
use super::consistency;
use super::container::{self, ContentHash, FrameKind};
use super::definitions_codec::{self, TableSizes};
use super::error::{Malformed, TraceError};
use super::event::Event;
use super::index::{self, Ending, IndexEntry};
use super::lacks::Lacks;
use super::page::{Space, SpaceId};
use super::predict::Coded;
use super::state::MachineState;
use std::io::{Seek, Write};

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
    /// What the stream cannot tell.
    pub lacks: Lacks,
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
            lacks: Lacks::NOTHING,
            chunk_instructions: 1 << 20,
            initial: MachineState::default(),
        }
    }
}

/// What shapes need to know of their block.
#[derive(Clone, Copy)]
struct Place {
    address: u64,
    instructions: usize,
}

impl From<Malformed> for TraceError {
    fn from(what: Malformed) -> Self {
        TraceError::Inconsistent(what.0)
    }
}

/// Writes a trace to anything that takes bytes, without seeking.
///
/// What has been handed over is in the file up to the last closed chunk; [`finish`](Self::finish)
/// closes the last one and adds index and end. Without it the file is one that ends early, which
/// readers can use up to the last chunk.
pub struct TraceWriter<W: Write> {
    out: W,
    description: String,
    offset: u64,
    compressor: zstd::bulk::Compressor<'static>,
    payload: Vec<u8>,
    chunk_instructions: u64,
    /// Sizes of all tables that are in the file.
    written: TableSizes,
    pending: Definitions,
    blocks: Vec<Place>,
    spaces: Vec<Space>,
    walks: usize,
    coded: Coded,
    encoder: ChunkEncoder,
    head: ChunkHead,
    state: MachineState,
    told: u32,
    totals: Totals,
    hash: ContentHash,
    index: Vec<IndexEntry>,
    /// A batch was refused; what came before it can still be finished.
    refused: bool,
    /// The sink failed: what it has is cut off at an unknown place.
    broken: bool,
}

impl<W: Write> TraceWriter<W> {
    /// Writes the header and gets ready.
    ///
    /// # Errors
    /// Fails if the sink does, or if the options say what no trace can hold.
    pub fn create(mut out: W, options: WriterOptions) -> Result<Self, TraceError> {
        let (cpu, cpus) = (usize::from(options.initial.cpu), options.initial.cpus.len());
        if cpu >= cpus || cpus as u64 > consistency::MAX_CPUS {
            return Err(TraceError::Inconsistent(format!("CPU {cpu} of {cpus} runs at the start")));
        }
        let offset = container::write_header(&mut out, &options.description, options.lacks)?;
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
            description: options.description,
            offset,
            compressor: zstd::bulk::Compressor::new(options.level)?,
            payload: Vec::new(),
            chunk_instructions: options.chunk_instructions.max(1),
            written: TableSizes::default(),
            pending: Definitions::default(),
            blocks: Vec::new(),
            spaces: Vec::new(),
            walks: 0,
            coded,
            encoder,
            head,
            state: options.initial,
            told: 0,
            totals: Totals::default(),
            hash: ContentHash::default(),
            index: Vec::new(),
            refused: false,
            broken: false,
        })
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Everything handed over so far.
    pub fn totals(&self) -> Totals {
        // Each chunk's counts were checked as they were added.
        self.totals.plus(&self.head.within).unwrap_or(self.totals)
    }

    /// Number of translations told so far.
    pub(crate) fn told(&self) -> u32 {
        self.told
    }

    /// The machine's state after everything handed over so far.
    pub(crate) fn state(&self) -> MachineState {
        let mut state = self.state.clone();
        self.encoder.settle(&mut state);
        state
    }

    /// Appends a batch and takes its definitions.
    ///
    /// # Errors
    /// Fails if the sink does, or if the batch names something that is not defined, has too few
    /// addresses for its shapes, or holds what no trace can. After that every further call fails;
    /// unless it was the sink that failed, [`finish`](Self::finish) keeps what came before.
    pub fn write(&mut self, batch: &mut Batch) -> Result<(), TraceError> {
        if std::mem::replace(&mut self.refused, true) {
            let message = "writing went on after a batch had been refused";
            return Err(TraceError::Inconsistent(message.into()));
        }
        self.append(batch)?;
        self.refused = false;
        Ok(())
    }

    fn append(&mut self, batch: &mut Batch) -> Result<(), TraceError> {
        self.define(&mut batch.new)?;
        let mut events = batch.events.iter().peekable();
        let (mut addresses, mut iterations) = (batch.addresses.as_slice(), batch.iterations.iter());
        for (i, &id) in batch.shapes.iter().enumerate() {
            while let Some((_, event)) = events.next_if(|(before, _)| *before as usize <= i) {
                self.event(event)?;
            }
            let Some(&shape) = self.coded.shape(id) else {
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
            let once = u64::from(shape.slots) - u64::from(shape.repeated_slots);
            let within = Totals {
                instructions: u64::from(shape.completed),
                rep_iterations: repeated,
                data_accesses: u64::from(shape.repeated_slots)
                    .checked_mul(repeated)
                    .and_then(|accesses| accesses.checked_add(once))
                    .ok_or_else(|| overflow(repeated))?,
                executions: 1,
                events: 0,
            };
            self.head.within = self.head.within.plus(&within).ok_or_else(|| overflow(repeated))?;
            self.encoder.execution(id, here, repeated, &self.coded);
            let within = &self.head.within;
            // Executions that complete nothing, as in a stream of data alone, count too.
            let full = within.instructions >= self.chunk_instructions
                || within.executions / 2 >= self.chunk_instructions;
            if full || self.is_large() {
                self.close_chunk()?;
            }
        }
        for (_, event) in events {
            self.event(event)?;
        }
        if !addresses.is_empty() || iterations.next().is_some() {
            let message = "more addresses or iteration counts than the executions need";
            return Err(TraceError::Inconsistent(message.into()));
        }
        Ok(())
    }

    /// True when the chunk must be closed though it is short of instructions; looks only now and
    /// then.
    fn is_large(&self) -> bool {
        let entries = self.head.within.executions + self.head.within.events;
        entries.is_multiple_of(4096) && self.encoder.bytes() >= MAX_CHUNK_BYTES
    }

    fn define(&mut self, new: &mut Definitions) -> Result<(), TraceError> {
        if new.is_empty() {
            return Ok(());
        }
        for block in &new.blocks {
            consistency::block(block)?;
            self.blocks.push(Place { address: block.address, instructions: block.instructions() });
        }
        for shape in &new.shapes {
            let Some(place) = self.blocks.get(shape.block.index()) else {
                let message = format!("a shape of block {}, which is not defined", shape.block);
                return Err(TraceError::Inconsistent(message));
            };
            consistency::shape(shape, place.instructions)?;
            self.coded.push(shape, place.address);
        }
        self.spaces.extend_from_slice(&new.spaces);
        self.walks += new.walks.len();
        for walk in &new.walks {
            consistency::walk(walk)?;
        }
        for translation in &new.translations {
            let space = |id: SpaceId| self.spaces.get(id.index()).copied();
            consistency::translation(translation, space, self.walks)?;
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
        consistency::event(event)?;
        self.encoder.event(event, &mut self.state);
        self.head.within.events += 1;
        if self.is_large() {
            self.close_chunk()?;
        }
        Ok(())
    }

    fn close_chunk(&mut self) -> Result<(), TraceError> {
        if !self.pending.is_empty() {
            let columns = definitions_codec::encode(&self.pending, &self.written);
            let sums = container::pack(&columns, &mut self.compressor, &mut self.payload)?;
            self.written.add(&TableSizes::of(&self.pending));
            self.frame(FrameKind::Definitions, &sums, Totals::default())?;
            self.pending = Definitions::default();
        }
        let within = self.head.within;
        if within == Totals::default() {
            return Ok(());
        }
        let columns = self.encoder.finish(&self.head);
        let sums = container::pack(columns, &mut self.compressor, &mut self.payload)?;
        self.frame(FrameKind::Chunk, &sums, within)?;
        self.totals = self.totals.plus(&within).ok_or_else(|| overflow(within.rep_iterations))?;
        self.encoder.settle(&mut self.state);
        self.head = ChunkHead {
            before: self.totals,
            within: Totals::default(),
            tables: TableSizes { translations: self.told, ..self.written },
            state: self.state.clone(),
        };
        self.encoder.begin(&self.coded, &self.state);
        Ok(())
    }

    /// Writes the packed payload, whose columns have these lengths and checksums.
    fn frame(
        &mut self,
        kind: FrameKind,
        sums: &[(u64, u32)],
        within: Totals,
    ) -> Result<(), TraceError> {
        if std::mem::replace(&mut self.broken, true) {
            let message = "writing went on after the output had failed";
            return Err(TraceError::Inconsistent(message.into()));
        }
        if matches!(kind, FrameKind::Definitions | FrameKind::Chunk) {
            self.hash.add(kind, sums);
            let (offset, before) = (self.offset, self.totals);
            self.index.push(IndexEntry { kind, offset, before, within });
        }
        self.offset += container::write_frame(&mut self.out, kind, &self.payload)?;
        self.out.flush()?;
        self.broken = false;
        Ok(())
    }

    /// Closes the last chunk and writes index and end.
    ///
    /// # Errors
    /// Fails if the sink does.
    pub fn finish(mut self) -> Result<(W, Ending), TraceError> {
        self.close_chunk()?;
        let index_offset = self.offset;
        let ending = Ending { totals: self.totals, tables: self.written, hash: self.hash.value() };
        for (kind, column) in
            [(FrameKind::Index, index::encode(&self.index)), (FrameKind::End, ending.encode())]
        {
            let sums = container::pack(&[column], &mut self.compressor, &mut self.payload)?;
            self.frame(kind, &sums, Totals::default())?;
        }
        container::write_trailer(&mut self.out, index_offset)?;
        self.out.flush()?;
        Ok((self.out, ending))
    }
}

impl<W: Write + Seek> TraceWriter<W> {
    /// As [`finish`](Self::finish), for a producer that learns only at the end what its stream
    /// lacks: the header is written anew. `out` must have been at its start when the writer was
    /// created; it is left at its end.
    ///
    /// # Errors
    /// Fails if the sink does.
    pub fn finish_lacking(mut self, lacks: Lacks) -> Result<(W, Ending), TraceError> {
        let description = std::mem::take(&mut self.description);
        let (mut out, ending) = self.finish()?;
        out.rewind()?;
        container::write_header(&mut out, &description, lacks)?;
        out.seek(std::io::SeekFrom::End(0))?;
        out.flush()?;
        Ok((out, ending))
    }
}

fn overflow(iterations: u64) -> TraceError {
    TraceError::Inconsistent(format!("{iterations} iterations: the counts leave 64 bits"))
}
