//! One chunk's columns into batches.

use super::batch::{Batch, Definitions};
use super::block::ShapeId;
use super::bytes::Bytes;
use super::chunk::{COLUMNS, ChunkHead, Totals, code, token};
use super::definitions_codec::TableSizes;
use super::error::{Decoded, Malformed};
use super::event::Event;
use super::event_codec;
use super::page::TranslationId;
use super::predict::{Coded, CodedShape, Predictor, Registers, SlotState};
use super::state::MachineState;

/// Block executions in one batch: large enough that a virtual call per batch costs nothing, small
/// enough to stay in the second-level cache.
pub const BATCH_EXECUTIONS: usize = 1 << 13;
/// A batch ends early when it holds this many addresses or events: it stays small whatever the
/// shapes are.
const BATCH_ADDRESSES: usize = 1 << 17;
const BATCH_EVENTS: usize = 1 << 15;

/// Decodes one chunk into batches.
#[derive(Debug)]
pub(crate) struct ChunkDecoder {
    head: ChunkHead,
    state: MachineState,
    predictor: Predictor,
    tokens: Bytes<Vec<u8>>,
    shapes: Bytes<Vec<u8>>,
    codes: Bytes<Vec<u8>>,
    addresses: Bytes<Vec<u8>>,
    iterations: Bytes<Vec<u8>>,
    events: Bytes<Vec<u8>>,
    told: u32,
    so_far: Totals,
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
            <[Vec<u8>; COLUMNS.len()]>::try_from(columns)
        else {
            return Err(Malformed::new(format!("a chunk without its {} columns", COLUMNS.len())));
        };
        let head = ChunkHead::decode(&head)?;
        let have = TableSizes::of(tables);
        if !head.tables.is_within(&have) {
            return Err(Malformed::new(format!(
                "the chunk follows tables of {:?}, but only {have:?} are defined",
                head.tables
            )));
        }
        let mut predictor = recycled.map_or_else(Predictor::new, |old| old.predictor);
        predictor.reset(coded, head.state.running().stack_pointer);
        Ok(ChunkDecoder {
            state: head.state.clone(),
            told: head.tables.translations,
            head,
            predictor,
            tokens: Bytes::new(tokens, COLUMNS[1]),
            shapes: Bytes::new(shapes, COLUMNS[2]),
            codes: Bytes::new(codes, COLUMNS[3]),
            addresses: Bytes::new(addresses, COLUMNS[4]),
            iterations: Bytes::new(iterations, COLUMNS[5]),
            events: Bytes::new(events, COLUMNS[6]),
            so_far: Totals::default(),
        })
    }

    /// What the chunk begins with.
    pub(crate) fn head(&self) -> &ChunkHead {
        &self.head
    }

    /// Number of translations told by what has been decoded.
    pub(crate) fn told(&self) -> u32 {
        self.told
    }

    /// The machine's state after what has been decoded.
    pub(crate) fn state(&self) -> MachineState {
        let mut state = self.state.clone();
        state.running_mut().stack_pointer = self.predictor.stack_pointer();
        state
    }

    /// The columns of a chunk that has been decoded, for their memory.
    pub(crate) fn take_columns(&mut self) -> Vec<Vec<u8>> {
        let columns = [
            &mut self.tokens,
            &mut self.shapes,
            &mut self.codes,
            &mut self.addresses,
            &mut self.iterations,
            &mut self.events,
        ];
        columns.map(|column| std::mem::take(column).into_inner()).into()
    }

    /// Appends executions and events to `batch`, which must be empty, until it is full or the chunk
    /// ends; false when nothing was left to append.
    pub(crate) fn fill(
        &mut self,
        batch: &mut Batch,
        tables: &Definitions,
        coded: &Coded,
    ) -> Decoded<bool> {
        if self.tokens.is_empty() {
            return Ok(false);
        }
        let mut instructions = 0;
        while batch.shapes.len() < BATCH_EXECUTIONS
            && batch.addresses.len() < BATCH_ADDRESSES
            && batch.events.len() < BATCH_EVENTS
            && !self.tokens.is_empty()
        {
            let token = self.tokens.byte()?;
            if token == token::EVENT {
                self.event(batch, tables)?;
            } else {
                instructions += self.execution(token, batch, coded)?;
            }
        }
        self.so_far.instructions += instructions;
        self.so_far.executions += batch.shapes.len() as u64;
        self.so_far.events += batch.events.len() as u64;
        // What repeats have added or left out was counted as they went by.
        let accesses = &mut self.so_far.data_accesses;
        *accesses = accesses.wrapping_add(batch.addresses.len() as u64);
        if self.tokens.is_empty() {
            self.finish()?;
        }
        Ok(true)
    }

    /// As [`fill`](Self::fill), of shapes and events only; the other columns may be empty. What
    /// events tell of the stack pointer is then wrong.
    pub(crate) fn fill_outline(
        &mut self,
        batch: &mut Batch,
        tables: &Definitions,
        coded: &Coded,
    ) -> Decoded<bool> {
        if self.tokens.is_empty() {
            return Ok(false);
        }
        let mut instructions = 0;
        while batch.shapes.len() < BATCH_EXECUTIONS
            && batch.events.len() < BATCH_EVENTS
            && !self.tokens.is_empty()
        {
            let token = self.tokens.byte()?;
            if token == token::EVENT {
                self.event(batch, tables)?;
                continue;
            }
            let (id, shape) = self.shape(token, coded)?;
            batch.shapes.push(id);
            self.predictor.advance(id, &shape);
            instructions += u64::from(shape.completed);
        }
        self.so_far.instructions += instructions;
        self.so_far.executions += batch.shapes.len() as u64;
        self.so_far.events += batch.events.len() as u64;
        if self.tokens.is_empty() {
            let Totals { rep_iterations, data_accesses, .. } = self.head.within;
            (self.so_far.rep_iterations, self.so_far.data_accesses) =
                (rep_iterations, data_accesses);
            [&self.shapes, &self.events].into_iter().try_for_each(Bytes::finish)?;
            self.hold_against_head()?;
        }
        Ok(true)
    }

    /// Holds the decoded chunk against what its head promised.
    fn finish(&self) -> Decoded<()> {
        for column in [&self.shapes, &self.codes, &self.addresses, &self.iterations, &self.events] {
            column.finish()?;
        }
        self.hold_against_head()
    }

    fn hold_against_head(&self) -> Decoded<()> {
        if self.so_far != self.head.within {
            return Err(Malformed::new(format!(
                "the chunk holds {}, but its head says {}",
                self.so_far, self.head.within
            )));
        }
        Ok(())
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
        self.state.apply(&event);
        self.predictor.set_stack_pointer(self.state.running().stack_pointer);
        batch.event(event);
        Ok(())
    }

    /// Decodes one execution; returns the instructions it completed.
    #[inline]
    fn execution(&mut self, token: u8, batch: &mut Batch, coded: &Coded) -> Decoded<u64> {
        let (id, shape) = self.shape(token, coded)?;
        let p = &mut self.predictor;
        batch.shapes.push(id);
        let (slots, registers) = p.slots(&shape);
        if token & token::CODES == 0 {
            batch.addresses.extend(slots.iter().map(|slot| registers.address(slot)));
        } else {
            let codes = self.codes.take(slots.len())?;
            for (slot, &code) in slots.iter_mut().zip(codes) {
                let base = decode_base(slot, registers, code, &mut self.addresses)?;
                batch.addresses.push(base.wrapping_add(slot.offset()));
            }
        }
        // After the addresses, since those on the stack may have put it right.
        batch.stack_pointers.push(p.stack_pointer());
        let mut iterations = 0;
        if shape.repeats {
            iterations = self.repeat(&shape)?;
            batch.iterations.push(iterations);
        }
        let p = &mut self.predictor;
        p.finish(&shape, iterations);
        p.advance(id, &shape);
        Ok(u64::from(shape.completed))
    }

    /// The shape that an execution's token tells of, made ready for use.
    #[inline(always)]
    fn shape(&mut self, token: u8, coded: &Coded) -> Decoded<(ShapeId, CodedShape)> {
        let p = &mut self.predictor;
        let id = match token & !token::CODES {
            token::LIKELY => p.likely(),
            token::SECOND => p.second(),
            token::NUMBERED => ShapeId(self.shapes.bounded(u64::from(u32::MAX), "shape")? as u32),
            _ => return Err(Malformed::new(format!("token {token:#x}"))),
        };
        match p.enter(id, coded) {
            Some(shape) => Ok((id, shape)),
            None => Err(Malformed::new(format!("shape {id} is executed, not defined"))),
        }
    }

    /// Reads the number of iterations of an execution of `shape` and counts what they did.
    fn repeat(&mut self, shape: &CodedShape) -> Decoded<u64> {
        let left = self.head.within.rep_iterations - self.so_far.rep_iterations;
        let iterations = self.iterations.bounded(left, "number of iterations left in the chunk")?;
        self.so_far.rep_iterations += iterations;
        let repeated = u64::from(shape.repeated_slots);
        // Once per slot is counted with the addresses.
        let accesses = &mut self.so_far.data_accesses;
        *accesses = accesses.wrapping_add(iterations.wrapping_sub(1).wrapping_mul(repeated));
        Ok(iterations)
    }
}

#[inline]
fn decode_base(
    slot: &mut SlotState,
    registers: &mut Registers,
    code: u8,
    far: &mut Bytes<Vec<u8>>,
) -> Decoded<u64> {
    let predicted = registers.base(slot);
    let base = match code {
        code::PREDICTED => return Ok(predicted),
        code::STEP => predicted.wrapping_add(slot.step()),
        told => {
            let base = match told {
                code::FAR => ((far.little_endian(6)? << 16) as i64 >> 16) as u64,
                code::ANY => far.little_endian(8)?,
                near if (code::NEAR + 1..=code::NEAR + 3).contains(&near) => {
                    let bytes = usize::from(near - code::NEAR);
                    let unused = 64 - 8 * bytes as u32;
                    let step = (far.little_endian(bytes)? << unused) as i64 >> unused;
                    predicted.wrapping_add(step as u64)
                }
                held => match registers.mirrored().get(usize::from(held - code::REGISTER)) {
                    Some(&value) => value,
                    None => return Err(Malformed::new(format!("address code {held}"))),
                },
            };
            slot.set_step(base.wrapping_sub(predicted));
            base
        }
    };
    registers.keep(slot, base);
    Ok(base)
}
