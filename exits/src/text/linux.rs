//! What `perf script` and `trace-cmd report` print.
//!
//! ```text
//!   CPU 0/KVM  1234/1240  [003]   12.345678: kvm:kvm_exit: vcpu 0 reason npf rip 0x1000 info1 0x…
//!   CPU 0/KVM-1240        [003] d..1. 12.345678: kvm_exit:  vcpu 0 reason npf rip 0x1000 info1 0x…
//! ```
//!
//! The second is also what `/sys/kernel/tracing/trace` gives. With trace_clock `x86-tsc` times are
//! whole numbers of cycles.
//!
//! Fields differ by version of Linux: older ones lack the vCPU in exits, and print `info A B`.

use super::records::{Dialect, Line, TextRecord, text_source};
use super::{nanoseconds, number};
use crate::event::PortAccess;
use crate::kvm::{KvmDecoder, KvmRecord, Place};

text_source!(
    /// Reads what `perf script` prints.
    PerfScript,
    Tool,
    Tool::Perf
);
text_source!(
    /// Reads what `trace-cmd report` prints, and `/sys/kernel/tracing/trace`.
    TraceCmd,
    Tool,
    Tool::TraceCmd
);

/// Which tool printed a text, by which the thread is written before the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// `comm pid/tid` or `comm tid`.
    Perf,
    /// `comm-tid`.
    TraceCmd,
}

/// The word that ends at or before `end`, and where it begins.
fn word_before(text: &str, end: usize) -> Option<(usize, &str)> {
    let text = text.get(..end)?.trim_end();
    let begin = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    (!text.is_empty()).then(|| (begin, &text[begin..]))
}

impl Tool {
    /// A time in whole numbers, as trace_clock `x86-tsc` gives it: behind the CPU and flags, so that
    /// no name of a program is taken for one.
    fn cycles(self, line: &str, begin: usize, word: &str) -> Option<u64> {
        let is_cpu = |word: &str| word.starts_with('[') && word.ends_with(']');
        if self != Tool::TraceCmd || !word.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (at, before) = word_before(line, begin)?;
        let behind_cpu = is_cpu(before) || is_cpu(word_before(line, at)?.1);
        if behind_cpu { word.parse().ok() } else { None }
    }

    /// A line in its parts; `None` if it is none of an event.
    fn split(self, line: &str) -> Option<TextRecord<'_>> {
        // The time is the first word that is one: names of programs end before it.
        let mut from = 0;
        let (at, (time, in_cycles), after) = loop {
            let end = from
                + line[from..]
                    .find(": ")
                    .or_else(|| line[from..].strip_suffix(':').map(str::len))?;
            let (begin, word) = word_before(line, end)?;
            let time = nanoseconds(word).map(|time| (time, false));
            match time.or_else(|| Some((self.cycles(line, begin, word)?, true))) {
                Some(time) if begin + word.len() == end => break (begin, time, end + 1),
                _ => from = (end + 1).min(line.len()),
            }
        };
        let (mut cpu, mut thread, mut process) = (0, None, None);
        let mut end = at;
        // Flags may stand between CPU and time.
        for _ in 0..3 {
            let Some((begin, word)) = word_before(line, end) else { break };
            end = begin;
            if let Some(digits) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
                cpu = digits.parse().ok()?;
                continue;
            }
            let ids = match self {
                Tool::Perf => {
                    word.split_once('/').map_or((None, word), |(p, t)| (p.parse().ok(), t))
                }
                Tool::TraceCmd => (None, word.rsplit_once('-').map_or("", |(_, thread)| thread)),
            };
            if let Ok(id) = ids.1.parse() {
                (process, thread) = (ids.0, Some(id));
                break;
            }
        }
        let rest = line.get(after..)?.trim_start();
        let (event, fields) = match rest.find(": ") {
            Some(end) => (&rest[..end], rest[end + 2..].trim()),
            None => (rest.trim_end().strip_suffix(':')?, ""),
        };
        let event = event.rsplit(':').next().unwrap_or(event);
        let named = !event.is_empty() && !event.contains(char::is_whitespace);
        let place = Place { time, cpu, thread, process };
        named.then_some(TextRecord { place, in_cycles, event, fields })
    }
}

/// The word after `key` in `key value key value`.
fn after<'f>(fields: &'f str, key: &str) -> Option<&'f str> {
    let mut words = fields.split_whitespace();
    words.by_ref().find(|word| *word == key)?;
    words.next()
}

/// The value in `key=value key=value`.
fn value<'f>(fields: &'f str, key: &str) -> Option<&'f str> {
    let mut words = fields.split_whitespace();
    words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The record that a line is: `Some(None)` if it is of no interest, `None` if it cannot be read.
fn record(event: &str, fields: &str, decoder: &mut KvmDecoder) -> Option<Option<KvmRecord>> {
    let vcpu = || after(fields, "vcpu").and_then(number).map(|number| number as u32);
    Some(Some(match event {
        "kvm_entry" => KvmRecord::Entry { vcpu: vcpu() },
        "kvm_exit" => {
            let (_, from) = fields.split_once("reason ")?;
            let (name, rest) = from.split_once(" rip ")?;
            let (isa, reason) = decoder.reason(name.trim());
            let rip = number(rest.split_whitespace().next()?)?;
            let info = |key: &str, at: usize| {
                let new = after(rest, key).and_then(number);
                // Older kernels print both behind one word, in hexadecimal without mark.
                let old = || {
                    let mut words = rest.split_whitespace().skip_while(|word| *word != "info");
                    u64::from_str_radix(words.nth(at)?, 16).ok()
                };
                new.or_else(old).unwrap_or(0)
            };
            let info = [info("info1", 1), info("info2", 2)];
            KvmRecord::Exit { vcpu: vcpu(), isa, reason: Some(reason), rip, info }
        }
        "kvm_pio" => {
            let write = match fields.split_whitespace().next()? {
                "pio_write" => true,
                "pio_read" => false,
                _ => return None,
            };
            let port = number(after(fields, "at")?)?;
            KvmRecord::Port(PortAccess { port: port as u16, write: Some(write) })
        }
        "kvm_mmio" => {
            let (write, done) = match fields.split_whitespace().nth(1)? {
                "write" => (true, true),
                "read" => (false, true),
                _ => (false, false),
            };
            KvmRecord::Memory { address: number(after(fields, "gpa")?)?, write, done }
        }
        "kvm_page_fault" => {
            let text = after(fields, "address")?;
            let hex = text.strip_prefix("0x").unwrap_or(text);
            KvmRecord::PageFault { address: u64::from_str_radix(hex, 16).ok()? }
        }
        "kvm_userspace_exit" => {
            let open = fields.rfind('(')?;
            let digits = fields[open + 1..].strip_suffix(')')?;
            KvmRecord::UserspaceExit { reason: number(digits).map(|reason| reason as u32) }
        }
        "kvm_emulate_insn" => KvmRecord::Emulate,
        "kvm_write_tsc_offset" => KvmRecord::TscOffset {
            vcpu: value(fields, "vcpu").and_then(number).map(|number| number as u32),
            previous: number(value(fields, "prev")?)?,
            next: number(value(fields, "next")?)?,
        },
        "irq_handler_entry" => KvmRecord::Irq,
        "sched_switch" => KvmRecord::Switch {
            previous: number(value(fields, "prev_pid")?)? as u32,
            waits: !value(fields, "prev_state")?.starts_with('R'),
            next: number(value(fields, "next_pid")?)? as u32,
        },
        _ => return Some(None),
    }))
}

/// `CPU:3 [LOST 12 EVENTS]` of trace-cmd, `… PERF_RECORD_LOST lost 12` of perf; 0 if it does not
/// say how many.
fn lost(line: &str) -> Option<(u16, u64)> {
    if let Some(rest) = line.trim_start().strip_prefix("CPU:") {
        let (cpu, rest) = rest.split_once(' ')?;
        let told = rest.contains("LOST") || rest.contains("DROPPED");
        let count = rest.split_whitespace().find_map(|word| word.parse().ok());
        return told.then_some((cpu.parse().ok()?, count.unwrap_or(0)));
    }
    let (_, rest) = line.split_once("PERF_RECORD_LOST")?;
    Some((0, after(rest, "lost").and_then(number).unwrap_or(0)))
}

impl Dialect for Tool {
    fn line<'l>(&mut self, text: &'l str) -> Line<'l> {
        if let Some(record) = self.split(text) {
            Line::Record(record)
        } else if let Some((cpu, records)) = lost(text) {
            Line::Lost { cpu, records }
        } else if is_heading(text) {
            Line::Heading
        } else if text.starts_with(char::is_whitespace) {
            Line::Aside("lines of call stacks")
        } else {
            Line::Unknown
        }
    }

    fn record(
        &self,
        event: &str,
        fields: &str,
        decoder: &mut KvmDecoder,
    ) -> Option<Option<KvmRecord>> {
        record(event, fields, decoder)
    }

    /// Formats print `key=value` or `key value`.
    fn value<'f>(&self, fields: &'f str, name: &str) -> Option<&'f str> {
        let value = value(fields, name).or_else(|| after(fields, name))?;
        Some(value.trim_end_matches(','))
    }
}

/// Lines that belong to the text but not to the trace.
fn is_heading(line: &str) -> bool {
    let line = line.trim();
    line.is_empty()
        || line.starts_with('#')
        || line.starts_with("cpus=")
        || line.starts_with("version =")
}

/// Lines that a guess is made from.
const SAMPLE: usize = 50;

fn looks_like(begin: &str, tool: Tool) -> bool {
    let lines = begin.lines().take(SAMPLE).filter(|line| !is_heading(line));
    let mut lines = lines.filter_map(|line| tool.split(line));
    lines.any(|line| line.place.thread.is_some())
}

/// True if a text begins as `perf script` prints it.
pub(crate) fn looks_like_perf_script(begin: &str) -> bool {
    looks_like(begin, Tool::Perf) && !looks_like_trace_cmd(begin)
}

/// True if a text begins as `trace-cmd report` prints it.
pub(crate) fn looks_like_trace_cmd(begin: &str) -> bool {
    looks_like(begin, Tool::TraceCmd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(tool: Tool, line: &str) -> (u64, u16, Option<u32>, Option<u32>, String) {
        let line = tool.split(line).unwrap();
        let place = line.place;
        (place.time, place.cpu, place.process, place.thread, line.event.to_owned())
    }

    #[test]
    fn lines_of_several_versions_come_apart() {
        for (dialect, line, expected) in [
            (
                Tool::Perf,
                "  CPU 0/KVM  1234/1240 [003] 12.345678: kvm:kvm_exit: reason HLT rip 0x0 info 0 0",
                (12_345_678_000, 3, Some(1234), Some(1240)),
            ),
            (
                Tool::Perf,
                "qemu-system 77 [000] 1,5: kvm:kvm_exit: x",
                (1_500_000_000, 0, None, Some(77)),
            ),
            (Tool::Perf, "kt 94 3.862809001: kvm:kvm_exit: x", (3_862_809_001, 0, None, Some(94))),
            (
                Tool::TraceCmd,
                "  CPU 0/KVM-1240  [003] d..1. 12.345678: kvm_exit:  x",
                (12_345_678_000, 3, None, Some(1240)),
            ),
        ] {
            let (time, cpu, process, thread, event) = parts(dialect, line);
            assert_eq!(event, "kvm_exit");
            assert_eq!((time, cpu, process, thread), expected, "{line}");
        }
        for line in
            ["", "cpus=1", "kt 94 [000]", "no time: here", "ffffffff81 func ([kernel.kallsyms])"]
        {
            assert_eq!(Tool::Perf.split(line), None, "{line}");
        }
    }

    #[test]
    fn exits_of_older_kernels_are_read() {
        let mut decoder = KvmDecoder::default();
        let read = |fields: &str, decoder: &mut KvmDecoder| record("kvm_exit", fields, decoder);
        let old = read("reason IO_INSTRUCTION rip 0xc1 info 3f80008 1f", &mut decoder);
        let io = |vcpu, info| {
            let isa = crate::event::Isa::Vmx;
            Some(Some(KvmRecord::Exit { vcpu, isa, reason: Some(30), rip: 0xc1, info }))
        };
        assert_eq!(old, io(None, [0x3f8_0008, 0x1f]));
        let new = "vcpu 2 reason IO_INSTRUCTION rip 0xc1 info1 0x3f80008 info2 0x0 intr_info 0x0";
        assert_eq!(read(new, &mut decoder), io(Some(2), [0x3f8_0008, 0]));
        let Some(Some(KvmRecord::Exit { isa, reason, .. })) =
            read("reason PF excp rip 0x1 info 2 3", &mut decoder)
        else {
            panic!("not read");
        };
        assert_eq!((isa, reason), (crate::event::Isa::Svm, Some(0x4e)));
        assert_eq!(read("reason", &mut decoder), None);
    }

    #[test]
    fn losses_are_told_by_both_tools() {
        assert_eq!(lost("CPU:3 [LOST 12 EVENTS]"), Some((3, 12)));
        assert_eq!(lost("CPU:1 [EVENTS DROPPED]"), Some((1, 0)));
        assert_eq!(lost("kt 1 [000] 1.5: PERF_RECORD_LOST lost 9"), Some((0, 9)));
        assert_eq!(lost("CPU 0/KVM"), None);
    }
}
