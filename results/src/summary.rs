//! A replay at a glance: who ran, who missed what, and the functions behind it.

use crate::numbers::{counted, grouped, percent, rate, shortened};
use crate::profile_report::ProfileReport;
use crate::selection::{By, Selection, SortKey};
use crate::structure::Structure;
use crate::text_table::TextTable;

/// Functions named for each structure.
const FUNCTIONS: usize = 5;
/// Width of a full bar, in columns.
const BAR: usize = 28;

impl ProfileReport {
    /// Some forty lines for a terminal.
    pub fn to_summary(&self) -> String {
        let total = &self.profile.total;
        let title =
            format!("{}, {}", self.provenance.title(), counted(total.instructions, "instruction"));
        let mut out = format!("{title}\n{}\n", "═".repeat(title.chars().count()));
        out.push_str("\nWho ran\n");
        out.push_str(&self.who_ran());
        out.push_str("\nWho missed: share of each structure's misses in per cent\n");
        out.push_str(&self.who_missed());
        let machine = &self.profile.machine;
        let last_cache = Structure::of(machine)
            .into_iter()
            .rfind(|structure| matches!(structure, Structure::L1d | Structure::L2 | Structure::L3));
        for structure in last_cache.into_iter().chain([Structure::Dtlb]) {
            out.push_str(&format!("\nMost {} misses\n", structure.label()));
            out.push_str(&self.top_functions(structure));
        }
        out.push('\n');
        out.push_str(&self.head_text());
        out.push_str(&self.foot_text());
        out
    }

    fn by(&self, by: By, sort: SortKey, top: Option<usize>) -> crate::ProfileTable {
        self.table(Selection { by, sort, top, layers: Vec::new() })
    }

    fn who_ran(&self) -> String {
        let table = self.by(By::Layer, SortKey::Instructions, None);
        let whole = table.total.instructions;
        let mut out = TextTable::new(2);
        for row in &table.rows {
            let part = row.counters.instructions;
            let share = format!("{} %", percent(part, whole));
            out.row(vec![row.layer.to_string(), bar(part, whole), grouped(part), share]);
        }
        out.to_string()
    }

    fn who_missed(&self) -> String {
        let mut layers = self.by(By::Layer, SortKey::Instructions, None);
        layers.rows.sort_by_key(|row| row.layer);
        let total = layers.total;
        let known = self.known();
        let mut structures = Structure::of(&self.profile.machine);
        structures.retain(|&structure| known.structure(structure));
        let mut out = TextTable::new(1);
        out.header(
            ["", "instructions"]
                .into_iter()
                .chain(structures.iter().map(|structure| structure.label()))
                .map(str::to_owned),
        );
        for row in &layers.rows {
            let mut cells = vec![row.layer.to_string()];
            cells.push(percent(row.counters.instructions, total.instructions));
            cells.extend(structures.iter().map(|structure| {
                percent(structure.tally(&row.counters).misses, structure.tally(&total).misses)
            }));
            out.row(cells);
        }
        out.rule();
        let mut line = |label: &str, first: String, cell: &dyn Fn(Structure) -> String| {
            let cells = [label.to_owned(), first].into_iter();
            out.row(cells.chain(structures.iter().copied().map(cell)).collect());
        };
        line("total", grouped(total.instructions), &|s| grouped(s.tally(&total).misses));
        line("MPKI", String::new(), &|s| rate(total.per_thousand(s.tally(&total).misses)));
        line("hit %", String::new(), &|s| {
            let tally = s.tally(&total);
            percent(tally.hits(), tally.accesses)
        });
        out.to_string()
    }

    fn top_functions(&self, structure: Structure) -> String {
        let table = self.by(By::Function, SortKey::Misses(structure), Some(FUNCTIONS));
        let whole = structure.tally(&table.total).misses;
        let mut out = TextTable::new(3);
        for row in &table.rows {
            let misses = structure.tally(&row.counters).misses;
            out.row(vec![
                row.layer.to_string(),
                shortened(row.module.as_deref().unwrap_or(""), 18),
                shortened(row.function.as_deref().unwrap_or("unknown"), 44),
                grouped(misses),
                format!("{} %", percent(misses, whole)),
            ]);
        }
        out.to_string()
    }
}

/// A bar whose full width stands for `whole`, in eighths of a column.
fn bar(part: u64, whole: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (BAR * 8) as u128 * u128::from(part) / u128::from(whole.max(1));
    let eighths = usize::try_from(eighths).unwrap_or(BAR * 8);
    let bar = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    format!("{bar:<BAR$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(8, 8), "█".repeat(BAR));
        assert_eq!(bar(1, 2).trim_end(), "█".repeat(BAR / 2));
        assert_eq!(bar(0, 0).trim_end(), "");
        assert_eq!(bar(1, 64).trim_end(), "▍");
    }
}
