//! Lines fetched before they are asked for.

use super::{Memory, Place, Purpose, Reference, Way};
use crate::page::PhysAddr;
use crate::span::PAGE_BYTES;

impl Memory {
    /// A demand reference begins: a load or store at `data`, or a fetch.
    pub(crate) fn begin(&mut self, instruction: u64, data: Option<Place>) {
        self.reference = Reference { instruction, data, seen: super::Levels::default() };
    }

    /// Lets the prefetcher of a cache see a demand access.
    pub(super) fn train(&mut self, index: usize, place: Place, missed: bool) {
        let node = &mut self.nodes[index];
        let line_bytes = 1 << node.cache.line_shift();
        if node.next_line && missed {
            let next = (place.physical.0 & !(line_bytes - 1)).wrapping_add(line_bytes);
            if let Some(ahead) = same_page(place, next.wrapping_sub(place.physical.0)) {
                self.next_lines.push((index, ahead));
            }
        }
        let Some(data) = self.reference.data else { return };
        if self.reference.seen.has(node.level) {
            return;
        }
        self.reference.seen.add(node.level);
        let Some(table) = &mut node.strides else { return };
        let Some(stride) = table.access(self.reference.instruction, data.va) else { return };
        let ahead = same_page(data, stride as u64);
        let other_line =
            |ahead: &Place| (ahead.physical.0 ^ data.physical.0) >> node.cache.line_shift() != 0;
        if let Some(ahead) = ahead.filter(other_line) {
            self.strides.push((index, ahead));
        }
    }

    /// The reference is complete: what prefetchers asked for is fetched, next lines in the order of
    /// the misses, then strides from level 1 on.
    #[inline]
    pub(crate) fn finish(&mut self) {
        if !self.next_lines.is_empty() || !self.strides.is_empty() {
            self.prefetch();
        }
    }

    #[cold]
    fn prefetch(&mut self) {
        let next_lines = std::mem::take(&mut self.next_lines);
        let strides = std::mem::take(&mut self.strides);
        for (index, place) in next_lines.into_iter().chain(strides) {
            let node = &self.nodes[index];
            let line = node.line_of(place);
            if node.cache.contains(line) {
                continue;
            }
            self.prefetching = index;
            self.prepare_for(index, place, false, false);
            self.down(index, place, Purpose::Prefetch, &mut Way::default());
        }
    }
}

/// The place `distance` bytes further, if it is in the same page.
fn same_page(place: Place, distance: u64) -> Option<Place> {
    let physical = place.physical.0.wrapping_add(distance);
    (physical / PAGE_BYTES == place.physical.0 / PAGE_BYTES)
        .then(|| Place { physical: PhysAddr(physical), va: place.va.wrapping_add(distance) })
}
