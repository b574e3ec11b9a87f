//! Published tables against themselves: every contradiction known of them, and no other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use strata_exits::{Finding, Verdict, lint};

fn findings(name: &str) -> Vec<Finding> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/published").join(name);
    lint(&fs::read_to_string(path).unwrap(), name).unwrap().findings
}

/// What does not hold, by row or by what is said.
fn broken(name: &str) -> Vec<(String, Verdict)> {
    let broken = findings(name).into_iter().filter(|finding| finding.verdict != Verdict::Holds);
    broken.map(|finding| (finding.row.unwrap_or(finding.said), finding.verdict)).collect()
}

#[test]
fn the_contradictions_of_the_papers_are_found_and_no_others() {
    use Verdict::{Contradiction, Uncertain};
    let expected: [(&str, &[(&str, Verdict)]); 13] = [
        ("xen-vt-table-1.csv", &[]),
        ("xen-vt-table-2.csv", &[]),
        ("xen-vt-table-3.csv", &[]),
        // The count's share is given for the time's, 88 % follows from it, and the header's unit is
        // not that of the text.
        (
            "xen-vt-table-4.csv",
            &[
                ("\"take 97.78% of total I/O emulation cost\"", Contradiction),
                (
                    "\"which means 88% of the total hypervisor cost\" (90.06 % of it is I/O)",
                    Contradiction,
                ),
                ("\"port 0x20 is accessed 1005 times per second\"", Contradiction),
            ],
        ),
        ("xen-vt-table-5.csv", &[]),
        (
            "xen-vt-table-6.csv",
            &[("0x0021", Contradiction), ("\"0xc000 occupies 87%\"", Contradiction)],
        ),
        ("xen-vt-table-7.csv", &[("\"at least one third of write access\"", Contradiction)]),
        ("xen-vt-table-8.csv", &[]),
        ("xen-vt-table-10.csv", &[]),
        ("xen-vt-table-11.csv", &[]),
        ("xen-vt-table-9.csv", &[("From guest", Uncertain)]),
        ("vmware-table-2-total.csv", &[]),
        // So the base is the monitor's time, not the total.
        (
            "vmware-table-2-vmm.csv",
            &[("shares of the total, of which the monitor has 71.5 %", Contradiction)],
        ),
    ];
    for (name, wanted) in expected {
        let wanted: Vec<(String, Verdict)> =
            wanted.iter().map(|&(said, verdict)| (said.to_owned(), verdict)).collect();
        assert_eq!(broken(name), wanted, "{name}");
    }
}

#[test]
fn the_mean_cost_that_fits_table_1_is_as_recomputed() {
    let constant = findings("xen-vt-table-1.csv").remove(0).expected.unwrap();
    assert!(constant.low > 66_652.0 && constant.high < 66_679.0, "{constant}");
    let constant = findings("xen-vt-table-2.csv").remove(0).expected.unwrap();
    assert!(constant.low > 49_203.0 && constant.high < 49_224.0, "{constant}");
}
