//! Follows grants: which life each use of one is for, and when it is given back.

use super::life::{Life, LifeStage};
use super::rules::Direction;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use strata_workloads::trace::GrantOperation;

// Operations of the grant-table hypercall (xen/include/public/grant_table.h).
const MAP: u8 = 0;
const UNMAP: u8 = 1;
const COPY: u8 = 5;
const UNMAP_AND_REPLACE: u8 = 7;

/// DOMID_SELF (xen/include/public/xen.h): a side of a copy that is no grant.
const SELF: u16 = 0x7ff0;

/// `__HYPERVISOR_grant_table_op` (xen/include/public/xen.h).
const GRANT_TABLE_OP: u64 = 20;

/// Bits of the sub-operation; those above count what of a copy was done (`GNTTABOP_ARG_SHIFT`, xen/common/grant_table.c).
const OPERATION_MASK: u64 = (1 << 20) - 1;

/// A list of operations that a domain handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct List {
    operation: u64,
    address: u64,
    count: u64,
}

/// Tells operations that are asked for again from new ones: when something else is urgent, the
/// hypervisor leaves a list in the middle and has its guest call once more with what is left of it.
#[derive(Debug, Default)]
pub(super) struct Continuations {
    lists: FxHashMap<u16, List>,
    /// Operations of the present list that were told before.
    left: u64,
    /// All that were told twice.
    pub(super) repeated: u64,
}

impl Continuations {
    /// A hypercall of `domain` with these arguments.
    pub(super) fn hypercall(&mut self, domain: u16, number: u64, arguments: &[u64; 5]) {
        if number != GRANT_TABLE_OP {
            return;
        }
        let [operation, address, count, ..] = *arguments;
        let list = List { operation: operation & OPERATION_MASK, address, count };
        let before = self.lists.insert(domain, list);
        let goes_on = before.is_some_and(|before| {
            let done = before.count.wrapping_sub(count);
            let bytes = address.wrapping_sub(before.address);
            before.operation == list.operation
                && count < before.count
                && (1..=done.saturating_mul(MOST_BYTES)).contains(&bytes)
                && bytes.is_multiple_of(done)
        });
        self.left = if goes_on { count } else { 0 };
    }

    /// Whether the next operation of the list was told before.
    pub(super) fn is_repeated(&mut self) -> bool {
        let is_repeated = self.left > 0;
        self.left -= u64::from(is_repeated);
        self.repeated += u64::from(is_repeated);
        is_repeated
    }
}

/// No operation takes more bytes in its list.
const MOST_BYTES: u64 = 64;

/// What an operation does to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Map { domain: u16, reference: u32, address: u64 },
    Copy { domain: u16, reference: u32, bytes: u16 },
    Unmap { address: u64 },
}

impl Use {
    /// `None` for operations that have nothing to do with packets of this direction.
    pub(super) fn of(operation: &GrantOperation, direction: Direction) -> Option<Use> {
        let GrantOperation { domain, reference, frame, other_domain, bytes, .. } = *operation;
        match (operation.operation, direction) {
            (MAP, Direction::Tx) => Some(Use::Map { domain, reference, address: frame }),
            (COPY, Direction::Tx) if domain != SELF => Some(Use::Copy { domain, reference, bytes }),
            (COPY, Direction::Rx) if other_domain != SELF => {
                Some(Use::Copy { domain: other_domain, reference: frame as u32, bytes })
            }
            (UNMAP | UNMAP_AND_REPLACE, _) => Some(Use::Unmap { address: frame }),
            _ => None,
        }
    }
}

/// Grants on their way.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Lives with grants that were not used yet, by guest, the oldest first: rings keep order.
    waiting: FxHashMap<u16, VecDeque<usize>>,
    /// Which life each mapping is of.
    mappings: FxHashMap<u64, usize>,
    /// Grants used in the present call of the driver domain, and of which life each is: a header is
    /// copied from a page that is then mapped. In another call the same reference is another grant.
    known: FxHashMap<(u16, u32), usize>,
    call: u64,
    /// Unmaps of what was not mapped for a life.
    pub(super) foreign_unmaps: u64,
}

impl Grants {
    /// The guest has granted something for a life.
    pub(super) fn granted(&mut self, lives: &mut [Life], number: usize) {
        let life = &mut lives[number];
        life.granted += 1;
        life.stage = life.stage.max(LifeStage::Granted);
        let Some(domain) = life.domain else { return };
        let waiting = self.waiting.entry(domain).or_default();
        if waiting.back() != Some(&number) {
            waiting.push_back(number);
        }
    }

    /// What follows is done in this call of the driver domain.
    pub(super) fn enter_call(&mut self, call: u64) {
        if self.call != call {
            self.call = call;
            self.known.clear();
        }
    }

    /// The life that a use of a guest's grant is for: another use of a grant just used, or else the
    /// oldest grant not used; `None` if no grant is known to be waiting.
    pub(super) fn find(&mut self, lives: &[Life], domain: u16, reference: u32) -> Option<usize> {
        if let Some(&life) = self.known.get(&(domain, reference)) {
            return Some(life);
        }
        let waiting = self.waiting.get_mut(&domain)?;
        while let Some(&number) = waiting.front() {
            if lives[number].references < lives[number].granted && !lives[number].is_closed {
                return Some(number);
            }
            waiting.pop_front();
        }
        None
    }

    /// A grant was used for a life.
    pub(super) fn used(&mut self, lives: &mut [Life], number: usize, used: Use) {
        let (domain, reference) = match used {
            Use::Map { domain, reference, .. } | Use::Copy { domain, reference, .. } => {
                (domain, reference)
            }
            Use::Unmap { .. } => return,
        };
        let life = &mut lives[number];
        life.domain = Some(domain);
        if self.known.insert((domain, reference), number) != Some(number) {
            life.references += 1;
        }
        match used {
            Use::Map { address, .. } => {
                life.mapped += 1;
                life.still_mapped += 1;
                self.mappings.insert(address, number);
            }
            Use::Copy { bytes, .. } => {
                life.copied += 1;
                life.copied_bytes += u64::from(bytes);
            }
            Use::Unmap { .. } => {}
        }
    }

    /// The life that a mapping was of, which now has one less.
    pub(super) fn unmapped(&mut self, lives: &mut [Life], address: u64) -> Option<usize> {
        let Some(number) = self.mappings.remove(&address) else {
            self.foreign_unmaps += 1;
            return None;
        };
        lives[number].still_mapped -= 1;
        Some(number)
    }

    /// Nothing is known any more of what was on its way.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.mappings.clear();
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives(count: usize) -> Vec<Life> {
        (0..count).map(|_| Life::new(Some(1), 0)).collect()
    }

    fn map(reference: u32) -> Use {
        Use::Map { domain: 1, reference, address: 0x1000 * u64::from(reference) }
    }

    #[test]
    fn uses_go_to_the_oldest_grants_whatever_their_references() {
        let (mut lives, mut grants) = (lives(2), Grants::default());
        for number in [0, 0, 1] {
            grants.granted(&mut lives, number);
        }
        for (call, reference, expected) in [(1, 7, 0), (1, 3, 0), (2, 7, 1)] {
            // The guest had 7 back and granted it again.
            grants.enter_call(call);
            assert_eq!(grants.find(&lives, 1, reference), Some(expected));
            grants.used(&mut lives, expected, map(reference));
        }
        assert_eq!(grants.find(&lives, 1, 9), None);
        assert_eq!((lives[0].references, lives[1].references), (2, 1));
    }

    #[test]
    fn what_is_left_of_a_list_is_not_taken_for_new_operations() {
        let mut calls = Continuations::default();
        let mut told = |address, count| {
            calls.hypercall(0, GRANT_TABLE_OP, &[0, address, count, 0, 0]);
            (0..count).filter(|_| calls.is_repeated()).count() as u64
        };
        assert_eq!(told(0x1000, 10), 0);
        assert_eq!(told(0x1060, 7), 7, "three of 32 bytes are done");
        assert_eq!(told(0x1000, 7), 0, "a new list in the same place");
        assert_eq!(told(0x9000, 3), 0, "a list elsewhere");
        assert_eq!(calls.repeated, 7);
    }

    #[test]
    fn a_copy_and_a_map_of_one_grant_are_one() {
        let (mut lives, mut grants) = (lives(1), Grants::default());
        grants.granted(&mut lives, 0);
        let copy = Use::Copy { domain: 1, reference: 5, bytes: 54 };
        for used in [copy, map(5)] {
            assert_eq!(grants.find(&lives, 1, 5), Some(0));
            grants.used(&mut lives, 0, used);
        }
        let life = &lives[0];
        assert_eq!((life.references, life.copied, life.still_mapped), (1, 1, 1));
    }

    #[test]
    fn an_unmap_is_known_by_its_address_and_others_are_counted() {
        let (mut lives, mut grants) = (lives(2), Grants::default());
        grants.used(&mut lives, 1, map(4));
        assert_eq!(grants.unmapped(&mut lives, 0x4000), Some(1));
        assert_eq!(grants.unmapped(&mut lives, 0x4000), None);
        assert_eq!((lives[1].still_mapped, grants.foreign_unmaps), (0, 1));
    }

    #[test]
    fn the_guests_side_of_an_operation_depends_on_the_direction() {
        let copy = |domain, other_domain| GrantOperation {
            operation: COPY,
            domain,
            reference: 10,
            frame: 20,
            other_domain,
            flags: 0,
            bytes: 60,
        };
        let of = |domain, other, direction| Use::of(&copy(domain, other), direction);
        let sent = Use::Copy { domain: 1, reference: 10, bytes: 60 };
        let received = Use::Copy { domain: 1, reference: 20, bytes: 60 };
        assert_eq!(of(1, SELF, Direction::Tx), Some(sent));
        assert_eq!(of(1, SELF, Direction::Rx), None);
        assert_eq!(of(SELF, 1, Direction::Rx), Some(received));
        assert_eq!(of(SELF, 1, Direction::Tx), None);
    }
}
