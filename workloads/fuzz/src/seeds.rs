//! Traces of made-up streams, and streams to import, for the fuzzer to start from.

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

/// Small sound streams of the formats that are imported, by the names of their targets.
fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let records = |records: &[(u16, u16, u64)]| {
        let record = |&(kind, size, value): &(u16, u16, u64)| {
            let mut out = [kind.to_le_bytes(), size.to_le_bytes()].concat();
            out.extend(value.to_le_bytes());
            out
        };
        records.iter().flat_map(record).collect()
    };
    let mut narrow = vec![0; 64 * 4];
    let mut wide = vec![0; 96 * 4];
    for (i, size) in (0..4u8).flat_map(|i| [(usize::from(i), 64), (usize::from(i), 96)]) {
        let record = if size == 64 { &mut narrow[i * 64..] } else { &mut wide[i * 96..] };
        record[..2].copy_from_slice(&[3 * i as u8, 0x10]);
        record[8..14].copy_from_slice(&[i as u8 & 1, i as u8 & 1, 26, 6, 26, 6]);
        record[24 + 8 * i] = 0x80;
    }
    vec![
        ("import_ref64", words(&[0x0204_0000_0000_1000, 0x0008_0000_0000_8000, 5 << 56 | 9])),
        ("import_lackey", b"==7== x\nI  1000,3\n L 8000,8\n M 9000,4\n S 9,16\n".to_vec()),
        ("import_din", b"2 1000\n0 8000\n1 9000 x\n3 0\n4 0\n2 0x1004\n".to_vec()),
        (
            "import_drmemtrace",
            records(&[
                (25, 0, 7),
                (22, 4, 1),
                (24, 4, 1),
                (28, 9, 0x240),
                (28, 18, 4096),
                (28, 3, 2),
                (28, 2, 77),
                (28, 15, 0x5000),
                (28, 17, 0x1000),
                (47, 2, 0xc031),
                (10, 2, 0x1000),
                (0, 8, 0x8000),
                (29, 2, 0x1000),
                (1, 8, 0x8008),
                (47, 1, 0xc3),
                (16, 1, 0x1002),
                (28, 25, 39),
                (28, 27, 39),
                (28, 28, 39),
                (28, 43, 0),
                (28, 44, 0),
                (28, 33, 0),
                (17, 2, 0x0302),
                (26, 0, 0),
            ]),
        ),
        ("import_champsim", narrow),
        ("import_champsim_cloudsuite", wide),
    ]
}

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the corpus folder"));
    for (target, stream) in streams() {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder).expect("the corpus folder can be made");
        let packed = zstd::bulk::compress(&stream, 1).expect("memory can be compressed");
        for (name, seed) in [("seed", stream), ("packed", packed)] {
            std::fs::write(folder.join(name), seed).expect("a seed can be written");
        }
    }
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
