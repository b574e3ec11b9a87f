//! `strata replay`: keys, laws, filters.

use crate::synthetic::{Capture, INSTRUCTIONS, REP_ITERATIONS};
use crate::{output, strata, text};
use serde_json::Value;

fn json(arguments: &[&str]) -> Value {
    let capture = Capture::new();
    let fixed = ["replay", text(capture.path()), "--format", "json"];
    serde_json::from_str(&output(strata(fixed.into_iter().chain(arguments.iter().copied()))))
        .unwrap()
}

fn rows(report: &Value) -> &Vec<Value> {
    report["by"].as_array().unwrap()
}

fn sum(report: &Value, keys: [&str; 2]) -> u64 {
    rows(report).iter().map(|row| row[keys[0]][keys[1]].as_u64().unwrap()).sum()
}

#[test]
fn json_has_every_promised_key_and_a_number_in_it() {
    let report = json(&[]);
    assert_eq!(report["schema"], 1);
    assert_eq!(report["command"], "replay");
    assert_eq!(report["version"], report["strata"]);
    assert_eq!(report["semantics"], "per-reference");
    assert_eq!(report["instructions"], INSTRUCTIONS);
    assert_eq!(report["rep_iterations"], REP_ITERATIONS);
    assert_eq!(report["trace_hash"].as_str().unwrap().len(), 32);
    let promised: [(&str, &[&str]); 5] = [
        ("l1i", &["accesses", "hits", "misses"]),
        ("l1d", &["accesses", "hits", "misses", "reads", "writes", "read_misses", "write_misses"]),
        (
            "l2",
            &[
                "accesses",
                "hits",
                "misses",
                "inst_misses",
                "read_misses",
                "write_misses",
                "writebacks",
            ],
        ),
        ("itlb", &["accesses", "hits", "misses"]),
        ("dtlb", &["accesses", "hits", "misses"]),
    ];
    for (structure, keys) in promised {
        for key in keys {
            assert!(report[structure][key].is_u64(), "{structure}.{key}");
            let row = &rows(&report)[0][structure][key];
            // A write-back is nobody's: known of the whole only.
            assert_eq!(row.is_u64(), *key != "writebacks", "by[0].{structure}.{key}");
        }
    }
    for key in ["layer", "module", "function", "address", "instructions"] {
        assert!(rows(&report)[0].get(key).is_some(), "by[0].{key}");
    }
}

#[test]
fn json_states_machine_delivery_devices_patches_and_stale_hits() {
    let report = json(&["--set", "l2.size=4MiB"]);
    assert_eq!(report["machine"]["name"], "vee07");
    assert_eq!(report["machine"]["l2"]["size"], "4MiB");
    assert_eq!(report["machine"]["dtlb"]["entries"], 64);
    assert_eq!(report["event_delivery"], "synthesised");
    assert_eq!(report["stale_hits"], 0);
    assert_eq!(report["dma"]["transfers"], 400);
    assert_eq!(report["patches"].as_array().unwrap().len(), 1);
    assert_eq!(report["truncated"], Value::Null);
}

#[test]
fn rows_sum_to_the_totals_and_hits_and_misses_to_the_accesses() {
    for by in ["layer", "module", "function"] {
        let report = json(&["--by", by]);
        assert_eq!(report["grouped_by"], by);
        let instructions: u64 =
            rows(&report).iter().map(|row| row["instructions"].as_u64().unwrap()).sum();
        assert_eq!(instructions, INSTRUCTIONS, "{by}");
        for structure in ["l1i", "l1d", "l2", "itlb", "dtlb"] {
            for key in ["accesses", "hits", "misses"] {
                assert_eq!(
                    sum(&report, [structure, key]),
                    report[structure][key],
                    "{structure} {key}"
                );
            }
            let all = &report[structure];
            let parts = all["hits"].as_u64().unwrap() + all["misses"].as_u64().unwrap();
            assert_eq!(all["accesses"], parts);
            assert!(all["misses"].as_u64().unwrap() > 0, "a test without {structure} misses");
        }
    }
}

#[test]
fn one_address_has_each_domains_name_and_code_without_one_is_unknown() {
    let report = json(&[]);
    let names: Vec<(&str, Option<&str>, &str)> = rows(&report)
        .iter()
        .map(|row| {
            let name = |key: &str| row[key].as_str();
            (name("layer").unwrap(), name("module"), name("function").unwrap())
        })
        .collect();
    for expected in [
        ("dom0-kernel", Some("vmlinux"), "eth_rx"),
        ("dom1-kernel", Some("vmlinux"), "tcp_sendmsg"),
        ("hypervisor", Some("xen"), "lstar_enter"),
        ("idle", Some("xen"), "lstar_enter"),
        ("dom1-user", None, "unknown"),
    ] {
        assert!(names.contains(&expected), "{expected:?} is not in {names:?}");
    }
    let named = report["named"].as_array().unwrap();
    let of = |layer: &str| named.iter().find(|entry| entry["layer"] == layer).unwrap();
    assert_eq!(of("dom1-user")["with_function"], 0);
    assert_eq!(of("dom1-kernel")["with_function"], of("dom1-kernel")["instructions"]);
}

#[test]
fn what_top_leaves_out_is_summed_in_others() {
    let report = json(&["--top", "2", "--sort", "dtlb-misses"]);
    let misses = |row: &Value| row["dtlb"]["misses"].as_u64().unwrap();
    assert_eq!(rows(&report).len(), 2);
    assert!(misses(&rows(&report)[0]) >= misses(&rows(&report)[1]));
    let shown = sum(&report, ["dtlb", "misses"]);
    assert_eq!(shown + misses(&report["others"]), misses(&report));
    assert!(
        misses(&rows(&report)[1])
            >= misses(&report["others"]) / report["others"]["rows"].as_u64().unwrap()
    );
}

#[test]
fn a_layer_filter_keeps_the_totals_of_the_machine() {
    let report = json(&["--layer", "dom1-kernel", "--layer", "idle", "--by", "layer"]);
    let layers: Vec<&str> =
        rows(&report).iter().map(|row| row["layer"].as_str().unwrap()).collect();
    assert_eq!(layers, ["dom1-kernel", "idle"]);
    assert_eq!(report["instructions"], INSTRUCTIONS);
}

#[test]
fn a_range_and_a_warm_up_count_what_is_left() {
    let report = json(&["--range", "1k..5k", "--warm-up", "500"]);
    let counted = report["instructions"].as_u64().unwrap();
    // Block executions are not cut: the ends are off by less than one block each.
    assert!((3490..=3510).contains(&counted), "{counted}");
    assert_eq!(
        (report["range"]["from"].as_u64(), report["range"]["to"].as_u64()),
        (Some(1000), Some(5000))
    );
    assert_eq!(report["trace_hash"], json(&[])["trace_hash"]);
}

#[test]
fn another_machine_gives_other_counts_and_two_runs_the_same() {
    let plain = json(&[]);
    assert_eq!(plain["l2"], json(&[])["l2"]);
    let smaller = json(&["--set", "dtlb.entries=4"]);
    assert!(smaller["dtlb"]["misses"].as_u64() > plain["dtlb"]["misses"].as_u64());
    let off = json(&["--set", "event-delivery=off"]);
    assert_eq!(off["synthesised_references"], 0);
    assert!(off["l1d"]["accesses"].as_u64() < plain["l1d"]["accesses"].as_u64());
}

#[test]
fn csv_rows_sum_to_the_total_and_carry_machine_and_trace() {
    let capture = Capture::new();
    let run = ["replay", text(capture.path()), "--format", "csv", "--top", "3"];
    let text = output(strata(run));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|field| field == name).unwrap();
    let (instructions, machine) = (column("instructions"), column("machine"));
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4, "three rows and the others");
    let sum: u64 = rows.iter().map(|row| row[instructions].parse::<u64>().unwrap()).sum();
    assert_eq!(sum, INSTRUCTIONS);
    assert!(
        rows.iter().all(|row| &row[machine] == "vee07" && row[column("trace_hash")].len() == 32)
    );
}

#[test]
fn without_symbols_everything_is_unknown_and_the_report_says_why() {
    let report = json(&["--no-symbols"]);
    assert!(rows(&report).iter().all(|row| row["function"] == "unknown"));
    assert_eq!(report["symbols"]["used"], false);
    assert!(report["remarks"].to_string().contains("switched off"), "{}", report["remarks"]);
}
