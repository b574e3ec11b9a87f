use super::*;
use crate::call_graph::sample;
use crate::known::Known;
use std::process::Command;

fn sample_events(machine: &Machine) -> Vec<Metric> {
    Metric::of(machine, Known::default())
}

/// Rows of `callgrind_annotate`: the number in the first column by `layer:function`. `None` where
/// it is not installed.
fn annotated(text: &str, inclusive: bool) -> Option<(u64, HashMap<String, u64>)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut command = Command::new("callgrind_annotate");
    command.args(["--threshold=100", "--auto=no"]);
    command.arg(if inclusive { "--inclusive=yes" } else { "--inclusive=no" });
    let output = match command.arg(file.path()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("callgrind_annotate: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    let table = String::from_utf8(output.stdout).unwrap();
    let number = |line: &str| {
        let digits: String = line.trim_start().chars().take_while(|c| *c != ' ').collect();
        digits.replace(',', "").parse::<u64>().ok()
    };
    let total = table.lines().find(|line| line.contains("PROGRAM TOTALS")).and_then(number);
    let mut rows = HashMap::new();
    let body = table.lines().skip_while(|line| !line.contains("file:function")).skip(2);
    for line in body {
        let name = line.split("  ").last().unwrap().trim();
        // What follows the name in brackets is the object.
        let name = name.rsplit_once(" [").map_or(name, |(name, _)| name);
        rows.insert(name.to_owned(), number(line).unwrap_or(0));
    }
    Some((total.unwrap(), rows))
}

#[test]
fn callgrind_annotate_reads_it_and_finds_our_totals() {
    let (tree, machine) = (sample::tree(), Machine::load("vee07").unwrap());
    let text = write(&tree, &sample_events(&machine), &machine, "sample");
    let Some((total, rows)) = annotated(&text, false) else { return };
    assert_eq!(total, tree.total().instructions);
    assert_eq!(rows.values().sum::<u64>(), total, "{rows:?}");
    assert_eq!(rows["hypervisor:do_grant_table_op"], 5300);
    assert_eq!(rows["dom0-kernel:init [bridge]"], 56);
    let (_, rows) = annotated(&text, true).unwrap();
    assert_eq!(rows["(machine):(machine)"], total);
    let fib = "dom1-user:fib(unsigned int) & <more> 8";
    let levels: Vec<u64> =
        [fib.to_owned(), format!("{fib}'2"), format!("{fib}'3")].iter().map(|n| rows[n]).collect();
    assert_eq!(levels, [80 + 81 + 82 + 3, 81 + 82 + 3, 82 + 3]);
    for cost in tree.by_function() {
        let function = &tree.functions()[cost.function.0 as usize];
        let name = Names::new(&tree).texts[cost.function.0 as usize].clone();
        let row = rows[&format!("{}:{name}", function.layer)];
        assert_eq!(row, cost.inclusive.instructions, "{name}");
    }
}

#[test]
fn what_a_place_calls_and_does_sums_to_what_it_is_called_for() {
    let (tree, machine) = (sample::tree(), Machine::load("vee07").unwrap());
    let events = sample_events(&machine);
    let bodies = bodies(&tree, &events, &machine);
    for (place, body) in &bodies {
        let mut sum = body.own.clone();
        for call in body.calls.values() {
            add(&mut sum, &call.costs);
        }
        let mut called = vec![0; events.len()];
        for call in bodies.values().filter_map(|body| body.calls.get(place)) {
            add(&mut called, &call.costs);
        }
        let total = tree.total();
        let all = || events.iter().map(|event| event.value(&total, &machine)).collect();
        let expected: Vec<u64> = if place.is_none() { all() } else { called };
        assert_eq!(sum, expected, "{place:?}");
    }
}

#[test]
fn names_are_written_once_and_lines_are_of_the_format() {
    let (tree, machine) = (sample::tree(), Machine::load("vee07").unwrap());
    let events = sample_events(&machine);
    let text = write(&tree, &events, &machine, "two\nlines");
    assert_eq!(text.matches(" do_grant_table_op\n").count(), 1);
    assert!(text.contains("cmd: two lines\n"));
    assert!(text.contains("events: Ir L1Im L1Dm L2m ITLBm DTLBm Walks\n"), "{text}");
    let body = text.split("summary:").nth(1).unwrap();
    for line in body.lines().skip(1).filter(|line| !line.is_empty()) {
        let is_cost = line.starts_with("0 ") && line.split(' ').count() == events.len() + 1;
        let keys = ["ob=(", "fl=(", "fn=(", "cob=(", "cfi=(", "cfn=(", "calls=", "totals: "];
        assert!(is_cost || keys.iter().any(|key| line.starts_with(key)), "{line}");
    }
}
