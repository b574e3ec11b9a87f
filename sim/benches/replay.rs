//! Speed of a whole replay of a capture's trace: decoding, attribution and model together, the
//! model's thread alone on decoded batches, and decoding alone.
//!
//! `STRATA_BENCH_TRACE` names a trace; the bundled sample's otherwise.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::path::PathBuf;
use strata_cachemodel::Machine;
use strata_sim::{Extent, Nameless, Replay, for_each_batch};
use strata_workloads::trace::{Batch, MachineState, TraceReader};

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
