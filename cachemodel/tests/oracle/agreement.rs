//! The fast models do what the oracle does: after every reference, and in every count.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{
    Config, RngAlgorithm, TestCaseError, TestCaseResult, TestError, TestRng, TestRunner,
};
use strata_cachemodel::{
    Actor, ControlRegisters, Hierarchy, Identity, LevelClasses, Machine, PhysAddr, Reference,
    Stream, preset,
};

use crate::classes::{CacheClass, TlbClass};

use crate::converted::{counts_of, outcome_of};
use crate::counts::named;
use crate::halves::{Halves, plain_machines};
use crate::hierarchy::Oracle;
use crate::machines::{ACTORS, machines};
use crate::ref64;
use crate::streams::{Step, drive, possible, streams};
use crate::world::{Space, View, World};

/// Both at the same place of the same stream.
struct Pair {
    fast: Hierarchy,
    /// The same, given references many at a time.
    batched: Hierarchy,
    waiting: Stream,
    /// The same in two halves, where the machine can be taken so.
    halves: Option<Halves>,
    slow: Oracle,
    world: World,
    machine: Machine,
}

impl Pair {
    fn new(machine: &Machine, classes: bool) -> Self {
        let mut fast = Hierarchy::new(machine);
        for (actor, (layer, domain)) in ACTORS.iter().enumerate() {
            fast.name_actor(Actor(actor as u8), layer, domain);
        }
        let mut slow = Oracle::new(machine);
        if classes {
            fast.enable_classification();
            slow.enable_classes();
        }
        tell(&mut fast, &Step::Actor(0));
        drive(&mut slow, &mut World::default(), &Step::Actor(0));
        let (batched, waiting) = (fast.clone(), Stream::new());
        let halves = if classes { None } else { Halves::of(machine) };
        Self {
            fast,
            batched,
            waiting,
            halves,
            slow,
            world: World::default(),
            machine: machine.clone(),
        }
    }

    fn step(&mut self, at: usize, step: &Step) -> TestCaseResult {
        let mut view = View { world: &self.world, space: Space::of(self.slow.context()) };
        if let Step::Access { kind, va, bytes } = *step {
            let found = self.fast.access(kind, va, bytes, &mut view);
            if let Some(halves) = &mut self.halves {
                halves.access(kind, va, bytes, &mut view, found);
            }
            let found = outcome_of(found);
            self.waiting.push(Reference { kind, va, bytes });
            let expected = drive(&mut self.slow, &mut self.world, step);
            prop_assert_eq!(Some(found), expected, "step {}", at);
        } else {
            self.batched.run(&self.waiting, &mut view);
            self.waiting.clear();
            drive(&mut self.slow, &mut self.world, step);
            tell(&mut self.fast, step);
            tell(&mut self.batched, step);
            if let Some(halves) = &mut self.halves {
                tell(&mut halves.upper, step);
            }
        }
        Ok(())
    }

    fn compare_classes(&self) -> TestCaseResult {
        let Some(found) = self.fast.cache_classes() else { return Ok(()) };
        let mut caches = BTreeMap::new();
        for (level, LevelClasses { fetches, data }) in found.levels.iter().enumerate() {
            for (fetch, layers) in [(true, fetches), (false, data)] {
                for (actor, counts) in layers.iter().enumerate() {
                    let mut count = |class, count| {
                        caches.insert((level, fetch, actor as u8, class), count);
                    };
                    count(CacheClass::Compulsory, counts.compulsory);
                    count(CacheClass::Invalidated, counts.invalidated);
                    count(CacheClass::Conflict, counts.conflict);
                    count(CacheClass::Capacity, counts.capacity);
                    for (by, &inflicted) in counts.inflicted.iter().enumerate() {
                        count(CacheClass::Inflicted(by as u8), inflicted);
                    }
                }
            }
        }
        caches.retain(|_, count| *count > 0);
        prop_assert_eq!(&caches, &self.slow.memory.classes);
        for level in 0..self.machine.levels().len() {
            let mut evictions = BTreeMap::new();
            let caches = self.slow.memory.caches.iter().filter(|placed| placed.level == level);
            for (&who, misses) in caches.flat_map(|placed| &placed.classes.evictions) {
                *evictions.entry(who).or_default() += misses;
            }
            let found = self.fast.evictions(level).into_iter();
            let found: BTreeMap<_, _> =
                found.map(|((misser, evictor), misses)| ((misser.0, evictor.0), misses)).collect();
            prop_assert_eq!(found, evictions, "level {}", level + 1);
        }

        let found = self.fast.tlb_classes().expect("both are told or neither");
        let mut tlbs = BTreeMap::new();
        for (fetch, layers) in [(true, &found.itlb), (false, &found.dtlb)] {
            for (actor, counts) in layers.iter().enumerate() {
                let mut count = |class: String, count| {
                    tlbs.insert((fetch, actor as u8, class), count);
                };
                count(format!("{:?}", TlbClass::Cold), counts.cold);
                count(format!("{:?}", TlbClass::CapacityOrConflict), counts.capacity_or_conflict);
                for (cause, flush_induced) in &counts.flush_induced {
                    count(format!("FlushInduced(\"{cause:?}\")"), *flush_induced);
                }
            }
        }
        tlbs.retain(|_, count| *count > 0);
        let expected = self.slow.tlb_classes.iter();
        let expected: BTreeMap<_, _> = expected
            .map(|(&(fetch, actor, class), &count)| ((fetch, actor, format!("{class:?}")), count))
            .collect();
        prop_assert_eq!(tlbs, expected);
        Ok(())
    }

    fn compare_counts(&mut self, at: usize) -> TestCaseResult {
        if let Some(halves) = &mut self.halves {
            halves.compare(self.fast.counts())?;
        }
        let (fast, slow) = (counts_of(self.fast.counts()), self.slow.counts());
        if fast != *slow {
            let both = named(&fast).into_iter().zip(named(slow));
            let different = both.filter(|(fast, slow)| fast != slow);
            let different: Vec<_> =
                different.map(|((name, fast), (_, slow))| (name, fast, slow)).collect();
            let reason = format!("step {at}: (count, fast, slow): {different:?}");
            return Err(TestCaseError::fail(reason));
        }
        prop_assert_eq!(self.fast.check_laws(), Ok(()), "step {}", at);
        self.compare_classes()
    }
}

/// A step that is no reference, to the fast models.
pub(crate) fn tell(fast: &mut Hierarchy, step: &Step) {
    match *step {
        Step::Access { .. } => unreachable!("a reference has an outcome"),
        Step::Instruction(address) => fast.set_instruction(address),
        Step::Remap { va, .. } => fast.translation_changed(va, 4096),
        Step::Control(event) => fast.control(event),
        Step::Registers { cr3, cr4 } => {
            let cr0 = Step::CR0;
            fast.set_control_registers(ControlRegisters { cr0, cr3, cr4 });
        }
        Step::Cpu(cpu) => fast.set_cpu(cpu),
        Step::Actor(actor) => fast.set_actor(Actor(actor)),
        Step::DeviceWrite { start, length } => fast.invalidate_physical(PhysAddr(start), length),
        Step::FlushCaches => fast.flush_caches(),
    }
}

fn agree(machine: &Machine, steps: &[Step], classes: bool) -> TestCaseResult {
    let mut pair = Pair::new(machine, classes);
    for (at, step) in possible(steps, machine).iter().enumerate() {
        pair.step(at, step)?;
        if !matches!(step, Step::Access { .. }) || at % 64 == 0 {
            pair.compare_counts(at)?;
        }
    }
    pair.compare_counts(steps.len())?;
    // Gives the batch what is left.
    pair.step(steps.len(), &Step::Actor(0))?;
    prop_assert_eq!(pair.batched.counts(), pair.fast.counts());
    Ok(())
}

/// Cases that are the same in every run; as many as `STRATA_ORACLE_CASES` says.
#[test]
fn on_thousands_of_machines_the_fast_models_do_what_the_oracle_does() {
    let cases = std::env::var("STRATA_ORACLE_CASES").map_or(5000, |cases| cases.parse().unwrap());
    let seed = std::env::var("STRATA_ORACLE_SEED").map_or(7, |seed| seed.parse().unwrap());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let all = (machines(), streams(), any::<bool>());
    match runner.run(&all, |(machine, steps, classes)| agree(&machine, &steps, classes)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, (machine, steps, classes))) => {
            let machine = toml::to_string(&machine).unwrap();
            panic!("{reason}\nclasses: {classes}\n{machine}\n{steps:#x?}");
        }
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn on_a_machine_of_any_kind_the_fast_models_do_what_the_oracle_does(
        machine in machines(),
        steps in streams(),
        classes: bool,
    ) {
        agree(&machine, &steps, classes)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn on_a_plain_machine_whole_and_halves_do_what_the_oracle_does(
        machine in plain_machines(),
        steps in streams(),
    ) {
        agree(&machine, &steps, false)?;
    }
}

#[test]
fn on_a_real_stream_the_fast_models_do_what_the_oracle_does() {
    let mut references = Vec::new();
    ref64::read_parts(ref64::FIRST_MILLION, |part| references.extend_from_slice(part));
    references.truncate(200_000);
    for (semantics, policy) in [
        ("per-reference", "lru"),
        ("split-writeback", "tree-plru"),
        ("cachegrind", "drrip"),
        ("first-byte", "random"),
    ] {
        let machine = preset::named("vee07").unwrap();
        let overrides = [
            ("semantics", semantics),
            ("dtlb.ways", "4"),
            ("dtlb.replacement", policy),
            ("l1d.replacement", policy),
            ("l2.size", "96KiB"),
            ("l2.replacement", policy),
        ];
        let machine = machine.with_overrides(overrides).unwrap();
        let mut fast = Hierarchy::new(&machine);
        let mut slow = Oracle::new(&machine);
        for reference in &references {
            let (kind, va, bytes) = (reference.kind, reference.address, reference.bytes);
            fast.access(kind, va, bytes, &mut Identity);
            slow.access(kind, va, bytes, &mut Identity);
        }
        assert_eq!(&counts_of(fast.counts()), slow.counts(), "{semantics}");
    }
}
