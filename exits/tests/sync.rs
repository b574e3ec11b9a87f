//! Two clocks made one: on a recording of both, and on clocks that are known.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use std::fs;
use std::io::Read;
use std::path::Path;
use strata_exits::{
    Error, Format, Guest, Host, Method, Point, Run, Source, SyncOptions, Synced, TraceCmd, Unit,
    check, fit, synchronize,
};

fn text(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kvm-sync").join(name);
    let mut bytes = Vec::new();
    liblzma::read::XzDecoder::new(&fs::read(path).unwrap()[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

fn synced(host: &[u8], guest: &[u8], options: &SyncOptions) -> Result<Synced, Error> {
    let (mut source, mut runs) = (TraceCmd::new(host), Host::default());
    while let Some(event) = source.next_event().unwrap() {
        runs.event(&event);
    }
    let guest = Guest::read(guest, None, false).unwrap();
    synchronize((&runs, source.vcpus(), source.unit()), &guest, options)
}

/// The host's three kvm_write_tsc_offset (tests/data/README.md); its negative is 16,546,655,762.
const OFFSET: u64 = 18_446_744_057_162_895_854;

#[test]
fn the_tsc_offset_puts_every_event_of_the_recording_into_a_run() {
    for host in ["host-ftrace.txt.xz", "host-trace-cmd-report.txt.xz"] {
        let options = SyncOptions::default();
        let found = synced(&text(host), &text("guest-ftrace.txt.xz"), &options).unwrap();
        assert_eq!((found.method, found.offset), (Method::TscOffset, Some(OFFSET)));
        // Its first event is at 28,011,554,323 by the guest.
        assert_eq!(found.line.host(28_011_554_323), 28_011_554_323 + 16_546_655_762);
        // 363 lines of the guest that are no comment, 332 entries with an exit behind.
        assert_eq!((found.check.inside, found.check.violations), (363, 0));
        assert_eq!((found.check.uncovered, found.without_vcpu), (0, 0));
        assert_eq!(found.vcpus[0].runs, 332);
    }
}

#[test]
fn the_linear_problem_finds_the_offset_that_the_host_tells() {
    let options = SyncOptions { method: Some(Method::Intervals), ..SyncOptions::default() };
    let (host, guest) = (text("host-ftrace.txt.xz"), text("guest-ftrace.txt.xz"));
    let found = synced(&host, &guest, &options).unwrap();
    assert_eq!((found.check.inside, found.check.violations), (363, 0));
    let (down, up) = found.certain.unwrap();
    let middle = found.line.guest_reference;
    let wrong = found.line.host(middle) - (i128::from(middle) + 16_546_655_762);
    assert!(down <= -wrong as f64 && -wrong as f64 <= up, "{wrong} beyond {down} to {up}");
    // Within less than the shortest of the runs that decide.
    assert!(up - down < 200_000.0, "{down} to {up}");
    assert!(found.line.drift.abs() < 1e-4, "{}", found.line.drift);
}

#[test]
fn a_host_that_tells_less_is_refused_with_what_to_record() {
    let guest = text("guest-ftrace.txt.xz");
    let host = String::from_utf8(text("host-ftrace.txt.xz")).unwrap();
    let without = |what: &str| -> Vec<u8> {
        let lines = host.lines().filter(|line| !line.contains(what));
        lines.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
    };
    let of = |method| SyncOptions { method: Some(method), ..SyncOptions::default() };
    let refused = |host: &[u8], options: &SyncOptions| {
        synced(host, &guest, options).expect_err("it does not tell enough").to_string()
    };
    let why = refused(&without("kvm_write_tsc_offset"), &of(Method::TscOffset));
    assert!(why.contains("no kvm_write_tsc_offset"), "{why}");
    let why = refused(&without("kvm_entry"), &of(Method::Intervals));
    assert!(why.contains("record kvm_entry and kvm_exit"), "{why}");
    let why = refused(host.as_bytes(), &SyncOptions { guest: Some(7), ..SyncOptions::default() });
    assert!(why.contains("no guest 7; it has 109"), "{why}");
    // Without offsets the runs decide.
    let found = synced(&without("kvm_write_tsc_offset"), &guest, &SyncOptions::default()).unwrap();
    assert_eq!(found.method, Method::Intervals);
}

#[test]
fn clocks_of_different_units_need_a_ratio() {
    let host = text("host-ftrace.txt.xz");
    let guest = " dd-93 [000] 28.036091043: local_timer_entry: vector=236\n";
    let options = SyncOptions::default();
    let why = synced(&host, guest.as_bytes(), &options).expect_err("units differ").to_string();
    assert!(why.contains("counts cycles and the guest's ns"), "{why}");
}

#[test]
fn guests_are_read_from_every_text() {
    for (text, format, unit, cpu) in [
        ("sh 93 [002] 1.000002: sched:sched_switch: a", Format::PerfScript, Unit::Nanoseconds, 2),
        ("sh-93 [002] d..2. 1000: sched_switch: a", Format::TraceCmd, Unit::Cycles, 2),
        (
            "[00:00:01.000002000] (+0.1) vm sched_switch: { cpu_id = 2 }, { tid = 93 }, { a = 1 }",
            Format::Lttng,
            Unit::Nanoseconds,
            2,
        ),
    ] {
        let guest = Guest::read(text.as_bytes(), None, true).unwrap();
        assert_eq!((guest.format, guest.unit, guest.events[0].cpu), (format, unit, cpu), "{text}");
        assert_eq!((guest.names[0].as_str(), guest.events[0].thread), ("sched_switch", Some(93)));
    }
    let error = Guest::read(&b"PERFILE2"[..], None, false).expect_err("no text").to_string();
    assert!(error.contains("give text of perf script"), "{error}");
}

/// A guest that runs and is left by turns, and its events by the host's clock.
#[derive(Clone, Debug)]
struct Known {
    runs: Vec<Run>,
    /// Host times of events, each within a run.
    events: Vec<u64>,
    drift: f64,
    guest_begin: u64,
}

impl Known {
    /// The guest's time at a host's.
    fn guest(&self, host: u64) -> u64 {
        let elapsed = (host - self.runs[0].0) as f64;
        self.guest_begin + (elapsed / (1.0 + self.drift)).round() as u64
    }

    fn points(&self) -> Vec<Point> {
        self.events.iter().map(|&host| Point { vcpu: 0, time: self.guest(host) }).collect()
    }
}

/// Runs of 5 to 300 µs, of which most have one to three events.
fn known() -> impl Strategy<Value = Known> {
    let run = (1_000..400_000u64, 5_000..300_000u64, prop::collection::vec(0.0..1.0f64, 0..4));
    let runs = prop::collection::vec(run, 150..500);
    (runs, -400e-6..400e-6f64, 0..1u64 << 50, 0..1u64 << 50).prop_map(
        |(gaps, drift, host_begin, guest_begin)| {
            let (mut time, mut runs, mut events) = (host_begin, Vec::new(), Vec::new());
            for (gap, length, inside) in gaps {
                time += gap;
                runs.push((time, time + length));
                let within = inside.iter().map(|share| time + (share * length as f64) as u64);
                let mut within: Vec<u64> = within.collect();
                within.sort_unstable();
                events.extend(within);
                time += length;
            }
            Known { runs, events, drift, guest_begin }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn clocks_that_are_known_are_found(known in known()) {
        let (points, runs) = (known.points(), [known.runs.clone()]);
        let found = fit(&points, &runs, 1.0).unwrap();
        let told = check(&found.line, &points, &runs);
        prop_assert_eq!((told.violations, told.uncovered), (0, 0));
        let (down, up) = found.certain.unwrap();
        prop_assert!(down <= 0.0 && up >= 0.0);
        // The true line is one of those that are within all runs: at the reference it is within the
        // bounds, but for rounding.
        let middle = found.line.guest_reference;
        let elapsed = (middle - known.guest_begin) as f64 * (1.0 + known.drift);
        let truth = i128::from(known.runs[0].0) + elapsed.round() as i128;
        let wrong = (truth - found.line.host(middle)) as f64;
        prop_assert!(down - 3.0 <= wrong && wrong <= up + 3.0, "{wrong} beyond {down} to {up}");
    }

    /// Some events are moved by much more than a run takes.
    #[test]
    fn violations_are_counted_as_a_plain_count_does(
        known in known(),
        moved in prop::collection::vec((any::<prop::sample::Index>(), 20_000..80_000u64), 1..8),
    ) {
        let mut points = known.points();
        let most = 2 * moved.len() as u64 + 4;
        for (at, by) in moved {
            let at = at.index(points.len());
            points[at].time += by;
        }
        points.sort_by_key(|point| point.time);
        let runs = [known.runs.clone()];
        let found = fit(&points, &runs, 1.0).unwrap();
        let told = check(&found.line, &points, &runs);
        let (mut inside, mut violations, mut uncovered, mut largest) = (0, 0, 0, 0);
        for point in &points {
            let host = found.line.host(point.time);
            let (first, last) = (known.runs[0].0, known.runs.last().unwrap().1);
            if host < i128::from(first) || host > i128::from(last) {
                uncovered += 1;
                continue;
            }
            let distance = known.runs.iter().map(|run| {
                (i128::from(run.0) - host).max(host - i128::from(run.1)).max(0)
            });
            match distance.min().unwrap() {
                0 => inside += 1,
                distance => {
                    violations += 1;
                    largest = largest.max(distance as u64);
                }
            }
        }
        let plain = (inside, violations, uncovered, largest);
        prop_assert_eq!((told.inside, told.violations, told.uncovered, told.largest), plain);
        // Few were moved, and the others hold the line.
        prop_assert!(violations <= most, "{violations} of {}", points.len());
    }
}
