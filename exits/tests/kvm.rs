//! KVM traces made by the real tools, against what `perf kvm stat report` says of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;
use strata_exits::{
    Account, Accounting, Babeltrace, By, ExitReport, Isa, PerfData, PerfScript, Row, Source,
    TraceCmd, VcpuName, Window,
};

fn data(name: &str) -> Vec<u8> {
    unpacked(&format!("kvm-svm/{name}"))
}

fn unpacked(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let packed = fs::read(path).unwrap();
    let mut bytes = Vec::new();
    liblzma::read::XzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

fn report<S: Source>(mut source: S, by: By, window: Window) -> ExitReport {
    let options = Accounting { by, window, ..Accounting::default() };
    Account::new(options).unwrap().run(&mut source).unwrap()
}

fn of_perf_data(by: By, window: Window) -> ExitReport {
    report(PerfData::new(Cursor::new(data("perf.data.xz"))).unwrap(), by, window)
}

fn of_perf_script(by: By, window: Window) -> ExitReport {
    report(PerfScript::new(Cursor::new(data("perf-script.txt.xz"))), by, window)
}

/// A line of `perf kvm stat report`: name, samples, shares, times in microseconds.
struct Line {
    name: String,
    samples: u64,
    samples_percent: f64,
    time_percent: f64,
    least: f64,
    most: f64,
    mean: f64,
}

fn perf_lines(title: &str) -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kvm-svm/perf-kvm-stat.txt");
    let text = fs::read_to_string(path).unwrap();
    let begin = text.find(title).unwrap();
    let lines = text[begin..].lines().skip(1).take_while(|line| !line.starts_with("Total"));
    lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| {
                words[at].trim_end_matches("us").trim_end_matches('%').parse::<f64>().unwrap()
            };
            Line {
                name: words[0].to_owned(),
                samples: words[1].parse().unwrap(),
                samples_percent: number(2),
                time_percent: number(3),
                least: number(4),
                most: number(5),
                mean: number(6),
            }
        })
        .collect()
}

/// Ours equals perf's: counts exactly, times and shares to the digits that perf prints.
fn agree(row: &Row, line: &Line, all: (u64, u64)) {
    let durations = &row.sums.durations;
    let microseconds = |time: f64| time / 1000.0;
    let close = |ours: f64, theirs: f64| {
        assert!((ours - theirs).abs() <= 0.00501, "{}: {ours} for {theirs}", line.name)
    };
    assert_eq!(durations.count(), line.samples, "{}", line.name);
    close(100.0 * durations.count() as f64 / all.0 as f64, line.samples_percent);
    close(100.0 * durations.total() as f64 / all.1 as f64, line.time_percent);
    close(microseconds(durations.minimum().unwrap() as f64), line.least);
    close(microseconds(durations.maximum().unwrap() as f64), line.most);
    close(microseconds(durations.mean().unwrap()), line.mean);
}

fn totals(report: &ExitReport) -> (u64, u64) {
    (report.total.durations.count(), report.total.durations.total())
}

#[test]
fn exits_by_reason_are_as_perf_counts_and_times_them() {
    let names = [("npf", "NPF"), ("io", "IOIO"), ("cpuid", "CPUID"), ("interrupt", "INTR")];
    for report in [of_perf_data(By::Reason, Window::Perf), of_perf_script(By::Reason, Window::Perf)]
    {
        let lines = perf_lines("VM-EXIT");
        assert_eq!(lines.len(), report.rows.len());
        for line in &lines {
            let name = names.iter().find(|(perf, _)| *perf == line.name).unwrap().1;
            let row = report.rows.iter().find(|row| row.name == name).unwrap();
            agree(row, line, totals(&report));
        }
        assert_eq!(report.isa, Isa::Svm);
        assert_eq!((report.unknown_reasons, report.coverage.malformed), (0, 0));
    }
}

#[test]
fn ports_are_timed_as_perf_does_where_that_is_asked_for() {
    for report in
        [of_perf_data(By::Port, Window::PerfPort), of_perf_script(By::Port, Window::PerfPort)]
    {
        for line in perf_lines("IO Port Access") {
            let (port, direction) = line.name.split_once(':').unwrap();
            let port = u16::from_str_radix(port.trim_start_matches("0x"), 16).unwrap();
            let outer = report.rows.iter().find(|row| row.name == format!("{port:#06x}")).unwrap();
            let direction = if direction == "POUT" { "write" } else { "read" };
            let row = outer.parts.iter().find(|row| row.name == direction).unwrap();
            agree(row, &line, totals(&report));
        }
    }
}

#[test]
fn memory_is_timed_as_perf_does_where_that_is_asked_for() {
    for report in [
        of_perf_data(By::Address, Window::PerfMemory),
        of_perf_script(By::Address, Window::PerfMemory),
    ] {
        for line in perf_lines("MMIO Access") {
            let (address, direction) = line.name.split_once(':').unwrap();
            let outer = report.rows.iter().find(|row| row.name == address).unwrap();
            let direction = if direction == "W" { "write" } else { "read" };
            let row = outer.parts.iter().find(|row| row.name == direction).unwrap();
            agree(row, &line, totals(&report));
        }
    }
}

/// Everything that must not depend on the format.
fn figures(report: &ExitReport) -> Vec<(String, u64, u64, u64, u64, u64)> {
    let row = |row: &Row| {
        let sums = &row.sums;
        let durations = &sums.durations;
        (
            row.name.clone(),
            durations.count(),
            durations.total(),
            sums.blocked,
            sums.preempted,
            sums.interrupted,
        )
    };
    report.rows.iter().map(row).collect()
}

#[test]
fn text_and_binary_of_one_recording_give_the_same_figures() {
    for by in [By::Reason, By::Port, By::Address, By::Scenario] {
        let binary = of_perf_data(by, Window::ExitEntry);
        let text = of_perf_script(by, Window::ExitEntry);
        assert_eq!(figures(&binary), figures(&text), "{by:?}");
        assert_eq!(binary.unmatched, text.unmatched);
        assert!(!binary.rows.is_empty(), "{by:?}");
    }
}

#[test]
fn the_sum_over_rows_is_the_whole_and_waiting_is_within() {
    for by in [By::Reason, By::Scenario, By::Vcpu] {
        let report = of_perf_data(by, Window::ExitEntry);
        let rows = || report.rows.iter().map(|row| &row.sums);
        assert_eq!(rows().map(|sums| sums.durations.count()).sum::<u64>(), totals(&report).0);
        assert_eq!(rows().map(|sums| sums.durations.total()).sum::<u64>(), totals(&report).1);
        assert!(report.has_run_states && report.total.preempted > 0);
        assert!(report.total.blocked + report.total.preempted < totals(&report).1);
        let matched = report.vcpus.iter().map(|row| row.times.exits).sum::<u64>();
        assert_eq!(matched, totals(&report).0 + report.unmatched.all_exits());
    }
}

#[test]
fn vcpus_have_the_numbers_that_kvm_gave_them() {
    let names: Vec<VcpuName> =
        of_perf_data(By::Vcpu, Window::ExitEntry).vcpus.iter().map(|row| row.name).collect();
    for number in [0, 1] {
        assert!(names.contains(&VcpuName::Kvm { process: 90, number: Some(number) }), "{names:?}");
    }
}

#[test]
fn another_recording_by_trace_cmd_tells_the_same_guest() {
    let report = report(
        TraceCmd::new(Cursor::new(data("trace-cmd-report.txt.xz"))),
        By::Port,
        Window::ExitEntry,
    );
    // The guest accesses each port in each of its 150 and 60 rounds.
    let counts: Vec<(&str, u64)> =
        report.rows.iter().map(|row| (row.name.as_str(), row.sums.durations.count())).collect();
    assert!(counts.contains(&("0x0080", 210)) && counts.contains(&("0x0061", 210)), "{counts:?}");
    assert_eq!(report.coverage.malformed, 0, "{:?}", report.coverage);
    let userspace = report.total.userspace;
    assert_eq!(userspace, 842 - 2, "the last exits of both vCPUs have no entry");
}

#[test]
fn exits_of_lttng_are_counted_although_its_entries_have_no_number_of_a_vcpu() {
    let text = unpacked("kvm-lttng/babeltrace2.txt.xz");
    let told = String::from_utf8(text.clone()).unwrap();
    let of_reason = |reason: u32| {
        let field = format!("{{ exit_reason = {reason}, ");
        told.lines().filter(|line| line.contains("kvm_x86_exit") && line.contains(&field)).count()
    };
    let report = report(Babeltrace::new(Cursor::new(text)), By::Reason, Window::ExitEntry);
    let exits = |name: &str| {
        let row = report.rows.iter().find(|row| row.name == name);
        row.map_or(0, |row| row.sums.durations.count()) as usize
    };
    for (name, reason) in [("NPF", 1024), ("CPUID", 114), ("IOIO", 123), ("INTR", 96)] {
        assert_eq!(exits(name), of_reason(reason), "{name}");
    }
    // Each vCPU ends with HLT and does not go on.
    assert_eq!(exits("HLT") as u64 + report.unmatched.all_exits(), of_reason(120) as u64);
    assert!(
        report.vcpus.iter().any(|row| matches!(row.name, VcpuName::Kvm { number: Some(1), .. }))
    );
}
