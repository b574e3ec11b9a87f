//! Executions and events into the columns of one chunk.

use super::block::ShapeId;
use super::bytes::put;
use super::chunk::{COLUMNS, ChunkHead, code, token};
use super::event::Event;
use super::event_codec;
use super::predict::{Coded, Predictor, Registers, SlotState};
use super::state::MachineState;

/// Encodes executions and events into the columns of one chunk.
#[derive(Debug)]
pub(crate) struct ChunkEncoder {
    columns: [Vec<u8>; COLUMNS.len()],
    predictor: Predictor,
}

impl ChunkEncoder {
    pub(crate) fn new() -> Self {
        ChunkEncoder { columns: Default::default(), predictor: Predictor::new() }
    }

    pub(crate) fn begin(&mut self, coded: &Coded, state: &MachineState) {
        self.columns.iter_mut().for_each(Vec::clear);
        self.predictor.reset(coded, state.running().stack_pointer);
    }

    pub(crate) fn grow(&mut self, coded: &Coded) {
        self.predictor.grow(coded);
    }

    /// The state at this point, with the stack pointer as executions have moved it.
    pub(crate) fn settle(&self, state: &mut MachineState) {
        state.running_mut().stack_pointer = self.predictor.stack_pointer();
    }

    /// Appends an event and lets `state` follow it.
    pub(crate) fn event(&mut self, event: &Event, state: &mut MachineState) {
        self.settle(state);
        self.columns[1].push(token::EVENT);
        event_codec::encode(&mut self.columns[6], event, state);
        state.apply(event);
        self.predictor.set_stack_pointer(state.running().stack_pointer);
    }

    /// Appends an execution of shape `id`, which must be defined, with the addresses of its slots.
    pub(crate) fn execution(
        &mut self,
        id: ShapeId,
        addresses: &[u64],
        iterations: u64,
        coded: &Coded,
    ) {
        let p = &mut self.predictor;
        let [likely, second] = [p.likely(), p.second()];
        let shape = p.enter(id, coded).expect("the writer has looked the shape up");
        let [_, tokens, shapes, codes, far, repeats, _] = &mut self.columns;
        let mut token = match id {
            _ if id == likely => token::LIKELY,
            _ if id == second => token::SECOND,
            _ => {
                put(shapes, u64::from(id.0));
                token::NUMBERED
            }
        };
        let (slots, registers) = p.slots(&shape);
        let foreseen =
            slots.iter().zip(addresses).all(|(slot, &address)| registers.address(slot) == address);
        if !foreseen {
            token |= token::CODES;
            for (slot, &address) in slots.iter_mut().zip(addresses) {
                encode_address(slot, registers, address, codes, far);
            }
        }
        tokens.push(token);
        if shape.repeats {
            put(repeats, iterations);
        }
        p.finish(&shape, iterations);
        p.advance(id, &shape);
    }

    /// Size of the columns so far, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(Vec::len).sum()
    }

    pub(crate) fn finish(&mut self, head: &ChunkHead) -> &[Vec<u8>] {
        head.encode(&mut self.columns[0]);
        &self.columns
    }
}

fn encode_address(
    slot: &mut SlotState,
    registers: &mut Registers,
    address: u64,
    codes: &mut Vec<u8>,
    far: &mut Vec<u8>,
) {
    let base = address.wrapping_sub(slot.offset());
    let step = base.wrapping_sub(registers.base(slot));
    if step == 0 {
        codes.push(code::PREDICTED);
        return;
    }
    if step == slot.step() {
        codes.push(code::STEP);
    } else {
        slot.set_step(step);
        let near = step as i64;
        if let Some(held) = registers.mirrored().iter().position(|&value| value == base) {
            codes.push(code::REGISTER + held as u8);
        } else if (-(1 << 23)..1 << 23).contains(&near) {
            let bytes = match near {
                -0x80..=0x7f => 1,
                -0x8000..=0x7fff => 2,
                _ => 3,
            };
            codes.push(code::NEAR + bytes);
            far.extend_from_slice(&near.to_le_bytes()[..usize::from(bytes)]);
        } else if (base as i64) << 16 >> 16 == base as i64 {
            codes.push(code::FAR);
            far.extend_from_slice(&base.to_le_bytes()[..6]);
        } else {
            codes.push(code::ANY);
            far.extend_from_slice(&base.to_le_bytes());
        }
    }
    registers.keep(slot, base);
}
