//! `sync` on a recording of a guest and its host.

use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The recording, unpacked.
pub(crate) struct Pair {
    folder: TempDir,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../exits/tests/data/kvm-sync");
        let folder = tempfile::tempdir().unwrap();
        for name in ["host-ftrace.txt", "guest-ftrace.txt"] {
            let packed = fs::read(data.join(format!("{name}.xz"))).unwrap();
            let mut bytes = Vec::new();
            liblzma::read::XzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        Pair { folder }
    }

    pub(crate) fn host(&self) -> PathBuf {
        self.file("host-ftrace.txt")
    }

    pub(crate) fn guest(&self) -> PathBuf {
        self.file("guest-ftrace.txt")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, more: &[&str]) -> String {
        let (host, guest) = (self.host(), self.guest());
        let arguments = ["sync", text(&host), text(&guest)];
        output(strata(arguments.into_iter().chain(more.iter().copied())))
    }
}

#[test]
fn the_offset_that_the_host_tells_is_the_clock() {
    let pair = Pair::new();
    let told = pair.run(&[]);
    assert!(told.contains("TSC offset 18446744057162895854"), "{told}");
    assert!(told.contains("host = 1.000000000 × guest + 16,546,655,762 cycles"), "{told}");
    let result: Value = serde_json::from_str(&pair.run(&["--format", "json"])).unwrap();
    assert_eq!((&result["b"], &result["method"]), (&"16546655762".into(), &"tsc-offset".into()));
    assert_eq!(
        (&result["events"]["inside"], &result["events"]["violations"]),
        (&363.into(), &0.into())
    );
}

#[test]
fn guest_events_are_written_on_the_hosts_clock() {
    let pair = Pair::new();
    let (events, times) = (pair.file("events.json"), pair.file("times.csv"));
    pair.run(&["--trace-events", text(&events), "--guest-times", text(&times)]);
    let times = fs::read_to_string(times).unwrap();
    let mut lines = times.lines();
    let header = lines.next().unwrap();
    assert!(header.starts_with("guest_time,host_time,cpu,thread,event,from_run,"), "{header}");
    // The first event of the guest; 28,011,554,323 + 16,546,655,762.
    let first = lines.next().unwrap();
    assert!(first.starts_with("28011554323,44558210085,0,1,local_timer_entry,0,"), "{first}");
    assert_eq!(lines.count(), 362);
    let events: Value = serde_json::from_str(&fs::read_to_string(events).unwrap()).unwrap();
    let events = events["traceEvents"].as_array().unwrap();
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!(of("i"), 363);
    // Every instant lies between two exits, as the guest runs then.
    let exits: Vec<(f64, f64)> = events
        .iter()
        .filter(|event| event["ph"] == "X")
        .map(|event| (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap()))
        .collect();
    assert!(exits.len() > 300);
    for event in events.iter().filter(|event| event["ph"] == "i") {
        let at = event["ts"].as_f64().unwrap();
        assert!(!exits.iter().any(|&(begin, length)| begin < at && at < begin + length), "{event}");
    }
}

#[test]
fn wrong_input_is_refused_with_what_to_do() {
    let pair = Pair::new();
    let (host, guest) = (pair.host(), pair.guest());
    let refused = |arguments: &[&str]| complaint(strata(arguments.iter().copied()));
    let told = refused(&["sync", text(&host), "no-such-file"]);
    assert!(told.contains("no-such-file: cannot be read"), "{told}");
    let told = refused(&["sync", text(&guest), text(&host)]);
    assert!(told.contains("record kvm_entry and kvm_exit"), "{told}");
    let told = refused(&["sync", text(&host), text(&guest), "--guest", "7"]);
    assert!(told.contains("no guest 7; it has 109"), "{told}");
    let told = refused(&["sync", text(&host), text(&guest), "--vcpu", "0=3"]);
    assert!(
        told.contains("no events on a vCPU that the host's tells of")
            || told.contains("kvm_write_tsc_offset"),
        "{told}"
    );
    for (option, value) in [("--vcpu", "zero"), ("--ratio", "-1")] {
        let wrong = ["sync", text(&host), text(&guest), option, value];
        strata(wrong).assert().code(2);
    }
    let binary = pair.file("guest.bin");
    fs::write(&binary, b"PERFILE2").unwrap();
    let told = refused(&["sync", text(&host), text(&binary)]);
    assert!(told.contains("give text of perf script"), "{told}");
}
