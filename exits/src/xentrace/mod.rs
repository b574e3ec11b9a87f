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
use crate::source::Source;
use cursor::Cursor;
use decode::Decoder;
use probes::Probes;
use windows::Windows;

/// Reads a trace in today's layout, from a file: windows of several CPUs are read side by side.
pub struct Xentrace<F> {
    windows: Windows<F>,
    cursors: Vec<Option<Cursor>>,
    /// The CPU whose record is next, and the time up to which no other CPU's is due.
    current: Option<(usize, u64)>,
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
            current: None,
            decoder: Decoder::default(),
            coverage: Coverage::default(),
            probes: Probes::default(),
        };
        xentrace.windows.first_round(&mut xentrace.coverage)?;
        xentrace.open_cpus()?;
        xentrace.choose();
        Ok(xentrace)
    }

    /// Begins to read CPUs found since the last time.
    fn open_cpus(&mut self) -> Result<(), Error> {
        while self.cursors.len() < self.windows.cpus() {
            let cpu = self.cursors.len();
            // Searching for the first window of a CPU would read ahead to the end.
            let mut cursor = Cursor::new(cpu);
            let has_records = cursor.advance(&mut self.windows, &mut self.coverage)?;
            self.cursors.push(has_records.then_some(cursor));
        }
        Ok(())
    }

    /// Finds the CPU whose record is next.
    fn choose(&mut self) {
        let mut first: Option<(u64, usize)> = None;
        let mut second = u64::MAX;
        for (cpu, cursor) in self.cursors.iter().enumerate() {
            let Some(cursor) = cursor else { continue };
            let time = cursor.record.time;
            match first {
                Some((least, _)) if time >= least => second = second.min(time),
                _ => {
                    second = first.map_or(second, |(least, _)| least);
                    first = Some((time, cpu));
                }
            }
        }
        self.current = first.map(|(_, cpu)| (cpu, second));
    }
}

impl<F: ReadAt> Source for Xentrace<F> {
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.probes.next() {
                return Ok(Some(event));
            }
            let Some((cpu, until)) = self.current else {
                self.decoder.tell_skipped(&mut self.coverage);
                return Ok(None);
            };
            let Some(cursor) = self.cursors[cpu].as_mut() else {
                self.choose();
                continue;
            };
            let event = match self.probes.is_empty() {
                true => self.decoder.decode(&cursor.record, cpu as u16, &mut self.coverage),
                false => {
                    let found = &mut self.probes;
                    self.decoder.decode_probed(
                        &cursor.record,
                        cpu as u16,
                        found,
                        &mut self.coverage,
                    )
                }
            };
            let time = cursor.record.time;
            if !cursor.advance(&mut self.windows, &mut self.coverage)? {
                self.cursors[cpu] = None;
                self.open_cpus()?;
                self.choose();
            } else if cursor.record.time < time {
                self.coverage.clock_steps += 1;
                self.choose();
            } else if cursor.record.time > until || self.cursors.len() < self.windows.cpus() {
                self.open_cpus()?;
                self.choose();
            }
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn watch(&mut self, watch: Watch) -> Result<(), Error> {
        watch.check(true)?;
        self.probes = Probes::new(watch);
        Ok(())
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
