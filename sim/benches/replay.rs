//! Speed of a whole replay of a capture's trace: decoding, attribution and model together, the
//! model's thread alone on decoded batches, the bare model on the same batches, and decoding alone;
//! also the whole with calls followed and all counters by path.
//!
//! `STRATA_BENCH_TRACE` names a trace; the bundled sample's otherwise.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::path::PathBuf;
use strata_cachemodel::{
    ControlEvent, Hierarchy, Machine, Mapping, RefKind, Reference, Stream, Translator,
};
use strata_sim::{
    Addressing, CallFollower, Counters, Extent, Nameless, Replay, Scene, Tracer, Visit,
    for_each_batch, for_each_batch_behind,
};
use strata_workloads::trace::{
    AccessKind, Batch, ControlRegister, Definitions, Event, MachineState, TraceReader,
};

/// All counters of every path of calls.
#[derive(Default)]
struct ByPath(Vec<Counters>);

impl Tracer for ByPath {
    fn visit(&mut self, visit: &Visit, _: &Scene<'_>) {
        let path = visit.path.0 as usize;
        if self.0.len() <= path {
            self.0.resize(path + 1, Counters::default());
        }
        self.0[path] += &visit.counters;
    }
}

fn trace() -> PathBuf {
    std::env::var_os("STRATA_BENCH_TRACE").map_or_else(
        || {
            let sample = "../workloads/samples/xen-net-tx/trace.strata";
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(sample)
        },
        PathBuf::from,
    )
}

fn decoded() -> (Vec<Batch>, MachineState, u64) {
    let mut reader = TraceReader::open(&trace()).expect("a trace to measure with");
    let mut batches = Vec::new();
    let mut batch = Batch::default();
    let mut state = None;
    while reader.read(&mut batch).expect("a whole trace") {
        state = state.or_else(|| reader.chunk_head().map(|head| head.state.clone()));
        batches.push(batch.clone());
    }
    (batches, state.unwrap_or_default(), reader.totals().instructions)
}

/// A batch as the bare model takes it: references between events, without whose they are.
enum Step {
    References(Stream),
    Event(Event),
}

/// Every reference of the batches, fetches one by one.
fn expanded(batches: &[Batch]) -> (Vec<Step>, Definitions) {
    let mut tables = Definitions::default();
    let mut steps = Vec::new();
    for batch in batches {
        tables.append(&mut batch.new.clone());
        let mut references = Stream::new();
        let mut events = batch.events.iter().peekable();
        let (mut addresses, mut iterations) = (batch.addresses.iter(), batch.iterations.iter());
        for (i, shape) in batch.shapes.iter().enumerate() {
            while let Some((_, event)) = events.next_if(|(before, _)| *before as usize <= i) {
                steps.push(Step::References(std::mem::take(&mut references)));
                steps.push(Step::Event(event.clone()));
            }
            let shape = &tables.shapes[shape.index()];
            let block = &tables.blocks[shape.block.index()];
            let own: Vec<u64> = addresses.by_ref().take(shape.slots.len()).copied().collect();
            let again = shape.repeat.map_or(0, |repeat| usize::from(repeat.slots));
            let times = if shape.repeat.is_some() { *iterations.next().unwrap_or(&0) } else { 0 };
            let operand = |slot: usize, moved: u64| Reference {
                kind: match shape.slots[slot].kind {
                    AccessKind::Read => RefKind::Read,
                    AccessKind::Write => RefKind::Write,
                },
                va: own[slot].wrapping_add(moved),
                bytes: u32::from(shape.slots[slot].bytes),
            };
            let once = shape.slots.len() - again;
            let mut slot = 0;
            let mut va = block.address;
            for (i, &length) in block.lengths[..usize::from(shape.completed)].iter().enumerate() {
                references.push(Reference { kind: RefKind::Fetch, va, bytes: u32::from(length) });
                va = va.wrapping_add(u64::from(length));
                while slot < once && usize::from(shape.slots[slot].instruction) == i {
                    references.push(operand(slot, 0));
                    slot += 1;
                }
            }
            references.extend((slot..once).map(|slot| operand(slot, 0)));
            let backward = shape.repeat.is_some_and(|repeat| repeat.backward);
            for time in 0..times {
                references.extend((once..shape.slots.len()).map(|slot| {
                    let moved = time * u64::from(shape.slots[slot].bytes);
                    operand(slot, if backward { moved.wrapping_neg() } else { moved })
                }));
            }
        }
        steps.push(Step::References(references));
        steps.extend(events.map(|(_, event)| Step::Event(event.clone())));
    }
    (steps, tables)
}

struct Pages<'t> {
    addressing: Addressing,
    tables: &'t Definitions,
}

impl Translator for Pages<'_> {
    fn mapping(&mut self, va: u64) -> Mapping {
        self.addressing.page(va, self.tables).mapping
    }
}

/// The models, driven by nothing but references, translations and what drops TLB entries.
fn bare(machine: &Machine, steps: &[Step], tables: &Definitions, state: &MachineState) -> u64 {
    let mut hierarchy = Hierarchy::new(machine);
    let mut pages = Pages { addressing: Addressing::default(), tables };
    let mut state = state.clone();
    pages.addressing.follow(&state, tables);
    for step in steps {
        match step {
            Step::References(references) => {
                hierarchy.run(references, &mut pages);
            }
            Step::Event(event) => {
                state.apply(event);
                let control = match *event {
                    Event::Translation(id) => {
                        if pages.addressing.tell(id, &state, tables) {
                            let told = &tables.translations[id.index()];
                            hierarchy.translation_changed(told.page << 12, 1 << told.size.shift());
                        }
                        continue;
                    }
                    Event::Control { register: ControlRegister::Cr0, value } => {
                        ControlEvent::WriteCr0(value)
                    }
                    Event::Control { register: ControlRegister::Cr3, value } => {
                        ControlEvent::WriteCr3(value)
                    }
                    Event::Control { register: ControlRegister::Cr4, value } => {
                        ControlEvent::WriteCr4(value)
                    }
                    Event::Invlpg { address } => ControlEvent::Invlpg(address),
                    _ => continue,
                };
                pages.addressing.follow(&state, tables);
                hierarchy.control(control);
            }
        }
    }
    hierarchy.counts().l1.total().misses
}

fn replay(c: &mut Criterion) {
    let machine = Machine::load("vee07").expect("a built-in preset");
    let (batches, state, instructions) = decoded();
    let mut group = c.benchmark_group("replay");
    group.throughput(Throughput::Elements(instructions)).sample_size(10);
    group.bench_function("whole", |b| {
        b.iter(|| {
            let reader = TraceReader::open(&trace()).expect("a trace");
            let (replay, _) = for_each_batch(
                reader,
                |state| Replay::new(&machine, Nameless, state, Extent::default()),
                |replay, batch| {
                    replay.batch(batch);
                    true
                },
            )
            .expect("a whole trace");
            replay.finish().expect("the laws hold").0.total.instructions
        });
    });
    group.bench_function("whole, calls followed", |b| {
        b.iter(|| {
            let reader = TraceReader::open(&trace()).expect("a trace");
            let extent = Extent::default();
            let mut follower = CallFollower::new(Nameless, reader.lacks(), extent.clone());
            let (replay, _) = for_each_batch_behind(
                reader,
                &mut follower,
                |state| Replay::traced(&machine, state, extent, Box::<ByPath>::default()),
                |replay, batch, course| {
                    replay.batch_along(batch, course);
                    true
                },
            )
            .expect("a whole trace");
            replay.finish_traced(follower).expect("the laws hold").0.total.instructions
        });
    });
    group.bench_function("model thread", |b| {
        b.iter_batched(
            || batches.clone(),
            |mut batches| {
                let mut replay = Replay::new(&machine, Nameless, state.clone(), Extent::default());
                batches.iter_mut().for_each(|batch| replay.batch(batch));
                replay.finish().expect("the laws hold").0.total.instructions
            },
            BatchSize::PerIteration,
        );
    });
    let (steps, tables) = expanded(&batches);
    group.bench_function("bare model", |b| {
        b.iter(|| bare(&machine, &steps, &tables, &state));
    });
    drop((steps, tables));
    group.bench_function("decode", |b| {
        b.iter(|| {
            let mut reader = TraceReader::open(&trace()).expect("a trace");
            let mut batch = Batch::default();
            while reader.read(&mut batch).expect("a whole trace") {}
            reader.totals().instructions
        });
    });
    group.finish();
}

criterion_group!(benches, replay);
criterion_main!(benches);
