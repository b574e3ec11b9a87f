//! References per second through two L1 caches, L2 and two TLBs, on the first million references
//! of a real program, already decoded.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use strata_cachemodel::{Hierarchy, Identity, Reference, Stream, preset};

#[path = "../tests/ref64/mod.rs"]
mod ref64;

fn replay(criterion: &mut Criterion) {
    let references: Stream = ref64::read(ref64::FIRST_MILLION)
        .into_iter()
        .map(|reference| Reference {
            kind: reference.kind,
            va: reference.address,
            bytes: reference.bytes,
        })
        .collect();
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(references.len() as u64));
    for (name, semantics) in [
        ("vee07", "per-reference"),
        ("peer", "split-demand-only"),
        ("peer", "split-writeback"),
        ("peer", "cachegrind"),
    ] {
        let machine = preset::named(name)
            .and_then(|machine| machine.with_overrides([("semantics", semantics)]));
        let machine = machine.expect("a preset with a known semantics");
        group.bench_with_input(BenchmarkId::new(name, semantics), &machine, |bencher, machine| {
            bencher.iter_batched_ref(
                || Hierarchy::new(machine),
                |hierarchy| {
                    hierarchy.run(&references, &mut Identity);
                    black_box(hierarchy.counts());
                },
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, replay);
criterion_main!(benches);
