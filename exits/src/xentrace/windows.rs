//! Which parts of a trace belong to which CPU.
//!
//! xentrace writes what it finds in the buffer of one CPU after the other, each window behind a
//! record that tells the CPU and the window's length. Windows of a CPU follow each other in time;
//! those of different CPUs overlap.

use crate::coverage::Coverage;
use crate::read_at::ReadAt;
use std::collections::VecDeque;
use std::io;

/// The record before a window: `TRC_TRACE_CPU_CHANGE` with two words and no time.
pub(super) const CPU_CHANGE: u32 = 0x2001_f003;
/// Its length in bytes.
const HEAD: usize = 12;
/// Numbers of CPUs above are damage.
pub(super) const MOST_CPUS: u32 = 4096;
/// Lengths of windows above are damage: Xen's buffers are limited to 65,535 pages.
const LONGEST: u32 = 65_535 * 4096;
/// Bytes looked at at a time for the next window behind damage.
const SEARCH: usize = 1 << 16;

/// A part of the file with records of one CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) offset: u64,
    pub(super) bytes: u32,
}

/// Finds windows, a few ahead of what is read.
pub(super) struct Windows<F> {
    pub(super) file: F,
    next: u64,
    /// By CPU; those found and not yet taken.
    found: Vec<VecDeque<Window>>,
    ended: bool,
}

impl<F: ReadAt> Windows<F> {
    pub(super) fn new(file: F) -> Self {
        Windows { file, next: 0, found: Vec::new(), ended: false }
    }

    /// Begins again.
    pub(super) fn restart(&mut self) {
        self.next = 0;
        self.found.clear();
        self.ended = false;
    }

    /// CPUs found so far.
    pub(super) fn cpus(&self) -> usize {
        self.found.len()
    }

    /// Finds windows until one CPU comes a second time: all that wrote in the first round.
    pub(super) fn first_round(&mut self, coverage: &mut Coverage) -> io::Result<()> {
        while !self.found.iter().any(|windows| windows.len() > 1) && self.find(coverage)? {}
        Ok(())
    }

    /// The CPU's next window.
    pub(super) fn take(
        &mut self,
        cpu: usize,
        coverage: &mut Coverage,
    ) -> io::Result<Option<Window>> {
        loop {
            if let Some(window) = self.found.get_mut(cpu).and_then(VecDeque::pop_front) {
                return Ok(Some(window));
            }
            if !self.find(coverage)? {
                return Ok(None);
            }
        }
    }

    /// Finds one more window; false at the end.
    fn find(&mut self, coverage: &mut Coverage) -> io::Result<bool> {
        let mut head = [0; HEAD];
        loop {
            if self.ended {
                return Ok(false);
            }
            let count = self.file.read_full(&mut head, self.next)?;
            if count < HEAD {
                self.ended = true;
                if count > 0 {
                    coverage.skipped_bytes += count as u64;
                    coverage.truncated = Some(format!(
                        "it ends within the head of a window, {count} bytes after offset {}",
                        self.next
                    ));
                }
                return Ok(false);
            }
            let Some((cpu, bytes)) = window_head(&head) else {
                let at = self.next;
                coverage.fault(|| format!("offset {at}: a window of a CPU should begin here"));
                self.search(coverage)?;
                continue;
            };
            coverage.records += 1;
            let offset = self.next + HEAD as u64;
            self.next = offset + u64::from(bytes);
            let cpu = cpu as usize;
            if self.found.len() <= cpu {
                self.found.resize_with(cpu + 1, VecDeque::new);
            }
            if bytes > 0 {
                self.found[cpu].push_back(Window { offset, bytes });
            }
            return Ok(true);
        }
    }

    /// Goes on at the next place that looks like the head of a window.
    fn search(&mut self, coverage: &mut Coverage) -> io::Result<()> {
        let mut buffer = vec![0; SEARCH];
        let begin = self.next;
        self.next += 4;
        loop {
            let count = self.file.read_full(&mut buffer, self.next)?;
            let places = (0..(count + 1).saturating_sub(HEAD)).step_by(4);
            let head = |&at: &usize| window_head(&buffer[at..at + HEAD]).is_some();
            if let Some(at) = places.clone().find(head) {
                self.next += at as u64;
                coverage.skipped_bytes += self.next - begin;
                return Ok(());
            }
            if count < SEARCH {
                self.ended = true;
                coverage.skipped_bytes += self.next + count as u64 - begin;
                return Ok(());
            }
            self.next += places.count() as u64 * 4;
        }
    }
}

/// CPU and length in bytes, if it is the head of a window.
pub(super) fn window_head(bytes: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (event, cpu, length) = (word(0)?, word(4)?, word(8)?);
    (event == CPU_CHANGE && cpu < MOST_CPUS && length <= LONGEST && length.is_multiple_of(4))
        .then_some((cpu, length))
}
