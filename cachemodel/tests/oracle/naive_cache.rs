//! A cache from its definition: sets of lines, each with the time of its last use.

/// A line that is held.
#[derive(Debug, Clone, Copy)]
struct Line {
    number: u64,
    dirty: bool,
    used: u64,
}

/// A cache that searches everything, always.
#[derive(Debug)]
pub(crate) struct NaiveCache {
    line_bytes: u64,
    ways: usize,
    sets: Vec<Vec<Line>>,
    now: u64,
}

/// A line that was not there, and the changed one that went for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missing {
    pub(crate) dirty_victim: Option<u64>,
}

impl NaiveCache {
    pub(crate) fn new(sets: u64, ways: usize, line_bytes: u64) -> Self {
        Self { line_bytes, ways, sets: vec![Vec::new(); sets as usize], now: 0 }
    }

    /// Number of the line that holds a byte.
    pub(crate) fn line(&self, address: u64) -> u64 {
        address / self.line_bytes
    }

    /// Addresses of the victims are bytes, so that caches of other line sizes understand them.
    pub(crate) fn access(&mut self, address: u64, write: bool) -> Option<Missing> {
        self.now += 1;
        let number = self.line(address);
        let at = (number % self.sets.len() as u64) as usize;
        let set = &mut self.sets[at];
        if let Some(line) = set.iter_mut().find(|line| line.number == number) {
            line.used = self.now;
            line.dirty |= write;
            return None;
        }
        let mut dirty_victim = None;
        if set.len() == self.ways {
            let oldest = set.iter().map(|line| line.used).min().unwrap();
            let place = set.iter().position(|line| line.used == oldest).unwrap();
            let victim = set.remove(place);
            dirty_victim = victim.dirty.then_some(victim.number * self.line_bytes);
        }
        set.push(Line { number, dirty: write, used: self.now });
        Some(Missing { dirty_victim })
    }

    /// Drops the lines with a byte in the range; says how many.
    pub(crate) fn invalidate(&mut self, start: u64, length: u64) -> u64 {
        let line_bytes = self.line_bytes;
        let touched = |line: &Line| {
            let first = line.number * line_bytes;
            length > 0 && first < start + length && start < first + line_bytes
        };
        let mut dropped = 0;
        for set in &mut self.sets {
            let before = set.len();
            set.retain(|line| !touched(line));
            dropped += (before - set.len()) as u64;
        }
        dropped
    }

    pub(crate) fn dirty_lines(&self) -> u64 {
        self.sets.iter().flatten().filter(|line| line.dirty).count() as u64
    }
}
