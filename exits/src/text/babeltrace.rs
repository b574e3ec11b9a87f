//! What `babeltrace2` prints of an LTTng trace of the kernel.
//!
//! ```text
//! [18:10:27.684304496] (+0.000001218) host kvm_x86_exit: { cpu_id = 3 }, { tid = 1240 }, { exit_reason = 48, guest_rip = 0xFFFF, isa = 1, info1 = 0, info2 = 0 }
//! ```
//!
//! Names of events and fields are those of lttng-modules (instrumentation/events/arch/x86/kvm and
//! kvm.h).

use super::lines::Lines;
use super::{nanoseconds, number};
use crate::coverage::Coverage;
use crate::error::Error;
use crate::event::{Event, Isa, PortAccess, Unit, Vcpus};
use crate::kvm::{KvmDecoder, KvmRecord, Place};
use crate::source::Source;
use std::io::Read;

/// Reads what `babeltrace2` prints of an LTTng trace.
pub struct Babeltrace<R> {
    lines: Lines<R>,
    decoder: KvmDecoder,
    coverage: Coverage,
    /// Nanoseconds before the day of the last line, and the time of day of that.
    midnight: (u64, u64),
}

const DAY: u64 = 86_400_000_000_000;

/// A line in its parts.
struct Line<'l> {
    /// Of the day, or since the epoch.
    time: u64,
    /// Whether it is of the day.
    of_day: bool,
    event: &'l str,
    fields: &'l str,
}

fn split(line: &str) -> Option<Line<'_>> {
    let (time, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    // A date may stand before it.
    let time = time.rsplit(' ').next()?;
    let of_day = time.contains(':');
    let time = match time.rsplit_once(':') {
        None => nanoseconds(time)?,
        Some((before, seconds)) => {
            let (hours, minutes) = before.split_once(':')?;
            let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            nanoseconds(seconds)?.checked_add((hours * 60 + minutes) * 60_000_000_000)?
        }
    };
    let (head, fields) = rest.split_once(": {")?;
    let event = head.rsplit(' ').next()?;
    Some(Line { time, of_day, event, fields })
}

/// The value in `key = value`; of an enumeration its number.
fn value<'f>(fields: &'f str, key: &str) -> Option<&'f str> {
    let mut from = 0;
    loop {
        let at = from + fields[from..].find(key)?;
        let before = fields[..at].bytes().last();
        let rest = &fields[at + key.len()..];
        from = at + key.len();
        if before.is_none_or(|byte| byte == b' ' || byte == b'{')
            && let Some(value) = rest.strip_prefix(" = ")
        {
            // `( "TASK_RUNNING" : container = 0 )`
            let value = match value.strip_prefix('(') {
                Some(container) => container.split_once("container = ")?.1,
                None => value,
            };
            return value.split([',', ' ', '}']).next();
        }
    }
}

fn record(event: &str, fields: &str) -> Option<Option<KvmRecord>> {
    let get = |key: &str| value(fields, key).and_then(number);
    let vcpu = || get("vcpu_id").map(|vcpu| vcpu as u32);
    Some(Some(match event {
        "kvm_x86_entry" => KvmRecord::Entry { vcpu: vcpu() },
        "kvm_x86_exit" => KvmRecord::Exit {
            vcpu: vcpu(),
            // KVM_ISA_VMX and KVM_ISA_SVM (arch/x86/kvm/trace.h).
            isa: match get("isa") {
                Some(1) => Isa::Vmx,
                Some(2) => Isa::Svm,
                _ => Isa::Unsaid,
            },
            reason: Some(get("exit_reason")? as u32),
            rip: get("guest_rip").unwrap_or(0),
            info: [get("info1").unwrap_or(0), get("info2").unwrap_or(0)],
        },
        "kvm_x86_pio" | "kvm_pio" => {
            KvmRecord::Port(PortAccess { port: get("port")? as u16, write: Some(get("rw")? == 1) })
        }
        // KVM_TRACE_MMIO_READ_UNSATISFIED, _READ and _WRITE (include/trace/events/kvm.h).
        "kvm_mmio" => {
            let kind = get("type")?;
            KvmRecord::Memory { address: get("gpa")?, write: kind == 2, done: kind != 0 }
        }
        "kvm_x86_page_fault" => KvmRecord::PageFault { address: get("fault_address")? },
        "kvm_userspace_exit" => {
            KvmRecord::UserspaceExit { reason: get("reason").map(|reason| reason as u32) }
        }
        "kvm_x86_emulate_insn" => KvmRecord::Emulate,
        "kvm_x86_write_tsc_offset" => KvmRecord::TscOffset {
            vcpu: vcpu(),
            previous: get("previous_tsc_offset")?,
            next: get("next_tsc_offset")?,
        },
        "irq_handler_entry" => KvmRecord::Irq,
        "sched_switch" => KvmRecord::Switch {
            previous: get("prev_tid")? as u32,
            waits: get("prev_state")? & 0xff != 0,
            next: get("next_tid")? as u32,
        },
        _ => return Some(None),
    }))
}

impl<R: Read> Babeltrace<R> {
    /// Begins to read.
    pub fn new(input: R) -> Self {
        Babeltrace {
            lines: Lines::new(input),
            decoder: KvmDecoder::default(),
            coverage: Coverage::default(),
            midnight: (0, 0),
        }
    }

    fn take_line(&mut self) {
        let at = self.lines.number;
        let coverage = &mut self.coverage;
        let Some(text) = self.lines.text() else {
            coverage.fault(|| format!("line {at} is no UTF-8"));
            return;
        };
        let Some(line) = split(text) else {
            if let Some((_, rest)) = text.split_once("discarded ") {
                let records = rest.split_whitespace().next().and_then(number).unwrap_or(0);
                coverage.lost += records;
                coverage.losses += 1;
                self.decoder.record(Place::default(), KvmRecord::Lost { records });
            } else if !text.trim().is_empty() {
                coverage.fault(|| format!("line {at} is no event"));
            }
            return;
        };
        coverage.records += 1;
        let mut time = line.time;
        if line.of_day {
            // Half a day back is a new day; less is a clock that goes backwards.
            if time + DAY / 2 < self.midnight.1 {
                self.midnight.0 += DAY;
            }
            self.midnight.1 = time;
            time += self.midnight.0;
        }
        let get = |key: &str| value(line.fields, key).and_then(number);
        let place = Place {
            time,
            cpu: get("cpu_id").unwrap_or(0) as u16,
            thread: get("tid").map(|thread| thread as u32),
            process: get("pid").map(|process| process as u32),
        };
        match record(line.event, line.fields) {
            Some(Some(record)) => self.decoder.record(place, record),
            Some(None) => coverage.skip(line.event, 1),
            None => {
                let event = line.event;
                coverage.fault(|| format!("line {at}: {event} has other fields than known"));
            }
        }
    }
}

impl<R: Read> Source for Babeltrace<R> {
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.decoder.next() {
                return Ok(Some(event));
            }
            if !self.lines.advance()? {
                return Ok(None);
            }
            self.take_line();
        }
    }

    fn vcpus(&self) -> &Vcpus {
        self.decoder.vcpus()
    }

    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn reason_names(&self) -> &[String] {
        self.decoder.reason_names()
    }
}

/// True if a text begins as `babeltrace2` prints it.
pub(crate) fn looks_like_babeltrace(begin: &str) -> bool {
    begin.lines().take(50).any(|line| split(line).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    const EXIT: &str = "[18:10:27.684304496] (+0.000001218) host kvm_x86_exit: { cpu_id = 3 }, \
        { pid = 1234, tid = 1240 }, { exit_reason = 48, guest_rip = 0x10, isa = 1, info1 = 7, info2 = 0x8 }";

    #[test]
    fn an_exit_is_read_with_its_context() {
        let mut source = Babeltrace::new(EXIT.as_bytes());
        let event = source.next_event().unwrap().unwrap();
        assert_eq!((event.time, event.cpu), (65_427_684_304_496, 3));
        let exit = Kind::Exit { reason: Some(48), isa: Isa::Vmx, rip: 0x10, info: [7, 8] };
        assert_eq!(event.kind, exit);
        assert_eq!(source.vcpus().name(event.vcpu.unwrap()).to_string(), "1234 vcpu ?");
        assert_eq!(source.next_event().unwrap(), None);
    }

    #[test]
    fn threads_are_known_from_switches_where_no_context_tells() {
        let text = "\
[100.000000001] (+0.1) h sched_switch: { cpu_id = 0 }, { prev_comm = \"a\", prev_tid = 5, prev_prio = 20, \
prev_state = ( \"TASK_RUNNING\" : container = 0 ), next_comm = \"CPU 0/KVM\", next_tid = 9, next_prio = 20 }
[100.000000002] (+0.1) h kvm_x86_entry: { cpu_id = 0 }, { vcpu_id = 1 }
[100.000000005] (+0.1) h kvm_x86_exit: { cpu_id = 0 }, { exit_reason = 12, guest_rip = 0x1, isa = 1, info1 = 0, info2 = 0 }
";
        let mut source = Babeltrace::new(text.as_bytes());
        let mut events = Vec::new();
        while let Some(event) = source.next_event().unwrap() {
            events.push(event);
        }
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].vcpu, events[1].vcpu);
        assert_eq!(source.vcpus().name(events[0].vcpu.unwrap()).to_string(), "9 vcpu 1");
        assert_eq!(source.coverage().malformed, 0);
    }

    #[test]
    fn a_day_ends_at_midnight() {
        let entry = |time: &str| {
            format!("[{time}] (+0.1) h kvm_x86_entry: {{ cpu_id = 0 }}, {{ vcpu_id = 1 }}\n")
        };
        let text = entry("23:59:59.999999999") + &entry("00:00:00.000000001");
        let mut source = Babeltrace::new(text.as_bytes());
        let times = [(); 2].map(|()| source.next_event().unwrap().unwrap().time);
        assert_eq!(times[1] - times[0], 2);
    }
}
