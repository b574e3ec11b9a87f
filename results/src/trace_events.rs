//! Exits as a Chrome trace, which the Perfetto UI opens.
//!
//! The format: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>,
//! complete events (`X`) with times in microseconds.

use crate::error::Error;
use serde_json::json;
use std::io::Write;
use strata_exits::{Interval, Isa, Unit, VcpuName, Vcpus, exit_reason};

/// Most exits that are kept; a viewer takes few more.
const MOST: usize = 200_000;

/// Keeps exits to write them as a Chrome trace.
#[derive(Clone, Debug, Default)]
pub struct TraceEvents {
    intervals: Vec<Interval>,
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

    /// Exits for which there was no room.
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
        let begin = self.intervals.iter().map(|interval| interval.begin).min().unwrap_or(0);
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
            let microseconds = |time: u64| time as f64 / 1000.0;
            json!({
                "ph": "X",
                "name": name,
                "cat": "exit",
                "pid": process,
                "tid": interval.vcpu.index(),
                "ts": microseconds(interval.begin - begin),
                "dur": microseconds(interval.duration()),
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
        for (number, event) in tracks.chain(exits).enumerate() {
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
