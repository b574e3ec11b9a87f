//! `rep` string instructions. Under the emulator's instruction counting each iteration is a block
//! execution of its own, and one more finds nothing left to do; without it one block execution
//! makes many. Either way they become one execution with a number of iterations.

use crate::blocks::{Index, instruction_of};
use crate::host::Host;
use crate::recorder::{Recorder, Repeating};
use strata_workloads::trace::Repeat;

/// Accesses taken out of an execution: notes and addresses.
pub(crate) type Remainder = (Vec<u64>, Vec<u64>);

impl<H: Host> Recorder<H> {
    /// Takes the iterations that the emulator has finished into account and forgets their
    /// addresses, but for the first.
    pub(crate) fn settle(&mut self) {
        let open = self.open;
        self.undouble(open);
        let Some(repeat) = self.blocks.cold(open).repeat else { return };
        let last = self.blocks.hot(open).count - 1;
        let n = repeat.accesses;
        let mut state = match self.repeating.take() {
            Some(state) => state,
            None => {
                let first = self.notes.iter().position(|&note| instruction_of(note) == last);
                let first = first.unwrap_or(self.notes.len());
                Repeating {
                    first,
                    accesses: n,
                    bytes: 0,
                    iterations: 0,
                    backward: None,
                    last: [0; 2],
                }
            }
        };
        let first = state.first;
        let base = self.batch.addresses.len() - self.notes.len();
        let mut at = if state.iterations == 0 { first } else { first + n };
        while at + n <= self.notes.len() {
            let addresses: [u64; 2] =
                std::array::from_fn(
                    |i| if i < n { self.batch.addresses[base + at + i] } else { 0 },
                );
            if state.iterations > 0 {
                let bytes = state.bytes;
                let same =
                    (0..n).all(|i| self.notes[at + i] as u32 == self.notes[first + i] as u32);
                let moves =
                    |step: u64| (0..n).all(|i| addresses[i] == state.last[i].wrapping_add(step));
                let backward = if moves(bytes) {
                    Some(false)
                } else {
                    moves(bytes.wrapping_neg()).then_some(true)
                };
                if !same
                    || backward.is_none()
                    || state.backward.is_some() && state.backward != backward
                {
                    break;
                }
                state.backward = backward;
            }
            if state.iterations == 0 {
                state.bytes = self.host.describe(self.notes[at] as u32).bytes.into();
            }
            state.last = addresses;
            state.iterations += 1;
            at += n;
        }
        // Keep the first iteration, and what does not fit.
        let keep = (first + n).min(self.notes.len());
        if state.iterations > 0 && at > keep {
            self.notes.drain(keep..at);
            self.batch.addresses.drain(base + keep..base + at);
        }
        let irregular = state.iterations > 0 && self.notes.len() - keep >= n;
        self.repeating = Some(state);
        if irregular {
            self.begin_irregular(keep);
        }
    }

    /// The addresses jump, as at the end of a segment: what was done so far is one execution, cut
    /// off; the rest one more, of the instruction alone.
    fn begin_irregular(&mut self, keep: usize) {
        let alone = self.blocks.last_instruction(self.open);
        let (notes, addresses) = self.split_off(keep);
        let completed = self.blocks.hot(self.open).count - 1;
        let running = self.running;
        self.close(completed, true);
        self.open = alone;
        self.running = running;
        self.put_back(&notes, &addresses);
        self.settle();
    }

    fn split_off(&mut self, keep: usize) -> Remainder {
        let base = self.batch.addresses.len() - self.notes.len();
        (self.notes.split_off(keep), self.batch.addresses.split_off(base + keep))
    }

    fn put_back(&mut self, notes: &[u64], addresses: &[u64]) {
        self.notes.extend(notes.iter().map(|note| note & 0xffff_ffff));
        self.batch.addresses.extend_from_slice(addresses);
    }

    /// What the open execution, whose `rep` instruction was begun, repeated. Accesses of an
    /// iteration that a fault cut off after others were whole are taken out and returned: they are
    /// an execution of their own.
    pub(crate) fn close_repeat(&mut self, interrupted: bool) -> (Repeat, u64, Option<Remainder>) {
        let Some(state) = self.repeating.take().filter(|state| state.iterations > 0) else {
            return (Repeat { slots: 0, backward: false }, 0, None);
        };
        let keep = state.first + state.accesses;
        let remainder = (interrupted && self.notes.len() > keep).then(|| self.split_off(keep));
        self.drop_accesses(keep.min(self.notes.len()));
        let slots = state.accesses as u8;
        let repeat = Repeat { slots, backward: state.backward == Some(true) };
        (repeat, state.iterations, remainder)
    }

    /// What [`close_repeat`](Self::close_repeat) took out, as an execution that was begun and left.
    pub(crate) fn close_remainder(&mut self, open: Index, (notes, addresses): &Remainder) {
        let alone = self.blocks.last_instruction(open);
        self.notes.clear();
        self.put_back(notes, addresses);
        self.push(alone, 0, true, Some(Repeat { slots: 0, backward: false }));
        self.batch.iterations.push(0);
        self.notes.clear();
    }

    /// Drops the first of the two stores that the emulator makes for each INS.
    pub(crate) fn undouble(&mut self, open: Index) {
        let Some(instruction) = self.blocks.cold(open).doubled else { return };
        let base = self.batch.addresses.len() - self.notes.len();
        let mut i = 0;
        while i + 1 < self.notes.len() {
            let twice = self.notes[i] == self.notes[i + 1]
                && self.batch.addresses[base + i] == self.batch.addresses[base + i + 1];
            let ours = instruction_of(self.notes[i]) == instruction || self.repeating.is_some();
            if twice && ours {
                self.notes.remove(i);
                self.batch.addresses.remove(base + i);
            }
            i += 1;
        }
    }
}
