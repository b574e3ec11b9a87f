//! Tables of the VEE'07 paper as printed, and what plays the part of each of their functions in the
//! software of today.

use crate::error::Error;
use serde::Deserialize;
use strata_sim::Trigger;

/// Figures 3 and 4, whose functions are the same.
pub(super) const FIGURE_3: &str = include_str!("published/figure-3.csv");
pub(super) const FIGURE_7: &str = include_str!("published/figure-7.csv");
pub(super) const FIGURE_8: &str = include_str!("published/figure-8.csv");
pub(super) const FIGURE_9: &str = include_str!("published/figure-9.csv");
pub(super) const FIGURE_10: &str = include_str!("published/figure-10.csv");

/// A row of a published table.
#[derive(Clone, Debug)]
pub(super) struct PublishedRow {
    /// Function, as printed.
    pub(super) function: String,
    /// Instructions since the first row, where the table has them.
    pub(super) instructions: Option<u64>,
    /// Functions that can play its part; none if nothing does.
    pub(super) roles: Vec<Trigger>,
    /// What is to be said of that.
    pub(super) note: String,
}

#[derive(Deserialize)]
struct Record {
    function: String,
    instructions: Option<u64>,
    /// Triggers, separated by `|`.
    role: String,
    note: String,
}

/// The rows of a table.
///
/// # Errors
/// [`Error::Format`] if it is not as it should be, which a test rules out.
pub(super) fn rows(table: &str) -> Result<Vec<PublishedRow>, Error> {
    let wrong = |message: String| Error::Format { format: "published table", message };
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(table.as_bytes());
    let records = reader.deserialize::<Record>();
    records
        .map(|record| {
            let Record { function, instructions, role, note } =
                record.map_err(|error| wrong(error.to_string()))?;
            let roles = role.split('|').filter(|text| !text.is_empty()).map(str::parse);
            let roles = roles.collect::<Result<Vec<Trigger>, _>>()?;
            Ok(PublishedRow { function, instructions, roles, note })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_the_rows_that_were_printed_in_the_order_of_their_counts() {
        for (table, count, last) in [
            (FIGURE_7, 45, 10_478),
            (FIGURE_8, 22, 1_408),
            (FIGURE_9, 17, 1_350),
            (FIGURE_10, 38, 21_106),
        ] {
            let rows = rows(table).unwrap();
            let counts: Vec<u64> = rows.iter().map(|row| row.instructions.unwrap()).collect();
            assert_eq!((rows.len(), counts[0], counts[count - 1]), (count, 0, last));
            assert!(counts.is_sorted());
            assert!(!rows[0].roles.is_empty());
        }
        assert_eq!(rows(FIGURE_3).unwrap().len(), 19);
    }

    #[test]
    fn what_has_no_counterpart_today_is_explained_or_one_of_several_alike() {
        for table in [FIGURE_3, FIGURE_7, FIGURE_8, FIGURE_9, FIGURE_10] {
            for row in rows(table).unwrap().iter().filter(|row| row.roles.is_empty()) {
                assert!(!row.note.is_empty() || row.function.ends_with("spin_lock"), "{row:?}");
            }
        }
    }
}
