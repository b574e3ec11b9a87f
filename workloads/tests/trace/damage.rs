use super::flat::{Item, expected, read, write};
use super::made_up::{MadeUp, stream};
use super::round_trip::any_bytes;
use proptest::prelude::*;
use std::io::Write;
use strata_workloads::trace::{Batch, IndexedTrace, MAGIC, TraceError, TraceReader, VERSION};

/// Where each frame of a sound trace begins, and where the last one ends; with each the number of
/// items and of instructions in the chunks before it.
fn frames(trace: &[u8], stream: &MadeUp) -> Vec<(usize, usize, u64)> {
    let (items, definitions) = expected(stream);
    let mut boundaries = Vec::new();
    let mut at = 20 + u32::from_le_bytes(trace[12..16].try_into().unwrap()) as usize + 4;
    let (mut seen, mut instructions) = (0, 0);
    while at < trace.len() - 16 {
        boundaries.push((at, seen, instructions));
        let length = u64::from_le_bytes(trace[at + 4..at + 12].try_into().unwrap()) as usize;
        if &trace[at..at + 4] == b"CHNK" {
            let mut one = TraceReader::new(&trace[..at + 16 + length]).unwrap();
            let mut batch = Batch::default();
            while one.read(&mut batch).is_ok() {}
            let totals = one.totals();
            let (executions, events) = (totals.executions, totals.events);
            seen = (executions + events) as usize;
            instructions = totals.instructions;
        }
        at += 16 + length;
    }
    boundaries.push((at, seen, instructions));
    assert_eq!(seen, items.len());
    let completed: u64 = items
        .iter()
        .map(|item| match item {
            Item::Execution { shape, .. } => u64::from(definitions.shapes[shape.index()].completed),
            Item::Event(_) => 0,
        })
        .sum();
    assert_eq!(completed, instructions);
    boundaries
}

fn sample() -> MadeUp {
    let mut random = 7u64;
    let bytes: Vec<u8> = (0..1500)
        .map(|_| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 56) as u8
        })
        .collect();
    let mut made_up = stream(&bytes);
    made_up.options.chunk_instructions = 60;
    made_up
}

#[test]
fn a_trace_cut_anywhere_delivers_its_whole_chunks_and_says_where_it_was_cut() {
    let made_up = sample();
    let trace = write(&made_up).unwrap();
    let (items, _) = expected(&made_up);
    let boundaries = frames(&trace, &made_up);
    assert!(boundaries.len() > 8);
    let first = boundaries[0].0;
    for length in first..trace.len() {
        let (delivered, _, end) = read(&trace[..length]);
        let &(whole, seen, before) =
            boundaries.iter().rev().find(|(at, ..)| *at <= length).unwrap();
        assert_eq!(delivered, items[..seen], "cut at {length}");
        match end {
            Err(TraceError::Truncated { offset, instructions }) => {
                assert_eq!((offset, instructions), (whole as u64, before), "cut at {length}");
            }
            other => panic!("cut at {length}: {other:?}"),
        }
    }
}

#[test]
fn a_trace_cut_in_its_header_is_said_to_be_cut() {
    let trace = write(&sample()).unwrap();
    for length in 1..20 + "made up".len() + 4 {
        let (_, _, end) = read(&trace[..length]);
        assert!(
            matches!(end, Err(TraceError::Truncated { offset: 0, instructions: 0 })),
            "{end:?}"
        );
    }
}

#[test]
fn an_index_is_not_looked_for_in_a_trace_that_was_cut() {
    let made_up = sample();
    let trace = write(&made_up).unwrap();
    let boundaries = frames(&trace, &made_up);
    for length in (boundaries[0].0..trace.len()).step_by(7) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&trace[..length]).unwrap();
        let &(whole, _, before) = boundaries.iter().rev().find(|(at, ..)| *at <= length).unwrap();
        match IndexedTrace::open(file.path()) {
            Err(TraceError::Truncated { offset, instructions }) => {
                assert_eq!((offset, instructions), (whole as u64, before), "cut at {length}");
            }
            other => panic!("cut at {length}: {other:?}"),
        }
    }
}

#[test]
fn no_changed_byte_changes_what_is_read() {
    let made_up = sample();
    let trace = write(&made_up).unwrap();
    let (items, _) = expected(&made_up);
    let index = u64::from_le_bytes(trace[trace.len() - 16..trace.len() - 8].try_into().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut unnoticed = 0;
    for at in 0..trace.len() {
        let mut changed = trace.clone();
        changed[at] ^= 1 << (at % 8);
        let (delivered, _, end) = read(&changed[..]);
        assert_eq!(delivered, items[..delivered.len()], "byte {at}");
        // Compressed data has bits without a meaning, and a pipe is read without the index.
        if end.is_ok() {
            assert_eq!(delivered.len(), items.len(), "byte {at}");
            unnoticed += 1;
        }
        if at as u64 >= index {
            std::fs::write(file.path(), &changed).unwrap();
            assert!(IndexedTrace::open(file.path()).is_err(), "byte {at}");
        }
    }
    assert!(unnoticed < 40, "{unnoticed} of {} bytes", trace.len());
}

#[test]
fn a_reader_that_has_failed_delivers_nothing_more() {
    let made_up = sample();
    let mut trace = write(&made_up).unwrap();
    let boundaries = frames(&trace, &made_up);
    let middle = boundaries[boundaries.len() / 2].0;
    trace[middle + 40] ^= 0x10;
    let mut reader = TraceReader::new(&trace[..]).unwrap();
    let mut batch = Batch::default();
    while reader.read(&mut batch).is_ok() {}
    assert!(batch.is_empty());
    for _ in 0..3 {
        assert!(matches!(reader.read(&mut batch), Err(TraceError::Damaged { .. })));
        assert!(batch.is_empty());
    }
}

#[test]
fn empty_foreign_and_future_files_are_told_apart() {
    assert!(matches!(read(&b""[..]).2, Err(TraceError::Empty)));
    let Err(TraceError::Foreign { found }) = read(&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"[..]).2
    else {
        panic!("an ELF file is no trace")
    };
    assert_eq!(found, "\\x7fELF\\x02\\x01\\x01\\x00");
    let mut future = write(&sample()).unwrap();
    future[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let error = read(&future[..]).2.unwrap_err();
    assert!(matches!(error, TraceError::Version { found: 3, known: 2 }));
    assert!(error.to_string().contains("newer strata"), "{error}");
    // What a transfer in text mode makes of a trace.
    let mut mangled = MAGIC.to_vec();
    mangled[0] &= 0x7f;
    assert!(matches!(read(&mangled[..]).2, Err(TraceError::Foreign { .. })));
}

#[test]
fn a_header_with_lacks_of_a_later_version_is_refused() {
    let mut trace = write(&sample()).unwrap();
    trace[16..20].copy_from_slice(&(1u32 << 31).to_le_bytes());
    let end = 20 + "made up".len();
    let sum = crc32fast::hash(&trace[..end]);
    trace[end..end + 4].copy_from_slice(&sum.to_le_bytes());
    says(&trace, "unknown lacks, bits 0x80000000");
}

#[test]
fn a_length_that_promises_more_than_there_is_takes_no_memory() {
    let mut trace = write(&sample()).unwrap();
    let head = 20 + "made up".len() + 4;
    trace[head + 4..head + 12].copy_from_slice(&(1u64 << 32).to_le_bytes());
    let sum = crc32fast::hash(&trace[head..head + 12]);
    trace[head + 12..head + 16].copy_from_slice(&sum.to_le_bytes());
    // Reading stops where the input does; 4 GiB would fail here or take seconds.
    assert!(matches!(read(&trace[..]).2, Err(TraceError::Truncated { .. })));
}

/// Replaces column `number` of the first frame `tag` by what `change` makes of it, checksums and
/// all, as a hostile writer might.
fn with_column(
    trace: &[u8],
    tag: &[u8; 4],
    number: usize,
    change: impl Fn(&mut Vec<u8>),
) -> Vec<u8> {
    let mut at = 20 + u32::from_le_bytes(trace[12..16].try_into().unwrap()) as usize + 4;
    while &trace[at..at + 4] != tag {
        at += 16 + u64::from_le_bytes(trace[at + 4..at + 12].try_into().unwrap()) as usize;
    }
    let length = u64::from_le_bytes(trace[at + 4..at + 12].try_into().unwrap()) as usize;
    let (mut columns, _) = super::naive::columns(&trace[at + 16..at + 16 + length]);
    change(&mut columns[number]);
    let mut payload = vec![columns.len() as u8];
    let put = |out: &mut Vec<u8>, mut value: usize| {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    };
    for column in &columns {
        put(&mut payload, column.len());
        put(&mut payload, column.len());
        payload.extend_from_slice(&crc32fast::hash(column).to_le_bytes());
    }
    payload.extend(columns.concat());
    let mut out = trace[..at].to_vec();
    out.extend_from_slice(tag);
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let sum = crc32fast::hash(&out[at..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend(payload);
    out.extend_from_slice(&trace[at + 16 + length..]);
    out
}

fn says(trace: &[u8], text: &str) {
    let error = read(trace).2.unwrap_err();
    assert!(matches!(error, TraceError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn a_frame_with_sound_checksums_is_still_held_to_its_own_words() {
    let trace = write(&sample()).unwrap();
    let same = with_column(&trace, b"CHNK", 1, |_| {});
    assert_eq!(read(&same[..]).0, read(&trace[..]).0);
    says(&with_column(&trace, b"CHNK", 1, |tokens| tokens[0] = 0x40), "token");
    says(&with_column(&trace, b"CHNK", 1, |tokens| tokens.truncate(3)), "column goes on");
    says(&with_column(&trace, b"CHNK", 1, |tokens| tokens.push(0)), "");
    says(&with_column(&trace, b"CHNK", 6, |events| events.push(12)), "events column goes on");
    says(&with_column(&trace, b"CHNK", 6, |events| events[0] = 200), "event kind 200");
    says(&with_column(&trace, b"CHNK", 0, |head| head.push(0)), "head column goes on");
    says(&with_column(&trace, b"CHNK", 0, |head| head[0] = 1), "does not continue");
    says(&with_column(&trace, b"DEFS", 0, |blocks| blocks[0] = 1), "definitions continue");
    says(&with_column(&trace, b"DEFS", 1, |lengths| lengths[0] = 0), "instruction of 0 bytes");
}

#[test]
fn iterations_beyond_what_the_chunk_promises_are_refused() {
    use strata_workloads::trace::{
        Block, BlockId, CodeSize, Flow, Repeat, Shape, ShapeId, StackEffect, TraceWriter,
        WriterOptions,
    };
    let mut batch = Batch::default();
    batch.new.blocks.push(Block {
        address: 0x1000,
        code_size: CodeSize::Bits64,
        privilege: 0,
        space: None,
        lengths: Box::new([2]),
        code: Box::default(),
    });
    batch.new.shapes.push(Shape {
        block: BlockId(0),
        completed: 1,
        interrupted: false,
        slots: Box::default(),
        repeat: Some(Repeat { slots: 0, backward: false }),
        flow: Flow::Other,
        stack: StackEffect::Moves(0),
    });
    batch.shapes = vec![ShapeId(0); 3];
    batch.iterations = vec![5, 6, 7];
    let mut writer = TraceWriter::create(Vec::new(), WriterOptions::default()).unwrap();
    writer.write(&mut batch).unwrap();
    let (trace, _) = writer.finish().unwrap();
    read(&trace[..]).2.unwrap();
    says(
        &with_column(&trace, b"CHNK", 5, |i| i[2] = 8),
        "number of iterations left in the chunk is 8",
    );
    says(&with_column(&trace, b"CHNK", 5, |i| i[2] = 6), "the chunk holds");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes_that_are_changed_moved_or_lost_never_give_wrong_data(
        bytes in any_bytes(),
        damage in proptest::collection::vec((any::<u16>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let made_up = stream(&bytes);
        let (items, _) = expected(&made_up);
        let mut trace = write(&made_up).unwrap();
        for (at, value, how) in damage {
            let at = usize::from(at) % trace.len().max(1);
            match how {
                0 => trace[at] = value,
                1 => trace.insert(at, value),
                2 if trace.len() > 1 => { trace.remove(at); }
                _ => trace.truncate(at.max(1)),
            }
        }
        let (delivered, _, _) = read(&trace[..]);
        prop_assert!(delivered.len() <= items.len());
        prop_assert_eq!(&delivered[..], &items[..delivered.len()]);
    }

    #[test]
    fn any_bytes_behind_a_sound_header_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut trace = write(&stream(&[])).unwrap()[..20 + "made up".len() + 4].to_vec();
        trace.extend_from_slice(&bytes);
        prop_assert!(read(&trace[..]).2.is_err());
    }
}
