//! `champsim`: the records of ChampSim's tracers, one for each instruction.
//!
//! 64 bytes, little-endian: the instruction's address; one byte each: whether it is a branch,
//! whether it was taken; 2 destination and 4 source registers; 8 bytes each: 2 addresses written
//! and 4 read, 0 for none. The variant of the CloudSuite traces has 4 destination registers, 4
//! addresses written, and at its end 2 bytes of address space and 6 unused: 96 bytes.

use super::builder::Builder;
use super::error::{ImportError, Place};
use super::input::Input;
use super::records::Records;
use super::{FormatImport, OF_ONE_PROGRAM, Taken};
use crate::trace::{AccessKind, Flow, Lacks};
use rustc_hash::FxHashMap;
use std::io::{Seek, Write};

/// x86 registers by the numbers that the tracers give them: stack pointer, instruction pointer.
const STACK_POINTER: u8 = 6;
const INSTRUCTION_POINTER: u8 = 26;
/// Longest instruction of the ISA in bytes (Intel SDM volume 2, 2.3.11).
const MAX_LENGTH: u64 = 15;

/// Records with `D` destinations.
pub(super) struct ChampSim<const N: usize, const D: usize>;

/// One instruction.
#[derive(Clone, Copy)]
struct Record<const D: usize> {
    address: u64,
    taken: bool,
    flow: Flow,
    written: [u64; D],
    read: [u64; 4],
}

impl<const N: usize, const D: usize> FormatImport for ChampSim<N, D> {
    const NAME: &str = if D == 2 { "champsim" } else { "champsim-cloudsuite" };
    const LACKS: Lacks = Lacks { sizes: true, lengths: true, modifies: true, ..OF_ONE_PROGRAM };

    fn run<W: Write + Seek>(
        input: Input,
        builder: &mut Builder<W>,
        taken: &mut Taken<'_>,
    ) -> Result<(), ImportError> {
        // How far it is from an instruction to the next is known only with the next.
        let mut held: Option<Record<D>> = None;
        let mut lengths = Lengths::default();
        Records::<N>::new(input)?.each(|bytes, place| {
            taken.tick();
            let record = Record::decode(bytes, place, Self::NAME)?;
            if let Some(before) = held.replace(record) {
                let length = lengths.of(&before, Some(record.address));
                before.put(length, builder)?;
            }
            Ok(())
        })?;
        match held {
            Some(last) => last.put(lengths.of(&last, None), builder),
            None => Ok(()),
        }
    }
}

/// The lengths of instructions, as far as the addresses of those after them show them.
#[derive(Default)]
struct Lengths {
    known: FxHashMap<u64, u8>,
}

impl Lengths {
    /// The length of `record`, which the instruction at `next` followed; 0 if it is unknown.
    fn of<const D: usize>(&mut self, record: &Record<D>, next: Option<u64>) -> u8 {
        let distance = next.map_or(0, |next| next.wrapping_sub(record.address));
        if !record.taken && (1..=MAX_LENGTH).contains(&distance) {
            let length = distance as u8;
            self.known.insert(record.address, length);
            return length;
        }
        self.known.get(&record.address).copied().unwrap_or(0)
    }
}

impl<const D: usize> Record<D> {
    fn decode(bytes: &[u8], place: Place, format: &'static str) -> Result<Self, ImportError> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let (branch, taken) = (bytes[8], bytes[9]);
        if branch > 1 || taken > 1 {
            let what = format!(
                "the marks of a branch and of its being taken are {branch} and {taken}, not 0 or 1"
            );
            return Err(ImportError::Malformed { place, what, format });
        }
        if word(0) == 0 {
            let what = "an instruction at address 0; records are of 64 bytes (champsim) or of 96 \
                        (champsim-cloudsuite)";
            return Err(ImportError::Malformed { place, what: what.into(), format });
        }
        let registers = 10;
        let memory = (registers + D + 4).next_multiple_of(8);
        let (destinations, sources) = bytes[registers..registers + D + 4].split_at(D);
        Ok(Record {
            address: word(0),
            taken: branch == 1 && taken == 1,
            flow: if branch == 1 { flow(destinations, sources) } else { Flow::Other },
            written: std::array::from_fn(|i| word(memory + 8 * i)),
            read: std::array::from_fn(|i| word(memory + 8 * (D + i))),
        })
    }

    fn put<W: Write + Seek>(
        &self,
        length: u8,
        builder: &mut Builder<W>,
    ) -> Result<(), ImportError> {
        builder.fetch(self.address, length)?;
        for &address in self.read.iter().filter(|&&address| address != 0) {
            builder.data(AccessKind::Read, address, 0, false)?;
        }
        for &address in self.written.iter().filter(|&&address| address != 0) {
            builder.data(AccessKind::Write, address, 0, false)?;
        }
        match self.flow {
            Flow::Other => Ok(()),
            flow => builder.end_block(flow),
        }
    }
}

/// A branch that moves the stack pointer is a call if it needs to know where it is, else a return.
fn flow(destinations: &[u8], sources: &[u8]) -> Flow {
    let moves_stack = sources.contains(&STACK_POINTER) && destinations.contains(&STACK_POINTER);
    if !moves_stack || !destinations.contains(&INSTRUCTION_POINTER) {
        Flow::Other
    } else if sources.contains(&INSTRUCTION_POINTER) {
        Flow::Call
    } else {
        Flow::Return
    }
}
