//! `lint` on tables of the papers.

use crate::{complaint, output, strata, text};
use std::path::{Path, PathBuf};

fn table(number: u8) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../exits/tests/data/published");
    data.join(format!("xen-vt-table-{number}.csv"))
}

#[test]
fn contradictions_are_shown_with_what_was_found_and_expected() {
    let told = output(strata(["lint", text(&table(4)), text(&table(1))]));
    assert!(told.contains("94.6500 to 94.6900") && told.contains("97.77500 to 97.78500"), "{told}");
    assert!(told.contains("3 contradictions") && told.contains("0 contradictions"), "{told}");
    let csv = output(strata(["lint", text(&table(4)), "--format", "csv"]));
    assert_eq!(csv.matches(",contradiction,").count(), 3);
}

#[test]
fn a_contradiction_is_a_failure_only_where_that_is_asked_for() {
    output(strata(["lint", text(&table(1)), "--strict"]));
    let run = strata(["lint", text(&table(4)), "--strict"]).assert().code(1).get_output().clone();
    let told = String::from_utf8(run.stderr).unwrap();
    assert!(told.contains("3 checks do not hold"), "{told}");
    assert!(!run.stdout.is_empty(), "the table says which");
    let told = complaint(strata(["lint", "no-such-table.csv"]));
    assert!(told.contains("no-such-table.csv: cannot be read"), "{told}");
}
