use super::flat::{Item, expected, read, write};
use super::made_up::{MadeUp, stream};
use super::round_trip::any_bytes;
use proptest::prelude::*;
use std::path::Path;
use strata_workloads::trace::{
    Event, GapReason, SalvageReport, TraceError, TraceReader, check, salvage,
};

fn salvaged(trace: &[u8]) -> (Result<SalvageReport, TraceError>, Vec<Item>) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::write(&from, trace).unwrap();
    let report = salvage(&from, &to);
    assert_eq!(std::fs::read(&from).unwrap(), trace, "the input was changed");
    assert_eq!(report.is_ok(), to.exists());
    assert_eq!(files(folder.path()), if report.is_ok() { 2 } else { 1 });
    let items = match std::fs::read(&to) {
        Ok(bytes) => {
            let (items, _, end) = read(&bytes[..]);
            end.unwrap();
            assert_eq!(report.as_ref().unwrap().bytes, bytes.len() as u64);
            let mut law = check(TraceReader::new(&bytes[..]).unwrap(), |_| {}).unwrap();
            // The made-up streams break these themselves.
            use strata_workloads::trace::Law;
            law.broken.retain(|law, _| *law == Law::StateFollows);
            assert!(law.is_sound(), "{:?}", law.findings);
            items
        }
        Err(_) => Vec::new(),
    };
    (report, items)
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn sample() -> MadeUp {
    let bytes: Vec<u8> = (0..2500u32).map(|i| (i.wrapping_mul(2654435761) >> 24) as u8).collect();
    let mut made_up = stream(&bytes);
    made_up.options.chunk_instructions = 80;
    made_up
}

/// Offset and length of each frame, with its tag.
fn frames(trace: &[u8]) -> Vec<(usize, usize, [u8; 4])> {
    let mut at = 20 + "made up".len() + 4;
    let mut frames = Vec::new();
    while at < trace.len() - 16 {
        let length = u64::from_le_bytes(trace[at + 4..at + 12].try_into().unwrap()) as usize;
        frames.push((at, 16 + length, trace[at..at + 4].try_into().unwrap()));
        at += 16 + length;
    }
    frames
}

#[test]
fn a_whole_trace_is_kept_whole() {
    let trace = write(&sample()).unwrap();
    let (report, items) = salvaged(&trace);
    let report = report.unwrap();
    assert_eq!(items, expected(&sample()).0);
    assert!(report.first_error.is_none() && report.last_error.is_none());
    assert_eq!(report.gaps, 0);
}

#[test]
fn a_trace_cut_off_is_kept_up_to_its_last_whole_chunk() {
    let trace = write(&sample()).unwrap();
    let chunks: Vec<_> = frames(&trace).into_iter().filter(|f| f.2 == *b"CHNK").collect();
    for length in (chunks[0].0 + chunks[0].1..trace.len()).step_by(101) {
        let (report, items) = salvaged(&trace[..length]);
        let report = report.unwrap();
        let (delivered, _, end) = read(&trace[..length]);
        assert_eq!(items, delivered);
        let Err(TraceError::Truncated { instructions, .. }) = end else { panic!("{end:?}") };
        assert_eq!(report.kept.totals.instructions, instructions);
        assert!(matches!(report.first_error, Some(TraceError::Truncated { .. })));
    }
}

#[test]
fn where_nothing_is_whole_nothing_is_left_behind() {
    let trace = write(&sample()).unwrap();
    let first_chunk = frames(&trace).into_iter().find(|f| f.2 == *b"CHNK").unwrap();
    let (report, _) = salvaged(&trace[..first_chunk.0 + 20]);
    assert!(matches!(report, Err(TraceError::Truncated { instructions: 0, .. })));
    assert!(matches!(salvaged(b"").0, Err(TraceError::Empty)));
    assert!(matches!(salvaged(b"hello, world, hello").0, Err(TraceError::Foreign { .. })));
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    std::fs::write(&from, write(&sample()).unwrap()).unwrap();
    let to = folder.path().join("to");
    std::fs::write(&to, "mine").unwrap();
    for target in [&to, &from] {
        let error = salvage(&from, target).unwrap_err();
        assert!(error.to_string().contains("exists"), "{error}");
    }
    assert_eq!(std::fs::read(&to).unwrap(), b"mine");
    assert_eq!(files(folder.path()), 2);
}

#[test]
fn a_damaged_chunk_becomes_a_gap_with_the_number_of_its_instructions() {
    let made_up = sample();
    let trace = write(&made_up).unwrap();
    let all = expected(&made_up).0;
    let chunks: Vec<_> = frames(&trace).into_iter().filter(|f| f.2 == *b"CHNK").collect();
    let mut continued = 0;
    for (i, &(at, length, _)) in chunks.iter().enumerate() {
        let mut damaged = trace.clone();
        damaged[at + length - 1] ^= 0x55;
        let (report, items) = salvaged(&damaged);
        if i == 0 && report.is_err() {
            continue;
        }
        let report = report.unwrap();
        assert!(matches!(report.first_error, Some(TraceError::Damaged { offset, .. })
            if offset == at as u64));
        if report.gaps == 0 {
            // Nothing whole follows, or a nested guest started or ended within.
            continue;
        }
        continued += 1;
        let gap = items
            .iter()
            .position(|item| {
                matches!(item, Item::Event(Event::Gap { reason: GapReason::Damaged, instructions })
                if *instructions == report.lost_instructions)
            })
            .unwrap();
        assert_eq!(items[..gap], all[..gap]);
        // What follows the gap is the end of the stream, as far as it is the same kind of thing.
        let tail = |items: &[Item]| -> Vec<Item> { items.iter().rev().take(20).cloned().collect() };
        assert_eq!(tail(&items), tail(&all));
        let whole = TraceReader::new(&trace[..]).map(|mut reader| {
            while reader.read(&mut Default::default()).unwrap() {}
            reader.totals().instructions
        });
        assert_eq!(report.kept.totals.instructions + report.lost_instructions, whole.unwrap());
    }
    assert!(continued > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_damage_leaves_a_sound_trace_or_none(bytes in any_bytes(), at: u16, value: u8) {
        let made_up = stream(&bytes);
        let mut trace = write(&made_up).unwrap();
        let at = usize::from(at) % trace.len();
        trace[at] = value;
        let (report, items) = salvaged(&trace);
        if let Ok(report) = report
            && report.gaps == 0
        {
            let all = expected(&made_up).0;
            prop_assert_eq!(&items[..], &all[..items.len()]);
        }
    }
}
