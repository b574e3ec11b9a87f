//! The bytes of code that ran, collected from the blocks of a trace.

use std::collections::BTreeMap;

/// Bytes per line; also the number of bits of a mask.
pub(crate) const LINE_BYTES: u64 = 64;

/// Part of a 64-byte line: bit `i` of `mask` says that `bytes[i]` is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodeLine {
    pub(crate) mask: u64,
    pub(crate) bytes: [u8; LINE_BYTES as usize],
}

impl Default for CodeLine {
    fn default() -> Self {
        Self { mask: 0, bytes: [0; LINE_BYTES as usize] }
    }
}

impl CodeLine {
    /// Takes in bytes that begin at `address`, as far as they lie in the line at `line_address`.
    /// Returns how many known bytes changed.
    pub(crate) fn fill(&mut self, line_address: u64, address: u64, bytes: &[u8]) -> u64 {
        let skip = line_address.saturating_sub(address);
        let at = address.saturating_sub(line_address);
        let Some(source) = usize::try_from(skip).ok().and_then(|skip| bytes.get(skip..)) else {
            return 0;
        };
        let at = at as usize;
        let Some(held) = self.bytes.get_mut(at..) else { return 0 };
        let count = held.len().min(source.len());
        let (held, source) = (&mut held[..count], &source[..count]);
        let known = self.mask >> at;
        let changed = if known == 0 {
            0
        } else {
            let pairs = held.iter().zip(source).enumerate();
            pairs.filter(|&(i, (held, byte))| known >> i & 1 != 0 && held != byte).count() as u64
        };
        held.copy_from_slice(source);
        if count > 0 {
            self.mask |= u64::MAX >> (LINE_BYTES as usize - count) << at;
        }
        changed
    }

    /// Which bytes known in both differ, as a mask.
    pub(crate) fn differences(&self, other: &Self) -> u64 {
        let both = self.mask & other.mask;
        (0..LINE_BYTES)
            .filter(|&i| both >> i & 1 != 0 && self.bytes[i as usize] != other.bytes[i as usize])
            .fold(0, |mask, i| mask | 1 << i)
    }
}

/// Executed code of one address space, or of one layer: which bytes ran at which addresses.
///
/// Fill it with every block of the trace; it is what images are identified and fingerprinted by.
/// Memory: about 100 bytes for every 64 bytes of code.
#[derive(Clone, Debug, Default)]
pub struct ExecutedCode {
    lines: BTreeMap<u64, CodeLine>,
    changed_bytes: u64,
}

impl ExecutedCode {
    /// Nothing executed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the bytes of a block. Later bytes replace earlier ones at the same address, see
    /// [`changed_bytes`](Self::changed_bytes). Bytes behind the last address are dropped.
    pub fn add(&mut self, address: u64, bytes: &[u8]) {
        let Some(length) = (bytes.len() as u64).checked_sub(1) else { return };
        let last = address.saturating_add(length);
        let mut line_address = address & !(LINE_BYTES - 1);
        loop {
            let line = self.lines.entry(line_address).or_default();
            self.changed_bytes += line.fill(line_address, address, bytes);
            match line_address.checked_add(LINE_BYTES) {
                Some(next) if next <= last => line_address = next,
                _ => return,
            }
        }
    }

    /// Bytes that were added again with another value: code patched while the trace ran, or an
    /// address space whose number was used again by another process.
    pub fn changed_bytes(&self) -> u64 {
        self.changed_bytes
    }

    /// Number of 64-byte lines of which at least a byte ran.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// Whether nothing was executed.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Lines that begin in `start..end`.
    pub(crate) fn lines_in(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &CodeLine)> {
        // A range that ends before it begins would make the map panic.
        self.lines.range(start..end.max(start)).map(|(&address, line)| (address, line))
    }

    /// All lines, by address.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u64, &CodeLine)> {
        self.lines.iter().map(|(&address, line)| (address, line))
    }

    /// Without the lines for which `drop` holds.
    pub(crate) fn without(&self, drop: impl Fn(u64) -> bool) -> Self {
        let kept = self.lines.iter().filter(|(address, _)| !drop(**address));
        Self { lines: kept.map(|(&address, &line)| (address, line)).collect(), changed_bytes: 0 }
    }

    /// Longest stretches of executed bytes, each within a 4 KiB page, longest first.
    pub(crate) fn runs(&self) -> Vec<(u64, Vec<u8>)> {
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for (line_address, line) in self.lines() {
            for place in (0..LINE_BYTES).filter(|place| line.mask >> place & 1 != 0) {
                let address = line_address + place;
                let byte = line.bytes[place as usize];
                match runs.last_mut() {
                    Some((start, bytes))
                        if *start + bytes.len() as u64 == address && address % 4096 != 0 =>
                    {
                        bytes.push(byte);
                    }
                    _ => runs.push((address, vec![byte])),
                }
            }
        }
        runs.sort_by_key(|(address, bytes)| (std::cmp::Reverse(bytes.len()), *address));
        runs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn code_at_the_last_addresses_does_not_wrap() {
        let mut code = ExecutedCode::new();
        code.add(u64::MAX - 1, &[1, 2, 3]);
        assert_eq!(code.line_count(), 1);
        assert_eq!(code.lines().next().unwrap().1.mask, 3 << 62);
    }

    #[test]
    fn bytes_seen_with_two_values_are_counted() {
        let mut code = ExecutedCode::new();
        code.add(0x1000, &[0x90; 100]);
        code.add(0x1000, &[0x90; 100]);
        assert_eq!(code.changed_bytes(), 0);
        code.add(0x103f, &[0xcc, 0xcc]);
        assert_eq!(code.changed_bytes(), 2);
    }

    proptest! {
        #[test]
        fn runs_hold_exactly_the_executed_bytes(
            blocks in prop::collection::vec((0u64..9000, prop::collection::vec(any::<u8>(), 0..90)), 0..30)
        ) {
            let mut code = ExecutedCode::new();
            let mut naive = BTreeMap::new();
            for (address, bytes) in &blocks {
                code.add(*address, bytes);
                naive.extend((*address..).zip(bytes.iter().copied()));
            }
            let runs = code.runs();
            let from_runs: BTreeMap<u64, u8> =
                runs.iter().flat_map(|(start, bytes)| (*start..).zip(bytes.iter().copied())).collect();
            prop_assert_eq!(from_runs, naive);
            prop_assert!(runs.windows(2).all(|w| w[0].1.len() >= w[1].1.len()));
        }
    }
}
