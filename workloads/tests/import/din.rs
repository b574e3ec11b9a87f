use super::flat::{Item, fetch, imported, read, refusal, write};
use proptest::prelude::*;
use strata_workloads::import::Format;
use strata_workloads::trace::Event;

proptest! {
    #[test]
    fn a_replay_of_the_native_trace_makes_the_same_references(
        references in proptest::collection::vec((0u8..3, any::<u64>(), 0u8..4), 1..300)
    ) {
        let mut text = String::new();
        let mut items = Vec::new();
        for (label, address, style) in references {
            text += &match style {
                0 => format!("{label} {address:x}\n"),
                1 => format!("  {label}\t0x{address:X} and a comment\n"),
                2 => format!("{label} {address:016x}\r\n"),
                _ => format!("{label}   {address:x}  # 7\n\n"),
            };
            items.push(match label {
                0 => read(address, 0),
                1 => write(address, 0),
                _ => fetch(address, 1),
            });
        }
        let (native, _) = imported(Format::Din, text).unwrap();
        prop_assert_eq!(native.items, items);
    }
}

#[test]
fn a_flush_is_an_event_in_its_place_and_escapes_are_counted() {
    let text = "2 1000\n0 8000\n4 0\n3 77\n2 1001\n4\n1 9000\n3 0\n";
    let (native, report) = imported(Format::Din, text).unwrap();
    let expected = [
        fetch(0x1000, 1),
        read(0x8000, 0),
        Item::Event(Event::CacheFlush),
        fetch(0x1001, 1),
        Item::Event(Event::CacheFlush),
        write(0x9000, 0),
    ];
    assert_eq!(native.items, expected);
    assert_eq!(report.left_out.values().sum::<u64>(), 2);
    assert_eq!(report.ending.totals.instructions, 2);
    assert!(native.lacks.sizes && native.lacks.lengths && native.lacks.modifies);
    assert!(!native.lacks.fetches && !native.lacks.data);
}

#[test]
fn lines_that_are_none_are_refused_with_their_number() {
    for line in
        ["5 1000", "x 1000", "2", "2 ", "2 xyz", "2 10000000000000000", "22 1000", "-1 10", "0 1g"]
    {
        let said = refusal(Format::Din, format!("2 1000\n\n0 2000\n{line}\n"));
        assert!(said.contains("line 4") && said.contains(line.trim_end()), "{line}: {said}");
    }
}

#[test]
fn a_last_line_without_end_was_cut_off() {
    let said = refusal(Format::Din, "2 1000\n0 20");
    assert!(said.contains("line 2") && said.contains("cut off"), "{said}");
    assert!(refusal(Format::Din, "").contains("empty"));
}

#[test]
fn binary_data_is_not_taken_for_lines() {
    let said = refusal(Format::Din, vec![0xffu8; 1 << 20]);
    assert!(said.contains("line 1: a line of more than 65536 bytes"), "{said}");
}
