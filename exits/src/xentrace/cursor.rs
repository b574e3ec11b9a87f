//! The records of one CPU, window by window.

use super::windows::{Window, Windows};
use crate::coverage::Coverage;
use crate::read_at::ReadAt;
use std::io;

/// Bytes of a window that are held at a time.
const CHUNK: usize = 1 << 16;
/// The longest record: head, time, seven words.
const LONGEST: usize = 4 + 8 + 7 * 4;

/// A record as it is in the trace (`struct t_rec`, xen/include/public/trace.h).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    /// Event number, flags and class included.
    pub(super) event: u32,
    /// Its time, or that of the record before on this CPU.
    pub(super) time: u64,
    pub(super) words: u8,
    pub(super) data: [u32; 7],
}

impl Record {
    pub(super) fn data(&self) -> &[u32] {
        &self.data[..usize::from(self.words)]
    }

    /// Two words as a number of 64 bits.
    pub(super) fn long(&self, at: usize) -> Option<u64> {
        let data = self.data();
        Some(u64::from(*data.get(at)?) | u64::from(*data.get(at + 1)?) << 32)
    }
}

/// Reads the records of one CPU in order.
pub(super) struct Cursor {
    cpu: usize,
    buffer: Vec<u8>,
    at: usize,
    /// What of the window is not in the buffer yet.
    rest: Window,
    /// Time of the last record that had one; `None` before the first.
    time: Option<u64>,
    /// The record that is due next.
    pub(super) record: Record,
}

impl Cursor {
    pub(super) fn new(cpu: usize) -> Self {
        let rest = Window { offset: 0, bytes: 0 };
        Cursor { cpu, buffer: Vec::new(), at: 0, rest, time: None, record: Record::default() }
    }

    /// Goes to the next record; false at the end of this CPU's records.
    pub(super) fn advance<F: ReadAt>(
        &mut self,
        windows: &mut Windows<F>,
        coverage: &mut Coverage,
    ) -> io::Result<bool> {
        loop {
            if self.buffer.len() - self.at < LONGEST && self.rest.bytes > 0 {
                self.fill(windows, coverage)?;
            }
            if self.at == self.buffer.len() {
                match windows.take(self.cpu, coverage)? {
                    None => return Ok(false),
                    Some(window) => self.rest = window,
                }
                continue;
            }
            if self.decode() {
                coverage.records += 1;
                return Ok(true);
            }
            let (left, cpu) = (self.buffer.len() - self.at, self.cpu);
            coverage.fault(|| format!("a record goes beyond the end of a window of CPU {cpu}"));
            coverage.skipped_bytes += left as u64;
            self.at = self.buffer.len();
        }
    }

    fn fill<F: ReadAt>(
        &mut self,
        windows: &mut Windows<F>,
        coverage: &mut Coverage,
    ) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let kept = self.buffer.len();
        let wanted = (self.rest.bytes as usize).min(CHUNK);
        self.buffer.resize(kept + wanted, 0);
        let count = windows.file.read_full(&mut self.buffer[kept..], self.rest.offset)?;
        self.buffer.truncate(kept + count);
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

    /// Decodes a record; false if the buffer does not hold it whole.
    #[inline]
    fn decode(&mut self) -> bool {
        let bytes = &self.buffer[self.at..];
        let Some(head) = bytes.first_chunk::<4>() else { return false };
        let head = u32::from_le_bytes(*head);
        let words = (head >> 28 & 7) as usize;
        let timed = head >> 31 == 1;
        let length = 4 + words * 4 + if timed { 8 } else { 0 };
        let Some(record) = bytes.get(4..length) else { return false };
        let mut data = record;
        if timed && let Some((time, rest)) = record.split_first_chunk::<8>() {
            self.time = Some(u64::from_le_bytes(*time));
            data = rest;
        }
        for (word, bytes) in self.record.data.iter_mut().zip(data.chunks_exact(4)) {
            // Chunks are as long as asked for.
            *word = u32::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        self.record.event = head & 0x0fff_ffff;
        self.record.words = words as u8;
        self.record.time = self.time.unwrap_or(0);
        self.at += length;
        true
    }
}
