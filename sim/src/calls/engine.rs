//! Follows calls, returns and everything else that takes control from one frame to another.
//!
//! The rules are in `docs/calls.md`, with what they were taken from.

mod returns;

use super::ending::{Ending, Last};
use super::paths::{Link, PathId, Paths};
use super::stack::{Context, Frame, How, Resume, StackId, Stacks};
use super::{Arrival, ReturnReport};
use crate::functions::FunctionId;
use rustc_hash::FxHashMap;
use strata_workloads::trace::{Event, InterruptKind, SpaceId};

/// What is executed next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Virtual address of the first instruction.
    pub(super) address: u64,
    /// Stack pointer before it.
    pub(super) stack_pointer: u64,
    pub(super) context: Context,
    /// Address space.
    pub(super) space: Option<SpaceId>,
    pub(super) function: FunctionId,
    /// It begins at the function's first byte.
    pub(super) is_entry: bool,
    /// The function is a thunk of the kernel or hypervisor that jumps or returns for others.
    pub(super) is_thunk: bool,
    /// The function's name is known; code without one is one function as long as its frame lasts.
    pub(super) is_named: bool,
}

/// An event between two executions that takes control elsewhere.
#[derive(Clone, Copy, Debug)]
enum Pending {
    /// `None`: where the last execution ended.
    Gate {
        link: Link,
        resume: Option<Resume>,
    },
    VmRun,
    VmExit,
    Gap,
}

/// Where control is known to stay as long as nothing but jumps within the function happens.
#[derive(Clone, Copy, Debug)]
struct Calm {
    function: FunctionId,
    space: Option<SpaceId>,
    /// A stack pointer of the frame, and the highest that it can have.
    near: u64,
    highest: u64,
}

/// What is known of one CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    calm: Option<Calm>,
    stack: Option<StackId>,
    last: Option<Ending>,
    pending: Option<Pending>,
    was_thunk: bool,
}

/// Functions whose name is known.
#[derive(Debug, Default)]
struct Named(Vec<bool>);

impl Named {
    fn contains(&self, FunctionId(number): FunctionId) -> bool {
        self.0.get(number as usize).copied().unwrap_or(false)
    }

    fn note(&mut self, FunctionId(number): FunctionId) {
        if self.0.len() <= number as usize {
            self.0.resize(number as usize + 1, false);
        }
        self.0[number as usize] = true;
    }
}

/// Stacks of the whole machine.
#[derive(Debug, Default)]
pub(super) struct Engine {
    pub(super) paths: Paths,
    named: Named,
    stacks: Stacks,
    cpus: FxHashMap<u16, Cpu>,
    number: u16,
    cpu: Cpu,
    pub(super) returns: ReturnReport,
}

impl Engine {
    /// Takes note of an event before the next execution.
    pub(super) fn event(&mut self, event: &Event) {
        let gate = |link, resume| Some(Pending::Gate { link, resume });
        let pending = match *event {
            Event::Interrupt(interrupt) => {
                let link = match (interrupt.kind, interrupt.vector) {
                    (InterruptKind::External, _) => Link::Interrupt,
                    // INT1, INT3 and INTO are traps of a debugger or a program's own.
                    (InterruptKind::Software, Some(vector)) if vector > 4 => Link::Syscall,
                    (InterruptKind::Software | InterruptKind::Exception, _) => Link::Exception,
                };
                let (address, stack_pointer) = (interrupt.resume, interrupt.stack_before);
                gate(link, Some(Resume { address, stack_pointer }))
            }
            Event::Syscall { .. } => gate(Link::Syscall, None),
            // What a nested guest asks for by VMCALL has left it by #VMEXIT.
            Event::Hypercall { .. } if self.cpu.pending.is_none() => gate(Link::Hypercall, None),
            Event::VmRun { .. } => Some(Pending::VmRun),
            Event::VmExit { .. } => Some(Pending::VmExit),
            Event::Gap { .. } => Some(Pending::Gap),
            Event::Cpu { number } => {
                self.cpus.insert(self.number, self.cpu);
                self.number = number;
                self.cpu = self.cpus.get(&number).copied().unwrap_or_default();
                return;
            }
            _ => return,
        };
        self.cpu.pending = pending;
    }

    /// Whether control stays in the frame where it is, as [`Engine::step`] would find at more cost.
    #[inline]
    pub(super) fn stays(
        &self,
        function: FunctionId,
        space: Option<SpaceId>,
        stack_pointer: u64,
    ) -> bool {
        // Smaller than any stack that is told apart.
        const NEAR_BYTES: u64 = 1 << 14;
        let Some(calm) = self.cpu.calm else { return false };
        self.cpu.pending.is_none()
            && matches!(self.cpu.last, Some(Ending { last: Last::Other | Last::Jump, .. }))
            && calm.function == function
            && calm.space == space
            && stack_pointer <= calm.highest
            && (stack_pointer ^ calm.near) < NEAR_BYTES
    }

    /// Follows control to the next execution; `None` if it stays where it is.
    pub(super) fn step(&mut self, step: &Step) -> Option<Arrival> {
        if step.is_named {
            self.named.note(step.function);
        }
        let arrival = match (self.cpu.pending.take(), self.cpu.stack, self.cpu.last) {
            (Some(Pending::Gap), ..) => Some(self.after_gap(step)),
            (pending, Some(stack), Some(last)) => match pending {
                Some(Pending::Gate { link, resume }) => {
                    let resume = resume.unwrap_or(Resume {
                        address: last.after,
                        stack_pointer: step.stack_pointer,
                    });
                    self.complete(stack, last, resume);
                    Some(self.gate(stack, link, resume, step))
                }
                Some(Pending::VmRun) => {
                    let at = self.stacks[stack].at;
                    self.leave(stack, last.after, at);
                    Some(self.come_back(step, None))
                }
                Some(Pending::VmExit) => {
                    let at = self.stacks[stack].at;
                    self.leave(stack, last.after, at);
                    Some(self.back_in_hypervisor(step))
                }
                _ => self.by_instruction(stack, last, step),
            },
            _ => Some(self.start(step, Arrival::Start)),
        };
        if let Some(stack) = self.cpu.stack {
            self.stacks[stack].at = step.stack_pointer;
        }
        self.cpu.was_thunk = step.is_thunk;
        self.cpu.calm = self.cpu.stack.and_then(|stack| {
            let top = self.stacks[stack].top()?;
            let is_settled = top.how != How::Found
                && step.stack_pointer <= top.stack_pointer
                && self.paths[top.path].function == step.function;
            is_settled.then_some(Calm {
                function: step.function,
                space: step.space,
                near: step.stack_pointer,
                highest: top.stack_pointer,
            })
        });
        arrival
    }

    /// The execution ends so.
    pub(super) fn ended(&mut self, ending: Ending) {
        self.cpu.last = Some(ending);
    }

    /// The path that control is at.
    pub(super) fn path(&self) -> Option<PathId> {
        Some(self.stacks[self.cpu.stack?].top()?.path)
    }

    /// CPU that runs.
    pub(super) fn cpu(&self) -> u16 {
        self.number
    }

    /// Runs on into `function` within one execution.
    pub(super) fn run_into(&mut self, function: FunctionId) -> Option<Arrival> {
        self.cpu.calm = None;
        let stack = self.cpu.stack?;
        self.rename_top(stack, function)
    }

    fn by_instruction(&mut self, stack: StackId, last: Ending, step: &Step) -> Option<Arrival> {
        if last.last == Last::SystemReturn {
            return Some(self.system_return(stack, step));
        }
        if self.stacks[stack].context != step.context {
            // Another context without an event that says why.
            return Some(self.come_back(step, None));
        }
        let (stack, switched) = self.follow_stack(stack, step);
        let arrival = match last.last {
            Last::Return { pops } => Some(self.ret(stack, pops, step)),
            Last::Call if step.address != last.after => Some(self.call(stack, last.after, step)),
            _ => self.run_on(stack, last, step),
        };
        match arrival {
            None if switched => Some(Arrival::Switched),
            other => other,
        }
    }

    /// The first execution on a stack of which nothing is known.
    fn start(&mut self, step: &Step, arrival: Arrival) -> Arrival {
        let stack = self.stacks.find(step.context, step.stack_pointer);
        self.cpu.stack = Some(stack);
        let path = self.paths.on(None, Link::Start, step.function);
        self.push(stack, path, step.stack_pointer, How::Found);
        arrival
    }

    fn after_gap(&mut self, step: &Step) -> Arrival {
        for id in self.stacks.ids() {
            let stack = &mut self.stacks[id];
            stack.frames.clear();
            stack.left = None;
            stack.has_unknown_base = true;
        }
        self.start(step, Arrival::Gap)
    }

    fn push(&mut self, stack: StackId, path: PathId, stack_pointer: u64, how: How) {
        self.stacks[stack].frames.push(Frame { path, stack_pointer, how, is_coming: false });
    }

    fn leave(&mut self, stack: StackId, address: u64, stack_pointer: u64) {
        self.stacks[stack].left = Some(Resume { address, stack_pointer });
    }

    /// The stack that the stack pointer is on now, and whether that is another.
    fn follow_stack(&mut self, stack: StackId, step: &Step) -> (StackId, bool) {
        if self.stacks.is_on(stack, step.context, step.stack_pointer) {
            return (stack, false);
        }
        let target = self.stacks.find(step.context, step.stack_pointer);
        let old = &mut self.stacks[stack];
        // Entries begin on the stack of what they interrupt, or on one for all, and go on from there
        // to the thread's, which is then empty.
        if let [frame] = old.frames[..]
            && frame.is_gate()
        {
            old.frames.clear();
            let frame = Frame { stack_pointer: step.stack_pointer, ..frame };
            let new = &mut self.stacks[target];
            new.frames.retain(|below| below.stack_pointer > step.stack_pointer);
            new.frames.push(frame);
            new.has_unknown_base = false;
        } else {
            let path = old.top().map(|top| top.path);
            let at = old.at;
            if let [frame] = old.frames[..]
                && frame.how == How::Found
            {
                // A stack for interrupts: whoever borrows it next comes from elsewhere.
                old.frames.clear();
            } else {
                self.leave(stack, step.address, at);
            }
            let new = &mut self.stacks[target];
            new.drop_dead(|frame| frame < step.stack_pointer);
            if new.frames.is_empty()
                && let Some(path) = path
            {
                // What is called next is above it, and a return leaves it.
                self.push(target, path, step.stack_pointer + 1, How::Found);
            }
        }
        self.cpu.stack = Some(target);
        (target, true)
    }

    fn call(&mut self, stack: StackId, returns_to: u64, step: &Step) -> Arrival {
        self.stacks[stack].drop_dead(|frame| frame <= step.stack_pointer);
        let below = self.stacks[stack].top().map(|top| top.path);
        let within =
            below.filter(|&below| !step.is_entry && self.paths[below].function == step.function);
        let path = within.unwrap_or_else(|| self.paths.on(below, Link::Call, step.function));
        self.push(stack, path, step.stack_pointer, How::Call { returns_to });
        Arrival::Call
    }

    fn run_on(&mut self, stack: StackId, last: Ending, step: &Step) -> Option<Arrival> {
        let Some(&top) = self.stacks[stack].top() else {
            self.arrive_on(stack, step);
            return Some(Arrival::FallThrough);
        };
        // A longjmp, or a hypervisor that begins its stack anew: the frame's return address is gone.
        if top.stack_pointer < step.stack_pointer && top.how == How::Found {
            // Where its return address is was not seen.
            if let Some(top) = self.stacks[stack].frames.last_mut() {
                top.stack_pointer = step.stack_pointer;
            }
        } else if top.stack_pointer < step.stack_pointer && !top.is_gate() {
            self.stacks[stack].drop_dead(|frame| frame < step.stack_pointer);
            self.arrive_on(stack, step);
            return Some(Arrival::Unwound);
        }
        if self.is_same(top.path, step) {
            return None;
        }
        let jumps_to_entry = last.last == Last::Jump && step.is_entry;
        if jumps_to_entry && top.stack_pointer == step.stack_pointer && top.how != How::Found {
            self.tail(stack, step);
            return Some(Arrival::Tail);
        }
        self.rename_top(stack, step.function)
    }

    /// A jump in the place of a call; back to a function of the same chain of such jumps ends those
    /// above it.
    fn tail(&mut self, stack: StackId, step: &Step) {
        let frames = &self.stacks[stack].frames;
        let chain = frames.iter().rposition(|frame| frame.how != How::Tail).unwrap_or(0);
        let again = frames[chain..]
            .iter()
            .position(|frame| self.paths[frame.path].function == step.function);
        if let Some(again) = again {
            self.stacks[stack].frames.truncate(chain + again + 1);
            return;
        }
        let below = self.stacks[stack].top().map(|top| top.path);
        let path = self.paths.on(below, Link::Tail, step.function);
        self.push(stack, path, step.stack_pointer, How::Tail);
    }

    /// Control is in `function` without having left the frame on top.
    fn rename_top(&mut self, stack: StackId, function: FunctionId) -> Option<Arrival> {
        let top = *self.stacks[stack].frames.last()?;
        let path = self.paths[top.path];
        let renamed = if top.is_coming {
            self.paths.on(Some(top.path), Link::Call, function)
        } else if path.function == function {
            return None;
        } else {
            self.paths.on(path.below, path.link, function)
        };
        if let Some(top) = self.stacks[stack].frames.last_mut() {
            top.path = renamed;
            top.is_coming = false;
        }
        Some(Arrival::FallThrough)
    }

    /// Whether control has stayed in the function on top of a path.
    fn is_same(&self, path: PathId, step: &Step) -> bool {
        let function = self.paths[path].function;
        function == step.function || !step.is_named && !self.named.contains(function)
    }

    /// Makes the frame on top that of the function where control now is.
    fn arrive_on(&mut self, stack: StackId, step: &Step) {
        self.cpu.stack = Some(stack);
        self.stacks[stack].left = None;
        if self.stacks[stack].frames.is_empty() {
            let path = self.paths.on(None, Link::Start, step.function);
            self.push(stack, path, step.stack_pointer, How::Found);
        } else if !self.stacks[stack]
            .top()
            .is_some_and(|top| !top.is_coming && self.is_same(top.path, step))
        {
            self.rename_top(stack, step.function);
        }
    }

    /// Through a gate from `from`, to come back to `resume`.
    fn gate(&mut self, from: StackId, link: Link, resume: Resume, step: &Step) -> Arrival {
        let below = match link {
            Link::Interrupt => None,
            _ => self.stacks[from].top().map(|top| top.path),
        };
        self.stacks[from].left = Some(resume);
        let path = self.paths.on(below, link, step.function);
        let target = self.stacks.find(step.context, step.stack_pointer);
        let comes_from_outside = self.stacks[from].context != step.context;
        let stack = &mut self.stacks[target];
        if comes_from_outside {
            // The stack of a kernel or hypervisor is empty while others run.
            if step.context.is_hypervisor() {
                stack.frames.clear();
            } else {
                stack.frames.retain(|frame| frame.stack_pointer > step.stack_pointer);
            }
            stack.has_unknown_base = false;
        }
        self.push(target, path, step.stack_pointer, How::Gate { resume, from: Some(from) });
        self.cpu.stack = Some(target);
        match link {
            Link::Syscall => Arrival::Syscall,
            Link::Hypercall => Arrival::Hypercall,
            Link::Interrupt => Arrival::Interrupt,
            _ => Arrival::Exception,
        }
    }

    /// IRET, SYSRET or SYSEXIT: back to where something was left, or to a place of another's choice.
    fn system_return(&mut self, from: StackId, step: &Step) -> Arrival {
        let context = self.stacks[from].context;
        let cause = self.stacks[from].frames.iter().find(|frame| frame.is_gate()).copied();
        if context == step.context
            && let Some(at) = self.stacks[from].gate_to(step.address, step.stack_pointer)
        {
            return self.end_gate(from, at, step);
        }
        if context.is_hypervisor() || matches!(step.context, Context::User(..)) {
            self.stacks[from].frames.clear();
        }
        self.come_back(step, cause)
    }

    /// Ends the gate at `at` and what is above it.
    fn end_gate(&mut self, on: StackId, at: usize, step: &Step) -> Arrival {
        self.stacks[on].frames.truncate(at);
        let stack = self.stacks.find(step.context, step.stack_pointer);
        self.arrive_on(stack, step);
        Arrival::Resumed
    }

    /// Control comes to another context: to where that was left, or else, because of `cause`, to a
    /// new place.
    fn come_back(&mut self, step: &Step, cause: Option<Frame>) -> Arrival {
        let (address, stack_pointer) = (step.address, step.stack_pointer);
        // What was entered in the meantime in its domain is over.
        let mut ended = false;
        if let Some(domain) = step.context.domain() {
            for id in self.stacks.of(Context::Kernel(domain)).collect::<Vec<_>>() {
                if let Some(at) = self.stacks[id].gate_to(address, stack_pointer) {
                    self.stacks[id].frames.truncate(at);
                    ended = true;
                }
            }
        }
        let was_left = |stack: StackId| {
            self.stacks[stack].left.is_some_and(|left| left.stack_pointer == stack_pointer)
        };
        let left = self.stacks.of(step.context).find(|&stack| was_left(stack));
        if let Some(stack) = left {
            let on = &mut self.stacks[stack];
            on.drop_dead(|frame| frame < stack_pointer);
            self.arrive_on(stack, step);
            return Arrival::Resumed;
        }
        let stack = self.stacks.find(step.context, stack_pointer);
        if ended {
            self.arrive_on(stack, step);
            return Arrival::Resumed;
        }
        self.enter(stack, step, cause)
    }

    /// A place that was never left: a bounce frame, a new thread.
    fn enter(&mut self, stack: StackId, step: &Step, cause: Option<Frame>) -> Arrival {
        self.cpu.stack = Some(stack);
        let on = &mut self.stacks[stack];
        on.drop_dead(|frame| frame <= step.stack_pointer);
        on.has_unknown_base &= !on.frames.is_empty();
        let left = on.left.take();
        // A kernel is entered for others, a program only where it was left itself.
        let is_for = |from: StackId| match step.context {
            Context::Kernel(domain) => self.stacks[from].context.domain() == Some(domain),
            _ => from == stack,
        };
        let (below, link, how) = match (cause, left) {
            (Some(Frame { path, how: How::Gate { resume, from: Some(from) }, .. }), _)
                if is_for(from) =>
            {
                let path = self.paths[path];
                let how = How::Gate { resume, from: Some(from) };
                match path.link {
                    Link::Syscall | Link::Exception => (path.below, path.link, how),
                    // An event that was waiting is no consequence of the hypercall that it follows.
                    _ => (None, Link::Interrupt, how),
                }
            }
            // It slept where it left, and is woken here before it goes on there.
            (_, Some(resume)) => (None, Link::Interrupt, How::Gate { resume, from: Some(stack) }),
            _ => (None, Link::Start, How::Found),
        };
        let path = self.paths.on(below, link, step.function);
        self.push(stack, path, step.stack_pointer, how);
        Arrival::Entered
    }

    /// #VMEXIT: the hypervisor goes on behind VMRUN.
    fn back_in_hypervisor(&mut self, step: &Step) -> Arrival {
        let stack = self.stacks.find(step.context, step.stack_pointer);
        self.stacks[stack].drop_dead(|frame| frame < step.stack_pointer);
        self.arrive_on(stack, step);
        Arrival::Resumed
    }
}
