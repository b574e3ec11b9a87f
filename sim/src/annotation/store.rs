//! Millions of rows in a temporary file, any of which may still grow.
//!
//! The latest rows are in memory. A row leaves it for a record of fixed size, so that what happens
//! to it later is added in place. Counts take 32 bits there; rows with greater ones are few, since
//! each of them takes billions of instructions, and stay in memory.

use super::{Entry, Kept};
use crate::calls::{Arrival, PathId};
use crate::counters::{Counters, Level, Tally};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Rows in memory.
const WINDOW: usize = 1 << 14;

/// Rows with additions that wait to be put into the file.
const LATE: usize = 1 << 14;

/// Bytes of a record without its counts.
const HEAD: usize = 24;

/// Counts of a row.
const FIELDS: usize = 36;

pub(super) struct Store {
    file: File,
    /// Counts of each record.
    fields: usize,
    /// Number of the first row in memory; those before it are in the file.
    first: u64,
    window: VecDeque<Entry>,
    late: FxHashMap<u64, Counters>,
    /// Counts that do not fit their record.
    wide: FxHashMap<u64, Counters>,
    buffer: Vec<u8>,
}

impl Store {
    pub(super) fn new(kept: Kept) -> io::Result<Self> {
        Ok(Store {
            file: tempfile::tempfile()?,
            fields: match kept {
                Kept::Instructions => 2,
                Kept::Counters => FIELDS,
            },
            first: 0,
            window: VecDeque::new(),
            late: FxHashMap::default(),
            wide: FxHashMap::default(),
            buffer: Vec::new(),
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.first + self.window.len() as u64
    }

    /// Adds a row; gives its number.
    pub(super) fn push(&mut self, entry: Entry) -> io::Result<u64> {
        if self.window.len() >= 2 * WINDOW {
            self.spill(WINDOW)?;
        }
        let row = self.len();
        self.window.push_back(entry);
        Ok(row)
    }

    /// Adds to the counts of a row.
    pub(super) fn add(&mut self, row: u64, more: &Counters) -> io::Result<()> {
        if row >= self.first {
            self.window[(row - self.first) as usize].counters += more;
            return Ok(());
        }
        *self.late.entry(row).or_default() += more;
        if self.late.len() >= LATE { self.settle_late() } else { Ok(()) }
    }

    /// Puts everything into the file.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.spill(self.window.len())?;
        self.settle_late()
    }

    fn spill(&mut self, count: usize) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let from = self.first;
        for (row, entry) in (from..).zip(self.window.drain(..count)) {
            if encode(&entry, self.fields, &mut buffer) {
                self.wide.insert(row, entry.counters);
            }
        }
        self.first += count as u64;
        self.file.write_all_at(&buffer, from * self.record() as u64)?;
        self.buffer = buffer;
        Ok(())
    }

    fn settle_late(&mut self) -> io::Result<()> {
        let mut late: Vec<(u64, Counters)> = self.late.drain().collect();
        late.sort_unstable_by_key(|&(row, _)| row);
        let mut bytes = Vec::with_capacity(self.record());
        for (row, more) in late {
            bytes.resize(self.record(), 0);
            self.file.read_exact_at(&mut bytes, row * self.record() as u64)?;
            let mut entry = self.decode(row, &bytes)?;
            entry.counters += &more;
            bytes.clear();
            if encode(&entry, self.fields, &mut bytes) {
                self.wide.insert(row, entry.counters);
            }
            self.file.write_all_at(&bytes, row * self.record() as u64)?;
        }
        Ok(())
    }

    fn record(&self) -> usize {
        HEAD + 4 * self.fields
    }

    /// Rows of the file.
    pub(super) fn range(&self, rows: Range<u64>) -> impl Iterator<Item = io::Result<Entry>> {
        let mut rows = rows;
        let (mut bytes, mut used) = (Vec::new(), 0);
        std::iter::from_fn(move || {
            let row = rows.next()?;
            if used == bytes.len() {
                let left = rows.end - row;
                bytes.resize(left.min(WINDOW as u64) as usize * self.record(), 0);
                used = 0;
                if let Err(error) = self.file.read_exact_at(&mut bytes, row * self.record() as u64)
                {
                    rows.start = rows.end;
                    return Some(Err(error));
                }
            }
            let record = &bytes[used..used + self.record()];
            used += self.record();
            Some(self.decode(row, record))
        })
    }

    fn decode(&self, row: u64, bytes: &[u8]) -> io::Result<Entry> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a record has changed");
        let (head, counts) = bytes.split_at(HEAD);
        let word = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes);
        let (Ok(at), Ok(address), Ok(rest)) = (word(0), word(8), word(16)) else {
            return Err(damaged());
        };
        let counters = match self.wide.get(&row) {
            Some(counters) => *counters,
            None => {
                let mut fields = [0; FIELDS];
                for (field, bytes) in fields.iter_mut().zip(counts.chunks_exact(4)) {
                    *field = bytes.iter().rev().fold(0, |all, &b| all << 8 | u64::from(b));
                }
                counters_of(&fields)
            }
        };
        Ok(Entry {
            at,
            path: PathId(rest as u32),
            arrival: *ARRIVALS.get((rest >> 48) as usize).ok_or_else(damaged)?,
            cpu: (rest >> 32) as u16,
            address,
            counters,
        })
    }
}

/// Appends a record; says whether its counts are too great for it.
fn encode(entry: &Entry, fields: usize, out: &mut Vec<u8>) -> bool {
    let arrival = ARRIVALS.iter().position(|&arrival| arrival == entry.arrival).unwrap_or(0);
    let rest = u64::from(entry.path.0) | u64::from(entry.cpu) << 32 | (arrival as u64) << 48;
    for word in [entry.at, entry.address, rest] {
        out.extend(word.to_le_bytes());
    }
    let mut wide = false;
    for field in &fields_of(&entry.counters)[..fields] {
        wide |= u32::try_from(*field).is_err();
        out.extend((*field as u32).to_le_bytes());
    }
    wide
}

/// Arrivals by their number in a record.
const ARRIVALS: [Arrival; 15] = [
    Arrival::Start,
    Arrival::Call,
    Arrival::Tail,
    Arrival::FallThrough,
    Arrival::Return,
    Arrival::Unwound,
    Arrival::ReturnAsJump,
    Arrival::Syscall,
    Arrival::Hypercall,
    Arrival::Exception,
    Arrival::Interrupt,
    Arrival::Resumed,
    Arrival::Entered,
    Arrival::Switched,
    Arrival::Gap,
];

fn fields_of(counters: &Counters) -> [u64; FIELDS] {
    let Counters { instructions, rep_iterations, levels, itlb, dtlb, stlb, walks, .. } = counters;
    let Counters { walk_levels, exits, device, stale, .. } = counters;
    let levels = levels.iter().flat_map(|level| [level.instructions, level.reads, level.writes]);
    let tallies = levels.chain([*itlb, *dtlb, *stlb]).chain(*walk_levels);
    let mut all = [*instructions, *rep_iterations]
        .into_iter()
        .chain(tallies.flat_map(|tally| [tally.accesses, tally.misses]))
        .chain([*walks, *exits, *device, *stale]);
    std::array::from_fn(|_| all.next().expect("2, 15 times 2, and 4 make 36"))
}

fn counters_of(fields: &[u64; FIELDS]) -> Counters {
    let tally =
        |index: usize| Tally { accesses: fields[2 + 2 * index], misses: fields[3 + 2 * index] };
    let level = |index: usize| Level {
        instructions: tally(3 * index),
        reads: tally(3 * index + 1),
        writes: tally(3 * index + 2),
    };
    let [walks, exits, device, stale] = std::array::from_fn(|i| fields[32 + i]);
    Counters {
        instructions: fields[0],
        rep_iterations: fields[1],
        levels: std::array::from_fn(level),
        itlb: tally(9),
        dtlb: tally(10),
        stlb: tally(11),
        walks,
        walk_levels: std::array::from_fn(|i| tally(12 + i)),
        exits,
        device,
        stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(base: u64) -> Counters {
        counters_of(&std::array::from_fn(|i| base + i as u64))
    }

    fn entry(number: u64) -> Entry {
        Entry {
            at: number * 1000,
            path: PathId(number as u32),
            arrival: ARRIVALS[number as usize % ARRIVALS.len()],
            cpu: (number % 3) as u16,
            address: 0xffff_ffff_8100_0000 + number,
            counters: counters(number),
        }
    }

    fn twice(row: u64, more: u64) -> Counters {
        let mut sum = counters(row);
        sum += &counters(more);
        sum
    }

    #[test]
    fn counters_are_their_fields() {
        let fields = std::array::from_fn(|i| 7 * i as u64);
        assert_eq!(fields_of(&counters_of(&fields)), fields);
    }

    #[test]
    fn rows_come_back_with_what_was_added_to_them_early_late_and_beyond_32_bits() {
        const ROWS: u64 = 3 * WINDOW as u64 + 17;
        const WIDE: u64 = 1 << 33;
        let mut store = Store::new(Kept::Counters).unwrap();
        for row in 0..ROWS {
            assert_eq!(store.push(entry(row)).unwrap(), row);
            if row.is_multiple_of(5) {
                store.add(row, &counters(1)).unwrap();
            }
        }
        // Enough late ones that the file is updated before its end.
        for row in 0..ROWS {
            if row % 2 == 1 {
                store.add(row, &counters(if row == 7 { WIDE } else { 2 })).unwrap();
            }
        }
        store.add(7, &counters(3)).unwrap();
        store.flush().unwrap();
        assert_eq!(store.len(), ROWS);
        for (row, entry_read) in store.range(0..ROWS).enumerate() {
            let row = row as u64;
            let mut expected = entry(row);
            if row.is_multiple_of(5) {
                expected.counters += &counters(1);
            }
            if row % 2 == 1 {
                expected.counters += &counters(if row == 7 { WIDE } else { 2 });
            }
            if row == 7 {
                expected.counters += &counters(3);
            }
            assert_eq!(entry_read.unwrap(), expected);
        }
        let some: Vec<u64> = store.range(9..12).map(|entry| entry.unwrap().at).collect();
        assert_eq!(some, [9000, 10_000, 11_000]);
    }

    #[test]
    fn a_store_of_instructions_keeps_no_more_of_the_counts() {
        let mut store = Store::new(Kept::Instructions).unwrap();
        store.push(entry(5)).unwrap();
        store.add(0, &counters(6)).unwrap();
        store.flush().unwrap();
        let read = store.range(0..1).next().unwrap().unwrap();
        let all = twice(5, 6);
        let kept = Counters {
            instructions: all.instructions,
            rep_iterations: all.rep_iterations,
            ..Counters::default()
        };
        assert_eq!(read.counters, kept);
    }
}
