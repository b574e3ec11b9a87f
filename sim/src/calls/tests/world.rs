//! A machine whose frames are known: programs on a kernel, with calls, tail calls, faults,
//! interrupts, system calls, context switches, new processes and longjmps.

use crate::calls::ending::{Ending, Last};
use crate::calls::engine::{Engine, Step};
use crate::calls::stack::Context;
use crate::calls::{Arrival, Link};
use crate::functions::FunctionId;
use strata_symbols::DomainId;
use strata_workloads::trace::{Event, Interrupt, InterruptKind, SpaceId};

/// A frame as it truly is.
#[derive(Clone, Debug)]
pub(super) struct TrueFrame {
    pub(super) path: Vec<(Link, u32)>,
    pub(super) stack_pointer: u64,
    /// Where control goes on when it ends.
    pub(super) resume: (u64, u64),
}

/// A process with its stack in its program and in the kernel.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) user: Vec<TrueFrame>,
    pub(super) kernel: Vec<TrueFrame>,
}

/// Functions below are of programs, from there on of the kernel.
pub(super) const FIRST_OF_KERNEL: u32 = 50;
/// Switches from one process's kernel stack to another's.
pub(super) const SWITCH: u32 = 99;

pub(super) fn entry(function: u32) -> u64 {
    u64::from(function) << 20
}

pub(super) fn user_stack(process: usize) -> u64 {
    0x7fff_0000_0000 - (process as u64) * 0x100_0000
}

pub(super) fn kernel_stack(process: usize) -> u64 {
    0xffff_c900_0000_0000 + (process as u64) * 0x8000 + 0x4000
}

/// Carries out what it is told, and tells the engine what a trace would.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) processes: Vec<Process>,
    pub(super) present: usize,
    pub(super) address: u64,
    pub(super) fresh: u64,
    pub(super) arrival: Option<Arrival>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = World {
            engine: Engine::default(),
            processes: vec![Process::default(); 3],
            present: 0,
            address: 0,
            fresh: 0,
            arrival: None,
        };
        let base = TrueFrame {
            path: vec![(Link::Start, 1)],
            stack_pointer: user_stack(0),
            resume: (0, 0),
        };
        world.processes[0].user.push(base);
        world.go(entry(1) + 4, user_stack(0));
        world
    }

    pub(super) fn in_kernel(&self) -> bool {
        !self.processes[self.present].kernel.is_empty()
    }

    pub(super) fn stack(&mut self) -> &mut Vec<TrueFrame> {
        let process = &mut self.processes[self.present];
        if process.kernel.is_empty() { &mut process.user } else { &mut process.kernel }
    }

    pub(super) fn top(&mut self) -> TrueFrame {
        self.stack().last().unwrap().clone()
    }

    /// An address of the function on top that nothing else is at.
    pub(super) fn fresh_address(&mut self) -> u64 {
        self.fresh += 16;
        entry(self.top().path.last().unwrap().1) + 0x100 + self.fresh % 0xf_0000
    }

    pub(super) fn end(&mut self, last: Last, after: u64) {
        self.engine.ended(Ending { last, after });
    }

    /// Control comes to `address` in the function on top.
    pub(super) fn go(&mut self, address: u64, stack_pointer: u64) {
        let function = self.top().path.last().unwrap().1;
        let context = if self.in_kernel() {
            Context::Kernel(DomainId(0))
        } else {
            Context::User(DomainId(0), Some(SpaceId(self.present as u32)))
        };
        self.address = address;
        self.arrival = self.engine.step(&Step {
            address,
            stack_pointer,
            context,
            space: None,
            function: FunctionId(function),
            is_entry: address == entry(function),
            is_thunk: false,
            is_named: true,
        });
    }

    pub(super) fn push(
        &mut self,
        link: Link,
        function: u32,
        stack_pointer: u64,
        resume: (u64, u64),
    ) {
        let path = match link {
            Link::Interrupt => vec![(link, function)],
            _ => [self.top().path, vec![(link, function)]].concat(),
        };
        let frame = TrueFrame { path, stack_pointer, resume };
        if function >= FIRST_OF_KERNEL {
            self.processes[self.present].kernel.push(frame);
        } else {
            self.processes[self.present].user.push(frame);
        }
    }

    pub(super) fn own_function(&self, number: u32) -> u32 {
        // 1 to 49, and 50 to 98.
        if self.in_kernel() { FIRST_OF_KERNEL + number % 49 } else { 1 + number % 49 }
    }

    pub(super) fn call(&mut self, function: u32) {
        let returns_to = self.fresh_address();
        let stack_pointer = self.top().stack_pointer - 64;
        self.end(Last::Call, returns_to);
        self.push(Link::Call, function, stack_pointer, (returns_to, stack_pointer + 8));
        self.go(entry(function), stack_pointer);
    }

    /// Ends the frame on top, with those that jumped in its place, if a CALL made it.
    pub(super) fn ret(&mut self) {
        let call = |frame: &TrueFrame| frame.path.last().unwrap().0;
        let mut depth = self.stack().len();
        while depth > 0 && call(&self.stack()[depth - 1]) == Link::Tail {
            depth -= 1;
        }
        if depth < 2 || call(&self.stack()[depth - 1]) != Link::Call {
            return;
        }
        let (address, stack_pointer) = self.stack()[depth - 1].resume;
        self.stack().truncate(depth - 1);
        let after = self.address + 1;
        self.end(Last::Return { pops: 8 }, after);
        self.go(address, stack_pointer);
    }

    pub(super) fn tail(&mut self, function: u32) {
        let top = self.top();
        let chain = top.path.iter().rposition(|(link, _)| *link != Link::Tail).unwrap_or(0);
        let link = top.path.last().unwrap().0;
        // A jump from the frame that was found first is not seen to take its place.
        if top.path[chain..].iter().any(|(_, known)| *known == function) || link == Link::Start {
            return;
        }
        let after = self.address + 5;
        self.end(Last::Jump, after);
        self.push(Link::Tail, function, top.stack_pointer, top.resume);
        self.go(entry(function), top.stack_pointer);
    }

    /// A page fault at the first byte of the function called.
    pub(super) fn call_into_fault(&mut self, function: u32, handler: u32) {
        let returns_to = self.fresh_address();
        let stack_pointer = self.top().stack_pointer - 64;
        self.end(Last::Call, returns_to);
        let caller = self.top().path;
        self.push(Link::Call, function, stack_pointer, (returns_to, stack_pointer + 8));
        let called = std::mem::replace(&mut self.stack().last_mut().unwrap().path, caller);
        self.enter_handler(InterruptKind::Exception, handler, (entry(function), stack_pointer));
        // What was called is not known before it is executed.
        let kernel = self.processes[self.present].kernel.len();
        let at = kernel.wrapping_sub(2);
        let process = &mut self.processes[self.present];
        let frame = if function >= FIRST_OF_KERNEL {
            &mut process.kernel[at]
        } else {
            process.user.last_mut().unwrap()
        };
        frame.path = called;
    }

    /// By an interrupt or exception, handled on the kernel's stack.
    pub(super) fn interrupt(&mut self, kind: InterruptKind, function: u32) {
        let resume = (self.fresh_address(), self.top().stack_pointer - 32);
        let after = self.address + 1;
        self.end(Last::Other, after);
        self.enter_handler(kind, function, resume);
    }

    pub(super) fn enter_handler(&mut self, kind: InterruptKind, function: u32, resume: (u64, u64)) {
        let stack_pointer =
            if self.in_kernel() { resume.1 - 64 } else { kernel_stack(self.present) - 48 };
        self.engine.event(&Event::Interrupt(Interrupt {
            vector: Some(0x30),
            kind,
            error_code: None,
            resume: resume.0,
            code_segment: if self.in_kernel() { 0x10 } else { 0x33 },
            stack_before: resume.1,
            stack_after: stack_pointer,
            fault_address: 0,
            gate_segment: 0x10,
            gate_stack: 0,
        }));
        let link = match kind {
            InterruptKind::External => Link::Interrupt,
            _ => Link::Exception,
        };
        self.push(link, function, stack_pointer, resume);
        self.go(entry(function), stack_pointer);
    }

    pub(super) fn syscall(&mut self, function: u32) {
        if self.in_kernel() {
            return;
        }
        let resume = (self.fresh_address(), self.top().stack_pointer - 32);
        self.end(Last::Other, resume.0);
        self.engine.event(&Event::Syscall { number: 1 });
        let stack_pointer = kernel_stack(self.present) - 8;
        self.push(Link::Syscall, function, stack_pointer, resume);
        // It begins on the program's stack.
        self.go(entry(function), resume.1);
        let after = self.address + 9;
        self.end(Last::Other, after);
        self.go(entry(function) + 9, stack_pointer);
    }

    /// Back from where an interrupt, exception or system call came.
    pub(super) fn system_return(&mut self) {
        let link = self.top().path.last().unwrap().0;
        if !matches!(link, Link::Interrupt | Link::Exception | Link::Syscall) {
            return;
        }
        let (address, stack_pointer) = self.top().resume;
        self.stack().pop();
        let after = self.address + 2;
        self.end(Last::SystemReturn, after);
        self.go(address, stack_pointer);
    }

    /// To a process that gave up the CPU before, or one that comes in by a system call.
    pub(super) fn switch(&mut self, to: usize) {
        if !self.in_kernel() || to == self.present {
            return;
        }
        self.call(SWITCH);
        let target = &self.processes[to];
        if target.kernel.last().is_none_or(|top| top.path.last().unwrap().1 != SWITCH) {
            self.ret();
            return;
        }
        let after = self.address + 3;
        self.end(Last::Other, after);
        self.present = to;
        let stack_pointer = self.top().stack_pointer - 48;
        self.go(entry(SWITCH) + 3, stack_pointer);
        self.ret();
    }

    /// Another process appears in the middle of its program, the present one being in the kernel.
    pub(super) fn spawn(&mut self, process: usize) {
        if !self.in_kernel() || !self.processes[process].user.is_empty() {
            return;
        }
        self.call(SWITCH);
        let after = self.address + 3;
        self.end(Last::Other, after);
        self.present = process;
        // What a new kernel stack began with nobody knows.
        self.engine.step(&Step {
            address: after,
            stack_pointer: kernel_stack(process) - 8,
            context: Context::Kernel(DomainId(0)),
            space: None,
            function: FunctionId(SWITCH),
            is_entry: false,
            is_thunk: false,
            is_named: true,
        });
        self.end(Last::SystemReturn, after + 2);
        let function = 1 + process as u32;
        let base = TrueFrame {
            path: vec![(Link::Start, function)],
            stack_pointer: user_stack(process),
            resume: (0, 0),
        };
        self.processes[process].user.push(base);
        self.go(entry(function) + 4, user_stack(process));
    }

    /// Out of several calls at once.
    pub(super) fn longjmp(&mut self, frames: usize) {
        let calls = self.stack().iter().rev();
        let left = calls
            .take_while(|frame| matches!(frame.path.last().unwrap().0, Link::Call | Link::Tail))
            .count();
        let target = self.stack().len() - left.min(frames);
        if left < 2 || frames == 0 || target == 0 {
            return;
        }
        let still = self.stack()[target - 1].stack_pointer;
        let dead = self.stack()[target].stack_pointer < still;
        if !dead {
            return;
        }
        let after = self.address + 3;
        self.end(Last::Jump, after);
        self.stack().truncate(target);
        let address = self.fresh_address();
        self.go(address, still - 16);
    }

    pub(super) fn found(&self) -> Vec<(Link, u32)> {
        let path = self.engine.path().unwrap();
        let mut frames: Vec<_> =
            self.engine.paths.frames(path).map(|frame| (frame.link, frame.function.0)).collect();
        frames.reverse();
        frames
    }
}
