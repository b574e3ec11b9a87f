//! Memory does not grow with the length of a trace. Alone in its program, whose peak it looks at.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

use std::io::{self, BufReader, Read, Write};
use strata_exits::{Account, Accounting, By, PerfScript, ReadAt, Source, Xentrace};

/// Exits in a window.
const EXITS: usize = 2000;
/// Bytes of a window: its head, and exit and entry with times.
const WINDOW: usize = 12 + EXITS * (4 + 8 + 12 + 4 + 8);

/// An xentrace file that is made where it is read: windows of two CPUs by turns.
struct Made {
    windows: u64,
}

fn window(number: u64) -> Vec<u8> {
    let cpu = (number % 2) as u32;
    let mut bytes = Vec::with_capacity(WINDOW);
    let word = |bytes: &mut Vec<u8>, word: u32| bytes.extend(word.to_le_bytes());
    word(&mut bytes, 0x2001_f003);
    word(&mut bytes, cpu);
    word(&mut bytes, (WINDOW - 12) as u32);
    for exit in 0..EXITS as u64 {
        let place = number / 2 * EXITS as u64 + exit;
        let time = 1000 + place * 1000;
        word(&mut bytes, 0x8_1102 | 3 << 28 | 1 << 31);
        bytes.extend(time.to_le_bytes());
        [(place * 7 % 60) as u32, 0x1000, 0].into_iter().for_each(|data| word(&mut bytes, data));
        word(&mut bytes, 0x8_1001 | 1 << 31);
        bytes.extend((time + place * 31 % 900).to_le_bytes());
    }
    bytes
}

impl ReadAt for Made {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (number, within) = (offset / WINDOW as u64, (offset % WINDOW as u64) as usize);
        if number >= self.windows {
            return Ok(0);
        }
        let bytes = &window(number)[within..];
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// Text of `perf script`, made where it is read.
struct Lines {
    exits: u64,
    next: u64,
    line: Vec<u8>,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.line.is_empty() && self.next < self.exits {
            let at = self.next * 10;
            let time = |micros: u64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            writeln!(
                self.line,
                "qemu 7/8 [000] {}: kvm:kvm_exit: vcpu 0 reason npf rip 0x12 info1 0x4 info2 {:#x}",
                time(at),
                at * 64
            )?;
            writeln!(
                self.line,
                "qemu 7/8 [000] {}: kvm:kvm_entry: vcpu 0, rip 0x14",
                time(at + 3)
            )?;
            self.next += 1;
        }
        let count = self.line.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.line[..count]);
        self.line.drain(..count);
        Ok(count)
    }
}

/// Most memory that this program had so far, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Exits accounted.
fn account(source: &mut impl Source, by: By) -> u64 {
    let options = Accounting { by, ..Accounting::default() };
    Account::new(options).unwrap().run(source).unwrap().total.durations.count()
}

#[test]
fn ten_times_as_many_records_take_no_more_memory() {
    let read = |windows: u64| {
        let exits = windows * EXITS as u64;
        assert_eq!(account(&mut Xentrace::new(Made { windows }).unwrap(), By::Reason), exits);
        let lines = Lines { exits, next: 0, line: Vec::new() };
        // Every exit has an address of its own.
        assert_eq!(account(&mut PerfScript::new(BufReader::new(lines)), By::Address), exits);
        peak()
    };
    let (once, ten_times) = (read(20), read(200));
    assert!(ten_times * 10 < once * 11, "{ten_times} KiB after {once} KiB");
}

/// `cargo test --release -p strata-exits --test memory -- --ignored --nocapture`
#[test]
#[ignore = "takes a minute"]
fn ten_gigabytes_take_less_than_a_hundred_megabytes() {
    let windows = 10_000_000_000_u64.div_ceil(WINDOW as u64);
    let exits = account(&mut Xentrace::new(Made { windows }).unwrap(), By::Reason);
    assert_eq!(exits, windows * EXITS as u64);
    println!("{exits} exits in {} bytes, peak memory {} KiB", windows * WINDOW as u64, peak());
    assert!(peak() < 100_000);
}
