//! The record format of the peers' streams: 8 bytes, little-endian. Address in bits 0–47, size in
//! 48–55, kind in 56–57 (0 read, 1 write, 2 fetch), bit 58 on the write half of a modify.

use strata_cachemodel::RefKind;

/// The first million references of the long stream.
pub(crate) const FIRST_MILLION: &[u8] = include_bytes!("../data/stream1-first1M.ref64.zst");

/// One reference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference {
    pub(crate) address: u64,
    pub(crate) bytes: u32,
    pub(crate) kind: RefKind,
}

/// Decodes a compressed stream.
pub(crate) fn read(compressed: &[u8]) -> Vec<Reference> {
    let bytes = zstd::decode_all(compressed).expect("the stream is zstd");
    let (records, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty(), "the stream ends inside a record");
    records.iter().map(|&record| decode(u64::from_le_bytes(record))).collect()
}

fn decode(record: u64) -> Reference {
    let kind = match record >> 56 & 7 {
        0 => RefKind::Read,
        1 => RefKind::Write,
        2 => RefKind::Fetch,
        5 => RefKind::ModifyWrite,
        other => panic!("{other} is no kind of reference"),
    };
    Reference { address: record & ((1 << 48) - 1), bytes: (record >> 48 & 0xff) as u32, kind }
}
