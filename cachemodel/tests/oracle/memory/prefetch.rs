//! Prefetchers: what trains them, and what they fetch.

use strata_cachemodel::Prefetcher;

use super::{Cause, Memory, Stride};
use crate::cache::At;

impl Memory {
    /// Every load and store trains the stride prefetchers on its way.
    pub(crate) fn train(&mut self, instruction: u64, address: At) {
        for (level, id) in self.way(self.cpu, true).into_iter().enumerate() {
            let placed = &mut self.caches[id];
            if placed.cache.spec.prefetcher() != Prefetcher::Stride {
                continue;
            }
            let entry = placed.strides.entry(instruction % 256).or_insert(Stride {
                instruction: !instruction,
                address: 0,
                difference: 0,
            });
            if entry.instruction != instruction {
                *entry = Stride { instruction, address: address.va, difference: 0 };
                continue;
            }
            let difference = address.va.wrapping_sub(entry.address);
            let repeats = difference != 0 && difference == entry.difference;
            *entry = Stride { instruction, address: address.va, difference };
            let va = address.va.wrapping_add(difference);
            let bytes = placed.cache.spec.line_bytes();
            if repeats && va / 4096 == address.va / 4096 && va / bytes != address.va / bytes {
                let pa = address.pa / 4096 * 4096 + va % 4096;
                self.pending.push_back((id, level, At { va, pa }));
            }
        }
    }

    /// The reference is complete: what it has triggered is prefetched.
    pub(crate) fn prefetch(&mut self, fetch: bool) {
        while let Some((id, level, at)) = self.pending.pop_front() {
            if self.caches[id].cache.holds(at) {
                continue;
            }
            let mut request = self.request(at, Cause::Prefetch, level);
            request.way = self.way(self.cpu, !fetch);
            self.look_up(&request, level, false);
            let unit = std::mem::take(&mut self.unit);
            for level in 0..3 {
                if unit.accessed[level] {
                    self.counts.levels[level].prefetches.count(unit.missed[level]);
                }
            }
        }
    }
}
