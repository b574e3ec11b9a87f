//! One life: how far it has come, and what it cost.

use super::rules::Direction;
use crate::counters::Counters;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use strata_symbols::Layer;

/// How far a life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LifeStage {
    /// Packets join it; nothing was granted for it yet.
    Gathering,
    /// The guest has granted it.
    Granted,
    /// The driver domain holds some of it mapped.
    Accepted,
    /// The driver domain has done with it.
    Released,
}

impl LifeStage {
    /// All stages, in order.
    pub const ALL: [LifeStage; 4] =
        [LifeStage::Gathering, LifeStage::Granted, LifeStage::Accepted, LifeStage::Released];

    /// Its name in rules files and reports.
    pub fn name(self) -> &'static str {
        match self {
            LifeStage::Gathering => "gathering",
            LifeStage::Granted => "granted",
            LifeStage::Accepted => "accepted",
            LifeStage::Released => "released",
        }
    }
}

/// One packet life or batch.
#[derive(Clone, Debug)]
pub struct Life {
    /// The guest, once known.
    pub domain: Option<u16>,
    /// How far it has come.
    pub stage: LifeStage,
    /// It had begun before the stream, and its first phases are not in it.
    pub is_headless: bool,
    /// The guest has everything back.
    pub is_closed: bool,
    /// Instructions since the start of the stream before its first instruction.
    pub begin: u64,
    /// The same after its last one.
    pub end: u64,
    /// Packets, where the rules count them.
    pub packets: u64,
    /// Grants that the guest made, where the rules count them.
    pub granted: u64,
    /// Grants that the driver domain used.
    pub references: u64,
    /// Grants that it copied from or to.
    pub copied: u64,
    /// Bytes copied.
    pub copied_bytes: u64,
    /// Grants that it mapped.
    pub mapped: u64,
    /// Of these, not unmapped.
    pub still_mapped: u64,
    /// Grants that the guest took back, where the rules count them.
    pub ended: u64,
    /// Ports that events were sent to for it, each with the domain that sent.
    pub ports: BTreeSet<(u16, u32)>,
    /// Counts by phase and layer.
    pub cells: BTreeMap<(u8, Layer), Counters>,
    /// Calls before this one are for it no more.
    pub(super) last_call: u64,
}

impl Life {
    pub(super) fn new(domain: Option<u16>, begin: u64) -> Self {
        Life {
            domain,
            stage: LifeStage::Gathering,
            is_headless: false,
            is_closed: false,
            begin,
            end: begin,
            packets: 0,
            granted: 0,
            references: 0,
            copied: 0,
            copied_bytes: 0,
            mapped: 0,
            still_mapped: 0,
            ended: 0,
            ports: BTreeSet::new(),
            cells: BTreeMap::new(),
            last_call: 0,
        }
    }

    /// Instructions from its first to its last, those of others included.
    pub fn elapsed(&self) -> u64 {
        self.end - self.begin
    }

    /// Everything that was done for it.
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        self.cells.values().for_each(|counters| total += counters);
        total
    }

    /// Whether it had this phase.
    pub fn has(&self, phase: usize) -> bool {
        self.cells.keys().any(|&(of, _)| usize::from(of) == phase)
    }

    /// Grants used that the driver domain has done with and the guest has not taken back.
    pub(super) fn answerable(&self) -> u64 {
        self.references.saturating_sub(self.still_mapped).saturating_sub(self.ended)
    }

    /// Takes note that the driver domain holds more or less of it.
    pub(super) fn settle_stage(&mut self, direction: Direction) {
        let is_taken = match direction {
            Direction::Tx => self.references > 0,
            Direction::Rx => self.stage >= LifeStage::Accepted,
        };
        if is_taken {
            let is_done = self.still_mapped == 0 && self.references >= self.granted;
            self.stage = if is_done { LifeStage::Released } else { LifeStage::Accepted };
        }
    }
}
