//! Reading a trace front to back.

use super::batch::{Batch, Definitions};
use super::chunk::{ChunkHead, Totals};
use super::chunk_decoder::ChunkDecoder;
use super::container::{self, ContentHash, FrameKind, Header, NextFrame};
use super::definitions_codec::TableSizes;
use super::error::{Decoded, Malformed, TraceError};
use super::index::Ending;
use super::lacks::Lacks;
use super::sizes::StoredSizes;
use super::state::MachineState;
use super::tables::Tables;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Reads a trace front to back from anything that gives bytes.
pub struct TraceReader<R: Read> {
    input: R,
    header: Header,
    /// Where the next frame begins.
    offset: u64,
    /// Where the frame being read begins.
    frame: u64,
    decompressor: zstd::bulk::Decompressor<'static>,
    payload: Vec<u8>,
    tables: Tables,
    delivered: TableSizes,
    chunk: Option<ChunkDecoder>,
    spare: Option<ChunkDecoder>,
    totals: Totals,
    told: u32,
    hash: ContentHash,
    sizes: StoredSizes,
    ending: Option<Ending>,
    chunks: u64,
    progress: Progress,
}

/// How far a reader is, apart from its place in the input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Reading,
    /// A chunk failed, but the frame after it can be found.
    ChunkFailed,
    /// What comes next need not continue what came before.
    Resumed,
    Failed,
    Ended,
}

impl TraceReader<BufReader<File>> {
    /// Opens a trace file.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is no trace of a known version.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        TraceReader::new(BufReader::with_capacity(1 << 20, File::open(path)?))
    }
}

impl<R: Read> TraceReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// Fails if the input cannot be read or is no trace of a known version.
    pub fn new(mut input: R) -> Result<Self, TraceError> {
        let (header, offset) = container::read_header(&mut input)?;
        Ok(TraceReader {
            input,
            header,
            offset,
            frame: offset,
            decompressor: zstd::bulk::Decompressor::new()?,
            payload: Vec::new(),
            tables: Tables::default(),
            delivered: TableSizes::default(),
            chunk: None,
            spare: None,
            totals: Totals::default(),
            told: 0,
            hash: ContentHash::default(),
            sizes: StoredSizes::new(offset),
            ending: None,
            chunks: 0,
            progress: Progress::Reading,
        })
    }

    /// The header's free text.
    pub fn description(&self) -> &str {
        &self.header.description
    }

    /// What the stream cannot tell; nothing for a trace that a recorder made.
    pub fn lacks(&self) -> Lacks {
        self.header.lacks
    }

    /// All definitions read so far.
    pub fn tables(&self) -> &Definitions {
        &self.tables.defined
    }

    /// Offset of the next frame in the input, in bytes: everything before it has been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What the chunk being read begins with.
    pub fn chunk_head(&self) -> Option<&ChunkHead> {
        self.chunk.as_ref().map(ChunkDecoder::head)
    }

    /// The machine's state after what has been delivered; `None` before the first chunk.
    pub fn state(&self) -> Option<MachineState> {
        self.chunk.as_ref().or(self.spare.as_ref()).map(ChunkDecoder::state)
    }

    /// Number of chunks begun so far.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Everything in the chunks begun so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What the trace says of itself at its end; `None` before the end is reached.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Digest of the contents read so far.
    pub fn hash_so_far(&self) -> [u8; 16] {
        self.hash.value()
    }

    /// Where the bytes read so far went.
    pub fn stored_sizes(&self) -> &StoredSizes {
        &self.sizes
    }

    fn damaged(&self, what: Malformed) -> TraceError {
        TraceError::Damaged { offset: self.frame, what: what.0 }
    }

    /// Replaces the contents of `batch` by the next executions and events; false at the end. A
    /// batch never spans chunks. Definitions that nothing uses come in a last batch without
    /// executions.
    ///
    /// # Errors
    /// [`TraceError::Damaged`] where a frame is not as it was written, [`TraceError::Truncated`]
    /// where the stream ends before its end mark. What was delivered before is sound; nothing is
    /// delivered after.
    pub fn read(&mut self, batch: &mut Batch) -> Result<bool, TraceError> {
        batch.clear();
        match self.progress {
            Progress::Reading | Progress::Resumed => {}
            Progress::Ended => return Ok(false),
            Progress::ChunkFailed | Progress::Failed => {
                return Err(self.damaged(Malformed::new("reading went on after it had failed")));
            }
        }
        let result = self.read_on(batch);
        if result.is_err() {
            batch.clear();
            self.chunk = None;
            if self.progress != Progress::ChunkFailed {
                self.progress = Progress::Failed;
            }
        }
        result
    }

    fn read_on(&mut self, batch: &mut Batch) -> Result<bool, TraceError> {
        loop {
            if let Some(chunk) = &mut self.chunk {
                let tables = &self.tables;
                match chunk.fill(batch, &tables.defined, &tables.coded) {
                    Ok(true) => {
                        self.deliver_definitions(batch);
                        return Ok(true);
                    }
                    Ok(false) => {
                        self.told = chunk.told();
                        self.spare = self.chunk.take();
                    }
                    Err(what) => {
                        self.progress = Progress::ChunkFailed;
                        return Err(self.damaged(what));
                    }
                }
            }
            if self.ending.is_some() {
                self.progress = Progress::Ended;
                self.deliver_definitions(batch);
                return Ok(!batch.new.is_empty());
            }
            self.next_frame()?;
        }
    }

    /// After a chunk that is damaged in itself: goes on with the frame after it. False if that
    /// cannot be found.
    pub(crate) fn resume(&mut self) -> bool {
        if self.progress != Progress::ChunkFailed {
            return false;
        }
        self.progress = Progress::Resumed;
        true
    }

    fn deliver_definitions(&mut self, batch: &mut Batch) {
        let (all, from) = (&self.tables.defined, &self.delivered);
        let now = TableSizes::of(all);
        if now == *from {
            return;
        }
        batch.new = Definitions {
            blocks: all.blocks[from.blocks as usize..].to_vec(),
            shapes: all.shapes[from.shapes as usize..].to_vec(),
            spaces: all.spaces[from.spaces as usize..].to_vec(),
            walks: all.walks[from.walks as usize..].to_vec(),
            translations: all.translations[from.translations as usize..].to_vec(),
        };
        self.delivered = now;
    }

    fn next_frame(&mut self) -> Result<(), TraceError> {
        self.frame = self.offset;
        let truncated =
            TraceError::Truncated { offset: self.offset, instructions: self.totals.instructions };
        let (kind, length) = match container::read_frame_head(&mut self.input)? {
            NextFrame::Frame { kind, length } => (kind, length),
            NextFrame::CutOff => return Err(truncated),
            NextFrame::Malformed(what) => return Err(self.damaged(what)),
        };
        if container::read_payload(&mut self.input, length, &mut self.payload)?.is_none() {
            return Err(truncated);
        }
        self.offset += container::FRAME_HEAD + length;
        self.digest(kind).map_err(|what| {
            if kind == FrameKind::Chunk {
                self.progress = Progress::ChunkFailed;
            }
            self.damaged(what)
        })?;
        if kind == FrameKind::End {
            self.frame = self.offset;
            if container::read_trailer(&mut self.input)?.is_none() {
                return Err(TraceError::Truncated {
                    offset: self.offset,
                    instructions: self.totals.instructions,
                });
            }
            self.offset += container::TRAILER_SIZE;
            self.sizes.container(container::TRAILER_SIZE);
        }
        Ok(())
    }

    fn digest(&mut self, kind: FrameKind) -> Decoded<()> {
        let mut spare = match kind {
            FrameKind::Chunk => self.spare.as_mut().map(ChunkDecoder::take_columns),
            _ => None,
        }
        .unwrap_or_default();
        let unpacked = container::unpack(&self.payload, &mut self.decompressor, &mut spare)?;
        self.sizes.frame(kind, self.payload.len() as u64, &unpacked);
        let columns = unpacked.columns;
        match kind {
            FrameKind::Definitions => {
                self.tables.extend(&columns)?;
                self.hash.add(kind, &unpacked.sums);
            }
            FrameKind::Chunk => self.begin_chunk(columns, &unpacked.sums)?,
            FrameKind::Index => {}
            FrameKind::End => {
                let column = columns.first().ok_or_else(|| Malformed::new("an empty end"))?;
                let ending = Ending::decode(column)?;
                let read = Ending {
                    totals: self.totals,
                    tables: TableSizes::of(&self.tables.defined),
                    hash: self.hash.value(),
                };
                if ending != read && self.progress != Progress::Resumed {
                    return Err(Malformed::new(
                        "the end mark tells of other contents than were read",
                    ));
                }
                self.ending = Some(ending);
            }
        }
        Ok(())
    }

    fn begin_chunk(&mut self, columns: Vec<Vec<u8>>, sums: &[(u64, u32)]) -> Decoded<()> {
        let tables = &self.tables;
        let chunk = ChunkDecoder::new(columns, &tables.defined, &tables.coded, self.spare.take())?;
        let head = chunk.head();
        let continues = head.before == self.totals && head.tables.translations == self.told;
        if !continues && self.progress != Progress::Resumed {
            return Err(Malformed::new("a chunk does not continue the one before it"));
        }
        self.totals = head.after().ok_or_else(|| Malformed::new("counts leave 64 bits"))?;
        self.chunk = Some(chunk);
        self.chunks += 1;
        self.hash.add(FrameKind::Chunk, sums);
        Ok(())
    }
}
