//! Lines fetched before they are asked for.

use super::{Memory, Place, Purpose, Way};
use crate::page::PhysAddr;
use crate::span::PAGE_BYTES;

impl Memory {
    /// A demand reference begins: a load or store at `data`, or a fetch. Stride prefetchers on its
    /// way learn from it.
    #[inline]
    pub(crate) fn begin(&mut self, instruction: u64, data: Option<Place>) {
        if self.has_strides
            && let Some(data) = data
        {
            self.train(instruction, data);
        }
    }

    fn train(&mut self, instruction: u64, data: Place) {
        let mut on_the_way = Some(self.entries[self.cpu][1]);
        while let Some(index) = on_the_way {
            let node = &mut self.nodes[index];
            on_the_way = node.below;
            let Some(table) = &mut node.strides else { continue };
            let Some(stride) = table.access(instruction, data.va) else { continue };
            let shift = node.cache.line_shift();
            let ahead = same_page(data, stride as u64)
                .filter(|ahead| (ahead.physical.0 ^ data.physical.0) >> shift != 0);
            self.strides.extend(ahead.map(|ahead| (index, ahead)));
        }
    }

    /// A demand access missed: the line behind it may be wanted next.
    pub(super) fn look_ahead(&mut self, index: usize, place: Place) {
        let node = &self.nodes[index];
        if !node.next_line {
            return;
        }
        let line_bytes = 1 << node.cache.line_shift();
        let next = (place.physical.0 & !(line_bytes - 1)).wrapping_add(line_bytes);
        if let Some(ahead) = same_page(place, next.wrapping_sub(place.physical.0)) {
            self.next_lines.push((index, ahead));
        }
    }

    /// Whether nothing waits for the end of the reference.
    pub(crate) fn is_finished(&self) -> bool {
        self.next_lines.is_empty() && self.strides.is_empty()
    }

    /// The reference is complete: what prefetchers asked for is fetched, next lines in the order of
    /// the misses, then strides from level 1 on.
    #[inline]
    pub(crate) fn finish(&mut self) {
        if !self.is_finished() {
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
