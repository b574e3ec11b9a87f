//! Tree pseudo-LRU.

use super::candidates::Candidates;

/// A binary tree over the ways of each set. Nodes are numbered from the root, 1; the children of
/// node *n* are 2*n* (left, the lower ways) and 2*n* + 1.
#[derive(Debug, Clone)]
pub(super) struct Trees {
    ways: usize,
    /// Next power of two.
    leaves: usize,
    words_per_set: usize,
    /// For each set, node *n* in bit *n*: whether it points right.
    words: Vec<u64>,
    /// What a use of each way does to the word of its set: the bits to keep and those to set. Of
    /// sets of one word only.
    effects: Vec<(u64, u64)>,
}

impl Trees {
    pub(super) fn new(sets: usize, ways: usize) -> Self {
        let leaves = ways.next_power_of_two();
        let words_per_set = leaves.div_ceil(64);
        let effects = if words_per_set == 1 {
            let effect = |way| {
                let (mut ones, mut zeros) = ([u64::MAX], [0]);
                point_away(&mut ones, leaves, way);
                point_away(&mut zeros, leaves, way);
                (ones[0], zeros[0])
            };
            (0..ways).map(effect).collect()
        } else {
            Vec::new()
        };
        Self { ways, leaves, words_per_set, words: vec![0; sets * words_per_set], effects }
    }

    #[inline]
    pub(super) fn point_away(&mut self, set: usize, way: usize) {
        if let Some((kept, set_to_one)) = self.effects.get(way) {
            let word = &mut self.words[set];
            *word = *word & kept | set_to_one;
        } else {
            let words = &mut self.words[set * self.words_per_set..][..self.words_per_set];
            point_away(words, self.leaves, way);
        }
    }

    pub(super) fn victim(&self, set: usize, candidates: Candidates) -> usize {
        let words = &self.words[set * self.words_per_set..][..self.words_per_set];
        let has_candidate = |start, length| candidates.has_any(start, length, self.ways);
        let (mut node, mut half, mut way) = (1, self.leaves / 2, 0);
        while half > 0 {
            let points_right = words[node / 64] >> (node % 64) & 1 != 0;
            let goes_right = if points_right {
                has_candidate(way + half, half)
            } else {
                !has_candidate(way, half)
            };
            node = 2 * node + usize::from(goes_right);
            way += half * usize::from(goes_right);
            half /= 2;
        }
        way
    }
}

/// Makes each node from the way to the root point to its other half.
fn point_away(words: &mut [u64], leaves: usize, way: usize) {
    let mut node = leaves + way;
    while node > 1 {
        let is_right = node & 1 != 0;
        node /= 2;
        let bit = 1 << (node % 64);
        if is_right {
            words[node / 64] &= !bit;
        } else {
            words[node / 64] |= bit;
        }
    }
}
