//! Two results of one command side by side.

mod csv_rows;
mod json;
mod number;
mod result_file;
mod shape;
mod text;

pub use result_file::ResultFile;

use crate::error::Error;
use crate::units::unit_of;
use number::Number;
use result_file::{NamedRows, Numbers};
use shape::{RANKED, Shape, is_additive, metric_name, rank};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use strata_symbols::near_names;

/// Two results of one command.
#[derive(Debug)]
pub struct Comparison {
    a: ResultFile,
    b: ResultFile,
}

/// What to show of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompareSelection {
    /// Numbers to show, rows being sorted by the first of them; empty is those that differ.
    pub metrics: Vec<String>,
    /// How many rows of each kind to show. `None` shows all.
    pub top: Option<usize>,
}

/// A number in both results; `None` where it is not known, or its row is not there.
#[derive(Clone, Copy, Debug)]
struct Pair {
    a: Option<Number>,
    b: Option<Number>,
}

impl Pair {
    fn of(name: &str, a: Option<&Numbers>, b: Option<&Numbers>) -> Pair {
        let get = |numbers: Option<&Numbers>| numbers?.get(name).copied();
        Pair { a: get(a), b: get(b) }
    }

    /// What is more in the second.
    fn difference(self) -> Option<Number> {
        Some(self.b?.minus(self.a?))
    }

    /// The second as a multiple of the first.
    fn ratio(self) -> Option<f64> {
        self.b?.ratio_to(self.a?)
    }

    /// What the second saves of the first, in per cent: (A − B) / A.
    fn gain_percent(self) -> Option<f64> {
        let (a, b) = (self.a?.real(), self.b?.real());
        (a != 0.0).then(|| (a - b) * 100.0 / a).filter(|gain| gain.is_finite())
    }

    /// How far apart they are. A row that is not there counts as 0.
    fn distance(self) -> f64 {
        let zero = Number::Whole(0);
        self.b.unwrap_or(zero).minus(self.a.unwrap_or(zero)).real().abs()
    }
}

/// A row in one result or both.
#[derive(Clone, Copy, Debug)]
struct RowPair<'r> {
    name: &'r [String],
    a: Option<&'r Numbers>,
    b: Option<&'r Numbers>,
}

impl RowPair<'_> {
    fn of(&self, metric: &str) -> Pair {
        Pair::of(metric, self.a, self.b)
    }

    /// In which of the results it is.
    fn place(&self) -> &'static str {
        match (self.a, self.b) {
            (Some(_), None) => "a",
            (None, Some(_)) => "b",
            _ => "both",
        }
    }
}

/// Rows of one kind in both results.
#[derive(Debug)]
struct TablePair<'r> {
    name: &'r str,
    key: &'r [String],
    /// Those that are farthest apart in the first metric come first.
    rows: Vec<RowPair<'r>>,
    metrics: Vec<&'r str>,
    /// How many rows there are with those that are not shown.
    all: usize,
}

/// A setting that the results do not share.
#[derive(Debug)]
struct Setting<'r> {
    name: &'r str,
    a: Option<&'r str>,
    b: Option<&'r str>,
}

impl Comparison {
    /// Puts two results side by side.
    ///
    /// # Errors
    /// [`Error::NotAlike`] for results of two commands, or with rows of two kinds.
    pub fn new(a: ResultFile, b: ResultFile) -> Result<Self, Error> {
        let not_alike = |what_a: String, what_b: String, remedy| {
            let (a, b) = (a.path.clone(), b.path.clone());
            Error::NotAlike { a, what_a, b, what_b, remedy }
        };
        if a.command != b.command {
            let of = |result: &ResultFile| format!("a result of {}", result.command);
            return Err(not_alike(of(&a), of(&b), "compare two of one command"));
        }
        let kinds = |result: &ResultFile| -> Vec<String> {
            let filled = result.tables.iter().filter(|table| !table.rows.is_empty());
            filled.map(|table| format!("{} by {}", table.name, table.key.join(", "))).collect()
        };
        // `exits` says so in `by`, which in a replay holds the rows.
        let by = |result: &ResultFile| {
            result.setting("grouped_by").or(result.setting("by")).map(str::to_owned)
        };
        let unit = |result: &ResultFile| result.setting("unit").map(str::to_owned);
        let window = |result: &ResultFile| result.setting("window").map(str::to_owned);
        let (kinds_a, kinds_b) = (kinds(&a), kinds(&b));
        let apart = !kinds_a.is_empty()
            && !kinds_b.is_empty()
            && kinds_a.iter().all(|kind| !kinds_b.contains(kind));
        match (by(&a), by(&b)) {
            (Some(by_a), Some(by_b)) if by_a != by_b => {
                let remedy = "make one of them anew with the other's --by";
                Err(not_alike(format!("by {by_a}"), format!("by {by_b}"), remedy))
            }
            _ if window(&a).zip(window(&b)).is_some_and(|(a, b)| a != b) => {
                let by = |result| format!("windows of {}", window(result).unwrap_or_default());
                let (of_a, of_b) = (by(&a), by(&b));
                Err(not_alike(of_a, of_b, "make one of them anew with the other's --window"))
            }
            _ if unit(&a).zip(unit(&b)).is_some_and(|(a, b)| a != b) => {
                let in_unit = |result| format!("times in {}", unit(result).unwrap_or_default());
                let (of_a, of_b) = (in_unit(&a), in_unit(&b));
                Err(not_alike(of_a, of_b, "compare two whose traces have one clock's unit"))
            }
            _ if apart => {
                let remedy = "make one of them anew with the options of the other";
                Err(not_alike(kinds_a.join("; "), kinds_b.join("; "), remedy))
            }
            _ => Ok(Comparison { a, b }),
        }
    }

    /// The unit of a number; times of some results are in the unit of their trace.
    fn unit(&self, metric: &str) -> &str {
        match self.a.setting("unit").or(self.b.setting("unit")) {
            Some(unit) if self.has_own_unit(metric) => unit,
            _ => unit_of(metric),
        }
    }

    fn has_own_unit(&self, metric: &str) -> bool {
        Shape::of(&self.a.command).is_some_and(|shape| shape.is_time(metric))
    }

    /// What is saved of a time, in per cent; `None` of what is no time.
    fn gain_percent(&self, metric: &str, pair: Pair) -> Option<f64> {
        let is_time = self.has_own_unit(metric) || matches!(unit_of(metric), "cycles" | "ns");
        pair.gain_percent().filter(|_| is_time)
    }

    /// What makes the two hard to compare, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut out = Vec::new();
        let (a, b) = (&self.a, &self.b);
        match (hash(a), hash(b)) {
            (Some(hash_a), Some(hash_b)) if hash_a == hash_b => {}
            (Some(hash_a), Some(hash_b)) => {
                out.push(format!("two traces: {hash_a} and {hash_b}"));
            }
            _ => out.push("whether both are of one trace is not known".to_owned()),
        }
        let settings = self.settings();
        let machine = self.machine_texts(&settings);
        if !machine.is_empty() {
            out.push(format!("two machines: {}", machine.join("; ")));
        }
        for setting in settings {
            if !setting.name.starts_with("machine") && setting.name != "trace_hash" {
                out.push(format!("settings differ: {}", setting.text()));
            }
        }
        if let (Some(version_a), Some(version_b)) = (&a.version, &b.version)
            && version_a != version_b
        {
            out.push(format!("two versions of strata: {version_a} and {version_b}"));
        }
        for (name, result) in [("A", a), ("B", b)] {
            if result.left_out > 0 {
                out.push(format!(
                    "{name} leaves out {} (--top), which may be rows that only the other shows",
                    crate::numbers::counted(result.left_out, "row"),
                ));
            }
        }
        out
    }

    /// What differs of the machines. A structure that one of them lacks is told as a whole.
    fn machine_texts(&self, settings: &[Setting<'_>]) -> Vec<String> {
        let has = |result: &ResultFile, section: &str| {
            result.settings.keys().any(|name| name.starts_with(&format!("machine.{section}.")))
        };
        let mut texts: Vec<String> = Vec::new();
        for setting in settings.iter().filter(|setting| setting.name.starts_with("machine")) {
            let section = setting.name.split('.').nth(1).unwrap_or_default();
            let text = match (has(&self.a, section), has(&self.b, section)) {
                (true, false) => format!("{section} only in A"),
                (false, true) => format!("{section} only in B"),
                _ => setting.text(),
            };
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    }

    /// Settings that are not the same.
    fn settings(&self) -> Vec<Setting<'_>> {
        let (a, b) = (&self.a.settings, &self.b.settings);
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let setting = |name| Setting { name, a: self.a.setting(name), b: self.b.setting(name) };
        names
            .into_iter()
            .map(|name| setting(name))
            .filter(|setting| setting.a != setting.b)
            .collect()
    }

    /// The numbers to show, of those in `there`; those that differ if none are asked for.
    fn metrics<'r>(&self, asked: &[String], there: BTreeSet<&'r str>) -> Vec<&'r str> {
        if asked.is_empty() {
            let mut all: Vec<&str> = there.into_iter().collect();
            all.sort_by_key(|metric| (rank(metric), *metric));
            return all;
        }
        let asked = asked.iter().map(|name| metric_name(name));
        asked.filter_map(|name| there.get(name.as_str()).copied()).collect()
    }

    /// Holds the names of `selection` to what there is.
    fn check(&self, selection: &CompareSelection) -> Result<(), Error> {
        let known: BTreeSet<&str> = self.a.metrics().union(&self.b.metrics()).copied().collect();
        for given in &selection.metrics {
            let name = metric_name(given);
            if !known.contains(name.as_str()) {
                let near = near_names(&name, known.iter().copied());
                let mut first: Vec<&str> = known.iter().copied().collect();
                first.sort_by_key(|metric| (rank(metric), *metric));
                first.truncate(12);
                let names = if near.is_empty() { first } else { near };
                return Err(Error::UnknownName {
                    given: given.clone(),
                    what: "number of these results",
                    known: format!("{}, …", names.join(", ")),
                });
            }
        }
        Ok(())
    }

    /// The numbers of the whole, those that a report is mostly about first, then those that are
    /// farthest apart.
    fn totals(&self, selection: &CompareSelection) -> Vec<(&str, Pair)> {
        let there = self.a.totals.keys().chain(self.b.totals.keys()).map(String::as_str).collect();
        let metrics = self.metrics(&selection.metrics, there).into_iter();
        let pair = |metric| (metric, Pair::of(metric, Some(&self.a.totals), Some(&self.b.totals)));
        let mut totals: Vec<(&str, Pair)> = metrics.map(pair).collect();
        if selection.metrics.is_empty() {
            totals.sort_by(|(a, pair_a), (b, pair_b)| {
                let by_rank = rank(a).cmp(&rank(b));
                let one_sided = |pair: &Pair| pair.difference().is_none();
                by_rank
                    .then(one_sided(pair_a).cmp(&one_sided(pair_b)))
                    .then(farther(*pair_a, *pair_b))
                    .then(a.cmp(b))
            });
        }
        totals
    }

    /// The rows of each kind as `selection` asks.
    fn tables(&self, selection: &CompareSelection) -> Vec<TablePair<'_>> {
        let mut tables: Vec<TablePair<'_>> = Vec::new();
        for table in self.a.tables.iter().chain(&self.b.tables) {
            if tables.iter().any(|known| known.name == table.name) {
                continue;
            }
            let (a, b) = (self.a.table(&table.name), self.b.table(&table.name));
            // A result without a row does not say what would name it.
            let key = [a, b].into_iter().flatten().find(|table| !table.rows.is_empty());
            if let Some(key) = key {
                tables.push(self.table(table, &key.key, a, b, selection));
            }
        }
        tables
    }

    fn table<'r>(
        &'r self,
        table: &'r NamedRows,
        key: &'r [String],
        a: Option<&'r NamedRows>,
        b: Option<&'r NamedRows>,
        selection: &CompareSelection,
    ) -> TablePair<'r> {
        let rows = || [a, b].into_iter().flatten().flat_map(|table| table.rows.iter());
        let names: BTreeSet<&Vec<String>> = rows().map(|(name, _)| name).collect();
        let get = |side: Option<&'r NamedRows>, name: &Vec<String>| side?.rows.get(name);
        let mut pairs: Vec<RowPair<'r>> = names
            .into_iter()
            .map(|name| RowPair { name, a: get(a, name), b: get(b, name) })
            .collect();
        let there = rows().flat_map(|(_, numbers)| numbers.keys()).map(String::as_str).collect();
        let mut metrics = self.metrics(&selection.metrics, there);
        if selection.metrics.is_empty() {
            // What the rows are farthest apart in leads, if a report is mostly about it.
            let distance =
                |metric: &str| -> f64 { pairs.iter().map(|row| row.of(metric).distance()).sum() };
            let is_shared = |metric: &str| {
                let has = |side: Option<&NamedRows>| {
                    side.is_some_and(|table| {
                        table.rows.values().any(|row| row.contains_key(metric))
                    })
                };
                has(a) && has(b) && is_additive(metric)
            };
            let leading = (0..metrics.len())
                .filter(|&place| is_shared(metrics[place]))
                .map(|place| (place, is_ranked(metrics[place]), distance(metrics[place])))
                .filter(|(_, _, distance)| *distance > 0.0)
                // Of equals the last is the greatest, and the first is wanted.
                .rev()
                .max_by(|x, y| x.1.cmp(&y.1).then(x.2.total_cmp(&y.2)));
            if let Some((place, ..)) = leading {
                let metric = metrics.remove(place);
                metrics.insert(0, metric);
            }
        }
        if let Some(first) = metrics.first() {
            pairs.sort_by(|x, y| farther(x.of(first), y.of(first)).then(x.name.cmp(y.name)));
        }
        let all = pairs.len();
        pairs.truncate(selection.top.unwrap_or(usize::MAX));
        TablePair { name: &table.name, key, rows: pairs, metrics, all }
    }
}

/// The pair that is farther apart comes first.
fn farther(x: Pair, y: Pair) -> Ordering {
    y.distance().total_cmp(&x.distance())
}

fn hash(result: &ResultFile) -> Option<&str> {
    result.setting("trace_hash").filter(|hash| *hash != "–")
}

impl Setting<'_> {
    fn text(&self) -> String {
        let none = "none";
        format!("{} {} and {}", self.name, self.a.unwrap_or(none), self.b.unwrap_or(none))
    }
}

/// Whether a number is among those that a report is mostly about.
fn is_ranked(metric: &str) -> bool {
    rank(metric) < RANKED
}
