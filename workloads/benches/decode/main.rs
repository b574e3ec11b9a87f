//! How fast a trace becomes batches, on one core.
//!
//! Reads the trace that `STRATA_BENCH_TRACE` names, else the bundled sample, else a synthetic one.

mod synthetic;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::path::PathBuf;
use strata_workloads::trace::{Batch, Ending, TraceReader};

fn decode(trace: &[u8]) -> Ending {
    let mut reader = TraceReader::new(trace).expect("a trace begins with its header");
    let mut batch = Batch::default();
    while reader.read(&mut batch).expect("the trace is sound") {
        std::hint::black_box(&batch);
    }
    *reader.ending().expect("the trace was read to its end")
}

fn trace() -> (String, Vec<u8>) {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/xen-net-tx/trace.strata");
    let named = std::env::var_os("STRATA_BENCH_TRACE").map(PathBuf::from);
    match named.or_else(|| Some(PathBuf::from(sample)).filter(|sample| sample.exists())) {
        Some(path) => {
            let name = path.display().to_string();
            (name, std::fs::read(&path).expect("the trace named can be read"))
        }
        None => ("synthetic".into(), synthetic::trace(20_000_000)),
    }
}

fn instructions_per_second(c: &mut Criterion) {
    let (name, bytes) = trace();
    let totals = decode(&bytes).totals;
    eprintln!("{name}: {totals}, {} bytes", bytes.len());
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(totals.instructions)).sample_size(10);
    group.bench_function(name, |b| b.iter(|| decode(&bytes)));
    group.finish();
}

criterion_group!(benches, instructions_per_second);
criterion_main!(benches);
