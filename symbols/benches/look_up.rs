//! Speed of look-ups: a kernel of 160,000 symbols by address, the same through layer and address
//! space as a replay asks, a program in an address space, frames from debugging information; and
//! of reading the kernel's list.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use strata_symbols::{
    AddressSpaceId, AddressSpaceSymbols, DomainId, DomainSymbols, Layer, LoadBias, MachineSymbols,
    SymbolTable, UserImage, decompress, read_kallsyms,
};

/// As many as Debian's kernel 6.1 and the modules of a network guest have.
const SYMBOLS: u64 = 160_000;
const KERNEL: u64 = 0xffff_ffff_8100_0000;
/// Look-ups in one measured turn.
const ADDRESSES: usize = 100_000;

/// Numbers without a pattern that a branch predictor could learn (SplitMix64).
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 1u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = state;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    })
}

/// The list, and its last address. Functions have from 16 to 528 bytes.
fn kallsyms() -> (String, u64) {
    let mut text = String::new();
    let mut address = KERNEL;
    for (number, random) in (0..SYMBOLS).zip(numbers()) {
        writeln!(text, "{address:016x} t function_{number}").expect("memory takes it");
        address += 16 + random % 33 * 16;
    }
    (text, address)
}

fn addresses_within(first: u64, behind: u64) -> Vec<u64> {
    numbers().take(ADDRESSES).map(|number| first + number % (behind - first)).collect()
}

fn program() -> UserImage {
    let packed = include_bytes!("../tests/data/inlined.zst").to_vec();
    let bytes = decompress(packed, "inlined.zst", 1 << 20).expect("the fixture is whole");
    UserImage::read(&bytes, "inlined", "/bin/inlined").expect("the fixture is an ELF file")
}

fn look_up(criterion: &mut Criterion) {
    let (text, behind) = kallsyms();
    let kernel: SymbolTable = read_kallsyms(text.as_bytes(), "kallsyms").expect("a valid list");
    let addresses = addresses_within(KERNEL, behind);
    let image = Arc::new(program());
    let extent = image.extent();
    let in_program = addresses_within(extent.start, extent.end);

    let mut group = criterion.benchmark_group("look-up");
    group.throughput(Throughput::Elements(ADDRESSES as u64));
    group.bench_function("kernel", |bencher| {
        bencher.iter(|| {
            addresses.iter().filter(|&&address| black_box(kernel.lookup(address)).is_some()).count()
        });
    });

    let mut machine = MachineSymbols::new(SymbolTable::default());
    let domain = machine.add_domain(DomainId(1), DomainSymbols::new(kernel.clone()));
    let space = AddressSpaceId(7);
    let placed = AddressSpaceSymbols::from_placements([(Arc::clone(&image), LoadBias(0))]);
    domain.set_space(space, placed);
    for (name, layer, addresses) in [
        ("machine, kernel", Layer::Kernel(DomainId(1)), &addresses),
        ("machine, program", Layer::User(DomainId(1)), &in_program),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let found =
                    |&&address: &&u64| black_box(machine.lookup(layer, space, address)).is_some();
                addresses.iter().filter(found).count()
            });
        });
    }

    let code: Vec<u64> = image.symbols().code_ranges().flat_map(|(range, _)| range).collect();
    group.throughput(Throughput::Elements(code.len() as u64));
    group.bench_function("frames", |bencher| {
        bencher.iter(|| code.iter().map(|&address| image.frames(address).len()).sum::<usize>());
    });
    group.finish();

    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(SYMBOLS));
    group.sample_size(10).bench_function("kallsyms", |bencher| {
        bencher.iter(|| read_kallsyms(text.as_bytes(), "kallsyms").expect("a valid list").len());
    });
    group.finish();
}

criterion_group!(benches, look_up);
criterion_main!(benches);
