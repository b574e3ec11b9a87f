//! Any bytes as the columns of frames with sound checksums: a fuzzer cannot guess checksums, and
//! behind them is most of the decoder.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_workloads::trace::{Batch, TraceReader};

/// Splits off a piece whose length is in its first two bytes.
fn piece<'b>(bytes: &mut &'b [u8]) -> &'b [u8] {
    let Some((length, rest)) = bytes.split_first_chunk() else { return &[] };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (piece, rest) = rest.split_at(length);
    *bytes = rest;
    piece
}

fn put(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut trace = strata_workloads::trace::MAGIC.to_vec();
    trace.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    trace.extend_from_slice(&crc32fast::hash(&trace).to_le_bytes());
    while let Some((&kind, after)) = rest.split_first() {
        rest = after;
        let (tag, columns) = match kind % 4 {
            0 => (b"DEFS", 5),
            1 | 2 => (b"CHNK", 7),
            _ => (b"ENDS", 1),
        };
        let columns: Vec<&[u8]> = (0..columns).map(|_| piece(&mut rest)).collect();
        let mut payload = vec![columns.len() as u8];
        for column in &columns {
            put(&mut payload, column.len());
            put(&mut payload, column.len());
            payload.extend_from_slice(&crc32fast::hash(column).to_le_bytes());
        }
        payload.extend(columns.concat());
        let head = trace.len();
        trace.extend_from_slice(tag);
        trace.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        let sum = crc32fast::hash(&trace[head..]);
        trace.extend_from_slice(&sum.to_le_bytes());
        trace.extend(payload);
    }
    let mut reader = TraceReader::new(&trace[..]).expect("the header is sound");
    let mut batch = Batch::default();
    while let Ok(true) = reader.read(&mut batch) {}
});
