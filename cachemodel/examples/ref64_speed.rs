//! References per second of a stream in memory through the `peer` machine: both first-level caches,
//! the second level and both TLBs. Prints the misses too, so that they can be held against those of
//! another simulator on the same file, and the speed with the making of the stream included.
//!
//! `cargo run --release --example ref64_speed -- STREAM.ref64 [SEMANTICS]`

use strata_cachemodel::{Hierarchy, Identity, RefKind, Reference, Stream, preset};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("the name of an uncompressed ref64 file is missing")?;
    let semantics = arguments.next().unwrap_or_else(|| "split-demand-only".to_owned());
    let bytes = std::fs::read(path)?;
    let words = bytes.as_chunks::<8>().0;
    let machine = preset::named("peer")?.with_overrides([("semantics", semantics.as_str())])?;

    let references: Stream = words.iter().map(reference).collect();
    let mut hierarchy = Hierarchy::new(&machine);
    let started = cpu_seconds()?;
    hierarchy.run(&references, &mut Identity);
    let seconds = cpu_seconds()? - started;
    let number = references.len() as f64 / 1e6;
    drop(references);

    // As one who reads a file would do it.
    let (mut some, mut again) = (Stream::new(), Hierarchy::new(&machine));
    let started = cpu_seconds()?;
    for words in words.chunks(SOME) {
        some.clear();
        some.extend(words.iter().map(reference));
        again.run(&some, &mut Identity);
    }
    let with_making = cpu_seconds()? - started;
    hierarchy.check_laws()?;
    let counts = hierarchy.counts();
    if again.counts() != counts {
        return Err("in parts, the stream counts otherwise than as a whole".into());
    }
    println!(
        "{:.1} million references/s; misses: l1i {}, l1d reads {}, writes {}, l2 {}, itlb {}, dtlb {}; {:.1} million references/s with making streams of words",
        number / seconds,
        counts.l1.fetches.misses,
        counts.l1.reads.misses,
        counts.l1.writes.misses,
        counts.l2.total().misses,
        counts.itlb.all.misses,
        counts.dtlb.all.misses,
        number / with_making,
    );
    Ok(())
}

/// Time that this thread has spent on a CPU, which other work on the machine does not lengthen.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds: f64 =
        text.split(' ').next().ok_or("/proc/self/schedstat is empty")?.parse()?;
    Ok(nanoseconds / 1e9)
}

/// References that are made and run together.
const SOME: usize = 1 << 14;

const KINDS: [RefKind; 8] = [
    RefKind::Read,
    RefKind::Write,
    RefKind::Fetch,
    RefKind::Read,
    RefKind::Read,
    RefKind::ModifyWrite,
    RefKind::Fetch,
    RefKind::Read,
];

fn reference(word: &[u8; 8]) -> Reference {
    let word = u64::from_le_bytes(*word);
    let kind = KINDS[(word >> 56 & 7) as usize];
    Reference { kind, va: word & ((1 << 48) - 1), bytes: (word >> 48 & 0xff) as u32 }
}
