//! `strata replay` on other machines: more levels, walks, costs, tag schemes, classes of misses.

use crate::synthetic::Capture;
use crate::{complaint, output, strata, text};
use serde_json::Value;

fn run(arguments: &[&str]) -> String {
    let capture = Capture::new();
    let fixed = ["replay", text(capture.path())];
    output(strata(fixed.into_iter().chain(arguments.iter().copied())))
}

fn json(arguments: &[&str]) -> Value {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&run(&arguments)).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn a_third_level_and_a_second_tlb_are_told_where_the_machine_has_them() {
    let zen = json(&["--machine", "zen4"]);
    for key in ["accesses", "misses", "inst_misses", "read_misses", "victims", "written_on"] {
        number(&zen["l3"][key]);
    }
    assert_eq!(zen["l3"]["accesses"], zen["l2"]["misses"]);
    let first: u64 = ["itlb", "dtlb"].iter().map(|tlb| number(&zen[tlb]["misses"])).sum();
    assert_eq!(zen["stlb"]["accesses"], first);
    assert_eq!(zen["page_walks"]["walks"], zen["stlb"]["misses"]);
    let vee = json(&[]);
    assert!(vee.get("l3").is_none() && vee.get("stlb").is_none());
    assert_eq!(vee["estimated_cycles"], Value::Null);
}

#[test]
fn walks_read_page_tables_where_the_machine_says_so() {
    let off = json(&["--machine", "zen4"]);
    let on = json(&["--machine", "zen4", "--set", "walk.memory=l2"]);
    assert_eq!(
        (number(&off["page_walks"]["accesses"]), &off["l2"]["walk_accesses"]),
        (0, &0.into())
    );
    assert_eq!(on["page_walks"]["walks"], off["page_walks"]["walks"]);
    assert_eq!(on["l2"]["walk_accesses"], on["page_walks"]["accesses"]);
    assert!(number(&on["page_walks"]["accesses"]) >= number(&on["page_walks"]["walks"]));
    let rows = on["by"].as_array().unwrap();
    let sum: u64 = rows.iter().map(|row| number(&row["page_walks"]["accesses"])).sum();
    assert_eq!(sum, number(&on["page_walks"]["accesses"]));
    let table = run(&["--machine", "zen4", "--set", "walk.memory=l2", "--by", "layer"]);
    assert!(table.contains("page walks"), "{table}");
}

#[test]
fn cycles_are_an_estimate_that_rows_sum_to_and_can_be_sorted_by() {
    let costs = ["--set", "cost.base-cpi=2", "--set", "cost.memory=100", "--sort", "cycles"];
    let report = json(&costs);
    let cycles = |value: &Value| value["estimated_cycles"].as_f64().unwrap();
    let l2 = number(&report["l2"]["misses"]) as f64;
    assert_eq!(cycles(&report), number(&report["instructions"]) as f64 * 2.0 + l2 * 100.0);
    let rows: Vec<f64> = report["by"].as_array().unwrap().iter().map(cycles).collect();
    assert!(rows.is_sorted_by(|a, b| a >= b), "{rows:?}");
    assert!((rows.iter().sum::<f64>() - cycles(&report)).abs() < 1e-6 * cycles(&report));
    let table = run(&costs);
    assert!(table.contains("cycles") && table.contains("an estimate"), "{table}");
    let csv = run(&[&costs[..], &["--format", "csv"]].concat());
    let column = csv.lines().next().unwrap().split(',').position(|name| name == "estimated_cycles");
    let first: f64 =
        csv.lines().nth(1).unwrap().split(',').nth(column.unwrap()).unwrap().parse().unwrap();
    assert_eq!(first, rows[0]);
}

#[test]
fn sorting_by_what_the_machine_lacks_is_refused_with_a_way_out() {
    let capture = Capture::new();
    let refused = |key: &str| complaint(strata(["replay", text(capture.path()), "--sort", key]));
    let said = refused("cycles");
    assert!(said.contains("vee07") && said.contains("cost.base-cpi"), "{said}");
    assert!(refused("l3-misses").contains("l3-misses"));
    assert!(refused("stlb-mpki").contains("stlb-mpki"));
}

#[test]
fn tag_schemes_differ_in_what_a_cr3_write_costs_and_count_switches() {
    let misses = |tags: &str| {
        let report = json(&["--set", &format!("tags={tags}")]);
        (number(&report["dtlb"]["misses"]), report["flushes"].clone())
    };
    let (none, _) = misses("none");
    let (pcid, flushes) = misses("pcid");
    assert!(pcid <= none);
    // Every CR3 write of this capture is of the value that it has.
    assert_eq!(
        (number(&flushes["switches"]), &flushes["explicit_flushes"]),
        (0, &flushes["cr3_writes"])
    );
    let said = run(&["--set", "tags=vpid"]);
    assert!(said.contains("what-if tags saw 0 switches and 400 explicit flushes"), "{said}");
}

#[test]
fn every_miss_has_one_class_and_layers_and_evictors_sum_to_it() {
    let small = ["l1d.size=4KiB", "l1d.ways=2", "l2.size=16KiB"];
    let report = json(&["--classify", "--set", small[0], "--set", small[1], "--set", small[2]]);
    let sum =
        |value: &Value, keys: &[&str]| keys.iter().map(|key| number(&value[key])).sum::<u64>();
    let caches = ["compulsory", "invalidated", "inflicted", "conflict", "capacity"];
    for structure in ["l1i", "l1d", "l2"] {
        let classes = &report["classes"][structure];
        assert_eq!(classes["misses"], report[structure]["misses"], "{structure}");
        assert_eq!(sum(classes, &caches), number(&classes["misses"]), "{structure}");
        let rows = classes["by"].as_array().unwrap();
        for key in caches {
            let rows: u64 = rows.iter().map(|row| number(&row[key])).sum();
            assert_eq!(rows, number(&classes[key]), "{structure} {key}");
        }
        for row in rows {
            let by = row["inflicted_by"].as_object().unwrap();
            assert_eq!(by.values().map(number).sum::<u64>(), number(&row["inflicted"]));
            assert!(!by.contains_key(row["layer"].as_str().unwrap()), "inflicted on itself");
        }
    }
    for (level, structures) in [("l1", &["l1i", "l1d"][..]), ("l2", &["l2"])] {
        let matrix = report["evictions"][level].as_object().unwrap();
        let diagonal = matrix.iter().filter_map(|(missed, by)| by.get(missed)).map(number);
        assert!(diagonal.sum::<u64>() > 0, "{level}");
        let classes = structures.iter().map(|&structure| &report["classes"][structure]);
        for row in classes.flat_map(|classes| classes["by"].as_array().unwrap()) {
            for (by, inflicted) in row["inflicted_by"].as_object().unwrap() {
                let lines = number(&matrix[row["layer"].as_str().unwrap()][by]);
                assert!(lines >= number(inflicted), "{level} {by} {row}");
            }
        }
    }
    let tlbs = ["cold", "flush_induced", "capacity_or_conflict"];
    for structure in ["itlb", "dtlb"] {
        let classes = &report["classes"][structure];
        assert_eq!(classes["misses"], report[structure]["misses"], "{structure}");
        assert_eq!(sum(classes, &tlbs), number(&classes["misses"]), "{structure}");
        let causes = classes["flush_causes"].as_object().unwrap();
        assert_eq!(causes.values().map(number).sum::<u64>(), number(&classes["flush_induced"]));
    }
    let l1d = &report["classes"]["l1d"];
    assert!(number(&l1d["inflicted"]) > 0 && number(&l1d["conflict"]) > 0, "{l1d}");
    assert!(number(&report["classes"]["dtlb"]["flush_induced"]) > 0);
}

#[test]
fn classes_cost_nothing_else_and_are_columns_of_the_table_by_layer() {
    let (mut with, without) = (json(&["--classify"]), json(&[]));
    assert!(without.get("classes").is_none());
    assert!(without.get("evictions").is_none());
    with.as_object_mut().unwrap().retain(|key, _| !matches!(&key[..], "classes" | "evictions"));
    // Each run has a capture folder of its own.
    with["source"] = without["source"].clone();
    assert_eq!(with, without);
    let table = run(&["--classify", "--by", "layer"]);
    for part in ["Why caches missed", "Who evicted whom in L1:", "Why TLBs missed"] {
        assert!(table.contains(part), "{part:?} is not in {table}");
    }
    let by_layer = ["--classify", "--format", "csv", "--by", "layer", "--top", "2"];
    let by_layer = run(&by_layer);
    let mut reader = csv::Reader::from_reader(by_layer.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|field| field == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    for (structure, classes) in [("l2", 5), ("dtlb", 3)] {
        let of_class = |name: &str| name.starts_with(structure) && name.ends_with("_misses");
        let plain = ["inst", "read", "write"].map(|kind| format!("{structure}_{kind}_misses"));
        let columns: Vec<usize> = header
            .iter()
            .enumerate()
            .filter(|(_, name)| of_class(name) && !plain.contains(&(*name).to_owned()))
            .map(|(i, _)| i)
            .filter(|&i| i != column(&format!("{structure}_misses")))
            .collect();
        assert_eq!(columns.len(), classes, "{structure}");
        for row in &rows {
            let sum: u64 = columns.iter().map(|&i| row[i].parse::<u64>().unwrap()).sum();
            assert_eq!(sum.to_string(), row[column(&format!("{structure}_misses"))]);
        }
    }
    let by_function = run(&["--classify", "--format", "csv"]);
    for column in ["l2_compulsory_misses", "l1_evicted_by"] {
        assert!(!by_function.contains(column), "{column} is known by layer only");
    }
}

#[test]
fn columns_of_who_evicted_whom_are_those_of_the_json() {
    let report = json(&["--classify", "--by", "layer"]);
    let table = run(&["--classify", "--by", "layer", "--format", "csv"]);
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let header = reader.headers().unwrap().clone();
    let mut seen = 0;
    for row in reader.records().map(Result::unwrap) {
        for (name, misses) in header.iter().zip(&row) {
            let Some((level, by)) = name.split_once("_evicted_by_") else { continue };
            let expected = report["evictions"][level][&row[0]].get(by).map_or(0, number);
            assert_eq!(misses, expected.to_string(), "{name} of {}", &row[0]);
            seen += expected;
        }
    }
    let matrices = report["evictions"].as_object().unwrap().values();
    let rows = matrices.flat_map(|matrix| matrix.as_object().unwrap().values());
    let counts = rows.flat_map(|row| row.as_object().unwrap().values()).map(number);
    assert_eq!(seen, counts.sum::<u64>());
    assert!(seen > 0);
}

#[test]
fn a_partition_of_nobody_in_the_trace_is_a_remark_that_names_who_there_is() {
    let partitions = |names: &[&str]| {
        let set = names.iter().map(|name| format!("l2.partition.{name}=0-3")).collect::<Vec<_>>();
        set.into_iter().flat_map(|set| ["--set".to_owned(), set]).collect::<Vec<_>>()
    };
    let with = |names: &[&str], more: &[&str]| {
        let set = partitions(names);
        let arguments: Vec<_> =
            set.iter().map(String::as_str).chain(more.iter().copied()).collect();
        run(&arguments)
    };
    let said = "without effect: l2.partition.dmo1, l2.partition.dom7-kernel; no layer or domain that \
                was replayed is called so; there are hypervisor, dom0, dom0-kernel, dom1, \
                dom1-kernel, dom1-user, idle";
    let wrong = ["dom0", "dom7-kernel", "dmo1", "dom1-user"];
    let report: Value = serde_json::from_str(&with(&wrong, &["--format", "json"])).unwrap();
    assert!(report["remarks"].as_array().unwrap().contains(&said.into()), "{}", report["remarks"]);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&with(&wrong, &[])).contains(&format!("note {said}")));
    assert!(!with(&["dom0", "dom1-user"], &[]).contains("without effect"));
}

#[test]
fn help_lists_every_preset() {
    let help = output(strata(["replay", "--help"]));
    for name in strata_cachemodel::preset::names() {
        assert!(help.contains(name), "{name} is not in {help}");
    }
}
