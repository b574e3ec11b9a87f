//! The peers' streams; `data/README.md` states their format and origin.

#![allow(dead_code, reason = "each test that includes this module uses a part of it")]

use std::io::Read;

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
    let mut references = Vec::new();
    read_parts(compressed, |part| references.extend_from_slice(part));
    references
}

/// Decodes a compressed stream, a part at a time.
pub(crate) fn read_parts(compressed: impl Read, mut each: impl FnMut(&[Reference])) {
    let mut stream = zstd::Decoder::new(compressed).expect("a zstd decoder can be made");
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        stream.by_ref().take(8 << 16).read_to_end(&mut bytes).expect("the stream is zstd");
        let (records, rest) = bytes.as_chunks::<8>();
        assert!(rest.is_empty(), "the stream ends inside a record");
        if records.is_empty() {
            return;
        }
        let decoded: Vec<_> =
            records.iter().map(|&record| decode(u64::from_le_bytes(record))).collect();
        each(&decoded);
    }
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
