//! Exits, and guests' events, as a Chrome trace, which the Perfetto UI opens.
//!
//! The format: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>,
//! complete (`X`) and instant events (`i`) with times in microseconds.

use crate::error::Error;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use strata_exits::{Interval, Isa, Unit, VcpuName, Vcpus, exit_reason};

/// Most exits that are kept; a viewer takes few more.
const MOST: usize = 200_000;

/// An event of a guest, by its host's clock.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Host time.
    pub time: i128,
    /// The guest's process.
    pub process: u32,
    /// The guest's CPU, which has a track of its own.
    pub track: u16,
    /// What the event is called.
    pub name: String,
    /// Thread of the guest, if it is known.
    pub thread: Option<u32>,
    /// Its fields as printed.
    pub fields: Option<Box<str>>,
}

/// Tracks of guests' CPUs lie behind those of vCPUs.
const GUEST_TRACKS: u32 = 1 << 20;

/// Keeps exits to write them as a Chrome trace.
#[derive(Clone, Debug, Default)]
pub struct TraceEvents {
    intervals: Vec<Interval>,
    marks: Vec<Mark>,
    left_out: u64,
}

impl TraceEvents {
    /// Keeps an exit, if there is room.
    pub fn add(&mut self, interval: &Interval) {
        if self.intervals.len() < MOST {
            self.intervals.push(*interval);
        } else {
            self.left_out += 1;
        }
    }

    /// Keeps an event of a guest, if there is room.
    pub fn mark(&mut self, mark: Mark) {
        if self.marks.len() < MOST {
            self.marks.push(mark);
        } else {
            self.left_out += 1;
        }
    }

    /// Exits and events of guests for which there was no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes the trace: a track for each vCPU. Cycles and instructions are shown as nanoseconds,
    /// one for one. `isa` is the numbering of reasons of which the trace does not say it.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written.
    pub fn write(
        &self,
        (vcpus, names): (&Vcpus, &[String]),
        unit: Unit,
        isa: Isa,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let note = format!("times are {}, shown as nanoseconds", unit.name());
        write!(
            out,
            "{{\"displayTimeUnit\":\"ns\",\"otherData\":{},\"traceEvents\":[",
            json!({ "unit": unit.name(), "note": note, "left_out": self.left_out })
        )
        .map_err(Error::Output)?;
        let exits = self.intervals.iter().map(|interval| i128::from(interval.begin));
        let begin = exits.chain(self.marks.iter().map(|mark| mark.time)).min().unwrap_or(0);
        let tracks = vcpus.iter().flat_map(|(id, name)| {
            let process = process_of(name);
            let label = match name {
                VcpuName::Xen { domain, .. } => format!("domain {domain}"),
                VcpuName::Kvm { process, .. } => format!("guest {process}"),
                VcpuName::Svm { .. } | VcpuName::Unknown { .. } => "unknown".to_owned(),
            };
            let of = |what: &str, name: String| {
                json!({ "ph": "M", "name": what, "pid": process, "tid": id.index(), "args": { "name": name } })
            };
            [of("process_name", label), of("thread_name", name.to_string())]
        });
        let exits = self.intervals.iter().map(|interval| {
            let isa = if interval.isa == Isa::Unsaid { isa } else { interval.isa };
            let name = match (isa, interval.reason) {
                (_, None) => "exit".to_owned(),
                (Isa::Named, Some(number)) => {
                    names.get(number as usize).cloned().unwrap_or_else(|| number.to_string())
                }
                (isa, Some(reason)) => exit_reason(isa, reason).into_owned(),
            };
            let process = process_of(vcpus.name(interval.vcpu));
            let microseconds = |time: i128| time as f64 / 1000.0;
            json!({
                "ph": "X",
                "name": name,
                "cat": "exit",
                "pid": process,
                "tid": interval.vcpu.index(),
                "ts": microseconds(i128::from(interval.begin) - begin),
                "dur": microseconds(interval.duration().into()),
                "args": {
                    "cpu": interval.cpu,
                    "rip": format!("{:#x}", interval.rip),
                    "port": interval.port.map(|port| format!("{:#06x}", port.port)),
                    "address": interval.address.map(|address| format!("{address:#x}")),
                    "handling": interval.handling(),
                    "blocked": interval.blocked,
                    "preempted": interval.preempted,
                    "userspace": interval.userspace,
                    "interrupted": interval.interrupted,
                },
            })
        });
        let guest_cpus: BTreeSet<(u32, u16)> =
            self.marks.iter().map(|mark| (mark.process, mark.track)).collect();
        let guest_tracks = guest_cpus.into_iter().map(|(process, cpu)| {
            let name = format!("CPU {cpu} as the guest saw it");
            json!({ "ph": "M", "name": "thread_name", "pid": process, "tid": GUEST_TRACKS + u32::from(cpu), "args": { "name": name } })
        });
        let marks = self.marks.iter().map(|mark| {
            json!({
                "ph": "i",
                "s": "t",
                "name": mark.name,
                "cat": "guest",
                "pid": mark.process,
                "tid": GUEST_TRACKS + u32::from(mark.track),
                "ts": (mark.time - begin) as f64 / 1000.0,
                "args": { "thread": mark.thread, "fields": mark.fields },
            })
        });
        for (number, event) in tracks.chain(guest_tracks).chain(exits).chain(marks).enumerate() {
            let comma = if number == 0 { "\n" } else { ",\n" };
            write!(out, "{comma}{event}").map_err(Error::Output)?;
        }
        out.write_all(b"\n]}\n").map_err(Error::Output)
    }
}
/// What groups the tracks of a guest's vCPUs.
fn process_of(vcpu: VcpuName) -> u32 {
    match vcpu {
        VcpuName::Xen { domain, .. } => u32::from(domain),
        VcpuName::Kvm { process, .. } => process,
        VcpuName::Svm { .. } | VcpuName::Unknown { .. } => u32::MAX,
    }
}
