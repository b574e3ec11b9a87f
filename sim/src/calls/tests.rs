//! The engine against machines whose frames are known.

use super::ending::{Ending, Last};
use super::engine::{Engine, Step};
use super::stack::Context;
use super::{Arrival, Link};
use crate::functions::FunctionId;
use proptest::prelude::*;
use strata_symbols::DomainId;
use strata_workloads::trace::{Event, GapReason, Interrupt, InterruptKind, SpaceId};

/// A frame as it truly is.
#[derive(Clone, Debug)]
struct TrueFrame {
    path: Vec<(Link, u32)>,
    stack_pointer: u64,
    /// Where control goes on when it ends.
    resume: (u64, u64),
}

/// A process with its stack in its program and in the kernel.
#[derive(Clone, Debug, Default)]
struct Process {
    user: Vec<TrueFrame>,
    kernel: Vec<TrueFrame>,
}

/// Functions below are of programs, from there on of the kernel.
const FIRST_OF_KERNEL: u32 = 50;
/// Switches from one process's kernel stack to another's.
const SWITCH: u32 = 99;

fn entry(function: u32) -> u64 {
    u64::from(function) << 20
}

fn user_stack(process: usize) -> u64 {
    0x7fff_0000_0000 - (process as u64) * 0x100_0000
}

fn kernel_stack(process: usize) -> u64 {
    0xffff_c900_0000_0000 + (process as u64) * 0x8000 + 0x4000
}

/// Carries out what it is told, and tells the engine what a trace would.
struct World {
    engine: Engine,
    processes: Vec<Process>,
    present: usize,
    address: u64,
    fresh: u64,
    arrival: Option<Arrival>,
}

impl World {
    fn new() -> Self {
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

    fn in_kernel(&self) -> bool {
        !self.processes[self.present].kernel.is_empty()
    }

    fn stack(&mut self) -> &mut Vec<TrueFrame> {
        let process = &mut self.processes[self.present];
        if process.kernel.is_empty() { &mut process.user } else { &mut process.kernel }
    }

    fn top(&mut self) -> TrueFrame {
        self.stack().last().unwrap().clone()
    }

    /// An address of the function on top that nothing else is at.
    fn fresh_address(&mut self) -> u64 {
        self.fresh += 16;
        entry(self.top().path.last().unwrap().1) + 0x100 + self.fresh % 0xf_0000
    }

    fn end(&mut self, last: Last, after: u64) {
        self.engine.ended(Ending { last, after });
    }

    /// Control comes to `address` in the function on top.
    fn go(&mut self, address: u64, stack_pointer: u64) {
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

    fn push(&mut self, link: Link, function: u32, stack_pointer: u64, resume: (u64, u64)) {
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

    fn own_function(&self, number: u32) -> u32 {
        // 1 to 49, and 50 to 98.
        if self.in_kernel() { FIRST_OF_KERNEL + number % 49 } else { 1 + number % 49 }
    }

    fn call(&mut self, function: u32) {
        let returns_to = self.fresh_address();
        let stack_pointer = self.top().stack_pointer - 64;
        self.end(Last::Call, returns_to);
        self.push(Link::Call, function, stack_pointer, (returns_to, stack_pointer + 8));
        self.go(entry(function), stack_pointer);
    }

    /// Ends the frame on top, with those that jumped in its place, if a CALL made it.
    fn ret(&mut self) {
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

    fn tail(&mut self, function: u32) {
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
    fn call_into_fault(&mut self, function: u32, handler: u32) {
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
    fn interrupt(&mut self, kind: InterruptKind, function: u32) {
        let resume = (self.fresh_address(), self.top().stack_pointer - 32);
        let after = self.address + 1;
        self.end(Last::Other, after);
        self.enter_handler(kind, function, resume);
    }

    fn enter_handler(&mut self, kind: InterruptKind, function: u32, resume: (u64, u64)) {
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

    fn syscall(&mut self, function: u32) {
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
    fn system_return(&mut self) {
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
    fn switch(&mut self, to: usize) {
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
    fn spawn(&mut self, process: usize) {
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
    fn longjmp(&mut self, frames: usize) {
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

    fn found(&self) -> Vec<(Link, u32)> {
        let path = self.engine.path().unwrap();
        let mut frames: Vec<_> =
            self.engine.paths.frames(path).map(|frame| (frame.link, frame.function.0)).collect();
        frames.reverse();
        frames
    }
}

#[derive(Clone, Debug)]
enum Deed {
    Call(u32),
    Return,
    CallIntoFault(u32, u32),
    Tail(u32),
    Interrupt(InterruptKind, u32),
    Syscall(u32),
    SystemReturn,
    Switch(usize),
    Spawn(usize),
    Longjmp(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let kind = prop_oneof![Just(InterruptKind::External), Just(InterruptKind::Exception)];
    let one = prop_oneof![
        8 => any::<u32>().prop_map(Deed::Call),
        8 => Just(Deed::Return),
        3 => any::<u32>().prop_map(Deed::Tail),
        1 => (any::<u32>(), 0..48u32).prop_map(|(callee, number)| Deed::CallIntoFault(callee, number)),
        2 => (kind, 0..48u32).prop_map(|(kind, number)| Deed::Interrupt(kind, number)),
        2 => (0..48u32).prop_map(Deed::Syscall),
        4 => Just(Deed::SystemReturn),
        2 => (0..3usize).prop_map(Deed::Switch),
        1 => (1..3usize).prop_map(Deed::Spawn),
        1 => (0..5usize).prop_map(Deed::Longjmp),
    ];
    proptest::collection::vec(one, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_known_call_graph_comes_back_exactly(deeds in deeds()) {
        let mut world = World::new();
        for (at, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Call(number) => world.call(world.own_function(number)),
                Deed::Return => world.ret(),
                Deed::CallIntoFault(callee, number) => {
                    world.call_into_fault(world.own_function(callee), FIRST_OF_KERNEL + number);
                }
                Deed::Tail(number) => world.tail(world.own_function(number)),
                Deed::Interrupt(kind, number) => world.interrupt(kind, FIRST_OF_KERNEL + number),
                Deed::Syscall(number) => world.syscall(FIRST_OF_KERNEL + number),
                Deed::SystemReturn => world.system_return(),
                Deed::Switch(to) => world.switch(to),
                Deed::Spawn(process) => world.spawn(process),
                Deed::Longjmp(frames) => world.longjmp(frames),
            }
            prop_assert_eq!(world.found(), world.top().path, "after deed {}", at);
        }
        let returns = world.engine.returns;
        prop_assert_eq!(
            (returns.as_jumps, returns.unwound, returns.before_stream, returns.thunks),
            (0, 0, 0, 0)
        );
    }
}

#[test]
fn nested_interrupts_inside_calls_end_where_they_began() {
    let mut world = World::new();
    world.call(5);
    world.syscall(60);
    world.call(61);
    world.interrupt(InterruptKind::External, 70);
    world.call(71);
    world.interrupt(InterruptKind::Exception, 80);
    let nested = [(Link::Interrupt, 70), (Link::Call, 71), (Link::Exception, 80)];
    assert_eq!(world.found(), nested);
    world.system_return();
    world.ret();
    world.system_return();
    assert_eq!(world.arrival, Some(Arrival::Resumed));
    let below = [(Link::Start, 1), (Link::Call, 5), (Link::Syscall, 60), (Link::Call, 61)];
    assert_eq!(world.found(), below);
    world.ret();
    world.system_return();
    assert_eq!(world.found(), [(Link::Start, 1), (Link::Call, 5)]);
}

#[test]
fn a_retpoline_is_a_jump_and_not_a_return() {
    let mut world = World::new();
    world.call(5);
    // call __x86_indirect_thunk; in it: call 1f; 1f: mov %rax,(%rsp); ret.
    let (thunk, top) = (40, world.top().stack_pointer);
    let returns_to = world.fresh_address();
    world.end(Last::Call, returns_to);
    let mut step = Step {
        address: entry(thunk),
        stack_pointer: top - 72,
        context: Context::User(DomainId(0), Some(SpaceId(0))),
        space: Some(SpaceId(0)),
        function: FunctionId(thunk),
        is_entry: true,
        is_thunk: true,
        is_named: true,
    };
    world.engine.step(&step);
    world.end(Last::Call, entry(thunk) + 5);
    (step.address, step.stack_pointer, step.is_entry) = (entry(thunk) + 12, top - 80, false);
    world.engine.step(&step);
    world.end(Last::Return { pops: 8 }, entry(thunk) + 17);
    let target = Step {
        address: entry(9),
        stack_pointer: top - 72,
        function: FunctionId(9),
        is_entry: true,
        is_thunk: false,
        ..step
    };
    assert_eq!(world.engine.step(&target), Some(Arrival::ReturnAsJump));
    assert_eq!(world.found(), [(Link::Start, 1), (Link::Call, 5), (Link::Call, 9)]);
    world.end(Last::Return { pops: 8 }, entry(9) + 1);
    let back = Step {
        address: returns_to,
        stack_pointer: top - 64,
        function: FunctionId(5),
        is_entry: false,
        ..target
    };
    assert_eq!(world.engine.step(&back), Some(Arrival::Return));
    assert_eq!((world.engine.returns.thunks, world.engine.returns.matched), (1, 1));
}

#[test]
fn nothing_is_invented_behind_a_gap() {
    let mut world = World::new();
    world.call(5);
    world.call(6);
    world.engine.event(&Event::Gap { reason: GapReason::Lost, instructions: 0 });
    let (address, stack_pointer) = (entry(6) + 3, world.top().stack_pointer);
    world.go(address, stack_pointer);
    assert_eq!((world.arrival, world.found()), (Some(Arrival::Gap), vec![(Link::Start, 6)]));
    world.ret();
    assert_eq!(world.found(), [(Link::Start, 5)]);
    assert_eq!(world.engine.returns.before_stream, 1);
}

/// Steps of a paravirtualized guest and its hypervisor.
struct Guest {
    engine: Engine,
}

const KERNEL: Context = Context::Kernel(DomainId(1));
const PROGRAM: Context = Context::User(DomainId(1), None);
const XEN: Context = Context::Hypervisor(0);

impl Guest {
    fn new() -> Self {
        Guest { engine: Engine::default() }
    }

    /// Control comes to the function's first byte, or behind it.
    fn at(
        &mut self,
        context: Context,
        function: u32,
        offset: u64,
        stack_pointer: u64,
    ) -> Option<Arrival> {
        self.engine.step(&Step {
            address: entry(function) + offset,
            stack_pointer,
            context,
            space: None,
            function: FunctionId(function),
            is_entry: offset == 0,
            is_thunk: false,
            is_named: true,
        })
    }

    fn end(&mut self, last: Last, function: u32, offset: u64) {
        self.engine.ended(Ending { last, after: entry(function) + offset });
    }

    fn found(&self) -> Vec<(Link, u32)> {
        let path = self.engine.path().unwrap();
        let frames = self.engine.paths.frames(path).map(|frame| (frame.link, frame.function.0));
        let mut frames: Vec<_> = frames.collect();
        frames.reverse();
        frames
    }
}

const KERNEL_SP: u64 = 0xffff_c900_0000_3f00;
const USER_SP: u64 = 0x7fff_0000_0000;

#[test]
fn a_hypercall_is_below_its_caller_and_a_waiting_event_is_not() {
    let mut guest = Guest::new();
    guest.at(KERNEL, 60, 0, KERNEL_SP);
    guest.end(Last::Other, 60, 2);
    guest.engine.event(&Event::Hypercall { number: 20, arguments: [0; 5] });
    assert_eq!(guest.at(XEN, 200, 0, KERNEL_SP), Some(Arrival::Hypercall));
    assert_eq!(guest.found(), [(Link::Start, 60), (Link::Hypercall, 200)]);
    guest.end(Last::Call, 200, 9);
    guest.at(XEN, 201, 0, 0xffff_8300_0000_7f00);
    guest.end(Last::Return { pops: 8 }, 201, 5);
    assert_eq!(guest.at(XEN, 200, 9, 0xffff_8300_0000_7f08), Some(Arrival::Return));
    // On the way back Xen delivers an event: a frame bounced onto the kernel's stack.
    guest.end(Last::SystemReturn, 200, 12);
    assert_eq!(guest.at(KERNEL, 70, 0, KERNEL_SP - 64), Some(Arrival::Entered));
    assert_eq!(guest.found(), [(Link::Interrupt, 70)]);
    guest.end(Last::Call, 70, 5);
    guest.at(KERNEL, 71, 0, KERNEL_SP - 80);
    guest.end(Last::Return { pops: 8 }, 71, 5);
    guest.at(KERNEL, 70, 5, KERNEL_SP - 72);
    // The handler ends by the hypercall iret, which comes back behind the first hypercall.
    guest.end(Last::Other, 70, 7);
    guest.engine.event(&Event::Hypercall { number: 23, arguments: [0; 5] });
    guest.at(XEN, 200, 0, KERNEL_SP - 72);
    guest.end(Last::SystemReturn, 200, 12);
    assert_eq!(guest.at(KERNEL, 60, 2, KERNEL_SP), Some(Arrival::Resumed));
    assert_eq!(guest.found(), [(Link::Start, 60)]);
    assert_eq!(guest.engine.returns.matched, 2);
    assert_eq!(guest.engine.returns.as_jumps + guest.engine.returns.before_stream, 0);
}

#[test]
fn a_programs_system_call_goes_through_xen_to_its_kernel_and_back() {
    let mut guest = Guest::new();
    guest.at(PROGRAM, 5, 0, USER_SP);
    guest.end(Last::Other, 5, 2);
    guest.engine.event(&Event::Syscall { number: 1 });
    guest.at(XEN, 200, 0, USER_SP);
    assert_eq!(guest.found(), [(Link::Start, 5), (Link::Syscall, 200)]);
    guest.end(Last::SystemReturn, 200, 12);
    assert_eq!(guest.at(KERNEL, 80, 0, KERNEL_SP), Some(Arrival::Entered));
    assert_eq!(guest.found(), [(Link::Start, 5), (Link::Syscall, 80)]);
    guest.end(Last::Other, 80, 30);
    guest.engine.event(&Event::Hypercall { number: 23, arguments: [0; 5] });
    guest.at(XEN, 200, 0, KERNEL_SP);
    assert_eq!(guest.found().len(), 3);
    guest.end(Last::SystemReturn, 200, 12);
    assert_eq!(guest.at(PROGRAM, 5, 2, USER_SP), Some(Arrival::Resumed));
    assert_eq!(guest.found(), [(Link::Start, 5)]);
}

#[test]
fn a_guest_that_slept_in_a_hypercall_goes_on_there_after_the_event_that_woke_it() {
    let mut guest = Guest::new();
    guest.at(KERNEL, 60, 0, KERNEL_SP);
    guest.end(Last::Call, 60, 5);
    guest.at(KERNEL, 61, 0, KERNEL_SP - 8);
    guest.end(Last::Other, 61, 2);
    guest.engine.event(&Event::Hypercall { number: 29, arguments: [0; 5] });
    guest.at(XEN, 200, 0, KERNEL_SP - 8);
    // Another domain runs, and its interrupt wakes the first.
    guest.end(Last::SystemReturn, 200, 12);
    let other = Context::Kernel(DomainId(0));
    guest.at(other, 90, 0, 0xffff_c900_0100_3f00);
    guest.end(Last::Other, 90, 3);
    guest.engine.event(&Event::Hypercall { number: 29, arguments: [0; 5] });
    guest.at(XEN, 200, 0, 0xffff_c900_0100_3f00);
    guest.end(Last::SystemReturn, 200, 12);
    assert_eq!(guest.at(KERNEL, 70, 0, KERNEL_SP - 72), Some(Arrival::Entered));
    assert_eq!(guest.found(), [(Link::Interrupt, 70)]);
    guest.end(Last::Other, 70, 7);
    guest.engine.event(&Event::Hypercall { number: 23, arguments: [0; 5] });
    guest.at(XEN, 200, 0, KERNEL_SP - 72);
    guest.end(Last::SystemReturn, 200, 12);
    assert_eq!(guest.at(KERNEL, 61, 2, KERNEL_SP - 8), Some(Arrival::Resumed));
    guest.end(Last::Return { pops: 8 }, 61, 3);
    assert_eq!(guest.at(KERNEL, 60, 5, KERNEL_SP), Some(Arrival::Return));
    assert_eq!(guest.found(), [(Link::Start, 60)]);
}
