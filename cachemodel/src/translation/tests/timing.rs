//! What look-ups cost, on the first million references of a real program. Prints; asserts nothing
//! about time.

use std::time::Instant;

use crate::machine::Machine;
use crate::page::Mapping;
use crate::preset;
use crate::translation::{Side, TranslationUnit};

/// Page and side of each reference of the stream.
fn pages() -> Vec<(Side, u64)> {
    let stream = include_bytes!("../../../tests/data/stream1-first1M.ref64.zst");
    let bytes = zstd::decode_all(&stream[..]).unwrap();
    let (records, _) = bytes.as_chunks::<8>();
    let decode = |record: &[u8; 8]| {
        let record = u64::from_le_bytes(*record);
        let side = if record >> 56 & 3 == 2 { Side::Instruction } else { Side::Data };
        (side, record & ((1 << 48) - 1))
    };
    records.iter().map(decode).collect()
}

fn machine(overrides: &[(&str, &str)]) -> Machine {
    let machine = preset::named("peer").unwrap();
    machine.with_overrides(overrides.iter().copied()).unwrap()
}

/// Nanoseconds for each look-up, the best of nine runs, and the misses.
fn measure(machine: &Machine, pages: &[(Side, u64)], use_front: bool) -> (f64, u64) {
    let mut best = f64::MAX;
    let mut misses = 0;
    for _ in 0..9 {
        let mut unit = TranslationUnit::new(machine, 0);
        misses = 0;
        let start = Instant::now();
        for (now, &(side, va)) in (1..).zip(pages) {
            if use_front && unit.front(side, va, now).is_some() {
                continue;
            }
            let found = unit.look_up(side, va, Mapping::identity(va), now);
            misses += u64::from(found.missed);
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / pages.len() as f64);
    }
    (best, misses)
}

#[test]
#[ignore = "prints how long look-ups take"]
fn cost_of_look_ups() {
    let pages = pages();
    let machines: [(&str, &[(&str, &str)]); 9] = [
        ("64 full", &[]),
        ("64 of 4 ways", &[("itlb.ways", "4"), ("dtlb.ways", "4")]),
        (
            "1536 of 12 ways",
            &[
                ("dtlb.entries", "1536"),
                ("dtlb.ways", "12"),
                ("itlb.entries", "1536"),
                ("itlb.ways", "12"),
            ],
        ),
        ("1024 full", &[("dtlb.entries", "1024"), ("itlb.entries", "1024")]),
        ("4096 full", &[("dtlb.entries", "4096"), ("itlb.entries", "4096")]),
        ("8 full", &[("dtlb.entries", "8"), ("itlb.entries", "8")]),
        ("64 full plru", &[("dtlb.replacement", "tree-plru"), ("itlb.replacement", "tree-plru")]),
        ("64 full srrip", &[("dtlb.replacement", "srrip"), ("itlb.replacement", "srrip")]),
        ("64 full + stlb", &[("stlb.entries", "1536"), ("stlb.ways", "12")]),
    ];
    for (name, overrides) in machines {
        let machine = machine(overrides);
        let (front, misses) = measure(&machine, &pages, true);
        let (full, same) = measure(&machine, &pages, false);
        assert_eq!(misses, same);
        println!("{name:16} front {front:6.2} ns, full {full:6.2} ns, {misses} misses");
    }
}
