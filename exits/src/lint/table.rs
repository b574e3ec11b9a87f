//! A published table with what must hold of it.
//!
//! ```text
//! # Xen/VT, Table 6
//! #: what is said: check
//! #: "0xc000 occupies 87%": at("0xc000", time_percent) = ~87
//! port,time_percent,count_percent,mean_cycles
//! 0xc000,62.61,2.52,2775696
//! ```

use super::expression::{Check, parse};
use super::range::Range;
use crate::error::Error;

/// A table as it is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PrintedTable {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl PrintedTable {
    /// A cell's number; `None` where it has none.
    pub(super) fn number(&self, row: usize, column: usize) -> Option<Range> {
        Range::printed(self.rows.get(row)?.get(column)?)
    }
}

/// A table, its title, and its checks with what they are called.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) title: String,
    pub(super) table: PrintedTable,
    pub(super) checks: Vec<(String, Check)>,
}

/// Reads a table.
pub(super) fn read(text: &str, name: &str) -> Result<Published, Error> {
    let mut titles = Vec::new();
    let mut checks = Vec::new();
    let mut table = PrintedTable::default();
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{name}, line {}", number + 1);
        if let Some(check) = line.strip_prefix("#:") {
            checks.push((place(), check.trim().to_owned()));
        } else if let Some(title) = line.strip_prefix('#') {
            titles.push(title.trim().to_owned());
        } else if line.trim().is_empty() {
        } else if table.columns.is_empty() {
            table.columns = line.split(',').map(|cell| cell.trim().to_owned()).collect();
        } else {
            let cells: Vec<String> = line.split(',').map(|cell| cell.trim().to_owned()).collect();
            if cells.len() != table.columns.len() {
                let (found, wanted) = (cells.len(), table.columns.len());
                return Err(Error::Table {
                    place: place(),
                    why: format!(
                        "{found} cells under {wanted} columns; empty cells have a comma too"
                    ),
                });
            }
            table.rows.push(cells);
        }
    }
    if table.rows.is_empty() {
        return Err(Error::Table {
            place: name.to_owned(),
            why: "there are no rows; a table is CSV with a header".to_owned(),
        });
    }
    let checks = checks.into_iter().map(|(place, text)| {
        // What is said may have colons; checks have none.
        let (said, check) = text.rsplit_once(": ").unwrap_or((&text, &text));
        let check = parse(check, &table).map_err(|why| Error::Table { place, why })?;
        Ok((said.to_owned(), check))
    });
    let checks = checks.collect::<Result<_, Error>>()?;
    let title = if titles.is_empty() { name.to_owned() } else { titles.join(" ") };
    Ok(Published { title, table, checks })
}
