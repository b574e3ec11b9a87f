//! One clock for both traces.

use super::fit::{Check, Point, Run, check, fit, nearest};
use super::guest::Guest;
use super::host::{Host, HostGuest};
use super::line::Line;
use crate::error::Error;
use crate::event::{Unit, VcpuId, Vcpus};

/// How the clocks are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By the guest's TSC offset, which the host's trace tells.
    TscOffset,
    /// By the runs of vCPUs that guest events must be in.
    Intervals,
}

impl Method {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Method::TscOffset => "tsc-offset",
            Method::Intervals => "intervals",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncOptions {
    /// The guest's process, or domain of Xen, in the host's trace.
    pub guest: Option<u32>,
    /// CPUs of the guest that are not the vCPU of their number, and which they are.
    pub vcpus: Vec<(u16, u32)>,
    /// How; `None` takes TSC offsets where there are some.
    pub method: Option<Method>,
    /// Host ticks that a guest tick takes, about.
    pub ratio: Option<f64>,
}

/// A CPU of the guest, and how its events fall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedVcpu {
    /// Number in the guest.
    pub cpu: u16,
    /// The host's vCPU.
    pub vcpu: VcpuId,
    /// Times that the host ran it.
    pub runs: u64,
    /// Where its events are.
    pub check: Check,
}

/// Both traces on the host's clock.
#[derive(Clone, Debug)]
pub struct Synced {
    /// How.
    pub method: Method,
    /// Host times of guest times.
    pub line: Line,
    /// Host ticks that the line may be moved down and up at its reference; `None` with a TSC offset,
    /// or where not all events are in runs.
    pub certain: Option<(f64, f64)>,
    /// The offset of the guest's TSC.
    pub offset: Option<u64>,
    /// Times that the offset was set to another value while the guest's trace ran.
    pub offset_changes: u64,
    /// The guest in the host's trace.
    pub guest: HostGuest,
    /// Its CPUs with events.
    pub vcpus: Vec<SyncedVcpu>,
    /// Over all of them.
    pub check: Check,
    /// Events on CPUs that are no vCPU of the host's trace.
    pub without_vcpu: u64,
    runs: Vec<Vec<Run>>,
}

impl Synced {
    /// Where an event of a CPU is: its host time, and ticks to the nearest run, `None` outside of the
    /// host's trace.
    pub fn place(&self, cpu: u16, time: u64) -> (i128, Option<u64>) {
        let host = self.line.host(time);
        let at = self.vcpus.iter().position(|vcpu| vcpu.cpu == cpu);
        (host, at.and_then(|at| nearest(&self.runs[at], host)).map(|found| found.1))
    }
}

fn wrong(why: impl Into<String>) -> Error {
    Error::Sync { why: why.into() }
}

/// Puts a guest's trace on its host's clock. Of several guests in the host's trace the one is taken in
/// whose runs the most events fall.
///
/// # Errors
/// [`Error::Sync`] if the traces do not tell enough.
pub fn synchronize(
    (host, names, unit): (&Host, &Vcpus, Unit),
    guest: &Guest,
    options: &SyncOptions,
) -> Result<Synced, Error> {
    let ratio = match options.ratio {
        Some(ratio) => ratio,
        None if unit == guest.unit => 1.0,
        None => {
            return Err(wrong(format!(
                "the host's trace counts {} and the guest's {}; record both with one trace_clock, \
                 or --ratio tells about how many of the host's one of the guest's takes",
                unit.name(),
                guest.unit.name()
            )));
        }
    };
    let all = host.guests(names);
    let known: Vec<String> =
        all.iter().filter_map(|guest| guest.id).map(|id| id.to_string()).collect();
    let wanted = |found: &&HostGuest| options.guest.is_none_or(|id| found.id == Some(id));
    let candidates: Vec<&HostGuest> = all.iter().filter(wanted).collect();
    if candidates.is_empty() {
        return Err(wrong(match (options.guest, known.is_empty()) {
            (Some(id), false) => {
                format!("the host's trace has no guest {id}; it has {}", known.join(", "))
            }
            _ => "the host's trace has no vCPU that was entered and left; record kvm_entry and \
                  kvm_exit"
                .to_owned(),
        }));
    }
    let mut best: Option<Synced> = None;
    let (mut is_tie, mut failed) = (false, None);
    for candidate in candidates {
        match with_guest((host, unit), guest, candidate, ratio, options) {
            Ok(synced) => {
                let inside = best.as_ref().map(|best| best.check.inside);
                is_tie = inside == Some(synced.check.inside);
                if inside.is_none_or(|inside| inside < synced.check.inside) {
                    best = Some(synced);
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    match (best, failed) {
        (Some(_), _) if is_tie => Err(wrong(format!(
            "it cannot be told which guest it is: {}; --guest names one",
            known.join(", ")
        ))),
        (Some(best), _) => Ok(best),
        (None, Some(error)) => Err(error),
        (None, None) => Err(wrong("the host's trace has no guest")),
    }
}

fn with_guest(
    (host, unit): (&Host, Unit),
    guest: &Guest,
    candidate: &HostGuest,
    ratio: f64,
    options: &SyncOptions,
) -> Result<Synced, Error> {
    let mut cpus: Vec<u16> = guest.events.iter().map(|event| event.cpu).collect();
    cpus.sort_unstable();
    cpus.dedup();
    let vcpu_of = |cpu: u16| {
        let named = options.vcpus.iter().find(|pair| pair.0 == cpu).map(|pair| pair.1);
        let number = named.unwrap_or(u32::from(cpu));
        candidate.vcpus.iter().find(|vcpu| vcpu.0 == number).map(|vcpu| vcpu.1)
    };
    let pairs: Vec<(u16, VcpuId)> =
        cpus.into_iter().filter_map(|cpu| Some((cpu, vcpu_of(cpu)?))).collect();
    let ran = |vcpu: VcpuId| host.vcpu(vcpu).map(|ran| ran.runs.clone()).unwrap_or_default();
    let runs: Vec<Vec<Run>> = pairs.iter().map(|pair| ran(pair.1)).collect();
    let points: Vec<Point> = guest
        .events
        .iter()
        .filter_map(|event| {
            let vcpu = pairs.iter().position(|pair| pair.0 == event.cpu)?;
            Some(Point { vcpu, time: event.time })
        })
        .collect();
    let offsets = || pairs.iter().filter_map(|pair| host.vcpu(pair.1)).flat_map(|ran| &ran.offsets);
    let both_cycles = unit == Unit::Cycles && guest.unit == Unit::Cycles;
    let method = options.method.unwrap_or(match both_cycles && offsets().next().is_some() {
        true => Method::TscOffset,
        false => Method::Intervals,
    });
    let (mut offset, mut offset_changes) = (None, 0);
    let (line, certain) = match method {
        Method::Intervals => {
            let found = fit(&points, &runs, ratio)?;
            (found.line, found.certain)
        }
        Method::TscOffset => {
            let value = one_offset(host, &pairs, both_cycles)?;
            let line = Line::of_offset(value);
            let begin = points.first().map_or(0, |point| line.host(point.time));
            let changed = |set: &&(u64, u64)| set.1 != value && i128::from(set.0) > begin;
            offset_changes = offsets().filter(changed).count() as u64;
            offset = Some(value);
            (line, None)
        }
    };
    let vcpus: Vec<SyncedVcpu> = pairs
        .iter()
        .enumerate()
        .map(|(at, &(cpu, vcpu))| {
            let its: Vec<Point> = points.iter().copied().filter(|point| point.vcpu == at).collect();
            let check = check(&line, &its, &runs);
            SyncedVcpu { cpu, vcpu, runs: runs[at].len() as u64, check }
        })
        .collect();
    Ok(Synced {
        method,
        line,
        certain,
        offset,
        offset_changes,
        guest: candidate.clone(),
        vcpus,
        check: check(&line, &points, &runs),
        without_vcpu: (guest.events.len() - points.len()) as u64,
        runs,
    })
}

/// The TSC offset that was set last, the same for all vCPUs.
fn one_offset(host: &Host, pairs: &[(u16, VcpuId)], both_cycles: bool) -> Result<u64, Error> {
    if !both_cycles {
        return Err(wrong(
            "TSC offsets help only where both traces count the TSC; record with trace_clock \
             x86-tsc, or take --method intervals",
        ));
    }
    let last = |vcpu: VcpuId| host.vcpu(vcpu)?.offsets.last().map(|set| set.1);
    let mut found = pairs.iter().filter_map(|pair| last(pair.1));
    let value = found.next().ok_or_else(|| {
        wrong(
            "the host's trace has no kvm_write_tsc_offset of it; record from before the guest \
             starts, or take --method intervals",
        )
    })?;
    if found.any(|other| other != value) {
        return Err(wrong("its vCPUs have different TSC offsets; take --method intervals"));
    }
    Ok(value)
}
