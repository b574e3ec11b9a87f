//! Random machines: small, so that everything collides, and of every kind.

use proptest::prelude::*;
use strata_cachemodel::Machine;

/// Rules of a cache that do not depend on those of its neighbours.
#[derive(Debug, Clone)]
struct Rules {
    sets: u64,
    ways: u64,
    /// Line size over the least possible one, as a power of two.
    line: u32,
    replacement: &'static str,
    virtual_index: bool,
    virtual_tag: bool,
    through: bool,
    allocates: bool,
    inclusion: usize,
    prefetch: usize,
    sharing: usize,
    partition: Vec<(usize, u64)>,
}

pub(crate) const POLICIES: [&str; 7] =
    ["lru", "tree-plru", "fifo", "random", "srrip", "brrip", "drrip"];
const SEMANTICS: [&str; 5] =
    ["per-reference", "split-demand-only", "split-writeback", "cachegrind", "first-byte"];
pub(crate) const VENDORS: [&str; 3] = ["intel", "amd", "intel-p6"];
pub(crate) const SCHEMES: [&str; 9] = [
    "architectural",
    "none",
    "global-hypervisor",
    "vpid",
    "pcid",
    "global-hypervisor+vpid",
    "global-hypervisor+pcid",
    "vpid+pcid",
    "global-hypervisor+vpid+pcid",
];

/// Layers and domains, by the number of the actor.
pub(crate) const ACTORS: [(&str, &str); 4] = [
    ("hypervisor", "hypervisor"),
    ("dom0-kernel", "dom0"),
    ("dom0-user", "dom0"),
    ("dom1-kernel", "dom1"),
];
const PARTITIONED: [&str; 4] = ["dom0", "dom0-kernel", "hypervisor", "dom1-kernel"];

fn one_of(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(choices)
}

fn seldom() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.2)
}

fn rules() -> impl Strategy<Value = Rules> {
    let shape = (
        prop_oneof![8 => 1u64..8, 1 => 16u64..40],
        prop_oneof![4 => 1u64..6, 1 => Just(8u64), 1 => Just(16u64)],
        prop_oneof![3 => Just(0u32), 1 => 1u32..3],
    );
    let partition = prop_oneof![
        4 => Just(Vec::new()),
        1 => prop::collection::vec((0..PARTITIONED.len(), any::<u64>()), 1..4),
    ];
    let choices = (
        prop_oneof![4 => Just(0usize), 2 => Just(1usize), 2 => Just(2usize)],
        prop_oneof![4 => Just(0usize), 1 => Just(1usize), 1 => Just(2usize)],
        0usize..6,
    );
    let addresses = (seldom(), seldom());
    let writes = (seldom(), prop::bool::weighted(0.8));
    (shape, one_of(&POLICIES), addresses, writes, choices, partition).prop_map(
        |(shape, replacement, addresses, writes, choices, partition)| Rules {
            sets: shape.0,
            ways: shape.1,
            line: shape.2,
            replacement,
            virtual_index: addresses.0,
            virtual_tag: addresses.1,
            through: writes.0,
            allocates: writes.1,
            inclusion: choices.0,
            prefetch: choices.1,
            sharing: choices.2,
            partition,
        },
    )
}

/// A cache as it is decided on, while those below it are not.
#[derive(Debug, Clone)]
struct Decided {
    name: String,
    rules: Rules,
    line_bytes: u64,
    inclusion: &'static str,
}

/// A cache below `upper`; at level 1 below none.
fn decide(name: &str, rules: &Rules, upper: &[&mut Decided]) -> Decided {
    let least = upper.iter().map(|upper| upper.line_bytes).max().unwrap_or(8);
    let most = upper.iter().map(|upper| upper.line_bytes).min().unwrap_or(8);
    let inclusion = match rules.inclusion {
        _ if upper.is_empty() => "non-inclusive",
        2 if least == most => "exclusive",
        1 => "inclusive",
        _ => "non-inclusive",
    };
    let line_bytes = if inclusion == "exclusive" { least } else { least << rules.line };
    Decided { name: name.to_owned(), rules: rules.clone(), line_bytes, inclusion }
}

/// Groups that nest: those of level 3 are whole groups of level 2.
fn sharing(level: usize, choice: usize, cpus: u16) -> &'static str {
    let pairs = ["[[2, 3], [0, 1]]", "[[0, 1], [2, 3]]"];
    match (level, choice, cpus) {
        (2, 0..=2, _) | (3, 0, _) => "\"private\"",
        (2, 3, 3) | (3, 1, 3) => "[[0, 1], [2]]",
        (2, 3, 4) => pairs[0],
        (3, 1 | 3, 4) => pairs[1],
        _ => "\"all\"",
    }
}

fn section(cache: &Decided, level: usize, cpus: u16, shared: usize) -> String {
    let Decided { name, rules, line_bytes, inclusion } = cache;
    let kind = |is_virtual| if is_virtual { "virtual" } else { "physical" };
    let prefetch = if *inclusion == "exclusive" { 0 } else { rules.prefetch };
    let mut text = format!(
        "[{name}]\nsize = {}\nways = {}\nline-size = {line_bytes}\nreplacement = \"{}\"\n\
         index = \"{}\"\ntag = \"{}\"\nwrite = \"{}\"\nwrite-allocate = {}\nprefetch = \"{}\"\n\
         inclusion = \"{inclusion}\"\n",
        rules.sets * rules.ways * line_bytes,
        rules.ways,
        rules.replacement,
        kind(rules.virtual_index),
        kind(rules.virtual_tag),
        if rules.through { "through" } else { "back" },
        rules.allocates,
        ["none", "next-line", "stride"][prefetch],
    );
    if level > 1 {
        text += &format!("shared = {}\n", sharing(level, shared, cpus));
    }
    if !rules.partition.is_empty() {
        text += &format!("[{name}.partition]\n");
    }
    for (which, who) in PARTITIONED.iter().enumerate() {
        let Some((_, mask)) = rules.partition.iter().find(|(named, _)| *named == which) else {
            continue;
        };
        let mut ways: Vec<u64> = (0..rules.ways).filter(|way| mask >> way & 1 == 1).collect();
        if ways.is_empty() {
            ways.push(mask % rules.ways);
        }
        let ways: Vec<_> = ways.iter().map(u64::to_string).collect();
        text += &format!("{who} = \"{}\"\n", ways.join(","));
    }
    text
}

/// Which caches there are at each level, and their rules.
fn caches() -> impl Strategy<Value = (u16, String)> {
    let cpus = prop_oneof![3 => Just(1u16), 2 => 2u16..5];
    let splits = (prop::bool::weighted(0.8), prop::bool::weighted(0.2));
    (cpus, 1usize..4, splits, prop::collection::vec(rules(), 5)).prop_map(
        |(cpus, levels, (split_first, split_second), rules)| {
            let mut first = if split_first {
                vec![decide("l1i", &rules[0], &[]), decide("l1d", &rules[1], &[])]
            } else {
                vec![decide("l1", &rules[0], &[])]
            };
            let mut second = Vec::new();
            let mut third = Vec::new();
            if levels > 1 && split_first && split_second {
                let (instruction, data) = first.split_at_mut(1);
                second.push(decide("l2i", &rules[2], &[&mut instruction[0]]));
                second.push(decide("l2d", &rules[3], &[&mut data[0]]));
            } else if levels > 1 {
                second.push(decide("l2", &rules[2], &first.iter_mut().collect::<Vec<_>>()));
            }
            if levels > 2 {
                third.push(decide("l3", &rules[4], &second.iter_mut().collect::<Vec<_>>()));
            }
            write_back_above_exclusive(&mut first, &second);
            write_back_above_exclusive(&mut second, &third);
            let shared = rules[2].sharing;
            let mut text = String::new();
            for (level, caches) in [first, second, third].iter().enumerate() {
                for cache in caches {
                    text += &section(cache, level + 1, cpus, shared);
                }
            }
            (cpus, text)
        },
    )
}

fn write_back_above_exclusive(upper: &mut [Decided], lower: &[Decided]) {
    for lower in lower.iter().filter(|lower| lower.inclusion == "exclusive") {
        for upper in upper.iter_mut() {
            let side = lower.name.as_bytes()[lower.name.len() - 1];
            if !side.is_ascii_alphabetic() || upper.name.as_bytes().ends_with(&[side]) {
                upper.rules.through = false;
            }
        }
    }
}

fn tlb(name: &'static str) -> impl Strategy<Value = String> {
    let array = || (1u64..5, 1u64..6, one_of(&POLICIES));
    let pages = prop_oneof![
        2 => Just("\"4k\""),
        2 => Just("\"4k\", \"2m\""),
        3 => Just("\"4k\", \"2m\", \"1g\""),
        1 => Just("\"4k\", \"1g\""),
    ];
    (array(), pages, prop::option::of(array()), prop::option::of(array())).prop_map(
        move |((sets, ways, replacement), pages, large, huge)| {
            let array = |sets: u64, ways: u64, replacement: &str| {
                format!(
                    "entries = {}\nways = {ways}\nreplacement = \"{replacement}\"\n",
                    sets * ways
                )
            };
            let mut text = format!("[{name}]\n{}", array(sets, ways, replacement));
            text += &format!("pages = [{pages}]\n");
            for (size, own) in [("2m", large), ("1g", huge)] {
                if let (Some((sets, ways, replacement)), false) = (own, pages.contains(size)) {
                    text += &format!("[{name}.{size}]\n{}", array(sets, ways, replacement));
                }
            }
            text
        },
    )
}

fn walk(levels: usize) -> impl Strategy<Value = String> {
    let size = || prop_oneof![Just(0u32), 1u32..4];
    let memory = prop_oneof![2 => Just("off"), 2 => Just("l1d"), 1 => Just("l2")];
    (memory, size(), size(), size(), size(), size()).prop_map(
        move |(memory, pml5, pml4, pdpte, pde, nested)| {
            let memory = if levels < 2 && memory == "l2" { "l1d" } else { memory };
            format!(
                "[walk]\nmemory = \"{memory}\"\npml5-cache = {pml5}\npml4-cache = {pml4}\n\
                 pdpte-cache = {pdpte}\npde-cache = {pde}\nnested-cache = {nested}\n"
            )
        },
    )
}

/// Any machine.
pub(crate) fn machines() -> impl Strategy<Value = Machine> {
    let tlbs = (tlb("itlb"), tlb("dtlb"), prop::option::of(tlb("stlb")));
    let scheme = prop_oneof![1 => Just(SCHEMES[0]), 2 => one_of(&SCHEMES)];
    let head =
        (one_of(&SEMANTICS), scheme, one_of(&VENDORS), prop_oneof![Just(1u64), any::<u64>()]);
    (head, caches(), tlbs, walk(2)).prop_map(
        |((semantics, scheme, vendor, seed), (cpus, caches), (itlb, dtlb, stlb), walk)| {
            let walk = match caches.contains("[l2") {
                true => walk,
                false => walk.replace("\"l2\"", "\"l1d\""),
            };
            let caches = match semantics {
                "cachegrind" => caches.replace("\"exclusive\"", "\"inclusive\""),
                _ => caches,
            };
            // Synonyms in the caches of several CPUs are refused.
            let caches = if cpus > 1 { caches.replace("virtual", "physical") } else { caches };
            // TOML's integers end at 2^63.
            let seed = seed >> 1;
            let text = format!(
                "name = \"random\"\nsemantics = \"{semantics}\"\ntags = \"{scheme}\"\n\
                 vendor = \"{vendor}\"\ncpus = {cpus}\nseed = {seed}\n{caches}{itlb}{dtlb}{}{walk}",
                stlb.unwrap_or_default(),
            );
            Machine::from_toml(&text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
        },
    )
}
