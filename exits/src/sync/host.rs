//! When a host ran its guests' vCPUs, and what it says of their clocks.

use super::fit::Run;
use crate::event::{Event, Kind, VcpuId, VcpuName, Vcpus};

/// What a host's trace tells of one vCPU.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// From entries to exits, ascending.
    pub runs: Vec<Run>,
    /// When its TSC offset was set, and what to.
    pub offsets: Vec<(u64, u64)>,
    entered: Option<u64>,
}

/// What a host's trace tells of all vCPUs; 16 bytes for each run.
#[derive(Clone, Debug, Default)]
pub struct Host {
    vcpus: Vec<Ran>,
}

/// A guest as its host's trace tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGuest {
    /// Process, or domain of Xen; `None` where the trace tells threads only.
    pub id: Option<u32>,
    /// Its vCPUs by their numbers.
    pub vcpus: Vec<(u32, VcpuId)>,
}

impl Host {
    /// Takes the next event.
    pub fn event(&mut self, event: &Event) {
        if let Kind::Lost { .. } = event.kind {
            // An exit may be among what was lost.
            self.vcpus.iter_mut().for_each(|vcpu| vcpu.entered = None);
        }
        let Some(id) = event.vcpu else { return };
        if self.vcpus.len() <= id.index() {
            self.vcpus.resize_with(id.index() + 1, Ran::default);
        }
        let vcpu = &mut self.vcpus[id.index()];
        match event.kind {
            Kind::Entry => vcpu.entered = Some(event.time),
            Kind::Exit { .. } => {
                let last = vcpu.runs.last().map_or(0, |run| run.1);
                if let Some(entered) = vcpu.entered.take()
                    && entered >= last
                    && event.time >= entered
                {
                    vcpu.runs.push((entered, event.time));
                }
            }
            Kind::TscOffset { next, .. } => vcpu.offsets.push((event.time, next)),
            _ => {}
        }
    }

    /// What is known of a vCPU.
    pub fn vcpu(&self, id: VcpuId) -> Option<&Ran> {
        self.vcpus.get(id.index())
    }

    /// The guests, with vCPUs that ran. Where a trace tells threads only, vCPUs with different
    /// numbers are taken for those of one guest.
    pub fn guests(&self, names: &Vcpus) -> Vec<HostGuest> {
        let mut guests: Vec<HostGuest> = Vec::new();
        for (id, name) in names.iter() {
            if self.vcpu(id).is_none_or(|vcpu| vcpu.runs.is_empty()) {
                continue;
            }
            let (group, number) = match name {
                VcpuName::Xen { domain, number } => (u32::from(domain), u32::from(number)),
                VcpuName::Kvm { process, number } => (process, number.unwrap_or(0)),
                VcpuName::Svm { .. } | VcpuName::Unknown { .. } => continue,
            };
            match guests.iter_mut().find(|guest| guest.id == Some(group)) {
                Some(guest) => guest.vcpus.push((number, id)),
                None => guests.push(HostGuest { id: Some(group), vcpus: vec![(number, id)] }),
            }
        }
        let mut numbers: Vec<u32> =
            guests.iter().flat_map(|guest| &guest.vcpus).map(|v| v.0).collect();
        numbers.sort_unstable();
        let are_different = numbers.windows(2).all(|pair| pair[0] != pair[1]);
        if guests.len() > 1 && guests.iter().all(|guest| guest.vcpus.len() == 1) && are_different {
            let vcpus = guests.into_iter().flat_map(|guest| guest.vcpus).collect();
            return vec![HostGuest { id: None, vcpus }];
        }
        guests
    }
}
