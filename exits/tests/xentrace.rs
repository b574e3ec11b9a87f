//! xentrace files made by the real tool, against what xenalyze says of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use strata_exits::{
    Account, Accounting, ExitReport, Isa, Kind, Paravirtual, RunState, Source, VcpuName, Window,
    Xentrace,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn unpacked(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = fs::read(data(name)).unwrap();
    liblzma::read::XzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

fn report(bytes: &[u8], options: Accounting) -> ExitReport {
    Account::new(options).unwrap().run(&mut Xentrace::new(bytes).unwrap()).unwrap()
}

/// Part of xenalyze's summary between two lines.
fn section<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let begin = text.find(from).unwrap() + from.len();
    let end = text[begin..].find(to).map_or(text.len(), |end| begin + end);
    &text[begin..end]
}

/// Number of events of each name in xenalyze's list of paravirtual events.
fn xenalyze_entries(domain: &str) -> (BTreeMap<String, u64>, BTreeMap<u32, u64>) {
    let (mut entries, mut hypercalls) = (BTreeMap::new(), BTreeMap::new());
    for line in section(domain, "PV events:\n", "Emulate eip list").lines() {
        if let Some((name, count)) = line.rsplit_once("]:") {
            let number = name.rsplit_once('[').unwrap().1.trim().parse().unwrap();
            hypercalls.insert(number, count.trim().parse().unwrap());
        } else if let Some((name, count)) = line.trim().rsplit_once("  ") {
            entries.insert(name.to_owned(), count.parse().unwrap());
        }
    }
    (entries, hypercalls)
}

#[test]
fn hypercalls_and_traps_of_a_paravirtualized_guest_are_as_many_as_xenalyze_counts() {
    let report = report(&unpacked("xen-pv/xentrace.bin.xz"), Accounting::default());
    let summary = fs::read_to_string(data("xen-pv/xenalyze-summary.txt")).unwrap();
    for domain in [0u16, 1] {
        let its = section(&summary, &format!("|-- Domain {domain} --|"), "|-- Domain");
        let (entries, hypercalls) = xenalyze_entries(its);
        let of = |entry: &dyn Fn(Paravirtual) -> bool| -> u64 {
            let name = Some(VcpuName::Xen { domain, number: 0 });
            let rows = report.paravirtual.iter().filter(|row| row.vcpu == name && entry(row.entry));
            rows.map(|row| row.count).sum()
        };
        let mut total = 0;
        for (&number, &count) in &hypercalls {
            assert_eq!(
                of(&|entry| entry == Paravirtual::Hypercall(number)),
                count,
                "d{domain} {number}"
            );
            total += count;
        }
        assert_eq!(of(&|entry| matches!(entry, Paravirtual::Hypercall(_))), total);
        assert_eq!(entries["hypercall"], total);
        assert_eq!(of(&|entry| entry == Paravirtual::Other(8)), entries["math state restore"]);
        let faults = entries.get("page_fault").copied().unwrap_or(0);
        assert_eq!(of(&|entry| entry == Paravirtual::Other(4)), faults);
    }
    assert!(report.rows.is_empty(), "a paravirtualized guest has no VM exits");
}

/// Number and mean of the stays in a state: `   blocked:      64  0.06s 2117781 {…}`.
fn xenalyze_stays(vcpu: &str, state: &str) -> (u64, u64) {
    let line = vcpu.lines().find(|line| line.trim_start().starts_with(state)).unwrap();
    let mut words = line.split(':').nth(1).unwrap().split_whitespace();
    let count = words.next().unwrap().parse().unwrap();
    (count, words.nth(1).unwrap().parse().unwrap())
}

/// Stays as xenalyze counts them, which differ from ours in three ways: those before a vCPU first
/// runs are left out, a record that it goes on running ends one and begins another, and the end of
/// the trace ends the last.
fn stays_of_xenalyze(bytes: &[u8], vcpu: VcpuName) -> BTreeMap<RunState, (u64, u64)> {
    let mut source = Xentrace::new(bytes).unwrap();
    let mut stays: BTreeMap<RunState, (u64, u64)> = BTreeMap::new();
    let (mut current, mut last) = (None, 0);
    let mut end = |state: RunState, time: u64| {
        let stay = stays.entry(state).or_default();
        *stay = (stay.0 + 1, stay.1 + time);
    };
    while let Some(event) = source.next_event().unwrap() {
        last = event.time;
        let Kind::RunState(state) = event.kind else { continue };
        if source.vcpus().name(event.vcpu.unwrap()) != vcpu {
            continue;
        }
        if let Some((before, since)) = current {
            end(before, event.time - since);
        } else if state != RunState::Running {
            continue;
        }
        current = Some((state, event.time));
    }
    if let Some((RunState::Running, since)) = current {
        end(RunState::Running, last.max(since) - since);
    }
    stays
}

#[test]
fn run_states_are_as_xenalyze_times_them() {
    for folder in ["xen-pv", "xen-pvh-svm"] {
        let bytes = unpacked(&format!("{folder}/xentrace.bin.xz"));
        let report = report(&bytes, Accounting::default());
        let summary = fs::read_to_string(data(&format!("{folder}/xenalyze-summary.txt"))).unwrap();
        for domain in [0u16, 1] {
            let its = section(&summary, &format!("|-- Domain {domain} --|"), "|-- Domain");
            let its = section(its, "-- v0 --", "cpu affinity");
            let name = VcpuName::Xen { domain, number: 0 };
            let theirs = stays_of_xenalyze(&bytes, name);
            let ours = &report.vcpus.iter().find(|row| row.name == name).unwrap().run_states;
            for state in [RunState::Running, RunState::Runnable, RunState::Blocked] {
                let (count, total) = theirs[&state];
                let told = xenalyze_stays(its, state.name());
                // The last record of all is of another kind than those read here.
                let slack = if state == RunState::Running { 200_000 } else { 0 };
                assert_eq!(count, told.0, "{folder} d{domain} {}", state.name());
                assert!(
                    (total / count).abs_diff(told.1) <= slack,
                    "{folder} d{domain} {}",
                    state.name()
                );
                // Where the three differences do not matter, ours are the same.
                if state != RunState::Running {
                    let stays = ours.stays(state);
                    let more = stays.count() - count;
                    assert!(more <= 1, "{folder} d{domain} {}", state.name());
                    if more == 0 {
                        assert_eq!(stays.total(), total);
                    }
                }
            }
        }
    }
}

/// Lines ` VMEXIT_CPUID              342  0.01s  1.88% 54689 cyc {53256|53272|53584}`.
fn xenalyze_exits(summary: &str) -> BTreeMap<String, (u64, u64)> {
    let lines = section(summary, "Exit reasons:\n", "Guest interrupt counts").lines();
    lines
        .filter_map(|line| line.strip_prefix(" VMEXIT_"))
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap().to_owned();
            let count = words.next().unwrap().parse().unwrap();
            (name, (count, words.nth(2).unwrap().parse().unwrap()))
        })
        .collect()
}

#[test]
fn exits_of_a_hardware_assisted_guest_are_as_xenalyze_counts_and_times_them() {
    let bytes = unpacked("xen-pvh-svm/xentrace.bin.xz");
    let options = Accounting { window: Window::Xenalyze, ..Accounting::default() };
    let report = report(&bytes, options);
    let summary = fs::read_to_string(data("xen-pvh-svm/xenalyze-summary.txt")).unwrap();
    let theirs = xenalyze_exits(&summary);
    let ours: BTreeMap<String, (u64, u64)> = report
        .rows
        .iter()
        .map(|row| {
            let durations = &row.sums.durations;
            (row.name.clone(), (durations.count(), durations.total() / durations.count()))
        })
        .collect();
    assert_eq!(ours, theirs);
    assert_eq!((report.isa, report.isa_guessed), (Isa::Svm, true));
    let matched: u64 = theirs.values().map(|row| row.0).sum();
    assert_eq!(report.total.durations.count(), matched);
}

#[test]
fn handling_and_waiting_of_a_halted_guest_are_told_apart() {
    let bytes = unpacked("xen-pvh-svm/xentrace.bin.xz");
    let whole = report(&bytes, Accounting::default());
    let without = report(&bytes, Accounting { exclude_waiting: true, ..Accounting::default() });
    let halt = |report: &ExitReport| {
        let row = report.rows.iter().find(|row| row.name == "HLT").unwrap();
        (row.sums.durations.total(), row.sums.blocked + row.sums.preempted)
    };
    let ((all, waiting), (handling, _)) = (halt(&whole), halt(&without));
    assert_eq!(all, handling + waiting);
    assert!(waiting > 9 * handling, "a halted guest waits: {waiting} of {all}");
}

#[test]
fn every_record_is_counted() {
    let bytes = unpacked("xen-pv/xentrace.bin.xz");
    let mut source = Xentrace::new(&bytes[..]).unwrap();
    let mut events = 0u64;
    while source.next_event().unwrap().is_some() {
        events += 1;
    }
    let coverage = source.coverage();
    let (mut windows, mut at) = (0, 0);
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        at += 12 + length as usize;
        windows += 1;
    }
    // Each record is the head of a window, an event, or of no interest.
    assert_eq!(coverage.records, windows + events + coverage.all_skipped());
    assert_eq!((coverage.skipped_bytes, coverage.malformed, coverage.lost), (0, 0, 0));
}
