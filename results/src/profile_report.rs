//! A replay's result together with what must be said about it.

use crate::known::Known;
use crate::numbers::{counted, grouped};
use crate::profile_table::{Named, ProfileTable, named};
use crate::provenance::{Provenance, Symbols};
use crate::selection::Selection;
use strata_cachemodel::{
    ByteSize, EventDelivery, Machine, PageSize, TagScheme, TlbArraySpec, TlbSpec,
};
use strata_sim::{Profile, UnknownPartitions};

/// A profile and where it came from: all that its tables, CSV and JSON are made of.
#[derive(Clone, Debug)]
pub struct ProfileReport {
    /// What was counted.
    pub profile: Profile,
    /// Of what.
    pub provenance: Provenance,
}

impl ProfileReport {
    /// Rows of the profile as `selection` asks.
    pub fn table(&self, selection: Selection) -> ProfileTable {
        ProfileTable::new(&self.profile, self.known(), selection)
    }

    /// Which of the counts are known.
    pub fn known(&self) -> Known {
        Known::without(self.provenance.lacks)
    }

    /// How much of each layer has a name.
    pub fn named(&self) -> Vec<Named> {
        named(&self.profile)
    }

    /// What of the trace was replayed, where that is not all of it.
    pub fn extent(&self) -> Option<String> {
        let Provenance { from, to, warm_up, .. } = self.provenance;
        let mut parts = Vec::new();
        if from > 0 || to.is_some() {
            let end = to.map_or_else(|| "the end".to_owned(), grouped);
            parts.push(format!("instructions {} to {end}", grouped(from)));
        }
        if warm_up > 0 {
            parts
                .push(format!("the first {} of them warm the caches, uncounted", grouped(warm_up)));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Whether memory traffic of devices is part of the replay.
    pub fn dma(&self) -> String {
        match self.profile.remarks.dma_transfers {
            0 if !self.known().events() => "DMA by devices: not available".to_owned(),
            0 if self.extent().is_some() => {
                "DMA by devices: not modelled (what was replayed tells of none)".to_owned()
            }
            0 => "DMA by devices: not modelled (the trace tells of none)".to_owned(),
            transfers => {
                let dropped: u64 = self
                    .profile
                    .counts
                    .levels()
                    .map(|level| level.device_invalidations)
                    .iter()
                    .sum();
                format!(
                    "DMA by devices: recorded ({}; {} dropped from caches)",
                    counted(transfers, "transfer"),
                    counted(dropped, "line"),
                )
            }
        }
    }

    /// How interrupts and exceptions reach memory.
    pub fn delivery(&self) -> String {
        if !self.known().events() {
            return "event delivery: not available".to_owned();
        }
        let remarks = &self.profile.remarks;
        let deliveries = format!("{} interrupts and exceptions", grouped(remarks.deliveries));
        match self.profile.machine.event_delivery() {
            EventDelivery::Synthesised => format!(
                "event delivery synthesised ({deliveries}, {})",
                counted(remarks.synthesised_references, "reference"),
            ),
            EventDelivery::Off => {
                format!("event delivery off ({deliveries} make no references)")
            }
        }
    }

    /// What else a reader of the figures should know, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let remarks = &self.profile.remarks;
        let mut out = Vec::new();
        out.extend(self.provenance.truncated.as_ref().map(|why| format!("truncated input: {why}")));
        out.extend(
            self.provenance
                .patches()
                .iter()
                .map(|patch| format!("the recorder changed the running guest: {patch}")),
        );
        match &self.provenance.symbols {
            Symbols::None => out.push("no names: a bare trace has no symbols".to_owned()),
            Symbols::Off => out.push("no names: symbols are switched off".to_owned()),
            Symbols::NotNeeded => {}
            Symbols::Used { complaints } => {
                out.extend(complaints.iter().map(|complaint| format!("symbols: {complaint}")));
            }
        }
        out.extend(self.known().remarks(&self.profile.machine));
        out.extend(self.cpus());
        out.extend(self.partitions());
        out.extend(self.estimate());
        let flushes = &self.profile.counts.flushes;
        if matches!(self.profile.machine.tags(), TagScheme::WhatIf(_)) {
            let (switches, explicit) = (flushes.switches, flushes.explicit_flushes);
            out.push(format!(
                "what-if tags saw {} switches and {} explicit flushes",
                grouped(switches),
                grouped(explicit),
            ));
        }
        let mut count = |number: u64, what: &str| {
            if number > 0 {
                out.push(format!("{} {what}", grouped(number)));
            }
        };
        count(
            self.profile.total.stale,
            "stale TLB hits: the frame in the entry is not the one the trace translates to",
        );
        count(
            remarks.untranslated_pages,
            "look-ups of pages without a translation in the trace, taken as physical addresses",
        );
        count(remarks.gaps, "gaps in the trace: what ran in them is not counted");
        count(remarks.guest_switches, "VMRUN and #VMEXIT");
        count(
            self.profile.counts.references.clipped,
            "references beyond the page that they begin in and the next, of which the rest is left out",
        );
        out
    }
}

impl ProfileReport {
    /// CPUs of the trace that share one of the machine.
    fn cpus(&self) -> Option<String> {
        let (of_trace, of_machine) = (self.profile.remarks.cpus, self.profile.machine.cpus());
        (of_trace > u64::from(of_machine)).then(|| {
            format!(
                "{of_trace} CPUs in the trace share {} of the machine, which switches between them \
                 by CR3 writes; --set cpus={of_trace} gives each its own",
                counted(u64::from(of_machine), "CPU"),
            )
        })
    }

    /// Partitions of nobody; where nothing was replayed they are not worth a word.
    fn partitions(&self) -> Option<String> {
        let UnknownPartitions { keys, known } = &self.profile.unknown_partitions;
        (!keys.is_empty() && !known.is_empty()).then(|| {
            format!(
                "without effect: {}; no layer or domain that was replayed is called so; there are {}",
                keys.join(", "),
                known.join(", "),
            )
        })
    }

    /// What estimated cycles are.
    fn estimate(&self) -> Option<String> {
        self.profile.machine.cost()?;
        Some(
            "est. cycles are an estimate for ranking code: costs of the machine file, added up, \
             where processors overlap them; a VM exit is charged to the function that ran last"
                .to_owned(),
        )
    }
}

/// A machine's parameters, and what follows from them, in a line.
pub(crate) fn machine_line(machine: &Machine) -> String {
    let mut parts = Vec::new();
    let mut line_sizes = Vec::new();
    let mut policies = Vec::new();
    for (number, level) in (1..).zip(machine.levels()) {
        for (name, cache) in level.caches(number) {
            let ways = associativity(cache.sets(), cache.ways());
            let size = ByteSize(cache.size_bytes());
            parts.push(format!("{} {size} {ways}", name.to_uppercase()));
            line_sizes.push(cache.line_bytes());
            policies.push(cache.replacement());
        }
    }
    line_sizes.dedup();
    let sizes: Vec<_> = line_sizes.iter().map(u64::to_string).collect();
    match sizes.as_slice() {
        [size] => parts.push(format!("{size}-byte lines")),
        several => parts.push(format!("lines of {} bytes", several.join(", "))),
    }
    let tlbs =
        [("ITLB", Some(machine.itlb())), ("DTLB", Some(machine.dtlb())), ("STLB", machine.stlb())];
    for (name, tlb) in tlbs {
        let arrays = tlb.into_iter().flat_map(TlbSpec::arrays);
        for array in arrays {
            let geometry = array.geometry();
            let ways = associativity(geometry.sets(), geometry.ways());
            let several = tlb.is_some_and(|tlb| tlb.arrays().len() > 1);
            let sizes = if several { format!(" {}", page_sizes(array)) } else { String::new() };
            parts.push(format!("{name}{sizes} {} entries {ways}", geometry.entries()));
            policies.push(array.replacement());
        }
    }
    parts.push(format!("tags {}", machine.tags()));
    policies.dedup();
    let names: Vec<_> = policies.iter().map(|policy| policy.to_string().to_uppercase()).collect();
    parts.push(names.join(", "));
    format!("{}: {}", machine.name(), parts.join("; "))
}

/// Sizes of the pages that an array holds: `4k+2m`.
fn page_sizes(array: &TlbArraySpec) -> String {
    let sizes = [(PageSize::Size4K, "4k"), (PageSize::Size2M, "2m"), (PageSize::Size1G, "1g")];
    let held = sizes.into_iter().filter(|&(size, _)| array.holds(size));
    held.map(|(_, name)| name).collect::<Vec<_>>().join("+")
}

fn associativity(sets: u64, ways: usize) -> String {
    match sets {
        1 => "fully associative".to_owned(),
        sets => format!("{ways}-way, {} sets", grouped(sets)),
    }
}
