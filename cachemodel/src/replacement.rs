//! Replacement: which way of a full set goes, in caches and TLBs alike. `docs/models.md` states
//! each rule.

mod candidates;
mod generator;
mod oldest;
mod rrip;
mod trees;

pub(crate) use candidates::Candidates;
use generator::XorShift64Star;
use oldest::Oldest;
use rrip::{Insertion, Rrip};
use trees::Trees;

use crate::machine::Replacement;

/// What a policy remembers of all sets of one cache or TLB array, beside the times of last use.
///
/// Those are kept by the owner, who so can note a use without asking here: a time for each place,
/// set after set, later with each use and fill. Only LRU looks at them.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    ways: usize,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Lru(Oldest),
    Fifo { filled: Vec<u64>, oldest: Oldest },
    Random(XorShift64Star),
    Trees(Trees),
    Rrip(Rrip),
}

impl Policy {
    /// `seed` is where the generator of random replacement starts; 0 stands for 1.
    pub(crate) fn new(replacement: Replacement, sets: usize, ways: usize, seed: u64) -> Self {
        let rrip = |insertion| State::Rrip(Rrip::new(insertion, sets, ways));
        let state = match replacement {
            Replacement::Lru => State::Lru(Oldest::new(sets, ways)),
            Replacement::Fifo => {
                State::Fifo { filled: vec![0; sets * ways], oldest: Oldest::new(sets, ways) }
            }
            Replacement::Random => State::Random(XorShift64Star::new(seed)),
            Replacement::TreePlru => State::Trees(Trees::new(sets, ways)),
            Replacement::Srrip => rrip(Insertion::Static),
            Replacement::Brrip => rrip(Insertion::Bimodal),
            Replacement::Drrip => rrip(Insertion::DUELING),
        };
        Self { ways, state }
    }

    /// Whether victims depend on the times of last use.
    pub(crate) fn looks_at_uses(&self) -> bool {
        matches!(self.state, State::Lru(_))
    }

    /// Some times of last use are earlier than they were.
    pub(crate) fn times_have_fallen(&mut self) {
        if let State::Lru(oldest) = &mut self.state {
            oldest.times_have_fallen();
        }
    }

    /// Whether a hit does nothing but set the time of last use.
    pub(crate) fn only_times(&self) -> bool {
        matches!(self.state, State::Lru(_) | State::Fifo { .. } | State::Random(_))
    }

    /// Whether a hit right after the fill of the same way is without effect on later victims. A hit
    /// right after a hit is under every policy.
    pub(crate) fn rests_after_fill(&self) -> bool {
        !matches!(self.state, State::Rrip(_))
    }

    /// A look-up found what is in this way.
    #[inline]
    pub(crate) fn hit(&mut self, set: usize, way: usize) {
        match &mut self.state {
            State::Lru(_) | State::Fifo { .. } | State::Random(_) => {}
            State::Trees(trees) => trees.point_away(set, way),
            State::Rrip(rrip) => rrip.hit(set, way),
        }
    }

    /// Something was put into this way, at a time later than any before.
    #[inline]
    pub(crate) fn fill(&mut self, set: usize, way: usize, now: u64) {
        match &mut self.state {
            State::Lru(_) | State::Random(_) => {}
            State::Fifo { filled, .. } => filled[set * self.ways + way] = now,
            State::Trees(trees) => trees.point_away(set, way),
            State::Rrip(rrip) => rrip.fill(set, way),
        }
    }

    /// The way to be vacated of a set whose candidates are all taken. `used` is the times of last
    /// use.
    #[inline]
    pub(crate) fn victim(&mut self, set: usize, candidates: Candidates, used: &[u64]) -> usize {
        match &mut self.state {
            State::Lru(oldest) => oldest.find(set, candidates, used),
            State::Fifo { filled, oldest } => oldest.find(set, candidates, filled),
            State::Random(generator) => {
                candidates.nth(generator.below(candidates.count(self.ways)))
            }
            State::Trees(trees) => trees.victim(set, candidates),
            State::Rrip(rrip) => rrip.victim(set, candidates),
        }
    }
}
