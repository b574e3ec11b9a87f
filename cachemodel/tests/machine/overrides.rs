//! Single values changed, as by `--set`.

use strata_cachemodel::{
    AddressKind, EventDelivery, Inclusion, Machine, PageSize, Prefetcher, Replacement, Semantics,
    Sharing, TagScheme, Vendor, WalkMemory, WayMask, WritePolicy,
};

use super::vee07;

fn with<const N: usize>(overrides: [(&str, &str); N]) -> Machine {
    vee07().with_overrides(overrides).unwrap()
}

#[test]
fn values_outside_sections_can_be_overridden() {
    let machine = with([
        ("name", "2007"),
        ("description", "mine"),
        ("semantics", "cachegrind"),
        ("event-delivery", "off"),
        ("tags", "vpid+global-hypervisor"),
        ("vendor", "amd"),
        ("cpus", "4"),
        ("seed", "9223372036854775807"),
    ]);
    assert_eq!((machine.name(), machine.description()), ("2007", "mine"));
    assert_eq!(machine.semantics(), Semantics::Cachegrind);
    assert_eq!(machine.event_delivery(), EventDelivery::Off);
    assert!(matches!(machine.tags(), TagScheme::WhatIf(what_if)
        if what_if.vpid && what_if.global_hypervisor && !what_if.pcid));
    assert_eq!(machine.vendor(), Vendor::Amd);
    assert_eq!((machine.cpus(), machine.seed()), (4, i64::MAX as u64));
}

#[test]
fn every_value_of_a_cache_can_be_overridden() {
    let machine = with([
        ("cpus", "4"),
        ("l2.size", "3MiB"),
        ("l2.ways", "24"),
        ("l2.line-size", "128"),
        ("l2.replacement", "drrip"),
        ("l2.write", "through"),
        ("l2.write-allocate", "false"),
        ("l2.inclusion", "inclusive"),
        ("l2.prefetch", "stride"),
        ("l2.shared", "[[0, 2], [1, 3]]"),
        ("l2.partition.dom0", "0-11"),
        ("l2.partition.dom1-kernel", "12-20,23"),
        ("l2.partition.hypervisor", "7"),
    ]);
    let l2 = machine.l2().unwrap().data();
    assert_eq!((l2.size_bytes(), l2.ways(), l2.line_bytes(), l2.sets()), (3 << 20, 24, 128, 1024));
    assert_eq!(l2.replacement(), Replacement::Drrip);
    assert_eq!((l2.write_policy(), l2.write_allocates()), (WritePolicy::Through, false));
    assert_eq!((l2.inclusion(), l2.prefetcher()), (Inclusion::Inclusive, Prefetcher::Stride));
    assert_eq!(*l2.sharing(), Sharing::Groups(vec![vec![0, 2], vec![1, 3]]));
    let partition: Vec<_> =
        l2.partition().iter().map(|(who, ways)| (who.as_str(), *ways)).collect();
    let expected = [
        ("dom0", WayMask(0xfff)),
        ("dom1-kernel", WayMask(0x9f_f000)),
        ("hypervisor", WayMask(0x80)),
    ];
    assert_eq!(partition, expected);
    let virtual_l2 = with([("l2.index", "virtual"), ("l2.tag", "virtual")]);
    let l2 = virtual_l2.l2().unwrap().data();
    assert_eq!((l2.index(), l2.tag()), (AddressKind::Virtual, AddressKind::Virtual));
    let private = with([("l2.shared", "private"), ("l1d.ways", "full")]);
    assert_eq!(*private.l2().unwrap().data().sharing(), Sharing::Private);
    assert_eq!((private.l1d().ways(), private.l1d().sets()), (512, 1));
}

#[test]
fn every_replacement_policy_can_be_named() {
    for policy in Replacement::ALL {
        let machine = with([("l1d.replacement", &policy.to_string())]);
        assert_eq!(machine.l1d().replacement(), policy);
    }
}

#[test]
fn every_value_of_a_tlb_can_be_overridden() {
    let machine = with([
        ("dtlb.entries", "1536"),
        ("dtlb.ways", "12"),
        ("dtlb.replacement", "fifo"),
        ("dtlb.pages", "[\"4k\", \"2m\"]"),
        ("dtlb.1g.entries", "16"),
        ("dtlb.1g.ways", "4"),
        ("dtlb.1g.replacement", "srrip"),
        ("itlb.pages", "[\"4k\"]"),
    ]);
    let dtlb = machine.dtlb();
    assert_eq!((dtlb.entries(), dtlb.ways(), dtlb.sets()), (1536, 12, 128));
    let [shared, huge] = dtlb.arrays() else { panic!("not two arrays: {dtlb}") };
    assert_eq!((shared.replacement(), huge.replacement()), (Replacement::Fifo, Replacement::Srrip));
    assert_eq!((huge.geometry().entries(), huge.geometry().sets()), (16, 4));
    assert_eq!(PageSize::ALL.map(|size| shared.holds(size)), [true, true, false]);
    assert_eq!(PageSize::ALL.map(|size| huge.holds(size)), [false, false, true]);
    assert_eq!(machine.itlb().array_of(PageSize::Size1G), (0, PageSize::Size4K));
}

#[test]
fn sections_that_a_machine_lacks_can_be_added() {
    let machine = with([
        ("l3.line-size", "64"),
        ("l3.size", "11MiB"),
        ("l3.ways", "11"),
        ("stlb.ways", "full"),
        ("stlb.entries", "512"),
        ("walk.memory", "l2"),
        ("walk.pml5-cache", "2"),
        ("walk.pml4-cache", "4"),
        ("walk.pdpte-cache", "8"),
        ("walk.pde-cache", "32"),
        ("walk.nested-cache", "16"),
        ("cost.memory", "200"),
        ("cost.base-cpi", "0.5"),
        ("cost.exit", "1e3"),
    ]);
    assert_eq!(machine.l3().unwrap().data().sets(), 16384);
    assert_eq!(machine.stlb().unwrap().to_string(), "512 entries, fully associative");
    let walk = machine.walk();
    assert_eq!(walk.memory, WalkMemory::L2);
    let caches =
        [walk.pml5_cache, walk.pml4_cache, walk.pdpte_cache, walk.pde_cache, walk.nested_cache];
    assert_eq!(caches, [2, 4, 8, 32, 16]);
    let cost = machine.cost().unwrap();
    assert_eq!((cost.base_cpi, cost.memory, cost.exit, cost.l2), (0.5, 200.0, 1000.0, 0.0));
}

#[test]
fn a_fully_associative_tlb_stays_so_when_its_size_changes() {
    let machine = with([("itlb.entries", "1536")]);
    assert_eq!((machine.itlb().ways(), machine.itlb().sets()), (1536, 1));
}

#[test]
fn overrides_that_are_possible_only_together_may_come_in_any_order() {
    let (size, ways) = (("l2.size", "3MiB"), ("l2.ways", "12"));
    let one = with([size, ways]);
    assert_eq!(one, with([ways, size]));
    assert_eq!(one.l2().unwrap().data().sets(), 4096);
}

#[test]
fn the_last_of_several_overrides_of_a_key_holds() {
    assert_eq!(with([("l2.size", "nonsense"), ("l2.size", "4MiB")]), with([("l2.size", "4MiB")]));
}

#[test]
fn no_override_changes_nothing() {
    assert_eq!(with([]), vee07());
}
