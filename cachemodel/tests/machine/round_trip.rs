//! Machines written and read back, and numbers and texts of any kind.

use proptest::prelude::*;
use strata_cachemodel::{CacheGeometry, Machine, TlbGeometry, Ways, preset};

use super::vee07;

fn assert_reads_back(machine: &Machine) {
    let toml = toml::to_string(machine).unwrap();
    assert_eq!(Machine::from_toml(&toml).unwrap(), *machine, "{toml}");
    let json = serde_json::to_string(machine).unwrap();
    assert_eq!(serde_json::from_str::<Machine>(&json).unwrap(), *machine, "{json}");
    assert_eq!(machine.with_overrides([]).unwrap(), *machine);
}

#[test]
fn every_preset_reads_back_as_it_is_written() {
    preset::names().for_each(|name| assert_reads_back(&preset::named(name).unwrap()));
}

/// Small, large and extreme numbers, many of them powers of two.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..100, (0u32..64).prop_map(|bit| 1 << bit), any::<u64>()]
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(texts).prop_map(str::to_owned)
}

const POLICIES: &[&str] = &["lru", "tree-plru", "fifo", "random", "srrip", "brrip", "drrip"];

/// CPUs of a machine: virtual addresses are for one, and groups share caches among several.
const SEVERAL: u16 = 3;

/// The lines of a cache section.
fn cache(inclusions: &'static [&'static str], cpus: u16) -> impl Strategy<Value = String> {
    let addresses: &[_] = if cpus == 1 { &["physical", "virtual"] } else { &["physical"] };
    let sharing: &[_] = if cpus == 1 {
        &["\"all\"", "\"private\"", "[[0]]"]
    } else {
        &["\"all\"", "\"private\"", "[[0, 1], [2]]", "[[2, 1, 0]]"]
    };
    let numbers = (1u64..200, 1u64..21, any::<bool>());
    let kinds = (one_of(addresses), one_of(addresses));
    let writes = (one_of(&["back", "back", "through"]), any::<bool>());
    let others = (
        one_of(POLICIES),
        one_of(inclusions),
        one_of(&["none", "next-line", "stride"]),
        one_of(sharing),
        proptest::option::of(0u64..20),
    );
    (numbers, kinds, writes, others).prop_map(|(numbers, kinds, writes, others)| {
        let (sets, ways, is_full) = numbers;
        let (policy, inclusion, prefetch, shared, partition) = others;
        let prefetch = if inclusion == "exclusive" { "none".to_owned() } else { prefetch };
        let written = if is_full { "\"full\"".to_owned() } else { ways.to_string() };
        let partition = match partition.filter(|way| *way < ways && !is_full) {
            Some(way) => format!("partition = {{ dom0 = \"0-{way}\", dom1-kernel = \"{way}\" }}\n"),
            None => String::new(),
        };
        format!(
            "size = {}\nways = {written}\nline-size = 64\nreplacement = \"{policy}\"\n\
             index = \"{}\"\ntag = \"{}\"\nwrite = \"{}\"\nwrite-allocate = {}\n\
             inclusion = \"{inclusion}\"\nprefetch = \"{prefetch}\"\nshared = {shared}\n{partition}",
            sets * ways * 64, kinds.0, kinds.1, writes.0, writes.1
        )
    })
}

/// The sections of a TLB.
fn tlb(name: &'static str) -> impl Strategy<Value = String> {
    let own = || proptest::option::of((1u64..40, 1u64..9, one_of(POLICIES)));
    (1u64..300, 1u64..13, one_of(POLICIES), any::<bool>(), own(), own()).prop_map(
        move |(sets, ways, policy, lists_pages, large, huge)| {
            let entries = sets * ways;
            let mut text = format!(
                "[{name}]\nentries = {entries}\nways = {ways}\nreplacement = \"{policy}\"\n"
            );
            if lists_pages {
                text += "pages = [\"4k\"]\n";
            }
            for (size, own) in [("2m", large), ("1g", huge)] {
                if let Some((sets, ways, policy)) = own {
                    let entries = sets * ways;
                    text += &format!(
                        "[{name}.{size}]\nentries = {entries}\nways = {ways}\n\
                         replacement = \"{policy}\"\n"
                    );
                }
            }
            text
        },
    )
}

fn root(cpus: u16) -> impl Strategy<Value = String> {
    (
        one_of(&["per-reference", "split-demand-only", "split-writeback", "first-byte"]),
        one_of(&["synthesised", "off"]),
        one_of(&["none", "architectural", "vpid", "pcid", "global-hypervisor+vpid+pcid"]),
        one_of(&["intel", "intel-p6", "amd"]),
        0..i64::MAX,
    )
        .prop_map(move |(semantics, delivery, tags, vendor, seed)| {
            format!(
                "name = \"any\"\ndescription = \"a \\\"machine\\\"\"\nsemantics = \"{semantics}\"\n\
                 event-delivery = \"{delivery}\"\ntags = \"{tags}\"\nvendor = \"{vendor}\"\n\
                 cpus = {cpus}\nseed = {seed}\n"
            )
        })
}

/// Not any number: serde_json is exact only for those of few digits.
fn quarters() -> impl Strategy<Value = f64> {
    (0u32..4_000_000).prop_map(|quarters| f64::from(quarters) / 4.0)
}

fn rest() -> impl Strategy<Value = String> {
    (any::<bool>(), one_of(&["off", "l1d"]), 0u32..65537, quarters(), quarters()).prop_map(
        |(has_cost, memory, entries, base, cycles)| {
            let walk = format!("[walk]\nmemory = \"{memory}\"\npde-cache = {entries}\n");
            if !has_cost {
                return walk;
            }
            format!("{walk}[cost]\nbase-cpi = {base:?}\nmemory = {cycles:?}\nexit = {cycles:?}\n")
        },
    )
}

const BELOW: &[&str] = &["non-inclusive", "inclusive", "exclusive"];

/// Texts of machines of which most can exist.
fn machines() -> impl Strategy<Value = String> {
    prop_oneof![machines_of(1), machines_of(SEVERAL)]
}

fn machines_of(cpus: u16) -> impl Strategy<Value = String> {
    let first = move || cache(&["non-inclusive"], cpus);
    let below = move || cache(BELOW, cpus);
    let levels = prop_oneof![
        first().prop_map(|l1| format!("[l1]\n{l1}")),
        (first(), first()).prop_map(|(l1i, l1d)| format!("[l1i]\n{l1i}[l1d]\n{l1d}")),
        (first(), first(), below())
            .prop_map(|(l1i, l1d, l2)| format!("[l1i]\n{l1i}[l1d]\n{l1d}[l2]\n{l2}")),
        (first(), first(), below(), below(), below()).prop_map(|(l1i, l1d, l2i, l2d, l3)| format!(
            "[l1i]\n{l1i}[l1d]\n{l1d}[l2i]\n{l2i}[l2d]\n{l2d}[l3]\n{l3}"
        )),
    ];
    let stlb = proptest::option::of(tlb("stlb")).prop_map(Option::unwrap_or_default);
    (root(cpus), levels, tlb("itlb"), tlb("dtlb"), stlb, rest()).prop_map(
        |(root, levels, itlb, dtlb, stlb, rest)| [root, levels, itlb, dtlb, stlb, rest].concat(),
    )
}

proptest! {
    #[test]
    fn any_machine_reads_back_as_it_is_written(text in machines()) {
        match Machine::from_toml(&text) {
            Ok(machine) => assert_reads_back(&machine),
            Err(error) => {
                // Levels were put together at random; the text itself is right.
                let message = error.to_string();
                prop_assert!(message.contains(": must be "), "{}\n{}", message, text);
                prop_assume!(false);
            }
        }
    }

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
    fn an_override_of_any_key_and_text_is_refused_or_read_without_a_panic(
        key in prop_oneof![
            "[a-z0-9.-]{0,12}",
            "(l1i|l2|l3|itlb|stlb|walk|cost)\\.(2m|1g|partition|size|memory)?\\.?[a-z-]{0,8}",
        ],
        text in prop_oneof!["\\PC*", "[0-9\\[\\],.e-]{0,20}"],
    ) {
        let start = vee07();
        let mut machine = start.clone();
        if machine.set(&key, &text).is_err() {
            prop_assert_eq!(machine, start);
        }
    }

    #[test]
    fn a_machine_of_any_numbers_of_sets_and_ways_reads_back(sets in 1u64..5000, ways in 1u64..20) {
        let (size, entries) = ((sets * ways * 64).to_string(), (sets * ways).to_string());
        let ways = ways.to_string();
        let overrides = [("l2.size", &size), ("l2.ways", &ways), ("itlb.entries", &entries)];
        let machine = vee07().with_overrides(overrides.map(|(key, value)| (key, value.as_str())));
        assert_reads_back(&machine.unwrap());
    }
}
