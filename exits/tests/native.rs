//! A native trace with VMRUN and #VMEXIT, against a naive count of its events, against what its
//! guest does, and against perf's trace of the same run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use strata_exits::{
    Account, Accounting, By, ExitReport, Kind, Native, PerfData, Row, Source, VcpuName,
};
use strata_workloads::trace::{Batch, Event, TraceReader};

/// `strata-guest 12` under kvm-amd: two vCPUs, each for so many rounds.
const ROUNDS: u64 = 12;
const VCPUS: u64 = 2;

fn sample(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/kvm-amd").join(file)
}

fn native() -> Native<File> {
    Native::new(File::open(sample("trace.strata")).unwrap()).unwrap()
}

fn report(by: By) -> ExitReport {
    let options = Accounting { by, ..Accounting::default() };
    Account::new(options).unwrap().run(&mut native()).unwrap()
}

fn counts(rows: &[Row]) -> BTreeMap<String, u64> {
    rows.iter().map(|row| (row.name.clone(), row.sums.durations.count())).collect()
}

/// Exits by code: number and instructions until the VMCB is run again. Codes of exits after which
/// it is not, apart.
fn naive() -> (BTreeMap<u64, (u64, u64)>, Vec<u64>) {
    let mut reader = TraceReader::open(&sample("trace.strata")).unwrap();
    let mut batch = Batch::default();
    let (mut now, mut runs) = (0, None);
    let mut left: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut all: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    while reader.read(&mut batch).unwrap() {
        let mut executions = batch.shapes.iter().enumerate().peekable();
        for (before, event) in &batch.events {
            while let Some((_, shape)) = executions.next_if(|(i, _)| *i < *before as usize) {
                now += u64::from(reader.tables().shapes[shape.index()].completed);
            }
            match *event {
                Event::VmRun { vmcb, .. } => {
                    if let Some((code, since)) = left.remove(&vmcb) {
                        let sum = all.entry(code).or_default();
                        *sum = (sum.0 + 1, sum.1 + now - since);
                    }
                    runs = Some(vmcb);
                }
                Event::VmExit { code, .. } => {
                    assert_eq!(left.insert(runs.unwrap(), (code, now)), None);
                }
                _ => {}
            }
        }
        for (_, shape) in executions {
            now += u64::from(reader.tables().shapes[shape.index()].completed);
        }
    }
    (all, left.values().map(|(code, _)| *code).collect())
}

/// Exit codes of the AMD manual, volume 2, appendix C.
fn name_of(code: u64) -> &'static str {
    match code {
        0x60 => "INTR",
        0x72 => "CPUID",
        0x78 => "HLT",
        0x7b => "IOIO",
        0x400 => "NPF",
        _ => panic!("the guest has no exit {code:#x}"),
    }
}

#[test]
fn counts_and_times_by_reason_are_those_of_the_events() {
    let report = report(By::Reason);
    let (expected, open) = naive();
    assert_eq!(report.rows.len(), expected.len());
    for (code, (count, instructions)) in expected {
        let row = report.rows.iter().find(|row| row.name == name_of(code)).unwrap();
        assert_eq!(row.sums.durations.count(), count, "{}", row.name);
        assert_eq!(row.sums.durations.total(), instructions, "{}", row.name);
    }
    // Each vCPU halts last, and is not run again.
    assert_eq!(open, [0x78, 0x78]);
    assert_eq!(report.unmatched.at_end, 2);
}

#[test]
fn exits_are_those_that_the_guest_makes() {
    let each = ROUNDS * VCPUS;
    let reasons = counts(&report(By::Reason).rows);
    assert_eq!(reasons["IOIO"], 2 * each);
    assert_eq!(reasons["CPUID"], each);
    assert_eq!(reasons["HLT"], each - VCPUS);
    // Two accesses to the device in a round, a page of RAM in each, and the page of the code once.
    assert_eq!(reasons["NPF"], 2 * each + each + 1);

    let ports = counts(&report(By::Port).rows);
    assert_eq!(ports, BTreeMap::from([("0x0061".to_owned(), each), ("0x0080".to_owned(), each)]));

    let addresses = counts(&report(By::Address).rows);
    assert_eq!((addresses["0xd0000"], addresses["0xd0004"]), (each, each));
    // Each vCPU's pages follow each other, from 0x10000 and 0x40000.
    for page in (0..ROUNDS).flat_map(|i| [0x10000 + (i << 12), 0x40000 + (i << 12)]) {
        assert_eq!(addresses[&format!("{page:#x}")], 1, "{page:#x}");
    }
}

/// Reasons of all exits in order, each with its vCPU.
fn exits(mut source: impl Source) -> Vec<(Option<u32>, VcpuName)> {
    let mut exits = Vec::new();
    while let Some(event) = source.next_event().unwrap() {
        if let Kind::Exit { reason, .. } = event.kind {
            exits.push((reason, source.vcpus().name(event.vcpu.unwrap())));
        }
    }
    exits
}

#[test]
fn perf_saw_the_same_exits_in_the_same_order() {
    let ours = exits(native());
    let perf = exits(PerfData::new(File::open(sample("events/perf.data")).unwrap()).unwrap());
    let reasons = |exits: &[(Option<u32>, _)]| exits.iter().map(|e| e.0).collect::<Vec<_>>();
    assert_eq!(reasons(&ours), reasons(&perf));
    let pairs: std::collections::BTreeSet<_> =
        ours.iter().zip(&perf).map(|(ours, perf)| (ours.1, perf.1)).collect();
    assert_eq!(pairs.len() as u64, VCPUS, "a VMCB is a vCPU's: {pairs:?}");
    assert!(pairs.iter().all(|(ours, _)| matches!(ours, VcpuName::Svm { .. })));
}
