//! Inputs packed in every way that is taken.

use super::flat::{Item, fetch, read, take_apart};
use super::ref64::record;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use strata_workloads::import::{Format, ImportError, ImportOptions, Input, Packing, import};

/// Packs bytes.
type Pack = fn(&[u8]) -> Vec<u8>;

fn items() -> Vec<Item> {
    (0..60_000u64)
        .flat_map(|i| [fetch(0x1000 + i % 500 * 4, 4), read(i * 72 % (1 << 40), 8)])
        .collect()
}

fn plain() -> Vec<u8> {
    items().iter().flat_map(|item| record(item).to_le_bytes()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    liblzma::read::XzEncoder::new(bytes, 0).read_to_end(&mut out).unwrap();
    out
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// In entries of a third each, which end within records.
fn zip_of(bytes: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (number, chunk) in bytes.chunks(bytes.len() / 3 + 5).enumerate() {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated);
        archive.start_file(format!("chunk.{number:04}"), options).unwrap();
        archive.write_all(chunk).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn run(input: Input) -> Result<Vec<u8>, ImportError> {
    let out = Cursor::new(Vec::new());
    let options = ImportOptions { level: 1, ..ImportOptions::default() };
    import(Format::Ref64, input, out, &options, |_| ()).map(|(out, _)| out.into_inner())
}

fn from_file(bytes: &[u8]) -> std::io::Result<Input> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Input::open(file.path())
}

#[test]
fn every_packing_gives_the_same_trace_from_a_file_and_from_a_pipe() {
    let plain = plain();
    let native = run(Input::from_reader(Cursor::new(plain.clone())).unwrap()).unwrap();
    assert_eq!(take_apart(&native).items, items());
    let packings: [(Packing, Pack); 5] = [
        (Packing::Gzip, gzip),
        (Packing::Zstd, zstd),
        (Packing::Xz, xz),
        (Packing::Lz4, lz4),
        (Packing::Zip, zip_of),
    ];
    for (packing, pack) in packings {
        let packed = pack(&plain);
        let input = from_file(&packed).unwrap();
        assert_eq!(input.packing(), packing);
        assert!(run(input).unwrap() == native, "{}", packing.name());
        let beside = from_file(&packed).unwrap().beside();
        assert!(run(beside).unwrap() == native, "{}", packing.name());
        let pipe = Input::from_reader(Cursor::new(packed.clone()));
        if packing == Packing::Zip {
            assert!(pipe.unwrap_err().to_string().contains("name the file"));
            continue;
        }
        assert!(run(pipe.unwrap()).unwrap() == native, "{}", packing.name());
        // Members, frames and streams may follow one another.
        let (first, second) = plain.split_at(100_003);
        let parts = Cursor::new([pack(first), pack(second)].concat());
        assert!(run(Input::from_reader(parts).unwrap()).unwrap() == native, "{}", packing.name());
    }
}

#[test]
fn a_packed_input_that_is_cut_off_or_damaged_is_an_error_wherever() {
    let plain = plain();
    for pack in [gzip, zstd, xz, lz4, zip_of] {
        let packed = pack(&plain);
        for cut in [7, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
            let result = from_file(&packed[..cut]).map(run);
            let beside = from_file(&packed[..cut]).map(|input| run(input.beside()));
            assert!(
                !matches!(result, Ok(Ok(_))) && !matches!(beside, Ok(Ok(_))),
                "cut at {cut} of {}",
                packed.len()
            );
        }
        let mut changed = packed.clone();
        let middle = packed.len() / 2;
        changed[middle..middle + 8].fill(0x55);
        match from_file(&changed).map(run) {
            Ok(Ok(native)) => {
                // Written here without checksums.
                assert!([lz4(&[]), zstd(&[])].iter().any(|empty| empty[..4] == packed[..4]));
                assert_ne!(take_apart(&native).items, items());
            }
            Ok(Err(error)) => {
                let said = error.to_string();
                assert!(said.contains("unpacked input") || said.contains("record"), "{said}");
            }
            Err(_) => {}
        }
    }
}

#[test]
fn an_error_of_unpacking_says_how_far_it_came() {
    let packed = gzip(&plain());
    let error = run(from_file(&packed[..packed.len() / 2]).unwrap()).unwrap_err();
    let ImportError::Input { bytes, .. } = error else { panic!("{error}") };
    assert!(bytes > 100_000, "{bytes}");
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    assert!(Input::open(Path::new("/nonexistent/stream")).is_err());
}

#[test]
fn bytes_are_counted_as_they_are_in_the_file() {
    let packed = zstd(&plain());
    let input = Input::from_reader(Cursor::new(packed.clone())).unwrap();
    let taken = input.bytes_taken();
    run(input).unwrap();
    assert_eq!(taken.load(std::sync::atomic::Ordering::Relaxed), packed.len() as u64);
}
