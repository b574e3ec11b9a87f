//! Machine files, presets and overrides, and what is said of wrong ones.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod overrides;
mod presets;
#[path = "../ref64/mod.rs"]
mod ref64;
mod refusals;
mod round_trip;

use strata_cachemodel::{EventDelivery, Machine, Semantics, TagScheme, preset};

fn vee07() -> Machine {
    preset::named("vee07").unwrap()
}

/// The least that a machine file can say.
const LEAST: &str = r#"
name = "least"
l1i = { size = "32KiB", ways = 8, line-size = 64 }
l1d = { size = "32KiB", ways = 8, line-size = 64 }
itlb = { entries = 64, ways = "full" }
dtlb = { entries = 64, ways = "full" }
"#;

#[test]
fn what_a_file_leaves_out_has_its_default() {
    let machine = Machine::from_toml(LEAST).unwrap();
    assert_eq!((machine.name(), machine.description()), ("least", ""));
    assert_eq!(machine.semantics(), Semantics::PerReference);
    assert_eq!(machine.event_delivery(), EventDelivery::Synthesised);
    assert_eq!(machine.tags(), TagScheme::Architectural);
    assert_eq!(
        (machine.vendor().to_string(), machine.cpus(), machine.seed()),
        ("intel".into(), 1, 1)
    );
    assert_eq!((machine.levels().len(), machine.l2(), machine.l3()), (1, None, None));
    assert!(machine.stlb().is_none() && machine.cost().is_none());
    let all_sizes = "64 entries, fully associative";
    assert_eq!(machine.dtlb().to_string(), all_sizes);
    let l1d = machine.l1d();
    assert_eq!(l1d.to_string(), "32KiB, 64 sets of 8 ways, 64-byte lines");
    assert!(l1d.write_allocates() && l1d.partition().is_empty());
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
fn what_is_not_usual_is_printed() {
    let overrides = [
        ("l1d.replacement", "tree-plru"),
        ("l1d.index", "virtual"),
        ("l1d.tag", "virtual"),
        ("l1d.write", "through"),
        ("l1d.write-allocate", "false"),
        ("l1d.prefetch", "stride"),
        ("l2.inclusion", "inclusive"),
        ("l2.prefetch", "next-line"),
        ("l2.partition.dom0", "0-3"),
        ("l2.partition.dom1-kernel", "5"),
        ("dtlb.pages", "[\"4k\"]"),
        ("dtlb.2m.entries", "32"),
        ("dtlb.2m.ways", "4"),
        ("dtlb.2m.replacement", "random"),
    ];
    let machine = vee07().with_overrides(overrides).unwrap();
    assert_eq!(
        machine.l1d().to_string(),
        "32KiB, 64 sets of 8 ways, 64-byte lines, tree-plru, virtually indexed, virtually tagged, \
         write-through, no write-allocate, stride prefetch"
    );
    assert_eq!(
        machine.l2().unwrap().data().to_string(),
        "2MiB, 4096 sets of 8 ways, 64-byte lines, inclusive, next-line prefetch, dom0 in ways 0-3, \
         dom1-kernel in ways 5"
    );
    assert_eq!(
        machine.dtlb().to_string(),
        "4k: 64 entries, fully associative; 2m: 32 entries, 8 sets of 4 ways, random"
    );
}

#[test]
fn what_is_neither_preset_nor_file_is_refused_with_the_presets() {
    let message = Machine::load("vee08").unwrap_err().to_string();
    let known = preset::names().collect::<Vec<_>>().join(", ");
    assert_eq!(
        message,
        format!(
            "`vee08` is neither a file nor a machine preset; the presets are {known}, and a \
             machine of one's own is given as the path of a TOML file"
        )
    );
    assert_eq!(
        preset::named("vee08").unwrap_err().to_string(),
        message,
        "a preset by name and a machine by name are refused alike"
    );
    let directory = Machine::load(env!("CARGO_MANIFEST_DIR")).unwrap_err().to_string();
    assert!(directory.contains(": cannot be read: "), "{directory}");
}

#[test]
fn a_machine_file_is_read_by_its_path_and_named_when_wrong() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let machine = Machine::load(&format!("{folder}/presets/peer.toml")).unwrap();
    assert_eq!(machine, preset::named("peer").unwrap());
    let message = Machine::load(&format!("{folder}/Cargo.toml")).unwrap_err().to_string();
    assert!(message.contains("Cargo.toml: machine description: "), "{message}");
}
