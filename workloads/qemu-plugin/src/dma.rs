//! What an e1000 network card reads and writes by itself (Intel 8254x software developer's manual,
//! 3.2, 3.3 and 13). The emulator does not show it. What the card did is read from its descriptor
//! rings when the driver rings for a transmission, which the emulator carries out at once, and
//! when it asks what was received.

use crate::memory::Memory;
use strata_workloads::trace::Event;

/// QEMU's name for the card's registers.
pub const REGION: &str = "e1000-mmio";
/// The registers are this large and aligned.
const REGISTERS: u64 = 128 << 10;

const INTERRUPT_CAUSE: u64 = 0xc0;
const RECEIVE: Ring = Ring { base: 0x2800, head: 0x2810 };
const RECEIVE_TAIL: u64 = 0x2818;
const TRANSMIT: Ring = Ring { base: 0x3800, head: 0x3810 };
const TRANSMIT_TAIL: u64 = 0x3818;

const DESCRIPTOR: u64 = 16;
/// Most descriptors that a ring can have.
const MOST: u64 = 4096;
/// In a transmit descriptor's second word.
const EXTENDED: u64 = 1 << 29;
const REPORT_STATUS: u64 = 1 << 27;

/// Offsets of a ring's registers: base address (two words), length in bytes, and head.
#[derive(Clone, Copy)]
struct Ring {
    base: u64,
    head: u64,
}

/// How far the stream has been told of a card's rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCard {
    transmitted: Option<u64>,
    received: Option<u64>,
}

impl NetworkCard {
    /// The driver accessed the register at physical address `address`; `register` reads one, by
    /// its offset. Returns what the card did in memory since the last time; nothing the first
    /// time, when it is not known where it began.
    pub fn accessed(
        &mut self,
        memory: &Memory,
        address: u64,
        store: bool,
        register: impl Fn(u64) -> Option<u32>,
    ) -> Vec<Event> {
        match (address % REGISTERS, store) {
            (TRANSMIT_TAIL, true) => {
                walk(TRANSMIT, &mut self.transmitted, register, |at| transmit(memory, at))
            }
            (INTERRUPT_CAUSE, false) | (RECEIVE_TAIL, true) => {
                walk(RECEIVE, &mut self.received, register, |at| receive(memory, at))
            }
            _ => Vec::new(),
        }
    }
}

/// Linear address of the register at `offset`, given another's linear and physical address.
pub fn register_beside(linear: u64, physical: u64, offset: u64) -> u64 {
    linear.wrapping_sub(physical % REGISTERS).wrapping_add(offset)
}

/// Visits the descriptors from where it was last to the head.
fn walk(
    ring: Ring,
    last: &mut Option<u64>,
    register: impl Fn(u64) -> Option<u32>,
    descriptor: impl Fn(u64) -> Vec<Event>,
) -> Vec<Event> {
    let word = |offset| register(offset).map(u64::from);
    let read = || -> Option<(u64, u64, u64)> {
        let base = word(ring.base)? & !0xf | word(ring.base + 4)? << 32;
        Some((base, word(ring.base + 8)? / DESCRIPTOR, word(ring.head)?))
    };
    let Some((base, count, head)) = read() else { return Vec::new() };
    if head >= count || count > MOST {
        return Vec::new();
    }
    let mut at = last.replace(head).unwrap_or(head);
    let mut events = Vec::new();
    while at != head && at < count {
        events.extend(descriptor(base + at * DESCRIPTOR));
        at = (at + 1) % count;
    }
    events
}

fn dma(address: u64, bytes: u64, write: bool) -> Event {
    Event::Dma { address, bytes: bytes as u32, write }
}

fn transmit(memory: &Memory, at: u64) -> Vec<Event> {
    let (Some(buffer), Some(word)) = (memory.u64(at), memory.u64(at + 8)) else {
        return Vec::new();
    };
    let mut events = vec![dma(at, DESCRIPTOR, false)];
    // Extended descriptors are data (type 1) or context (type 0), which has no buffer.
    let bytes = match (word & EXTENDED != 0, word >> 20 & 0xf) {
        (false, _) => word & 0xffff,
        (true, 1) => word & 0xf_ffff,
        (true, _) => 0,
    };
    if bytes > 0 {
        events.push(dma(buffer, bytes, false));
    }
    if word & REPORT_STATUS != 0 {
        events.push(dma(at + 12, 4, true));
    }
    events
}

fn receive(memory: &Memory, at: u64) -> Vec<Event> {
    let (Some(buffer), Some(word)) = (memory.u64(at), memory.u64(at + 8)) else {
        return Vec::new();
    };
    vec![dma(at, DESCRIPTOR, false), dma(buffer, word & 0xffff, true), dma(at, DESCRIPTOR, true)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A card whose rings of eight are at 0x1000, with this head.
    fn registers(head: u32) -> impl Fn(u64) -> Option<u32> {
        move |offset| {
            Some(match offset {
                0x2800 | 0x3800 => 0x1000,
                0x2808 | 0x3808 => 8 * 16,
                0x2810 | 0x3810 => head,
                _ => 0,
            })
        }
    }

    #[test]
    fn a_transmission_reads_descriptor_and_buffer_and_reports() {
        let memory = Memory::zeroed(8192);
        memory.store(0x1000 + 7 * 16, 0x5000);
        memory.store(0x1008 + 7 * 16, 1514 | REPORT_STATUS);
        memory.store(0x1008, EXTENDED);
        let mut card = NetworkCard::default();
        let bar = 0xfeb8_0000;
        assert_eq!(card.accessed(&memory, bar + TRANSMIT_TAIL, true, registers(7)), []);
        assert_eq!(card.accessed(&memory, bar + TRANSMIT_TAIL, false, registers(1)), []);
        let events = card.accessed(&memory, bar + TRANSMIT_TAIL, true, registers(1));
        assert_eq!(
            events,
            [
                dma(0x1070, 16, false),
                dma(0x5000, 1514, false),
                dma(0x107c, 4, true),
                dma(0x1000, 16, false)
            ]
        );
    }

    #[test]
    fn what_was_received_is_told_when_the_driver_asks() {
        let memory = Memory::zeroed(8192);
        memory.store(0x1020, 0x6000);
        memory.store(0x1028, 60 | 3 << 32);
        let mut card = NetworkCard::default();
        card.accessed(&memory, INTERRUPT_CAUSE, false, registers(2));
        let events = card.accessed(&memory, INTERRUPT_CAUSE, false, registers(3));
        assert_eq!(events, [dma(0x1020, 16, false), dma(0x6000, 60, true), dma(0x1020, 16, true)]);
        assert_eq!(card.accessed(&memory, RECEIVE_TAIL, true, registers(3)), []);
    }

    #[test]
    fn a_ring_that_makes_no_sense_is_left_alone() {
        let memory = Memory::zeroed(8192);
        let mut card = NetworkCard::default();
        assert_eq!(card.accessed(&memory, TRANSMIT_TAIL, true, registers(9)), []);
        assert_eq!(card, NetworkCard::default());
        assert_eq!(card.accessed(&memory, TRANSMIT_TAIL, true, |_| None), []);
    }
}
