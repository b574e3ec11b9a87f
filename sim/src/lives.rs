//! Lives of packets: from the guest's grant to its end, over all layers.
//!
//! A [`Lives`] is told a replay's visits and events. By its [`Rules`] it finds the phase that a
//! visit's function belongs to, and by grant references, mappings and events the life. What
//! belongs to none is kept apart, so that lives and what is outside of them are always the whole.
//! The rules are in `docs/life.md`.

mod classes;
mod error;
mod grants;
mod life;
mod patterns;
mod report;
mod rules;
mod summary;
#[cfg(test)]
mod tests;
mod timeline;

pub use error::LifeError;
pub use life::{Life, LifeStage};
pub use patterns::{LayerPattern, Pattern, Patterns};
pub use report::{IdlePattern, LifeChoice, LifeReport, Outside, PhaseTotal};
pub use rules::{Counted, Direction, MOST_PHASES, Phase, Rules};
pub use summary::Summary;
pub use timeline::{Bar, LifeVisit};

use crate::calls::{Arrival, PathId, Paths, Scene, Tracer, Visit};
use crate::counters::Counters;
use classes::Classes;
use grants::{Continuations, Grants, Use};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use strata_symbols::Layer;
use strata_workloads::trace::{Event, GrantOperation};
use timeline::Timeline;

/// EVTCHNOP_send (xen/include/public/event_channel.h).
const SEND: u8 = 4;

/// What a call of a phase's function is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    life: usize,
    phase: u8,
    /// Number of the call.
    call: u64,
}

/// An event that waits for the visit that begins at it, whose path says who caused it.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    at: u64,
    cpu: u16,
    what: Happening,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Grant(GrantOperation),
    Send { domain: u16, port: u32 },
}

/// The owner found last, while nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    cpu: u16,
    near: Option<PathId>,
    owner: Option<Owner>,
}

/// Splits a stream into lives.
pub struct Lives {
    rules: Rules,
    classes: Classes,
    lives: Vec<Life>,
    /// Lives that are not closed, the oldest first.
    open: Vec<usize>,
    grants: Grants,
    /// What each call of a phase's function is for, by CPU and path.
    owners: FxHashMap<(u16, PathId), Owner>,
    last: Option<Last>,
    /// CPU and path of the visit before.
    previous: Option<(u16, PathId)>,
    /// Calls of phases' functions so far.
    calls: u64,
    waiting: Vec<Waiting>,
    outside: Outside,
    timeline: Timeline,
    continuations: Continuations,
    grant_operations: u64,
    accepted_operations: u64,
    stray_ends: u64,
    gaps: u64,
}

impl Lives {
    /// Lives by these rules.
    pub fn new(rules: Rules) -> Self {
        Lives {
            classes: Classes::new(&rules),
            rules,
            lives: Vec::new(),
            open: Vec::new(),
            grants: Grants::default(),
            owners: FxHashMap::default(),
            last: None,
            previous: None,
            calls: 0,
            waiting: Vec::new(),
            outside: Outside::default(),
            timeline: Timeline::default(),
            continuations: Continuations::default(),
            grant_operations: 0,
            accepted_operations: 0,
            stray_ends: 0,
            gaps: 0,
        }
    }

    /// Whether a visit at `path` is the first of a call. A return to a frame that control was not
    /// above is none: the frame now is another function's.
    fn is_first(&self, visit: &Visit, scene: &Scene<'_>) -> bool {
        match visit.arrival {
            Arrival::Return | Arrival::Unwound => self.previous.is_none_or(|(cpu, before)| {
                cpu != visit.cpu || !is_above(before, visit.path, scene.paths)
            }),
            Arrival::Resumed | Arrival::Switched => false,
            _ => true,
        }
    }

    /// Forgets what calls were for that control has left for good.
    fn end_calls(&mut self, visit: &Visit, scene: &Scene<'_>) {
        let Some((cpu, before)) = self.previous.filter(|(cpu, _)| *cpu == visit.cpu) else {
            return;
        };
        let left = self.classes.near(before);
        if left.is_none() || left == self.classes.near(visit.path) {
            return;
        }
        let layer_of = |path: PathId| scene.functions[scene.paths[path].function.0 as usize].layer;
        let layer = layer_of(visit.path);
        for root in self.roots(left, scene) {
            let has_returned = match visit.arrival {
                Arrival::Return | Arrival::Unwound => true,
                Arrival::ReturnAsJump | Arrival::FallThrough => true,
                // To another domain control goes by a context switch, and may come back.
                Arrival::Resumed => layer.domain() == layer_of(root).domain(),
                _ => false,
            };
            // The hypervisor's stack is empty while others run.
            let is_dropped = is_hypervisor(layer_of(root)) && !is_hypervisor(layer);
            if (has_returned || is_dropped) && !is_above(visit.path, root, scene.paths) {
                self.owners.remove(&(cpu, root));
            }
        }
    }

    /// Whose a visit is.
    fn owner(&mut self, visit: &Visit, scene: &Scene<'_>) -> Option<Owner> {
        let near = self.classes.near(visit.path);
        let is_begun = near == Some(visit.path) && self.is_first(visit, scene);
        if !is_begun
            && let Some(last) = self.last
            && (last.cpu, last.near) == (visit.cpu, near)
        {
            return last.owner;
        }
        // Outermost first, since what is called within a phase is for the same life.
        let mut owner = None;
        for root in self.roots(near, scene).into_iter().rev() {
            let begins = is_begun && root == visit.path;
            let key = (visit.cpu, root);
            let known = self.owners.get(&key).copied().filter(|known| {
                let phase = &self.rules.phases[usize::from(known.phase)];
                let life = &self.lives[known.life];
                !begins && phase.fits(life.stage) && known.call >= life.last_call
            });
            let found = known.or_else(|| self.choose(root, owner, visit.at, scene));
            match found {
                Some(found) => self.owners.insert(key, found),
                None => self.owners.remove(&key),
            };
            owner = found.or(owner);
        }
        self.last = Some(Last { cpu: visit.cpu, near, owner });
        owner
    }

    /// Paths of phases from `near` down to what is outside of them, the innermost first.
    fn roots(&self, near: Option<PathId>, scene: &Scene<'_>) -> Vec<PathId> {
        let below = |root: PathId| scene.paths[root].below.and_then(|id| self.classes.near(id));
        std::iter::successors(near, |&root| below(root))
            .take_while(|&root| !self.classes.marks(root).is_outside)
            .collect()
    }

    /// What a call is for, made within a call that is for `outer`.
    fn choose(
        &mut self,
        root: PathId,
        outer: Option<Owner>,
        at: u64,
        scene: &Scene<'_>,
    ) -> Option<Owner> {
        let phases = self.classes.marks(root).phases;
        let phases = (0..self.rules.phases.len()).filter(|phase| phases & (1 << phase) != 0);
        let layer = scene.functions[scene.paths[root].function.0 as usize].layer;
        let guest = layer.domain().map(|domain| domain.0).filter(|&domain| domain != 0);
        for number in phases {
            let phase = &self.rules.phases[number];
            let found = outer
                .map(|outer| outer.life)
                .filter(|&life| phase.fits(self.lives[life].stage))
                .or_else(|| self.oldest(&phase.when, guest));
            let opens = phase.opens;
            let life = match found {
                Some(life) => life,
                None if opens => self.begin(guest, at),
                None => continue,
            };
            self.calls += 1;
            return Some(Owner { life, phase: number as u8, call: self.calls });
        }
        None
    }

    /// The oldest open life in the first of `stages` that any is in.
    fn oldest(&self, stages: &[LifeStage], guest: Option<u16>) -> Option<usize> {
        let is_of = |life: &Life| guest.is_none() || life.domain.is_none() || life.domain == guest;
        let in_stage = |stage: LifeStage| {
            let mut open = self.open.iter().copied();
            open.find(|&number| self.lives[number].stage == stage && is_of(&self.lives[number]))
        };
        stages.iter().find_map(|&stage| in_stage(stage))
    }

    fn begin(&mut self, guest: Option<u16>, at: u64) -> usize {
        self.lives.push(Life::new(guest, at));
        self.open.push(self.lives.len() - 1);
        self.lives.len() - 1
    }

    /// What happened right before `visit`, which is `owner`'s.
    fn settle_waiting(&mut self, visit: &Visit, owner: Option<Owner>, scene: &Scene<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        for event in waiting {
            if event.cpu != visit.cpu || event.at > visit.at {
                self.waiting.push(event);
                continue;
            }
            // An event of long before was caused by something that is not in the stream.
            let path = Some(visit.path).filter(|_| event.at == visit.at);
            self.happened(event.what, path, owner, visit, scene);
        }
    }

    fn happened(
        &mut self,
        what: Happening,
        path: Option<PathId>,
        owner: Option<Owner>,
        visit: &Visit,
        scene: &Scene<'_>,
    ) {
        match what {
            Happening::Send { domain, port } => {
                let Some(owner) = owner.filter(|_| path.is_some()) else { return };
                self.lives[owner.life].ports.insert((domain, port));
                if self.rules.direction == Direction::Rx && domain == 0 {
                    self.seal(owner.life);
                }
            }
            Happening::Grant(operation) => match Use::of(&operation, self.rules.direction) {
                None => {}
                Some(Use::Unmap { address }) => {
                    if let Some(life) = self.grants.unmapped(&mut self.lives, address) {
                        self.change_stage(life);
                    }
                }
                Some(used) => {
                    let near = path.and_then(|path| self.classes.near(path));
                    let accepts = |root: &PathId| self.accepting_phase(*root).is_some();
                    let roots = self.roots(near, scene);
                    if let Some(&root) = roots.iter().find(|&root| accepts(root)) {
                        let outermost =
                            roots.last().and_then(|&root| self.owners.get(&(visit.cpu, root)));
                        self.grants.enter_call(outermost.map_or(0, |owner| owner.call));
                        self.accepted_operations += 1;
                        self.accept(used, root, visit);
                    }
                }
            },
        }
    }

    /// The phase in which calls at `root` accept grants, if they do.
    fn accepting_phase(&self, root: PathId) -> Option<u8> {
        let phases = self.classes.marks(root).phases;
        let mut numbered = self.rules.phases.iter().enumerate();
        numbered
            .find(|(number, phase)| phases & (1 << number) != 0 && phase.accepts)
            .map(|(number, _)| number as u8)
    }

    /// A grant is used in a call at `root`.
    fn accept(&mut self, used: Use, root: PathId, visit: &Visit) {
        let (Use::Map { domain, reference, .. } | Use::Copy { domain, reference, .. }) = used
        else {
            return;
        };
        let of_call = self.owners.get(&(visit.cpu, root)).map(|owner| owner.life);
        let by_grant = match self.rules.direction {
            Direction::Tx => self.grants.find(&self.lives, domain, reference),
            Direction::Rx => None,
        };
        let life = by_grant.or(of_call).unwrap_or_else(|| {
            // Granted before the stream began.
            let life = self.begin(Some(domain), visit.at);
            self.lives[life].is_headless = true;
            let phase = self.accepting_phase(root).unwrap_or_default();
            self.calls += 1;
            self.owners.insert((visit.cpu, root), Owner { life, phase, call: self.calls });
            life
        });
        self.grants.used(&mut self.lives, life, used);
        self.change_stage(life);
    }

    /// A batch for the guest is complete.
    fn seal(&mut self, life: usize) {
        if self.lives[life].references > 0 {
            self.lives[life].stage = self.lives[life].stage.max(LifeStage::Accepted);
            self.change_stage(life);
        }
    }

    fn change_stage(&mut self, life: usize) {
        let before = self.lives[life].stage;
        self.lives[life].settle_stage(self.rules.direction);
        if self.lives[life].stage != before {
            self.last = None;
        }
    }

    /// Counts calls that the rules name.
    fn count(&mut self, visit: &Visit, owner: Option<Owner>, scene: &Scene<'_>) {
        let marks = self.classes.marks(visit.path);
        if !(marks.is_packet || marks.is_grant || marks.is_end) || !is_called(visit.arrival) {
            return;
        }
        if let Some(Owner { life, .. }) = owner {
            self.lives[life].packets += u64::from(marks.is_packet);
            if marks.is_grant && self.lives[life].stage <= LifeStage::Granted {
                self.grants.granted(&mut self.lives, life);
                self.last = None;
            }
        }
        if marks.is_end {
            let layer = scene.functions[scene.paths[visit.path].function.0 as usize].layer;
            if let Some(life) = self.end_grant(layer.domain().map(|domain| domain.0)) {
                self.close(life, visit, scene);
            }
        }
    }

    /// The guest takes a grant back: of the oldest life that has one to take. Returns a life of which
    /// it was the last.
    fn end_grant(&mut self, guest: Option<u16>) -> Option<usize> {
        let mut open = self.open.iter().copied();
        let has_one = |&life: &usize| {
            self.lives[life].answerable() > 0
                && (guest.is_none() || self.lives[life].domain == guest)
        };
        let Some(life) = open.find(has_one) else {
            self.stray_ends += 1;
            return None;
        };
        // It can be seen before anyone was told of it.
        self.seal(life);
        self.lives[life].ended += 1;
        let it = &self.lives[life];
        (it.stage == LifeStage::Released && it.ended == it.references).then_some(life)
    }

    /// A life has ended; what goes on for it is the call that it ends with.
    fn close(&mut self, life: usize, visit: &Visit, scene: &Scene<'_>) {
        let mut last_call = u64::MAX;
        for root in self.roots(self.classes.near(visit.path), scene) {
            if let Some(owner) = self.owners.get(&(visit.cpu, root))
                && owner.life == life
                && self.rules.phases[usize::from(owner.phase)].closes
            {
                last_call = owner.call;
            }
        }
        self.lives[life].last_call = last_call;
        self.lives[life].is_closed = true;
        self.open.retain(|&open| open != life);
        self.last = None;
    }

    /// Counts a visit where it belongs.
    fn charge(&mut self, visit: &Visit, owner: Option<Owner>, layer: Layer) {
        self.timeline.add(visit, layer, owner.map(|owner| (owner.life as u32, owner.phase)));
        let counters = match owner {
            Some(Owner { life, phase, .. }) => {
                let life = &mut self.lives[life];
                life.end = visit.at + visit.counters.instructions;
                life.cells.entry((phase, layer)).or_default()
            }
            None if self.open.is_empty() => self.outside.idle.entry(layer).or_default(),
            None => self.outside.between.entry(layer).or_default(),
        };
        *counters += &visit.counters;
    }

    /// After a gap nothing is known of what was under way.
    fn gap(&mut self) {
        self.gaps += 1;
        self.open.clear();
        self.owners.clear();
        self.waiting.clear();
        self.grants.forget();
        self.last = None;
    }
}

impl Tracer for Lives {
    fn visit(&mut self, visit: &Visit, scene: &Scene<'_>) {
        self.classes.extend(visit.path, scene.paths, scene.functions);
        if visit.arrival == Arrival::Gap {
            self.gap();
        }
        self.end_calls(visit, scene);
        let owner = self.owner(visit, scene);
        self.settle_waiting(visit, owner, scene);
        self.count(visit, owner, scene);
        let layer = scene.functions[scene.paths[visit.path].function.0 as usize].layer;
        self.charge(visit, owner, layer);
        self.previous = Some((visit.cpu, visit.path));
        if let Some(Owner { life, phase, .. }) = owner
            && self.rules.phases[usize::from(phase)].closes
            && self.rules.counts.ends.is_empty()
            && self.lives[life].stage == LifeStage::Released
            && !self.lives[life].is_closed
        {
            self.close(life, visit, scene);
        }
    }

    fn event(&mut self, at: u64, event: &Event, scene: &Scene<'_>) {
        let what = match *event {
            Event::Hypercall { number, ref arguments } => {
                let domain = scene.state.running().current.domain;
                return self.continuations.hypercall(domain, number, arguments);
            }
            Event::Grant(operation) => {
                if self.continuations.is_repeated() {
                    return;
                }
                self.grant_operations += 1;
                Happening::Grant(operation)
            }
            Event::EventChannel { operation: SEND, port, .. } => {
                Happening::Send { domain: scene.state.running().current.domain, port }
            }
            _ => return,
        };
        self.waiting.push(Waiting { at, cpu: scene.state.cpu, what });
    }
}

/// Whether a visit that arrived so at a function is a call of it; running into one is none.
fn is_called(arrival: Arrival) -> bool {
    matches!(
        arrival,
        Arrival::Call
            | Arrival::Tail
            | Arrival::ReturnAsJump
            | Arrival::Syscall
            | Arrival::Hypercall
            | Arrival::Exception
            | Arrival::Interrupt
            | Arrival::Entered
    )
}

/// Whether `below` is `top` or among the frames below it.
fn is_above(top: PathId, below: PathId, paths: &Paths) -> bool {
    std::iter::successors(Some(top), |&path| paths[path].below).any(|path| path == below)
}

fn is_hypervisor(layer: Layer) -> bool {
    matches!(layer, Layer::Hypervisor | Layer::Idle)
}

type ByLayer = BTreeMap<Layer, Counters>;
