//! A trace file opened by its index, to be read from any place and by many threads.

use super::batch::{Batch, Definitions};
use super::chunk::ChunkHead;
use super::chunk_decoder::ChunkDecoder;
use super::container::{self, FrameKind, NextFrame};
use super::definitions_codec::TableSizes;
use super::error::{Malformed, TraceError};
use super::index::{self, Ending, IndexEntry};
use super::lacks::Lacks;
use super::tables::Tables;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

mod outline;

pub use outline::Outline;

/// A whole trace file, opened by its index: all definitions in memory, chunks on demand and in any
/// order, from any number of threads.
#[derive(Clone, Debug)]
pub struct IndexedTrace {
    file: Arc<File>,
    description: Arc<str>,
    lacks: Lacks,
    tables: Arc<Tables>,
    chunks: Arc<[IndexEntry]>,
    /// By chunk, how much of the tables is before it in the file.
    known: Arc<[TableSizes]>,
    ending: Ending,
}

impl IndexedTrace {
    /// Opens a trace and reads its index and definitions.
    ///
    /// # Errors
    /// [`TraceError::Truncated`] if it has no end mark (read it with
    /// [`TraceReader`](super::TraceReader), or salvage it), otherwise as
    /// [`TraceReader::open`](super::TraceReader::open).
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path)?;
        let (header, first) = container::read_header(&mut At { file: &file, offset: 0 })?;
        let mut frames = Frames::new(&file)?;
        let length = file.metadata()?.len();
        let trailer = length.saturating_sub(container::TRAILER_SIZE).max(first);
        let Some(at) = container::read_trailer(&mut At { file: &file, offset: trailer })? else {
            return Err(frames.find_end(first));
        };
        let (index, next) = frames.column(at, FrameKind::Index)?;
        let entries = index::decode(&index).map_err(|what| damaged(at, what))?;
        let (end, after) = frames.column(next, FrameKind::End)?;
        let ending = Ending::decode(&end).map_err(|what| damaged(next, what))?;
        if after != trailer {
            return Err(damaged(next, Malformed::new("the end is not at the end of the file")));
        }
        let mut tables = Tables::default();
        let mut known = Vec::new();
        for entry in &entries {
            if entry.kind == FrameKind::Chunk {
                known.push(TableSizes::of(&tables.defined));
                continue;
            }
            let (columns, _) = frames.columns(entry.offset, FrameKind::Definitions)?;
            tables.extend(&columns).map_err(|what| damaged(entry.offset, what))?;
        }
        let totals = entries.last().and_then(|last| last.before.plus(&last.within));
        if totals.unwrap_or_default() != ending.totals
            || TableSizes::of(&tables.defined) != ending.tables
        {
            let what = "the end mark tells of other contents than the index";
            return Err(damaged(next, Malformed::new(what)));
        }
        Ok(IndexedTrace {
            description: header.description.into(),
            lacks: header.lacks,
            tables: Arc::new(tables),
            chunks: entries.into_iter().filter(|e| e.kind == FrameKind::Chunk).collect(),
            known: known.into(),
            ending,
            file: Arc::new(file),
        })
    }

    /// The header's free text.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What the stream cannot tell; nothing for a trace that a recorder made.
    pub fn lacks(&self) -> Lacks {
        self.lacks
    }

    /// All definitions of the trace.
    pub fn tables(&self) -> &Definitions {
        &self.tables.defined
    }

    /// The chunks in order.
    pub fn chunks(&self) -> &[IndexEntry] {
        &self.chunks
    }

    /// How much of the tables who reads the trace front to back knows when chunk `number` begins.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn known_tables(&self, number: usize) -> TableSizes {
        self.known[number]
    }

    /// The outline of these chunks, to be read front to back.
    ///
    /// # Errors
    /// If the decompressor finds no memory.
    pub fn outline(&self, chunks: Range<usize>) -> Result<Outline<'_>, TraceError> {
        Outline::new(self, chunks)
    }

    /// Totals, table sizes and hash.
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// What chunk `number` begins with.
    ///
    /// # Errors
    /// Fails if the file cannot be read or the chunk is damaged.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn head(&self, number: usize) -> Result<ChunkHead, TraceError> {
        self.chunk_columns(number, Vec::new()).map(|(head, _)| head)
    }

    /// Opens chunk `number` for reading.
    ///
    /// # Errors
    /// Fails if the file cannot be read or the chunk is damaged.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn chunk(&self, number: usize) -> Result<IndexedChunk, TraceError> {
        self.chunk_in(number, None)
    }

    /// The same in the memory of one that was read, which saves a tenth of the time.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk).
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn chunk_in(
        &self,
        number: usize,
        used: Option<IndexedChunk>,
    ) -> Result<IndexedChunk, TraceError> {
        let mut recycled = used.and_then(|chunk| chunk.decoder);
        let spare = recycled.as_mut().map(ChunkDecoder::take_columns).unwrap_or_default();
        let (head, columns) = self.chunk_columns(number, spare)?;
        let offset = self.chunks[number].offset;
        let Tables { defined, coded, .. } = &*self.tables;
        let decoder = ChunkDecoder::new(columns, defined, coded, recycled)
            .map_err(|what| damaged(offset, what))?;
        Ok(IndexedChunk { tables: Arc::clone(&self.tables), head, decoder: Some(decoder), offset })
    }

    fn chunk_columns(
        &self,
        number: usize,
        mut spare: Vec<Vec<u8>>,
    ) -> Result<(ChunkHead, Vec<Vec<u8>>), TraceError> {
        let entry = &self.chunks[number];
        let mut frames = Frames::new(&self.file)?;
        let (columns, _) =
            frames.columns_only(entry.offset, FrameKind::Chunk, &mut spare, |_| true)?;
        let head = columns.first().map_or(&[][..], Vec::as_slice);
        let head = ChunkHead::decode(head).map_err(|what| damaged(entry.offset, what))?;
        is_indexed(&head, entry)?;
        Ok((head, columns))
    }
}

/// One chunk of an [`IndexedTrace`].
#[derive(Debug)]
pub struct IndexedChunk {
    tables: Arc<Tables>,
    head: ChunkHead,
    /// Gone once it has failed.
    decoder: Option<ChunkDecoder>,
    offset: u64,
}

impl IndexedChunk {
    /// What the chunk begins with.
    pub fn head(&self) -> &ChunkHead {
        &self.head
    }

    /// As [`TraceReader::read`](super::TraceReader::read), up to the end of the chunk; delivers no
    /// definitions, since all are known.
    ///
    /// # Errors
    /// [`TraceError::Damaged`] where the chunk contradicts itself.
    pub fn read(&mut self, batch: &mut Batch) -> Result<bool, TraceError> {
        batch.clear();
        let Some(decoder) = &mut self.decoder else {
            return Err(damaged(
                self.offset,
                Malformed::new("reading went on after it had failed"),
            ));
        };
        let result = decoder.fill(batch, &self.tables.defined, &self.tables.coded);
        result.map_err(|what| {
            batch.clear();
            self.decoder = None;
            damaged(self.offset, what)
        })
    }
}

/// Whether a chunk is the one that its entry promises.
fn is_indexed(head: &ChunkHead, entry: &IndexEntry) -> Result<(), TraceError> {
    if (head.before, head.within) == (entry.before, entry.within) {
        return Ok(());
    }
    Err(damaged(entry.offset, Malformed::new("the chunk is not the one in the index")))
}

fn damaged(offset: u64, what: Malformed) -> TraceError {
    TraceError::Damaged { offset, what: what.0 }
}

/// Frames of a file by offset.
struct Frames<'f> {
    file: &'f File,
    decompressor: zstd::bulk::Decompressor<'static>,
    payload: Vec<u8>,
}

impl<'f> Frames<'f> {
    fn new(file: &'f File) -> Result<Self, TraceError> {
        let decompressor = zstd::bulk::Decompressor::new()?;
        Ok(Frames { file, decompressor, payload: Vec::new() })
    }

    fn columns(
        &mut self,
        offset: u64,
        expected: FrameKind,
    ) -> Result<(Vec<Vec<u8>>, u64), TraceError> {
        self.columns_only(offset, expected, &mut Vec::new(), |_| true)
    }

    /// As [`container::unpack_only`], of the frame at `offset`; also the offset of the next.
    fn columns_only(
        &mut self,
        offset: u64,
        expected: FrameKind,
        spare: &mut Vec<Vec<u8>>,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<(Vec<Vec<u8>>, u64), TraceError> {
        let mut input = BufReader::new(At { file: self.file, offset });
        let length = match container::read_frame_head(&mut input)? {
            NextFrame::Frame { kind, length } if kind == expected => length,
            NextFrame::Malformed(what) => return Err(damaged(offset, what)),
            _ => return Err(damaged(offset, Malformed::new("the index points elsewhere"))),
        };
        if container::read_payload(&mut input, length, &mut self.payload)?.is_none() {
            return Err(damaged(offset, Malformed::new("a frame runs past the end of the file")));
        }
        let (payload, decompressor) = (&self.payload, &mut self.decompressor);
        let unpacked = container::unpack_only(payload, decompressor, spare, is_wanted)
            .map_err(|what| damaged(offset, what))?;
        Ok((unpacked.columns, offset + container::FRAME_HEAD + length))
    }

    fn column(&mut self, offset: u64, kind: FrameKind) -> Result<(Vec<u8>, u64), TraceError> {
        let (mut columns, next) = self.columns(offset, kind)?;
        match columns.pop() {
            Some(column) if columns.is_empty() => Ok((column, next)),
            _ => Err(damaged(offset, Malformed::new("a frame with a wrong number of columns"))),
        }
    }

    /// Why a file without a trailer ends: walks its frames from `first` on.
    fn find_end(&mut self, first: u64) -> TraceError {
        let mut offset = first;
        let mut instructions = 0;
        loop {
            let mut input = At { file: self.file, offset };
            let (kind, length) = match container::read_frame_head(&mut input) {
                Ok(NextFrame::Frame { kind, length }) => (kind, length),
                Ok(NextFrame::CutOff) => return TraceError::Truncated { offset, instructions },
                Ok(NextFrame::Malformed(what)) => return damaged(offset, what),
                Err(e) => return e.into(),
            };
            let next = offset + container::FRAME_HEAD + length;
            if self.file.metadata().is_ok_and(|data| data.len() < next) {
                return TraceError::Truncated { offset, instructions };
            }
            if kind == FrameKind::Chunk {
                let head = self.columns(offset, kind).and_then(|(columns, _)| {
                    ChunkHead::decode(columns.first().map_or(&[][..], Vec::as_slice))
                        .map_err(|what| damaged(offset, what))
                });
                match head.map(|head| head.after()) {
                    Ok(after) => instructions = after.unwrap_or_default().instructions,
                    Err(error) => return error,
                }
            }
            offset = next;
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
