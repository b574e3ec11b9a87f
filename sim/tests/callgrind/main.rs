//! Calls of a program as recorded in an emulated machine against what callgrind counts of the same
//! program: `workloads/calls` tells how both were made.

mod counts;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use counts::{Counted, Counts};
use strata_cachemodel::Machine;
use strata_sim::{
    Arrival, CallFollower, CallRecord, CaptureNames, Extent, FunctionId, PathId, Replay, Scene,
    Tracer, Visit, for_each_batch, for_each_batch_behind,
};
use strata_symbols::{DomainId, Layer};
use strata_workloads::manifest::CaptureManifest;
use strata_workloads::trace::TraceReader;

/// The program's code.
const PROGRAM: Layer = Layer::User(DomainId(0));

fn sample() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/linux-calls")
}

/// Instructions of each path, and visits that began by a call or by a jump in its place.
#[derive(Default)]
struct Watch {
    instructions: BTreeMap<PathId, u64>,
    calls: BTreeMap<FunctionId, u64>,
}

impl Tracer for Watch {
    fn visit(&mut self, visit: &Visit, scene: &Scene<'_>) {
        *self.instructions.entry(visit.path).or_default() += visit.counters.instructions;
        if matches!(visit.arrival, Arrival::Call | Arrival::Tail) {
            *self.calls.entry(scene.paths[visit.path].function).or_default() += 1;
        }
    }
}

/// When the names of the program are known, and what they say.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    AtTheEnd,
    Beforehand,
    WithLines,
}

/// Machine, names and trace of the sample.
fn opened(naming: Names) -> (Machine, CaptureNames, TraceReader<BufReader<File>>) {
    let folder = sample();
    let manifest = CaptureManifest::load(&folder).expect("the sample has a manifest");
    let mut names = CaptureNames::open(&folder, &manifest).expect("the sample has symbols");
    let trace =
        || TraceReader::open(&folder.join(&manifest.trace)).expect("the sample has a trace");
    if naming != Names::AtTheEnd {
        names = names.learn(trace(), u64::MAX).expect("the trace is whole");
    }
    if naming == Names::WithLines {
        names.tell_lines();
    }
    (Machine::load("vee07").expect("a built-in preset"), names, trace())
}

/// The whole sample.
fn replay(naming: Names) -> Replay<CaptureNames> {
    let (machine, names, trace) = opened(naming);
    let (replay, _) = for_each_batch(
        trace,
        |state| Replay::new(&machine, names, state, Extent::default()),
        |replay, batch| {
            replay.batch(batch);
            true
        },
    )
    .expect("the trace is whole");
    replay
}

fn check(names: &CaptureNames) {
    names.check().expect("the symbols are those of the kernel that ran");
    assert_eq!(names.complaints(), [""; 0]);
}

fn traced() -> (Box<Watch>, CallRecord) {
    let (machine, names, trace) = opened(Names::Beforehand);
    let mut follower = CallFollower::new(names, trace.lacks(), Extent::default());
    let (replay, _) = for_each_batch_behind(
        trace,
        &mut follower,
        |state| Replay::traced(&machine, state, Extent::default(), Box::<Watch>::default()),
        |replay, batch, course| {
            replay.batch_along(batch, course);
            true
        },
    )
    .expect("the trace is whole");
    let (_, names, tracer, record) = replay.finish_traced(follower).expect("all laws hold");
    check(&names);
    let tracer: Box<dyn Any> = tracer;
    (tracer.downcast().expect("the tracer given"), record)
}

/// The program's functions as the replay counts them. What the kernel did for the program, in
/// system calls, faults and interrupts, callgrind does not see; it is left out here.
fn counted() -> (BTreeMap<String, Counts>, CallRecord) {
    let (watch, record) = traced();
    let name = |id: FunctionId| {
        let function = &record.functions[id.0 as usize];
        let name = function.name.as_ref().filter(|_| function.layer == PROGRAM);
        name.map(|name| name.function.clone())
    };
    let mut functions: BTreeMap<String, Counts> = BTreeMap::new();
    for (&path, &instructions) in &watch.instructions {
        let Some(own) = name(record.paths[path].function) else { continue };
        functions.entry(own).or_default().own += instructions;
        let on_path: BTreeSet<String> =
            record.paths.frames(path).filter_map(|frame| name(frame.function)).collect();
        for function in on_path {
            functions.entry(function).or_default().inclusive += instructions;
        }
    }
    for (&function, &calls) in &watch.calls {
        if let Some(name) = name(function) {
            functions.entry(name).or_default().calls += calls;
        }
    }
    (functions, record)
}

fn callgrinds() -> Counted {
    let text = std::fs::read_to_string(sample().join("callgrind.out")).expect("it is bundled");
    counts::read(&text)
}

#[test]
fn every_line_of_the_program_counts_what_callgrind_counts() {
    let (profile, names) = replay(Names::WithLines).finish().expect("all laws hold");
    check(&names);
    let mut lines: BTreeMap<(String, u32), u64> = BTreeMap::new();
    let mut deepest = 0;
    for row in profile.rows.iter().filter(|row| row.function.layer == PROGRAM) {
        let name = &row.function.name.as_ref().expect("the program has symbols").function;
        // `turn (calls.c:31) in mix (calls.c:34) in fill (calls.c:44)`
        let frames: Vec<&str> = name.split(" in ").collect();
        let function = frames.last().and_then(|frame| frame.split(' ').next()).expect("a frame");
        let line = frames[0].split_once("(calls.c:").and_then(|(_, rest)| rest.split(')').next());
        let line = line.map_or(0, |line| line.parse().expect("a number"));
        *lines.entry((function.to_owned(), line)).or_default() += row.counters.instructions;
        deepest = deepest.max(frames.len());
    }
    assert_eq!(lines, callgrinds().lines);
    assert_eq!(deepest, 3);
}

#[test]
fn every_function_of_the_program_counts_what_callgrind_counts() {
    let Counted { functions: expected, total, .. } = callgrinds();
    assert_eq!(expected.values().map(|counts| counts.own).sum::<u64>(), total);
    assert!(expected.len() > 20);
    let (functions, _) = counted();
    // Names first: what only one side knows would hide the rest of a long difference.
    assert!(functions.keys().eq(expected.keys()), "{functions:?}\n{expected:?}");
    for (name, expected) in &expected {
        assert_eq!(&functions[name], expected, "{name}");
    }
}

#[test]
fn names_learnt_beforehand_are_those_found_at_the_end() {
    let rows = |naming| {
        let (profile, names) = replay(naming).finish().expect("all laws hold");
        check(&names);
        let rows = profile.rows.into_iter();
        rows.map(|row| (row.function, row.counters)).collect::<Vec<_>>()
    };
    let (early, late) = (rows(Names::Beforehand), rows(Names::AtTheEnd));
    assert!(early.len() > 300);
    assert_eq!(early.len(), late.len());
    for row in &late {
        assert!(early.contains(row), "{row:?}");
    }
}

#[test]
fn every_return_of_the_program_and_its_kernel_matches_its_call() {
    let (functions, record) = counted();
    let calls: u64 = functions.values().map(|counts| counts.calls).sum();
    // Frames left without a return of their own: 40 jumps out of 25, 8,000 by a jump in the place
    // of a call.
    let returns = calls - 40 * 25 - 8000;
    assert!(record.returns.matched > returns, "{:?}, {returns}", record.returns);
    assert_eq!((record.returns.unwound, record.returns.as_jumps), (0, 0));
}
