use super::*;
use crate::annotation::Attribution;
use crate::annotation::tests::Story;
use crate::functions::Function;

/// A guest sends two packets; the hypervisor looks at one twice; nothing sends the second on.
fn story() -> (Entries, Names) {
    let mut story = Story::new(Attribution::UntilNext);
    story.tell(Arrival::Start, "dom1-user:main", 10);
    story.tell(Arrival::Syscall, "dom1-kernel:write", 5);
    story.tell(Arrival::Call, "dom1-kernel:write>tcp_sendmsg", 5);
    for _ in 0..4 {
        story.tell(Arrival::Call, "dom1-kernel:write>tcp_sendmsg>copy", 10);
        story.tell(Arrival::Return, "dom1-kernel:write>tcp_sendmsg", 2);
    }
    story.tell(Arrival::Hypercall, "hypervisor:evtchn_send", 7);
    story.tell(Arrival::Call, "hypervisor:evtchn_send>set_pending", 3);
    story.tell(Arrival::Entered, "dom0-kernel:do_IRQ", 20);
    story.tell(Arrival::Call, "dom0-kernel:do_IRQ>copy", 9);
    story.tell(Arrival::Resumed, "dom1-user:main", 10);
    story.tell(Arrival::Syscall, "dom1-kernel:write", 5);
    story.tell(Arrival::Call, "dom1-kernel:write>tcp_sendmsg", 5);
    let names = Names::new(story.paths.clone(), story.functions.clone());
    (story.end().1, names)
}

fn query(from: &str, to: &str) -> FlowQuery {
    FlowQuery {
        from: from.parse().unwrap(),
        via: Vec::new(),
        to: Some(to.parse().unwrap()),
        nth: 1,
        latest: false,
        limit: 1000,
    }
}

fn told(query: &FlowQuery, selection: &FlowSelection) -> (Vec<(String, u64, i64, u64)>, Flow) {
    let (entries, names) = story();
    let found = query.find(&entries, &names).unwrap();
    let flow = Flow::new(&found, &entries, &names, selection).unwrap();
    let rows = flow.rows.iter();
    let rows = rows.map(|row| (names.text_of(row.path), row.instructions, row.depth, row.elided));
    (rows.collect(), flow)
}

fn fails(query: &FlowQuery) -> String {
    let (entries, names) = story();
    query.find(&entries, &names).unwrap_err().to_string()
}

fn row(name: &str, instructions: u64, depth: i64, elided: u64) -> (String, u64, i64, u64) {
    (name.to_owned(), instructions, depth, elided)
}

#[test]
fn a_flow_counts_instructions_from_its_first_row_and_ends_with_the_row_asked_for() {
    let (rows, flow) = told(&query("tcp_sendmsg", "set_pending"), &FlowSelection::default());
    let copies = [5, 17, 29, 41].map(|at| row("dom1-kernel:copy", at, 1, 0));
    let mut expected = vec![row("dom1-kernel:tcp_sendmsg", 0, 0, 0)];
    expected.extend(copies);
    expected.push(row("hypervisor:evtchn_send", 53, 0, 0));
    expected.push(row("hypervisor:set_pending", 60, 1, 0));
    assert_eq!(rows, expected);
    assert_eq!((flow.at, flow.instructions, flow.elided, flow.hidden), (15, 60, 0, 0));
}

#[test]
fn repeats_are_left_out_and_counted() {
    let selection = FlowSelection { collapse: true, ..FlowSelection::default() };
    let (rows, flow) = told(&query("tcp_sendmsg", "set_pending"), &selection);
    let names: Vec<(&str, u64)> = rows.iter().map(|row| (row.0.as_str(), row.3)).collect();
    let expected = [
        ("dom1-kernel:tcp_sendmsg", 0),
        ("dom1-kernel:copy", 3),
        ("hypervisor:evtchn_send", 0),
        ("hypervisor:set_pending", 0),
    ];
    assert_eq!((names.as_slice(), flow.elided), (expected.as_slice(), 3));
}

#[test]
fn layers_and_depth_hide_rows_but_never_the_first_and_the_last() {
    let by_layer =
        FlowSelection { layers: vec!["hypervisor".parse().unwrap()], ..FlowSelection::default() };
    let (rows, flow) = told(&query("tcp_sendmsg", "do_IRQ"), &by_layer);
    let names: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    let expected = [
        "dom1-kernel:tcp_sendmsg",
        "hypervisor:evtchn_send",
        "hypervisor:set_pending",
        "dom0-kernel:do_IRQ",
    ];
    assert_eq!((names.as_slice(), flow.hidden), (expected.as_slice(), 4));
    let by_depth = FlowSelection { depth: Some(0), ..FlowSelection::default() };
    let (rows, flow) = told(&query("tcp_sendmsg", "dom0-kernel:copy"), &by_depth);
    assert!(rows.iter().all(|row| row.0 != "dom1-kernel:copy"));
    // The four copies, and what the hypervisor called.
    assert_eq!(flow.hidden, 5);
}

#[test]
fn the_latest_beginning_is_taken_if_asked_for_and_else_the_nth() {
    let (entries, names) = story();
    let mut latest = query("dom1-kernel:copy", "evtchn_send");
    latest.latest = true;
    let found = latest.find(&entries, &names).unwrap();
    assert_eq!((found.first, found.last), (6, 7));
    let mut third = query("dom1-kernel:copy", "evtchn_send");
    third.nth = 3;
    assert_eq!(third.find(&entries, &names).unwrap().first, 5);
}

#[test]
fn what_has_to_come_in_between_is_waited_for() {
    let (entries, names) = story();
    let mut via = query("write", "copy");
    via.via = vec!["do_IRQ".parse().unwrap()];
    let found = via.find(&entries, &names).unwrap();
    assert_eq!((found.first, found.last), (1, 10));
}

#[test]
fn a_function_in_several_layers_is_told() {
    let (entries, names) = story();
    let found = query("write", "copy").find(&entries, &names).unwrap();
    let [said] = found.ambiguous.as_slice() else { panic!("{:?}", found.ambiguous) };
    for part in ["dom0-kernel:copy", "dom1-kernel:copy", "the first entered is dom1-kernel:copy"] {
        assert!(said.contains(part), "{said}");
    }
    let found = query("write", "dom0-kernel:copy").find(&entries, &names).unwrap();
    assert!(found.ambiguous.is_empty());
}

#[test]
fn what_never_occurs_is_named_with_what_is_called_alike() {
    let said = fails(&query("tcp_sendmgs", "copy"));
    assert!(said.contains("did you mean dom1-kernel:tcp_sendmsg?"), "{said}");
    let said = fails(&query("write", "hypervisor:do_IRQ"));
    assert!(said.contains("did you mean dom0-kernel:do_IRQ?"), "{said}");
    assert!(!fails(&query("write", "quite_another")).contains("did you mean"));
}

#[test]
fn a_flow_that_never_closes_says_how_far_it_went() {
    let mut second = query("tcp_sendmsg", "set_pending");
    second.nth = 2;
    let said = fails(&second);
    for part in ["dom1-kernel:tcp_sendmsg", "instruction 122", "set_pending", "0 rows", "--nth"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    second.nth = 3;
    let said = fails(&second);
    assert!(said.contains("no number 3 of the entries of tcp_sendmsg"), "{said}");
    assert!(said.contains("has 2 of them"), "{said}");
    let mut short = query("tcp_sendmsg", "do_IRQ");
    short.limit = 3;
    let said = fails(&short);
    assert!(said.contains("limit of 3 rows") && said.contains("--limit"), "{said}");
}

#[test]
fn flows_that_end_are_counted_though_another_begins_after_the_last() {
    let mut third = query("tcp_sendmsg", "do_IRQ");
    (third.latest, third.nth) = (true, 3);
    let said = fails(&third);
    assert!(said.contains("no number 3 of the flows from tcp_sendmsg to their ends"), "{said}");
    assert!(said.contains("has 1 of them"), "{said}");
}

#[test]
fn a_stream_without_names_is_said_to_have_none() {
    let (entries, names) = story();
    let nameless = |function: &Function| Function { name: None, ..function.clone() };
    let functions = names.functions().iter().map(nameless).collect();
    let names = Names::new(names.paths().clone(), functions);
    let said = query("tcp_sendmsg", "do_IRQ").find(&entries, &names).unwrap_err().to_string();
    assert!(said.contains("has a name") && said.contains("--no-symbols"), "{said}");
}

#[test]
fn of_several_cpus_the_rows_of_one_are_shown_between_the_ends() {
    let mut story = Story::new(Attribution::UntilNext);
    story.tell_on(0, Arrival::Start, "dom1-kernel:write", 5);
    story.tell_on(1, Arrival::Start, "dom0-kernel:poll", 7);
    story.tell_on(0, Arrival::Call, "dom1-kernel:write>copy", 2);
    story.tell_on(1, Arrival::Call, "dom0-kernel:poll>forward", 3);
    let names = Names::new(story.paths.clone(), story.functions.clone());
    let entries = story.end().1;
    let found = query("write", "forward").find(&entries, &names).unwrap();
    let selection = FlowSelection { cpus: vec![0], ..FlowSelection::default() };
    let flow = Flow::new(&found, &entries, &names, &selection).unwrap();
    let rows: Vec<_> = flow.rows.iter().map(|row| (row.cpu, row.instructions)).collect();
    assert_eq!(rows, [(0, 0), (0, 12), (1, 14)]);
    assert_eq!(flow.hidden, 1);
}

#[test]
fn without_an_end_a_query_takes_the_rows_to_the_last() {
    let (entries, names) = story();
    let mut open = query("do_IRQ", "copy");
    open.to = None;
    let found = open.find(&entries, &names).unwrap();
    assert_eq!((found.first, found.last), (9, entries.len() - 1));
}

#[test]
fn every_flow_is_where_queries_of_one_after_the_other_find_it() {
    let (entries, names) = story();
    let queries = [query("tcp_sendmsg", "copy"), query("write", "do_IRQ"), query("copy", "nobody")];
    let all = every_flow(&queries, &entries, &names).unwrap();
    for (query, places) in queries.iter().zip(&all) {
        for nth in 1..=places.len() as u64 + 1 {
            let query = FlowQuery { nth, latest: true, ..query.clone() };
            let found = query.find(&entries, &names).ok().map(|found| (found.first, found.last));
            let place = places.get(nth as usize - 1);
            assert_eq!(found, place.map(|place| (place.first, place.last)), "{query:?}");
        }
    }
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0]);
    let flow = all[1][0];
    assert_eq!((flow.at, flow.instructions), (10, 5 + 5 + 4 * 12 + 7 + 3));
}
