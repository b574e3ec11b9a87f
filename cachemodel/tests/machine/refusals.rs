//! Machines that cannot exist, keys that are none and values that their keys cannot take: each with
//! what is said of it.

use strata_cachemodel::{Machine, preset};

use super::{LEAST, vee07};

/// What is said of overrides of `vee07`, which they must not change.
fn refusal(overrides: &[(&str, &str)]) -> String {
    let machine = vee07();
    machine.with_overrides(overrides.iter().copied()).unwrap_err().to_string()
}

fn assert_refused(cases: &[(&[(&str, &str)], &str)]) {
    for (overrides, expected) in cases {
        assert_eq!(refusal(overrides), *expected, "{overrides:?}");
    }
}

#[test]
fn a_refused_override_leaves_the_machine_as_it_was() {
    let mut machine = vee07();
    machine.set("l2.ways", "3").unwrap_err();
    machine.set("l2.colour", "3").unwrap_err();
    assert_eq!(machine, vee07());
}

#[test]
fn caches_that_cannot_exist_are_refused() {
    assert_refused(&[
        (
            &[("l2.ways", "3")],
            "l2.size: must be a multiple of ways × line-size = 192 bytes, got 2MiB",
        ),
        (
            &[("l2.ways", "0")],
            "l2.ways: must be \"full\" or from 1 to the cache's 32768 lines, got 0",
        ),
        (
            &[("l1i.ways", "513")],
            "l1i.ways: must be \"full\" or from 1 to the cache's 512 lines, got 513",
        ),
        (
            &[("l1d.size", "0")],
            "l1d.size: must be a positive multiple of l1d.line-size = 64 bytes, got 0",
        ),
        (
            &[("l1d.size", "100")],
            "l1d.size: must be a positive multiple of l1d.line-size = 64 bytes, got 100",
        ),
        (&[("l2.size", "2GiB")], "l2.size: must be at most 1GiB with this line size, got 2GiB"),
        (
            &[("l2.line-size", "96")],
            "l2.line-size: must be a power of two from 8 to 4096 bytes, got 96",
        ),
        (
            &[("l2.line-size", "8KiB")],
            "l2.line-size: must be a power of two from 8 to 4096 bytes, got 8192",
        ),
        (
            &[("l1d.line-size", "4")],
            "l1d.line-size: must be a power of two from 8 to 4096 bytes, got 4",
        ),
    ]);
}

#[test]
fn partitions_are_of_the_first_64_ways_that_there_are() {
    assert_refused(&[
        (&[("l2.partition.dom0", "0-8")], "l2.partition.dom0: must be among ways 0 to 7, got 0-8"),
        (&[("l2.partition.dom0", "9")], "l2.partition.dom0: must be among ways 0 to 7, got 9"),
        (
            &[("l2.ways", "full"), ("l2.partition.dom0", "0")],
            "l2.ways: must be at most 64 where ways are partitioned, got 32768",
        ),
    ]);
    for wrong in ["", "-", "3-1", "64", "0-64", "0,,1", "a", "0-", "-1", "1.5"] {
        assert_eq!(
            refusal(&[("l2.partition.dom0", wrong)]),
            format!(
                "l2.partition.dom0: cannot be `{wrong}`: `{wrong}` is not a list of ways from 0 to \
                 63 such as \"0-3\" or \"0,2,5\""
            )
        );
    }
    let all_ways = [("l2.ways", "64"), ("l2.partition.dom0", "0-63")];
    assert!(vee07().with_overrides(all_ways).is_ok());
    let number = LEAST.replace("ways = 8, line", "partition = { dom0 = 7 }, ways = 8, line");
    assert!(Machine::from_toml(&number).is_ok(), "one way may be a number");
    let wrong = LEAST.replace("ways = 8, line", "partition = { dom0 = true }, ways = 8, line");
    let message = Machine::from_toml(&wrong).unwrap_err().to_string();
    assert!(message.contains("a list of ways such as \"0-3\" or \"0,2,5\""), "{message}");
}

#[test]
fn tlbs_that_cannot_exist_are_refused() {
    assert_refused(&[
        (&[("dtlb.entries", "0")], "dtlb.entries: must be from 1 to 1048576, got 0"),
        (&[("dtlb.entries", "2000000")], "dtlb.entries: must be from 1 to 1048576, got 2000000"),
        (
            &[("itlb.ways", "65")],
            "itlb.ways: must be \"full\" or from 1 to the TLB's 64 entries, got 65",
        ),
        (
            &[("itlb.ways", "0")],
            "itlb.ways: must be \"full\" or from 1 to the TLB's 64 entries, got 0",
        ),
        (&[("itlb.ways", "5")], "itlb.entries: must be a multiple of itlb.ways = 5, got 64"),
        (
            &[("dtlb.2m.entries", "10"), ("dtlb.2m.ways", "4")],
            "dtlb.2m.entries: must be a multiple of dtlb.2m.ways = 4, got 10",
        ),
        (
            &[("stlb.entries", "12"), ("stlb.ways", "8")],
            "stlb.entries: must be a multiple of stlb.ways = 8, got 12",
        ),
        (
            &[("dtlb.pages", "[\"2m\"]")],
            "dtlb.pages: must be a list with \"4k\" in it, got [\"2m\"]",
        ),
        (&[("dtlb.pages", "[]")], "dtlb.pages: must be a list with \"4k\" in it, got []"),
        (
            &[("dtlb.pages", "[\"4k\", \"1g\", \"4k\"]")],
            "dtlb.pages: must be a list of each size once, got [\"4k\", \"1g\", \"4k\"]",
        ),
        (
            &[("dtlb.pages", "[\"4k\", \"2m\"]"), ("dtlb.2m.entries", "4"), ("dtlb.2m.ways", "4")],
            "dtlb.pages: must be without the sizes that have arrays of their own, got [\"2m\"]",
        ),
    ]);
}

#[test]
fn levels_that_do_not_fit_together_are_refused() {
    let exclusive = ("l2.inclusion", "exclusive");
    assert_refused(&[
        (
            &[("l1.size", "1KiB"), ("l1.ways", "1"), ("l1.line-size", "64")],
            "l1: must be either one section [l1] or both [l1i] and [l1d], got all of them",
        ),
        (
            &[("l2i.size", "1KiB"), ("l2i.ways", "1"), ("l2i.line-size", "64")],
            "l2: must be either one section [l2] or both [l2i] and [l2d], got all of them",
        ),
        (
            &[("l2.line-size", "32")],
            "l2.line-size: must be at least l1i.line-size = 64 bytes, got 32",
        ),
        (
            &[("l1d.line-size", "128")],
            "l2.line-size: must be at least l1d.line-size = 128 bytes, got 64",
        ),
        (
            &[exclusive, ("l2.line-size", "128")],
            "l2.line-size: must be l1i.line-size = 64 bytes, as l2 is exclusive, got 128",
        ),
        (
            &[exclusive, ("l1d.write", "through")],
            "l1d.write: must be \"back\", as l2 is exclusive, got through",
        ),
        (
            &[exclusive, ("l2.prefetch", "next-line")],
            "l2.prefetch: must be \"none\", as l2 is exclusive, got a prefetcher",
        ),
        (
            &[exclusive, ("semantics", "cachegrind")],
            "l2.inclusion: must be none that is exclusive, as cachegrind semantics know none, got exclusive",
        ),
        (
            &[("l1d.inclusion", "inclusive")],
            "l1d.inclusion: must be left out: nothing is above the first level, got a value",
        ),
    ]);
    assert!(vee07().with_overrides([("l2.line-size", "128")]).is_ok());
    assert!(vee07().with_overrides([exclusive]).is_ok());
}

/// What is said of a file that is `LEAST` with one line more or less.
fn refused_file(text: &str) -> String {
    Machine::from_toml(text).unwrap_err().to_string()
}

#[test]
fn files_with_too_few_levels_or_levels_out_of_place_are_refused() {
    let cache = "{ size = \"64KiB\", ways = 8, line-size = 64 }";
    let without = |name: &str| {
        let lines = LEAST.lines().filter(|line| !line.starts_with(&format!("{name} ")));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        refused_file(&without("l1d")),
        "l1: must be both [l1i] and [l1d], or [l1], got one of two"
    );
    let no_first = without("l1d").replace("l1i =", "l2 =");
    assert_eq!(refused_file(&no_first), "l1: must be sections [l1i] and [l1d], or [l1], got none");
    let third = format!("{LEAST}l3 = {cache}");
    assert_eq!(refused_file(&third), "l3: must be behind a second level [l2], got no [l2]");
    let unified = without("l1d").replace("l1i =", "l1 =");
    assert!(Machine::from_toml(&unified).is_ok());
    let split_below = format!("{unified}\nl2i = {cache}\nl2d = {cache}");
    assert_eq!(refused_file(&split_below), "l2: must be unified below a unified level, got split");
    let walks = format!("{LEAST}walk.memory = \"l2\"");
    assert_eq!(
        refused_file(&walks),
        "walk.memory: must be \"l1d\" or \"off\" without a second level, got l2"
    );
    let without_tlb = refused_file(&without("dtlb"));
    assert!(without_tlb.contains("missing field `dtlb`"), "{without_tlb}");
    let without_name = refused_file(&without("name"));
    assert!(without_name.contains("missing field `name`"), "{without_name}");
}

#[test]
fn numbers_of_cpus_and_who_shares_what_must_agree() {
    let groups = |text| [("cpus", "4"), ("l2.shared", text)];
    let each_once = |got: &str| {
        format!("l2.shared: must be groups that name each CPU from 0 to 3 once, got {got}")
    };
    assert_eq!(refusal(&[("cpus", "0")]), "cpus: must be from 1 to 64, got 0");
    assert_eq!(refusal(&[("cpus", "65")]), "cpus: must be from 1 to 64, got 65");
    assert_eq!(refusal(&groups("[[0, 1], [2]]")), each_once("[[0, 1], [2]]"));
    assert_eq!(refusal(&groups("[[0, 1], [2, 2], [3]]")), each_once("[[0, 1], [2, 2], [3]]"));
    assert_eq!(refusal(&groups("[[0, 1], [2, 4]]")), each_once("[[0, 1], [2, 4]]"));
    let crossed = [
        ("cpus", "4"),
        ("l2.shared", "[[0, 1], [2, 3]]"),
        ("l3.size", "8MiB"),
        ("l3.ways", "16"),
        ("l3.line-size", "64"),
        ("l3.shared", "[[0, 2], [1, 3]]"),
    ];
    assert_eq!(
        refusal(&crossed),
        "l3.shared: must be groups that consist of whole groups of the level above, got \
         [[0, 2], [1, 3]]"
    );
    assert!(vee07().with_overrides(groups("[[0], [1, 2, 3]]")).is_ok());
    for key in ["l1d.index", "l2.tag"] {
        assert_eq!(
            refusal(&[("cpus", "2"), (key, "virtual")]),
            format!(
                "{key}: must be physical where there are several CPUs, which find each other's \
                 copies by physical address, got virtual"
            )
        );
    }
    let message = refusal(&[("l2.shared", "some")]);
    assert_eq!(
        message,
        "l2.shared: cannot be `some`: \"all\", \"private\", or groups of CPUs such as \
         [[0, 1], [2, 3]]"
    );
}

#[test]
fn walks_costs_and_seeds_have_limits() {
    for key in ["pml5-cache", "pml4-cache", "pdpte-cache", "pde-cache", "nested-cache"] {
        let key = format!("walk.{key}");
        let expected = format!("{key}: must be at most 65536 entries, got 65537");
        assert_eq!(refusal(&[(&key, "65537")]), expected);
        assert!(vee07().with_overrides([(key.as_str(), "65536")]).is_ok());
    }
    for (value, got) in [("-1", "-1"), ("1000000001", "1000000001"), ("nan", "NaN"), ("inf", "inf")]
    {
        for key in ["base-cpi", "l2", "l3", "memory", "stlb", "walk", "exit"] {
            let key = format!("cost.{key}");
            let costs = [("cost.base-cpi", "1"), ("cost.memory", "100"), (&key, value)];
            let expected = format!("{key}: must be from 0 to 1e9 cycles, got {got}");
            assert_eq!(refusal(&costs), expected);
        }
    }
    assert_eq!(
        refusal(&[("seed", "9223372036854775808")]),
        "seed: cannot be `9223372036854775808`: numbers go up to 9223372036854775807"
    );
    let json = serde_json::to_string(&vee07()).unwrap();
    let large = json.replace("\"seed\":1,", "\"seed\":9223372036854775808,");
    let message = serde_json::from_str::<Machine>(&large).unwrap_err().to_string();
    assert_eq!(
        message, "seed: must be at most 9223372036854775807, got 9223372036854775808",
        "TOML could not write it"
    );
}

#[test]
fn an_unknown_key_is_named_with_the_keys_there_are() {
    let l2 = "l2.inclusion, l2.index, l2.line-size, l2.partition, l2.prefetch, l2.replacement, \
              l2.shared, l2.size, l2.tag, l2.ways, l2.write, l2.write-allocate";
    let dtlb = "dtlb.1g, dtlb.2m, dtlb.entries, dtlb.pages, dtlb.replacement, dtlb.ways";
    let array = "dtlb.2m.entries, dtlb.2m.replacement, dtlb.2m.ways";
    let walk = "walk.memory, walk.nested-cache, walk.pde-cache, walk.pdpte-cache, \
                walk.pml4-cache, walk.pml5-cache";
    let cost = "cost.base-cpi, cost.exit, cost.l2, cost.l3, cost.memory, cost.stlb, cost.walk";
    let root = "cost, cpus, description, dtlb, event-delivery, itlb, l1, l1d, l1i, l2, l2d, l2i, \
                l3, name, seed, semantics, stlb, tags, vendor, walk";
    let partition = "l2.partition. with a layer or domain, as in l2.partition.dom0";
    for (key, known) in [
        ("l2.sets", l2),
        ("l2", l2),
        ("l2.", l2),
        ("l2.size.x", l2),
        ("l2.2m.size", l2),
        ("l2.partition", partition),
        ("l2.partition.", partition),
        ("l2.partition.dom0.x", partition),
        ("dtlb.sets", dtlb),
        ("dtlb.partition.dom0", dtlb),
        ("dtlb.2m", array),
        ("dtlb.2m.pages", array),
        ("dtlb.2m.2m.ways", array),
        ("walk.2m.entries", walk),
        ("cost.l1", cost),
        ("l9.size", root),
        ("", root),
        (".", root),
        ("name.x", root),
    ] {
        let expected = format!("{key}: no such key; known here are {known}");
        assert_eq!(refusal(&[(key, "1")]), expected);
    }
}

#[test]
fn a_section_that_is_added_in_part_is_named_with_what_it_lacks() {
    assert_refused(&[
        (&[("l3.size", "8MiB")], "l3: not complete without l3.ways, l3.line-size"),
        (&[("stlb.ways", "4")], "stlb: not complete without stlb.entries"),
        (&[("stlb.2m.ways", "4")], "stlb: not complete without stlb.entries, stlb.ways"),
        (&[("dtlb.1g.entries", "4")], "dtlb.1g: not complete without dtlb.1g.ways"),
        (&[("cost.l2", "4")], "cost: not complete without cost.base-cpi, cost.memory"),
        (&[("l3.partition.dom0", "0")], "l3: not complete without l3.size, l3.ways, l3.line-size"),
    ]);
}

#[test]
fn a_value_that_its_key_cannot_take_is_named_with_what_it_takes() {
    let size = "is not a size in bytes such as 64, \"32KiB\", \"2MiB\" or \"1GiB\"";
    let ways = "expected a number of ways or \"full\"";
    let cases = [
        ("l2.size", "4MB", format!("`4MB` {size}")),
        ("l2.size", "-1", format!("`-1` {size}")),
        ("l2.size", "20000000000GiB", "`20000000000GiB` does not fit in 64 bits".to_owned()),
        ("l1d.ways", "many", format!("invalid value: string \"many\", {ways}")),
        ("l1d.ways", "-8", format!("invalid value: integer `-8`, {ways}")),
        ("dtlb.entries", "1.5", "invalid type: floating point `1.5`, expected u64".to_owned()),
        ("l2.write-allocate", "no", "invalid type: string \"no\", expected a boolean".to_owned()),
        ("cpus", "-1", "invalid value: integer `-1`, expected u16".to_owned()),
        (
            "tags",
            "asid",
            "`asid` is not none, architectural, or any of global-hypervisor, vpid, pcid joined by +"
                .to_owned(),
        ),
        (
            "dtlb.pages",
            "[\"4k\", \"4m\"]",
            "unknown variant `4m`, expected one of `4k`, `2m`, `1g`".to_owned(),
        ),
        ("semantics", "paper", variants("paper", "per-reference split-demand-only split-writeback cachegrind first-byte")),
        ("event-delivery", "on", variants("on", "synthesised off")),
        ("vendor", "via", variants("via", "intel intel-p6 amd")),
        ("l2.replacement", "plru", variants("plru", "lru tree-plru fifo random srrip brrip drrip")),
        ("l2.index", "linear", variants("linear", "physical virtual")),
        ("l2.tag", "linear", variants("linear", "physical virtual")),
        ("l2.write", "around", variants("around", "back through")),
        ("l2.inclusion", "victim", variants("victim", "non-inclusive inclusive exclusive")),
        ("l2.prefetch", "stream", variants("stream", "none next-line stride")),
        ("walk.memory", "l3", variants("l3", "off l1d l2")),
    ];
    for (key, value, reason) in cases {
        assert_eq!(refusal(&[(key, value)]), format!("{key}: cannot be `{value}`: {reason}"));
    }
}

/// As serde words it.
fn variants(wrong: &str, known: &str) -> String {
    let known: Vec<_> = known.split(' ').map(|name| format!("`{name}`")).collect();
    match known.as_slice() {
        [one, other] => format!("unknown variant `{wrong}`, expected {one} or {other}"),
        _ => format!("unknown variant `{wrong}`, expected one of {}", known.join(", ")),
    }
}

#[test]
fn of_several_overrides_the_wrong_one_is_blamed() {
    let third = [("l3.size", "8MiB"), ("l3.ways", "16"), ("l3.line-size", "abc"), ("cpus", "2")];
    assert!(refusal(&third).starts_with("l3.line-size: cannot be `abc`: "));
    let twice = [("l2.size", "abc"), ("l2.ways", "16"), ("l2.size", "def")];
    assert!(refusal(&twice).starts_with("l2.size: cannot be `def`: "));
}

#[test]
fn a_file_with_an_unknown_key_is_refused_with_its_line() {
    let text = preset::source("vee07").unwrap().replace("[l2]\nsize", "[l2]\nbanks = 4\nsize");
    let line = 1 + text.lines().position(|line| line == "banks = 4").unwrap();
    let message = refused_file(&text);
    assert!(
        message.starts_with(&format!("machine description: TOML parse error at line {line}, ")),
        "{message}"
    );
    assert!(message.contains("unknown field `banks`, expected one of `size`, `ways`"), "{message}");
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let message = refused_file("name = \"a\"\nl1 = [[");
    assert!(message.starts_with("machine description: TOML parse error at line 2, "), "{message}");
}
