//! A replay against a naive one that expands every reference by hand, and what it charges to whom.

mod calls;
mod counts;
mod machine;
mod naive;
mod parts;
mod sampling;
mod stream;
mod sweeps;
mod timeline;

use proptest::prelude::*;
use strata_cachemodel::Machine;
use strata_sim::{Counters, Extent, Name, Nameless, Namer, Naming, Place, Profile};
use strata_symbols::Layer;

use naive::{Naive, machines, small};
use stream::{CODE, DATA, Step, batches, replay, steps};

fn vee07() -> Machine {
    Machine::load("vee07").expect("a preset")
}
proptest! {
    #[test]
    fn replay_counts_what_a_naive_expansion_counts(steps in steps(), size in 1..50usize) {
        for machine in machines() {
            let profile = replay(&machine, Nameless, batches(&steps, size), Extent::default());
            let mut naive = Naive::new(&machine);
            for step in &steps {
                naive.step(step);
            }
            prop_assert_eq!(profile.counts, naive.hierarchy.counts());
            prop_assert_eq!(profile.total.instructions, naive.instructions);
            prop_assert_eq!(profile.total.rep_iterations, naive.iterations);
        }
    }

    #[test]
    fn a_warm_up_and_what_follows_it_add_up_to_the_whole(steps in steps(), warm_up in 1..300u64) {
        let machine = small(&[]);
        let all = replay(&machine, Nameless, batches(&steps, 50), Extent::default());
        prop_assume!(warm_up < all.total.instructions);
        let late = replay(&machine, Nameless, batches(&steps, 50), Extent { warm_up, range: 0..u64::MAX });
        let early = Extent { range: 0..warm_up, warm_up: 0 };
        let early = replay(&machine, Nameless, batches(&steps, 50), early);
        prop_assert_eq!(early.total.instructions + late.total.instructions, all.total.instructions);
        prop_assert_eq!(early.total.l1d().misses + late.total.l1d().misses, all.total.l1d().misses);
        prop_assert_eq!(early.total.dtlb.misses + late.total.dtlb.misses, all.total.dtlb.misses);
    }
}
/// Names code by its page.
struct ByPage;

impl Namer for ByPage {
    fn name(&mut self, place: &Place<'_>) -> Naming {
        if matches!(place.layer, Layer::User(_)) {
            return Naming::Later;
        }
        Naming::Known(self.settle(place))
    }

    fn settle(&mut self, place: &Place<'_>) -> Option<Name> {
        let function = format!("page_{}", (place.address - CODE) >> 12);
        Some(Name { module: "test".into(), function, address: place.address & !0xfff })
    }
}

fn run(shape: usize) -> Step {
    Step::Run { shape, addresses: vec![DATA + 5 * 4096, DATA + 6 * 4096], iterations: 3 }
}

fn rows(profile: &Profile) -> Vec<(Layer, String, Counters)> {
    let name = |row: &strata_sim::Row| {
        row.function.name.as_ref().map_or("?".to_owned(), |name| name.function.clone())
    };
    profile.rows.iter().map(|row| (row.function.layer, name(row), row.counters)).collect()
}
