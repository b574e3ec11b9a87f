//! The file around the stream: header, frames of checksummed and compressed columns, index, end.

use super::bytes::{Bytes, put};
use super::error::{Decoded, Malformed, TraceError};
use super::lacks::Lacks;
use std::io::{self, Read, Write};

/// First bytes of every trace. The high bit catches text-mode transfers, the newline does too.
pub const MAGIC: [u8; 8] = *b"\x89STRATA\n";
/// The version this program writes, and the newest it reads.
pub const VERSION: u32 = 2;
/// Last bytes of a whole trace, after the index's offset.
const TRAILER: [u8; 8] = *b"STRAEND\n";
/// Size of the trailer in bytes.
pub(crate) const TRAILER_SIZE: u64 = 16;
/// Size of a frame's head in bytes.
pub(crate) const FRAME_HEAD: u64 = 16;

/// No column may be larger uncompressed; a chunk's are a few MB.
const MAX_COLUMN: u64 = 1 << 28;
/// No frame may be larger; a larger length is damage.
const MAX_FRAME: u64 = 1 << 32;
const MAX_DESCRIPTION: usize = 1 << 20;
/// Size of the lacks in the header.
const LACKS_SIZE: usize = 4;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Definitions that later chunks use.
    Definitions,
    /// A chunk of the stream.
    Chunk,
    /// Where the frames are.
    Index,
    /// Totals and hash; nothing follows but the trailer.
    End,
}

impl FrameKind {
    const ALL: [FrameKind; 4] =
        [FrameKind::Definitions, FrameKind::Chunk, FrameKind::Index, FrameKind::End];

    pub(crate) fn tag(self) -> [u8; 4] {
        *match self {
            FrameKind::Definitions => b"DEFS",
            FrameKind::Chunk => b"CHNK",
            FrameKind::Index => b"INDX",
            FrameKind::End => b"ENDS",
        }
    }

    fn from_tag(tag: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.tag() == tag)
    }
}

/// What tells one trace from another: a digest of the uncompressed contents, the same for any
/// compression level.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContentHash(blake3::Hasher);

impl ContentHash {
    pub(crate) fn add(&mut self, kind: FrameKind, sums: &[(u64, u32)]) {
        self.0.update(&kind.tag());
        for (length, sum) in sums {
            self.0.update(&length.to_le_bytes());
            self.0.update(&sum.to_le_bytes());
        }
    }

    pub(crate) fn value(&self) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        short
    }
}

/// Packs columns into a frame's payload; returns length and checksum of each.
pub(crate) fn pack(
    columns: &[Vec<u8>],
    compressor: &mut zstd::bulk::Compressor<'_>,
    out: &mut Vec<u8>,
) -> Result<Vec<(u64, u32)>, TraceError> {
    out.clear();
    if let Some(large) = columns.iter().find(|column| column.len() as u64 > MAX_COLUMN) {
        let message = format!("a column of {} bytes, more than {MAX_COLUMN}", large.len());
        return Err(TraceError::Inconsistent(message));
    }
    out.push(columns.len() as u8);
    let mut stored = Vec::with_capacity(columns.len());
    let mut sums = Vec::with_capacity(columns.len());
    for column in columns {
        let compressed = compressor.compress(column)?;
        let sum = crc32fast::hash(column);
        let smaller = compressed.len() < column.len();
        put(out, column.len() as u64);
        put(out, if smaller { compressed.len() } else { column.len() } as u64);
        out.extend_from_slice(&sum.to_le_bytes());
        sums.push((column.len() as u64, sum));
        stored.push(smaller.then_some(compressed));
    }
    for (column, compressed) in columns.iter().zip(&stored) {
        out.extend_from_slice(compressed.as_ref().unwrap_or(column));
    }
    Ok(sums)
}

/// A frame's columns.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    pub(crate) columns: Vec<Vec<u8>>,
    /// Length and checksum of each.
    pub(crate) sums: Vec<(u64, u32)>,
    /// Stored size of each in bytes.
    pub(crate) stored: Vec<u64>,
}

/// Unpacks a frame's payload and verifies every checksum. The columns take the memory of `spare`
/// ones, as far as there are any.
pub(crate) fn unpack(
    payload: &[u8],
    decompressor: &mut zstd::bulk::Decompressor<'_>,
    spare: &mut Vec<Vec<u8>>,
) -> Decoded<Unpacked> {
    unpack_only(payload, decompressor, spare, |_| true)
}

/// The same for the columns whose number is wanted; the others come out empty and unverified.
pub(crate) fn unpack_only(
    payload: &[u8],
    decompressor: &mut zstd::bulk::Decompressor<'_>,
    spare: &mut Vec<Vec<u8>>,
    is_wanted: impl Fn(usize) -> bool,
) -> Decoded<Unpacked> {
    let mut bytes = Bytes::new(payload, "frame");
    let count = usize::from(bytes.byte()?);
    let mut all = Unpacked::default();
    for _ in 0..count {
        let raw = bytes.bounded(MAX_COLUMN, "length of a column")?;
        all.stored.push(bytes.bounded(raw, "stored length of a column")?);
        all.sums.push((raw, bytes.little_endian(4)? as u32));
    }
    for (number, (&(raw, sum), &stored)) in all.sums.iter().zip(&all.stored).enumerate() {
        let body = bytes.take(stored as usize)?;
        let mut column = spare.pop().unwrap_or_default();
        column.clear();
        if !is_wanted(number) {
            all.columns.push(column);
            continue;
        }
        if stored == raw {
            column.extend_from_slice(body);
        } else {
            decompress(body, raw, decompressor, &mut column)
                .map_err(|e| Malformed::new(format!("column {number} does not decompress: {e}")))?;
        }
        if column.len() as u64 != raw || crc32fast::hash(&column) != sum {
            return Err(Malformed::new(format!("column {number} fails its checksum")));
        }
        all.columns.push(column);
    }
    bytes.finish()?;
    Ok(all)
}

/// Decompresses what says of itself that it will be `length` bytes: memory is taken only then.
fn decompress(
    body: &[u8],
    length: u64,
    decompressor: &mut zstd::bulk::Decompressor<'_>,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    match zstd::zstd_safe::get_frame_content_size(body) {
        Ok(Some(said)) if said == length => {
            into.reserve(length as usize);
            decompressor.decompress_to_buffer(body, into)?;
            Ok(())
        }
        _ => Err(io::Error::other(format!("it does not hold {length} bytes"))),
    }
}

pub(crate) fn write_frame(
    out: &mut impl Write,
    kind: FrameKind,
    payload: &[u8],
) -> io::Result<u64> {
    let mut head = [0; FRAME_HEAD as usize];
    head[..4].copy_from_slice(&kind.tag());
    head[4..12].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    let sum = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&sum.to_le_bytes());
    out.write_all(&head)?;
    out.write_all(payload)?;
    Ok(FRAME_HEAD + payload.len() as u64)
}

/// A frame's head, or why the stream ends here.
pub(crate) enum NextFrame {
    Frame {
        kind: FrameKind,
        length: u64,
    },
    /// Not even a head is left whole.
    CutOff,
    Malformed(Malformed),
}

/// Reads as much as there is, up to the buffer's length.
pub(crate) fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

pub(crate) fn read_frame_head(input: &mut impl Read) -> io::Result<NextFrame> {
    let mut head = [0; FRAME_HEAD as usize];
    if read_up_to(input, &mut head)? < head.len() {
        return Ok(NextFrame::CutOff);
    }
    let mut field = Bytes::new(&head[4..], "frame head");
    let (Ok(length), Ok(sum)) = (field.little_endian(8), field.little_endian(4)) else {
        return Ok(NextFrame::CutOff);
    };
    let Some(kind) = FrameKind::from_tag(&head[..4]) else {
        return Ok(NextFrame::Malformed(Malformed::new("no frame begins here")));
    };
    if u64::from(crc32fast::hash(&head[..12])) != sum || length > MAX_FRAME {
        return Ok(NextFrame::Malformed(Malformed::new("a frame's head fails its checksum")));
    }
    Ok(NextFrame::Frame { kind, length })
}

/// Reads a payload; `None` if the stream is cut off within it. Memory grows with what is really
/// there, not with what the head promises.
pub(crate) fn read_payload(
    input: &mut impl Read,
    length: u64,
    into: &mut Vec<u8>,
) -> io::Result<Option<()>> {
    into.clear();
    let read = input.take(length).read_to_end(into)?;
    Ok((read as u64 == length).then_some(()))
}

/// Writes what comes last of all: where the index is, and the mark of a whole file.
pub(crate) fn write_trailer(out: &mut impl Write, index: u64) -> io::Result<()> {
    out.write_all(&index.to_le_bytes())?;
    out.write_all(&TRAILER)
}

/// Reads the trailer: the index's offset, or `None` where it is cut off or something else.
pub(crate) fn read_trailer(input: &mut impl Read) -> io::Result<Option<u64>> {
    let mut trailer = [0; TRAILER_SIZE as usize];
    if read_up_to(input, &mut trailer)? < trailer.len() || trailer[8..] != TRAILER {
        return Ok(None);
    }
    let mut word = [0; 8];
    word.copy_from_slice(&trailer[..8]);
    Ok(Some(u64::from_le_bytes(word)))
}

/// What a file's header says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Header {
    pub(crate) description: String,
    pub(crate) lacks: Lacks,
}

/// Writes the file's header; returns its size in bytes, which does not depend on the lacks.
pub(crate) fn write_header(
    out: &mut impl Write,
    description: &str,
    lacks: Lacks,
) -> Result<u64, TraceError> {
    if description.len() > MAX_DESCRIPTION {
        let message = format!("a description of {} bytes, more than 1 MiB", description.len());
        return Err(TraceError::Inconsistent(message));
    }
    let mut header = Vec::new();
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&(description.len() as u32).to_le_bytes());
    header.extend_from_slice(&lacks.bits().to_le_bytes());
    header.extend_from_slice(description.as_bytes());
    let sum = crc32fast::hash(&header);
    header.extend_from_slice(&sum.to_le_bytes());
    out.write_all(&header)?;
    Ok(header.len() as u64)
}

/// Reads the file's header; returns what it says and its size in bytes.
pub(crate) fn read_header(input: &mut impl Read) -> Result<(Header, u64), TraceError> {
    let mut fixed = [0; 16];
    let got = read_up_to(input, &mut fixed)?;
    if got == 0 {
        return Err(TraceError::Empty);
    }
    if !MAGIC.starts_with(&fixed[..got.min(8)]) {
        let found = fixed[..got.min(8)].escape_ascii().to_string();
        return Err(TraceError::Foreign { found });
    }
    let damaged = |what: &str| TraceError::Damaged { offset: 0, what: what.into() };
    if got < fixed.len() {
        return Err(TraceError::Truncated { offset: 0, instructions: 0 });
    }
    let word =
        |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let (version, length) = (word(8), word(12));
    if version > VERSION {
        return Err(TraceError::Version { found: version, known: VERSION });
    }
    if version == 0 || length as usize > MAX_DESCRIPTION {
        return Err(damaged("the header contradicts itself"));
    }
    // Version 1 had no lacks.
    let lacks = if version == 1 { 0 } else { LACKS_SIZE };
    let mut rest = Vec::new();
    if read_payload(input, (lacks + 4) as u64 + u64::from(length), &mut rest)?.is_none() {
        return Err(TraceError::Truncated { offset: 0, instructions: 0 });
    }
    let size = (fixed.len() + rest.len()) as u64;
    let sum = rest.split_off(rest.len() - 4);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&fixed);
    hasher.update(&rest);
    if hasher.finalize().to_le_bytes() != sum[..] {
        return Err(damaged("the header fails its checksum"));
    }
    let text = rest.split_off(lacks);
    let bits = rest.iter().rev().fold(0, |bits, &byte| bits << 8 | u32::from(byte));
    let Some(lacks) = Lacks::from_bits(bits) else {
        return Err(damaged(&format!("the header tells of unknown lacks, bits {bits:#x}")));
    };
    let description =
        String::from_utf8(text).map_err(|_| damaged("the description is not UTF-8"))?;
    Ok((Header { description, lacks }, size))
}
