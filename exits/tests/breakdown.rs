//! Phases between probes: by hand, on the real recordings, and as Table 3 of the Xen/VT paper.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use strata_exits::{
    Account, Accounting, Babeltrace, Breakdown, BreakdownReport, Native, OldLayout, OldXentrace,
    Paravirtual, PerfData, PerfScript, Phases, Source, TraceCmd, Xentrace,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn unpacked(name: &str) -> Vec<u8> {
    let packed = fs::read(folder("tests/data").join(name)).unwrap();
    let mut bytes = Vec::new();
    liblzma::read::XzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The phases files that docs/phases has.
fn shipped(name: &str) -> String {
    fs::read_to_string(folder("../docs/phases").join(name)).unwrap()
}

fn broken_down(mut source: impl Source, phases: &str) -> BreakdownReport {
    broken_down_of(&mut source, phases)
}

fn broken_down_of(source: &mut impl Source, phases: &str) -> BreakdownReport {
    let phases = Phases::parse(phases, Path::new("phases.toml")).unwrap();
    source.watch(phases.watch()).unwrap();
    let mut account = Account::new(Accounting::default()).unwrap();
    let mut breakdown = Breakdown::new(phases);
    while let Some(event) = source.next_event().unwrap() {
        let interval = account.event(&event);
        breakdown.event(&event, interval.as_ref());
    }
    breakdown.finish(&account.finish(source).unwrap()).unwrap()
}

/// Name and total of each phase, and the number of exits with all probes.
fn totals(report: &BreakdownReport) -> (Vec<(&str, u64)>, u64) {
    let rows = report.rows.iter();
    let rows = rows.map(|row| (row.name.as_deref().unwrap_or("rest"), row.times.total()));
    (rows.collect(), report.complete())
}

const EXITS: &str = r#"
    schema = 1
    [[probe]]
    name = "exit"
    at = "exit"
    [[probe]]
    name = "user"
    event = "kvm:kvm_userspace_exit"
    [[probe]]
    name = "entry"
    at = "entry"
    [[phase]]
    name = "kernel"
    parts = [["exit", "user"]]
"#;

/// Two exits of one vCPU: one with a stay in user space from 10 to 40 of 0 to 45 µs, one without.
const TRACE: &str = "\
q 7/8 [000] 1.000000: kvm:kvm_entry: vcpu 0, rip 0x10
q 7/8 [000] 1.000100: kvm:kvm_exit: vcpu 0 reason IO_INSTRUCTION rip 0x12 info1 0x610008 info2 0x0
q 7/8 [000] 1.000110: kvm:kvm_userspace_exit: reason KVM_EXIT_IO (2)
q 7/9 [001] 1.000120: kvm:kvm_userspace_exit: reason KVM_EXIT_IO (2)
q 7/8 [000] 1.000140: kvm:kvm_pio: pio_read at 0x61 size 1 count 1 val 0x0
q 7/8 [000] 1.000145: kvm:kvm_entry: vcpu 0, rip 0x14
q 7/8 [000] 1.000200: kvm:kvm_exit: vcpu 0 reason CPUID rip 0x16 info1 0x0 info2 0x0
q 7/8 [000] 1.000203: kvm:kvm_entry: vcpu 0, rip 0x18
";

#[test]
fn time_of_no_phase_is_the_rest_and_an_exit_without_a_probe_is_counted() {
    let report = broken_down(PerfScript::new(TRACE.as_bytes()), EXITS);
    assert_eq!(totals(&report), (vec![("kernel", 10_000), ("rest", 35_000)], 1));
    assert_eq!((report.taken, report.backwards, report.whole.total()), (2, 0, 45_000));
    let counts: Vec<(u64, u64)> = report.probes.iter().map(|p| (p.seen, p.missed)).collect();
    // Another thread's stay is seen, and is none of this vCPU's.
    assert_eq!(counts, [(2, 0), (2, 1), (3, 0)]);
}

#[test]
fn exits_are_taken_by_reason_port_and_direction() {
    for (rules, taken) in [
        ("reasons = [\"CPUID\"]", 1),
        ("reasons = [\"CPUID\", \"IO_INSTRUCTION\"]", 2),
        ("ports = [0x61]", 1),
        ("ports = [0x80]", 0),
        ("direction = \"read\"", 1),
        ("direction = \"write\"", 0),
        ("reasons = [\"CPUID\"]\nports = [0x61]", 0),
    ] {
        let phases = EXITS.replacen("[[probe]]", &format!("[exits]\n{rules}\n[[probe]]"), 1);
        let report = broken_down(PerfScript::new(TRACE.as_bytes()), &phases);
        assert_eq!(report.taken, taken, "{rules}");
    }
}

#[test]
fn conditions_choose_among_records_by_their_fields() {
    for (condition, seen) in [
        ("where = { reason = \"KVM_EXIT_IO\" }", 2),
        ("where = { reason = \"KVM_EXIT_MMIO\" }", 0),
        ("where = { cpu = 1 }", 1),
        ("where = { tid = 8, pid = 7 }", 1),
        ("where = { other = 1 }", 0),
    ] {
        let event = "event = \"kvm:kvm_userspace_exit\"";
        let phases = EXITS.replacen(event, &format!("{event}\n{condition}"), 1);
        let report = broken_down(PerfScript::new(TRACE.as_bytes()), &phases);
        assert_eq!(report.probes[1].seen, seen, "{condition}");
    }
    // Of a record with numbers: 2 is KVM_EXIT_IO, at the 210 reads and 210 writes of a port.
    let event = "event = \"kvm:kvm_userspace_exit\"";
    let phases = EXITS.replacen(event, &format!("{event}\nwhere = {{ reason = 2 }}"), 1);
    let data = PerfData::new(Cursor::new(unpacked("kvm-svm/perf.data.xz"))).unwrap();
    assert_eq!(broken_down(data, &phases).probes[1].seen, 420);
}

#[test]
fn reads_of_a_port_under_kvm_come_apart_as_computed_apart_from_this_program() {
    // By a script over the text of the trace: of the reads of port 0x61, exit to
    // kvm_userspace_exit, from there to kvm_pio, from there to the entry, in nanoseconds.
    let parts = [4_103_452, 15_237_960, 1_552_906];
    let expected =
        vec![("KVM, to and from user space", parts[0] + parts[2]), ("User space", parts[1])];
    let phases = shipped("kvm-port-read.toml");
    let text = PerfScript::new(Cursor::new(unpacked("kvm-svm/perf-script.txt.xz")));
    let data = PerfData::new(Cursor::new(unpacked("kvm-svm/perf.data.xz"))).unwrap();
    let of_trace_cmd = TraceCmd::new(Cursor::new(unpacked("kvm-svm/trace-cmd-report.txt.xz")));
    for report in [broken_down(text, &phases), broken_down(data, &phases)] {
        assert_eq!(totals(&report), (expected.clone(), 210));
        assert_eq!((report.taken, report.backwards), (210, 0));
        let seen: Vec<u64> = report.probes.iter().map(|probe| probe.seen).collect();
        assert_eq!(seen[1..3], [842, 420]);
    }
    assert_eq!(broken_down(of_trace_cmd, &phases).complete(), 210);
}

#[test]
fn halts_under_xen_come_apart_as_computed_apart_from_this_program() {
    // By a script over the records: of the 69 exits for HLT, from the exit to where the guest's
    // vCPU stops running, to TRC_SCHED_WAKE, to where it runs, to the entry, in cycles.
    let parts = [5_672_544, 270_497_272, 65_193_656, 8_956_160];
    let expected = vec![
        ("Hypervisor", parts[0] + parts[3]),
        ("Halted", parts[1]),
        ("Waiting for a CPU", parts[2]),
    ];
    let trace = unpacked("xen-pvh-svm/xentrace.bin.xz");
    let report = broken_down(Xentrace::new(&trace[..]).unwrap(), &shipped("xen-halt.toml"));
    assert_eq!(totals(&report), (expected, 69));
    assert_eq!((report.taken, report.backwards, report.whole.total()), (69, 0, 350_319_632));
    let seen: Vec<u64> = report.probes.iter().map(|probe| probe.seen).collect();
    assert_eq!(seen[1..4], [254, 69, 254]);
}

#[test]
fn a_loss_on_one_cpu_cuts_the_exits_of_that_cpu_only() {
    let (one, two) = (1 << 16, 2 << 16);
    let first: [(u64, u32, &[u32]); 3] =
        [(50, 0x21101, &[one]), (100, 0x81103, &[0x72, 0, 0]), (300, 0x81101, &[])];
    let second: [(u64, u32, &[u32]); 4] = [
        (60, 0x21101, &[two]),
        (110, 0x81103, &[0x72, 0, 0]),
        (200, 0x1f001, &[5, 2, 0, 0]),
        (310, 0x81101, &[]),
    ];
    let trace = [xentrace(0, &first), xentrace(1, &second)].concat();
    let phases = EXITS.replacen("event = \"kvm:kvm_userspace_exit\"", "at = \"switched-in\"", 1);
    let report = broken_down(Xentrace::new(&trace[..]).unwrap(), &phases);
    assert_eq!((report.taken, report.probes[1].missed), (1, 1));
}

/// A trace of one CPU: time, event and words of each record, in today's layout of xentrace.
fn xentrace(cpu: u32, records: &[(u64, u32, &[u32])]) -> Vec<u8> {
    let mut window = Vec::new();
    for (time, event, words) in records {
        window.extend((event | (words.len() as u32) << 28 | 1 << 31).to_le_bytes());
        window.extend(time.to_le_bytes());
        words.iter().for_each(|word| window.extend(word.to_le_bytes()));
    }
    let head = [0x2001_f003, cpu, window.len() as u32];
    head.iter().flat_map(|word| word.to_le_bytes()).chain(window).collect()
}

/// The dummy access of the paper: between its ten probes the cycles of Table 3. The guest is d1v0,
/// dom0 d0v0; the guest writes probes 1 and 10 by a hypercall, which is an exit of its own.
#[test]
fn the_paper_s_probes_and_phases_give_table_3() {
    const GUEST: u32 = 1 << 16;
    let hypercall = |time: u64, number: u32| -> [(u64, u32, Vec<u32>); 3] {
        [
            (time - 10, 0x81102, vec![18, 0, 0]),
            (time, 0x800_f000 + number, vec![]),
            (time + 10, 0x81101, vec![]),
        ]
    };
    // 1->3 and 9->10 are 16745 together; 3->6 is 4036 and holds probes 4 and 5.
    let (one, three) = (1_000_000, 1_010_000);
    let (six, seven) = (three + 4036, three + 4036 + 13051);
    let (eight, nine) = (seven + 8183, seven + 8183 + 9382);
    let ten = nine + 16745 - (three - one);
    let mut records = vec![(900_000, 0x21101, vec![GUEST])];
    records.extend(hypercall(one - 500, 1));
    // The guest says so twice; the later one counts.
    records.extend(hypercall(one, 1));
    records.extend([
        (one + 4_000, 0x81102, vec![30, 0, 0]),
        (one + 4_100, 0x82016, vec![0x22e, 1]),
        (three, 0x21021, vec![GUEST]),
        (three, 0x21101, vec![0]),
        (three + 1_000, 0x800_f004, vec![]),
        (three + 2_000, 0x800_f005, vec![]),
        (six, 0x800_f006, vec![]),
        (seven, 0x800_f007, vec![]),
        (eight, 0x800_f008, vec![]),
        (nine, 0x21021, vec![0]),
        (nine, 0x21101, vec![GUEST]),
        (ten - 2_000, 0x81101, vec![]),
    ]);
    records.extend(hypercall(ten, 10));
    // An access of another port, which is not taken, and one without probes.
    records.extend([
        (ten + 10_000, 0x81102, vec![30, 0, 0]),
        (ten + 10_100, 0x82016, vec![0x60, 1]),
        (ten + 11_000, 0x81101, vec![]),
        (ten + 20_000, 0x81102, vec![30, 0, 0]),
        (ten + 20_100, 0x82016, vec![0x22e, 1]),
        (ten + 21_000, 0x81101, vec![]),
    ]);
    let records: Vec<(u64, u32, &[u32])> =
        records.iter().map(|(time, event, words)| (*time, *event, &words[..])).collect();
    let trace = xentrace(0, &records);
    let report = broken_down(Xentrace::new(&trace[..]).unwrap(), &shipped("xen-vt-table-3.toml"));
    // The published table.
    let published = fs::read_to_string(folder("tests/data/published/xen-vt-table-3.csv")).unwrap();
    let rows = published.lines().filter(|line| !line.starts_with('#')).skip(1);
    let rows: Vec<(String, u64, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            (cells[0].to_owned(), cells[1].parse().unwrap(), cells[2].to_owned())
        })
        .collect();
    let ours: Vec<(String, u64, String)> = report
        .rows
        .iter()
        .map(|row| {
            let (name, total) = (row.name.clone().unwrap(), row.times.total());
            (name, total, format!("{:.2}", 100.0 * total as f64 / report.whole.total() as f64))
        })
        .collect();
    assert_eq!(ours, rows);
    assert_eq!(report.whole.total(), 51_397);
    assert_eq!((report.taken, report.complete(), report.probes[0].missed), (2, 1, 1));
}

#[test]
fn records_of_xen_3_0_are_probes_too() {
    // CPU, time, event, five words each; exit and entry are numbered the other way round, and the
    // entry tells the reason (12 is HLT).
    let records: [(u64, u32, [u32; 5]); 5] = [
        (100, 0x2_f00a, [0, 0, 1, 0, 0]),
        (200, 0x8_1001, [0; 5]),
        (210, 0x2_f006, [1, 0, 0, 0, 0]),
        (250, 0x8_4001, [7, 0, 0, 0, 0]),
        (300, 0x8_1002, [12, 0, 0, 0, 0]),
    ];
    let mut bytes = Vec::new();
    for (time, event, words) in records {
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(time.to_le_bytes());
        bytes.extend(event.to_le_bytes());
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    }
    let phases = EXITS.replacen("\"kvm:kvm_userspace_exit\"", "0x2f006", 1).replacen(
        "at = \"entry\"",
        "event = 0x84001\nwhere = { word0 = 7 }",
        1,
    );
    let layout = OldLayout { long: false, by_vcpu: false };
    let mut source = OldXentrace::new(&bytes[..], layout);
    let report = broken_down_of(&mut source, &phases);
    assert_eq!(totals(&report), (vec![("kernel", 10), ("rest", 40)], 1));
    // What is a probe is of interest.
    assert!(source.coverage().skipped.is_empty(), "{:?}", source.coverage());
}

#[test]
fn events_of_a_native_trace_are_probes_by_the_names_that_info_counts_them_by() {
    let trace = folder("../workloads/samples/xen-net-tx/trace.strata");
    let open = || Native::new(fs::File::open(&trace).unwrap()).unwrap();
    let mut source = open();
    let (mut hypercalls, mut grants, mut ports) = (0, 0, 0);
    let account = Account::new(Accounting::default()).unwrap().run(&mut source).unwrap();
    for row in &account.paravirtual {
        let Paravirtual::Hypercall(number) = row.entry else { continue };
        hypercalls += row.count;
        grants += if number == 20 { row.count } else { 0 };
        ports += if number == 32 { row.count } else { 0 };
    }
    assert!(grants > 0 && ports > 0 && hypercalls > grants + ports);
    for (condition, seen) in [
        ("", hypercalls),
        ("where = { number = 20 }", grants),
        ("where = { number = 32 }", ports),
        ("where = { number = 20, value = 1 }", 0),
    ] {
        let event = format!("event = \"hypercall\"\n{condition}");
        let phases = EXITS.replacen("event = \"kvm:kvm_userspace_exit\"", &event, 1);
        assert_eq!(broken_down(open(), &phases).probes[1].seen, seen, "{condition}");
    }
}

#[test]
fn records_of_lttng_are_probes_by_the_names_that_it_gives_them() {
    let text = "\
[100.000000001] (+0.1) h kvm_x86_entry: { cpu_id = 0 }, { pid = 7, tid = 8 }, { vcpu_id = 1 }
[100.000000005] (+0.1) h kvm_x86_exit: { cpu_id = 0 }, { pid = 7, tid = 8 }, { exit_reason = 30, guest_rip = 0x1, isa = 1, info1 = 0, info2 = 0 }
[100.000000008] (+0.1) h kvm_userspace_exit: { cpu_id = 0 }, { pid = 7, tid = 8 }, { reason = 2, errno = 0 }
[100.000000020] (+0.1) h kvm_x86_entry: { cpu_id = 0 }, { pid = 7, tid = 8 }, { vcpu_id = 1 }
";
    let report = broken_down(Babeltrace::new(text.as_bytes()), EXITS);
    assert_eq!(totals(&report), (vec![("kernel", 3), ("rest", 12)], 1));
}

#[test]
fn switches_are_those_of_the_vcpu_whoever_runs_then() {
    let switch = |time: &str, from: (&str, u32, char), to: (&str, u32)| {
        let ((from, thread, state), (to, next)) = (from, to);
        format!(
            "{from} {thread} [000] {time}: sched:sched_switch: prev_comm={from} \
             prev_pid={thread} prev_prio=120 prev_state={state} ==> next_comm={to} \
             next_pid={next} next_prio=120\n"
        )
    };
    let text = "\
q 8 [000] 1.000000: kvm:kvm_entry: vcpu 0, rip 0x10
q 8 [000] 1.000100: kvm:kvm_exit: vcpu 0 reason HLT rip 0x12 info1 0x0 info2 0x0
"
    .to_owned()
        + &switch("1.000103", ("q", 8, 'S'), ("other", 9))
        + &switch("1.000120", ("other", 9, 'R'), ("third", 10))
        + &switch("1.000150", ("third", 10, 'R'), ("q", 8))
        + "q 8 [000] 1.000152: kvm:kvm_entry: vcpu 0, rip 0x13\n";
    let phases = r#"
        schema = 1
        [exits]
        reasons = ["HLT"]
        [[probe]]
        name = "exit"
        at = "exit"
        [[probe]]
        name = "out"
        at = "switched-out"
        [[probe]]
        name = "third"
        event = "sched_switch"
        where = { next_comm = "third" }
        on = "cpu"
        [[probe]]
        name = "in"
        at = "switched-in"
        [[probe]]
        name = "entry"
        at = "entry"
        [[phase]]
        name = "host"
        parts = [["exit", "out"], ["in", "entry"]]
        [[phase]]
        name = "other"
        parts = [["out", "third"]]
        [[phase]]
        name = "third"
        parts = [["third", "in"]]
    "#;
    let report = broken_down(PerfScript::new(text.as_bytes()), phases);
    let expected = vec![("host", 5_000), ("other", 17_000), ("third", 30_000)];
    assert_eq!(totals(&report), (expected, 1));
}

#[test]
fn a_probe_may_be_the_last_of_its_kind() {
    let text = TRACE.replace(
        "1.000140: kvm:kvm_pio",
        "1.000140: kvm:kvm_userspace_exit: reason KVM_EXIT_IO (2)\nq 7/8 [000] 1.000141: kvm:kvm_pio",
    );
    let first = broken_down(PerfScript::new(text.as_bytes()), EXITS);
    assert_eq!(totals(&first), (vec![("kernel", 10_000), ("rest", 35_000)], 1));
    let last = EXITS.replacen("event =", "last = true\nevent =", 1);
    let last = broken_down(PerfScript::new(text.as_bytes()), &last);
    assert_eq!(totals(&last), (vec![("kernel", 40_000), ("rest", 5_000)], 1));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place_and_remedy() {
    for (from, to, said) in [
        ("schema = 1", "schema = 2", "schema: is 2"),
        ("at = \"exit\"", "at = \"leave\"", "leave"),
        ("at = \"exit\"", "", "either `at`"),
        ("at = \"exit\"", "at = \"exit\"\non = \"any\"", "go with `event`"),
        ("name = \"user\"", "name = \"exit\"", "names must differ"),
        ("\"user\"]]", "\"used\"]]", "there are exit, user, entry"),
        ("[[\"exit\", \"user\"]]", "[[\"user\", \"exit\"]]", "does not come before"),
        ("[[\"exit\", \"user\"]]", "[]", "there are none"),
        ("name = \"kernel\"", "name = \"kernel\"\ncolour = 1", "colour"),
        (
            "[[phase]]",
            "[[phase]]\nname = \"all\"\nparts = [[\"exit\", \"entry\"]]\n[[phase]]",
            "phases all and kernel both have the time from probe exit to user",
        ),
        ("[[probe]]", "[exits]\nreasons = [\"IOIOI\"]\n[[probe]]", "did you mean IOIO"),
        ("at = \"exit\"", "event = \"x\"\nwhen = \"after-entry\"", "in the order"),
        (
            "at = \"exit\"",
            "event = \"x\"\nwhen = \"before-exit\"\non = \"cpu\"",
            "goes with in-exit",
        ),
    ] {
        assert!(EXITS.contains(from), "{from}");
        let told = Phases::parse(&EXITS.replacen(from, to, 1), Path::new("my.toml"))
            .expect_err(to)
            .to_string();
        assert!(told.starts_with("my.toml: ") && told.contains(said), "{to}: {told}");
    }
}

#[test]
fn a_name_that_the_format_does_not_have_is_refused() {
    let numbered = EXITS.replacen("\"kvm:kvm_userspace_exit\"", "0x82016", 1);
    let refused = |mut source: Box<dyn Source + '_>, phases: &str| {
        let phases = Phases::parse(phases, Path::new("p.toml")).unwrap();
        source.watch(phases.watch()).expect_err("refused").to_string()
    };
    let told = refused(Box::new(PerfScript::new(&b""[..])), &numbered);
    assert!(told.contains("p.toml: probe user") && told.contains("0x82016"), "{told}");
    let xentrace = unpacked("xen-pvh-svm/xentrace.bin.xz");
    let told = refused(Box::new(Xentrace::new(&xentrace[..]).unwrap()), EXITS);
    assert!(told.contains("give the event's number"), "{told}");
    let misspelt = EXITS.replacen("userspace_exit", "userspace_exits", 1);
    let data = PerfData::new(Cursor::new(unpacked("kvm-svm/perf.data.xz"))).unwrap();
    let told = refused(Box::new(data), &misspelt);
    assert!(told.contains("did you mean kvm_userspace_exit"), "{told}");
}
