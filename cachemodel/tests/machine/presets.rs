//! The machines that come with the crate, and the page that lists them.

use strata_cachemodel::{
    ByteSize, CacheSpec, EventDelivery, Hierarchy, Identity, Inclusion, Level, Machine,
    Replacement, Semantics, TagScheme, TlbSpec, WritePolicy, preset,
};

use super::{ref64, vee07};

#[test]
fn vee07_is_the_machine_of_the_paper() {
    let machine = vee07();
    for l1 in [machine.l1i(), machine.l1d()] {
        assert_eq!((l1.size_bytes(), l1.ways(), l1.line_bytes(), l1.sets()), (32 << 10, 8, 64, 64));
    }
    let l2 = machine.l2().unwrap();
    assert!(l2.is_unified());
    assert_eq!((l2.data().size_bytes(), l2.data().ways()), (2 << 20, 8));
    for tlb in [machine.itlb(), machine.dtlb()] {
        assert_eq!((tlb.entries(), tlb.ways(), tlb.sets()), (64, 64, 1));
    }
    assert_eq!(machine.semantics(), Semantics::PerReference);
    assert_eq!(machine.event_delivery(), EventDelivery::Synthesised);
    assert_eq!(machine.tags(), TagScheme::Architectural);
}

#[test]
fn vee07_is_the_default_preset_and_names_are_unique() {
    let names: Vec<_> = preset::names().collect();
    assert_eq!(names[..2], ["vee07", "peer"]);
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
}

#[test]
fn every_real_machine_tells_its_sources_and_what_things_cost() {
    let real = preset::names().filter(|name| !["vee07", "peer"].contains(name));
    for name in real {
        let machine = preset::named(name).unwrap();
        assert!(machine.cost().is_some() && !machine.description().is_empty(), "{name}");
        assert_eq!(machine.tags(), TagScheme::Architectural, "{name}");
        let text = preset::source(name).unwrap();
        assert!(text.contains("# Sources, where a line names no other:"), "{name}");
    }
}

#[test]
fn every_preset_replays_a_real_program_and_keeps_the_laws() {
    let references = ref64::read(ref64::FIRST_MILLION);
    for name in preset::names() {
        let machine =
            preset::named(name).unwrap().with_overrides([("walk.memory", "l1d")]).unwrap();
        let mut hierarchy = Hierarchy::new(&machine);
        for reference in &references[..200_000] {
            hierarchy.access(reference.kind, reference.address, reference.bytes, &mut Identity);
        }
        hierarchy.check_laws().unwrap();
        let counts = hierarchy.counts();
        let levels = [&counts.l1, &counts.l2, &counts.l3];
        let misses = levels.map(|level| level.fetches.misses + level.reads.misses);
        assert!(misses[0] > 0 && misses[0] < 20_000, "{name}: {misses:?}");
        assert!(misses[1] <= misses[0] && misses[2] <= misses[1], "{name}: {misses:?}");
        assert_eq!(misses[2] > 0, machine.l3().is_some(), "{name}: {misses:?}");
    }
}

/// Lines for a level are of 64 bytes unless it says otherwise.
fn cache(cache: &CacheSpec) -> String {
    let mut text = format!("{}, {} ways", ByteSize(cache.size_bytes()), cache.ways());
    if cache.line_bytes() != 64 {
        text += &format!(", {}-byte lines", cache.line_bytes());
    }
    if cache.replacement() != Replacement::Lru {
        text += &format!(", {}", cache.replacement());
    }
    if cache.write_policy() == WritePolicy::Through {
        text += ", write-through";
    }
    text + match cache.inclusion() {
        Inclusion::NonInclusive => "",
        Inclusion::Inclusive => ", inclusive",
        Inclusion::Exclusive => ", exclusive",
    }
}

fn level(level: Option<&Level>) -> String {
    level.map_or_else(|| "–".to_owned(), |level| cache(level.data()))
}

fn tlb(tlb: &TlbSpec) -> String {
    let arrays: Vec<_> = tlb
        .to_string()
        .split("; ")
        .map(|array| {
            let (pages, rest) = array.split_once(": ").unwrap_or(("all", array));
            let entries = rest.split(' ').next().unwrap();
            (pages.to_owned(), entries.to_owned())
        })
        .collect();
    let texts: Vec<_> = tlb
        .arrays()
        .iter()
        .zip(arrays)
        .map(|(array, (pages, entries))| match array.geometry().sets() {
            1 => format!("{pages}: {entries} full"),
            _ => format!("{pages}: {entries}, {} ways", array.geometry().ways()),
        })
        .collect();
    texts.join("; ")
}

fn row(machine: &Machine) -> [String; 2] {
    let name = machine.name();
    [
        format!(
            "| `{name}` | {} | {} | {} | {} |",
            cache(machine.l1i()),
            cache(machine.l1d()),
            level(machine.l2()),
            level(machine.l3())
        ),
        format!(
            "| `{name}` | {} | {} | {} |",
            tlb(machine.itlb()),
            tlb(machine.dtlb()),
            machine.stlb().map_or_else(|| "–".to_owned(), tlb)
        ),
    ]
}

#[test]
fn the_page_on_machines_lists_every_preset_as_it_is() {
    let page = include_str!("../../../docs/machines.md");
    let rows: Vec<_> = preset::names().map(|name| row(&preset::named(name).unwrap())).collect();
    let caches = ["| machine | L1I | L1D | L2 | L3 |", "|---|---|---|---|---|"];
    let tlbs = ["| machine | ITLB | DTLB | STLB |", "|---|---|---|---|"];
    for (table, head) in [caches, tlbs].iter().enumerate() {
        let mut expected = head.map(str::to_owned).to_vec();
        expected.extend(rows.iter().map(|row| row[table].clone()));
        let expected = expected.join("\n") + "\n";
        assert!(page.contains(&expected), "docs/machines.md should have this table:\n{expected}");
    }
    for name in preset::names() {
        let described = format!("`{name}`: {}", preset::named(name).unwrap().description());
        assert!(page.contains(&described), "docs/machines.md should have: {described}");
    }
}
