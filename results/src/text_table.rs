//! Plain tables and labelled lines for terminals and text files.

use comfy_table::{CellAlignment, LineStyle, Row, Table, TableStyle};
use std::fmt;

/// Width that text is wrapped to, in columns.
pub(crate) const WIDTH: usize = 110;

/// Width of the labels before wrapped text, in columns.
const LABEL_WIDTH: usize = 10;

const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table without borders: names to the left, numbers to the right.
pub(crate) struct TextTable {
    table: Table,
    names: usize,
    /// Numbers of rows before each extra rule.
    rules: Vec<usize>,
    rows: usize,
}

impl TextTable {
    /// A table whose first `names` columns hold text and whose others hold numbers.
    pub(crate) fn new(names: usize) -> Self {
        let mut table = Table::new();
        table.load_style(STYLE).force_no_tty();
        TextTable { table, names, rules: Vec::new(), rows: 0 }
    }

    pub(crate) fn header(&mut self, cells: impl IntoIterator<Item = String>) {
        self.table.set_header(Row::from(cells.into_iter().collect::<Vec<_>>()));
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows += 1;
        self.table.add_row(cells);
    }

    /// Draws a line between the rows so far and those that follow.
    pub(crate) fn rule(&mut self) {
        self.rules.push(self.rows);
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = self.table.clone();
        for (i, column) in table.column_iter_mut().enumerate() {
            column.set_padding(if i == 0 { (0, 0) } else { (1, 0) });
            let right = i >= self.names;
            column.set_cell_alignment(if right {
                CellAlignment::Right
            } else {
                CellAlignment::Left
            });
        }
        let mut rule = String::new();
        let mut row = None;
        for line in table.lines() {
            let line = line.trim_end();
            if let Some(row) = &mut row {
                if self.rules.contains(row) {
                    writeln!(f, "{rule}")?;
                }
                *row += 1;
            } else if line.starts_with('─') {
                rule = line.to_owned();
                row = Some(0);
            }
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// `label`, then `text` in a column beside it, wrapped between words.
pub(crate) fn wrapped(label: &str, text: &str) -> String {
    let mut out = format!("{label:<LABEL_WIDTH$}");
    let mut column = LABEL_WIDTH;
    for (i, word) in text.split_whitespace().enumerate() {
        let width = word.chars().count();
        if i > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(LABEL_WIDTH));
            column = LABEL_WIDTH;
        } else if i > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_left_numbers_right_and_rules_between() {
        let mut table = TextTable::new(1);
        table.header(["layer", "count"].map(str::to_owned));
        table.row(vec!["idle".into(), "7".into()]);
        table.rule();
        table.row(vec!["total".into(), "1,234".into()]);
        let lines =
            ["layer  count", "────────────", "idle       7", "────────────", "total  1,234"];
        assert_eq!(table.to_string(), lines.join("\n") + "\n");
    }

    #[test]
    fn long_text_continues_beside_its_label() {
        let text = wrapped("note", &"word ".repeat(50));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("          word")), "{text}");
        assert_eq!(text.split_whitespace().count(), 51);
    }
}
