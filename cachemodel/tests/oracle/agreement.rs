//! The fast models do what the oracle does: after every reference, and in every count.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use strata_cachemodel::{Actor, ControlRegisters, Hierarchy, Identity, Machine, PhysAddr, preset};

use crate::counts::{Counts, Flushes, Kinds, Level, Outcome, Stlb, Tally, Tlb, Walks};
use crate::hierarchy::Oracle;
use crate::machines::{ACTORS, machines};
use crate::ref64;
use crate::streams::{Space, Step, View, World, exists, streams};

fn outcome_of(outcome: strata_cachemodel::Outcome) -> Outcome {
    Outcome {
        accesses: outcome.accesses.map(u64::from),
        misses: outcome.misses.map(u64::from),
        tlb_accesses: u64::from(outcome.tlb_accesses),
        tlb_misses: u64::from(outcome.tlb_misses),
        stlb_misses: u64::from(outcome.stlb_misses),
        stale_hits: u64::from(outcome.stale_hits),
        walk_accesses: outcome.walk_accesses.map(u64::from),
        walk_misses: outcome.walk_misses.map(u64::from),
        device: outcome.device,
    }
}

fn tally_of(tally: strata_cachemodel::Tally) -> Tally {
    assert_eq!(tally.hits + tally.misses, tally.accesses);
    Tally { accesses: tally.accesses, misses: tally.misses }
}

fn level_of(level: strata_cachemodel::LevelCounts) -> Level {
    Level {
        fetches: tally_of(level.fetches),
        reads: tally_of(level.reads),
        writes: tally_of(level.writes),
        walks: tally_of(level.walks),
        prefetches: tally_of(level.prefetches),
        useful_prefetches: level.useful_prefetches,
        writebacks: level.writebacks,
        writeback_misses: level.writeback_misses,
        victims: level.victims,
        written_on: level.written_on,
        back_invalidations: level.back_invalidations,
        device_invalidations: level.device_invalidations,
        invalidations: level.invalidations,
        interventions: level.interventions,
        coherence_misses: level.coherence_misses,
    }
}

fn counts_of(counts: strata_cachemodel::Counts) -> Counts {
    let tlb = |tlb: strata_cachemodel::TlbCounts| Tlb {
        all: tally_of(tlb.all),
        stale_hits: tlb.stale_hits,
        flushed: tlb.flushed,
    };
    let flushes = counts.flushes;
    Counts {
        references: Kinds {
            fetches: counts.references.fetches,
            reads: counts.references.reads,
            writes: counts.references.writes,
        },
        folded_writes: counts.references.folded_writes,
        device: Kinds {
            fetches: counts.device.fetches,
            reads: counts.device.reads,
            writes: counts.device.writes,
        },
        levels: [counts.l1, counts.l2, counts.l3].map(level_of),
        itlb: tlb(counts.itlb),
        dtlb: tlb(counts.dtlb),
        stlb: Stlb {
            fetches: tally_of(counts.stlb.fetches),
            data: tally_of(counts.stlb.data),
            stale_hits: counts.stlb.stale_hits,
            flushed: counts.stlb.flushed,
        },
        walks: Walks {
            walks: counts.walks.walks,
            unknown: counts.walks.unknown,
            references: counts.walks.references,
        },
        flushes: Flushes {
            cr3_writes: flushes.cr3_writes,
            cr3_same_value: flushes.cr3_same_value,
            cr3_keeping: flushes.cr3_keeping,
            pge_changes: flushes.pge_changes,
            paging_mode_changes: flushes.paging_mode_changes,
            invlpg: flushes.invlpg,
            invpcid: flushes.invpcid,
            page_faults: flushes.page_faults,
            switches: flushes.switches,
            explicit_flushes: flushes.explicit_flushes,
            guest_entries: flushes.guest_entries,
            guest_exits: flushes.guest_exits,
            guest_flushes: flushes.guest_flushes,
            others: flushes.others,
        },
        dma_transfers: counts.dma_transfers,
    }
}

/// Both at the same place of the same stream.
struct Pair {
    fast: Hierarchy,
    slow: Oracle,
    world: World,
    machine: Machine,
}

impl Pair {
    fn new(machine: &Machine) -> Self {
        let mut fast = Hierarchy::new(machine);
        for (actor, (layer, domain)) in ACTORS.iter().enumerate() {
            fast.name_actor(Actor(actor as u8), layer, domain);
        }
        let mut slow = Oracle::new(machine);
        let (layer, domain) = ACTORS[0];
        fast.set_actor(Actor(0));
        slow.memory.set_actor(0, layer, domain);
        Self { fast, slow, world: World::default(), machine: machine.clone() }
    }

    fn step(&mut self, at: usize, step: &Step) -> TestCaseResult {
        let Self { fast, slow, world, machine } = self;
        let space = Space::of(slow.context());
        match *step {
            Step::Access { kind, va, bytes } => {
                let mut view = View { world, space };
                let found = outcome_of(fast.access(kind, va, bytes, &mut view));
                let expected = slow.access(kind, va, bytes, &mut view);
                prop_assert_eq!(found, expected, "step {}", at);
            }
            Step::Instruction(address) => {
                fast.set_instruction(address);
                slow.set_instruction(address);
            }
            Step::Remap { va, mapping } => {
                world.remap(space, va, mapping);
                fast.translation_changed(va);
            }
            Step::Control(event) if exists(event, machine.vendor()) => {
                fast.control(event);
                slow.control(event);
            }
            Step::Control(_) => {}
            Step::Registers { cr3, cr4 } => {
                let cr0 = 1 << 31 | 1;
                fast.set_control_registers(ControlRegisters { cr0, cr3, cr4 });
                slow.set_registers(cr0, cr3, cr4);
            }
            Step::Cpu(cpu) => {
                fast.set_cpu(cpu % machine.cpus());
                slow.set_cpu(cpu % machine.cpus());
            }
            Step::Actor(actor) => {
                let (layer, domain) = ACTORS[usize::from(actor)];
                fast.set_actor(Actor(actor));
                slow.memory.set_actor(actor, layer, domain);
            }
            Step::DeviceWrite { start, length } => {
                fast.invalidate_physical(PhysAddr(start), length);
                slow.memory.device_write(start, length);
            }
            Step::FlushCaches => {
                fast.flush_caches();
                slow.memory.flush();
            }
        }
        Ok(())
    }

    fn compare_counts(&self, at: usize) -> TestCaseResult {
        prop_assert_eq!(&counts_of(self.fast.counts()), self.slow.counts(), "step {}", at);
        prop_assert_eq!(self.fast.check_laws(), Ok(()), "step {}", at);
        Ok(())
    }
}

fn agree(machine: &Machine, steps: &[Step]) -> TestCaseResult {
    let mut pair = Pair::new(machine);
    for (at, step) in steps.iter().enumerate() {
        pair.step(at, step)?;
        if !matches!(step, Step::Access { .. }) || at % 64 == 0 {
            pair.compare_counts(at)?;
        }
    }
    pair.compare_counts(steps.len())
}

/// Cases that are the same in every run; as many as `STRATA_ORACLE_CASES` says.
#[test]
fn on_thousands_of_machines_the_fast_models_do_what_the_oracle_does() {
    let cases = std::env::var("STRATA_ORACLE_CASES").map_or(2500, |cases| cases.parse().unwrap());
    let seed = std::env::var("STRATA_ORACLE_SEED").map_or(7, |seed| seed.parse().unwrap());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let both = (machines(), streams());
    if let Err(error) = runner.run(&both, |(machine, steps)| agree(&machine, &steps)) {
        panic!("{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn on_a_machine_of_any_kind_the_fast_models_do_what_the_oracle_does(
        machine in machines(),
        steps in streams(),
    ) {
        agree(&machine, &steps)?;
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
