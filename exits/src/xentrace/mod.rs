//! What xentrace wrote of Xen.
//!
//! Two layouts exist, told apart by their first bytes: today's ([`Xentrace`]), since 2007, and
//! that of Xen 3.0 ([`OldXentrace`]), in which the numbers of entry and exit are swapped.

mod cursor;
mod decode;
mod numbers;
mod old_layout;
mod probes;
mod windows;

pub use old_layout::{OldLayout, OldXentrace, looks_old};

use crate::breakdown::Watch;
use crate::coverage::Coverage;
use crate::error::Error;
use crate::event::{Event, Unit, Vcpus};
use crate::read_at::ReadAt;
use crate::source::{Source, Take};
use cursor::Cursor;
use decode::Decoder;
use probes::Probes;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use windows::Windows;

/// Reads a trace in today's layout, from a file: windows of several CPUs are read side by side.
pub struct Xentrace<F> {
    windows: Windows<F>,
    cursors: Vec<Cursor>,
    /// The CPU whose record is next; behind the last one at the end.
    current: usize,
    /// The others that have records, by the times of those: the least is on top.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// The least of those times.
    until: u64,
    decoder: Decoder,
    coverage: Coverage,
    probes: Probes,
}

/// True if a file of today's layout begins so.
pub fn looks_new(begin: &[u8]) -> bool {
    windows::window_head(begin).is_some()
}

impl<F: ReadAt> Xentrace<F> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`Error::WrongFormat`] if the file does not begin as such a trace does; those of the system.
    pub fn new(file: F) -> Result<Self, Error> {
        let mut head = [0; 12];
        let count = file.read_full(&mut head, 0)?;
        if !looks_new(&head[..count]) {
            return Err(Error::WrongFormat {
                expected: "xentrace",
                why: "its first record does not tell a CPU (0x2001f003)".to_owned(),
                remedy: "leave --from out to have the format found".to_owned(),
            });
        }
        let mut xentrace = Xentrace {
            windows: Windows::new(file),
            cursors: Vec::new(),
            current: usize::MAX,
            waiting: BinaryHeap::new(),
            until: 0,
            decoder: Decoder::default(),
            coverage: Coverage::default(),
            probes: Probes::default(),
        };
        xentrace.begin()?;
        Ok(xentrace)
    }

    /// Goes to the first record.
    fn begin(&mut self) -> Result<(), Error> {
        self.windows.first_round(&mut self.coverage)?;
        self.open_cpus()?;
        self.leave();
        Ok(())
    }

    /// Begins to read CPUs found since the last time.
    fn open_cpus(&mut self) -> Result<(), Error> {
        while self.cursors.len() < self.windows.cpus() {
            let cpu = self.cursors.len();
            let mut cursor = Cursor::new(cpu, !self.probes.is_empty());
            if cursor.refill(&mut self.windows, &mut self.coverage)? {
                self.waiting.push(Reverse((cursor.record.time, cpu)));
            }
            self.cursors.push(cursor);
        }
        self.until = self.waiting.peek().map_or(u64::MAX, |first| first.0.0);
        Ok(())
    }

    /// Goes to the CPU whose record is the first of those that wait.
    fn leave(&mut self) {
        self.current = self.waiting.pop().map_or(usize::MAX, |first| first.0.1);
        self.until = self.waiting.peek().map_or(u64::MAX, |first| first.0.0);
    }

    /// The same, and the CPU that was read last waits with its record of that time.
    fn change(&mut self, time: u64) {
        if let Some(mut first) = self.waiting.peek_mut() {
            let waits = Reverse((time, self.current));
            self.current = std::mem::replace(&mut *first, waits).0.1;
        }
        self.until = self.waiting.peek().map_or(u64::MAX, |first| first.0.0);
    }

    /// Reads more of the current CPU, whose last record was of that time, or leaves it at its end.
    #[cold]
    fn refill(&mut self, time: &mut u64) -> Result<(), Error> {
        let cursor = &mut self.cursors[self.current];
        let found = cursor.refill(&mut self.windows, &mut self.coverage)?;
        if found {
            self.coverage.clock_steps += u64::from(cursor.record.time < *time);
            *time = cursor.record.time;
        }
        self.open_cpus()?;
        if !found {
            self.leave();
            *time = 0;
        }
        Ok(())
    }

    /// Gives `take` the event of the next record, if that is one, and goes on to the record behind
    /// it; with `run`, the same with all records behind it that only tell of the vCPU that the CPU
    /// runs. False at the end.
    ///
    /// Between changes of who runs where, events of different CPUs are of different vCPUs, so that
    /// their order among each other tells nothing. To leave it saves most of the changes from one CPU
    /// to another.
    #[inline]
    fn step(&mut self, run: bool, take: &mut impl Take) -> Result<bool, Error> {
        let cpu = self.current;
        let Some(cursor) = self.cursors.get_mut(cpu) else {
            self.finish();
            return Ok(false);
        };
        let mut time = cursor.record.time;
        loop {
            let coverage = &mut self.coverage;
            if self.probes.is_empty() {
                self.decoder.decode(&cursor.record, cpu as u16, coverage, take);
            } else {
                self.decoder.decode_probed(cursor, cpu as u16, &mut self.probes, coverage);
            }
            if !cursor.advance() {
                self.refill(&mut time)?;
                break;
            }
            self.coverage.clock_steps += u64::from(cursor.record.time < time);
            time = cursor.record.time;
            if !(run && cursor.record.meaning.is_of_one_vcpu() && self.decoder.knows(cpu)) {
                break;
            }
        }
        if time > self.until {
            self.change(time);
        }
        Ok(true)
    }

    /// Tells in the coverage what the cursors counted.
    fn finish(&mut self) {
        for cursor in &mut self.cursors {
            cursor.tell(&mut self.coverage);
        }
    }
}

impl<F: ReadAt> Source for Xentrace<F> {
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.probes.next() {
                return Ok(Some(event));
            }
            let mut found = None;
            let goes_on = self.step(false, &mut |event: &Event| found = Some(*event))?;
            if found.is_some() || !goes_on {
                return Ok(found);
            }
        }
    }

    #[inline]
    fn each_event(&mut self, take: &mut impl Take) -> Result<(), Error> {
        let run = self.probes.is_empty();
        while self.step(run, take)? {
            while let Some(event) = self.probes.next() {
                take.take(&event);
            }
        }
        Ok(())
    }

    fn watch(&mut self, watch: Watch) -> Result<(), Error> {
        watch.check(true)?;
        self.probes = Probes::new(watch);
        // Records that tell nothing about exits may be probes, also those left out already.
        self.windows.restart();
        self.cursors.clear();
        self.waiting.clear();
        (self.decoder, self.coverage) = (Decoder::default(), Coverage::default());
        self.begin()
    }

    fn vcpus(&self) -> &Vcpus {
        self.decoder.vcpus()
    }

    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn unit(&self) -> Unit {
        Unit::Cycles
    }
}
