//! `strata replay --by page` and `--by object`.

use crate::synthetic::Capture;
use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;

fn run(capture: &Capture, arguments: &[&str]) -> String {
    let fixed = ["replay", text(capture.path())];
    output(strata(fixed.into_iter().chain(arguments.iter().copied())))
}

fn json(capture: &Capture, arguments: &[&str]) -> Value {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&run(capture, &arguments)).unwrap()
}

fn sum(report: &Value, structure: &str) -> u64 {
    let rows = report["by"].as_array().unwrap();
    let misses = |row: &Value| row[structure]["misses"].as_u64().unwrap();
    rows.iter().map(misses).sum::<u64>()
        + report["others"][structure]["misses"].as_u64().unwrap_or(0)
}

#[test]
fn pages_sum_to_the_data_misses_of_each_structure() {
    let capture = Capture::new();
    for arguments in [&["--by", "page"][..], &["--by", "page", "--top", "5"]] {
        let report = json(&capture, arguments);
        assert_eq!(
            (&report["grouped_by"], &report["sorted_by"]),
            (&"page".into(), &"l1d-misses".into())
        );
        assert_eq!(sum(&report, "l1d"), report["l1d"]["misses"]);
        assert_eq!(sum(&report, "dtlb"), report["dtlb"]["misses"]);
        let l2 = &report["l2"];
        let data = l2["read_misses"].as_u64().unwrap() + l2["write_misses"].as_u64().unwrap();
        assert_eq!(sum(&report, "l2"), data);
        let row = &report["by"][0];
        let page = row["page"].as_str().unwrap();
        assert!(page.starts_with("0xffff8880") && page.ends_with("000"), "{page}");
        assert!(row["owner"].as_str().unwrap().ends_with("-kernel"), "{row}");
        assert_eq!(row["space"], Value::Null, "kernels are in all address spaces");
    }
}

#[test]
fn objects_are_named_in_the_domain_that_they_belong_to() {
    let capture = Capture::new();
    let file = capture.file("symbols/dom1.kallsyms");
    let mut symbols = fs::read_to_string(&file).unwrap();
    for line in
        ["ffff888000003000 D ring_head", "ffff888000020000 b skb_pool", "ffff888000040000 B last"]
    {
        symbols.push_str(line);
        symbols.push('\n');
    }
    fs::write(&file, symbols).unwrap();
    let report = json(&capture, &["--by", "object"]);
    let rows = report["by"].as_array().unwrap();
    let owner_of = |object: &str| -> Vec<&str> {
        let named = rows.iter().filter(|row| row["object"] == object);
        named.map(|row| row["owner"].as_str().unwrap()).collect()
    };
    for object in ["ring_head", "skb_pool"] {
        let owners = owner_of(object);
        assert!(
            !owners.is_empty() && owners.iter().all(|owner| *owner == "dom1-kernel"),
            "{owners:?}"
        );
    }
    assert!(owner_of("unknown").contains(&"dom0-kernel"));
    let pool = rows.iter().find(|row| row["object"] == "skb_pool").unwrap();
    assert_eq!(
        (&pool["module"], &pool["address"]),
        (&"vmlinux".into(), &"0xffff888000020000".into())
    );
    for structure in ["l1d", "dtlb"] {
        assert_eq!(sum(&report, structure), report[structure]["misses"]);
    }
    let table = run(&capture, &["--by", "object", "--sort", "dtlb-misses"]);
    assert!(table.contains("skb_pool") && table.contains("known for"), "{table}");
}

#[test]
fn the_table_and_csv_have_the_same_rows() {
    let capture = Capture::new();
    let csv = run(&capture, &["--by", "page", "--format", "csv", "--top", "3", "--layer", "idle"]);
    let mut lines = csv.lines();
    let header = lines.next().unwrap();
    assert!(
        header.starts_with(
            "layer,owner,space,module,object,address,l1d_misses,l2_misses,dtlb_misses,"
        )
    );
    let rows: Vec<&str> = lines.collect();
    assert_eq!(rows.len(), 4, "three and the others");
    assert!(
        rows[..3].iter().all(|row| row.starts_with("idle,dom32767-kernel,,,,0xffff8880")),
        "{csv}"
    );
    let table = run(&capture, &["--by", "page", "--top", "3", "--layer", "idle"]);
    let page = rows[0].split(',').nth(5).unwrap();
    assert!(table.contains(page), "{page} is not in {table}");
}

#[test]
fn keys_that_data_cannot_be_sorted_by_are_refused() {
    let capture = Capture::new();
    let said =
        complaint(strata(["replay", text(capture.path()), "--by", "page", "--sort", "l1i-misses"]));
    assert!(said.contains("l1i-misses") && said.contains("dtlb-misses"), "{said}");
}
