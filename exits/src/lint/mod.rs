//! Does a published table agree with itself, and with what is said of it?

mod expression;
mod range;
mod table;

pub use range::Range;

use crate::error::Error;
use expression::{Check, Expression, Relation};
use table::{PrintedTable, Published};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds for some, or all, numbers that are printed so.
    Holds,
    /// It holds for some of what is printed as a range, not for all.
    Uncertain,
    /// It holds for none.
    Contradiction,
    /// A cell that it needs is empty.
    Unknown,
}

impl Verdict {
    /// As in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Uncertain => "uncertain",
            Verdict::Contradiction => "contradiction",
            Verdict::Unknown => "not available",
        }
    }
}

/// A check of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is said, or the check itself.
    pub said: String,
    /// The row it is of, by its first cell; `None` for one of the whole table.
    pub row: Option<String>,
    /// How it came out.
    pub verdict: Verdict,
    /// What the table gives.
    pub found: Option<Range>,
    /// What it should be.
    pub expected: Option<Range>,
}

/// All checks of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Lint {
    /// Title of the table.
    pub title: String,
    /// In order.
    pub findings: Vec<Finding>,
}

impl Lint {
    /// Checks that came out so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

/// Checks a table; `name` is what messages call it.
///
/// # Errors
/// [`Error::Table`] if it cannot be read.
pub fn lint(text: &str, name: &str) -> Result<Lint, Error> {
    let Published { title, table, checks } = table::read(text, name)?;
    let mut findings = Vec::new();
    for (said, check) in checks {
        match check {
            Check::Sides(left, relation, right) => {
                findings.push(compare(&table, &said, None, (&left, relation, &right)));
            }
            Check::Each(left, relation, right) => {
                let rows = 0..table.rows.len();
                let of = |row| compare(&table, &said, Some(row), (&left, relation, &right));
                findings.extend(rows.map(of));
            }
            Check::Constant(expression) => constant(&table, &said, &expression, &mut findings),
        }
    }
    Ok(Lint { title, findings })
}

fn compare(
    table: &PrintedTable,
    said: &str,
    row: Option<usize>,
    (left, relation, right): (&Expression, Relation, &Expression),
) -> Finding {
    let (found, expected) = (left.value(table, row), right.value(table, row));
    let verdict = match (found, expected) {
        (Some(found), Some(expected)) => match relation {
            Relation::Equal if found.meets(expected) => Verdict::Holds,
            Relation::Equal => Verdict::Contradiction,
            Relation::AtMost => of_order(found.is_at_most(expected)),
            Relation::AtLeast => of_order(expected.is_at_most(found)),
        },
        _ => Verdict::Unknown,
    };
    let row = row.map(|row| table.rows[row].first().cloned().unwrap_or_default());
    Finding { said: said.to_owned(), row, verdict, found, expected }
}

fn of_order(holds: Option<bool>) -> Verdict {
    match holds {
        Some(true) => Verdict::Holds,
        Some(false) => Verdict::Contradiction,
        None => Verdict::Uncertain,
    }
}

/// One number should be in all rows' ranges: those that miss where most meet are contradictions.
fn constant(table: &PrintedTable, said: &str, expression: &Expression, out: &mut Vec<Finding>) {
    let ranges: Vec<Option<Range>> =
        (0..table.rows.len()).map(|row| expression.value(table, Some(row))).collect();
    let known = || ranges.iter().flatten();
    let meeting = |number: f64| known().filter(|r| r.meets(Range::exact(number))).count();
    // The most ranges meet at the lower end of one of them.
    let best = known().map(|range| range.low).max_by_key(|&low| meeting(low));
    let common = best.map(|best| {
        let met = known().filter(|range| range.meets(Range::exact(best)));
        met.copied().fold(Range { low: f64::NEG_INFINITY, high: f64::INFINITY }, |all, next| {
            Range { low: all.low.max(next.low), high: all.high.min(next.high) }
        })
    });
    for (row, found) in ranges.iter().enumerate() {
        let verdict = match (found, common) {
            (Some(found), Some(common)) if found.meets(common) => Verdict::Holds,
            (Some(_), Some(_)) => Verdict::Contradiction,
            _ => Verdict::Unknown,
        };
        let row = table.rows[row].first().cloned();
        let said = said.to_owned();
        out.push(Finding { said, row, verdict, found: *found, expected: common });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(text: &str) -> Vec<Verdict> {
        lint(text, "t").unwrap().findings.into_iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn rounding_is_no_contradiction_and_more_is() {
        let table = |check: &str| format!("#: {check}\nname,share\na,33.33\nb,66.66\n");
        for (check, verdict) in [
            ("sum(share) = 100", Verdict::Holds),
            ("sum(share) = 100.1", Verdict::Contradiction),
            ("at(\"a\", share) <= 33.4", Verdict::Holds),
            ("at(\"a\", share) >= 33.4", Verdict::Contradiction),
            ("at(\"a\", share) >= 33.333", Verdict::Uncertain),
            ("greatest(share) / least(share) = ~2", Verdict::Holds),
        ] {
            assert_eq!(verdicts(&table(check)), [verdict], "{check}");
        }
    }

    #[test]
    fn the_row_that_does_not_fit_the_others_is_found() {
        let text = "#: constant a * b\nname,a,b\nx,2,3\ny,1,6\nz,2,9\n";
        use Verdict::{Contradiction, Holds};
        assert_eq!(verdicts(text), [Holds, Holds, Contradiction]);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        for (text, said) in [
            ("a,b\n", "no rows"),
            ("a,b\n1\n", "line 2"),
            ("#: sum(c) = 1\na,b\n1,2\n", "no column; there are a, b"),
            ("#: sum(a) 1\na,b\n1,2\n", "=, <=, >="),
            ("#: sum(a) = 1 1\na,b\n1,2\n", "too much"),
            ("#: at(\"q\", b) = 1\na,b\n1,2\n", "first column of no row"),
        ] {
            let told = lint(text, "t.csv").unwrap_err().to_string();
            assert!(told.contains(said) && told.contains("t.csv"), "{told}");
        }
        let deep = format!("#: {}1 = 1\na,b\n1,2\n", "(".repeat(100_000));
        assert!(lint(&deep, "t").unwrap_err().to_string().contains("parentheses"));
    }
}
