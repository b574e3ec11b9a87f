//! Who called whom: paths of calls over all layers, and the visits that control pays to them.
//!
//! A *path* is a function with all that is below it on its stack: `dom1-user:write` ←
//! `dom1-kernel:ksys_write` ← `hypervisor:do_grant_table_op`. Control is always at one path; the
//! time from its coming there to its going elsewhere is a *visit*. Visits, in order, are the whole
//! stream, and everything that tells a story of it is made from them.

mod ending;
mod engine;
mod follower;
mod paths;
mod stack;
#[cfg(test)]
mod tests;
mod trace;

pub(crate) use follower::Turn;
pub use follower::{CallFollower, Course};
pub use paths::{Link, Path, PathId, Paths};
pub use trace::CallRecord;
pub(crate) use trace::{CallTrace, is_thunk};

use crate::counters::Counters;
use crate::functions::Function;
use strata_workloads::trace::{Event, MachineState};

/// How control came to where a visit begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// It was there when the stream began.
    Start,
    /// By a CALL.
    Call,
    /// By a jump to the first byte of another function, which then returns in its place.
    Tail,
    /// It ran on from the function before in memory, or jumped into the middle of this one.
    FallThrough,
    /// By a RET to the address that was pushed.
    Return,
    /// A RET or a jump left several frames at once: longjmp, exceptions of a language.
    Unwound,
    /// A RET to an address that nobody pushed: taken as a jump.
    ReturnAsJump,
    /// By a system call.
    Syscall,
    /// By a hypercall.
    Hypercall,
    /// By an exception, or INT n other than a system call.
    Exception,
    /// By an external interrupt.
    Interrupt,
    /// Back by SYSRET, IRET or VMRUN to where it had been left.
    Resumed,
    /// To a place of another context that was never left: a bounce frame, a new thread.
    Entered,
    /// To another stack without any of these: a context switch.
    Switched,
    /// The stream has a gap before it.
    Gap,
}

/// A stay of control at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Instructions since the start of the stream, before it.
    pub at: u64,
    /// Where control is.
    pub path: PathId,
    /// How it came there.
    pub arrival: Arrival,
    /// CPU.
    pub cpu: u16,
    /// Virtual address of the first instruction.
    pub address: u64,
    /// Stack pointer before it; 0 if unknown.
    pub stack_pointer: u64,
    /// What happened in it.
    pub counters: Counters,
}

/// What is known at a point of the stream.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'s> {
    /// Paths so far.
    pub paths: &'s Paths,
    /// Functions so far, by [`FunctionId`](crate::FunctionId); user code may get its name only when
    /// the stream has ended.
    pub functions: &'s [Function],
    /// State of the machine.
    pub state: &'s MachineState,
}

/// Is told of all visits and events of a stream, in order.
pub trait Tracer: std::any::Any + Send {
    /// A visit has ended. Events in it have been told before.
    fn visit(&mut self, visit: &Visit, scene: &Scene<'_>);

    /// An event after `at` instructions; the state of the machine is that after it.
    fn event(&mut self, at: u64, event: &Event, scene: &Scene<'_>) {
        let _ = (at, event, scene);
    }
}

/// Two that follow one replay.
impl<A: Tracer, B: Tracer> Tracer for (A, B) {
    fn visit(&mut self, visit: &Visit, scene: &Scene<'_>) {
        self.0.visit(visit, scene);
        self.1.visit(visit, scene);
    }

    fn event(&mut self, at: u64, event: &Event, scene: &Scene<'_>) {
        self.0.event(at, event, scene);
        self.1.event(at, event, scene);
    }
}

/// How well returns could be followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReturnReport {
    /// RETs to the address that the frame on top had pushed.
    pub matched: u64,
    /// RETs that left more frames than one.
    pub unwound: u64,
    /// RETs to an address that nobody had pushed, taken as jumps.
    pub as_jumps: u64,
    /// RETs on a stack whose frames began before the stream or before a gap.
    pub before_stream: u64,
    /// RETs of return thunks and retpolines, which are no returns.
    pub thunks: u64,
}

impl ReturnReport {
    /// All RETs that could have matched.
    pub fn all(&self) -> u64 {
        self.matched + self.unwound + self.as_jumps
    }
}
