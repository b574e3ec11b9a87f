//! Tables as Parquet files, with the head in the file's key-value metadata.

use crate::error::Error;
use crate::result_table::{Cell, Column, Kind, Table};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Arc;

/// Rows that are held in memory and written as one group.
const GROUP_ROWS: usize = 1 << 16;

impl Table<'_> {
    /// As Parquet: unsigned and signed integers of 64 bits, doubles and text, all nullable. The
    /// file's metadata has `strata.KEY` for each key of the head, and `strata.unit.COLUMN` for each
    /// column of numbers.
    ///
    /// # Errors
    /// Those of the rows; [`Error::Format`] and [`Error::Output`] if they cannot be written.
    pub fn write_parquet(self, out: &mut dyn Write) -> Result<(), Error> {
        // The format's writer wants an output of its own, and a group's place once it is written.
        let file = tempfile::tempfile().map_err(Error::Output)?;
        let mut file = self.fill(file)?;
        file.seek(SeekFrom::Start(0)).map_err(Error::Output)?;
        io::copy(&mut file, out).map_err(Error::Output)?;
        out.flush().map_err(Error::Output)
    }

    fn fill(self, file: std::fs::File) -> Result<std::fs::File, Error> {
        let (head, columns, rows) = self.into_parts();
        let mut metadata: Vec<KeyValue> = head
            .into_iter()
            .map(|(key, value)| KeyValue::new(format!("strata.{key}"), value))
            .collect();
        metadata.extend(columns.iter().filter_map(|column| {
            Some(KeyValue::new(format!("strata.unit.{}", column.name), column.unit()?.to_owned()))
        }));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(format!("strata version {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(metadata))
            .build();
        let mut writer = SerializedFileWriter::new(file, schema(&columns)?, Arc::new(properties))
            .map_err(failed)?;
        let mut held: Vec<Vec<Cell>> = columns.iter().map(|_| Vec::new()).collect();
        for row in rows {
            for (column, cell) in held.iter_mut().zip(row?) {
                column.push(cell);
            }
            if held.first().is_some_and(|column| column.len() == GROUP_ROWS) {
                write_group(&mut writer, &columns, &mut held)?;
            }
        }
        if held.first().is_some_and(|column| !column.is_empty()) {
            write_group(&mut writer, &columns, &mut held)?;
        }
        writer.into_inner().map_err(failed)
    }
}

fn schema(columns: &[Column]) -> Result<TypePtr, Error> {
    let field = |column: &Column| {
        let (physical, logical) = match column.kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Whole => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Kind::Signed => (Physical::INT64, Some(LogicalType::integer(64, true))),
            Kind::Real => (Physical::DOUBLE, None),
        };
        let built = Type::primitive_type_builder(&column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build();
        built.map(Arc::new).map_err(failed)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("strata").with_fields(fields).build().map(Arc::new).map_err(failed)
}

fn write_group(
    writer: &mut SerializedFileWriter<std::fs::File>,
    columns: &[Column],
    held: &mut [Vec<Cell>],
) -> Result<(), Error> {
    let mut group = writer.next_row_group().map_err(failed)?;
    for (column, cells) in columns.iter().zip(held) {
        let Some(mut writer) = group.next_column().map_err(failed)? else { break };
        write_column(&mut writer, column, std::mem::take(cells))?;
        writer.close().map_err(failed)?;
    }
    group.close().map_err(failed)?;
    Ok(())
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    column: &Column,
    cells: Vec<Cell>,
) -> Result<(), Error> {
    // Level 1 is a value, level 0 is none.
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(*cell != Cell::Missing)).collect();
    let there = cells.into_iter().filter(|cell| *cell != Cell::Missing);
    let levels = Some(levels.as_slice());
    let written = match column.kind {
        Kind::Text => {
            let values: Vec<ByteArray> =
                there.map(|cell| ByteArray::from(cell.into_field().into_bytes())).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, levels, None)
        }
        // The format keeps unsigned numbers by their bits.
        Kind::Whole | Kind::Signed => {
            let values = there.map(|cell| match cell {
                Cell::Whole(number) => Ok(number.cast_signed()),
                Cell::Signed(number) => Ok(number),
                other => Err(unfit(column, &other)),
            });
            let values = values.collect::<Result<Vec<i64>, _>>()?;
            writer.typed::<Int64Type>().write_batch(&values, levels, None)
        }
        Kind::Real => {
            let values = there.map(|cell| match cell {
                Cell::Whole(number) => Ok(number as f64),
                Cell::Signed(number) => Ok(number as f64),
                Cell::Real(number) => Ok(number),
                other => Err(unfit(column, &other)),
            });
            let values = values.collect::<Result<Vec<f64>, _>>()?;
            writer.typed::<DoubleType>().write_batch(&values, levels, None)
        }
    };
    written.map(drop).map_err(failed)
}

fn unfit(column: &Column, cell: &Cell) -> Error {
    let message = format!("column {} of {:?} got {cell:?}", column.name, column.kind);
    Error::Format { format: "Parquet", message }
}

fn failed(error: ParquetError) -> Error {
    Error::Format { format: "Parquet", message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    #[test]
    fn a_file_reads_back_with_values_gaps_and_head() {
        let mut columns = Column::texts(["layer"]);
        columns.extend(Column::counts(["l2_misses"]));
        columns.push(Column::new("depth", Kind::Signed));
        columns.push(Column::new("l2_mpki", Kind::Real));
        // More than one group, so that the seam between two is read too.
        let count = GROUP_ROWS as u64 + 3;
        let rows = (0..count).map(|i| {
            let layer = if i == 1 { Cell::Missing } else { "idle".into() };
            let misses = if i == 2 { u64::MAX } else { i };
            Ok(vec![layer, misses.into(), Cell::Signed(-1), Cell::real((i > 0).then_some(0.5))])
        });
        let origin = vec![("machine", "vee07".to_owned()), ("trace_hash", "ab".to_owned())];
        let mut out = Vec::new();
        Table::new("replay", origin, columns, rows).write_parquet(&mut out).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        std::fs::write(&path, &out).unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        let file = reader.metadata().file_metadata();
        assert_eq!(file.num_rows() as u64, count);
        let metadata = file.key_value_metadata().unwrap();
        let value = |key: &str| {
            metadata.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref())
        };
        assert_eq!(value("strata.machine"), Some("vee07"));
        assert_eq!(value("strata.trace_hash"), Some("ab"));
        assert_eq!(value("strata.command"), Some("replay"));
        assert_eq!(value("strata.version"), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(value("strata.unit.l2_misses"), Some("count"));
        assert_eq!(value("strata.unit.l2_mpki"), Some("misses per 1000 instructions"));
        assert_eq!(value("strata.unit.layer"), None);
        let mut seen = 0;
        for (i, row) in reader.get_row_iter(None).unwrap().enumerate() {
            let fields: Vec<Field> =
                row.unwrap().get_column_iter().map(|(_, field)| field.clone()).collect();
            let layer = if i == 1 { Field::Null } else { Field::Str("idle".into()) };
            let misses = if i == 2 { u64::MAX } else { i as u64 };
            let rate = if i == 0 { Field::Null } else { Field::Double(0.5) };
            assert_eq!(fields, [layer, Field::ULong(misses), Field::Long(-1), rate], "row {i}");
            seen += 1;
        }
        assert_eq!(seen, count);
    }
}
