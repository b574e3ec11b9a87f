//! Paravirtualized guests and their hypervisor.

use super::world::entry;
use crate::calls::ending::{Ending, Last};
use crate::calls::engine::{Engine, Step};
use crate::calls::stack::Context;
use crate::calls::{Arrival, Link};
use crate::functions::FunctionId;
use strata_symbols::DomainId;
use strata_workloads::trace::Event;

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
