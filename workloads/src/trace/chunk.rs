//! A chunk: about a million instructions that can be decoded without the chunks before it.

use super::batch::{Batch, Definitions};
use super::block::ShapeId;
use super::bytes::{Bytes, put};
use super::definitions_codec::TableSizes;
use super::error::{Decoded, Malformed};
use super::event::Event;
use super::page::TranslationId;
use super::predict::{Coded, CodedSlot, Predictor, ZERO};
use super::state::MachineState;
use super::{event_codec, state_codec};

/// Names of a chunk's columns, in order.
pub(crate) const COLUMNS: [&str; 7] =
    ["head", "tokens", "shapes", "codes", "addresses", "iterations", "events"];

/// Bits of a token. 0–2 say which guess of the next shape holds (2: neither, its number follows);
/// 3 is an event.
const EVENT: u8 = 3;
const GUESSES: u8 = 3;
/// The execution's addresses are not all as predicted: codes follow.
const CODES: u8 = 4;

/// Codes of one address. Below 2 + 19 a code names the mirrored register whose value is the base.
mod code {
    /// As predicted.
    pub(super) const PREDICTED: u8 = 0;
    /// The base moved as it did the last time this slot's prediction failed.
    pub(super) const STEP: u8 = 1;
    /// The base is the value of mirrored register `code - REGISTER`.
    pub(super) const REGISTER: u8 = 2;
    /// The base differs from the predicted one by a signed number of 1, 2 or 3 bytes.
    pub(super) const NEAR: u8 = 32;
    /// The base is this sign-extended number of 6 bytes.
    pub(super) const FAR: u8 = 40;
    /// The base is this number of 8 bytes.
    pub(super) const ANY: u8 = 41;
}

/// Totals of a stretch of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Completed instructions; a `rep` counts once.
    pub instructions: u64,
    /// Iterations of `rep` instructions.
    pub rep_iterations: u64,
    /// Data accesses, those of each iteration included.
    pub data_accesses: u64,
    /// Block executions.
    pub executions: u64,
    /// Events.
    pub events: u64,
}

impl Totals {
    fn fields(&self) -> [u64; 5] {
        [self.instructions, self.rep_iterations, self.data_accesses, self.executions, self.events]
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for field in self.fields() {
            put(out, field);
        }
    }

    pub(crate) fn take(bytes: &mut Bytes<impl AsRef<[u8]>>) -> Decoded<Self> {
        Ok(Totals {
            instructions: bytes.number()?,
            rep_iterations: bytes.number()?,
            data_accesses: bytes.number()?,
            executions: bytes.number()?,
            events: bytes.number()?,
        })
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, more: Totals) {
        self.instructions = self.instructions.saturating_add(more.instructions);
        self.rep_iterations = self.rep_iterations.saturating_add(more.rep_iterations);
        self.data_accesses = self.data_accesses.saturating_add(more.data_accesses);
        self.executions = self.executions.saturating_add(more.executions);
        self.events = self.events.saturating_add(more.events);
    }
}

/// What a chunk begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    /// Everything before this chunk.
    pub before: Totals,
    /// What is in it.
    pub within: Totals,
    /// How far the tables were told before it; its own first translation has the number
    /// `tables.translations`.
    pub tables: TableSizes,
    /// The machine's state at its start.
    pub state: MachineState,
}

/// Encodes executions and events into the columns of one chunk.
#[derive(Debug)]
pub(crate) struct ChunkEncoder {
    columns: [Vec<u8>; 7],
    predictor: Predictor,
    stacks: CpuStacks,
}

/// The stack pointers of CPUs that do not run now; the predictor mirrors the running one's.
#[derive(Debug, Default)]
struct CpuStacks(Vec<u64>);

impl CpuStacks {
    fn reset(&mut self, state: &MachineState) {
        self.0.clear();
        self.0.extend(state.cpus.iter().map(|cpu| cpu.stack_pointer));
    }

    /// Follows an event that moves the stack pointer, `state` being the machine's after it.
    fn follow(&mut self, event: &Event, before: u16, state: &MachineState, p: &mut Predictor) {
        match event {
            Event::Cpu { number } => {
                if self.0.len() < state.cpus.len() {
                    self.0.resize(state.cpus.len(), 0);
                }
                self.0[usize::from(before)] = p.stack_pointer();
                p.set_stack_pointer(self.0[usize::from(*number)]);
            }
            Event::Interrupt(_) | Event::StackPointer { .. } => {
                p.set_stack_pointer(state.running().stack_pointer);
            }
            _ => {}
        }
    }
}

impl ChunkEncoder {
    pub(crate) fn new() -> Self {
        ChunkEncoder {
            columns: Default::default(),
            predictor: Predictor::new(),
            stacks: CpuStacks::default(),
        }
    }

    pub(crate) fn begin(&mut self, coded: &Coded, state: &MachineState) {
        self.columns.iter_mut().for_each(Vec::clear);
        self.predictor.reset(coded, state.running().stack_pointer);
        self.stacks.reset(state);
    }

    pub(crate) fn grow(&mut self, coded: &Coded) {
        self.predictor.grow(coded);
    }

    /// The state at this point, with the stack pointers as executions have moved them.
    pub(crate) fn settle(&mut self, state: &mut MachineState) {
        state.running_mut().stack_pointer = self.predictor.stack_pointer();
    }

    /// Appends an event and lets `state` follow it.
    pub(crate) fn event(&mut self, event: &Event, state: &mut MachineState) {
        self.settle(state);
        self.columns[1].push(EVENT);
        event_codec::encode(&mut self.columns[6], event, state);
        let before = state.cpu;
        state.apply(event);
        self.stacks.follow(event, before, state, &mut self.predictor);
    }

    /// Appends an execution with the addresses of its slots.
    pub(crate) fn execution(
        &mut self,
        id: ShapeId,
        addresses: &[u64],
        iterations: u64,
        coded: &Coded,
    ) {
        let [_, tokens, shapes, codes, far, repeats, _] = &mut self.columns;
        let p = &mut self.predictor;
        let (likely, second) = p.next(coded);
        let mut token = match id {
            _ if id == likely => 0,
            _ if id == second => 1,
            _ => {
                put(shapes, u64::from(id.0));
                2
            }
        };
        let shape = coded.shapes[id.index()];
        let first = shape.first_slot as usize;
        let slots = &coded.slots[first..first + shape.slots as usize];
        let foreseen = slots.iter().zip(addresses).all(|(slot, &address)| {
            p.registers[slot.register as usize].wrapping_add(slot.offset) == address
        });
        if !foreseen {
            token |= CODES;
            for (i, (slot, &address)) in slots.iter().zip(addresses).enumerate() {
                encode_address(p, slot, first + i, address, codes, far);
            }
        }
        tokens.push(token);
        if shape.repeats {
            put(repeats, iterations);
        }
        p.finish(&shape, coded, iterations);
        p.advance(id, coded);
    }

    /// Size of the columns so far, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(Vec::len).sum()
    }

    pub(crate) fn finish(&mut self, head: &ChunkHead) -> &[Vec<u8>; 7] {
        let out = &mut self.columns[0];
        head.before.put(out);
        head.within.put(out);
        head.tables.put(out);
        state_codec::encode(out, &head.state);
        &self.columns
    }
}

fn encode_address(
    p: &mut Predictor,
    slot: &CodedSlot,
    index: usize,
    address: u64,
    codes: &mut Vec<u8>,
    far: &mut Vec<u8>,
) {
    let base = address.wrapping_sub(slot.offset);
    let predicted = p.registers[slot.register as usize];
    let step = base.wrapping_sub(predicted);
    if step == 0 {
        codes.push(code::PREDICTED);
        return;
    }
    if step == p.steps[index] {
        codes.push(code::STEP);
    } else {
        p.steps[index] = step;
        let near = step as i64;
        if let Some(held) = p.registers[..ZERO as usize].iter().position(|&value| value == base) {
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
    if slot.register != ZERO {
        p.registers[slot.register as usize] = base;
    }
}

/// Decodes one chunk into batches.
#[derive(Debug)]
pub(crate) struct ChunkDecoder {
    head: ChunkHead,
    state: MachineState,
    predictor: Predictor,
    stacks: CpuStacks,
    tokens: Bytes<Vec<u8>>,
    shapes: Bytes<Vec<u8>>,
    codes: Bytes<Vec<u8>>,
    addresses: Bytes<Vec<u8>>,
    iterations: Bytes<Vec<u8>>,
    events: Bytes<Vec<u8>>,
    told: u32,
}

impl ChunkDecoder {
    /// Begins to decode a chunk from its columns.
    pub(crate) fn new(
        columns: Vec<Vec<u8>>,
        tables: &Definitions,
        coded: &Coded,
        recycled: Option<ChunkDecoder>,
    ) -> Decoded<Self> {
        let Ok([head, tokens, shapes, codes, addresses, iterations, events]) =
            <[Vec<u8>; 7]>::try_from(columns)
        else {
            return Err(Malformed::new("a chunk without its 7 columns"));
        };
        let head = decode_head(&head)?;
        let have = TableSizes::of(tables);
        if head.tables.translations > have.translations {
            return Err(Malformed::new(format!(
                "the chunk follows translation {}, but only {} are defined",
                head.tables.translations, have.translations
            )));
        }
        let mut predictor = recycled.map_or_else(Predictor::new, |old| old.predictor);
        predictor.reset(coded, head.state.running().stack_pointer);
        let mut stacks = CpuStacks::default();
        stacks.reset(&head.state);
        Ok(ChunkDecoder {
            state: head.state.clone(),
            told: head.tables.translations,
            head,
            predictor,
            stacks,
            tokens: Bytes::new(tokens, COLUMNS[1]),
            shapes: Bytes::new(shapes, COLUMNS[2]),
            codes: Bytes::new(codes, COLUMNS[3]),
            addresses: Bytes::new(addresses, COLUMNS[4]),
            iterations: Bytes::new(iterations, COLUMNS[5]),
            events: Bytes::new(events, COLUMNS[6]),
        })
    }

    /// What the chunk begins with.
    pub(crate) fn head(&self) -> &ChunkHead {
        &self.head
    }

    /// Appends executions to `batch` until it holds `limit` of them or the chunk ends; false when
    /// nothing was left to append.
    pub(crate) fn fill(
        &mut self,
        batch: &mut Batch,
        limit: usize,
        tables: &Definitions,
        coded: &Coded,
    ) -> Decoded<bool> {
        let mut any = false;
        while batch.shapes.len() < limit && !self.tokens.is_empty() {
            any = true;
            let token = self.tokens.byte()?;
            if token & GUESSES == EVENT {
                self.event(batch, tables)?;
            } else {
                self.execution(token, batch, coded)?;
            }
        }
        Ok(any)
    }

    fn event(&mut self, batch: &mut Batch, tables: &Definitions) -> Decoded<()> {
        self.state.running_mut().stack_pointer = self.predictor.stack_pointer();
        let next = TranslationId(self.told);
        let event = event_codec::decode(&mut self.events, &self.state, next)?;
        if matches!(event, Event::Translation(_)) {
            if next.index() >= tables.translations.len() {
                return Err(Malformed::new(format!("translation {next} is told, not defined")));
            }
            self.told += 1;
        }
        let before = self.state.cpu;
        self.state.apply(&event);
        self.stacks.follow(&event, before, &self.state, &mut self.predictor);
        batch.event(event);
        Ok(())
    }

    #[inline]
    fn execution(&mut self, token: u8, batch: &mut Batch, coded: &Coded) -> Decoded<()> {
        let p = &mut self.predictor;
        let (likely, second) = p.next(coded);
        let id = match token & GUESSES {
            0 => likely,
            1 => second,
            _ => ShapeId(self.shapes.bounded(u64::from(u32::MAX), "shape")? as u32),
        };
        let Some(&shape) = coded.shapes.get(id.index()) else {
            return Err(Malformed::new(format!("shape {id} is executed, not defined")));
        };
        batch.shapes.push(id);
        batch.stack_pointers.push(p.stack_pointer());
        let first = shape.first_slot as usize;
        let slots = &coded.slots[first..first + shape.slots as usize];
        if token & CODES == 0 {
            batch.addresses.extend(slots.iter().map(|slot| {
                p.registers[slot.register as usize].wrapping_add(slot.offset)
            }));
        } else {
            for (i, slot) in slots.iter().enumerate() {
                let base =
                    decode_base(p, slot, first + i, &mut self.codes, &mut self.addresses)?;
                batch.addresses.push(base.wrapping_add(slot.offset));
            }
        }
        let mut iterations = 0;
        if shape.repeats {
            iterations = self.iterations.number()?;
            batch.iterations.push(iterations);
        }
        p.finish(&shape, coded, iterations);
        p.advance(id, coded);
        Ok(())
    }
}

#[inline]
fn decode_base(
    p: &mut Predictor,
    slot: &CodedSlot,
    index: usize,
    codes: &mut Bytes<Vec<u8>>,
    far: &mut Bytes<Vec<u8>>,
) -> Decoded<u64> {
    let predicted = p.registers[slot.register as usize];
    let base = match codes.byte()? {
        code::PREDICTED => return Ok(predicted),
        code::STEP => predicted.wrapping_add(p.steps[index]),
        given => {
            let base = match given {
                held if held < code::REGISTER + ZERO as u8 => {
                    p.registers[usize::from(held - code::REGISTER)]
                }
                near if (code::NEAR + 1..=code::NEAR + 3).contains(&near) => {
                    let bytes = usize::from(near - code::NEAR);
                    let unused = 64 - 8 * bytes as u32;
                    let step = (far.little_endian(bytes)? << unused) as i64 >> unused;
                    predicted.wrapping_add(step as u64)
                }
                code::FAR => ((far.little_endian(6)? << 16) as i64 >> 16) as u64,
                code::ANY => far.little_endian(8)?,
                other => return Err(Malformed::new(format!("address code {other}"))),
            };
            p.steps[index] = base.wrapping_sub(predicted);
            base
        }
    };
    if slot.register != ZERO {
        p.registers[slot.register as usize] = base;
    }
    Ok(base)
}

/// Decodes a chunk's head column.
pub(crate) fn decode_head(column: &[u8]) -> Decoded<ChunkHead> {
    let mut bytes = Bytes::new(column, COLUMNS[0]);
    Ok(ChunkHead {
        before: Totals::take(&mut bytes)?,
        within: Totals::take(&mut bytes)?,
        tables: TableSizes::take(&mut bytes)?,
        state: state_codec::decode(&mut bytes)?,
    })
}
