//! Telling symbols of the wrong kernel or hypervisor by where its calls land.
//!
//! A text list of symbols carries no code to compare, and often no build id. But a direct call goes
//! to the first byte of a function, save for a few places of hand-written assembler. With the
//! symbols of another build it lands anywhere.

use crate::symbol_table::SymbolTable;

/// Fewest calls that allow a verdict.
const FEWEST: u64 = 50;
/// Smallest share of targets at the beginning of a symbol with the right symbols.
const RIGHT_SHARE: f64 = 0.8;

/// Where the targets of calls lie in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryCheck {
    /// Targets that are the first byte of a symbol.
    pub at_start: u64,
    /// Targets further inside a symbol.
    pub inside: u64,
    /// Targets that no symbol covers.
    pub unnamed: u64,
}

impl EntryCheck {
    /// Looks up the targets of direct calls, each once.
    pub fn of(table: &SymbolTable, targets: impl IntoIterator<Item = u64>) -> Self {
        let mut check = Self::default();
        for target in targets {
            match table.lookup(target) {
                Some(hit) if hit.offset == 0 => check.at_start += 1,
                Some(_) => check.inside += 1,
                None => check.unnamed += 1,
            }
        }
        check
    }

    /// Whether the symbols fit the code; none for fewer than 50 targets. Meant for full tables and
    /// for tables trimmed to the same trace.
    pub fn fits(&self) -> Option<bool> {
        let all = self.at_start + self.inside + self.unnamed;
        (all >= FEWEST).then_some(self.at_start as f64 >= RIGHT_SHARE * all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kallsyms::read_kallsyms;

    #[test]
    fn calls_under_another_builds_symbols_land_anywhere() {
        let text = include_bytes!("../tests/data/kallsyms-debian-6.1.txt");
        let table = read_kallsyms(text, "k").unwrap();
        let targets: Vec<u64> = table.code_ranges().map(|(range, _)| range.start).collect();
        let right = EntryCheck::of(&table, targets.iter().copied());
        assert_eq!((right.fits(), right.at_start), (Some(true), targets.len() as u64));
        let wrong = EntryCheck::of(&table, targets.iter().map(|target| target + 0x13));
        assert_eq!((wrong.fits(), wrong.at_start), (Some(false), 0));
        assert_eq!(EntryCheck::of(&table, targets[..49].iter().copied()).fits(), None);
    }
}
