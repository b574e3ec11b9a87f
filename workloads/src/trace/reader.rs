//! Reading a trace, from a pipe or, with its index, from any place of a file.

use super::batch::{Batch, Definitions};
use super::chunk::{ChunkDecoder, ChunkHead, Totals, decode_head};
use super::container::{self, ContentHash, FrameKind, NextFrame};
use super::definitions_codec::{self, TableSizes};
use super::error::{Malformed, TraceError};
use super::index::{self, Ending, IndexEntry};
use super::predict::Coded;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// Block executions in one batch: large enough that a virtual call per batch costs nothing, small
/// enough to stay in the second-level cache.
pub const BATCH_EXECUTIONS: usize = 1 << 13;

/// Definitions read so far, in the forms that users and the codec need.
#[derive(Clone, Debug, Default)]
struct Tables {
    defined: Definitions,
    coded: Coded,
}

impl Tables {
    fn extend(&mut self, columns: &[Vec<u8>]) -> Result<(), Malformed> {
        definitions_codec::decode(columns, &mut self.defined)?;
        for shape in &self.defined.shapes[self.coded.shapes.len()..] {
            self.coded.push(shape, &self.defined.blocks);
        }
        Ok(())
    }
}

/// Reads a trace front to back from anything that gives bytes.
pub struct TraceReader<R: Read> {
    input: R,
    description: String,
    offset: u64,
    decompressor: zstd::bulk::Decompressor<'static>,
    payload: Vec<u8>,
    tables: Tables,
    delivered: TableSizes,
    chunk: Option<ChunkDecoder>,
    spare: Option<ChunkDecoder>,
    totals: Totals,
    hash: ContentHash,
    ending: Option<Ending>,
    chunks: u64,
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
        let (description, offset) = container::read_header(&mut input)?;
        Ok(TraceReader {
            input,
            description,
            offset,
            decompressor: zstd::bulk::Decompressor::new()?,
            payload: Vec::new(),
            tables: Tables::default(),
            delivered: TableSizes::default(),
            chunk: None,
            spare: None,
            totals: Totals::default(),
            hash: ContentHash::default(),
            ending: None,
            chunks: 0,
        })
    }

    /// The header's free text.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// All definitions read so far.
    pub fn tables(&self) -> &Definitions {
        &self.tables.defined
    }

    /// Offset of the next frame in the input, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What the chunk being read begins with.
    pub fn chunk_head(&self) -> Option<&ChunkHead> {
        self.chunk.as_ref().map(ChunkDecoder::head)
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

    fn damaged(&self, what: Malformed) -> TraceError {
        TraceError::Damaged { offset: self.offset, what: what.0 }
    }

    /// Replaces the contents of `batch` by the next executions and events; false at the end. A
    /// batch never spans chunks.
    ///
    /// # Errors
    /// [`TraceError::Damaged`] where a frame is not as it was written, [`TraceError::Truncated`]
    /// where the stream ends before its end mark. What was delivered before is sound.
    pub fn read(&mut self, batch: &mut Batch) -> Result<bool, TraceError> {
        batch.clear();
        loop {
            if let Some(chunk) = &mut self.chunk {
                let tables = &self.tables;
                match chunk.fill(batch, BATCH_EXECUTIONS, &tables.defined, &tables.coded) {
                    Ok(true) => {
                        self.deliver_definitions(batch);
                        return Ok(true);
                    }
                    Ok(false) => self.spare = self.chunk.take(),
                    Err(what) => return Err(self.damaged(what)),
                }
            }
            if self.ending.is_some() || !self.next_frame()? {
                return Ok(false);
            }
        }
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

    /// Reads one frame; false at the end mark.
    fn next_frame(&mut self) -> Result<bool, TraceError> {
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
        self.digest(kind).map_err(|what| self.damaged(what))?;
        self.offset += container::FRAME_HEAD + length;
        Ok(kind != FrameKind::End)
    }

    fn digest(&mut self, kind: FrameKind) -> Result<(), Malformed> {
        let (columns, sums) = container::unpack(&self.payload, &mut self.decompressor)?;
        match kind {
            FrameKind::Definitions => {
                self.tables.extend(&columns)?;
                self.hash.add(kind, &sums);
            }
            FrameKind::Chunk => {
                let tables = &self.tables;
                let chunk = ChunkDecoder::new(
                    columns,
                    &tables.defined,
                    &tables.coded,
                    self.spare.take(),
                )?;
                if chunk.head().before != self.totals {
                    return Err(Malformed::new("a chunk does not continue the one before it"));
                }
                self.totals += chunk.head().within;
                self.chunk = Some(chunk);
                self.chunks += 1;
                self.hash.add(kind, &sums);
            }
            FrameKind::Index => {}
            FrameKind::End => {
                let column = columns.first().ok_or_else(|| Malformed::new("an empty end"))?;
                let ending = Ending::decode(column)?;
                let read = Ending {
                    totals: self.totals,
                    tables: TableSizes::of(&self.tables.defined),
                    hash: self.hash.value(),
                };
                if ending != read {
                    return Err(Malformed::new("the end mark tells of other contents than were read"));
                }
                self.ending = Some(ending);
            }
        }
        Ok(())
    }
}

/// A whole trace file, opened by its index: all definitions in memory, chunks on demand and in any
/// order, from any number of threads.
#[derive(Clone, Debug)]
pub struct IndexedTrace {
    file: Arc<File>,
    description: Arc<str>,
    tables: Arc<Tables>,
    chunks: Arc<[IndexEntry]>,
    ending: Ending,
}

impl IndexedTrace {
    /// Opens a trace and reads its index and definitions.
    ///
    /// # Errors
    /// [`TraceError::Truncated`] if it has no end mark (read it with [`TraceReader`], or salvage
    /// it), otherwise as [`TraceReader::open`].
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path)?;
        let mut input = BufReader::new(&file);
        let (description, first) = container::read_header(&mut input)?;
        let length = input.seek(SeekFrom::End(0))?;
        let truncated = || TraceError::Truncated { offset: length, instructions: 0 };
        if length < first + 16 {
            return Err(truncated());
        }
        let mut trailer = [0; 16];
        input.seek(SeekFrom::Start(length - 16))?;
        input.read_exact(&mut trailer)?;
        let (offset, mark) = trailer.split_at(8);
        if mark != container::TRAILER {
            return Err(truncated());
        }
        let mut word = [0; 8];
        word.copy_from_slice(offset);
        let mut frames = Frames::new(&file)?;
        let at = u64::from_le_bytes(word);
        let (index, next) = frames.column(at, FrameKind::Index)?;
        let entries = index::decode(&index).map_err(|what| damaged(at, what))?;
        let (end, _) = frames.column(next, FrameKind::End)?;
        let ending = Ending::decode(&end).map_err(|what| damaged(next, what))?;
        let mut tables = Tables::default();
        for entry in entries.iter().filter(|e| e.kind == FrameKind::Definitions) {
            let (columns, _) = frames.columns(entry.offset, FrameKind::Definitions)?;
            tables.extend(&columns).map_err(|what| damaged(entry.offset, what))?;
        }
        let chunks = entries.into_iter().filter(|e| e.kind == FrameKind::Chunk).collect();
        drop(input);
        Ok(IndexedTrace {
            file: Arc::new(file),
            description: description.into(),
            tables: Arc::new(tables),
            chunks,
            ending,
        })
    }

    /// The header's free text.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// All definitions of the trace.
    pub fn tables(&self) -> &Definitions {
        &self.tables.defined
    }

    /// The chunks in order.
    pub fn chunks(&self) -> &[IndexEntry] {
        &self.chunks
    }

    /// Totals, table sizes and hash.
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// What chunk `number` begins with.
    ///
    /// # Errors
    /// Fails if the file cannot be read or the chunk is damaged.
    pub fn head(&self, number: usize) -> Result<ChunkHead, TraceError> {
        let offset = self.chunks[number].offset;
        let (columns, _) = Frames::new(&self.file)?.columns(offset, FrameKind::Chunk)?;
        let head = columns.first().ok_or_else(|| damaged(offset, Malformed::new("no columns")))?;
        decode_head(head).map_err(|what| damaged(offset, what))
    }

    /// Opens chunk `number` for reading.
    ///
    /// # Errors
    /// Fails if the file cannot be read or the chunk is damaged.
    pub fn chunk(&self, number: usize) -> Result<IndexedChunk, TraceError> {
        let offset = self.chunks[number].offset;
        let (columns, _) = Frames::new(&self.file)?.columns(offset, FrameKind::Chunk)?;
        let decoder = ChunkDecoder::new(columns, &self.tables.defined, &self.tables.coded, None)
            .map_err(|what| damaged(offset, what))?;
        Ok(IndexedChunk { tables: Arc::clone(&self.tables), decoder, offset })
    }
}

/// One chunk of an [`IndexedTrace`].
#[derive(Debug)]
pub struct IndexedChunk {
    tables: Arc<Tables>,
    decoder: ChunkDecoder,
    offset: u64,
}

impl IndexedChunk {
    /// What the chunk begins with.
    pub fn head(&self) -> &ChunkHead {
        self.decoder.head()
    }

    /// As [`TraceReader::read`], up to the end of the chunk; delivers no definitions, since all are
    /// known.
    ///
    /// # Errors
    /// [`TraceError::Damaged`] where the chunk contradicts itself.
    pub fn read(&mut self, batch: &mut Batch) -> Result<bool, TraceError> {
        batch.clear();
        self.decoder
            .fill(batch, BATCH_EXECUTIONS, &self.tables.defined, &self.tables.coded)
            .map_err(|what| damaged(self.offset, what))
    }
}

fn damaged(offset: u64, what: Malformed) -> TraceError {
    TraceError::Damaged { offset, what: what.0 }
}

/// Frames of a file by offset.
struct Frames<'f> {
    file: &'f File,
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl<'f> Frames<'f> {
    fn new(file: &'f File) -> Result<Self, TraceError> {
        Ok(Frames { file, decompressor: zstd::bulk::Decompressor::new()? })
    }

    fn columns(
        &mut self,
        offset: u64,
        expected: FrameKind,
    ) -> Result<(Vec<Vec<u8>>, u64), TraceError> {
        let mut input = BufReader::new(At { file: self.file, offset });
        let length = match container::read_frame_head(&mut input)? {
            NextFrame::Frame { kind, length } if kind == expected => length,
            NextFrame::Malformed(what) => return Err(damaged(offset, what)),
            _ => return Err(damaged(offset, Malformed::new("the index points elsewhere"))),
        };
        let mut payload = Vec::new();
        if container::read_payload(&mut input, length, &mut payload)?.is_none() {
            return Err(damaged(offset, Malformed::new("a frame runs past the end of the file")));
        }
        let (columns, _) = container::unpack(&payload, &mut self.decompressor)
            .map_err(|what| damaged(offset, what))?;
        Ok((columns, offset + container::FRAME_HEAD + length))
    }

    fn column(&mut self, offset: u64, kind: FrameKind) -> Result<(Vec<u8>, u64), TraceError> {
        let (mut columns, next) = self.columns(offset, kind)?;
        match columns.pop() {
            Some(column) if columns.is_empty() => Ok((column, next)),
            _ => Err(damaged(offset, Malformed::new("a frame with a wrong number of columns"))),
        }
    }
}

/// A file read from an offset of its own, so that threads can share it.
struct At<'f> {
    file: &'f File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
