//! `strata replay --by line`.

use crate::{output, strata};
use serde_json::Value;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/samples/linux-calls");

fn replay(arguments: &[&str]) -> String {
    output(strata(["replay", SAMPLE].into_iter().chain(arguments.iter().copied())))
}

#[test]
fn lines_say_what_was_inlined_and_sum_to_their_functions() {
    let json =
        |by| -> Value { serde_json::from_str(&replay(&["--by", by, "--format", "json"])).unwrap() };
    let (lines, functions) = (json("line"), json("function"));
    assert_eq!(lines["grouped_by"], "line");
    let instructions = |report: &Value, address: &Value| -> u64 {
        let rows = report["by"].as_array().unwrap().iter();
        let of_function = rows.filter(|row| row["address"] == *address);
        of_function.map(|row| row["instructions"].as_u64().unwrap()).sum()
    };
    for row in functions["by"].as_array().unwrap() {
        let address = &row["address"];
        assert_eq!(instructions(&lines, address), instructions(&functions, address), "{row}");
    }
    let inlined = "mix (calls.c:35) in last (calls.c:132)";
    let rows = lines["by"].as_array().unwrap();
    let texts: Vec<&str> = rows.iter().filter_map(|row| row["function"].as_str()).collect();
    let has = |part: &str| texts.iter().any(|text| text.starts_with(part));
    assert!(texts.contains(&inlined), "{texts:?}");
    // The kernel has no debugging information.
    assert!(has("rotate (calls.c:") && has("do_syscall_64"), "{texts:?}");
}

#[test]
fn a_table_by_line_has_a_column_of_lines() {
    let table = replay(&["--by", "line", "--top", "5"]);
    assert!(table.contains("layer      module  line  "), "{table}");
    assert!(table.contains("fill (calls.c:"), "{table}");
}
