use super::flat::{fetch, imported, modify, read, refusal, write};
use proptest::prelude::*;
use strata_workloads::import::Format;

proptest! {
    #[test]
    fn a_replay_of_the_native_trace_makes_the_same_references(
        references in proptest::collection::vec((0u8..4, any::<u64>(), any::<u16>(), 1u8..=255), 1..300)
    ) {
        let mut text = String::from("==7== Lackey, an example Valgrind tool\n");
        let mut items = Vec::new();
        for (kind, address, bytes, length) in references {
            text += &match kind {
                0 => format!("I  {address:08x},{length}\n"),
                1 => format!(" L {address:x},{bytes}\n"),
                2 => format!(" S {address:010x},{bytes}\n"),
                _ => format!(" M {address:x},{bytes}\n"),
            };
            match kind {
                0 => items.push(fetch(address, length)),
                1 => items.push(read(address, bytes)),
                2 => items.push(write(address, bytes)),
                _ => items.extend([read(address, bytes), modify(address, bytes)]),
            }
        }
        text += "==7== Counted 0 calls to main()\n";
        let (native, report) = imported(Format::Lackey, text).unwrap();
        prop_assert_eq!(native.items, items);
        prop_assert_eq!(report.left_out.values().sum::<u64>(), 2);
    }
}

#[test]
fn sizes_up_to_65535_and_0_are_legal_for_data() {
    let text = "I  1000,3\n L 2000,0\n S 3000,4096\n M 4000,65535\n";
    let (native, report) = imported(Format::Lackey, text).unwrap();
    let expected = [
        fetch(0x1000, 3),
        read(0x2000, 0),
        write(0x3000, 4096),
        read(0x4000, 65535),
        modify(0x4000, 65535),
    ];
    assert_eq!(native.items, expected);
    assert_eq!(report.counted.data_without_size, 1);
    assert_eq!(report.counted.modifies, 1);
}

#[test]
fn the_sequence_of_19_bytes_that_valgrind_takes_for_one_instruction_is_one() {
    let (native, _) = imported(Format::Lackey, "I  1000,19\nI  1013,1\n").unwrap();
    assert_eq!(native.items, [fetch(0x1000, 19), fetch(0x1013, 1)]);
}

#[test]
fn impossible_sizes_are_refused_with_their_line() {
    let said = refusal(Format::Lackey, "I  1000,3\nI  1003,4096\n");
    assert!(said.contains("line 2") && said.contains("an instruction of 4096 bytes"), "{said}");
    let said = refusal(Format::Lackey, " L 1000,65536\n");
    assert!(said.contains("line 1") && said.contains("65536 bytes, more than 65535"), "{said}");
}

#[test]
fn messages_are_skipped_and_anything_else_is_refused_with_its_line() {
    let text = "==1== x\n--12-- y\n**123** z\n\nI  1000,3\n==1==\n";
    let (native, report) = imported(Format::Lackey, text).unwrap();
    assert_eq!(native.items, [fetch(0x1000, 3)]);
    assert_eq!(report.left_out.values().sum::<u64>(), 4);
    for line in [
        "hello",
        "I 1000,3",
        "I  1000",
        "I  1000,",
        "I  ,3",
        " L 1000,8 ,",
        " X 1000,8",
        "L 1000,8",
        "==x==",
        "== 1 ==",
        "I  10000000000000000,1",
        " L 1000,99999999999999999999",
        " S 1000;8",
    ] {
        let said = refusal(Format::Lackey, format!("I  1000,3\n{line}\n"));
        assert!(said.contains("line 2") && said.contains(line), "{line}: {said}");
    }
}

#[test]
fn a_last_line_without_end_was_cut_off() {
    // The size may have been 16.
    let said = refusal(Format::Lackey, "I  1000,3\n S 2000,1");
    assert!(said.contains("line 2") && said.contains("cut off"), "{said}");
}
