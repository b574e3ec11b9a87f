//! What a table's checks are written in.
//!
//! ```text
//! sum(time_percent) = ~97.78        two sides; ~ marks a number as printed, others are exact
//! each count * mean <= total        for every row
//! constant count * mean / share     one number for all rows
//! at("0xc000", time_percent) = ~87  a cell, by the first column of its row
//! ```

use super::range::Range;
use super::table::PrintedTable;

/// A number made of cells.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Number(Range),
    /// The cell of the row that is looked at.
    Column(usize),
    Cell(usize, usize),
    Sum(usize),
    Least(usize),
    Greatest(usize),
    Binary(Box<Expression>, char, Box<Expression>),
}

/// How two sides compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    AtMost,
    AtLeast,
}

/// What is checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Check {
    Sides(Expression, Relation, Expression),
    Each(Expression, Relation, Expression),
    Constant(Expression),
}

/// Deepest nesting of parentheses.
const DEEPEST: usize = 50;

impl Expression {
    /// Its value, in a row where it has columns; `None` where a cell is empty.
    pub(super) fn value(&self, table: &PrintedTable, row: Option<usize>) -> Option<Range> {
        let column =
            |column: usize| (0..table.rows.len()).filter_map(move |row| table.number(row, column));
        Some(match self {
            Expression::Number(number) => *number,
            Expression::Column(column) => table.number(row?, *column)?,
            Expression::Cell(row, column) => table.number(*row, *column)?,
            Expression::Sum(at) => column(*at).fold(Range::exact(0.0), |sum, next| sum + next),
            Expression::Least(at) => column(*at)
                .reduce(|a, b| Range { low: a.low.min(b.low), high: a.high.min(b.high) })?,
            Expression::Greatest(at) => column(*at)
                .reduce(|a, b| Range { low: a.low.max(b.low), high: a.high.max(b.high) })?,
            Expression::Binary(left, operator, right) => {
                let (left, right) = (left.value(table, row)?, right.value(table, row)?);
                match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                }
            }
        })
    }
}

/// Reads a check; an error says what is wrong.
pub(super) fn parse(text: &str, table: &PrintedTable) -> Result<Check, String> {
    let mut parser = Parser { rest: text.trim(), table, depth: 0 };
    if let Some(rest) = parser.rest.strip_prefix("constant ") {
        parser.rest = rest;
        let expression = parser.sum()?;
        parser.end()?;
        return Ok(Check::Constant(expression));
    }
    let each = parser.rest.strip_prefix("each ");
    parser.rest = each.unwrap_or(parser.rest);
    let left = parser.sum()?;
    let relation = parser.relation()?;
    let right = parser.sum()?;
    parser.end()?;
    Ok(match each {
        Some(_) => Check::Each(left, relation, right),
        None => Check::Sides(left, relation, right),
    })
}

struct Parser<'p> {
    rest: &'p str,
    table: &'p PrintedTable,
    depth: usize,
}

impl<'p> Parser<'p> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) {
            Ok(())
        } else {
            Err(format!("`{token}` should be before `{}`", self.rest))
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.skip();
        if self.rest.is_empty() { Ok(()) } else { Err(format!("`{}` is too much", self.rest)) }
    }

    fn relation(&mut self) -> Result<Relation, String> {
        for (token, relation) in
            [("<=", Relation::AtMost), (">=", Relation::AtLeast), ("=", Relation::Equal)]
        {
            if self.take(token) {
                return Ok(relation);
            }
        }
        Err(format!("one of =, <=, >= should be before `{}`", self.rest))
    }

    fn sum(&mut self) -> Result<Expression, String> {
        let mut left = self.product()?;
        loop {
            let operator = if self.take("+") {
                '+'
            } else if self.take("-") {
                '-'
            } else {
                return Ok(left);
            };
            left = Expression::Binary(Box::new(left), operator, Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Expression, String> {
        let mut left = self.atom()?;
        loop {
            let operator = if self.take("*") {
                '*'
            } else if self.take("/") {
                '/'
            } else {
                return Ok(left);
            };
            left = Expression::Binary(Box::new(left), operator, Box::new(self.atom()?));
        }
    }

    fn word(&mut self, accept: impl Fn(char) -> bool) -> &'p str {
        self.skip();
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn column(&mut self) -> Result<usize, String> {
        let name = self.word(|c| c.is_alphanumeric() || c == '_');
        let found = self.table.columns.iter().position(|column| column == name);
        found.ok_or_else(|| {
            format!("`{name}` is no column; there are {}", self.table.columns.join(", "))
        })
    }

    fn atom(&mut self) -> Result<Expression, String> {
        self.skip();
        if self.take("(") {
            self.depth += 1;
            if self.depth > DEEPEST {
                return Err(format!("more than {DEEPEST} parentheses within each other"));
            }
            let inner = self.sum()?;
            self.expect(")")?;
            self.depth -= 1;
            return Ok(inner);
        }
        let printed = self.take("~");
        if printed || self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let text = self.word(|c| c.is_ascii_digit() || c == '.');
            let number =
                if printed { Range::printed(text) } else { text.parse().ok().map(Range::exact) };
            return number.map(Expression::Number).ok_or_else(|| format!("`{text}` is no number"));
        }
        for (token, make) in [
            ("sum(", Expression::Sum as fn(usize) -> Expression),
            ("least(", Expression::Least),
            ("greatest(", Expression::Greatest),
        ] {
            if self.take(token) {
                let column = self.column()?;
                self.expect(")")?;
                return Ok(make(column));
            }
        }
        if self.take("at(") {
            self.expect("\"")?;
            let name = self.rest.split('"').next().unwrap_or_default();
            self.rest = &self.rest[name.len()..];
            self.expect("\"")?;
            let rows = &self.table.rows;
            let found = rows.iter().position(|row| row.first().is_some_and(|first| first == name));
            let row = found.ok_or_else(|| format!("`{name}` is in the first column of no row"))?;
            self.expect(",")?;
            let column = self.column()?;
            self.expect(")")?;
            return Ok(Expression::Cell(row, column));
        }
        self.column().map(Expression::Column)
    }
}
