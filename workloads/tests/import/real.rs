//! Streams that real tools made.

use super::flat::{Item, imported};
use super::ref64::record;
use std::fs;
use std::path::Path;
use strata_workloads::import::Format;

#[test]
fn what_lackey_prints_of_a_program_comes_back_line_by_line() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import/data/true.lackey"));
    let text = fs::read_to_string(path).unwrap();
    let (native, report) = imported(Format::Lackey, text.as_str()).unwrap();
    let mut lines = Vec::new();
    let mut items = native.items.iter().peekable();
    while let Some(item) = items.next() {
        lines.push(match *item {
            Item::Fetch { address, length } => format!("I  {address:08x},{length}"),
            Item::Data { write: false, address, bytes, .. } => {
                let modifies = |next: &&Item| matches!(next, Item::Data { modify: true, .. });
                let letter = if items.next_if(modifies).is_some() { 'M' } else { 'L' };
                format!(" {letter} {address:08x},{bytes}")
            }
            Item::Data { address, bytes, .. } => format!(" S {address:08x},{bytes}"),
            Item::Event(_) => panic!("lackey tells of no events"),
        });
    }
    let expected: Vec<&str> = text.lines().filter(|line| !line.starts_with("==")).collect();
    assert_eq!(lines, expected);
    assert!(expected.len() > 2400 && report.counted.modifies > 10, "{:?}", report.counted);
}

#[test]
fn a_million_references_of_a_real_program_come_back_one_by_one() {
    let stream = "/../cachemodel/tests/data/stream1-first1M.ref64.zst";
    let path = format!("{}{stream}", env!("CARGO_MANIFEST_DIR"));
    let packed = fs::read(path).unwrap();
    let plain = zstd::stream::decode_all(&packed[..]).unwrap();
    let words: Vec<u64> =
        plain.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    assert_eq!(words.len(), 1_000_000);
    let (native, report) = imported(Format::Ref64, packed).unwrap();
    let back: Vec<u64> = native.items.iter().map(record).collect();
    assert!(back == words);
    let of_kind = |kind: u64| words.iter().filter(|&&word| word >> 56 == kind).count() as u64;
    let counted = report.counted;
    assert_eq!(counted.fetches, of_kind(2));
    assert_eq!(counted.reads, of_kind(0));
    assert_eq!((counted.writes, counted.modifies), (of_kind(1) + of_kind(5), of_kind(5)));
    assert!(report.bytes < 1_000_000, "{} bytes", report.bytes);
}
