//! Lives of hand-made streams.

use super::*;
use crate::calls::{Link, Paths};
use crate::functions::{Function, FunctionId, Name};
use proptest::prelude::*;
use strata_workloads::trace::{MachineState, Vcpu};

const RULES: &str = r#"
schema = 1
name = "test"
title = "Batch"
direction = "tx"
[counts.packets]
guest-kernel = ["xmit"]
[counts.grants]
guest-kernel = ["xmit > grant"]
[counts.ends]
guest-kernel = ["gc > end"]
[[phase]]
name = "send"
title = "Send"
functions = { guest-kernel = ["xmit"] }
when = ["gathering", "granted"]
opens = true
[[phase]]
name = "take"
title = "Take"
functions = { dom0-kernel = ["poll"] }
when = ["granted"]
goes-on = ["accepted", "released"]
accepts = true
[[phase]]
name = "bridge"
title = "Bridge"
functions = { dom0-kernel = ["poll > bridge"] }
goes-on = ["accepted", "released"]
optional = true
[[phase]]
name = "unmap"
title = "Unmap"
functions = { dom0-kernel = ["dealloc"] }
when = ["accepted"]
goes-on = ["released"]
optional = true
[[phase]]
name = "free"
title = "Free"
functions = { guest-kernel = ["gc"] }
when = ["released", "accepted"]
closes = true
"#;

const NAMES: [(&str, &str); 10] = [
    ("dom1-kernel", "xmit"),
    ("dom1-kernel", "grant"),
    ("dom0-kernel", "poll"),
    ("hypervisor", "grant_op"),
    ("dom0-kernel", "bridge"),
    ("dom0-kernel", "dealloc"),
    ("dom1-kernel", "gc"),
    ("dom1-kernel", "end"),
    ("dom1-kernel", "other"),
    ("hypervisor", "schedule"),
];

/// A stream told by hand.
struct Stream {
    lives: Lives,
    paths: Paths,
    functions: Vec<Function>,
    state: MachineState,
    at: u64,
    total: Counters,
}

impl Stream {
    fn new() -> Self {
        let function = |(layer, name): (&str, &str)| Function {
            layer: layer.parse().unwrap(),
            name: Some(Name { module: "m".into(), function: name.into(), address: 0 }),
        };
        let mut state = MachineState::default();
        state.running_mut().current = Vcpu { pointer: 1, domain: 0, number: 0 };
        Stream {
            lives: Lives::new(Rules::parse(RULES, "test").unwrap()),
            paths: Paths::default(),
            functions: NAMES.map(function).into(),
            state,
            at: 0,
            total: Counters::default(),
        }
    }

    /// Ten instructions at a path, its outermost function first.
    fn visit(&mut self, path: &[&str], arrival: Arrival) {
        let mut top = None;
        for name in path {
            let number = NAMES.iter().position(|(_, known)| known == name).unwrap();
            top = Some(self.paths.on(top, Link::Call, FunctionId(number as u32)));
        }
        let counters = Counters { instructions: 10, walks: self.at % 3, ..Counters::default() };
        let visit = Visit {
            at: self.at,
            path: top.unwrap(),
            arrival,
            cpu: 0,
            address: 0,
            stack_pointer: 0,
            counters,
        };
        let scene = Scene { paths: &self.paths, functions: &self.functions, state: &self.state };
        self.lives.visit(&visit, &scene);
        self.total += &counters;
        self.at += 10;
    }

    fn call(&mut self, path: &[&str]) {
        self.visit(path, Arrival::Call);
    }

    fn grant_event(&mut self, operation: u8, reference: u32, frame: u64) {
        let event = Event::Grant(GrantOperation {
            operation,
            domain: 1,
            reference,
            frame,
            other_domain: 0,
            flags: 0,
            bytes: 0,
        });
        let scene = Scene { paths: &self.paths, functions: &self.functions, state: &self.state };
        self.lives.event(self.at, &event, &scene);
    }

    fn send(&mut self, grants: usize) {
        self.call(&["xmit"]);
        for _ in 0..grants {
            self.call(&["xmit", "grant"]);
        }
    }

    fn take(&mut self, references: impl IntoIterator<Item = u32>) {
        self.call(&["poll"]);
        for reference in references {
            self.grant_event(0, reference, 0x1000 * u64::from(reference));
        }
        self.call(&["poll", "grant_op"]);
        self.call(&["poll", "bridge"]);
    }

    fn unmap(&mut self, references: impl IntoIterator<Item = u32>) {
        self.call(&["dealloc"]);
        for reference in references {
            self.grant_event(1, 0, 0x1000 * u64::from(reference));
        }
        self.call(&["dealloc", "grant_op"]);
    }

    fn free(&mut self, grants: usize) {
        self.call(&["gc"]);
        for _ in 0..grants {
            self.call(&["gc", "end"]);
            self.visit(&["gc"], Arrival::Return);
        }
    }

    fn finish(self) -> Result<LifeReport, LifeError> {
        self.lives.finish(&self.paths, &self.functions, &self.total)
    }
}

#[test]
fn a_batch_is_followed_from_its_grants_until_the_guest_has_them_back() {
    let mut stream = Stream::new();
    stream.call(&["other"]);
    stream.send(2);
    stream.call(&["schedule"]);
    stream.take([7, 8]);
    stream.unmap([7, 8]);
    stream.free(2);
    stream.call(&["other"]);
    let report = stream.finish().unwrap();
    let [life] = &report.lives[..] else { panic!("{} lives", report.lives.len()) };
    assert!(life.is_closed && !life.is_headless);
    assert_eq!((life.packets, life.granted, life.references, life.mapped), (1, 2, 2, 2));
    let instructions: Vec<u64> =
        report.phases.iter().map(|phase| phase.counters.instructions).collect();
    assert_eq!(instructions, [30, 20, 10, 20, 50]);
    assert_eq!((life.begin, life.end, life.total().instructions), (10, 150, 130));
    assert_eq!(report.outside.between.values().map(|c| c.instructions).sum::<u64>(), 10);
    assert_eq!(report.outside.idle.values().map(|c| c.instructions).sum::<u64>(), 20);
    let bars = report.bars(0);
    assert_eq!(bars.iter().map(|bar| bar.to - bar.from).sum::<u64>(), life.elapsed());
    assert_eq!(report.flow(0).iter().map(|row| row.instructions).sum::<u64>(), 130);
}

#[test]
fn overlapping_batches_are_told_apart_and_the_older_is_served_first() {
    let mut stream = Stream::new();
    stream.send(1);
    stream.take([7]);
    stream.send(2);
    stream.take([9, 7 + 1]);
    stream.unmap([7]);
    stream.unmap([9, 8]);
    stream.free(3);
    let report = stream.finish().unwrap();
    let counts: Vec<_> =
        report.lives.iter().map(|life| (life.references, life.ended, life.is_closed)).collect();
    assert_eq!(counts, [(1, 1, true), (2, 2, true)]);
    assert_eq!(report.stray_ends, 0);
    for life in &report.lives {
        assert_eq!(life.cells[&(3, "dom0-kernel".parse().unwrap())].instructions, 10);
    }
}

#[test]
fn a_call_within_anothers_phase_can_be_for_another_life() {
    let mut stream = Stream::new();
    stream.send(1);
    stream.take([1]);
    stream.unmap([1]);
    stream.call(&["xmit"]);
    stream.call(&["xmit", "grant"]);
    stream.call(&["xmit", "gc"]);
    stream.call(&["xmit", "gc", "end"]);
    stream.visit(&["xmit"], Arrival::Return);
    let report = stream.finish().unwrap();
    assert_eq!(report.lives.len(), 2);
    assert!(report.lives[0].is_closed && report.lives[0].has(4));
    assert!(!report.lives[1].is_closed && !report.lives[1].has(4));
    assert_eq!(report.lives[1].total().instructions, 30);
}

#[test]
fn a_life_whose_unmap_never_comes_is_counted_as_accepted_and_in_no_statistics() {
    let mut stream = Stream::new();
    stream.send(2);
    stream.take([1, 2]);
    stream.unmap([1]);
    stream.free(1);
    let report = stream.finish().unwrap();
    assert_eq!(report.unfinished()[2], (LifeStage::Accepted, 1));
    assert_eq!((report.lives[0].still_mapped, report.elapsed.count), (1, 0));
    let error = report.choose(LifeChoice::Median).unwrap_err().to_string();
    assert!(error.contains("none of the 1 lives"), "{error}");
    assert_eq!(report.choose(LifeChoice::Number(1)).unwrap(), 0);
    assert!(report.choose(LifeChoice::Number(2)).is_err());
}

#[test]
fn grants_from_before_the_stream_make_a_life_without_a_beginning() {
    let mut stream = Stream::new();
    stream.take([5]);
    stream.unmap([5]);
    stream.send(1);
    stream.free(1);
    let report = stream.finish().unwrap();
    assert!(report.lives[0].is_headless && report.lives[0].is_closed);
    assert_eq!(report.elapsed.count, 0);
}

#[test]
fn what_cannot_be_followed_is_said_with_the_reason() {
    let mut stream = Stream::new();
    stream.send(1);
    assert!(matches!(stream.finish(), Err(LifeError::NoGrants)));
    let mut stream = Stream::new();
    stream.send(1);
    stream.grant_event(0, 1, 0x1000);
    stream.call(&["other"]);
    let error = stream.finish().unwrap_err().to_string();
    assert!(error.contains("phase take") && error.contains("`poll` of dom0-kernel"), "{error}");
}

proptest! {
    #[test]
    fn lives_and_outside_are_the_whole_whatever_happens(
        steps in proptest::collection::vec((0..9u8, 0..6u32, 0..14u8), 1..120)
    ) {
        let mut stream = Stream::new();
        // So that each phase runs once.
        stream.send(1);
        stream.take([1]);
        stream.free(0);
        for (what, number, how) in steps {
            let arrival = [Arrival::Call, Arrival::Return, Arrival::Resumed, Arrival::Switched,
                Arrival::Gap, Arrival::FallThrough][usize::from(how % 6)];
            match what {
                0 => stream.send(number as usize),
                1 => stream.take(0..number),
                2 => stream.unmap(0..number),
                3 => stream.free(number as usize),
                4 => stream.grant_event(how % 8, number, 0x1000 * u64::from(number)),
                5 => stream.visit(&["poll", "bridge"], arrival),
                6 => stream.visit(&["xmit", "gc", "end"], arrival),
                7 => stream.visit(&["schedule"], arrival),
                _ => stream.visit(&["other"], arrival),
            }
        }
        let report = stream.finish().unwrap();
        let mut sum = report.outside.total();
        report.lives.iter().for_each(|life| sum += &life.total());
        prop_assert_eq!(sum, report.total);
        for (number, life) in report.lives.iter().enumerate() {
            let own: u64 = report.flow(number).iter().map(|row| row.instructions).sum();
            prop_assert_eq!(own, life.total().instructions);
        }
    }
}
