//! Visits, made from executions as the engine follows them.

use super::ending::Endings;
use super::engine::{Engine, Step};
use super::stack::Context;
use super::{Arrival, PathId, Paths, ReturnReport, Scene, Tracer, Visit};
use crate::counters::{Counters, Rows};
use crate::functions::{Function, FunctionId};
use strata_workloads::trace::{Definitions, Event, MachineState, SpaceId};

/// What a trace of calls has found, besides what its tracer made of it.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// All paths.
    pub paths: Paths,
    /// Every function, by its number; several numbers can be one function.
    pub functions: Vec<Function>,
    /// How well returns could be followed.
    pub returns: ReturnReport,
}

/// An execution about to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coming {
    pub(crate) shape: usize,
    pub(crate) address: u64,
    pub(crate) stack_pointer: u64,
    pub(crate) function: FunctionId,
    pub(crate) space: Option<SpaceId>,
    /// Instructions before it.
    pub(crate) at: u64,
    /// Whether it is in the range that counts.
    pub(crate) counts: bool,
}

/// A trace of calls under way.
pub(crate) struct CallTrace {
    engine: Engine,
    endings: Endings,
    tracer: Box<dyn Tracer>,
    /// The present visit, if there is one.
    visit: Visit,
    is_open: bool,
    /// By function, whether it is a thunk.
    thunks: Vec<bool>,
}

impl CallTrace {
    pub(crate) fn new(tracer: Box<dyn Tracer>) -> Self {
        CallTrace {
            engine: Engine::default(),
            endings: Endings::default(),
            tracer,
            visit: Visit {
                at: 0,
                path: PathId(0),
                arrival: Arrival::Start,
                cpu: 0,
                address: 0,
                stack_pointer: 0,
                counters: Counters::default(),
            },
            is_open: false,
            thunks: Vec::new(),
        }
    }

    pub(crate) fn extend(&mut self, tables: &Definitions) {
        self.endings.extend(tables);
    }

    /// Follows control to an execution; the visit that it belongs to is then the present one. What
    /// was counted in a visit that ended goes to its function's row.
    pub(crate) fn begin(
        &mut self,
        coming: &Coming,
        functions: &[Function],
        state: &MachineState,
        rows: &mut Rows,
    ) {
        if self.is_open
            && coming.counts
            && self.engine.stays(coming.function, coming.space, coming.stack_pointer)
        {
            self.engine.ended(self.endings.of(coming.shape));
            return;
        }
        let FunctionId(number) = coming.function;
        for function in &functions[self.thunks.len().min(functions.len())..] {
            self.thunks.push(is_thunk(function));
        }
        let function = &functions[number as usize];
        let step = Step {
            address: coming.address,
            stack_pointer: coming.stack_pointer,
            context: Context::of(function.layer, self.engine.cpu(), coming.space),
            space: coming.space,
            function: coming.function,
            is_entry: function.name.as_ref().is_some_and(|name| name.address == coming.address),
            is_thunk: self.thunks[number as usize],
            is_named: function.name.is_some(),
        };
        let arrival = self.engine.step(&step);
        self.engine.ended(self.endings.of(coming.shape));
        self.arrive(arrival, coming, functions, state, rows);
    }

    /// Control runs on into another function within an execution.
    pub(crate) fn run_into(
        &mut self,
        coming: &Coming,
        functions: &[Function],
        state: &MachineState,
        rows: &mut Rows,
    ) {
        let arrival = self.engine.run_into(coming.function);
        self.arrive(arrival, coming, functions, state, rows);
    }

    #[inline]
    fn arrive(
        &mut self,
        arrival: Option<Arrival>,
        coming: &Coming,
        functions: &[Function],
        state: &MachineState,
        rows: &mut Rows,
    ) {
        if !coming.counts {
            // The range ends here, in the midst of a visit.
            self.end_visit(functions, state, rows);
            return;
        }
        let arrival = match arrival {
            Some(arrival) => arrival,
            None if self.is_open => return,
            // The range begins here.
            None => Arrival::Start,
        };
        self.end_visit(functions, state, rows);
        let Some(path) = self.engine.path() else { return };
        self.is_open = true;
        let visit = &mut self.visit;
        (visit.at, visit.path, visit.arrival) = (coming.at, path, arrival);
        (visit.address, visit.stack_pointer) = (coming.address, coming.stack_pointer);
        visit.cpu = self.engine.cpu();
    }

    /// Tells of the present visit and counts it.
    pub(crate) fn end_visit(
        &mut self,
        functions: &[Function],
        state: &MachineState,
        rows: &mut Rows,
    ) {
        if !self.is_open {
            return;
        }
        let scene = Scene { paths: &self.engine.paths, functions, state };
        self.tracer.visit(&self.visit, &scene);
        let FunctionId(row) = self.engine.paths[self.visit.path].function;
        rows.deviations[row as usize] += &self.visit.counters;
        self.visit.counters = Counters::default();
        self.is_open = false;
    }

    /// Counts of the present visit; of none if there is none.
    #[inline]
    pub(crate) fn counters(&mut self) -> Option<&mut Counters> {
        self.is_open.then_some(&mut self.visit.counters)
    }

    /// An event before the next execution.
    pub(crate) fn event(
        &mut self,
        at: u64,
        event: &Event,
        counts: bool,
        functions: &[Function],
        state: &MachineState,
    ) {
        self.engine.event(event);
        if counts {
            let scene = Scene { paths: &self.engine.paths, functions, state };
            self.tracer.event(at, event, &scene);
        }
    }

    /// Forgets what was counted of the present visit: the warm-up ends here.
    pub(crate) fn begin_counting(&mut self) {
        self.is_open = false;
        self.visit.counters = Counters::default();
    }

    pub(crate) fn finish(self, functions: Vec<Function>) -> (Box<dyn Tracer>, CallRecord) {
        let Engine { paths, returns, .. } = self.engine;
        (self.tracer, CallRecord { paths, functions, returns })
    }
}

/// Code that jumps or returns for others, so that its own returns are none: retpolines and return
/// thunks of Linux (`__x86_indirect_thunk_rax`, `__x86_return_thunk`) and Xen.
pub(crate) fn is_thunk(function: &Function) -> bool {
    let Some(name) = &function.name else { return false };
    ["__x86_indirect_", "__x86_return_thunk", "__ret", "srso_", "retbleed_"]
        .iter()
        .any(|prefix| name.function.starts_with(prefix))
}
