//! Visits, counted as the models go along the course of control.

use super::follower::{Beginning, Course, Followed, Turn, VisitChange};
use super::{Arrival, PathId, Paths, ReturnReport, Scene, Tracer, Visit};
use crate::counters::{Counters, Executed, Rows};
use crate::functions::{Function, FunctionId};
use strata_workloads::trace::{Event, MachineState};

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

/// A trace of calls under way.
pub(crate) struct CallTrace {
    tracer: Box<dyn Tracer>,
    /// Those that the course has told so far.
    paths: Paths,
    functions: Vec<Function>,
    /// The present visit, if there is one.
    visit: Visit,
    is_open: bool,
}

impl CallTrace {
    pub(crate) fn new(tracer: Box<dyn Tracer>) -> Self {
        CallTrace {
            tracer,
            paths: Paths::default(),
            functions: Vec::new(),
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
        }
    }

    /// Takes in what is new in a batch.
    pub(crate) fn extend(&mut self, course: &Course) {
        self.paths.extend(&course.paths);
        self.functions.extend_from_slice(&course.functions);
    }

    /// Functions so far, by number.
    pub(crate) fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Control takes a turn. What was counted in a visit that ended goes to its function's row.
    #[inline]
    pub(crate) fn turn(&mut self, turn: &Turn, state: &MachineState, rows: &mut Rows) {
        match turn.visit {
            VisitChange::GoesOn => {}
            VisitChange::Ends => self.end_visit(state, rows),
            VisitChange::Begins(beginning) => {
                self.end_visit(state, rows);
                let Beginning { at, path, arrival, cpu, address, stack_pointer } = beginning;
                let visit = &mut self.visit;
                (visit.at, visit.path, visit.arrival) = (at, path, arrival);
                (visit.cpu, visit.address, visit.stack_pointer) = (cpu, address, stack_pointer);
                self.is_open = true;
            }
        }
    }

    /// Tells of the present visit and counts it.
    #[inline]
    pub(crate) fn end_visit(&mut self, state: &MachineState, rows: &mut Rows) {
        if !self.is_open {
            return;
        }
        let scene = Scene { paths: &self.paths, functions: &self.functions, state };
        self.tracer.visit(&self.visit, &scene);
        let FunctionId(row) = self.paths[self.visit.path].function;
        rows.deviations[row as usize] += &self.visit.counters;
        self.visit.counters = Counters::default();
        self.is_open = false;
    }

    /// Adds what was executed in the present visit, as hits.
    #[inline]
    pub(crate) fn count(&mut self, executed: &Executed) {
        if self.is_open {
            self.visit.counters.add_hits(executed);
        }
    }

    /// Counts of the present visit; of none if there is none.
    #[inline]
    pub(crate) fn counters(&mut self) -> Option<&mut Counters> {
        self.is_open.then_some(&mut self.visit.counters)
    }

    /// An event before the next execution.
    pub(crate) fn event(&mut self, at: u64, event: &Event, counts: bool, state: &MachineState) {
        if counts {
            let scene = Scene { paths: &self.paths, functions: &self.functions, state };
            self.tracer.event(at, event, &scene);
        }
    }

    pub(crate) fn finish<N>(self, followed: Followed<N>) -> (N, Box<dyn Tracer>, CallRecord) {
        let Followed { functions, namer, paths, returns } = followed;
        (namer, self.tracer, CallRecord { paths, functions, returns })
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
