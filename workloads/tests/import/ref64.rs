use super::flat::{Item, fetch, imported, modify, read, refusal, write};
use proptest::prelude::*;
use strata_workloads::import::Format;
use strata_workloads::trace::Lacks;

/// The record of a reference.
pub(crate) fn record(item: &Item) -> u64 {
    match *item {
        Item::Fetch { address, length } => address | u64::from(length) << 48 | 2 << 56,
        Item::Data { write, address, bytes, modify } => {
            let kind = u64::from(write) | u64::from(modify) << 2;
            address | u64::from(bytes) << 48 | kind << 56
        }
        Item::Event(_) => panic!("there are no events in ref64"),
    }
}

fn bytes(items: &[Item]) -> Vec<u8> {
    items.iter().flat_map(|item| record(item).to_le_bytes()).collect()
}

/// Programs of a few short runs of code, with data in between: some that repeat, some that do not.
fn items() -> impl Strategy<Value = Vec<Item>> {
    let address = prop_oneof![Just(0x1000u64), 0x1000..0x1040u64, 0..1u64 << 48];
    let step = prop_oneof![
        4 => (1u8..16).prop_map(Step::Next),
        1 => (address.clone(), 1u8..=255).prop_map(|(address, length)| Step::Jump(address, length)),
        4 => (address, 0u16..256, 0u8..3).prop_map(|(address, bytes, kind)| Step::Data(address, bytes, kind)),
    ];
    (proptest::collection::vec(step, 1..200), 1usize..4).prop_map(|(steps, times)| {
        let mut next = 0x1000u64;
        let mut items = Vec::new();
        for step in steps {
            items.push(match step {
                Step::Next(length) => fetch(next, length),
                Step::Jump(address, length) => fetch(address, length),
                Step::Data(address, bytes, 0) => read(address, bytes),
                Step::Data(address, bytes, 1) => write(address, bytes),
                Step::Data(address, bytes, _) => modify(address, bytes),
            });
            if let Some(&Item::Fetch { address, length }) = items.last() {
                next = (address + u64::from(length)) & ((1 << 48) - 1);
            }
        }
        let once = items.len();
        items.into_iter().cycle().take(once * times).collect()
    })
}

#[derive(Clone, Debug)]
enum Step {
    Next(u8),
    Jump(u64, u8),
    Data(u64, u16, u8),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_replay_of_the_native_trace_makes_the_same_references(items in items()) {
        let (native, report) = imported(Format::Ref64, bytes(&items)).unwrap();
        prop_assert_eq!(&native.items, &items);
        let count = |wanted: fn(&Item) -> bool| items.iter().filter(|i| wanted(i)).count() as u64;
        let counted = report.counted;
        prop_assert_eq!(counted.fetches, count(|i| matches!(i, Item::Fetch { .. })));
        prop_assert_eq!(counted.modifies, count(|i| matches!(i, Item::Data { modify: true, .. })));
        prop_assert_eq!(report.ending.totals.instructions, counted.fetches);
        prop_assert_eq!(report.ending.totals.data_accesses, counted.reads + counted.writes);
    }

    #[test]
    fn any_bytes_are_taken_or_refused_with_their_place(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = imported(Format::Ref64, bytes);
    }
}

#[test]
fn sequential_fetches_and_their_data_become_one_block() {
    let round = [
        fetch(0x1000, 4),
        read(0x8000, 8),
        fetch(0x1004, 3),
        fetch(0x1007, 2),
        read(0x9000, 4),
        modify(0x9000, 4),
    ];
    let items: Vec<Item> = round.iter().cycle().take(6000).cloned().collect();
    let (native, report) = imported(Format::Ref64, bytes(&items)).unwrap();
    assert_eq!(native.items, items);
    assert_eq!((report.ending.tables.blocks, report.ending.tables.shapes), (1, 1));
    assert_eq!(report.ending.totals.executions, 1000);
    assert_eq!(native.tables.blocks[0].lengths[..], [4, 3, 2]);
}

#[test]
fn straight_code_is_cut_into_blocks_of_bounded_size() {
    let items: Vec<Item> = (0..10_000).map(|i| fetch(0x1000 + 4 * i, 4)).collect();
    let (native, report) = imported(Format::Ref64, bytes(&items)).unwrap();
    assert_eq!(native.items, items);
    assert_eq!(report.ending.totals.executions, 10_000u64.div_ceil(128));
}

#[test]
fn data_without_an_instruction_invents_none() {
    let items: Vec<Item> = (0..5000)
        .map(|i| if i % 3 == 0 { write(0x5000 + 8 * i, 8) } else { read(i * 64, 4) })
        .collect();
    let (native, report) = imported(Format::Ref64, bytes(&items)).unwrap();
    assert_eq!(native.items, items);
    assert_eq!(report.ending.totals.instructions, 0);
    assert!(native.lacks.fetches && !native.lacks.data && !native.lacks.sizes);
    assert!(report.ending.tables.shapes < 10, "{:?}", report.ending.tables);
}

#[test]
fn data_before_the_first_fetch_comes_before_it() {
    let items = [read(0x10, 1), write(0x20, 2), read(0x30, 4), fetch(0x1000, 1), read(0x40, 8)];
    let (native, report) = imported(Format::Ref64, bytes(&items)).unwrap();
    assert_eq!(native.items, items);
    assert_eq!(report.ending.totals.instructions, 1);
    assert!(!native.lacks.fetches);
}

#[test]
fn an_instruction_with_thousands_of_data_references_is_fetched_once() {
    let mut items = vec![fetch(0x1000, 3)];
    items.extend((0..3000).flat_map(|i| [read(0x8000 + 8 * i, 8), write(0x20000 + 8 * i, 8)]));
    items.push(fetch(0x1003, 1));
    let (native, report) = imported(Format::Ref64, bytes(&items)).unwrap();
    assert_eq!(native.items, items);
    assert_eq!(report.ending.totals.instructions, 2);
    assert!(report.ending.tables.shapes < 6, "{:?}", report.ending.tables);
}

#[test]
fn a_size_of_0_is_unknown_and_touches_the_first_byte() {
    let items = [fetch(0x1000, 4), read(0x8000, 0), fetch(0x1004, 0), write(0x9000, 8)];
    let (native, report) = imported(Format::Ref64, bytes(&items)).unwrap();
    let expected = [fetch(0x1000, 4), read(0x8000, 0), fetch(0x1004, 1), write(0x9000, 8)];
    assert_eq!(native.items, expected);
    assert_eq!(report.counted.fetches_without_length, 1);
    assert_eq!(report.counted.data_without_size, 1);
    assert!(!native.lacks.sizes && !native.lacks.lengths);
    let (native, _) = imported(Format::Ref64, bytes(&[fetch(1, 0), read(2, 0)])).unwrap();
    assert!(native.lacks.sizes && native.lacks.lengths);
}

#[test]
fn addresses_are_taken_as_they_are_to_their_last_bit() {
    let top = (1u64 << 48) - 1;
    let items = [
        fetch(top, 15),
        read(1 << 47, 255),
        fetch(0x8000_0000_0000, 1),
        write(0x7fff_ffff_ffff, 2),
        fetch(top - 3, 4),
        fetch(0, 4),
    ];
    let (native, _) = imported(Format::Ref64, bytes(&items)).unwrap();
    assert_eq!(native.items, items);
}

#[test]
fn the_format_lacks_what_it_has_no_field_for() {
    let (native, _) = imported(Format::Ref64, bytes(&[fetch(1, 1), read(2, 2)])).unwrap();
    let expected = Lacks {
        code: true,
        translations: true,
        walks: true,
        privilege: true,
        contexts: true,
        events: true,
        ..Lacks::NOTHING
    };
    assert_eq!(native.lacks, expected);
    let (native, _) = imported(Format::Ref64, bytes(&[fetch(1, 1)])).unwrap();
    assert!(native.lacks.data);
}

#[test]
fn records_that_mean_nothing_are_refused_with_their_number_and_place() {
    let good = record(&fetch(0x1000, 1)).to_le_bytes();
    for (word, what) in [
        (3u64 << 56, "kind 3"),
        (4 << 56, "marked as the write of a modify"),
        (6 << 56, "marked as the write of a modify"),
        (8 << 56, "bits 59 to 63"),
        (u64::MAX, "bits 59 to 63"),
    ] {
        let stream = [good, good, word.to_le_bytes()].concat();
        let said = refusal(Format::Ref64, stream);
        assert!(said.contains("record 2 (byte 16)") && said.contains(what), "{said}");
    }
}

#[test]
fn a_stream_that_ends_within_a_record_was_cut_off() {
    let mut stream = bytes(&vec![fetch(0x1000, 1); 100]);
    stream.truncate(8 * 99 + 3);
    let said = refusal(Format::Ref64, stream);
    assert!(said.contains("record 99 (byte 792)") && said.contains("cut off"), "{said}");
    assert!(said.contains("3 of the 8 bytes"), "{said}");
    assert!(refusal(Format::Ref64, []).contains("empty"));
}
