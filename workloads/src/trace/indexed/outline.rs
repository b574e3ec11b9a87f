//! What runs, without what it does: several times as fast to read as the whole.

use super::{Frames, IndexedTrace, damaged, is_indexed};
use crate::trace::batch::Batch;
use crate::trace::chunk::{COLUMNS, ChunkHead};
use crate::trace::chunk_decoder::ChunkDecoder;
use crate::trace::container::FrameKind;
use crate::trace::error::TraceError;
use std::ops::Range;

/// Some chunks of an [`IndexedTrace`] with their shapes and events, front to back.
///
/// Addresses, iterations and stack pointers are not there, those in events are wrong, and damage
/// to their columns is not found.
pub struct Outline<'t> {
    trace: &'t IndexedTrace,
    frames: Frames<'t>,
    /// Chunks still to be begun.
    chunks: Range<usize>,
    /// The present chunk, or the last one, for its memory; gone once it has failed.
    decoder: Option<ChunkDecoder>,
}

impl<'t> Outline<'t> {
    pub(super) fn new(trace: &'t IndexedTrace, chunks: Range<usize>) -> Result<Self, TraceError> {
        Ok(Outline { trace, frames: Frames::new(&trace.file)?, chunks, decoder: None })
    }

    /// Goes on to the next chunk, whatever is left of the present one. Tells its number and what
    /// it begins with; `None` if there is none.
    ///
    /// # Errors
    /// Fails if the file cannot be read or the chunk is damaged.
    pub fn next_chunk(&mut self) -> Result<Option<(usize, &ChunkHead)>, TraceError> {
        let Some(number) = self.chunks.next() else { return Ok(None) };
        let entry = &self.trace.chunks[number];
        let mut recycled = self.decoder.take();
        let mut spare = recycled.as_mut().map(ChunkDecoder::take_columns).unwrap_or_default();
        let is_wanted =
            |column: usize| matches!(COLUMNS[column], "head" | "tokens" | "shapes" | "events");
        let (columns, _) =
            self.frames.columns_only(entry.offset, FrameKind::Chunk, &mut spare, |column| {
                column < COLUMNS.len() && is_wanted(column)
            })?;
        let tables = &self.trace.tables;
        let decoder = ChunkDecoder::new(columns, &tables.defined, &tables.coded, recycled)
            .map_err(|what| damaged(entry.offset, what))?;
        is_indexed(decoder.head(), entry)?;
        Ok(self.decoder.insert(decoder)).map(|decoder| Some((number, decoder.head())))
    }

    /// Replaces the contents of `batch` by what comes next in the present chunk; false at its end,
    /// and before the first.
    ///
    /// # Errors
    /// [`TraceError::Damaged`] where the chunk contradicts itself.
    pub fn read(&mut self, batch: &mut Batch) -> Result<bool, TraceError> {
        batch.clear();
        let Some(decoder) = &mut self.decoder else { return Ok(false) };
        let tables = &self.trace.tables;
        decoder.fill_outline(batch, &tables.defined, &tables.coded).map_err(|what| {
            batch.clear();
            self.decoder = None;
            let failed = self.chunks.start - 1;
            damaged(self.trace.chunks[failed].offset, what)
        })
    }
}
