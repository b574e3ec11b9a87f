//! Where a trace's bytes go.

use super::chunk;
use super::container::{FRAME_HEAD, FrameKind, Unpacked};
use super::definitions_codec;

/// Size of one column over all frames read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSize {
    /// Bytes in the file.
    pub stored: u64,
    /// Bytes when decompressed.
    pub raw: u64,
}

/// Where the bytes of a trace, as far as it has been read, went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSizes {
    definitions: [ColumnSize; definitions_codec::COLUMNS.len()],
    chunks: [ColumnSize; chunk::COLUMNS.len()],
    container: u64,
}

impl StoredSizes {
    pub(crate) fn new(header: u64) -> Self {
        StoredSizes { container: header, ..StoredSizes::default() }
    }

    pub(crate) fn container(&mut self, bytes: u64) {
        self.container += bytes;
    }

    pub(crate) fn frame(&mut self, kind: FrameKind, payload: u64, unpacked: &Unpacked) {
        let columns: &mut [ColumnSize] = match kind {
            FrameKind::Definitions => &mut self.definitions,
            FrameKind::Chunk => &mut self.chunks,
            FrameKind::Index | FrameKind::End => &mut [],
        };
        let mut rest = payload;
        for ((column, &stored), &(raw, _)) in
            columns.iter_mut().zip(&unpacked.stored).zip(&unpacked.sums)
        {
            column.stored += stored;
            column.raw += raw;
            rest -= stored;
        }
        self.container += FRAME_HEAD + rest;
    }

    /// Each column by its name in the format's document, definitions first.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, &'static str, ColumnSize)> {
        let definitions = definitions_codec::COLUMNS.into_iter().zip(self.definitions);
        let chunks = chunk::COLUMNS.into_iter().zip(self.chunks);
        definitions
            .map(|(name, size)| ("definitions", name, size))
            .chain(chunks.map(|(name, size)| ("chunk", name, size)))
    }

    /// Bytes of headers, frame heads, column lengths, index and end.
    pub fn container_bytes(&self) -> u64 {
        self.container
    }

    /// All bytes read.
    pub fn total(&self) -> u64 {
        self.container + self.columns().map(|(_, _, size)| size.stored).sum::<u64>()
    }
}
