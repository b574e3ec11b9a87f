//! The 26 counters of Figure 4 of the VEE'07 paper and the 17 identities between them.
//!
//! No row of the published figure breaks an identity: they are the laws of a model in which each
//! instruction and each data operand is one reference, which looks up one cache of level 1 and one
//! TLB, and asks level 2 once if it misses.

use crate::counters::{Counters, Level};
use strata_cachemodel::{Machine, Semantics, WritePolicy};

/// Counters of one level of cache, in the order of the figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the paper's own names")]
pub struct LevelColumns {
    pub hits: u64,
    pub misses: u64,
    pub inst_misses: u64,
    pub data_misses: u64,
    pub read_misses: u64,
    pub write_misses: u64,
    pub total_refs: u64,
    pub instr_refs: u64,
    pub data_refs: u64,
    pub data_rds: u64,
    pub data_wrs: u64,
}

impl LevelColumns {
    fn of(level: &Level) -> Self {
        let (all, data) = (level.all(), level.data());
        LevelColumns {
            hits: all.hits(),
            misses: all.misses,
            inst_misses: level.instructions.misses,
            data_misses: data.misses,
            read_misses: level.reads.misses,
            write_misses: level.writes.misses,
            total_refs: all.accesses,
            instr_refs: level.instructions.accesses,
            data_refs: data.accesses,
            data_rds: level.reads.accesses,
            data_wrs: level.writes.accesses,
        }
    }

    fn from_array(numbers: [u64; 11]) -> Self {
        let [hits, misses, inst_misses, data_misses, read_misses, write_misses, refs @ ..] =
            numbers;
        let [total_refs, instr_refs, data_refs, data_rds, data_wrs] = refs;
        LevelColumns {
            hits,
            misses,
            inst_misses,
            data_misses,
            read_misses,
            write_misses,
            total_refs,
            instr_refs,
            data_refs,
            data_rds,
            data_wrs,
        }
    }

    fn to_array(self) -> [u64; 11] {
        [
            self.hits,
            self.misses,
            self.inst_misses,
            self.data_misses,
            self.read_misses,
            self.write_misses,
            self.total_refs,
            self.instr_refs,
            self.data_refs,
            self.data_rds,
            self.data_wrs,
        ]
    }
}

/// The 26 counters of a row of Figure 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figure4 {
    /// Both first-level caches.
    pub l1: LevelColumns,
    /// The second level.
    pub l2: LevelColumns,
    /// Data references that hit the DTLB.
    pub tlb_data_hit: u64,
    /// Those that missed it.
    pub tlb_data_miss: u64,
    /// Instructions that hit the ITLB.
    pub tlb_inst_hit: u64,
    /// Those that missed it.
    pub tlb_inst_miss: u64,
}

/// An identity that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("identity {name} is broken: {text}, but {left} is not {right}")]
pub struct BrokenIdentity {
    /// I1 to I15, T1 or T2.
    pub name: &'static str,
    /// What should hold.
    pub text: &'static str,
    /// Its left side.
    pub left: u64,
    /// Its right side.
    pub right: u64,
}

impl Figure4 {
    /// What the paper calls its counters, in its order. `TLB64` are TLBs of 64 entries there; the
    /// names stay when the machine has others.
    pub const NAMES: [&str; 26] = [
        "L1 hits",
        "L1 misses",
        "L1 inst misses",
        "L1 data misses",
        "L1 read misses",
        "L1 write misses",
        "L1 total refs",
        "L1 instr refs",
        "L1 data refs",
        "L1 data rds",
        "L1 data wrs",
        "L2 hits",
        "L2 misses",
        "L2 inst misses",
        "L2 data misses",
        "L2 read misses",
        "L2 write misses",
        "L2 total refs",
        "L2 instr refs",
        "L2 data refs",
        "L2 data rds",
        "L2 data wrs",
        "TLB64 dataHit",
        "TLB64 dataMiss",
        "TLB64 InstHit",
        "TLB64 InstMiss",
    ];

    /// The counters of the figure among all.
    pub fn of(counters: &Counters) -> Self {
        Figure4 {
            l1: LevelColumns::of(&counters.levels[0]),
            l2: LevelColumns::of(&counters.levels[1]),
            tlb_data_hit: counters.dtlb.hits(),
            tlb_data_miss: counters.dtlb.misses,
            tlb_inst_hit: counters.itlb.hits(),
            tlb_inst_miss: counters.itlb.misses,
        }
    }

    /// From the columns of the figure, left to right.
    pub fn from_array(numbers: [u64; 26]) -> Self {
        let part = |from: usize| std::array::from_fn(|i| numbers[from + i]);
        let [tlb_data_hit, tlb_data_miss, tlb_inst_hit, tlb_inst_miss] =
            std::array::from_fn(|i| numbers[22 + i]);
        Figure4 {
            l1: LevelColumns::from_array(part(0)),
            l2: LevelColumns::from_array(part(11)),
            tlb_data_hit,
            tlb_data_miss,
            tlb_inst_hit,
            tlb_inst_miss,
        }
    }

    /// The columns of the figure, left to right.
    pub fn to_array(&self) -> [u64; 26] {
        let (l1, l2) = (self.l1.to_array(), self.l2.to_array());
        let tlbs = [self.tlb_data_hit, self.tlb_data_miss, self.tlb_inst_hit, self.tlb_inst_miss];
        let mut all = l1.into_iter().chain(l2).chain(tlbs);
        std::array::from_fn(|_| all.next().expect("11, 11 and 4 make 26"))
    }

    /// Holds the row against all 17 identities. References to devices are looked up in a TLB and in
    /// no cache: `device` of them are in the TLBs' counts, those for data or instructions together,
    /// and in no other.
    ///
    /// # Errors
    /// [`BrokenIdentity`] is the first that does not hold.
    pub fn check(&self, device: u64) -> Result<(), BrokenIdentity> {
        let (l1, l2) = (&self.l1, &self.l2);
        let data = self.tlb_data_hit + self.tlb_data_miss;
        let instructions = self.tlb_inst_hit + self.tlb_inst_miss;
        // Which of the devices' references were for data, the TLB tells; both together are given.
        let device_data = data.saturating_sub(l1.data_refs).min(device);
        let device_instructions = device - device_data;
        let identities = [
            ("I1", "L1 hits + misses = total refs", l1.hits + l1.misses, l1.total_refs),
            ("I2", "L1 inst + data misses = misses", l1.inst_misses + l1.data_misses, l1.misses),
            (
                "I3",
                "L1 read + write misses = data misses",
                l1.read_misses + l1.write_misses,
                l1.data_misses,
            ),
            (
                "I4",
                "L1 instr + data refs = total refs",
                l1.instr_refs + l1.data_refs,
                l1.total_refs,
            ),
            ("I5", "L1 data rds + wrs = data refs", l1.data_rds + l1.data_wrs, l1.data_refs),
            ("I6", "L2 total refs = L1 misses", l2.total_refs, l1.misses),
            ("I7", "L2 hits + misses = total refs", l2.hits + l2.misses, l2.total_refs),
            ("I8", "L2 instr refs = L1 inst misses", l2.instr_refs, l1.inst_misses),
            ("I9", "L2 data refs = L1 data misses", l2.data_refs, l1.data_misses),
            (
                "I10",
                "L2 instr + data refs = total refs",
                l2.instr_refs + l2.data_refs,
                l2.total_refs,
            ),
            ("I11", "L2 data rds + wrs = data refs", l2.data_rds + l2.data_wrs, l2.data_refs),
            ("I12", "L2 data rds = L1 read misses", l2.data_rds, l1.read_misses),
            ("I13", "L2 data wrs = L1 write misses", l2.data_wrs, l1.write_misses),
            ("I14", "L2 inst + data misses = misses", l2.inst_misses + l2.data_misses, l2.misses),
            (
                "I15",
                "L2 read + write misses = data misses",
                l2.read_misses + l2.write_misses,
                l2.data_misses,
            ),
            ("T1", "TLB64 dataHit + dataMiss = L1 data refs", data, l1.data_refs + device_data),
            (
                "T2",
                "TLB64 InstHit + InstMiss = L1 instr refs",
                instructions,
                l1.instr_refs + device_instructions,
            ),
        ];
        match identities.into_iter().find(|&(_, _, left, right)| left != right) {
            Some((name, text, left, right)) => Err(BrokenIdentity { name, text, left, right }),
            None => Ok(()),
        }
    }

    /// Why the identities are no laws of a machine; `None` where they are.
    pub fn no_laws(machine: &Machine) -> Option<String> {
        let semantics = machine.semantics();
        if semantics != Semantics::PerReference {
            return Some(format!(
                "they are laws of per-reference semantics, where a reference is one access; \
                 {semantics} counts otherwise"
            ));
        }
        if machine.l2().is_none() {
            return Some("the machine has no second level of cache".to_owned());
        }
        let mut first = machine.levels()[0].caches(1);
        first.any(|(_, cache)| cache.write_policy() == WritePolicy::Through).then(|| {
            "a first level that writes through asks the second for every write, not for those \
             that miss"
                .to_owned()
        })
    }
}
