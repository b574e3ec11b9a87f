//! Traces of made-up streams for the fuzzer to start from.

#[path = "../../tests/trace/flat.rs"]
#[allow(dead_code)]
mod flat;
#[path = "../../tests/trace/made_up.rs"]
mod made_up;

use std::path::PathBuf;

/// Splits a LEB128 number off.
fn number(bytes: &mut &[u8]) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().expect("a directory is whole");
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

/// A trace in the pieces that the target `columns` takes.
fn columns(trace: &[u8]) -> Vec<u8> {
    let word = |at: usize| u64::from_le_bytes(trace[at..at + 8].try_into().expect("eight bytes"));
    let mut out = Vec::new();
    let mut at = 20 + "made up".len() + 4;
    while at < trace.len() - 16 {
        let kind = match &trace[at..at + 4] {
            b"DEFS" => Some(0),
            b"CHNK" => Some(1),
            b"ENDS" => Some(3),
            _ => None,
        };
        let payload = &trace[at + 16..at + 16 + word(at + 4) as usize];
        at += 16 + payload.len();
        let Some(kind) = kind else { continue };
        out.push(kind);
        let mut rest = &payload[1..];
        let mut sizes = Vec::new();
        for _ in 0..payload[0] {
            sizes.push((number(&mut rest), number(&mut rest)));
            rest = &rest[4..];
        }
        for (raw, stored) in sizes {
            let (body, after) = rest.split_at(stored);
            rest = after;
            let column = if stored == raw {
                body.to_vec()
            } else {
                zstd::bulk::decompress(body, raw).expect("the writer compressed it")
            };
            out.extend_from_slice(&(column.len() as u16).to_le_bytes());
            out.extend(column);
        }
    }
    out
}

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the corpus folder"));
    let mut random = 1u64;
    for number in 0..60u64 {
        let bytes: Vec<u8> = (0..number * 20)
            .map(|_| {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (random >> 56) as u8
            })
            .collect();
        let trace = flat::write(&made_up::stream(&bytes)).expect("a made-up stream can be written");
        for (target, seed) in [
            ("read", &trace),
            ("indexed", &trace),
            ("round_trip", &bytes),
            ("columns", &columns(&trace)),
        ] {
            let folder = folder.join(target);
            std::fs::create_dir_all(&folder).expect("the corpus folder can be made");
            std::fs::write(folder.join(format!("seed-{number}")), seed)
                .expect("a seed can be written");
        }
    }
}
