//! Replacement, each policy as its row in `docs/models.md` states it.

use std::collections::HashMap;

use strata_cachemodel::Replacement;

/// Policy and state of all sets of one cache or TLB array.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    kind: Replacement,
    sets: Vec<SetState>,
    ways: usize,
    now: u64,
    fills: u64,
    psel: u32,
    random: u64,
}

#[derive(Debug, Clone, Default)]
struct SetState {
    used: Vec<u64>,
    filled: Vec<u64>,
    rrpv: Vec<u8>,
    /// For an inner node over `(first way, number of ways)`: whether it points right.
    points_right: HashMap<(usize, usize), bool>,
}

/// Start of the generator of a structure: `number` as in the table of structures.
pub(crate) fn generator_start(seed: u64, number: u64) -> u64 {
    match seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number) {
        0 => 1,
        start => start,
    }
}

impl Policy {
    pub(crate) fn new(kind: Replacement, sets: usize, ways: usize, random: u64) -> Self {
        let set = SetState {
            used: vec![0; ways],
            filled: vec![0; ways],
            rrpv: vec![0; ways],
            points_right: HashMap::new(),
        };
        Self { kind, sets: vec![set; sets], ways, now: 0, fills: 0, psel: 512, random }
    }

    pub(crate) fn hit(&mut self, set: usize, way: usize) {
        self.now += 1;
        let state = &mut self.sets[set];
        state.used[way] = self.now;
        state.rrpv[way] = 0;
        if self.kind == Replacement::TreePlru {
            self.point_away(set, way);
        }
    }

    /// A fill in a free way, or in that of a victim chosen just before.
    pub(crate) fn fill(&mut self, set: usize, way: usize) {
        self.now += 1;
        self.fills += 1;
        self.duel(set);
        let predicted = self.prediction(set);
        let state = &mut self.sets[set];
        state.used[way] = self.now;
        state.filled[way] = self.now;
        state.rrpv[way] = predicted;
        if self.kind == Replacement::TreePlru {
            self.point_away(set, way);
        }
    }

    /// A fill in a leading set moves the selector of DRRIP.
    fn duel(&mut self, set: usize) {
        match set % 32 {
            0 if self.psel < 1023 => self.psel += 1,
            16 if self.psel > 0 => self.psel -= 1,
            _ => {}
        }
    }

    /// The RRPV of a line just filled.
    fn prediction(&self, set: usize) -> u8 {
        let bimodal = match self.kind {
            Replacement::Srrip => false,
            Replacement::Brrip => true,
            _ => match set % 32 {
                0 => false,
                16 => true,
                _ => self.psel >= 512,
            },
        };
        if bimodal && !self.fills.is_multiple_of(32) { 3 } else { 2 }
    }

    fn point_away(&mut self, set: usize, way: usize) {
        let (mut first, mut width) = (0, self.ways.next_power_of_two());
        while width > 1 {
            let half = width / 2;
            let in_left = way < first + half;
            self.sets[set].points_right.insert((first, width), in_left);
            if !in_left {
                first += half;
            }
            width = half;
        }
    }

    /// Which of the candidates, ways in rising order, goes.
    pub(crate) fn victim(&mut self, set: usize, candidates: &[usize]) -> usize {
        match self.kind {
            Replacement::Lru => earliest(candidates, &self.sets[set].used),
            Replacement::Fifo => earliest(candidates, &self.sets[set].filled),
            Replacement::Random => {
                let upper = self.next_random() >> 32;
                candidates[((upper * candidates.len() as u64) >> 32) as usize]
            }
            Replacement::TreePlru => self.follow_tree(set, candidates),
            _ => self.most_distant(set, candidates),
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(2_685_821_657_736_338_717)
    }

    fn follow_tree(&self, set: usize, candidates: &[usize]) -> usize {
        let (mut first, mut width) = (0, self.ways.next_power_of_two());
        while width > 1 {
            let half = width / 2;
            let any_in =
                |from: usize| candidates.iter().any(|way| (from..from + half).contains(way));
            let right = self.sets[set].points_right.get(&(first, width)).copied().unwrap_or(false);
            let right = if right { any_in(first + half) } else { !any_in(first) };
            if right {
                first += half;
            }
            width = half;
        }
        first
    }

    fn most_distant(&mut self, set: usize, candidates: &[usize]) -> usize {
        let rrpv = &mut self.sets[set].rrpv;
        loop {
            if let Some(&way) = candidates.iter().find(|&&way| rrpv[way] == 3) {
                return way;
            }
            for &way in candidates {
                rrpv[way] += 1;
            }
        }
    }
}

fn earliest(candidates: &[usize], times: &[u64]) -> usize {
    *candidates.iter().min_by_key(|&&way| times[way]).expect("a set has ways")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_set(kind: Replacement, ways: usize) -> Policy {
        Policy::new(kind, 1, ways, generator_start(1, 0))
    }

    fn filled(kind: Replacement, ways: usize) -> Policy {
        let mut policy = one_set(kind, ways);
        (0..ways).for_each(|way| policy.fill(0, way));
        policy
    }

    #[test]
    fn lru_and_fifo_differ_in_what_a_hit_does() {
        let mut lru = filled(Replacement::Lru, 3);
        let mut fifo = filled(Replacement::Fifo, 3);
        for policy in [&mut lru, &mut fifo] {
            policy.hit(0, 0);
        }
        assert_eq!((lru.victim(0, &[0, 1, 2]), fifo.victim(0, &[0, 1, 2])), (1, 0));
        assert_eq!(lru.victim(0, &[0, 2]), 2);
    }

    /// Fills 0 to 3 leave every bit pointing left; the hit on 0 turns root and left node.
    #[test]
    fn a_tree_of_four_points_away_from_the_last_uses() {
        let mut tree = filled(Replacement::TreePlru, 4);
        assert_eq!(tree.victim(0, &[0, 1, 2, 3]), 0);
        tree.hit(0, 0);
        assert_eq!(tree.victim(0, &[0, 1, 2, 3]), 2);
        assert_eq!(tree.victim(0, &[0, 1]), 1);
    }

    #[test]
    fn a_tree_over_three_ways_never_chooses_the_fourth() {
        let mut tree = filled(Replacement::TreePlru, 3);
        tree.hit(0, 0);
        assert_eq!(tree.victim(0, &[0, 1, 2]), 2);
    }

    #[test]
    fn srrip_spares_what_was_hit_until_others_are_as_distant() {
        let mut srrip = filled(Replacement::Srrip, 2);
        srrip.hit(0, 0);
        assert_eq!(srrip.victim(0, &[0, 1]), 1);
        assert_eq!(srrip.sets[0].rrpv, [1, 3]);
    }

    #[test]
    fn brrip_predicts_the_32nd_fill_nearer() {
        let mut brrip = one_set(Replacement::Brrip, 1);
        let near: Vec<_> = (1..=64)
            .filter(|_| {
                brrip.fill(0, 0);
                brrip.sets[0].rrpv[0] == 2
            })
            .collect();
        assert_eq!(near, [32, 64]);
    }

    #[test]
    fn drrip_follows_the_set_that_fills_less() {
        let mut drrip = Policy::new(Replacement::Drrip, 32, 1, 1);
        drrip.fill(1, 0);
        assert_eq!(drrip.sets[1].rrpv[0], 3);
        drrip.fill(16, 0);
        drrip.fill(1, 0);
        assert_eq!((drrip.psel, drrip.sets[1].rrpv[0]), (511, 2));
        drrip.fill(0, 0);
        assert_eq!((drrip.psel, drrip.sets[0].rrpv[0]), (512, 2));
    }

    /// From 1: 1 ^ 1<<25 = 0x2000001, and that >> 27 is 0; times the multiplier the upper half is
    /// 0x2000001 * 0x2545F4914F6CDD1D >> 32 modulo 2^32.
    #[test]
    fn random_draws_from_the_stated_generator() {
        let mut random = Policy::new(Replacement::Random, 1, 4, 1);
        let first = 0x200_0001_u128 * 0x2545_F491_4F6C_DD1D;
        assert_eq!(u128::from(random.next_random()), first & u128::from(u64::MAX));
    }
}
