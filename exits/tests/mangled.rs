//! Bytes that are no trace: any result, no panic, nothing lost without being counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;
use strata_exits::{
    Account, Accounting, Babeltrace, Breakdown, By, Format, Native, OldLayout, OldXentrace,
    PerfData, PerfScript, Phases, Source, Timeline, TraceCmd, Window, Xentrace,
};

fn data(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let packed = fs::read(path).unwrap();
    let mut bytes = Vec::new();
    liblzma::read::XzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

const PHASES: &str = r#"
    schema = 1
    probe = [
        { name = "a", at = "exit" },
        { name = "b", at = "switched-out" },
        { name = "c", event = "sched_switch", where = { next_comm = "kt", next_pid = 1 }, on = "any" },
        { name = "d", at = "entry" },
        { name = "e", event = "kvm_exit", when = "after-entry" },
    ]
    phase = [{ name = "x", parts = [["a", "b"], ["c", "e"]] }]
"#;

/// Reads to the end in every way of accounting.
fn drain<S: Source>(mut source: S) {
    let mut accounts: Vec<Account> =
        [Window::ExitEntry, Window::PerfPort, Window::PerfMemory, Window::Xenalyze]
            .into_iter()
            .zip([By::Vcpu, By::Port, By::Address, By::Scenario])
            .map(|(window, by)| {
                let edges = vec![10, 1000];
                Account::new(Accounting { by, window, exclude_waiting: false, edges }).unwrap()
            })
            .collect();
    let mut timeline = Timeline::default();
    // Refused by what numbers its events.
    let named = Phases::parse(PHASES, Path::new("phases")).unwrap();
    let mut breakdown = source.watch(named.watch()).is_ok().then(|| Breakdown::new(named));
    while let Ok(Some(event)) = source.next_event() {
        let interval = accounts[0].event(&event);
        timeline.event(&event, interval);
        breakdown.iter_mut().for_each(|phases| phases.event(&event, interval));
        accounts[1..].iter_mut().for_each(|account| {
            account.event(&event);
        });
    }
    for account in accounts {
        if let Ok(report) = account.finish(&source) {
            if let Some(breakdown) = breakdown.take() {
                breakdown.finish(&report).unwrap();
            }
            let matched = report.vcpus.iter().map(|row| row.times.exits).sum::<u64>();
            if report.options.window == Window::ExitEntry {
                assert_eq!(matched, report.total.durations.count() + report.unmatched.all_exits());
            }
        }
    }
}

fn drain_all(bytes: &[u8]) {
    let _ = Format::of(bytes);
    if let Ok(source) = Xentrace::new(bytes) {
        drain(source);
    }
    for (long, by_vcpu) in [(false, false), (true, true)] {
        drain(OldXentrace::new(bytes, OldLayout { long, by_vcpu }));
    }
    drain(PerfScript::new(bytes));
    drain(TraceCmd::new(bytes));
    drain(Babeltrace::new(bytes));
    if let Ok(source) = PerfData::new(Cursor::new(bytes)) {
        drain(source);
    }
    if let Ok(source) = Native::new(bytes) {
        drain(source);
    }
}

/// A pseudo-random sequence, the same every time.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn recordings_with_wrong_missing_and_doubled_bytes_are_read_as_far_as_they_go() {
    let cut = fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kvm-svm/perf-script-cut.txt"),
    )
    .unwrap();
    let mut traces = vec![cut];
    for name in
        ["xen-pvh-svm/xentrace.bin.xz", "kvm-svm/perf.data.xz", "kvm-svm/trace-cmd-report.txt.xz"]
    {
        let mut bytes = data(name);
        bytes.truncate(60_000);
        traces.push(bytes);
    }
    let mut state = 1;
    for trace in traces {
        for _ in 0..40 {
            let mut bytes = trace.clone();
            for _ in 0..1 + next(&mut state) % 8 {
                let at = next(&mut state) % bytes.len();
                match next(&mut state) % 4 {
                    0 => bytes[at] ^= 1 << (next(&mut state) % 8),
                    1 => bytes[at] = [0, 0xff, b' ', b'\n'][next(&mut state) % 4],
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let end = (at + next(&mut state) % 64).min(bytes.len());
                        bytes.drain(at..end);
                        if bytes.is_empty() {
                            bytes.push(0);
                        }
                    }
                }
            }
            drain_all(&bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drain_all(&bytes);
        // Behind a head that is right.
        let mut window = vec![0x03, 0xf0, 0x01, 0x20, 0, 0, 0, 0];
        window.extend((bytes.len() as u32 / 4 * 4).to_le_bytes());
        window.extend(&bytes);
        drain_all(&window);
    }

    #[test]
    fn any_text_is_read(text in "[ a-z0-9_:=,.\\[\\]{}()/\\-\n]{0,200}") {
        drain_all(text.as_bytes());
        drain_all(format!("kt 9 [000] 1.5: kvm:kvm_exit: {text}").as_bytes());
        drain_all(format!("[1.5] (+0) h kvm_x86_exit: {{ {text}").as_bytes());
    }
}

/// Three exits of 2⁶³ cycles or more each, and as many lost records as 64 bits take, twice.
#[test]
fn sums_that_64_bits_do_not_take_stay_at_the_most() {
    let mut bytes = Vec::new();
    let word = |bytes: &mut Vec<u8>, word: u32| bytes.extend(word.to_le_bytes());
    let record = |bytes: &mut Vec<u8>, event: u32, time: u64, data: &[u32]| {
        word(bytes, event | (data.len() as u32) << 28 | 1 << 31);
        bytes.extend(time.to_le_bytes());
        data.iter().for_each(|&data| word(bytes, data));
    };
    let mut window = Vec::new();
    for _ in 0..3 {
        record(&mut window, 0x8_1102, 1, &[12, 0, 0]);
        record(&mut window, 0x2_1021, 2, &[1 << 16]);
        record(&mut window, 0x2_1201, u64::MAX - 1, &[1 << 16]);
        record(&mut window, 0x8_1001, u64::MAX, &[]);
    }
    for head in [0x2001_f003, 0, window.len() as u32] {
        bytes.extend(u32::to_le_bytes(head));
    }
    bytes.extend(window);
    let report = Account::new(Accounting::default())
        .unwrap()
        .run(&mut Xentrace::new(&bytes[..]).unwrap())
        .unwrap();
    let outside = report.vcpus.iter().map(|row| row.times.outside).max();
    assert_eq!(outside, Some(u64::MAX));
    assert_eq!(report.total.durations.total(), u64::MAX);
    let lost: Vec<u8> = (0..2u8)
        .flat_map(|_| {
            let mut record = vec![0, 0, 0, 0];
            record.extend(7u64.to_le_bytes());
            record.extend(0x1_f001u32.to_le_bytes());
            record.extend([0; 4]);
            record.extend([0xff; 40]);
            record
        })
        .collect();
    let mut source = OldXentrace::new(&lost[..], OldLayout { long: true, by_vcpu: false });
    while source.next_event().unwrap().is_some() {}
    assert_eq!((source.coverage().lost, source.coverage().losses), (u64::MAX, 2));
}

#[test]
fn a_perf_data_file_whose_parts_are_beyond_its_end_is_refused() {
    let whole = data("kvm-svm/perf.data.xz");
    assert!(PerfData::new(Cursor::new(whole.clone())).is_ok());
    // Places of sizes in struct perf_file_header: of an attribute, of attributes, of data; then that of
    // the first feature, behind the data.
    let number = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().unwrap()) as usize;
    let feature = number(40) + number(48) + 8;
    for (at, said) in [
        (16, "shorter than any"),
        (32, "its attributes"),
        (48, "its data"),
        (feature, "one of its features"),
    ] {
        let mut broken = whole.clone();
        let value = if at == 16 { 0 } else { u64::MAX - 3 };
        broken[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let Err(error) = PerfData::new(Cursor::new(broken)) else { panic!("{at} is taken") };
        assert!(error.to_string().contains(said), "{error}");
    }
}
