//! A result as rows of columns, from which its CSV and Parquet files are written.
//!
//! Rows are made while they are written: an annotation has millions.

use crate::document_head::csv_error;
use crate::error::Error;
use crate::units::unit_of;
use std::io::Write;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Names and addresses.
    Text,
    /// Counts.
    Whole,
    /// Depths and differences.
    Signed,
    /// Rates and estimates.
    Real,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// As in the header.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) kind: Kind,
}

impl Column {
    pub(crate) fn new(name: impl Into<String>, kind: Kind) -> Self {
        Column { name: name.into(), kind }
    }

    /// Columns of text.
    pub(crate) fn texts<const N: usize>(names: [&str; N]) -> Vec<Column> {
        names.into_iter().map(|name| Column::new(name, Kind::Text)).collect()
    }

    /// Columns of counts.
    pub(crate) fn counts<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Vec<Column> {
        names.into_iter().map(|name| Column::new(name, Kind::Whole)).collect()
    }

    /// Unit of its numbers; `None` of text.
    pub(crate) fn unit(&self) -> Option<&'static str> {
        (self.kind != Kind::Text).then(|| unit_of(&self.name))
    }
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Not known, or without meaning.
    Missing,
    Text(String),
    Whole(u64),
    Signed(i64),
    Real(f64),
}

impl Cell {
    /// A number that may not be known.
    pub(crate) fn whole(number: Option<u64>) -> Cell {
        number.map_or(Cell::Missing, Cell::Whole)
    }

    /// A number that may not be known.
    pub(crate) fn real(number: Option<f64>) -> Cell {
        number.map_or(Cell::Missing, Cell::Real)
    }

    /// A name that may not be known.
    pub(crate) fn text(name: Option<&str>) -> Cell {
        name.map_or(Cell::Missing, |name| Cell::Text(name.to_owned()))
    }

    pub(crate) fn into_field(self) -> String {
        match self {
            Cell::Missing => String::new(),
            Cell::Text(text) => text,
            Cell::Whole(number) => number.to_string(),
            Cell::Signed(number) => number.to_string(),
            Cell::Real(number) => number.to_string(),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Cell::Whole(number)
    }
}

/// Columns of a table of single numbers, in which each row tells its unit.
pub(crate) fn number_columns() -> Vec<Column> {
    let mut columns = Column::texts(["of", "name"]);
    columns.push(Column::new("count", Kind::Whole));
    columns.push(Column::new("unit", Kind::Text));
    columns
}

/// Rows with as many cells as there are columns.
pub(crate) type Rows<'a> = Box<dyn Iterator<Item = Result<Vec<Cell>, Error>> + 'a>;

/// A result as rows of columns, with what it is a result of.
pub struct Table<'a> {
    /// Machine, trace and the like by key; `command`, `version` and `units` at the end.
    head: Vec<(&'static str, String)>,
    /// Columns that CSV repeats in each row, since it has no other place for them.
    carried: Vec<(String, String)>,
    columns: Vec<Column>,
    rows: Rows<'a>,
}

impl<'a> Table<'a> {
    /// A table of a command's result; CSV carries all of the head.
    pub(crate) fn new(
        command: &'static str,
        origin: Vec<(&'static str, String)>,
        columns: Vec<Column>,
        rows: impl Iterator<Item = Result<Vec<Cell>, Error>> + 'a,
    ) -> Self {
        let mut head = origin;
        head.push(("command", command.to_owned()));
        head.push(("version", env!("CARGO_PKG_VERSION").to_owned()));
        head.push(("units", units(&columns)));
        let carried = head.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Table { head, carried, columns, rows: Box::new(rows) }
    }

    /// The same with only some of the head in CSV: those keys, under those titles.
    pub(crate) fn carrying(mut self, titles: &[(&str, &str)]) -> Self {
        let value = |key: &str| {
            let found = self.head.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        self.carried = titles.iter().map(|&(title, key)| (title.to_owned(), value(key))).collect();
        self
    }

    /// Columns, head and rows.
    #[cfg(feature = "parquet")]
    pub(crate) fn into_parts(self) -> (Vec<(&'static str, String)>, Vec<Column>, Rows<'a>) {
        (self.head, self.columns, self.rows)
    }

    /// As CSV: one header, then the rows, each with where it comes from. What is not known is an
    /// empty field.
    ///
    /// # Errors
    /// Those of the rows; [`Error::Format`] and [`Error::Output`] if they cannot be written.
    pub fn write_csv(self, out: &mut dyn Write) -> Result<(), Error> {
        let mut writer = csv::Writer::from_writer(out);
        let names = self.columns.iter().map(|column| &column.name);
        let header = names.chain(self.carried.iter().map(|(title, _)| title));
        writer.write_record(header).map_err(csv_error)?;
        let carried: Vec<String> = self.carried.into_iter().map(|(_, value)| value).collect();
        for row in self.rows {
            let fields: Vec<String> = row?.into_iter().map(Cell::into_field).collect();
            writer.write_record(fields.iter().chain(&carried)).map_err(csv_error)?;
        }
        writer.flush().map_err(Error::Output)
    }

    /// Refuses: this is built without Parquet.
    ///
    /// # Errors
    /// [`Error::NoParquet`], always.
    #[cfg(not(feature = "parquet"))]
    pub fn write_parquet(self, _out: &mut dyn Write) -> Result<(), Error> {
        check_parquet()
    }

    /// The same as CSV, in one text.
    ///
    /// # Errors
    /// As [`Table::write_csv`].
    pub fn to_csv(self) -> Result<String, Error> {
        let mut out = Vec::new();
        self.write_csv(&mut out)?;
        String::from_utf8(out)
            .map_err(|error| Error::Format { format: "CSV", message: error.to_string() })
    }
}

/// Says early that Parquet cannot be written.
///
/// # Errors
/// [`Error::NoParquet`] if this is built without.
pub fn check_parquet() -> Result<(), Error> {
    if cfg!(feature = "parquet") { Ok(()) } else { Err(Error::NoParquet) }
}

/// Units of all columns of numbers: `percent: share_percent; cycles: estimated_cycles; count: all
/// others`.
fn units(columns: &[Column]) -> String {
    let mut units: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut has_counts = false;
    for column in columns {
        match column.unit() {
            None => {}
            Some("count") => has_counts = true,
            Some(unit) => match units.iter_mut().find(|(known, _)| *known == unit) {
                Some((_, names)) => names.push(&column.name),
                None => units.push((unit, vec![&column.name])),
            },
        }
    }
    let mut parts: Vec<String> =
        units.iter().map(|(unit, names)| format!("{unit}: {}", names.join(", "))).collect();
    if has_counts {
        parts.push("count: all other numbers".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<'static> {
        let mut columns = Column::texts(["layer"]);
        columns.extend(Column::counts(["instructions", "l2_misses"]));
        columns.push(Column::new("l2_mpki", Kind::Real));
        let rows = vec![
            Ok(vec!["idle".into(), 4.into(), 1.into(), Cell::Real(250.0)]),
            Ok(vec!["a,b".into(), Cell::Missing, 0.into(), Cell::Missing]),
        ];
        let origin = vec![("machine", "vee07".to_owned()), ("trace_hash", "ab".to_owned())];
        Table::new("replay", origin, columns, rows.into_iter())
    }

    #[test]
    fn every_row_of_csv_carries_machine_trace_version_and_units() {
        let text = table().to_csv().unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(header[..5], ["layer", "instructions", "l2_misses", "l2_mpki", "machine"]);
        assert_eq!(header[5..], ["trace_hash", "command", "version", "units"]);
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(&rows[1][0], "a,b");
        assert_eq!((&rows[0][1], &rows[1][1], &rows[1][3]), ("4", "", ""));
        for row in &rows {
            assert_eq!((&row[4], &row[5], &row[6]), ("vee07", "ab", "replay"));
            assert_eq!(&row[7], env!("CARGO_PKG_VERSION"));
            assert_eq!(
                &row[8],
                "instructions: instructions; misses per 1000 instructions: l2_mpki; \
                 count: all other numbers"
            );
        }
    }

    #[test]
    fn a_table_may_carry_less_and_under_other_titles() {
        let text = table().carrying(&[("Machine", "machine")]).to_csv().unwrap();
        assert!(text.starts_with("layer,instructions,l2_misses,l2_mpki,Machine\n"), "{text}");
        assert!(text.contains("idle,4,1,250,vee07\n"), "{text}");
    }
}
