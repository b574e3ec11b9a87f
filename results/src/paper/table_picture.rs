//! A table drawn as a picture, for readers that take no tables.

use crate::error::Error;
use crate::layer_colour::Rgb;
use crate::line_chart::canvas::{Anchor, picture, text_width};
use plotters::style::RGBColor;

/// A table to draw.
#[derive(Debug, Default)]
pub(super) struct TablePicture {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) columns: Vec<PictureColumn>,
    pub(super) rows: Vec<PictureRow>,
    /// What it was made from; written below it.
    pub(super) source: String,
    /// Size of the letters in the table, in pixels.
    pub(super) size: f64,
}

/// A column, whose heading may have several lines.
#[derive(Debug)]
pub(super) struct PictureColumn {
    pub(super) heading: String,
    pub(super) is_number: bool,
    /// A line is drawn before it.
    pub(super) begins_group: bool,
}

/// A row.
#[derive(Debug)]
pub(super) struct PictureRow {
    pub(super) cells: Vec<String>,
    /// Of a bar before it.
    pub(super) colour: Option<Rgb>,
    /// Written in grey: it is not there.
    pub(super) is_absent: bool,
}

const BLACK: RGBColor = RGBColor(0, 0, 0);
const GREY: RGBColor = RGBColor(90, 90, 90);
const ABSENT: RGBColor = RGBColor(120, 120, 120);
const RULE: RGBColor = RGBColor(190, 190, 190);
const STRIPE: RGBColor = RGBColor(245, 245, 245);

const LEFT: f64 = 20.0;
/// Between columns, in font sizes.
const GAP: f64 = 1.3;
/// Height of a row, in font sizes.
const ROW: f64 = 1.6;
/// Width of the bar before a row, and of the room for it.
const BAR: f64 = 6.0;
const BAR_ROOM: f64 = 14.0;

impl TablePicture {
    /// As SVG.
    ///
    /// # Errors
    /// [`Error::Format`] if the drawing library fails, which it has no reason to.
    pub(super) fn to_svg(&self) -> Result<String, Error> {
        let size = self.size;
        let widths: Vec<f64> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let gap = GAP * size;
        let table = BAR_ROOM + widths.iter().sum::<f64>() + gap * widths.len() as f64;
        let titles = text_width(&self.title, 18.0).max(text_width(&self.subtitle, 13.0));
        let width = 2.0 * LEFT + table.max(titles);
        let lines = self.columns.iter().map(|column| column.heading.lines().count()).max();
        let heading = lines.unwrap_or(1) as f64 * 1.2 * size + 8.0;
        let top = 66.0 + heading;
        let bottom = top + ROW * size * self.rows.len() as f64;
        let right = LEFT + table;
        picture(width, bottom + 40.0, |canvas| {
            canvas.text(&self.title, (LEFT, 22.0), 18.0, BLACK, Anchor::Start)?;
            canvas.text(&self.subtitle, (LEFT, 46.0), 13.0, GREY, Anchor::Start)?;
            for (number, row) in self.rows.iter().enumerate() {
                let y = top + ROW * size * number as f64;
                let end = y + ROW * size;
                if number % 2 == 1 {
                    let stripe = [(LEFT, y), (right, y), (right, end), (LEFT, end)];
                    canvas.polygon(&stripe, STRIPE, 1.0)?;
                }
                if let Some([red, green, blue]) = row.colour {
                    let bar = LEFT + BAR;
                    let bar = [(LEFT, y), (bar, y), (bar, end), (LEFT, end)];
                    canvas.polygon(&bar, RGBColor(red, green, blue), 1.0)?;
                }
            }
            let mut x = LEFT + BAR_ROOM;
            for ((number, column), &width) in self.columns.iter().enumerate().zip(&widths) {
                let (at, anchor) = match column.is_number {
                    true => (x + width, Anchor::End),
                    false => (x, Anchor::Start),
                };
                if column.begins_group {
                    let line = x - gap / 2.0;
                    canvas.line(&[(line, 62.0), (line, bottom)], RULE, 1.0)?;
                }
                let lines: Vec<&str> = column.heading.lines().collect();
                for (i, line) in lines.iter().enumerate() {
                    let above = (lines.len() - i) as f64 - 0.5;
                    let y = top - 6.0 - 1.2 * size * above;
                    canvas.text(line, (at, y), size, BLACK, anchor)?;
                }
                for (i, row) in self.rows.iter().enumerate() {
                    let ink = if row.is_absent { ABSENT } else { BLACK };
                    let y = top + ROW * size * (i as f64 + 0.5);
                    canvas.text(&row.cells[number], (at, y), size, ink, anchor)?;
                }
                x += width + gap;
            }
            canvas.line(&[(LEFT, top - 2.0), (right, top - 2.0)], BLACK, 1.0)?;
            canvas.line(&[(LEFT, bottom), (right, bottom)], BLACK, 1.0)?;
            canvas.text(&self.source, (LEFT, bottom + 22.0), 11.0, GREY, Anchor::Start)
        })
    }

    fn width(&self, column: usize) -> f64 {
        let cells = self.rows.iter().map(|row| row.cells[column].as_str());
        let texts = cells.chain(self.columns[column].heading.lines());
        texts.map(|text| text_width(text, self.size)).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_and_heading_is_written_and_escaped() {
        let column = |heading: &str, is_number| PictureColumn {
            heading: heading.to_owned(),
            is_number,
            begins_group: is_number,
        };
        let row = |name: &str, number: &str| PictureRow {
            cells: vec![name.to_owned(), number.to_owned()],
            colour: Some([213, 94, 0]),
            is_absent: name.is_empty(),
        };
        let table = TablePicture {
            title: "A title".to_owned(),
            columns: vec![column("Function", false), column("Instr\ncount", true)],
            rows: vec![row("operator<(a & b)", "12"), row("", "7")],
            size: 12.0,
            ..TablePicture::default()
        };
        let svg = table.to_svg().unwrap();
        for text in ["A title", "Function", "Instr", "count", "operator&lt;(a &amp; b)", "12"] {
            assert!(svg.contains(text), "no {text} in {svg}");
        }
    }
}
