//! A chunk: about a million instructions that can be decoded without the chunks before it.

use super::bytes::{Bytes, put};
use super::definitions_codec::TableSizes;
use super::error::{Decoded, Malformed};
use super::state::MachineState;
use super::state_codec;

/// Names of a chunk's columns, in order.
pub(crate) const COLUMNS: [&str; 7] =
    ["head", "tokens", "shapes", "codes", "addresses", "iterations", "events"];

/// Tokens: one of the first four, and bit 2 for an execution.
pub(crate) mod token {
    /// The predictor's first guess of the next shape holds.
    pub(crate) const LIKELY: u8 = 0;
    /// Its second guess holds.
    pub(crate) const SECOND: u8 = 1;
    /// Neither guess holds: the shape's number is in its column.
    pub(crate) const NUMBERED: u8 = 2;
    /// Not an execution but an event.
    pub(crate) const EVENT: u8 = 3;
    /// Added where the execution's addresses are not all as predicted: codes follow.
    pub(crate) const CODES: u8 = 4;
}

/// Codes of one address.
pub(crate) mod code {
    /// As predicted.
    pub(crate) const PREDICTED: u8 = 0;
    /// The base moved as it did the last time this slot's prediction failed.
    pub(crate) const STEP: u8 = 1;
    /// The base is the value of mirrored register `code - REGISTER`.
    pub(crate) const REGISTER: u8 = 2;
    /// The base differs from the predicted one by a signed number of `code - NEAR` = 1, 2 or 3
    /// bytes.
    pub(crate) const NEAR: u8 = 32;
    /// The base is this sign-extended number of 6 bytes.
    pub(crate) const FAR: u8 = 40;
    /// The base is this number of 8 bytes.
    pub(crate) const ANY: u8 = 41;
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

    /// The sum, or `None` where a count would leave 64 bits.
    pub(crate) fn plus(&self, more: &Totals) -> Option<Totals> {
        Some(Totals {
            instructions: self.instructions.checked_add(more.instructions)?,
            rep_iterations: self.rep_iterations.checked_add(more.rep_iterations)?,
            data_accesses: self.data_accesses.checked_add(more.data_accesses)?,
            executions: self.executions.checked_add(more.executions)?,
            events: self.events.checked_add(more.events)?,
        })
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} instructions, {} iterations, {} data accesses, {} executions, {} events",
            self.instructions,
            self.rep_iterations,
            self.data_accesses,
            self.executions,
            self.events
        )
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

impl ChunkHead {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.before.put(out);
        self.within.put(out);
        self.tables.put(out);
        state_codec::encode(out, &self.state);
    }

    pub(crate) fn decode(column: &[u8]) -> Decoded<ChunkHead> {
        let mut bytes = Bytes::new(column, COLUMNS[0]);
        let head = ChunkHead {
            before: Totals::take(&mut bytes)?,
            within: Totals::take(&mut bytes)?,
            tables: TableSizes::take(&mut bytes)?,
            state: state_codec::decode(&mut bytes)?,
        };
        bytes.finish()?;
        if head.after().is_none() {
            return Err(Malformed::new("a chunk's counts leave 64 bits"));
        }
        Ok(head)
    }

    /// Everything up to the end of this chunk.
    pub(crate) fn after(&self) -> Option<Totals> {
        self.before.plus(&self.within)
    }
}
