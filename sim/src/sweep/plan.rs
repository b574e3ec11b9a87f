//! Which work serves which machines of a sweep.

use std::collections::BTreeSet;
use strata_cachemodel::{Hierarchy, Machine, TagScheme, TlbSizes};

/// Most hierarchies that are fed by one pass over the trace. Decoding is then a small part of the
/// pass, and not too much is lost of a sweep that is interrupted.
const MOST_RUNS: usize = 8;

/// How the machines of a sweep are counted.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    passes: Vec<SweepPass>,
    points: usize,
}

/// What is counted in one pass over the trace.
#[derive(Clone, Debug, Default)]
pub struct SweepPass {
    pub(super) runs: Vec<Run>,
}

/// A hierarchy that a pass feeds.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) model: Model,
    pub(super) served: Vec<Served>,
}

/// What is fed.
#[derive(Clone, Debug)]
pub(super) enum Model {
    /// A machine whose levels cannot be told apart.
    Whole(Machine),
    /// First level and TLBs, and each of what was planned to be below it.
    Upper {
        first: Machine,
        /// Sizes and tag schemes of its TLBs, where there are several.
        sizes: Option<TlbSizes>,
        lowers: Vec<Machine>,
    },
}

/// Where the counts of a machine come from, besides from the run that it is served by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    /// Number of the machine in the sweep.
    pub(super) point: usize,
    /// Number of the run whose lower level it is, and of that.
    pub(super) lower: Option<(usize, usize)>,
    pub(super) tlbs: Tlbs,
}

/// TLBs among those that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tlbs {
    pub(super) itlb: u64,
    pub(super) dtlb: u64,
    pub(super) tags: TagScheme,
}

impl Tlbs {
    fn of(machine: &Machine) -> Self {
        let (itlb, dtlb) = (machine.itlb().entries(), machine.dtlb().entries());
        Tlbs { itlb, dtlb, tags: machine.tags() }
    }
}

/// Caches of which some machines consist, besides their TLBs.
struct Caches {
    machine: Machine,
    has_halves: bool,
}

/// A machine to be counted.
struct Wanted {
    point: usize,
    caches: usize,
    tlbs: Tlbs,
}

/// A run, as long as it is not known which others are in its pass.
struct Draft {
    /// What it is found by: the machine that is fed, without TLBs if those of several sizes are.
    key: Machine,
    kind: Kind,
    /// That of the first point.
    first: Machine,
    wanted: Vec<Wanted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Whole,
    /// Upper half with TLBs as they are.
    OneTlb,
    /// Upper half with TLBs that fit those of other sizes.
    AnySize,
}

impl Draft {
    /// The sizes and schemes, if they are several.
    fn sizes(&self) -> Option<TlbSizes> {
        if self.kind != Kind::AnySize || self.wanted.iter().all(|w| w.tlbs == self.wanted[0].tlbs) {
            return None;
        }
        let rising = |size: fn(&Tlbs) -> u64| {
            let sizes: BTreeSet<u64> =
                self.wanted.iter().map(|wanted| size(&wanted.tlbs)).collect();
            sizes.into_iter().collect()
        };
        let mut tags: Vec<TagScheme> = Vec::new();
        for wanted in &self.wanted {
            number_of(&mut tags, |known| *known == wanted.tlbs.tags, || wanted.tlbs.tags);
        }
        Some(TlbSizes { itlb: rising(|tlbs| tlbs.itlb), dtlb: rising(|tlbs| tlbs.dtlb), tags })
    }

    /// Whether its TLBs can be counted together with these.
    fn has_room_for(&self, tlbs: &Tlbs) -> bool {
        let has_room = |size: fn(&Tlbs) -> u64| {
            let mut sizes: BTreeSet<u64> =
                self.wanted.iter().map(|wanted| size(&wanted.tlbs)).collect();
            sizes.insert(size(tlbs));
            sizes.len() <= TlbSizes::MOST
        };
        self.kind != Kind::AnySize || has_room(|tlbs| tlbs.itlb) && has_room(|tlbs| tlbs.dtlb)
    }
}

fn number_of<T>(all: &mut Vec<T>, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
    all.iter().position(is_it).unwrap_or_else(|| {
        all.push(make());
        all.len() - 1
    })
}

impl SweepPlan {
    /// A plan for those of the machines with the numbers `points`; with `in_one_pass` the trace is
    /// read once only.
    #[must_use]
    pub fn new(machines: &[Machine], points: &[usize], in_one_pass: bool) -> Self {
        Self::with_sizes(machines, points, in_one_pass, true)
    }

    /// The same for machines whose TLBs could not be counted together with those of other sizes
    /// (see [`Sweeping::finish`](super::Sweeping::finish)).
    #[must_use]
    pub fn one_by_one(machines: &[Machine], points: &[usize], in_one_pass: bool) -> Self {
        Self::with_sizes(machines, points, in_one_pass, false)
    }

    fn with_sizes(
        machines: &[Machine],
        points: &[usize],
        in_one_pass: bool,
        several_sizes: bool,
    ) -> Self {
        let mut caches: Vec<Caches> = Vec::new();
        let mut drafts: Vec<Draft> = Vec::new();
        for &point in points {
            let machine = machines[point].as_counted();
            let own = machine.caches_only();
            let number = number_of(
                &mut caches,
                |known| known.machine == own,
                || Caches { has_halves: Hierarchy::has_halves(&own), machine: own.clone() },
            );
            let kind = match caches[number].has_halves {
                false => Kind::Whole,
                true if several_sizes && TlbSizes::fit(&machine) => Kind::AnySize,
                true => Kind::OneTlb,
            };
            let tlbs = Tlbs::of(&machine);
            let first = machine.first_level_only();
            let key = match kind {
                Kind::Whole => machine,
                Kind::OneTlb => first.clone(),
                Kind::AnySize => first.caches_only(),
            };
            let draft = number_of(
                &mut drafts,
                |draft| draft.kind == kind && draft.key == key && draft.has_room_for(&tlbs),
                || Draft { key: key.clone(), kind, first, wanted: Vec::new() },
            );
            drafts[draft].wanted.push(Wanted { point, caches: number, tlbs });
        }
        let most = if in_one_pass { usize::MAX } else { MOST_RUNS };
        let mut passes = Vec::new();
        while !drafts.is_empty() {
            let rest = drafts.split_off(most.min(drafts.len()));
            passes.push(SweepPass::new(drafts, &caches));
            drafts = rest;
        }
        SweepPlan { passes, points: points.len() }
    }

    /// The passes, in the order in which they are to be made.
    #[must_use]
    pub fn passes(&self) -> &[SweepPass] {
        &self.passes
    }

    /// What is done and why, a sentence each.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let all = format!(
            "plan: {} in {} over the trace",
            counted(self.points, "machine"),
            counted(self.passes.len(), "pass")
        );
        let runs = self.passes.iter().flat_map(|pass| &pass.runs);
        std::iter::once(all).chain(runs.map(Run::text)).collect()
    }
}

/// `1 pass`, `2 passes`, `3 sizes of ITLB`.
fn counted(number: usize, noun: &str) -> String {
    if number == 1 {
        return format!("1 {noun}");
    }
    let (noun, rest) = noun.split_once(" of ").map_or((noun, None), |(noun, of)| (noun, Some(of)));
    let ending = if noun.ends_with('s') { "es" } else { "s" };
    let rest = rest.map(|of| format!(" of {of}")).unwrap_or_default();
    format!("{number} {noun}{ending}{rest}")
}

impl SweepPass {
    fn new(drafts: Vec<Draft>, caches: &[Caches]) -> Self {
        let mut pass = SweepPass::default();
        for draft in drafts {
            let sizes = draft.sizes();
            let mut run = Run {
                model: match draft.kind {
                    Kind::Whole => Model::Whole(draft.key),
                    Kind::OneTlb | Kind::AnySize => {
                        Model::Upper { first: draft.first, sizes, lowers: Vec::new() }
                    }
                },
                served: Vec::new(),
            };
            for Wanted { point, caches: number, tlbs } in draft.wanted {
                let lower = pass.lower(&mut run, &caches[number].machine);
                run.served.push(Served { point, lower, tlbs });
            }
            pass.runs.push(run);
        }
        pass
    }

    /// Where the levels below the first of `caches` are counted, which is at the run to come if no
    /// earlier one has the same first level.
    fn lower(&mut self, coming: &mut Run, caches: &Machine) -> Option<(usize, usize)> {
        let Model::Upper { first, lowers, .. } = &mut coming.model else { return None };
        if caches.levels().len() < 2 {
            return None;
        }
        let own = first.caches_only();
        let earlier = self.runs.iter().position(
            |run| matches!(&run.model, Model::Upper { first, .. } if first.caches_only() == own),
        );
        let (run, lowers) = match earlier.map(|run| (run, &mut self.runs[run].model)) {
            Some((run, Model::Upper { lowers, .. })) => (run, lowers),
            _ => (self.runs.len(), lowers),
        };
        Some((run, number_of(lowers, |known| known == caches, || caches.clone())))
    }

    /// Numbers of the machines that it counts.
    pub fn points(&self) -> impl Iterator<Item = usize> {
        self.runs.iter().flat_map(|run| run.served.iter().map(|served| served.point))
    }
}

fn sizes_text(sizes: &TlbSizes) -> String {
    format!(
        "fully associative LRU TLBs of {} and {} under {}, by their depth in one list for each \
         scheme and side, from what the smallest miss",
        counted(sizes.itlb.len(), "size of ITLB"),
        counted(sizes.dtlb.len(), "size of DTLB"),
        counted(sizes.tags.len(), "tag scheme"),
    )
}

impl Run {
    fn text(&self) -> String {
        let served = counted(self.served.len(), "machine");
        match &self.model {
            Model::Whole(_) => format!(
                "  {served}: replayed whole on the pass's batches, since the levels below the first \
                 act on it or need more than its misses tell"
            ),
            Model::Upper { first, sizes, lowers } => {
                let tlbs = match sizes {
                    Some(sizes) => sizes_text(sizes),
                    None => format!(
                        "ITLB {}, DTLB {}, tags {}",
                        first.itlb(),
                        first.dtlb(),
                        first.tags()
                    ),
                };
                let below = match lowers.len() {
                    0 => "what its first level asks of lower levels was counted before".to_owned(),
                    1 => "the levels below run on its misses".to_owned(),
                    number => format!("{number} lower levels run on its misses, recorded once"),
                };
                format!("  {served}: one first level with {tlbs}; {below}")
            }
        }
    }
}
