//! The quick ways through an xentrace file against plain ones: which record comes next, and what the
//! account says when events are given CPU by CPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use std::io::Read;
use std::path::Path;
use strata_exits::{Account, Accounting, By, ExitReport, Row, Source, Window, Xentrace};

const CPUS: usize = 3;
const VCPUS: usize = 5;
const EXIT: u32 = 0x8_1102;
const ENTRY: u32 = 0x8_1001;
const CPU_CHANGE: u32 = 0x2001_f003;

/// A record that was written: CPU, time, event.
type Written = (usize, u64, u32);

/// A machine that writes records.
#[derive(Debug, Default)]
struct Machine {
    time: u64,
    running: [Option<usize>; CPUS],
    blocked: [bool; VCPUS],
    records: Vec<Written>,
    /// By CPU, what is not in a window yet.
    buffers: [Vec<u8>; CPUS],
    file: Vec<u8>,
    windows: u64,
}

impl Machine {
    fn write(&mut self, cpu: usize, event: u32, timed: bool, words: &[u32]) {
        let head = event | (words.len() as u32) << 28 | u32::from(timed) << 31;
        let buffer = &mut self.buffers[cpu];
        buffer.extend(head.to_le_bytes());
        if timed {
            buffer.extend(self.time.to_le_bytes());
        }
        words.iter().for_each(|word| buffer.extend(word.to_le_bytes()));
        let last = self.records.iter().rev().find(|record| record.0 == cpu);
        let time = if timed { self.time } else { last.map_or(0, |record| record.1) };
        self.records.push((cpu, time, event));
    }

    /// State of a vCPU: 0 running, 1 runnable, 2 blocked.
    fn state(&mut self, cpu: usize, vcpu: usize, from: u32, to: u32) {
        self.write(cpu, 0x2_1001 | from << 8 | to << 4, true, &[1 << 16 | vcpu as u32]);
    }

    fn flush(&mut self, cpu: usize) {
        let buffer = std::mem::take(&mut self.buffers[cpu]);
        for word in [CPU_CHANGE, cpu as u32, buffer.len() as u32] {
            self.file.extend(word.to_le_bytes());
        }
        self.file.extend(buffer);
        self.windows += 1;
    }

    fn act(&mut self, action: u8, cpu: usize, choice: u32) {
        match (action, self.running[cpu]) {
            (0..=5, Some(_)) => self.write(cpu, EXIT, true, &[choice % 60, 0x1000, 0]),
            (6..=11, Some(_)) => self.write(cpu, ENTRY, true, &[]),
            // A port, an interrupt, and records that tell nothing.
            (12, Some(_)) => self.write(cpu, 0x8_2016, false, &[choice % 4, 1]),
            (13, Some(_)) => self.write(cpu, 0x8_200f, false, &[0xf0]),
            (14 | 15, _) => self.write(cpu, 0x8_2013, choice.is_multiple_of(2), &[0]),
            (16 | 17, Some(vcpu)) => {
                self.blocked[vcpu] = choice.is_multiple_of(2);
                self.state(cpu, vcpu, 0, 1 + u32::from(self.blocked[vcpu]));
                self.running[cpu] = None;
            }
            (18, _) => {
                let vcpu = choice as usize % VCPUS;
                if std::mem::take(&mut self.blocked[vcpu]) {
                    self.state(cpu, vcpu, 2, 1);
                }
            }
            (19, Some(vcpu)) => self.write(cpu, 0x1_f001, true, &[choice, 1 | (vcpu as u32) << 16]),
            (20, _) => self.flush(cpu),
            (_, None) => {
                let vcpu = choice as usize % VCPUS;
                if !self.blocked[vcpu] && !self.running.contains(&Some(vcpu)) {
                    self.state(cpu, vcpu, 1, 0);
                    self.running[cpu] = Some(vcpu);
                }
            }
            _ => {}
        }
    }
}

fn machine() -> impl Strategy<Value = Machine> {
    let actions = prop::collection::vec((0..24u8, 0..CPUS, 1..40u64, any::<u32>()), 1..600);
    actions.prop_map(|actions| {
        let mut machine = Machine { time: 1000, ..Machine::default() };
        (0..CPUS).for_each(|cpu| {
            machine.state(cpu, cpu, 1, 0);
            machine.running[cpu] = Some(cpu);
            machine.time += 1;
        });
        (0..CPUS).for_each(|cpu| machine.flush(cpu));
        for (action, cpu, gap, choice) in actions {
            machine.time += gap;
            machine.act(action, cpu, choice);
        }
        (0..CPUS).for_each(|cpu| machine.flush(cpu));
        machine
    })
}

/// Every figure of a report.
fn figures(report: &ExitReport) -> String {
    fn of(row: &Row) -> String {
        let durations = &row.sums.durations;
        let few = (durations.count(), durations.total(), durations.minimum(), durations.maximum());
        let percentiles = [0.01, 0.5, 0.99].map(|share| durations.percentile(share));
        let waits = (row.sums.blocked, row.sums.preempted, row.sums.interrupted, &row.sums.bins);
        let parts: Vec<String> = row.parts.iter().map(of).collect();
        format!("{} {few:?} {percentiles:?} {waits:?} {parts:?}\n", row.name)
    }
    let rows: String = report.rows.iter().map(of).collect();
    let vcpus: Vec<_> = report.vcpus.iter().map(|vcpu| (vcpu.name, &vcpu.times)).collect();
    let rest = (report.span, report.unmatched, &report.coverage);
    format!("{rows}{vcpus:#?}\n{rest:#?}")
}

fn accounts_are_equal(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ways = [By::Reason, By::Port, By::Address, By::Scenario, By::Vcpu];
    let windows = [Window::ExitEntry, Window::Perf, Window::PerfPort, Window::Xenalyze];
    for (by, window) in ways.into_iter().zip(windows.into_iter().cycle()) {
        let edges = vec![20, 100];
        let options = Accounting { by, window, edges, exclude_waiting: false };
        let Ok(quick) =
            Account::new(options.clone()).unwrap().run(&mut Xentrace::new(bytes).unwrap())
        else {
            continue;
        };
        let (mut plain, mut source) =
            (Account::new(options).unwrap(), Xentrace::new(bytes).unwrap());
        while let Some(event) = source.next_event().unwrap() {
            plain.event(&event);
        }
        prop_assert_eq!(figures(&quick), figures(&plain.finish(&source).unwrap()));
    }
    Ok(())
}

proptest! {
    #[test]
    fn events_come_by_time_and_none_is_left_out(machine in machine()) {
        let mut source = Xentrace::new(&machine.file[..]).unwrap();
        let mut found = Vec::new();
        while let Some(event) = source.next_event().unwrap() {
            found.push((usize::from(event.cpu), event.time));
        }
        prop_assert!(found.is_sorted_by_key(|&(_, time)| time));
        for cpu in 0..CPUS {
            let its = found.iter().filter(|event| event.0 == cpu).map(|event| event.1);
            let written = machine.records.iter().filter(|record| record.0 == cpu);
            let told = written.filter(|record| record.2 != 0x8_2013).map(|record| record.1);
            prop_assert_eq!(its.collect::<Vec<_>>(), told.collect::<Vec<_>>());
        }
        prop_assert_eq!(source.coverage().unattributed, 0);
        prop_assert_eq!(source.coverage().records, machine.records.len() as u64 + machine.windows);
    }

    #[test]
    fn the_account_is_the_same_cpu_by_cpu_and_by_time(machine in machine()) {
        accounts_are_equal(&machine.file)?;
    }
}

#[test]
fn accounts_of_real_traces_are_the_same_cpu_by_cpu_and_by_time() {
    for folder in ["xen-pv", "xen-pvh-svm"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
        let packed = std::fs::read(path.join("xentrace.bin.xz")).unwrap();
        let mut bytes = Vec::new();
        liblzma::read::XzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        accounts_are_equal(&bytes).unwrap();
    }
}
