//! The hierarchy from its definition: a reference is its bytes, one by one.

use strata_cachemodel::{
    ControlEvent, Counts, Machine, Mapping, RefKind, Semantics, Tally, TlbGeometry, TlbLookup,
};

use crate::naive_cache::{Missing, NaiveCache};
use crate::naive_tlb::{NaiveTlb, State};

/// Everything, the slow way.
pub(crate) struct NaiveHierarchy {
    semantics: Semantics,
    l1i: NaiveCache,
    l1d: NaiveCache,
    l2: NaiveCache,
    itlb: NaiveTlb,
    dtlb: NaiveTlb,
    state: State,
    pub(crate) counts: Counts,
}

/// What one reference did, in the order of the accessors of `Outcome`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NaiveOutcome {
    pub(crate) l1_accesses: u64,
    pub(crate) l1_misses: u64,
    pub(crate) l2_misses: u64,
    pub(crate) tlb_accesses: u64,
    pub(crate) tlb_misses: u64,
    pub(crate) stale_hits: u64,
    pub(crate) is_device: bool,
}

fn count(tally: &mut Tally, missed: bool) {
    tally.accesses += 1;
    tally.misses += u64::from(missed);
    tally.hits += u64::from(!missed);
}

impl NaiveHierarchy {
    pub(crate) fn new(machine: &Machine) -> Self {
        let cache = |geometry: &strata_cachemodel::CacheGeometry| {
            NaiveCache::new(geometry.sets(), geometry.ways(), geometry.line_bytes())
        };
        let tlb = |geometry: &TlbGeometry| NaiveTlb::new(geometry.sets(), geometry.ways());
        Self {
            semantics: machine.semantics(),
            l1i: cache(machine.l1i()),
            l1d: cache(machine.l1d()),
            l2: cache(machine.l2()),
            itlb: tlb(machine.itlb()),
            dtlb: tlb(machine.dtlb()),
            state: State { cr0: 1 << 31 | 1, cr3: 0, cr4: 1 << 5 | 1 << 7 },
            counts: Counts::default(),
        }
    }

    pub(crate) fn access(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u32,
        first: Mapping,
        second: Option<Mapping>,
    ) -> NaiveOutcome {
        let mut outcome = NaiveOutcome::default();
        if kind == RefKind::ModifyWrite && self.semantics == Semantics::Cachegrind {
            self.counts.references.folded_writes += 1;
            return outcome;
        }
        let (came, device) = (&mut self.counts.references, &mut self.counts.device);
        let (came_of_kind, device_of_kind) = match kind {
            RefKind::Fetch => (&mut came.fetches, &mut device.fetches),
            RefKind::Read => (&mut came.reads, &mut device.reads),
            RefKind::Write | RefKind::ModifyWrite => (&mut came.writes, &mut device.writes),
        };
        *came_of_kind += 1;

        let bytes = if self.semantics == Semantics::FirstByte { 1 } else { bytes.max(1) };
        let mut touched: Vec<(u64, Mapping)> = Vec::new();
        let mut clipped = false;
        for offset in 0..u64::from(bytes) {
            let mapping = match (va % 4096 + offset) / 4096 {
                0 => Some(first),
                1 => second,
                _ => None,
            };
            match mapping {
                Some(mapping) => touched.push((va.wrapping_add(offset), mapping)),
                None => clipped = true,
            }
        }
        came.clipped += u64::from(clipped);
        let goes_to_device = touched.iter().any(|(_, mapping)| mapping.is_device());
        *device_of_kind += u64::from(goes_to_device);

        self.access_pages(kind, &touched, &mut outcome);
        outcome.is_device = goes_to_device;
        if !goes_to_device {
            self.access_lines(kind, &touched, &mut outcome);
        }
        outcome
    }

    fn access_pages(
        &mut self,
        kind: RefKind,
        touched: &[(u64, Mapping)],
        outcome: &mut NaiveOutcome,
    ) {
        let splits = self.splits();
        let mut pages = touched.to_vec();
        pages.dedup_by_key(|(va, mapping)| (*va >> mapping.size().shift(), mapping.size()));
        let (tlb, counts) = match kind {
            RefKind::Fetch => (&mut self.itlb, &mut self.counts.itlb),
            _ => (&mut self.dtlb, &mut self.counts.dtlb),
        };
        let found: Vec<_> =
            pages.iter().map(|&(va, mapping)| tlb.access(va, mapping, &self.state)).collect();
        let groups = if splits { found.chunks(1) } else { found.chunks(2) };
        for group in groups {
            let missed = group.contains(&TlbLookup::Miss);
            let stale = group.contains(&TlbLookup::StaleHit);
            count(&mut counts.all, missed);
            counts.stale_hits += u64::from(stale);
            outcome.tlb_accesses += 1;
            outcome.tlb_misses += u64::from(missed);
            outcome.stale_hits += u64::from(stale);
        }
    }

    fn access_lines(
        &mut self,
        kind: RefKind,
        touched: &[(u64, Mapping)],
        outcome: &mut NaiveOutcome,
    ) {
        let mut addresses: Vec<u64> =
            touched.iter().map(|(va, mapping)| mapping.frame() * 4096 + va % 4096).collect();
        let l1 = if kind == RefKind::Fetch { &self.l1i } else { &self.l1d };
        addresses.dedup_by_key(|address| l1.line(*address));
        let groups: Vec<Vec<u64>> = if self.splits() {
            addresses.iter().map(|&address| vec![address]).collect()
        } else {
            vec![addresses]
        };
        for group in groups {
            let mut missing: Vec<(u64, Missing)> = Vec::new();
            for &address in &group {
                let write = matches!(kind, RefKind::Write | RefKind::ModifyWrite);
                let l1 = if kind == RefKind::Fetch { &mut self.l1i } else { &mut self.l1d };
                missing.extend(l1.access(address, write).map(|missing| (address, missing)));
            }
            let l1_missed = !missing.is_empty();
            let mut l2_missed = false;
            if self.semantics == Semantics::Cachegrind {
                if l1_missed {
                    for &address in &group {
                        l2_missed |= self.ask_l2(address);
                    }
                }
            } else {
                for (address, missing) in missing {
                    if let Some(victim) = missing.dirty_victim {
                        self.write_back(victim);
                    }
                    l2_missed |= self.ask_l2(address);
                }
            }
            let (l1, l2) = match kind {
                RefKind::Fetch => (&mut self.counts.l1i, &mut self.counts.l2.fetches),
                RefKind::Read => (&mut self.counts.l1d.reads, &mut self.counts.l2.reads),
                _ => (&mut self.counts.l1d.writes, &mut self.counts.l2.writes),
            };
            count(l1, l1_missed);
            if l1_missed {
                count(l2, l2_missed);
            }
            outcome.l1_accesses += 1;
            outcome.l1_misses += u64::from(l1_missed);
            outcome.l2_misses += u64::from(l2_missed);
        }
    }

    fn ask_l2(&mut self, address: u64) -> bool {
        let missing = self.l2.access(address, false);
        self.pass_to_memory(missing);
        missing.is_some()
    }

    fn write_back(&mut self, victim: u64) {
        if !matches!(self.semantics, Semantics::PerReference | Semantics::SplitWriteback) {
            return;
        }
        let missing = self.l2.access(victim, true);
        self.counts.l2.writebacks += 1;
        self.counts.l2.writeback_misses += u64::from(missing.is_some());
        self.pass_to_memory(missing);
    }

    fn pass_to_memory(&mut self, missing: Option<Missing>) {
        let victim = missing.and_then(|missing| missing.dirty_victim);
        self.counts.l2.memory_writebacks += u64::from(victim.is_some());
    }

    fn splits(&self) -> bool {
        matches!(self.semantics, Semantics::SplitDemandOnly | Semantics::SplitWriteback)
    }

    pub(crate) fn control(&mut self, event: ControlEvent) {
        self.counts.itlb.flushed += self.itlb.drop_for(event, &self.state);
        self.counts.dtlb.flushed += self.dtlb.drop_for(event, &self.state);
        self.state.apply(event, &mut self.counts.flushes);
    }

    pub(crate) fn invalidate_physical(&mut self, start: u64, length: u64) {
        let dma = &mut self.counts.dma;
        dma.transfers += 1;
        dma.l1i_lines += self.l1i.invalidate(start, length);
        dma.l1d_lines += self.l1d.invalidate(start, length);
        dma.l2_lines += self.l2.invalidate(start, length);
    }

    pub(crate) fn dirty_l1d_lines(&self) -> u64 {
        self.l1d.dirty_lines()
    }
}
