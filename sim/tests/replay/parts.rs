//! Classes of misses, the data side, exits and lacks, each against the rows.

use crate::naive::{machines, small};
use crate::stream::{DATA, Step, batches, initial, steps};
use crate::{ByPage, run, vee07};
use proptest::prelude::*;
use std::collections::BTreeMap;
use strata_cachemodel::Machine;
use strata_sim::{DataGrain, Extent, Nameless, Namer, Profile, Replay};
use strata_symbols::{DomainId, Layer};
use strata_workloads::trace::{Batch, Event, Lacks, ShapeId, SpaceId};

/// A replay with more asked of it.
fn asked<N: Namer>(
    machine: &Machine,
    namer: N,
    batches: Vec<Batch>,
    extent: Extent,
    ask: impl FnOnce(&mut Replay<N>),
) -> Profile {
    let mut replay = Replay::new(machine, namer, initial(), extent);
    ask(&mut replay);
    for mut batch in batches {
        replay.batch(&mut batch);
    }
    replay.finish().expect("the laws hold").0
}

proptest! {
    /// That classes and addresses sum to the misses is checked by each replay.
    #[test]
    fn classes_and_addresses_of_misses_change_no_count(steps in steps(), warm_up in 0..40u64) {
        for machine in machines() {
            let run = |ask: fn(&mut Replay<ByPage>)| {
                let extent = Extent { range: 0..u64::MAX, warm_up };
                let mut replay = Replay::new(&machine, ByPage, initial(), extent);
                ask(&mut replay);
                for mut batch in batches(&steps, 50) {
                    replay.batch(&mut batch);
                }
                replay.finish().map(|(profile, _)| profile)
            };
            let Ok(plain) = run(|_| {}) else { continue };
            let classified = run(Replay::classify).expect("the same stream");
            let by_page = run(|replay| replay.watch_data(DataGrain::Page)).expect("the same");
            let by_object = run(|replay| replay.watch_data(DataGrain::Object)).expect("the same");
            for other in [&classified, &by_page, &by_object] {
                prop_assert_eq!(&other.counts, &plain.counts);
                prop_assert_eq!(&other.rows, &plain.rows);
            }
            let total = |profile: &Profile| profile.data.as_ref().map(|data| data.total());
            prop_assert_eq!(total(&by_page), total(&by_object));
        }
    }
}

#[test]
fn a_line_that_another_layer_pushed_out_is_that_layers_doing() {
    // One way: the hypervisor's data and the program's meet in it.
    let machine = small(&[("l1d.size", "64"), ("l1d.ways", "1")]);
    let at = |shape, page: u64| Step::Run {
        shape,
        addresses: vec![DATA + page * 4096; 2],
        iterations: 0,
    };
    let steps = [at(0, 5), at(2, 6), at(0, 5)];
    let profile = asked(&machine, ByPage, batches(&steps, 50), Extent::default(), Replay::classify);
    let classes = profile.classes.expect("asked for");
    let own = &classes.data[0][&Layer::Hypervisor];
    let user = Layer::User(DomainId(1));
    assert_eq!((own.compulsory, &own.inflicted), (1, &BTreeMap::from([(user, 1)])));
    assert_eq!(classes.data[0][&user].compulsory, 1);
    assert_eq!(classes.evictions[0], [((Layer::Hypervisor, user), 1)].into());
}

#[test]
fn a_line_that_a_layer_pushed_out_itself_is_on_the_diagonal() {
    let machine = small(&[("l1d.size", "64"), ("l1d.ways", "1")]);
    let steps = [5, 6, 5].map(|page| Step::Run {
        shape: 0,
        addresses: vec![DATA + page * 4096; 2],
        iterations: 0,
    });
    let profile = asked(&machine, ByPage, batches(&steps, 50), Extent::default(), Replay::classify);
    let classes = profile.classes.expect("asked for");
    let own = (Layer::Hypervisor, Layer::Hypervisor);
    assert_eq!(classes.evictions[0], [(own, 1)].into());
    assert_eq!(classes.data[0][&Layer::Hypervisor].inflicted_total(), 0);
}

#[test]
fn a_reference_to_two_evicted_lines_is_one_miss_and_two_lines() {
    let machine = small(&[("l1d.size", "128"), ("l1d.ways", "1")]);
    let across = |shape, page: u64| Step::Run {
        shape,
        addresses: vec![DATA + page * 4096 + 60; 2],
        iterations: 0,
    };
    let steps = [across(0, 5), across(2, 6), across(0, 5)];
    let profile = asked(&machine, ByPage, batches(&steps, 50), Extent::default(), Replay::classify);
    let classes = profile.classes.expect("asked for");
    let pair = (Layer::Hypervisor, Layer::User(DomainId(1)));
    assert_eq!(classes.evictions[0], [(pair, 2)].into());
    assert_eq!(classes.data[0][&Layer::Hypervisor].inflicted_total(), 1);
}

/// Steps whose references touch one line each.
fn steps_by_line() -> impl Strategy<Value = Vec<Step>> {
    steps().prop_map(|mut steps| {
        for step in &mut steps {
            if let Step::Run { shape, addresses, .. } = step {
                // The code of the others crosses lines.
                *shape = [0, 2, 3, 5, 6, 7][*shape % 6];
                // At most 8 bytes each.
                addresses.iter_mut().for_each(|address| *address &= !7);
            }
        }
        steps
    })
}

proptest! {
    #[test]
    fn evictions_by_others_are_what_was_inflicted_where_each_reference_touches_one_line(
        steps in steps_by_line(),
        warm_up in 0..40u64,
    ) {
        for machine in [small(&[]), small(&[("l1d.size", "128"), ("l1d.ways", "1")])] {
            let mut replay =
                Replay::new(&machine, ByPage, initial(), Extent { range: 0..u64::MAX, warm_up });
            replay.classify();
            for mut batch in batches(&steps, 50) {
                replay.batch(&mut batch);
            }
            let Ok((profile, _)) = replay.finish() else { continue };
            let classes = profile.classes.expect("asked for");
            for (level, matrix) in classes.evictions.iter().enumerate() {
                let mut others: BTreeMap<Layer, BTreeMap<Layer, u64>> = BTreeMap::new();
                let mut own: BTreeMap<Layer, u64> = BTreeMap::new();
                for (&(missed, by), &misses) in matrix {
                    if missed == by {
                        own.insert(missed, misses);
                    } else {
                        others.entry(missed).or_default().insert(by, misses);
                    }
                }
                for (layer, misses) in &classes.level(level) {
                    let by_others = others.remove(layer).unwrap_or_default();
                    prop_assert_eq!(&misses.inflicted, &by_others, "level {}", level + 1);
                    let own = own.remove(layer).unwrap_or(0);
                    prop_assert_eq!(misses.conflict + misses.capacity, own, "level {}", level + 1);
                }
                prop_assert!(others.is_empty() && own.is_empty(), "misses of nobody");
            }
        }
    }

    #[test]
    fn evictions_before_and_after_a_warm_up_add_up_to_all(steps in steps(), warm_up in 1..300u64) {
        let machine = small(&[]);
        let run = |range, warm_up| {
            let mut replay = Replay::new(&machine, ByPage, initial(), Extent { range, warm_up });
            replay.classify();
            for mut batch in batches(&steps, 50) {
                replay.batch(&mut batch);
            }
            let profile = replay.finish().expect("the laws hold").0;
            (profile.total.instructions, profile.classes.expect("asked for").evictions)
        };
        let (instructions, all) = run(0..u64::MAX, 0);
        prop_assume!(warm_up < instructions);
        let (_, mut sum) = run(0..warm_up, 0);
        let (_, late) = run(0..u64::MAX, warm_up);
        for (sum, late) in sum.iter_mut().zip(late) {
            for (pair, misses) in late {
                *sum.entry(pair).or_default() += misses;
            }
        }
        prop_assert_eq!(sum, all);
    }
}

#[test]
fn a_translation_dropped_by_a_cr3_write_is_a_flush_induced_miss() {
    let steps = [run(0), Step::Cr3(true), Step::Cr3(false), run(0)];
    let profile = asked(&vee07(), ByPage, batches(&steps, 50), Extent::default(), Replay::classify);
    let classes = profile.classes.expect("asked for");
    let dtlb = &classes.dtlb[&Layer::Hypervisor];
    // Of the two pages one is global.
    assert_eq!((dtlb.cold, dtlb.flush_induced_total(), dtlb.total()), (2, 1, 3));
}

/// Knows one object, on the sixth page of data.
struct OneObject;

impl Namer for OneObject {
    fn name(&mut self, _: &strata_sim::Place<'_>) -> strata_sim::Naming {
        strata_sim::Naming::Known(None)
    }

    fn name_data(
        &self,
        owner: Layer,
        _: Option<SpaceId>,
        address: u64,
    ) -> Option<strata_sim::Name> {
        let start = DATA + 6 * 4096;
        (owner == Layer::User(DomainId(1)) && (start..start + 4096).contains(&address)).then(|| {
            strata_sim::Name { module: "m".into(), function: "buffer".into(), address: start }
        })
    }
}

#[test]
fn data_misses_are_told_by_page_and_address_space_or_by_object() {
    let steps = [run(0), Step::Cr3(true), run(0)];
    let rows = |grain| {
        let ask = |replay: &mut Replay<OneObject>| replay.watch_data(grain);
        let profile = asked(&vee07(), OneObject, batches(&steps, 50), Extent::default(), ask);
        profile.data.expect("asked for").rows
    };
    let pages: Vec<_> = rows(DataGrain::Page)
        .iter()
        .map(|row| (row.root, row.address.map(|at| (at - DATA) >> 12), row.misses.levels[0]))
        .collect();
    let expected = [(0x1000, 5), (0x1000, 6), (0x2000, 5), (0x2000, 6)];
    assert_eq!(pages, expected.map(|(root, page)| (Some(root), Some(page), 1)));
    let objects: Vec<_> = rows(DataGrain::Object)
        .into_iter()
        .map(|row| (row.object.map(|object| object.function), row.misses.levels[0]))
        .collect();
    let buffer = || Some("buffer".to_owned());
    assert_eq!(objects, [(None, 2), (buffer(), 1), (buffer(), 1)]);
}

#[test]
fn an_exit_is_charged_to_the_function_that_its_cpu_ran_last() {
    let enter = || Event::VmRun { vmcb: 0, asid: 1, tlb_control: 0, guest_cr3: 0, nested_cr3: 0 };
    let exit = || Event::VmExit { code: 0, info1: 0, info2: 0 };
    let mut stream = batches(&[run(0)], 50);
    let batch = stream.last_mut().expect("not empty");
    batch.event(enter());
    batch.shapes.push(ShapeId(2));
    batch.addresses.extend([DATA + 5 * 4096; 2]);
    batch.event(Event::Cpu { number: 1 });
    batch.event(Event::Cpu { number: 0 });
    batch.event(exit());
    let profile = asked(&vee07(), ByPage, stream, Extent::default(), |_| {});
    let exits: Vec<_> =
        profile.rows.iter().map(|row| (row.function.layer, row.counters.exits)).collect();
    assert_eq!(exits, [(Layer::Hypervisor, 0), (Layer::User(DomainId(1)), 1)]);
    assert_eq!(profile.counts.flushes.guest_exits, 1);
}

#[test]
fn without_privilege_levels_every_layer_is_unknown() {
    let lacks = Lacks { privilege: true, ..Lacks::NOTHING };
    let stream = batches(&[run(0), run(2)], 50);
    let profile =
        asked(&vee07(), Nameless, stream, Extent::default(), |replay| replay.set_lacks(lacks));
    assert!(profile.rows.iter().all(|row| row.function.layer == Layer::Unknown));
}
