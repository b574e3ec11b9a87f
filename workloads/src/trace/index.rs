//! The index at a trace's end: where each frame is, and what has happened before each chunk.

use super::bytes::{Bytes, put};
use super::chunk::Totals;
use super::container::FrameKind;
use super::definitions_codec::TableSizes;
use super::error::{Decoded, Malformed};

/// One frame of definitions or stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Definitions or chunk.
    pub kind: FrameKind,
    /// Offset of the frame's head in the file, in bytes.
    pub offset: u64,
    /// What is in all chunks before it.
    pub before: Totals,
    /// For a chunk what is in it, else zeros.
    pub within: Totals,
}

/// What a whole trace says about itself at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Everything in the trace.
    pub totals: Totals,
    /// Definitions in the trace.
    pub tables: TableSizes,
    /// Digest of the uncompressed contents.
    pub hash: [u8; 16],
}

impl Ending {
    /// The digest in hexadecimal.
    pub fn hash_text(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.totals.put(&mut out);
        self.tables.put(&mut out);
        out.extend_from_slice(&self.hash);
        out
    }

    pub(crate) fn decode(column: &[u8]) -> Decoded<Self> {
        let mut bytes = Bytes::new(column, "end");
        let (totals, tables) = (Totals::take(&mut bytes)?, TableSizes::take(&mut bytes)?);
        let mut hash = [0; 16];
        hash.copy_from_slice(bytes.take(16)?);
        bytes.finish()?;
        Ok(Ending { totals, tables, hash })
    }
}

pub(crate) fn encode(entries: &[IndexEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, entries.len() as u64);
    let mut last = 0;
    for entry in entries {
        out.push(u8::from(entry.kind == FrameKind::Chunk));
        put(&mut out, entry.offset - last);
        last = entry.offset;
        if entry.kind == FrameKind::Chunk {
            entry.within.put(&mut out);
        }
    }
    out
}

pub(crate) fn decode(column: &[u8]) -> Decoded<Vec<IndexEntry>> {
    let mut bytes = Bytes::new(column, "index");
    let count = bytes.count("number of index entries")?;
    let (mut offset, mut before) = (0u64, Totals::default());
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = match bytes.byte()? {
            0 => FrameKind::Definitions,
            1 => FrameKind::Chunk,
            other => return Err(Malformed::new(format!("index entry of kind {other}"))),
        };
        offset = offset
            .checked_add(bytes.number()?)
            .ok_or_else(|| Malformed::new("an index entry beyond any file"))?;
        let within = match kind {
            FrameKind::Chunk => Totals::take(&mut bytes)?,
            _ => Totals::default(),
        };
        entries.push(IndexEntry { kind, offset, before, within });
        before = before
            .plus(&within)
            .ok_or_else(|| Malformed::new("the counts in the index leave 64 bits"))?;
    }
    bytes.finish()?;
    Ok(entries)
}
