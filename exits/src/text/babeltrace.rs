//! What `babeltrace2` prints of an LTTng trace of the kernel.
//!
//! ```text
//! [18:10:27.684304496] (+0.000001218) host kvm_x86_exit: { cpu_id = 3 }, { tid = 1240 }, { exit_reason = 48, guest_rip = 0xFFFF, isa = 1, info1 = 0, info2 = 0 }
//! ```
//!
//! Names of events and fields are those of lttng-modules (instrumentation/events/arch/x86/kvm and
//! kvm.h).

use super::records::{Dialect, Line, TextRecord, text_source};
use super::{nanoseconds, number};
use crate::kvm::{KvmDecoder, KvmRecord, Place};

text_source!(
    /// Reads what `babeltrace2` prints of an LTTng trace.
    Babeltrace,
    Lttng,
    Lttng::default()
);

/// Times of day made times.
#[derive(Default)]
pub(super) struct Lttng {
    /// Nanoseconds before the day of the last line, and the time of day of that.
    midnight: (u64, u64),
}

const DAY: u64 = 86_400_000_000_000;

/// A line in its parts.
struct Parts<'l> {
    /// Of the day, or since the epoch.
    time: u64,
    /// Whether it is of the day.
    of_day: bool,
    event: &'l str,
    fields: &'l str,
}

fn split(line: &str) -> Option<Parts<'_>> {
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
    Some(Parts { time, of_day, event, fields })
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

impl Lttng {
    /// Nanoseconds of a line, in which only later days are told from the first.
    fn time(&mut self, parts: &Parts<'_>) -> u64 {
        if !parts.of_day {
            return parts.time;
        }
        // Half a day back is a new day; less is a clock that goes backwards.
        if parts.time + DAY / 2 < self.midnight.1 {
            self.midnight.0 += DAY;
        }
        self.midnight.1 = parts.time;
        parts.time + self.midnight.0
    }
}

impl Dialect for Lttng {
    fn line<'l>(&mut self, text: &'l str) -> Line<'l> {
        let Some(parts) = split(text) else {
            return match text.split_once("discarded ") {
                Some((_, rest)) => {
                    let records = rest.split_whitespace().next().and_then(number).unwrap_or(0);
                    Line::Lost { cpu: 0, records }
                }
                None if text.trim().is_empty() => Line::Heading,
                None => Line::Unknown,
            };
        };
        let time = self.time(&parts);
        let Parts { event, fields, .. } = parts;
        let get = |key: &str| value(fields, key).and_then(number);
        let place = Place {
            time,
            cpu: get("cpu_id").unwrap_or(0) as u16,
            thread: get("tid").map(|thread| thread as u32),
            process: get("pid").map(|process| process as u32),
        };
        Line::Record(TextRecord { place, in_cycles: false, event, fields })
    }

    fn record(&self, event: &str, fields: &str, _: &mut KvmDecoder) -> Option<Option<KvmRecord>> {
        KvmRecord::of_fields(event, |key| value(fields, key).and_then(number))
    }

    fn value<'f>(&self, fields: &'f str, name: &str) -> Option<&'f str> {
        value(fields, name)
    }
}

/// True if a text begins as `babeltrace2` prints it.
pub(crate) fn looks_like_babeltrace(begin: &str) -> bool {
    begin.lines().take(50).any(|line| split(line).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Isa, Kind};
    use crate::source::Source;

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
