//! A comparison as tables for people.

use super::{CompareSelection, Comparison, Pair, TablePair, hash, is_ranked};
use crate::comparison::result_file::ResultFile;
use crate::error::Error;
use crate::numbers::{NOT_AVAILABLE, counted, fine_percent, grouped, shortened};
use crate::text_table::{TextTable, wrapped};

/// Longest part of a row's name shown; CSV and JSON have all of it.
const NAME_WIDTH: usize = 48;

/// Title of what is saved of times: (A − B) / A.
const GAIN: &str = "gain %";

impl Comparison {
    /// What is compared, warnings, totals, and a table for each kind of row.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a metric that neither result has.
    pub fn to_text(&self, selection: &CompareSelection) -> Result<String, Error> {
        self.check(selection)?;
        let mut out = wrapped("compared", &format!("two results of {}", self.a.command));
        out.push_str(&wrapped("A", &description(&self.a)));
        out.push_str(&wrapped("B", &description(&self.b)));
        for warning in self.warnings() {
            out.push_str(&wrapped("note", &warning));
        }
        out.push('\n');
        out.push_str(&self.totals_text(selection));
        for table in self.tables(selection) {
            // Without a choice, one number tells rows apart; the others are in CSV and JSON.
            let shown = if selection.metrics.is_empty() { 1 } else { table.metrics.len() };
            for metric in &table.metrics[..shown.min(table.metrics.len())] {
                out.push('\n');
                out.push_str(&self.rows_text(&table, metric));
            }
        }
        Ok(out)
    }

    fn totals_text(&self, selection: &CompareSelection) -> String {
        let totals = self.totals(selection);
        let all = totals.len();
        if all == 0 {
            return String::new();
        }
        let is_asked = !selection.metrics.is_empty();
        let mut rest = selection.top.unwrap_or(usize::MAX);
        let mut table = TextTable::new(1);
        let has_gain =
            totals.iter().any(|(metric, pair)| self.gain_percent(metric, *pair).is_some());
        let titles = ["total", "A", "B", "difference", "ratio"].into_iter();
        table.header(titles.chain(has_gain.then_some(GAIN)).map(str::to_owned));
        let (mut shown, mut equal) = (0, 0);
        for (metric, pair) in totals {
            if pair.distance() == 0.0 && !is_asked && !is_ranked(metric) {
                equal += 1;
                continue;
            }
            if !is_asked && !is_ranked(metric) {
                if rest == 0 {
                    continue;
                }
                rest -= 1;
            }
            shown += 1;
            let gain = has_gain.then(|| fine_percent(self.gain_percent(metric, pair)));
            table.row(std::iter::once(metric.to_owned()).chain(cells(pair)).chain(gain).collect());
        }
        let mut out = table.to_string();
        if shown + equal < all {
            let more = counted((all - shown - equal) as u64, "total");
            out.push_str(&format!("({more} more differ; --top all shows them)\n"));
        }
        if equal > 0 {
            out.push_str(&format!("({} more are equal)\n", grouped(equal as u64)));
        }
        out
    }

    fn rows_text(&self, table: &TablePair<'_>, metric: &str) -> String {
        // By layer, no row has a module.
        let is_told = |part: &usize| table.rows.iter().any(|row| row.name[*part] != NOT_AVAILABLE);
        let parts: Vec<usize> = (0..table.key.len()).filter(is_told).collect();
        let mut text = TextTable::new(parts.len() + 1);
        let names = parts.iter().map(|&part| table.key[part].replace('_', " "));
        let has_gain =
            table.rows.iter().any(|row| self.gain_percent(metric, row.of(metric)).is_some());
        let numbers = ["in", "A", "B", "difference", "ratio"].into_iter();
        text.header(names.chain(numbers.chain(has_gain.then_some(GAIN)).map(str::to_owned)));
        for row in &table.rows {
            let names = parts.iter().map(|&part| name_text(&row.name[part]));
            let place = match row.place() {
                "both" => "both".to_owned(),
                one => one.to_uppercase(),
            };
            let pair = row.of(metric);
            let gain = has_gain.then(|| fine_percent(self.gain_percent(metric, pair)));
            let cells = names.chain([place]).chain(cells(pair)).chain(gain);
            text.row(cells.collect());
        }
        let mut out = format!("{}: {metric}\n{text}", table.name);
        if table.rows.len() < table.all {
            let more = counted((table.all - table.rows.len()) as u64, "row");
            out.push_str(&format!(
                "({more} more, with smaller differences; --top all shows them)\n"
            ));
        }
        out
    }
}

fn description(result: &ResultFile) -> String {
    let or = |name: &str| result.setting(name).unwrap_or(NOT_AVAILABLE).to_owned();
    format!(
        "{}: machine {}, {} semantics, trace {}, version {}",
        result.path.display(),
        or("machine"),
        or("semantics"),
        hash(result).unwrap_or(NOT_AVAILABLE),
        result.version.as_deref().unwrap_or(NOT_AVAILABLE),
    )
}

/// A part of a row's name in the width there is. Of a path of calls the innermost ones tell more.
fn name_text(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME_WIDTH || !name.contains(';') {
        return shortened(name, NAME_WIDTH);
    }
    let end: String = name.chars().skip(length - (NAME_WIDTH - 1)).collect();
    format!("…{end}")
}

fn cells(pair: Pair) -> [String; 4] {
    let text = |number: Option<super::Number>, signed| {
        number.map_or_else(|| NOT_AVAILABLE.to_owned(), |number| number.text(signed))
    };
    let ratio =
        pair.ratio().map_or_else(|| NOT_AVAILABLE.to_owned(), |ratio| format!("{ratio:.3}"));
    [text(pair.a, false), text(pair.b, false), text(pair.difference(), true), ratio]
}
