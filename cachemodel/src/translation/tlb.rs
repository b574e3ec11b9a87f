//! One TLB: its arrays, and the order in which entries are tried.

use super::array::{Array, Place, Removed, Shape};
use super::entry::{Key, OwnerId, Target};
use super::flush::Flush;
use super::tags::{Context, GlobalPages, OwnerTable};
use crate::machine::TlbSpec;
use crate::page::{Mapping, PageSize};

/// Number of a TLB among the structures of a machine, which starts its random numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Structure {
    Itlb = 8,
    Dtlb = 9,
    Stlb = 10,
}

impl Structure {
    /// Where the generator of one of its arrays starts: `docs/models.md`, "One cache".
    pub(super) fn seed(self, machine_seed: u64, array: usize, cpu: u16) -> u64 {
        let number = self as u64 + 16 * array as u64 + 256 * u64::from(cpu);
        machine_seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number)
    }
}

/// What a look-up hit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) array: usize,
    pub(super) place: Place,
    /// Whether it is the key under which the stream's translation would have been kept.
    pub(super) agrees: bool,
    /// Whether its frame is another than the stream's.
    pub(super) stale: bool,
}

/// What an entry is found by, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) array: usize,
    pub(super) key: Key,
    pub(super) owner: OwnerId,
}

/// A translation to be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) wanted: Wanted,
    pub(super) target: Target,
}

/// Places whose times of use can be set from outside.
pub(crate) const NEAR_PLACES: usize = 1024;

/// Times of last use, by place.
pub(crate) type UseTimes = [u64; NEAR_PLACES];

/// Arrays of entries, each for some page sizes.
#[derive(Debug, Clone)]
pub(super) struct Tlb {
    arrays: Vec<Array>,
    /// Where the places of each array begin among those of all.
    begins: Vec<usize>,
    /// Time of each entry's last use or fill, by place among those of all arrays; at least
    /// [`NEAR_PLACES`], so that so many may be used without a look at their number.
    used: Vec<u64>,
    /// By the size of a page: the array that keeps it, and the size of its entries there.
    kept: [(usize, PageSize); 3],
    /// Entries by size and globality, so that what cannot be there is not looked for.
    population: [[u32; 2]; 3],
    /// A hit does nothing but set the time of last use, in every array.
    only_times: bool,
}

impl Tlb {
    pub(super) fn new(spec: &TlbSpec, structure: Structure, machine_seed: u64, cpu: u16) -> Self {
        let arrays: Vec<_> = spec
            .arrays()
            .iter()
            .enumerate()
            .map(|(number, array)| {
                let shape = Shape {
                    sets: array.geometry().sets(),
                    ways: array.geometry().ways(),
                    replacement: array.replacement(),
                };
                Array::new(shape, structure.seed(machine_seed, number, cpu))
            })
            .collect();
        let mut places = 0;
        let begins = arrays.iter().map(|array| {
            places += array.len();
            places - array.len()
        });
        let begins = begins.collect();
        let kept = PageSize::ALL.map(|size| spec.array_of(size));
        Self {
            only_times: arrays.iter().all(Array::only_times),
            arrays,
            begins,
            used: vec![0; places.max(NEAR_PLACES)],
            kept,
            population: [[0; 2]; 3],
        }
    }

    /// The array that keeps pages of a size, and the size of its entries for them.
    pub(super) fn kept(&self, size: PageSize) -> (usize, PageSize) {
        self.kept[size as usize]
    }

    /// Looks up this very entry and makes it if it is not there. Returns whether it was.
    pub(super) fn use_exactly(&mut self, entry: &Entry, now: u64) -> bool {
        let Wanted { array, key, owner } = entry.wanted;
        let found = self.arrays[array].find(key, owner);
        match found {
            Some(place) => self.note_hit(array, place, now),
            None => {
                self.fill(entry, now);
            }
        }
        found.is_some()
    }

    /// What the stream's own translation is found by here.
    #[inline]
    pub(super) fn wanted(&self, vpn: u64, mapping: Mapping, context: &Context) -> Wanted {
        let (array, size) = self.kept[mapping.size() as usize];
        let global = match context.global_pages {
            GlobalPages::Never => false,
            GlobalPages::Marked => mapping.is_global(),
            GlobalPages::Hypervisor => mapping.is_hypervisor(),
        };
        let owner = context.owner(global);
        Wanted { array, key: Key::new(vpn, size, global, owner), owner }
    }

    /// How the stream's own translation is kept here.
    pub(super) fn entry_of(&self, vpn: u64, mapping: Mapping, context: &Context) -> Entry {
        let wanted = self.wanted(vpn, mapping, context);
        let target = Target::new(vpn, mapping, wanted.key.size(), context.pcid);
        Entry { wanted, target }
    }

    /// How an entry of another TLB is kept here, as far as it covers `vpn`.
    pub(super) fn entry_from(&self, vpn: u64, key: Key, owner: OwnerId, target: Target) -> Entry {
        let (array, size) = self.kept[key.size() as usize];
        let key_here = Key::new(vpn, size, key.is_global(), owner);
        Entry {
            wanted: Wanted { array, key: key_here, owner },
            target: target.fragment(vpn, key.size(), size),
        }
    }

    /// Looks a page up and takes note of a hit.
    #[inline]
    pub(super) fn look_up(
        &mut self,
        vpn: u64,
        own: Wanted,
        frame: u64,
        context: &Context,
        now: u64,
    ) -> Option<Hit> {
        let agreeing = self.arrays[own.array].find(own.key, own.owner);
        let (array, place, agrees) = match agreeing {
            Some(place) => (own.array, place, true),
            None => {
                let (array, place) = self.find_other(vpn, own.key, context)?;
                (array, place, false)
            }
        };
        self.note_hit(array, place, now);
        let at = &self.arrays[array];
        let stale = at.target(place).frame_of(vpn, at.key(place).size()) != frame;
        Some(Hit { array, place, agrees, stale })
    }

    #[inline]
    fn note_hit(&mut self, array: usize, place: Place, now: u64) {
        self.arrays[array].hit(place);
        self.used[self.begins[array] + place.at] = now;
    }

    /// An entry of another key that covers the page and may be used: of the same size first, then
    /// small to large, global before own in each. The processor may use any (SDM 4.10.2.3).
    fn find_other(&self, vpn: u64, tried: Key, context: &Context) -> Option<(usize, Place)> {
        let sizes = std::iter::once(tried.size())
            .chain(PageSize::ALL.into_iter().filter(|&size| size != tried.size()));
        for size in sizes {
            for global in [true, false] {
                if self.population[size as usize][usize::from(global)] == 0 {
                    continue;
                }
                let owner = context.owner(global);
                let key = Key::new(vpn, size, global, owner);
                let (array, _) = self.kept[size as usize];
                if key != tried
                    && let Some(place) = self.arrays[array].find(key, owner)
                {
                    return Some((array, place));
                }
            }
        }
        None
    }

    /// Makes an entry; returns its place among those of all arrays, and what was there before.
    pub(super) fn fill(&mut self, entry: &Entry, now: u64) -> (u32, Option<Removed>) {
        let Entry { wanted: Wanted { array, key, owner }, target } = *entry;
        let used = &mut self.used[self.begins[array]..];
        let (place, evicted) = self.arrays[array].fill(key, owner, target, now, used);
        *population(&mut self.population, key) += 1;
        if let Some(evicted) = evicted {
            *population(&mut self.population, evicted.key) -= 1;
        }
        ((self.begins[array] + place.at) as u32, evicted)
    }

    /// Place of a hit among those of all arrays.
    pub(super) fn place_of(&self, hit: &Hit) -> u32 {
        (self.begins[hit.array] + hit.place.at) as u32
    }

    /// The entry that was hit.
    pub(super) fn entry_at(&self, hit: &Hit) -> (Key, OwnerId, Target) {
        let array = &self.arrays[hit.array];
        (array.key(hit.place), array.owner(hit.place), array.target(hit.place))
    }

    /// Times of last use of the first places.
    #[inline(always)]
    pub(super) fn used_times(&mut self) -> Option<&mut UseTimes> {
        self.used.first_chunk_mut()
    }

    /// Places among those of all arrays that hold entries, that not used for longest first.
    pub(super) fn places_by_use(&self) -> Vec<u32> {
        let held = self.arrays.iter().zip(&self.begins).flat_map(|(array, &begin)| {
            array.held_places().map(move |place| (begin + place) as u32)
        });
        let mut places: Vec<u32> = held.collect();
        places.sort_unstable_by_key(|&place| self.used[place as usize]);
        places
    }

    /// Whether a hit does nothing but set the time of last use.
    pub(super) fn only_times(&self) -> bool {
        self.only_times
    }

    /// A further hit of an entry.
    #[inline(always)]
    pub(super) fn hit_again(&mut self, place: u32, now: u64) {
        self.used[place as usize] = now;
        if !self.only_times {
            self.tell_policies(place as usize);
        }
    }

    #[inline(never)]
    fn tell_policies(&mut self, place: usize) {
        let number = self.begins.partition_point(|&begin| begin <= place) - 1;
        let array = &mut self.arrays[number];
        let at = place - self.begins[number];
        array.hit(array.place(at));
    }

    /// The set that a place among those of all arrays belongs to, where there is one array.
    pub(super) fn set_of(&self, place: u32) -> usize {
        self.arrays[0].place(place as usize).set
    }

    /// Number of sets, if there is one array, which is LRU.
    pub(super) fn sets_of_only_lru(&self) -> Option<usize> {
        match self.arrays.as_slice() {
            [array] if array.is_lru() => Some(array.number_of_sets()),
            _ => None,
        }
    }

    /// Drops all entries of a set, as if they had not been.
    pub(super) fn clear_set(&mut self, set: usize) {
        let array = &mut self.arrays[0];
        for at in array.places_of(set) {
            if let Some(removed) = array.remove_at(at) {
                *population(&mut self.population, removed.key) -= 1;
            }
        }
    }

    /// Takes, as used before everything here, those entries of `older` that are not here and are
    /// in sets that `may_be` names. `owner` gives the number here of an owner's number there.
    pub(super) fn adopt_older(
        &mut self,
        older: &Self,
        may_be: impl Fn(usize) -> bool,
        mut owner: impl FnMut(OwnerId) -> OwnerId,
    ) {
        let array = &older.arrays[0];
        let mut places: Vec<usize> = (0..array.len())
            .filter(|&at| array.key(array.place(at)) != Key::EMPTY && may_be(array.place(at).set))
            .collect();
        places.sort_unstable_by_key(|&at| older.used[at]);
        for (time, at) in (1..).zip(places) {
            let place = array.place(at);
            let (key, target) = (array.key(place), array.target(place));
            let owner = owner(array.owner(place));
            let key = Key::new(key.first_vpn(), key.size(), key.is_global(), owner);
            if self.arrays[0].find(key, owner).is_none() {
                self.fill(&Entry { wanted: Wanted { array: 0, key, owner }, target }, time);
            }
        }
        self.arrays[0].times_have_fallen();
    }

    /// Drops entries; returns how many there were. `each` is told of each and its set.
    pub(super) fn flush(
        &mut self,
        flush: &Flush,
        owners: &OwnerTable,
        mut each: impl FnMut(Removed, usize),
    ) -> u64 {
        let mut dropped = 0;
        let all = flush.is_of_all_entries();
        let selected = owners.select(flush.tags);
        for array in &mut self.arrays {
            let ways = array.ways();
            array.remove_where(
                |key, owner, target| all || flush.drops(key, target) && selected(owner),
                |removed| {
                    dropped += 1;
                    *population(&mut self.population, removed.key) -= 1;
                    each(removed, removed.at / ways);
                },
            );
        }
        dropped
    }
}

fn population(of: &mut [[u32; 2]; 3], key: Key) -> &mut u32 {
    &mut of[key.size() as usize][usize::from(key.is_global())]
}
