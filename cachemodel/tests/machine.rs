//! Machine files, presets and overrides, and what is said of wrong ones.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use strata_cachemodel::{
    CacheGeometry, EventDelivery, Machine, Semantics, TagScheme, TlbGeometry, Ways, preset,
};

fn vee07() -> Machine {
    preset::named("vee07").unwrap()
}

fn refusal(key: &str, value: &str) -> String {
    let mut machine = vee07();
    let message = machine.set(key, value).unwrap_err().to_string();
    assert_eq!(machine, vee07(), "a refused override changed the machine");
    message
}

#[test]
fn vee07_is_the_machine_of_the_paper() {
    let machine = vee07();
    for l1 in [machine.l1i(), machine.l1d()] {
        assert_eq!((l1.size_bytes(), l1.ways(), l1.line_bytes(), l1.sets()), (32 << 10, 8, 64, 64));
    }
    assert_eq!(
        (machine.l2().unwrap().data().size_bytes(), machine.l2().unwrap().data().ways()),
        (2 << 20, 8)
    );
    for tlb in [machine.itlb(), machine.dtlb()] {
        assert_eq!((tlb.entries(), tlb.ways(), tlb.sets()), (64, 64, 1));
    }
    assert_eq!(machine.semantics(), Semantics::PerReference);
    assert_eq!(machine.event_delivery(), EventDelivery::Synthesised);
    assert_eq!(machine.tags(), TagScheme::Architectural);
}

#[test]
fn what_is_derived_is_printed() {
    let machine = vee07().with_overrides([("itlb.ways", "4"), ("dtlb.ways", "1")]).unwrap();
    assert_eq!(machine.l1i().to_string(), "32KiB, 64 sets of 8 ways, 64-byte lines");
    assert_eq!(vee07().itlb().to_string(), "64 entries, fully associative");
    assert_eq!(machine.itlb().to_string(), "64 entries, 16 sets of 4 ways");
    assert_eq!(machine.dtlb().to_string(), "64 entries, 64 sets, direct-mapped");
}

#[test]
fn every_kind_of_value_can_be_overridden() {
    let overrides = [
        ("l2.size", "4MiB"),
        ("l1d.ways", "full"),
        ("dtlb.entries", "128"),
        ("semantics", "cachegrind"),
        ("event-delivery", "off"),
    ];
    let machine = vee07().with_overrides(overrides).unwrap();
    assert_eq!(
        (machine.l2().unwrap().data().size_bytes(), machine.l2().unwrap().data().sets()),
        (4 << 20, 8192)
    );
    assert_eq!((machine.l1d().ways(), machine.l1d().sets()), (512, 1));
    assert_eq!(machine.dtlb().entries(), 128);
    assert_eq!(machine.semantics(), Semantics::Cachegrind);
    assert_eq!(machine.event_delivery(), EventDelivery::Off);
}

#[test]
fn a_fully_associative_tlb_stays_so_when_its_size_changes() {
    let machine = vee07().with_overrides([("itlb.entries", "1536")]).unwrap();
    assert_eq!((machine.itlb().ways(), machine.itlb().sets()), (1536, 1));
}

#[test]
fn overrides_that_are_possible_only_together_may_come_in_any_order() {
    let (size, ways) = (("l2.size", "3MiB"), ("l2.ways", "12"));
    let one = vee07().with_overrides([size, ways]).unwrap();
    let other = vee07().with_overrides([ways, size]).unwrap();
    assert_eq!(one, other);
    assert_eq!(one.l2().unwrap().data().sets(), 4096);
}

#[test]
fn an_unknown_key_is_named_with_the_keys_there_are() {
    assert_eq!(
        refusal("l2.sets", "4096"),
        "l2.sets: no such key; known here are line-size, size, ways"
    );
    assert_eq!(
        refusal("l2", "4MiB"),
        "l2: no such key; known here are l2.line-size, l2.size, l2.ways"
    );
    for key in ["l9.size", "", ".", "l2.", "l2.size.x", "name.x"] {
        assert!(refusal(key, "1").starts_with(&format!("{key}: no such key; known")), "{key}");
    }
}

#[test]
fn a_value_that_its_key_cannot_take_is_named_with_what_it_takes() {
    let message = refusal("l2.size", "4MB");
    assert!(message.starts_with("l2.size: cannot be `4MB`: "), "{message}");
    assert!(message.contains("a size in bytes such as"), "{message}");
    assert!(refusal("l1d.ways", "many").contains("a number of ways or \"full\""));
    assert!(refusal("l1d.ways", "-8").contains("a number of ways or \"full\""));
    assert!(refusal("dtlb.entries", "1.5").contains("dtlb.entries: cannot be `1.5`: "));
    let semantics = refusal("semantics", "paper");
    assert!(
        semantics.contains("`per-reference`") && semantics.contains("`cachegrind`"),
        "{semantics}"
    );
}

#[test]
fn an_override_to_an_impossible_machine_names_the_limit() {
    assert_eq!(
        refusal("l2.ways", "3"),
        "l2.size: must be a multiple of ways × line-size = 192 bytes, got 2MiB"
    );
}

#[test]
fn an_l2_line_holds_a_whole_l1_line() {
    assert_eq!(
        refusal("l2.line-size", "32"),
        "l2.line-size: must be at least l1i.line-size = 64 bytes, got 32"
    );
    assert!(vee07().with_overrides([("l2.line-size", "128")]).is_ok());
}

#[test]
fn a_file_with_an_unknown_key_is_refused_with_its_line() {
    let text = preset::source("vee07").unwrap().replace("[l2]\nsize", "[l2]\nbanks = 4\nsize");
    let message = Machine::from_toml(&text).unwrap_err().to_string();
    assert!(message.contains("unknown field `banks`") && message.contains("line "), "{message}");
}

#[test]
fn a_file_without_a_section_is_refused() {
    let text = preset::source("vee07").unwrap();
    let without = &text[..text.find("[dtlb]").unwrap()];
    let message = Machine::from_toml(without).unwrap_err().to_string();
    assert!(message.contains("missing field `dtlb`"), "{message}");
}

#[test]
fn what_is_neither_preset_nor_file_is_refused_with_the_presets() {
    let message = Machine::load("vee08").unwrap_err().to_string();
    assert!(message.contains("`vee08` is neither") && message.contains("vee07, peer"), "{message}");
    let directory = Machine::load(env!("CARGO_MANIFEST_DIR")).unwrap_err().to_string();
    assert!(directory.contains("cannot be read"), "{directory}");
}

#[test]
fn a_machine_file_is_read_by_its_path_and_named_when_wrong() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let machine = Machine::load(&format!("{folder}/presets/peer.toml")).unwrap();
    assert_eq!(machine, preset::named("peer").unwrap());
    let message = Machine::load(&format!("{folder}/Cargo.toml")).unwrap_err().to_string();
    assert!(message.contains("Cargo.toml: machine description: "), "{message}");
}

/// Small, large and extreme numbers, many of them powers of two.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..100, (0u32..64).prop_map(|bit| 1 << bit), any::<u64>()]
}

proptest! {
    #[test]
    fn a_cache_of_any_numbers_is_refused_or_has_just_that_size(
        size in numbers(),
        ways in numbers(),
        line in numbers(),
    ) {
        if let Ok(cache) = CacheGeometry::new("l2", size, Ways::Number(ways), line) {
            prop_assert_eq!(cache.sets() * cache.ways() as u64 * cache.line_bytes(), size);
            prop_assert_eq!((cache.ways() as u64, cache.line_bytes()), (ways, line));
        }
    }

    #[test]
    fn a_tlb_of_any_numbers_is_refused_or_has_just_those_entries(
        entries in numbers(),
        ways in numbers(),
    ) {
        if let Ok(tlb) = TlbGeometry::new("dtlb", entries, Ways::Number(ways)) {
            prop_assert_eq!(tlb.sets() * tlb.ways() as u64, entries);
        }
    }

    #[test]
    fn a_machine_file_of_any_text_is_refused_or_read_without_a_panic(text in "\\PC*") {
        prop_assert!(Machine::from_toml(&text).is_err());
        let mut machine = vee07();
        if machine.set("l2.size", &text).is_ok() {
            prop_assert!(machine.l2().unwrap().data().size_bytes() > 0);
        }
    }

    #[test]
    fn a_machine_reads_back_as_it_is_written(sets in 1u64..5000, ways in 1u64..20) {
        let (size, entries) = ((sets * ways * 64).to_string(), (sets * ways).to_string());
        let ways = ways.to_string();
        let overrides = [("l2.size", &size), ("l2.ways", &ways), ("itlb.entries", &entries)];
        let machine = vee07().with_overrides(overrides.map(|(key, value)| (key, value.as_str())));
        let machine = machine.unwrap();
        let text = toml::to_string(&machine).unwrap();
        prop_assert_eq!(Machine::from_toml(&text).unwrap(), machine);
    }
}
