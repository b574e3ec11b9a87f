//! All caches of a machine: the way down through the levels.

mod others;
mod prefetch;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use strata_cachemodel::{Inclusion, Machine, Prefetcher, Sharing, WayMask, WritePolicy};

use crate::cache::{At, Cache, Line};
use crate::classes::{CacheClass, CacheClasses, Gone};
use crate::counts::{Counts, Outcome, Tally};
use crate::policy::generator_start;

/// What a line is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Fetch,
    Read,
    Write,
    Walk,
    Prefetch,
}

impl Cause {
    fn is_demand(self) -> bool {
        matches!(self, Self::Fetch | Self::Read | Self::Write)
    }
}

/// One cache at its place.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) cache: Cache,
    pub(crate) level: usize,
    /// Whether instruction fetches, and whether data, go through it.
    pub(crate) serves: [bool; 2],
    pub(crate) cpus: Vec<u16>,
    /// Lines whose last copy here another CPU's write dropped.
    lost_to_writes: HashSet<u64>,
    strides: HashMap<u64, Stride>,
    pub(crate) classes: CacheClasses,
}

#[derive(Debug, Clone, Copy)]
struct Stride {
    instruction: u64,
    address: u64,
    difference: u64,
}

/// One line on its way down the caches of one CPU, from the first at index 0.
#[derive(Debug, Clone)]
struct Request {
    way: Vec<usize>,
    enters_at: usize,
    at: At,
    cause: Cause,
}

/// Levels that one unit of counting (a line, or a reference) accessed, and those where it missed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unit {
    accessed: [bool; 3],
    missed: [bool; 3],
    /// Of the first line that missed there.
    classes: [Option<CacheClass>; 3],
}

/// Everything between the CPUs and memory.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) caches: Vec<Placed>,
    writes_back: bool,
    cpu: u16,
    names: (String, String),
    pub(crate) actor: u8,
    pending: VecDeque<(usize, usize, At)>,
    unit: Unit,
    pub(crate) counts: Counts,
    /// Misses by level, whether of a fetch, who missed, and why.
    pub(crate) classes: BTreeMap<(usize, bool, u8, CacheClass), u64>,
}

/// Which CPUs have which copy of a cache.
fn copies(sharing: &Sharing, level: usize, cpus: u16) -> Vec<Vec<u16>> {
    match sharing {
        _ if level == 0 => (0..cpus).map(|cpu| vec![cpu]).collect(),
        Sharing::Private => (0..cpus).map(|cpu| vec![cpu]).collect(),
        Sharing::All => vec![(0..cpus).collect()],
        Sharing::Groups(groups) => groups.clone(),
    }
}

impl Memory {
    pub(crate) fn new(machine: &Machine, writes_back: bool) -> Self {
        let mut caches = Vec::new();
        for (level, spec) in machine.levels().iter().enumerate() {
            let sides = match spec.is_unified() {
                true => vec![(spec.data(), [true, true])],
                false => vec![(spec.instruction(), [true, false]), (spec.data(), [false, true])],
            };
            let width = sides.iter().map(|(spec, _)| copies(spec.sharing(), level, machine.cpus()));
            let width = width.map(|copies| copies.len()).max().expect("a level has a cache");
            // First copies of both sides, then second ones: the order in which things happen.
            for copy in 0..width {
                for &(spec, serves) in &sides {
                    let copies = copies(spec.sharing(), level, machine.cpus());
                    let Some(cpus) = copies.get(copy).cloned() else { continue };
                    let structure = match (level, serves) {
                        (0, [true, false]) => 1,
                        (0, _) => 2,
                        (1, [true, false]) => 3,
                        (1, _) => 4,
                        _ => 5,
                    };
                    let number = structure + 256 * copy as u64;
                    caches.push(Placed {
                        cache: Cache::new(spec, generator_start(machine.seed(), number)),
                        level,
                        serves,
                        cpus,
                        lost_to_writes: HashSet::new(),
                        strides: HashMap::new(),
                        classes: CacheClasses::new(spec.sets() as usize * spec.ways()),
                    });
                }
            }
        }
        Self {
            caches,
            writes_back,
            cpu: 0,
            names: (String::new(), String::new()),
            actor: 0,
            pending: VecDeque::new(),
            unit: Unit::default(),
            counts: Counts::default(),
            classes: BTreeMap::new(),
        }
    }

    pub(crate) fn set_cpu(&mut self, cpu: u16) {
        self.cpu = cpu;
    }

    /// Whoever runs now, with the names by which partitions know it.
    pub(crate) fn set_actor(&mut self, actor: u8, layer: &str, domain: &str) {
        self.actor = actor;
        self.names = (layer.to_owned(), domain.to_owned());
    }

    /// The caches that one side of a CPU goes through, level 1 first.
    fn way(&self, cpu: u16, data: bool) -> Vec<usize> {
        let on_it =
            |placed: &Placed| placed.serves[usize::from(data)] && placed.cpus.contains(&cpu);
        (0..self.caches.len()).filter(|&id| on_it(&self.caches[id])).collect()
    }

    fn request(&self, at: At, cause: Cause, enters_at: usize) -> Request {
        Request { way: self.way(self.cpu, cause != Cause::Fetch), enters_at, at, cause }
    }

    pub(crate) fn line_bytes(&self, fetch: bool) -> u64 {
        let way = self.way(self.cpu, !fetch);
        self.caches[way[0]].cache.spec.line_bytes()
    }

    /// One line of a reference, through all levels.
    pub(crate) fn demand(&mut self, at: At, cause: Cause) {
        let request = self.request(at, cause, 0);
        if cause == Cause::Write {
            self.drop_copies_of_others(&request);
        }
        self.look_up(&request, 0, cause == Cause::Write);
    }

    /// As `demand`, but level 1 only. Tells whether the line goes down as a write.
    pub(crate) fn first_level_only(&mut self, at: At, cause: Cause) {
        let mut request = self.request(at, cause, 0);
        if cause == Cause::Write {
            self.drop_copies_of_others(&request);
        }
        request.way.truncate(1);
        self.look_up(&request, 0, cause == Cause::Write);
    }

    /// Whether level 1 of data sends writes on: all, or those that miss.
    pub(crate) fn first_sends_writes_on(&self) -> (bool, bool) {
        let first = &self.caches[self.way(self.cpu, true)[0]].cache.spec;
        (first.write_policy() == WritePolicy::Through, !first.write_allocates())
    }

    /// The part of `demand` below level 1.
    pub(crate) fn below_first(&mut self, at: At, cause: Cause, write: bool) {
        let request = self.request(at, cause, 0);
        self.look_up(&request, 1, write);
    }

    /// A read of a page-table entry.
    pub(crate) fn walk_read(&mut self, address: u64, enters_at: usize, outcome: &mut Outcome) {
        let at = At { va: address, pa: address };
        self.look_up(&self.request(at, Cause::Walk, enters_at), enters_at, false);
        let unit = std::mem::take(&mut self.unit);
        for level in 0..3 {
            if unit.accessed[level] {
                self.counts.levels[level].walks.count(unit.missed[level]);
                outcome.walk_accesses[level] += 1;
                outcome.walk_misses[level] += u64::from(unit.missed[level]);
            }
        }
    }

    /// What was accessed since the last call is one access at each level that it reached.
    pub(crate) fn end_of_unit(&mut self, cause: Cause, outcome: &mut Outcome) {
        let unit = std::mem::take(&mut self.unit);
        for level in 0..3 {
            if unit.accessed[level] {
                let counts = &mut self.counts.levels[level];
                let tally: &mut Tally = match cause {
                    Cause::Fetch => &mut counts.fetches,
                    Cause::Read => &mut counts.reads,
                    _ => &mut counts.writes,
                };
                tally.count(unit.missed[level]);
                outcome.accesses[level] += 1;
                outcome.misses[level] += u64::from(unit.missed[level]);
                if let Some(class) = unit.classes[level] {
                    let key = (level, cause == Cause::Fetch, self.actor, class);
                    *self.classes.entry(key).or_default() += 1;
                }
            }
        }
    }

    pub(crate) fn missed_first(&self) -> bool {
        self.unit.missed[0]
    }

    /// A line at `level`: hit, or missed and asked for below. What is below the way is memory.
    fn look_up(&mut self, request: &Request, level: usize, write: bool) {
        let Some(&id) = request.way.get(level) else { return };
        let spec = self.caches[id].cache.spec.clone();
        let through = spec.write_policy() == WritePolicy::Through;
        if let Some(line) = self.caches[id].cache.look_up(request.at) {
            line.dirty |= write && !through;
            self.hit(request, level);
            if write && through {
                self.look_up(request, level + 1, true);
            }
            return;
        }
        self.miss(request, level);
        let fills = spec.inclusion() != Inclusion::Exclusive && (!write || spec.write_allocates());
        if !fills {
            self.look_up(request, level + 1, write);
            return;
        }
        let prefetched = request.cause == Cause::Prefetch && level == request.enters_at;
        let exclusive_below = request.way.get(level + 1).is_some_and(|&id| self.is_exclusive(id));
        if exclusive_below {
            let was_dirty = self.bring_up(request, level + 1);
            let dirty = was_dirty || (write && !through);
            self.fill(request, level, request.at, dirty, prefetched);
        } else {
            self.fill(request, level, request.at, write && !through, prefetched);
            self.look_up(request, level + 1, write && through);
        }
    }

    /// The line leaves the exclusive levels from `level` on, or is asked for below them.
    fn bring_up(&mut self, request: &Request, level: usize) -> bool {
        let Some(&id) = request.way.get(level) else { return false };
        if !self.is_exclusive(id) {
            self.look_up(request, level, false);
            return false;
        }
        if self.caches[id].cache.holds(request.at) {
            self.hit(request, level);
            let line = self.caches[id].cache.take(request.at).expect("it holds the line");
            return line.dirty;
        }
        self.miss(request, level);
        self.bring_up(request, level + 1)
    }

    fn is_exclusive(&self, id: usize) -> bool {
        self.caches[id].cache.spec.inclusion() == Inclusion::Exclusive
    }

    fn hit(&mut self, request: &Request, level: usize) {
        self.unit.accessed[level] = true;
        if !request.cause.is_demand() {
            return;
        }
        let placed = &mut self.caches[request.way[level]];
        let line = placed.cache.line_of(request.at);
        placed.classes.access(line.pa, self.actor, false);
        let held = placed.cache.held(request.at).expect("it was hit");
        self.counts.levels[level].useful_prefetches += u64::from(held.prefetched);
        held.prefetched = false;
    }

    fn miss(&mut self, request: &Request, level: usize) {
        self.unit.accessed[level] = true;
        self.unit.missed[level] = true;
        let id = request.way[level];
        let line = self.caches[id].cache.line_of(request.at);
        if request.cause.is_demand() {
            let placed = &mut self.caches[id];
            let class = placed.classes.access(line.pa, self.actor, true);
            let first = &mut self.unit.classes[level];
            *first = first.or(class);
            if level == 0 && placed.lost_to_writes.contains(&line.pa) {
                self.counts.levels[0].coherence_misses += 1;
            }
            if placed.cache.spec.prefetcher() == Prefetcher::NextLine {
                let bytes = placed.cache.spec.line_bytes();
                let next = At { va: line.va.wrapping_add(bytes), pa: line.pa.wrapping_add(bytes) };
                if next.pa / 4096 == line.pa / 4096 {
                    self.pending.push_back((id, level, next));
                }
            }
        }
        if level == request.enters_at {
            self.intervene(request, level);
        }
    }

    fn mask(&self, id: usize) -> Option<WayMask> {
        let partition = self.caches[id].cache.spec.partition();
        partition.get(&self.names.0).or_else(|| partition.get(&self.names.1)).copied()
    }

    fn fill(&mut self, request: &Request, level: usize, at: At, dirty: bool, prefetched: bool) {
        let id = request.way[level];
        let mask = self.mask(id);
        let placed = &mut self.caches[id];
        let victim = placed.cache.fill(at, dirty, prefetched, mask);
        let line = placed.cache.line_of(at).pa;
        placed.lost_to_writes.remove(&line);
        placed.classes.came(line);
        if let Some(mut victim) = victim {
            let gone = Gone::EvictedFor(self.actor);
            self.caches[id].classes.went(victim.at.pa, gone);
            victim.dirty |= self.drop_above(id, &victim, gone);
            self.pass_on(request, level, victim);
        }
    }

    /// A line has left `level` and goes to where it belongs.
    fn pass_on(&mut self, request: &Request, level: usize, line: Line) {
        let next = request.way.get(level + 1).copied();
        let into_exclusive = next.is_some_and(|id| self.is_exclusive(id));
        let written = line.dirty && self.writes_back;
        self.counts.levels[level].written_on += u64::from(written);
        if into_exclusive {
            self.counts.levels[level + 1].victims += 1;
            self.put_into_exclusive(request, level + 1, line);
        } else if written {
            self.write_back(request, level + 1, line.at);
        }
    }

    fn put_into_exclusive(&mut self, request: &Request, level: usize, line: Line) {
        let id = request.way[level];
        let written = line.dirty && self.writes_back;
        self.counts.levels[level].writebacks += u64::from(written);
        match self.caches[id].cache.look_up(line.at) {
            Some(held) => held.dirty |= line.dirty,
            None => {
                self.counts.levels[level].writeback_misses += u64::from(written);
                self.fill(request, level, line.at, line.dirty, false);
            }
        }
    }

    /// A dirty line arrives at `level`.
    fn write_back(&mut self, request: &Request, level: usize, at: At) {
        let Some(&id) = request.way.get(level) else { return };
        let spec = self.caches[id].cache.spec.clone();
        let through = spec.write_policy() == WritePolicy::Through;
        self.counts.levels[level].writebacks += 1;
        let mut goes_on = through;
        if let Some(held) = self.caches[id].cache.look_up(at) {
            held.dirty |= !through;
        } else {
            self.counts.levels[level].writeback_misses += 1;
            if spec.write_allocates() && !self.is_exclusive(id) {
                self.fill(request, level, at, !through, false);
            } else {
                goes_on = true;
            }
        }
        if goes_on {
            self.counts.levels[level].written_on += 1;
            self.write_back(request, level + 1, at);
        }
    }

    /// Lines of first-level data caches that are yet to be written back.
    pub(crate) fn dirty_first_level_lines(&self) -> u64 {
        let first = self.caches.iter().filter(|placed| placed.level == 0 && placed.serves[1]);
        first.map(|placed| placed.cache.dirty_lines()).sum()
    }
}
