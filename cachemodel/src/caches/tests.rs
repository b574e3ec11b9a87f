//! Caches against a naive re-statement of their rules, and the rules by examples.

mod naive;

use proptest::prelude::*;

use super::{Cache, Fill, Line, Removed, Victim};
use crate::machine::{AddressKind, CacheSpec, Machine, Replacement, WayMask};
use crate::preset;
use naive::NaiveCache;

const SEED: u64 = 0x1234_5678_9abc_def1;
const DIRTY: Fill = Fill { dirty: true, prefetched: false };
const CLEAN: Fill = Fill { dirty: false, prefetched: false };

/// A cache of 64-byte lines with these values besides.
fn spec(sets: usize, ways: usize, more: &[(&str, &str)]) -> CacheSpec {
    let (size, ways) = ((sets * ways * 64).to_string(), ways.to_string());
    let mut overrides = vec![("l1d.size", size.as_str()), ("l1d.ways", &ways)];
    overrides.extend(more);
    let machine: Machine = preset::named("vee07").unwrap();
    machine.with_overrides(overrides).unwrap().l1d().clone()
}

fn with_policy(sets: usize, ways: usize, policy: Replacement) -> Cache {
    let policy = policy.to_string();
    Cache::new(&spec(sets, ways, &[("l1d.replacement", &policy)]), SEED, false)
}

fn line(number: u64) -> Line {
    Line { physical: number, virtual_: 0 }
}

/// As a demand access does; what had to go, if the line was not there.
fn access(cache: &mut Cache, number: u64) -> Option<u64> {
    if cache.touch(line(number), false).is_some() {
        return None;
    }
    cache.fill(line(number), CLEAN, None).map(|victim| victim.line.physical)
}

/// Fills and accesses in this order; the victims of those that had one.
fn victims(cache: &mut Cache, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    numbers.into_iter().filter_map(|number| access(cache, number)).collect()
}

#[test]
fn lru_evicts_what_was_used_longest_ago_and_fifo_what_came_first() {
    let accesses = [1, 2, 3, 4, 1, 5, 6];
    assert_eq!(victims(&mut with_policy(1, 4, Replacement::Lru), accesses), [2, 3]);
    assert_eq!(victims(&mut with_policy(1, 4, Replacement::Fifo), accesses), [1, 2]);
}

#[test]
fn tree_plru_of_three_ways_never_chooses_the_fourth_leaf() {
    // Ways 0, 1, 2 hold 1, 2, 3. After 3 the root points left; there, after 2, to way 0.
    let mut cache = with_policy(1, 3, Replacement::TreePlru);
    assert_eq!(victims(&mut cache, [1, 2, 3, 4]), [1]);
    // 4 is in way 0: the root points right, where the bit for way 3 gives way 2.
    assert_eq!(victims(&mut cache, [5]), [3]);
    // 5 in way 2: left; the last use there was way 0, so way 1. Then right: way 2 again.
    assert_eq!(victims(&mut cache, [6, 7]), [2, 5]);
}

#[test]
fn tree_plru_of_six_ways_prefers_the_lone_pair_of_the_right_half() {
    // The right half is ways 4 and 5 and two leaves without ways.
    let mut cache = with_policy(1, 6, Replacement::TreePlru);
    victims(&mut cache, 0..6);
    // Last use right (5); left: last use 3, so pair 0-1, where 1 was last: way 0.
    // Then right: the pair pointed to after 5 is 6-7, without ways, so 4-5, of which 4.
    // Then left: pair 2-3, of which 2; right: 5; left: pair 0-1, of which 1; right: 4 (holds 11).
    assert_eq!(victims(&mut cache, 10..16), [0, 4, 2, 5, 1, 11]);
}

#[test]
fn tree_plru_of_eleven_and_twelve_ways_takes_from_halves_in_turn() {
    let mut twelve = with_policy(1, 12, Replacement::TreePlru);
    victims(&mut twelve, 0..12);
    // Ways 0-7 left, 8-11 right, alternating; on the left 0 4 2 6 1, on the right 8 10 9 11.
    assert_eq!(victims(&mut twelve, 20..29), [0, 8, 4, 10, 2, 9, 6, 11, 1]);
    let mut eleven = with_policy(1, 11, Replacement::TreePlru);
    victims(&mut eleven, 0..11);
    // The pair of way 10 has no way 11: way 10 is taken whenever the pair is. It was filled last,
    // so ways 8-9 come first, and the second time the pair is its turn again.
    assert_eq!(victims(&mut eleven, 20..28), [0, 8, 4, 10, 2, 9, 6, 23]);
}

#[test]
fn a_hit_in_a_tree_points_away_from_the_line() {
    let mut cache = with_policy(1, 4, Replacement::TreePlru);
    assert_eq!(victims(&mut cache, [0, 1, 2, 3, 0, 4]), [2]);
}

#[test]
fn random_draws_the_numbers_of_its_generator_and_only_for_victims() {
    // xorshift64* from state 1: the published first output is 0x47E4CE4B896CDD1D, whose upper half
    // is 0x47E4CE4B, so ⌊0x47E4CE4B · 4 / 2³²⌋ = 1. The second is 0xABCFA6A8E079651D: 2.
    let spec = spec(1, 4, &[("l1d.replacement", "random")]);
    let mut cache = Cache::new(&spec, 1, false);
    assert_eq!(victims(&mut cache, [0, 1, 2, 3, 3, 0, 4, 5]), [1, 2]);
    let mut from_zero = Cache::new(&spec, 0, false);
    assert_eq!(victims(&mut from_zero, [0, 1, 2, 3, 4, 5]), [1, 2]);
    // Of the candidates 0, 2 and 3, ⌊0.28 · 3⌋ = 0 counts to way 0, ⌊0.67 · 3⌋ = 2 to way 3.
    let mut among_three = Cache::new(&spec_with_partition(1, 4, "random"), 1, false);
    victims(&mut among_three, 0..4);
    let mut fill = |number| among_three.fill(line(number), CLEAN, Some(WayMask(0b1101)));
    assert_eq!(fill(4).unwrap().line.physical, 0);
    assert_eq!(fill(5).unwrap().line.physical, 3);
}

fn spec_with_partition(sets: usize, ways: usize, policy: &str) -> CacheSpec {
    spec(sets, ways, &[("l1d.replacement", policy), ("l1d.partition.dom0", "0")])
}

#[test]
fn srrip_ages_all_until_one_is_distant_and_spares_what_was_hit() {
    let mut cache = with_policy(1, 4, Replacement::Srrip);
    victims(&mut cache, 0..4);
    // Predictions 2 2 2 2; a hit makes way 0 soon. Aging once: 1 3 3 3, so way 1, filled with 2.
    assert_eq!(victims(&mut cache, [0, 4]), [1]);
    // 1 2 3 3: ways 2 and 3 without aging; then 1 2 2 2 ages to 2 3 3 3: way 1 again (4).
    assert_eq!(victims(&mut cache, [5, 6, 7]), [2, 3, 4]);
    // 2 2 3 3 after the fill: ways 2 and 3 (5, 6); then 2 2 2 2 ages to all distant: way 0.
    assert_eq!(victims(&mut cache, [8, 9, 10]), [5, 6, 0]);
}

#[test]
fn brrip_keeps_one_fill_in_thirty_two() {
    let mut cache = with_policy(1, 2, Replacement::Brrip);
    // Fills 1 and 2 are distant, and way 0 goes again and again, up to fill 32, which stays.
    assert_eq!(victims(&mut cache, 1..=32), (1..=1).chain(3..=31).collect::<Vec<_>>());
    // Way 0 holds 32 with 2, way 1 holds 2 with 3.
    assert_eq!(victims(&mut cache, 33..=35), [2, 33, 34]);
    assert!(cache.touch(line(32), false).is_some());
}

#[test]
fn drrip_lets_the_leading_sets_decide_for_the_rest() {
    let follows_srrip = |misses: &[(u64, u64)]| {
        let mut cache = with_policy(32, 4, Replacement::Drrip);
        let mut number = 0;
        for &(set, count) in misses {
            for _ in 0..count {
                number += 32;
                access(&mut cache, number + set);
            }
        }
        // A hit among four fills. Static, 0 2 2 2: new lines go round ways 1, 2 and 3. Bimodal,
        // 0 3 3 3: they all go through way 1.
        let told = victims(&mut cache, [0, 1, 2, 3, 0, 4, 5, 6].map(|n| 1 + 32 * n));
        match told.as_slice() {
            [33, 65, 97] => true,
            [33, 129, 161] => false,
            other => panic!("neither static nor bimodal: {other:?}"),
        }
    };
    assert!(!follows_srrip(&[]), "PSEL starts on the bimodal side");
    assert!(follows_srrip(&[(16, 1)]), "a miss of BRRIP's sets tips it");
    assert!(!follows_srrip(&[(16, 1), (0, 1)]));
    assert!(follows_srrip(&[(16, 2000), (0, 511)]), "PSEL stops at 0");
    assert!(!follows_srrip(&[(16, 2000), (0, 512)]));
    assert!(!follows_srrip(&[(0, 2000), (16, 511)]), "PSEL stops at 1023");
    assert!(follows_srrip(&[(0, 2000), (16, 512)]));
}

#[test]
fn an_invalidated_line_leaves_the_lowest_free_way() {
    for policy in Replacement::ALL {
        let mut cache = with_policy(2, 4, policy);
        victims(&mut cache, [0, 2, 4, 6]);
        assert_eq!(cache.remove(line(4)), Some(Removed { line: line(4), dirty: false }));
        assert_eq!(cache.remove(line(4)), None);
        assert_eq!(victims(&mut cache, [8]), [0; 0], "{policy}");
        assert_eq!(victims(&mut cache, [10]).len(), 1, "{policy}");
    }
}

#[test]
fn marks_come_with_the_line_and_go_with_it() {
    for policy in Replacement::ALL {
        let mut cache = with_policy(1, 2, policy);
        cache.fill(line(1), Fill { dirty: false, prefetched: true }, None);
        let first = cache.touch(line(1), true).unwrap();
        assert_eq!((first.was_dirty, first.was_prefetched), (false, true));
        let second = cache.touch(line(1), false).unwrap();
        assert_eq!((second.was_dirty, second.was_prefetched), (true, false));
        assert_eq!((cache.contains_physical(1), cache.dirty_lines()), (Some(true), 1));
        assert!(cache.clean(1));
        assert!(!cache.clean(1) && !cache.clean(2));
        assert_eq!((cache.contains_physical(1), cache.contains_physical(2)), (Some(false), None));
    }
    let mut unused = with_policy(1, 1, Replacement::Lru);
    unused.fill(line(1), Fill { dirty: true, prefetched: true }, None);
    let victim = Victim { line: line(1), dirty: true, prefetched: true };
    assert_eq!(unused.fill(line(2), CLEAN, None), Some(victim));
}

#[test]
fn a_partition_restricts_fills_and_not_hits() {
    let mut cache = Cache::new(&spec_with_partition(1, 4, "lru"), SEED, false);
    let (mine, yours) = (Some(WayMask(0b0011)), Some(WayMask(0b1100)));
    for (number, ways) in [(1, mine), (2, mine), (3, yours)] {
        assert_eq!(cache.fill(line(number), CLEAN, ways), None);
    }
    let victim = cache.fill(line(4), CLEAN, mine).unwrap();
    assert_eq!(victim.line.physical, 1, "a way of the other half was free");
    assert!(cache.touch(line(3), false).is_some());
    assert_eq!(cache.fill(line(5), CLEAN, yours), None);
    assert_eq!(cache.fill(line(6), CLEAN, None).unwrap().line.physical, 2);
}

#[test]
fn synonyms_are_two_lines_under_a_virtual_tag_and_one_under_a_physical_one() {
    let under = |page: u64| Line { physical: 5, virtual_: page * 64 + 5 };
    let virtual_tag = spec(64, 2, &[("l1d.tag", "virtual")]);
    let mut cache = Cache::new(&virtual_tag, SEED, false);
    cache.fill(under(1), CLEAN, None);
    assert_eq!(cache.touch(under(2), false), None);
    cache.fill(under(2), DIRTY, None);
    assert_eq!(cache.contains_physical(5), Some(true));
    let mut removed = Vec::new();
    cache.remove_physical(5, |copy| removed.push((copy.line, copy.dirty)));
    assert_eq!(removed, [(under(1), false), (under(2), true)]);

    let mut physical_tag = Cache::new(&spec(64, 2, &[]), SEED, true);
    physical_tag.fill(under(1), CLEAN, None);
    assert!(physical_tag.touch(under(2), true).is_some());
    let kept = Removed { line: under(1), dirty: true };
    assert_eq!(physical_tag.remove(under(3)), Some(kept), "told as it was filled");
}

#[test]
fn a_virtual_index_may_hold_one_physical_line_in_several_sets() {
    for sets in [128, 96, 60, 7] {
        let spec = spec(sets, 2, &[("l1d.index", "virtual")]);
        let mut cache = Cache::new(&spec, SEED, false);
        let under = |page: u64| Line { physical: 64 + 9, virtual_: page * 64 + 9 };
        let mut filled = Vec::new();
        for page in 0..6 {
            if cache.touch(under(page), false).is_none() {
                assert_eq!(cache.fill(under(page), CLEAN, None), None);
                filled.push(cache.set_of(under(page)));
            }
        }
        filled.sort_unstable();
        assert!(filled.len() > 1);
        let mut found = Vec::new();
        cache.remove_physical(64 + 9, |copy| found.push(copy.line));
        let found_in: Vec<_> = found.iter().map(|&line| cache.set_of(line)).collect();
        assert_eq!(found_in, filled, "{sets} sets");
        assert_eq!(cache.contains_physical(64 + 9), None);
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Access { line: Line, write: bool, ways: usize },
    Prefetch { line: Line, ways: usize },
    Remove(Line),
    RemovePhysical(u64),
    Clean(u64),
    MarkPrefetched(Line),
    RemoveRange { first: u64, lines: u64 },
    Drain,
}

/// Few pages of few lines each, so that sets overflow and synonyms are common.
fn lines() -> impl Strategy<Value = Line> {
    (0u64..4, 0u64..4, prop_oneof![Just(0u64), 0u64..64]).prop_map(|(frame, page, offset)| Line {
        physical: frame * 64 + offset,
        virtual_: page * 64 + offset,
    })
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        30 => (lines(), any::<bool>(), 0usize..4)
            .prop_map(|(line, write, ways)| Operation::Access { line, write, ways }),
        4 => (lines(), 0usize..4).prop_map(|(line, ways)| Operation::Prefetch { line, ways }),
        2 => lines().prop_map(Operation::Remove),
        2 => lines().prop_map(|line| Operation::RemovePhysical(line.physical)),
        2 => lines().prop_map(|line| Operation::Clean(line.physical)),
        2 => lines().prop_map(Operation::MarkPrefetched),
        1 => (0u64..256, prop_oneof![0u64..8, 0u64..512, Just(u64::MAX)])
            .prop_map(|(first, lines)| Operation::RemoveRange { first, lines }),
        1 => Just(Operation::Drain),
    ];
    proptest::collection::vec(one, 1..400)
}

#[derive(Debug, Clone)]
struct Shape {
    sets: usize,
    ways: usize,
    policy: Replacement,
    index: AddressKind,
    tag: AddressKind,
    tracks_virtual: bool,
    masks: Option<[u64; 4]>,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let kind = || prop_oneof![3 => Just(AddressKind::Physical), 1 => Just(AddressKind::Virtual)];
    (
        proptest::sample::select(vec![1usize, 2, 3, 5, 12, 16, 17, 33, 48]),
        proptest::sample::select(vec![1usize, 2, 3, 4, 6, 8, 11, 12, 16, 20, 64, 70]),
        proptest::sample::select(Replacement::ALL.to_vec()),
        kind(),
        kind(),
        any::<bool>(),
        proptest::option::of(any::<[u64; 4]>()),
    )
        .prop_map(|(sets, ways, policy, index, tag, tracks_virtual, masks)| Shape {
            sets,
            ways,
            policy,
            index,
            tag,
            tracks_virtual,
            masks: masks.filter(|_| ways <= 64),
        })
}

impl Shape {
    fn spec(&self) -> CacheSpec {
        let policy = self.policy.to_string();
        let name = |kind| match kind {
            AddressKind::Physical => "physical",
            AddressKind::Virtual => "virtual",
        };
        let mut more = vec![
            ("l1d.replacement", policy.as_str()),
            ("l1d.index", name(self.index)),
            ("l1d.tag", name(self.tag)),
        ];
        if self.masks.is_some() {
            more.push(("l1d.partition.dom0", "0"));
        }
        spec(self.sets, self.ways, &more)
    }

    /// The first mask is always of all ways.
    fn mask(&self, number: usize) -> Option<WayMask> {
        let mask = self.masks?[number] & (u64::MAX >> (64 - self.ways));
        (number > 0 && mask != 0).then_some(WayMask(mask))
    }

    fn keeps_virtual(&self) -> bool {
        self.tracks_virtual || [self.index, self.tag].contains(&AddressKind::Virtual)
    }
}

fn removed_by(act: impl FnOnce(&mut dyn FnMut(Removed))) -> Vec<Removed> {
    let mut removed = Vec::new();
    act(&mut |one| removed.push(one));
    removed
}

/// Does the same to both and compares what they tell, but for virtual numbers where none are kept.
fn compare(shape: &Shape, cache: &mut Cache, operations: &[Operation], keeps_virtual: bool) {
    let mut naive = NaiveCache::new(&shape.spec(), SEED);
    assert_eq!(cache.lines(), (shape.sets * shape.ways) as u64);
    let known = |mut line: Line| {
        line.virtual_ *= u64::from(keeps_virtual);
        line
    };
    let same = |told: Removed| Removed { line: known(told.line), ..told };
    let fill = |cache: &mut Cache, naive: &mut NaiveCache, line, state, ways| {
        let expected = naive.fill(line, state, shape.mask(ways));
        let expected = expected.map(|victim| Victim { line: known(victim.line), ..victim });
        assert_eq!(cache.fill(line, state, shape.mask(ways)), expected);
    };
    for operation in operations {
        match *operation {
            Operation::Access { line, write, ways } => {
                assert_eq!(cache.set_of(line), naive.set_of(line));
                let before = naive.touch(line, write);
                assert_eq!(cache.touch(line, write), before);
                if before.is_none() {
                    let state = Fill { dirty: write, prefetched: false };
                    fill(cache, &mut naive, line, state, ways);
                }
            }
            Operation::Prefetch { line, ways } => {
                if naive.contains_physical(line.physical).is_none() {
                    let state = Fill { dirty: false, prefetched: true };
                    fill(cache, &mut naive, line, state, ways);
                }
            }
            Operation::Remove(line) => {
                assert_eq!(cache.remove(line), naive.remove(line).map(same));
            }
            Operation::RemovePhysical(physical) => {
                let expected: Vec<_> =
                    naive.remove_range(physical, physical).into_iter().map(same).collect();
                let told = removed_by(|each| cache.remove_physical(physical, each));
                assert_eq!(told, expected);
            }
            Operation::Clean(physical) => {
                assert_eq!(cache.contains_physical(physical), naive.contains_physical(physical));
                assert_eq!(cache.clean(physical), naive.clean(physical));
            }
            Operation::MarkPrefetched(line) => {
                assert_eq!(cache.contains(line), naive.mark_prefetched(line));
                cache.mark_prefetched(line);
            }
            Operation::RemoveRange { first, lines } => {
                let last = first.saturating_add(lines);
                let expected: Vec<_> =
                    naive.remove_range(first, last).into_iter().map(same).collect();
                assert_eq!(removed_by(|each| cache.remove_range(first, last, each)), expected);
            }
            Operation::Drain => {
                let expected: Vec<_> =
                    naive.remove_range(0, u64::MAX).into_iter().map(same).collect();
                assert_eq!(removed_by(|each| cache.drain(each)), expected);
            }
        }
        assert_eq!(cache.dirty_lines(), naive.dirty_lines());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_cache_does_what_the_naive_one_does(shape in shapes(), operations in operations()) {
        let mut cache = Cache::new(&shape.spec(), SEED, shape.tracks_virtual);
        compare(&shape, &mut cache, &operations, shape.keeps_virtual());
    }

    #[test]
    fn all_storages_of_lru_do_the_same(
        sets in proptest::sample::select(vec![1usize, 3, 8, 48]),
        ways in proptest::sample::select(vec![1usize, 2, 4, 5, 8, 12, 16]),
        operations in operations(),
    ) {
        let physical = AddressKind::Physical;
        let shape = Shape {
            sets,
            ways,
            policy: Replacement::Lru,
            index: physical,
            tag: physical,
            tracks_virtual: false,
            masks: None,
        };
        compare(&shape, &mut Cache::new(&shape.spec(), SEED, false), &operations, false);
        // Times are put anew before they become too large, here soon.
        for clock in [0, u32::MAX - 20] {
            let mut first = Cache::first_level(&shape.spec(), SEED, false);
            first.first_sets().expect("not too large").set_clock(clock);
            compare(&shape, &mut first, &operations, false);
        }
        let mut fixed = Cache::with_ways(&shape.spec(), SEED, false);
        compare(&shape, &mut fixed, &operations, false);
    }
}
