//! Speed of imports, in references of a real program: from packed or text input to a whole native
//! trace in memory.
//!
//! `cargo bench -p strata-workloads --features import --bench import`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::fmt::Write as _;
use std::io::Cursor;
use strata_workloads::import::{Format, ImportOptions, Input, import};

const STREAM: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../cachemodel/tests/data/stream1-first1M.ref64.zst");

/// The same references as text of lackey, and of Dinero.
fn texts(words: &[u64]) -> [String; 2] {
    let (mut lackey, mut din) = (String::new(), String::new());
    for (i, word) in words.iter().enumerate() {
        let (address, size) = (word & ((1 << 48) - 1), word >> 48 & 0xff);
        let modifies = words.get(i + 1).is_some_and(|next| next >> 56 == 5);
        let line = match word >> 56 {
            2 => writeln!(lackey, "I  {address:08x},{size}"),
            0 if modifies => writeln!(lackey, " M {address:08x},{size}"),
            0 => writeln!(lackey, " L {address:08x},{size}"),
            1 => writeln!(lackey, " S {address:08x},{size}"),
            // Told with its read.
            _ => Ok(()),
        };
        line.and(writeln!(din, "{} {address:x}", word >> 56 & 3)).expect("a string takes all");
    }
    [lackey, din]
}

fn imports(c: &mut Criterion) {
    let packed = std::fs::read(STREAM).expect("the stream is in the checkout");
    let plain = zstd::stream::decode_all(&packed[..]).expect("the stream is whole");
    let words: Vec<u64> =
        plain.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let [lackey, din] = texts(&words);
    let mut group = c.benchmark_group("import");
    group.throughput(Throughput::Elements(words.len() as u64)).sample_size(10);
    for (name, format, stream) in [
        ("ref64.zst", Format::Ref64, packed),
        ("lackey", Format::Lackey, lackey.into_bytes()),
        ("din", Format::Din, din.into_bytes()),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let input = Input::from_reader(Cursor::new(stream.clone())).expect("it is open");
                let out = Cursor::new(Vec::new());
                let options = ImportOptions::default();
                let (_, report) =
                    import(format, input, out, &options, |_| ()).expect("it is whole");
                assert_eq!(report.counted.references(), words.len() as u64);
            });
        });
    }
}

criterion_group!(benches, imports);
criterion_main!(benches);
