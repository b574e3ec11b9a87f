//! The layout of Xen 3.0, of which no file is left: records composed by hand.
//!
//! `struct t_rec` of xen/include/public/trace.h, Xen 3.0.2 to 3.0.4, is `uint64_t cycles; uint32_t event;
//! unsigned long data[5]`: 32 bytes where words have 32 bits, 56 where they have 64, with 4 bytes between event
//! and data. tools/xentrace/xentrace.c writes the CPU as 4 bytes before each.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use strata_exits::{
    Account, Accounting, By, ExitReport, Isa, Key, OldLayout, OldXentrace, VcpuName, old_layout,
};

const SWITCH: u32 = 0x2_f00a;
const BLOCK: u32 = 0x2_f006;
const WAKE: u32 = 0x2_f004;
/// What VMX writes at an entry of whose exit it noted nothing (`vmx_trace_vmentry`).
const NOTHING: [u64; 5] = [9; 5];

/// CPU, cycles, event, words.
type Record = (u32, u64, u32, [u64; 5]);

fn bytes(records: &[Record], long: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for &(cpu, cycles, event, data) in records {
        out.extend(cpu.to_le_bytes());
        out.extend(cycles.to_le_bytes());
        out.extend(event.to_le_bytes());
        if long {
            out.extend([0; 4]);
            data.iter().for_each(|word| out.extend(word.to_le_bytes()));
        } else {
            data.iter().for_each(|&word| out.extend((word as u32).to_le_bytes()));
        }
    }
    assert_eq!(out.len(), records.len() * if long { 60 } else { 36 });
    out
}

fn report(records: &[Record], layout: OldLayout, by: By) -> ExitReport {
    let bytes = bytes(records, layout.long);
    assert_eq!(old_layout(&bytes), Some(layout), "found by its first bytes");
    let options = Accounting { by, ..Accounting::default() };
    Account::new(options).unwrap().run(&mut OldXentrace::new(&bytes[..], layout)).unwrap()
}

/// Name, count, total, blocked, preempted.
fn rows(report: &ExitReport) -> Vec<(&str, u64, u64, u64, u64)> {
    let row = |row: &'_ strata_exits::Row| {
        let sums = &row.sums;
        (sums.durations.count(), sums.durations.total(), sums.blocked, sums.preempted)
    };
    report
        .rows
        .iter()
        .map(|found| {
            let (count, total, blocked, preempted) = row(found);
            (found.name.as_str(), count, total, blocked, preempted)
        })
        .collect()
}

/// One vCPU of domain 1 on CPU 0: accesses port 0x21 for 3,000 cycles, halts, and leaves its guest twice
/// more, of which once nothing is noted and once the trace ends.
fn vmx(exit: u32, entry: u32, vcpu: u64) -> Vec<Record> {
    let none = [0; 5];
    vec![
        (0, 1_000, SWITCH, [0, 0, 1, vcpu, 0]),
        (0, 2_000, exit, none),
        // 30 is IO_INSTRUCTION.
        (0, 5_000, entry, [30, 0x21, 0, 0, 0]),
        (0, 9_000, exit, none),
        (0, 9_500, BLOCK, [1, vcpu, 0, 0, 0]),
        (0, 10_000, SWITCH, [1, vcpu, 0, 0, 0]),
        (0, 40_000, WAKE, [1, vcpu, 0, 0, 0]),
        (0, 50_000, SWITCH, [0, 0, 1, vcpu, 0]),
        // 12 is HLT.
        (0, 51_000, entry, [12, 0, 0, 0, 0]),
        (0, 60_000, exit, none),
        (0, 60_700, entry, NOTHING),
        (0, 70_000, exit, none),
    ]
}

/// HLT takes 51,000 − 9,000 cycles, of which it is blocked from 10,000 to 40,000 and waits for the CPU
/// from there to 50,000.
const EXPECTED: [(&str, u64, u64, u64, u64); 3] = [
    ("HLT", 1, 42_000, 30_000, 10_000),
    ("IO_INSTRUCTION", 1, 3_000, 0, 0),
    ("reason not told", 1, 700, 0, 0),
];

#[test]
fn exits_of_vmx_have_the_reason_of_the_entry_behind() {
    for long in [false, true] {
        let layout = OldLayout { long, by_vcpu: false };
        let records = vmx(0x8_1001, 0x8_1002, 0);
        let report = report(&records, layout, By::Reason);
        assert_eq!(rows(&report), EXPECTED, "long {long}");
        assert_eq!((report.unmatched.at_end, report.unmatched.all_exits()), (1, 1));
        assert_eq!(report.span, (1_000, 70_000));
        assert_eq!(report.isa, Isa::Vmx);
        let vcpu = report.vcpus.iter().find(|row| row.times.exits > 0).unwrap();
        assert_eq!(vcpu.name, VcpuName::Xen { domain: 1, number: 0 });
        // From 5,000 to 9,000, from 51,000 to 60,000, from 60,700 to 70,000.
        assert_eq!((vcpu.times.exits, vcpu.times.guest), (4, 4_000 + 9_000 + 9_300));
        assert_eq!(report.coverage.records, 12);
        assert_eq!((report.coverage.malformed, report.coverage.clock_steps), (0, 0));
    }
}

#[test]
fn ports_are_those_of_the_entry_behind_without_a_direction() {
    let layout = OldLayout { long: false, by_vcpu: false };
    let report = report(&vmx(0x8_1001, 0x8_1002, 0), layout, By::Port);
    assert_eq!(rows(&report), [("0x0021", 1, 3_000, 0, 0)]);
    assert_eq!(report.without_key, 2);
    assert_eq!(report.rows[0].parts[0].key, Key::Direction(None));
}

/// `TRC_VMX_VMEXIT + 1 + vcpu` and `TRC_VMX_VMENTRY + 1 + vcpu` of classes 0x81000 and 0x82000.
#[test]
fn xen_3_0_4_numbers_exits_by_vcpu() {
    for (long, vcpu) in [(false, 0), (true, 1), (true, 3)] {
        let layout = OldLayout { long, by_vcpu: true };
        let number = vcpu as u32 + 1;
        let records = vmx(0x8_1000 + number, 0x8_2000 + number, vcpu);
        let report = report(&records, layout, By::Reason);
        assert_eq!(rows(&report), EXPECTED, "long {long}, vCPU {vcpu}");
        let busy = report.vcpus.iter().find(|row| row.times.exits > 0).unwrap();
        assert_eq!(busy.name, VcpuName::Xen { domain: 1, number: vcpu as u16 });
    }
}

/// SVM tells domain, instruction pointer and code at the exit, and nothing at the entry, so that nothing
/// can be timed.
#[test]
fn exits_of_svm_are_counted_and_not_timed() {
    for long in [false, true] {
        let layout = OldLayout { long, by_vcpu: false };
        let exit = |cycles: u64, code: u64| (0, cycles, 0x8_1001, [1, 0xf000_1000, code, 0, 0]);
        let records: Vec<Record> = vec![
            (0, 1_000, SWITCH, [0, 0, 1, 0, 0]),
            // IOIO, CPUID, INTR.
            exit(2_000, 0x7b),
            exit(3_000, 0x72),
            exit(4_000, 0x60),
        ];
        let report = report(&records, layout, By::Reason);
        assert!(report.rows.is_empty(), "{:?}", rows(&report));
        let vcpu = report.vcpus.iter().find(|row| row.times.exits > 0).unwrap();
        assert_eq!((vcpu.times.exits, vcpu.times.entries), (3, 0));
        // Two are followed by another, the last by the end.
        assert_eq!((report.unmatched.exits, report.unmatched.at_end), (2, 1));
    }
}

#[test]
fn a_record_that_is_cut_is_told() {
    let layout = OldLayout { long: true, by_vcpu: false };
    let mut cut = bytes(&vmx(0x8_1001, 0x8_1002, 0), true);
    cut.truncate(cut.len() - 7);
    let mut source = OldXentrace::new(&cut[..], layout);
    let report = Account::new(Accounting::default()).unwrap().run(&mut source).unwrap();
    assert_eq!(report.coverage.truncated.as_deref(), Some("its last record has 53 bytes"));
    assert_eq!((report.coverage.records, report.coverage.skipped_bytes), (11, 53));
    assert_eq!(rows(&report), EXPECTED);
}
