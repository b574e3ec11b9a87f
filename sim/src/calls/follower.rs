//! Where control goes, found ahead of the models.
//!
//! That depends on blocks, stack pointers and events only, never on what caches and TLBs do. So it
//! is found where batches are decoded, and what is left for the models' thread is to count by it.

use super::ending::{self, Ending};
use super::engine::{Engine, Step};
use super::stack::Context;
use super::{Arrival, Path, PathId, ReturnReport, is_thunk};
use crate::addressing::Addressing;
use crate::calls::Paths;
use crate::functions::{Function, FunctionId, Namer};
use crate::pipeline::Ahead;
use crate::replay::Extent;
use crate::who::{Charged, Who};
use strata_workloads::trace::{Batch, Definitions, Event, Lacks, MachineState, SpaceId};

/// The course of control through one batch.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// In order.
    pub(crate) turns: Vec<Turn>,
    /// Paths and functions that are new in it.
    pub(crate) paths: Vec<Path>,
    pub(crate) functions: Vec<Function>,
}

/// A place where control comes to another function or path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Index of the execution in its batch.
    pub(crate) execution: u32,
    /// Index of the instruction in its block.
    pub(crate) instruction: u16,
    /// Who executes from here on.
    pub(crate) function: FunctionId,
    pub(crate) visit: VisitChange,
}

/// What becomes of the present visit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum VisitChange {
    GoesOn,
    /// No other begins: what comes is not counted.
    Ends,
    Begins(Beginning),
}

/// What is known of a visit when it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// Instructions before it.
    pub(crate) at: u64,
    pub(crate) path: PathId,
    pub(crate) arrival: Arrival,
    pub(crate) cpu: u16,
    pub(crate) address: u64,
    pub(crate) stack_pointer: u64,
}

/// A shape as far as it matters where control goes.
#[derive(Clone, Copy, Debug)]
struct Way {
    block: u32,
    completed: u16,
    /// The block's privilege level.
    privilege: u8,
    ending: Ending,
}

/// An execution about to be made, or the part of one that is one function's.
#[derive(Clone, Copy, Debug)]
struct Coming {
    execution: u32,
    instruction: u16,
    address: u64,
    stack_pointer: u64,
    function: FunctionId,
    /// Instructions before it.
    at: u64,
    /// Whether it is in the range that counts.
    counts: bool,
}

/// Follows calls through a stream, batch by batch.
pub struct CallFollower<N> {
    who: Who<N>,
    addressing: Addressing,
    state: MachineState,
    extent: Extent,
    /// Completed instructions since the start of the stream.
    position: u64,
    /// The warm-up is over.
    is_warm: bool,
    engine: Engine,
    ways: Vec<Way>,
    /// By function, whether it is a thunk.
    thunks: Vec<bool>,
    /// There is a present visit.
    is_open: bool,
    /// Who was told of last.
    function: Option<FunctionId>,
}

impl<N: Namer> CallFollower<N> {
    /// For a stream that lacks this, of which this is to be replayed.
    pub fn new(namer: N, lacks: Lacks, extent: Extent) -> Self {
        let mut who = Who::new(namer);
        who.set_layers_known(!lacks.privilege);
        CallFollower {
            who,
            addressing: Addressing::default(),
            state: MachineState::default(),
            is_warm: extent.range.start == 0 && extent.warm_up == 0,
            extent,
            position: 0,
            engine: Engine::default(),
            ways: Vec::new(),
            thunks: Vec::new(),
            is_open: false,
            function: None,
        }
    }

    /// Begins with the machine in this state; to be called before the first batch.
    pub fn begin(&mut self, state: MachineState) {
        self.state = state;
        self.follow_state(&Definitions::default());
    }

    /// Follows control through a batch, all definitions of the stream so far being `tables`. Finds
    /// nothing in batches after the one in which the range ends.
    pub fn follow(&mut self, batch: &Batch, tables: &Definitions, course: &mut Course) {
        course.turns.clear();
        course.paths.clear();
        course.functions.clear();
        if self.position >= self.extent.range.end {
            return;
        }
        for shape in &tables.shapes[self.ways.len()..] {
            let block = &tables.blocks[shape.block.index()];
            self.ways.push(Way {
                block: shape.block.0,
                completed: shape.completed,
                privilege: block.privilege,
                ending: ending::of(shape, block),
            });
        }
        let (paths, functions) = (self.engine.paths.len(), self.who.functions().len());
        let mut done = 0;
        for (before, event) in &batch.events {
            let before = (*before as usize).clamp(done, batch.shapes.len());
            self.executions(batch, done..before, tables, course);
            done = before;
            self.event(event, tables);
        }
        self.executions(batch, done..batch.shapes.len(), tables, course);
        course.paths.extend(self.engine.paths.iter().skip(paths).map(|(_, path)| *path));
        course.functions.extend_from_slice(&self.who.functions()[functions..]);
    }

    fn executions(
        &mut self,
        batch: &Batch,
        range: std::ops::Range<usize>,
        tables: &Definitions,
        course: &mut Course,
    ) {
        for index in range {
            let way = self.ways[batch.shapes[index].index()];
            let stack_pointer = batch.stack_pointers.get(index).copied().unwrap_or(0);
            self.execution(index as u32, way, stack_pointer, tables, course);
            self.position += u64::from(way.completed);
            if !self.is_warm {
                let counted_from = self.extent.range.start.saturating_add(self.extent.warm_up);
                self.is_warm = self.position >= counted_from;
            }
        }
    }

    #[inline(always)]
    fn execution(
        &mut self,
        index: u32,
        way: Way,
        stack_pointer: u64,
        tables: &Definitions,
        course: &mut Course,
    ) {
        let (state, addressing) = (&self.state, &mut self.addressing);
        let charged = self.who.of(way.block as usize, way.privilege, state, addressing, tables);
        let space = self.addressing.space();
        let counts = self.is_warm && self.extent.range.contains(&self.position);
        if let Charged::Row(row) = charged
            && self.is_open
            && counts
            && self.engine.stays(FunctionId(row as u32), space, stack_pointer)
        {
            self.engine.ended(way.ending);
            return;
        }
        let coming = Coming {
            execution: index,
            instruction: 0,
            address: tables.blocks[way.block as usize].address,
            stack_pointer,
            function: FunctionId(0),
            at: self.position,
            counts,
        };
        match charged {
            Charged::Row(row) => {
                let coming = Coming { function: FunctionId(row as u32), ..coming };
                self.come(&coming, space, way.ending, course);
            }
            Charged::Split => self.come_to_parts(coming, space, way, tables, course),
        }
    }

    /// Control comes to an execution.
    #[inline(never)]
    fn come(
        &mut self,
        coming: &Coming,
        space: Option<SpaceId>,
        ending: Ending,
        course: &mut Course,
    ) {
        let functions = self.who.functions();
        for function in &functions[self.thunks.len()..] {
            self.thunks.push(is_thunk(function));
        }
        let FunctionId(number) = coming.function;
        let function = &functions[number as usize];
        let arrival = self.engine.step(&Step {
            address: coming.address,
            stack_pointer: coming.stack_pointer,
            context: Context::of(function.layer, self.engine.cpu(), space),
            space,
            function: coming.function,
            is_entry: function.name.as_ref().is_some_and(|name| name.address == coming.address),
            is_thunk: self.thunks[number as usize],
            is_named: function.name.is_some(),
        });
        self.engine.ended(ending);
        self.arrive(arrival, coming, course);
    }

    /// Control comes to an execution that runs from one function into the next.
    #[cold]
    fn come_to_parts(
        &mut self,
        mut coming: Coming,
        space: Option<SpaceId>,
        way: Way,
        tables: &Definitions,
        course: &mut Course,
    ) {
        let index = way.block as usize;
        let segments = self.who.segments(index, &self.state, &mut self.addressing, tables).to_vec();
        coming.function = segments[0].function;
        self.come(&coming, space, way.ending, course);
        let block = &tables.blocks[index];
        // One beyond the completed ones: it may have been begun.
        for segment in segments[1..].iter().filter(|segment| segment.first <= way.completed) {
            coming.function = segment.function;
            coming.instruction = segment.first;
            coming.address = block.instruction_address(usize::from(segment.first));
            coming.at = self.position + u64::from(segment.first);
            let arrival = self.engine.run_into(segment.function);
            self.arrive(arrival, &coming, course);
        }
    }

    #[inline]
    fn arrive(&mut self, arrival: Option<Arrival>, coming: &Coming, course: &mut Course) {
        let arrival = match arrival {
            // The range begins here.
            None if !self.is_open => Some(Arrival::Start),
            other => other,
        };
        let was_open = self.is_open;
        let visit = match (arrival, self.engine.path()) {
            (Some(arrival), Some(path)) if coming.counts => {
                self.is_open = true;
                VisitChange::Begins(Beginning {
                    at: coming.at,
                    path,
                    arrival,
                    cpu: self.engine.cpu(),
                    address: coming.address,
                    stack_pointer: coming.stack_pointer,
                })
            }
            (None, _) if coming.counts => VisitChange::GoesOn,
            // The range ends here, in the midst of a visit.
            _ => {
                self.is_open = false;
                if was_open { VisitChange::Ends } else { VisitChange::GoesOn }
            }
        };
        let is_same = self.function.replace(coming.function) == Some(coming.function);
        if is_same && matches!(visit, VisitChange::GoesOn) {
            return;
        }
        let Coming { execution, instruction, function, .. } = *coming;
        course.turns.push(Turn { execution, instruction, function, visit });
    }

    fn event(&mut self, event: &Event, tables: &Definitions) {
        self.state.apply(event);
        match *event {
            Event::Translation(id) => {
                let owners = self.addressing.owners_changed;
                self.addressing.tell(id, &self.state, tables);
                if owners != self.addressing.owners_changed || self.addressing.space().is_none() {
                    self.who.follow(&self.state, &self.addressing);
                }
            }
            Event::Control { .. }
            | Event::Cpu { .. }
            | Event::VmRun { .. }
            | Event::VmExit { .. }
            | Event::Current(_) => self.follow_state(tables),
            _ => {}
        }
        self.engine.event(event);
    }

    fn follow_state(&mut self, tables: &Definitions) {
        self.addressing.follow(&self.state, tables);
        self.who.follow(&self.state, &self.addressing);
    }

    /// All functions with their names, what knew those, and how returns could be followed.
    pub(crate) fn settle(self, tables: &Definitions) -> Followed<N> {
        let (functions, namer) = self.who.settle(&tables.blocks);
        let Engine { paths, returns, .. } = self.engine;
        Followed { functions, namer, paths, returns }
    }
}

/// What is known when the stream has ended.
pub(crate) struct Followed<N> {
    pub(crate) functions: Vec<Function>,
    pub(crate) namer: N,
    pub(crate) paths: Paths,
    pub(crate) returns: ReturnReport,
}

impl<N: Namer + Send> Ahead for CallFollower<N> {
    type Found = Course;

    fn begin(&mut self, state: &MachineState) {
        CallFollower::begin(self, state.clone());
    }

    fn batch(&mut self, batch: &Batch, tables: &Definitions, found: &mut Course) {
        self.follow(batch, tables, found);
    }
}
