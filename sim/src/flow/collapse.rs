//! Leaves out what repeats: a loop is told once.

use super::FlowRow;

/// Longest repetition that is recognised, in rows.
const LONGEST: usize = 16;

/// Rows so far. As soon as the last rows are the same functions as those right before them, they
/// are left out.
#[derive(Default)]
pub(super) struct Collapsing {
    rows: Vec<FlowRow>,
    functions: Vec<u32>,
    elided: u64,
}

impl Collapsing {
    pub(super) fn push(&mut self, row: FlowRow, function: u32, collapse: bool) {
        self.rows.push(row);
        self.functions.push(function);
        if !collapse {
            return;
        }
        let count = self.functions.len();
        let repeats = |period: &usize| {
            // The first row stays.
            2 * period < count
                && self.functions[count - 2 * period..count - period]
                    == self.functions[count - period..]
        };
        if let Some(period) = (1..=LONGEST).find(repeats) {
            let gone = self.rows.drain(count - period..);
            let inner: u64 = gone.map(|row| row.elided).sum();
            self.functions.truncate(count - period);
            self.elided += period as u64;
            if let Some(last) = self.rows.last_mut() {
                last.elided += inner + period as u64;
            }
        }
    }

    /// The rows that are left, and how many are not.
    pub(super) fn finish(self) -> (Vec<FlowRow>, u64) {
        (self.rows, self.elided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{Arrival, PathId};
    use proptest::prelude::*;

    fn collapsed(functions: &str) -> (String, Vec<u64>, u64) {
        let mut collapsing = Collapsing::default();
        for function in functions.bytes() {
            let row = FlowRow {
                instructions: 0,
                path: PathId(u32::from(function)),
                arrival: Arrival::Call,
                cpu: 0,
                address: 0,
                depth: 0,
                elided: 0,
            };
            collapsing.push(row, u32::from(function), true);
        }
        let (rows, elided) = collapsing.finish();
        let left = rows.iter().map(|row| row.path.0 as u8 as char).collect();
        (left, rows.iter().map(|row| row.elided).collect(), elided)
    }

    #[test]
    fn runs_and_loops_are_told_once_with_what_is_left_out_after_the_last_row_of_them() {
        assert_eq!(collapsed("xaaab"), ("xab".into(), vec![0, 2, 0], 2));
        assert_eq!(collapsed("xababab"), ("xab".into(), vec![0, 0, 4], 4));
        assert_eq!(collapsed("xaabaabc"), ("xabc".into(), vec![0, 1, 3, 0], 4));
        assert_eq!(collapsed("abcde"), ("abcde".into(), vec![0; 5], 0));
    }

    proptest! {
        #[test]
        fn rows_shown_and_elided_are_all_rows(functions in "[abc]{0,60}") {
            let (left, between, elided) = collapsed(&functions);
            prop_assert_eq!(left.len() as u64 + elided, functions.len() as u64);
            prop_assert_eq!(between.iter().sum::<u64>(), elided);
        }
    }
}
