//! What vCPUs do over time, in bounded memory.

use crate::accounting::Interval;
use crate::event::{Event, Kind, VcpuId};

/// Most windows; when the trace goes beyond, two neighbours become one.
const WINDOWS: usize = 400;

/// Time of one vCPU in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// In the guest.
    pub guest: u64,
    /// In the host, at work for it.
    pub handling: u64,
    /// Waiting for an event.
    pub blocked: u64,
    /// Waiting for a CPU.
    pub preempted: u64,
}

impl Activity {
    fn add(&mut self, other: Activity) {
        self.guest = self.guest.saturating_add(other.guest);
        self.handling = self.handling.saturating_add(other.handling);
        self.blocked = self.blocked.saturating_add(other.blocked);
        self.preempted = self.preempted.saturating_add(other.preempted);
    }
}

/// What vCPUs do over time.
///
/// The waiting of an exit is spread over it evenly: it is known how long it is, not where.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Time of the first event.
    begin: Option<u64>,
    width: u64,
    vcpus: Vec<Vec<Activity>>,
    entered: Vec<Option<u64>>,
}

impl Timeline {
    /// Takes an event, and the interval that ended with it, if one did.
    pub fn event(&mut self, event: &Event, interval: Option<&Interval>) {
        self.begin.get_or_insert(event.time);
        self.width = self.width.max(1);
        if let Some(vcpu) = event.vcpu {
            if self.entered.len() <= vcpu.index() {
                self.entered.resize(vcpu.index() + 1, None);
                self.vcpus.resize_with(vcpu.index() + 1, Vec::new);
            }
            match event.kind {
                Kind::Entry => self.entered[vcpu.index()] = Some(event.time),
                Kind::Exit { .. } => {
                    if let Some(from) = self.entered[vcpu.index()].take() {
                        self.spread(vcpu, from, event.time, |part| Activity {
                            guest: part,
                            ..Activity::default()
                        });
                    }
                }
                Kind::Lost { .. } => self.entered.iter_mut().for_each(|entered| *entered = None),
                _ => {}
            }
        }
        if let Some(interval) = interval {
            let whole = interval.duration().max(1) as u128;
            let (blocked, preempted) = (interval.blocked, interval.preempted);
            self.spread(interval.vcpu, interval.begin, interval.end, |part| {
                let share = |time: u64| (u128::from(time) * u128::from(part) / whole) as u64;
                let (blocked, preempted) = (share(blocked), share(preempted));
                let handling = part.saturating_sub(blocked).saturating_sub(preempted);
                Activity { guest: 0, handling, blocked, preempted }
            });
        }
    }

    /// Adds what happens from `from` to `to` to each window by its part of that time.
    fn spread(&mut self, vcpu: VcpuId, from: u64, to: u64, of: impl Fn(u64) -> Activity) {
        let begin = self.begin.unwrap_or(from);
        if from < begin || to <= from {
            return;
        }
        while (to - begin) / self.width >= WINDOWS as u64 {
            self.width *= 2;
            for windows in &mut self.vcpus {
                for i in 0..windows.len().div_ceil(2) {
                    let second = windows.get(2 * i + 1).copied().unwrap_or_default();
                    windows[i] = windows[2 * i];
                    windows[i].add(second);
                }
                windows.truncate(windows.len().div_ceil(2));
            }
        }
        let windows = &mut self.vcpus[vcpu.index()];
        let mut at = from;
        while at < to {
            let number = (at - begin) / self.width;
            let end = to.min(begin.saturating_add((number + 1).saturating_mul(self.width)));
            if windows.len() <= number as usize {
                windows.resize(number as usize + 1, Activity::default());
            }
            windows[number as usize].add(of(end - at));
            at = end;
        }
    }

    /// Length of a window.
    pub fn width(&self) -> u64 {
        self.width
    }

    /// vCPUs that did anything, with their windows from the first event on.
    pub fn vcpus(&self) -> impl Iterator<Item = (VcpuId, &[Activity])> {
        let all = self.vcpus.iter().enumerate().filter(|(_, windows)| !windows.is_empty());
        all.map(|(number, windows)| (VcpuId(number as u32), windows.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::{Account, Accounting};
    use crate::event::Isa;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_sum_to_the_whole_however_long_it_is(gaps in prop::collection::vec(1..10_000u64, 2..400)) {
            let mut account = Account::new(Accounting::default()).unwrap();
            let mut timeline = Timeline::default();
            let (mut time, mut sums) = (5, [0; 2]);
            for (i, gap) in gaps.iter().enumerate() {
                let exit = Kind::Exit { reason: Some(1), isa: Isa::Vmx, rip: 0, info: [0; 2] };
                let kind = if i % 2 == 0 { exit } else { Kind::Entry };
                let event = Event { time, cpu: 0, vcpu: Some(VcpuId(0)), kind };
                let interval = account.event(&event);
                timeline.event(&event, interval);
                if i + 1 < gaps.len() {
                    sums[i % 2] += gap;
                }
                time += gap;
            }
            let windows: Vec<_> = timeline.vcpus().flat_map(|(_, windows)| windows).collect();
            prop_assert!(windows.len() <= WINDOWS);
            let sum = |get: fn(&Activity) -> u64| windows.iter().map(|w| get(w)).sum::<u64>();
            prop_assert_eq!([sum(|w| w.handling), sum(|w| w.guest)], sums);
        }
    }
}
