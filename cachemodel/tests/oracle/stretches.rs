//! Stretches of a stream, each run without the past of those before it, do together what one run
//! does.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use strata_cachemodel::{
    ControlEvent, ControlRegisters, Counts, Hierarchy, LowerHalf, Machine, Outcome, Past, RefKind,
    Request,
};

use crate::agreement::tell;
use crate::halves::plain_machines;
use crate::hierarchy::Oracle;
use crate::streams::{Step, drive, possible, streams};
use crate::world::{Space, View, World};

/// Steps with the address space that each is made in.
type Stretch<'s> = &'s [(Step, Space)];

/// Runs a stretch on a half, and notes what came of its references behind those `found` before.
fn run(half: &mut Hierarchy, world: &mut World, stretch: Stretch<'_>, found: &mut Vec<Outcome>) {
    for &(step, space) in stretch {
        match step {
            Step::Access { kind, va, bytes } => {
                half.set_charge(found.len() as u32);
                found.push(half.access(kind, va, bytes, &mut View { world, space }));
            }
            Step::Remap { va, mapping } => {
                world.remap(space, va, mapping);
                tell(half, &step);
            }
            _ => tell(half, &step),
        }
    }
}

/// All that is known of a whole stream.
struct Expected {
    steps: Vec<(Step, Space)>,
    /// Before each step: registers, domain, and whether a guest runs.
    known: Vec<(ControlRegisters, u16)>,
    outcomes: Vec<Outcome>,
    counts: Counts,
}

/// Runs it on the whole machine, and on the oracle, which knows what is known.
fn expected(machine: &Machine, steps: &[Step]) -> Expected {
    let (mut whole, mut oracle) = (Hierarchy::new(machine), Oracle::new(machine));
    let (mut world, mut oracle_world) = (World::default(), World::default());
    let (mut with_spaces, mut known, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        let context = oracle.context();
        let (registers, domain) = (context.registers, context.domain);
        let step_in_space = (*step, Space::of(context));
        known.push((
            ControlRegisters { cr0: registers.cr0, cr3: registers.cr3, cr4: registers.cr4 },
            domain,
        ));
        run(&mut whole, &mut world, &[step_in_space], &mut outcomes);
        with_spaces.push(step_in_space);
        drive(&mut oracle, &mut oracle_world, step);
    }
    Expected { steps: with_spaces, known, outcomes, counts: whole.counts() }
}

/// How often a past settled what came after, and how often it could not.
#[derive(Default)]
struct Tried {
    settled: Cell<u64>,
    put_right: Cell<u64>,
    refused: Cell<u64>,
}

fn add(to: &Cell<u64>, count: u64) {
    to.set(to.get() + count);
}

fn in_stretches(
    machine: &Machine,
    steps: &[Step],
    cuts: &[prop::sample::Index],
    tried: &Tried,
) -> TestCaseResult {
    let expected = expected(machine, &possible(steps, machine));
    let upper = || Hierarchy::upper_half(machine).unwrap();
    if expected.steps.is_empty() || !upper().can_forget_past() {
        return Ok(());
    }
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(expected.steps.len())).collect();
    cuts.extend([0, expected.steps.len()]);
    cuts.sort_unstable();
    let mut lower = LowerHalf::new(machine).unwrap();
    let (mut past, mut world) = (upper(), World::default());
    let (mut counts, mut found) = (Counts::default(), Vec::new());
    for stretch in cuts.windows(2).filter(|stretch| stretch[0] < stretch[1]) {
        let steps = &expected.steps[stretch[0]..stretch[1]];
        let (registers, domain) = expected.known[stretch[0]];
        let mut half = upper();
        half.control(ControlEvent::Domain(domain));
        half.set_control_registers(registers);
        let before = half.counts();
        half.forget_past();
        let (mut later_world, first) = (world.clone(), found.len());
        run(&mut half, &mut later_world, steps, &mut found);
        // What it noted can come in pieces.
        let notes = [half.take_notes()];
        let mut counted = half.counts() - before;
        let (past_counts, keep) = (past.counts(), past.clone());
        let mut fewer = Vec::new();
        let settled = Past::new(past).settle(half, &notes, |_, charge, kind, outcome| {
            fewer.push((charge, kind, *outcome));
        });
        let requests = match settled {
            Ok((after, settled)) => {
                add(&tried.settled, 1);
                add(&tried.put_right, fewer.len() as u64);
                for (charge, _, few) in fewer {
                    let outcome = &mut found[charge as usize];
                    outcome.misses[0] -= few.misses[0];
                    outcome.tlb_misses -= few.tlb_misses;
                    outcome.walks -= few.walks;
                }
                settled.iter().for_each(|settled| settled.amend(&mut counted));
                past = after.into_half();
                settled.into_iter().flat_map(|settled| settled.requests).collect()
            }
            Err(_) => {
                add(&tried.refused, 1);
                past = keep;
                found.truncate(first);
                later_world = world;
                run(&mut past, &mut later_world, steps, &mut found);
                counted = past.counts() - past_counts;
                past.take_notes().requests().to_vec()
            }
        };
        world = later_world;
        counts += counted;
        lower.run(&requests, |charge, _: RefKind, outcome| {
            let all = &mut found[charge as usize];
            for level in 0..all.accesses.len() {
                all.accesses[level] += outcome.accesses[level];
                all.misses[level] += outcome.misses[level];
            }
        });
    }
    counts += lower.counts();
    for (at, (found, expected)) in found.iter().zip(&expected.outcomes).enumerate() {
        prop_assert_eq!(found, expected, "reference {}", at);
    }
    prop_assert_eq!(counts, expected.counts);
    Ok(())
}

/// Cases that are the same in every run; as many as `STRATA_ORACLE_CASES` says.
#[test]
fn stretches_without_a_past_do_together_what_one_run_does() {
    let cases = std::env::var("STRATA_ORACLE_CASES").map_or(1500, |cases| cases.parse().unwrap());
    let seed = std::env::var("STRATA_ORACLE_SEED").map_or(7, |seed| seed.parse().unwrap());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 1..5);
    let tried = Tried::default();
    let all = (plain_machines(), streams(), cuts);
    let result = TestRunner::new_with_rng(config, rng)
        .run(&all, |(machine, steps, cuts)| in_stretches(&machine, &steps, &cuts, &tried));
    if let Err(error) = result {
        panic!("{error}");
    }
    let Tried { settled, put_right, refused } = &tried;
    println!("settled {}, put right {}, refused {}", settled.get(), put_right.get(), refused.get());
    assert!(settled.get() > 300 && put_right.get() > 300 && refused.get() > 0);
}

/// A switch by CR3, an explicit flush, and a line that was dirty before.
#[test]
fn a_dirty_line_of_before_is_written_back_when_it_goes_later() {
    let machine = Machine::load("vee07").unwrap();
    let write = |va| (Step::Access { kind: RefKind::Write, va, bytes: 8 }, space());
    let read = |va| (Step::Access { kind: RefKind::Read, va, bytes: 8 }, space());
    let mut world = World::default();
    let mut past = Hierarchy::upper_half(&machine).unwrap();
    run(&mut past, &mut world, &[write(0x10_000)], &mut Vec::new());
    let mut half = Hierarchy::upper_half(&machine).unwrap();
    half.forget_past();
    // The same line, and then eight others of its set.
    let mut steps = vec![read(0x10_000)];
    steps.extend((1..=8).map(|way| (Step::Remap { va: way << 24, mapping: frame(way) }, space())));
    steps.extend((1..=8).map(|way| read(way << 24)));
    run(&mut half, &mut world, &steps, &mut Vec::new());
    let notes = half.take_notes();
    let (_, settled) = Past::new(past).settle(half, &[notes], |_, _, _, _| {}).unwrap();
    let written = |request: &Request| matches!(request, Request::WriteBack { .. });
    assert_eq!(settled[0].requests.iter().filter(|request| written(request)).count(), 1);
}

fn space() -> Space {
    Space::of(Oracle::new(&Machine::load("vee07").unwrap()).context())
}

fn frame(way: u64) -> strata_cachemodel::Mapping {
    strata_cachemodel::Mapping::new(way << 8, strata_cachemodel::PageSize::Size4K)
}
