//! The records of one CPU, window by window.

use super::numbers::{Meaning, SKIPPED_NAMES, skipped_name};
use super::windows::{Window, Windows};
use crate::coverage::Coverage;
use crate::read_at::ReadAt;
use std::io;

/// Bytes of a window that are held at a time.
const CHUNK: usize = 1 << 16;
/// The longest record: head, time, seven words.
const LONGEST: usize = 4 + 8 + WORDS;
/// Bytes of the words of a record at most.
const WORDS: usize = 7 * 4;

/// A record as it is in the trace (`struct t_rec`, xen/include/public/trace.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Event number, flags and class included.
    pub(super) event: u32,
    /// What that tells.
    pub(super) meaning: Meaning,
    /// Its time, or that of the record before on this CPU.
    pub(super) time: u64,
    /// How many words it has.
    pub(super) words: u8,
    /// Its words, and behind them whatever follows.
    data: [u8; WORDS],
}

impl Record {
    const NONE: Record =
        Record { event: 0, meaning: Meaning::Skipped(0), time: 0, words: 0, data: [0; WORDS] };

    /// One of its words.
    #[inline]
    pub(super) fn word(&self, at: usize) -> Option<u32> {
        let bytes =
            self.data.as_chunks::<4>().0.get(at).filter(|_| at < usize::from(self.words))?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// Two words as a number of 64 bits.
    #[inline]
    pub(super) fn long(&self, at: usize) -> Option<u64> {
        Some(u64::from(self.word(at)?) | u64::from(self.word(at + 1)?) << 32)
    }
}

/// Reads the records of one CPU in order.
pub(super) struct Cursor {
    cpu: usize,
    /// What was read of a window, and behind it as many bytes as the longest record has, so that
    /// one may be looked at wherever it begins.
    buffer: Vec<u8>,
    /// Where the next record begins.
    at: usize,
    /// Where what was read ends.
    end: usize,
    /// What of the window is not in the buffer yet.
    rest: Window,
    /// Time of the last record that had one; 0 before the first.
    time: u64,
    /// The record that is due next.
    pub(super) record: Record,
    /// Whether also records that tell nothing about exits are gone to; they count nowhere then.
    keeps_all: bool,
    /// Records read.
    records: u64,
    /// Of them, those that tell nothing about exits, by the places of their names.
    pub(super) skipped: [u64; SKIPPED_NAMES],
}

impl Cursor {
    pub(super) fn new(cpu: usize, keeps_all: bool) -> Self {
        Cursor {
            cpu,
            buffer: vec![0; LONGEST],
            at: 0,
            end: 0,
            rest: Window { offset: 0, bytes: 0 },
            time: 0,
            record: Record::NONE,
            keeps_all,
            records: 0,
            skipped: [0; SKIPPED_NAMES],
        }
    }

    /// Goes to the next record that tells something about exits, and counts those before it by
    /// what they are; false if what was read holds none.
    #[inline]
    pub(super) fn advance(&mut self) -> bool {
        while self.decode() {
            self.records += 1;
            match self.record.meaning {
                Meaning::Skipped(place) if !self.keeps_all => {
                    self.skipped[usize::from(place)] += 1;
                }
                _ => return true,
            }
        }
        false
    }

    /// Reads on until there is such a record; false at the end of this CPU's records.
    pub(super) fn refill<F: ReadAt>(
        &mut self,
        windows: &mut Windows<F>,
        coverage: &mut Coverage,
    ) -> io::Result<bool> {
        while self.go_on(windows, coverage)? {
            if self.advance() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells what was counted since the last time.
    pub(super) fn tell(&mut self, coverage: &mut Coverage) {
        coverage.records += std::mem::take(&mut self.records);
        for (place, count) in std::mem::take(&mut self.skipped).into_iter().enumerate() {
            if count > 0 {
                coverage.skip(skipped_name(place), count);
            }
        }
    }

    /// Decodes a record; false if the buffer does not hold it whole.
    #[inline]
    fn decode(&mut self) -> bool {
        let Some(bytes) = self.buffer.get(self.at..).and_then(<[u8]>::first_chunk::<LONGEST>)
        else {
            return false;
        };
        let head = bytes.first_chunk().map_or(0, |head| u32::from_le_bytes(*head));
        let words = head >> 28 & 7;
        let timed = head >> 31 == 1;
        let mut length = 4 + 4 * words as usize;
        let mut data = &bytes[4..4 + WORDS];
        let mut time = self.time;
        if timed {
            length += 8;
            data = &bytes[12..12 + WORDS];
            time = bytes[4..].first_chunk().map_or(0, |time| u64::from_le_bytes(*time));
        }
        if self.end - self.at < length {
            return false;
        }
        self.time = time;
        self.at += length;
        self.record.event = head & 0x0fff_ffff;
        self.record.meaning = Meaning::of(self.record.event);
        self.record.words = words as u8;
        self.record.time = time;
        self.record.data.copy_from_slice(data);
        true
    }

    /// Reads more of the window, or of the next one, when the buffer holds no whole record; false
    /// at the end of this CPU's records.
    fn go_on<F: ReadAt>(
        &mut self,
        windows: &mut Windows<F>,
        coverage: &mut Coverage,
    ) -> io::Result<bool> {
        if self.rest.bytes > 0 {
            self.fill(windows, coverage)?;
            return Ok(true);
        }
        let (left, cpu) = (self.end - self.at, self.cpu);
        if left > 0 {
            coverage.fault(|| format!("a record goes beyond the end of a window of CPU {cpu}"));
            coverage.skipped_bytes += left as u64;
        }
        (self.at, self.end) = (0, 0);
        match windows.take(cpu, coverage)? {
            None => Ok(false),
            Some(window) => {
                self.rest = window;
                Ok(true)
            }
        }
    }

    fn fill<F: ReadAt>(
        &mut self,
        windows: &mut Windows<F>,
        coverage: &mut Coverage,
    ) -> io::Result<()> {
        let kept = self.end - self.at;
        self.buffer.copy_within(self.at..self.end, 0);
        let wanted = (self.rest.bytes as usize).min(CHUNK);
        if self.buffer.len() < kept + wanted + LONGEST {
            self.buffer.resize(kept + wanted + LONGEST, 0);
        }
        let count =
            windows.file.read_full(&mut self.buffer[kept..kept + wanted], self.rest.offset)?;
        (self.at, self.end) = (0, kept + count);
        self.rest.offset += count as u64;
        self.rest.bytes -= count as u32;
        if count < wanted {
            let (missing, cpu) = (self.rest.bytes, self.cpu);
            coverage.truncated.get_or_insert_with(|| {
                format!("the last window of CPU {cpu} lacks {missing} bytes")
            });
            self.rest.bytes = 0;
        }
        Ok(())
    }
}
