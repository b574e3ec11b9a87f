//! Xen from the outside: who runs, and what hypercalls ask for
//! (xen/include/public/{xen,grant_table,event_channel}.h).

use crate::cpu::Watched;
use crate::memory::Memory;
use crate::options::XenLayout;
use crate::pages::read_u64;
use crate::walk::Paging;
use strata_workloads::trace::{Event, GrantOperation, Vcpu};

/// Size and alignment of a hypervisor stack.
const STACK_SIZE: u64 = 32 << 10;
/// `rsp0` in a 64-bit task state segment.
const TASK_STACK: u64 = 4;
/// `per_cpu_offset` follows `current_vcpu` in `struct cpu_info`.
const PER_CPU_OFFSET: u64 = 8;

const MULTICALL: u64 = 13;
const GRANT_TABLE: u64 = 20;
const EVENT_CHANNEL: u64 = 32;
/// Operations decoded of one hypercall; Xen's own batches are far shorter.
const MOST_OPERATIONS: u64 = 1024;
const DOMID_SELF: u16 = 0x7ff0;
const NO_DOMAIN: u16 = 0xffff;

/// Where the CPU whose task state segment is at `task` keeps who runs; `None` until Xen has set
/// the CPU up.
pub fn watched(memory: &Memory, paging: &Paging, layout: &XenLayout, task: u64) -> Option<Watched> {
    let stack = read_u64(memory, paging, task.checked_add(TASK_STACK)?)?;
    let end = (stack.checked_sub(1)? | (STACK_SIZE - 1)).checked_add(1)?;
    let current = end.checked_sub(layout.current)?;
    let offset = read_u64(memory, paging, current + PER_CPU_OFFSET)?;
    Some(Watched { current, loaded: layout.curr_vcpu.wrapping_add(offset) })
}

/// The vCPU that the pointer at `address` points to.
pub fn vcpu(memory: &Memory, paging: &Paging, layout: &XenLayout, address: u64) -> Option<Vcpu> {
    let word = |at: u64| read_u64(memory, paging, at);
    let pointer = word(address)?;
    let domain = word(pointer.wrapping_add(layout.vcpu_domain))?;
    Some(Vcpu {
        pointer,
        domain: word(domain.wrapping_add(layout.domain_id))? as u16,
        number: word(pointer.wrapping_add(layout.vcpu_id))? as u16,
    })
}

/// Appends what a hypercall's arguments in memory ask for: an event for each grant-table or
/// event-channel operation, also of those inside a multicall.
pub fn operations(
    memory: &Memory,
    paging: &Paging,
    number: u64,
    arguments: [u64; 5],
    events: &mut Vec<Event>,
) {
    let word = |at: u64| read_u64(memory, paging, at).unwrap_or(0);
    match number {
        GRANT_TABLE => {
            for i in 0..arguments[2].min(MOST_OPERATIONS) {
                events.extend(grant(arguments[0], arguments[1], i, word));
            }
        }
        EVENT_CHANNEL => events.push(event_channel(arguments[0], word(arguments[1]))),
        MULTICALL => {
            // struct multicall_entry: op, result, six arguments.
            for i in 0..arguments[1].min(MOST_OPERATIONS) {
                let entry = arguments[0].wrapping_add(i * 64);
                let inner: [u64; 5] =
                    std::array::from_fn(|j| word(entry.wrapping_add(16 + 8 * j as u64)));
                match word(entry) {
                    MULTICALL => {}
                    inner_number => operations(memory, paging, inner_number, inner, events),
                }
            }
        }
        _ => {}
    }
}

fn grant(operation: u64, array: u64, index: u64, word: impl Fn(u64) -> u64) -> Option<Event> {
    let field = |size: u64, offset: u64| word(array.wrapping_add(index * size + offset));
    let none = GrantOperation {
        operation: operation as u8,
        domain: NO_DOMAIN,
        reference: 0,
        frame: 0,
        other_domain: 0,
        flags: 0,
        bytes: 0,
    };
    Some(Event::Grant(match operation {
        // struct gnttab_map_grant_ref: host_addr, flags, ref, dom, …
        0 => GrantOperation {
            frame: field(32, 0),
            flags: field(32, 8) as u16,
            reference: (field(32, 8) >> 32) as u32,
            domain: field(32, 16) as u16,
            ..none
        },
        // struct gnttab_unmap_grant_ref and gnttab_unmap_and_replace: host_addr, …, handle.
        1 | 7 => GrantOperation { frame: field(24, 0), reference: field(24, 16) as u32, ..none },
        // struct gnttab_copy: source and dest of 16 bytes each (ref or frame, domid, offset),
        // len, flags.
        5 => {
            let last = field(40, 32);
            GrantOperation {
                domain: field(40, 8) as u16,
                reference: field(40, 0) as u32,
                frame: field(40, 16),
                other_domain: field(40, 24) as u16,
                flags: (last >> 16) as u16,
                bytes: last as u16,
                ..none
            }
        }
        _ => return None,
    }))
}

fn event_channel(operation: u64, argument: u64) -> Event {
    let (low, high) = (argument as u32, (argument >> 32) as u32);
    let (port, domain) = match operation {
        // bind_interdomain: remote_dom, remote_port.
        0 => (high, low as u16),
        // close, send, bind_vcpu, unmask: port first.
        3 | 4 | 8 | 9 => (low, NO_DOMAIN),
        // status: dom, port.
        5 => (high, low as u16),
        // alloc_unbound: dom, remote_dom.
        6 => (0, (low >> 16) as u16),
        // reset: dom.
        10 => (0, low as u16),
        _ => (0, NO_DOMAIN),
    };
    let domain = if domain == DOMID_SELF { NO_DOMAIN } else { domain };
    Event::EventChannel { operation: operation as u8, port, domain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(memory: &Memory, number: u64, arguments: [u64; 5]) -> Vec<Event> {
        let mut events = Vec::new();
        operations(memory, &Paging::default(), number, arguments, &mut events);
        events
    }

    #[test]
    fn grant_copies_name_both_ends() {
        let memory = Memory::zeroed(8192);
        for (i, word) in [0x11, 1 | 8 << 16, 0x22, 0x7ff0, 1514 | 1 << 16].into_iter().enumerate() {
            memory.store(0x1000 + 40 + 8 * i as u64, word);
        }
        let events = decode(&memory, GRANT_TABLE, [5, 0x1000, 2, 0, 0]);
        let Event::Grant(copy) = events[1] else { panic!("{events:?}") };
        assert_eq!((copy.domain, copy.reference, copy.frame), (1, 0x11, 0x22));
        assert_eq!((copy.other_domain, copy.bytes, copy.flags), (DOMID_SELF, 1514, 1));
    }

    #[test]
    fn grant_maps_name_domain_and_reference() {
        let memory = Memory::zeroed(8192);
        memory.store(0x1000, 0xffff_8880_0000_0000);
        memory.store(0x1008, 2 | 0x345 << 32);
        memory.store(0x1010, 1);
        let events = decode(&memory, GRANT_TABLE, [0, 0x1000, 1, 0, 0]);
        let Event::Grant(map) = events[0] else { panic!("{events:?}") };
        assert_eq!((map.domain, map.reference, map.flags), (1, 0x345, 2));
    }

    #[test]
    fn multicalls_are_looked_into_but_not_into_each_other() {
        let memory = Memory::zeroed(8192);
        memory.store(0x1000, EVENT_CHANNEL);
        memory.store(0x1010, 4);
        memory.store(0x1018, 0x800);
        memory.store(0x800, 17);
        memory.store(0x1040, MULTICALL);
        memory.store(0x1050, 0x1000);
        memory.store(0x1058, 1);
        let events = decode(&memory, MULTICALL, [0x1000, 2, 0, 0, 0]);
        assert_eq!(events, [Event::EventChannel { operation: 4, port: 17, domain: NO_DOMAIN }]);
    }

    #[test]
    fn who_runs_is_found_from_the_task_segment() {
        let memory = Memory::zeroed(1 << 18);
        let layout =
            XenLayout { curr_vcpu: 0x500, current: 24, vcpu_domain: 16, vcpu_id: 0, domain_id: 8 };
        memory.store(0x100, 0x1_7fa0 << 32);
        memory.store(0x108, 0);
        memory.store(0x1_8000 - 24, 0x2_0000);
        memory.store(0x1_8000 - 16, 0x40);
        memory.store(0x2_0000, 3);
        memory.store(0x2_0010, 0x2_1000);
        memory.store(0x2_1008, 0x7fff);
        let paging = Paging::default();
        let watched = watched(&memory, &paging, &layout, 0x100).unwrap();
        assert_eq!(watched, Watched { current: 0x1_8000 - 24, loaded: 0x540 });
        let current = vcpu(&memory, &paging, &layout, watched.current).unwrap();
        assert_eq!(current, Vcpu { pointer: 0x2_0000, domain: 0x7fff, number: 3 });
    }
}
