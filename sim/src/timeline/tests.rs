//! Timelines of misses and events that are known by hand.

use super::*;
use crate::functions::Function;
use strata_symbols::DomainId;
use strata_workloads::trace::{ControlRegister, GrantOperation, IDLE_DOMAIN, Vcpu};

const DTLB: usize = 5;

fn options() -> TimelineOptions {
    TimelineOptions {
        window: 100,
        marks: vec![MarkKind::VmSwitch, MarkKind::GrantUnmap],
        after: 40,
        bin: 10,
        near: 20,
        correlation_bin: 100,
    }
}

fn function(layer: Layer) -> Function {
    Function { layer, name: None }
}

fn watch(options: TimelineOptions, begin: u64) -> TimelineWatch {
    let mut watch = TimelineWatch::new(options).unwrap();
    watch.grow(&[function(Layer::Hypervisor), function(Layer::Kernel(DomainId(1)))]);
    watch.begin(begin);
    watch
}

fn dtlb_miss(watch: &mut TimelineWatch, at: u64, row: usize) {
    watch.at(at);
    let miss = Outcome { tlb_misses: 1, ..Outcome::HIT };
    watch.note(row, RefKind::Read, &miss);
}

fn vcpu(domain: u16) -> Vcpu {
    Vcpu { pointer: 0xffff_8300_0000_0000 + u64::from(domain), domain, number: 0 }
}

/// The machine, with events told in order.
struct Machine {
    state: MachineState,
    watch: TimelineWatch,
}

impl Machine {
    fn new(options: TimelineOptions) -> Self {
        Machine { state: MachineState::default(), watch: watch(options, 0) }
    }

    fn event(&mut self, at: u64, event: Event) {
        self.watch.event(at, &event, &self.state);
        self.state.apply(&event);
    }

    fn switch(&mut self, at: u64, domain: u16) {
        self.event(at, Event::Loaded(vcpu(domain)));
    }
}

#[test]
fn after_each_switch_misses_fall_into_bins_by_their_distance() {
    let mut machine = Machine::new(options());
    machine.switch(0, 0);
    // After the one 3 misses at once, after the other 1; each has one at its end.
    machine.switch(200, 1);
    [200, 200, 205, 239].into_iter().for_each(|at| dtlb_miss(&mut machine.watch, at, 0));
    machine.switch(500, 0);
    [509, 530].into_iter().for_each(|at| dtlb_miss(&mut machine.watch, at, 1));
    // Beyond what is averaged.
    dtlb_miss(&mut machine.watch, 540, 1);
    // Too near to the end.
    machine.switch(970, 1);
    dtlb_miss(&mut machine.watch, 971, 1);
    let timeline = machine.watch.finish(1000).unwrap();
    assert_eq!(timeline.total()[DTLB], 8);
    let after = &timeline.after[0];
    assert_eq!((after.kind, after.events, after.cut), (MarkKind::VmSwitch, 2, 1));
    assert_eq!(after.overlapping, 0);
    let means: Vec<f64> = after.bins.iter().map(|bin| bin.misses[DTLB].mean).collect();
    assert_eq!(means, [2.0, 0.0, 0.0, 1.0]);
    assert_eq!((after.bins[3].from, after.bins[3].to), (30, 40));
    // Of 3 and 1: standard deviation √2, over √2 events; t for one degree of freedom is 12.706.
    let half = after.bins[0].misses[DTLB].half_width.unwrap();
    assert!((half - 12.706).abs() < 1e-3, "{half}");
    assert_eq!(after.bins[3].misses[DTLB].half_width, Some(0.0));
    assert!((after.bins[0].anywhere[DTLB] - 0.08).abs() < 1e-12);
}

#[test]
fn the_lift_is_the_share_of_misses_over_that_of_instructions_near_to_events() {
    let mut machine = Machine::new(options());
    machine.switch(0, 0);
    machine.switch(200, 1);
    dtlb_miss(&mut machine.watch, 200, 0);
    // 10 instructions after the switch there is another: 10 and 20 are near.
    machine.switch(210, 0);
    [219, 229, 230, 600].into_iter().for_each(|at| dtlb_miss(&mut machine.watch, at, 0));
    // Of its 20 instructions only 10 are there.
    machine.switch(990, 1);
    dtlb_miss(&mut machine.watch, 999, 0);
    let timeline = machine.watch.finish(1000).unwrap();
    let figures = &timeline.correlations[0];
    assert_eq!(figures.near_instructions, 10 + 20 + 10);
    assert_eq!(figures.near_misses[DTLB], 4);
    let lift = figures.lift[DTLB].unwrap();
    assert!((lift - (4.0 / 6.0) / (40.0 / 1000.0)).abs() < 1e-9, "{lift}");
    assert_eq!(figures.lift[0], None);
    assert_eq!(timeline.correlations[1].lift, [None; STRUCTURES]);
}

#[test]
fn pearson_is_that_of_events_and_misses_in_whole_bins() {
    let mut machine = Machine::new(options());
    machine.switch(0, 0);
    // Events 1, 2, 0, 1 and misses 2, 3, 0, 3 by bin; the last bin is not whole.
    machine.switch(10, 1);
    [20, 30].into_iter().for_each(|at| dtlb_miss(&mut machine.watch, at, 0));
    machine.switch(110, 0);
    machine.switch(120, 1);
    [130, 140, 150].into_iter().for_each(|at| dtlb_miss(&mut machine.watch, at, 0));
    machine.switch(310, 0);
    [311, 312, 399].into_iter().for_each(|at| dtlb_miss(&mut machine.watch, at, 0));
    machine.switch(420, 1);
    let timeline = machine.watch.finish(450).unwrap();
    // n 4, Σx 4, Σy 8, Σx² 6, Σy² 22, Σxy 11.
    let expected = (44.0 - 32.0) / ((24.0 - 16.0_f64).sqrt() * (88.0 - 64.0_f64).sqrt());
    let r = timeline.correlations[0].pearson[DTLB].unwrap();
    assert!((r - expected).abs() < 1e-12, "{r} and {expected}");
    assert_eq!(timeline.correlations[0].pearson[0], None);
    assert_eq!(timeline.correlations[1].pearson[DTLB], None);
}

#[test]
fn windows_begin_where_counting_does_and_tell_layers_apart() {
    let mut watch = watch(options(), 1000);
    dtlb_miss(&mut watch, 1099, 0);
    dtlb_miss(&mut watch, 1100, 1);
    dtlb_miss(&mut watch, 1249, 1);
    let timeline = watch.finish(250).unwrap();
    let bounds: Vec<_> = timeline.windows.iter().map(|w| (w.from, w.to)).collect();
    assert_eq!(bounds, [(1000, 1100), (1100, 1200), (1200, 1250)]);
    assert_eq!(timeline.windows.iter().map(|w| w.misses[DTLB]).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(timeline.layers, [Layer::Hypervisor, Layer::Kernel(DomainId(1))]);
    assert_eq!(timeline.windows[0].by_layer[0][DTLB], 1);
    assert_eq!(timeline.windows[1].by_layer[1][DTLB], 1);
}

#[test]
fn what_happens_before_counting_begins_is_neither_counted_nor_marked() {
    let mut watch = TimelineWatch::new(options()).unwrap();
    watch.grow(&[function(Layer::Idle)]);
    let mut state = MachineState::default();
    state.apply(&Event::Loaded(vcpu(0)));
    dtlb_miss(&mut watch, 5, 0);
    watch.event(6, &Event::Loaded(vcpu(1)), &state);
    watch.begin(10);
    let timeline = watch.finish(90).unwrap();
    assert_eq!((timeline.total(), timeline.marks.len()), (Misses::default(), 0));
}

#[test]
fn operations_of_a_list_are_one_mark() {
    let mut machine = Machine::new(options());
    let unmap = GrantOperation {
        operation: 1,
        domain: 0xffff,
        reference: 7,
        frame: 0x1000,
        other_domain: 0,
        flags: 0,
        bytes: 0,
    };
    for at in [50, 50, 50, 60] {
        machine.event(at, Event::Grant(unmap));
    }
    let timeline = machine.watch.finish(100).unwrap();
    let marks: Vec<_> = timeline.marks.iter().map(|mark| (mark.at, mark.operations)).collect();
    assert_eq!(marks, [(50, 3), (60, 1)]);
    assert_eq!((timeline.after[1].events, timeline.after[1].overlapping), (2, 1));
    assert_eq!(timeline.correlations[1].events, 2);
}

#[test]
fn a_switch_over_the_idle_domain_is_one_only_to_another_domain() {
    let mut machine = Machine::new(options());
    for (at, domain) in [(1, 1), (2, IDLE_DOMAIN), (3, 1), (4, IDLE_DOMAIN), (5, 0), (6, 1)] {
        machine.switch(at, domain);
    }
    let timeline = machine.watch.finish(100).unwrap();
    assert_eq!(timeline.marks.iter().map(|mark| mark.at).collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn a_flush_is_a_write_of_the_same_cr3_or_one_that_clears_pge() {
    let marks = vec![MarkKind::TlbFlush, MarkKind::Cr3Write];
    let mut machine = Machine::new(TimelineOptions { marks, ..options() });
    let control = |register, value| Event::Control { register, value };
    machine.event(1, control(ControlRegister::Cr3, 0x1000));
    machine.event(2, control(ControlRegister::Cr3, 0x1000));
    machine.event(3, control(ControlRegister::Cr4, 0xa0));
    machine.event(4, control(ControlRegister::Cr4, 0x20));
    machine.event(5, control(ControlRegister::Cr4, 0xa0));
    let timeline = machine.watch.finish(100).unwrap();
    let marks: Vec<_> = timeline.marks.iter().map(|mark| (mark.at, mark.kind)).collect();
    let (flush, switch) = (MarkKind::TlbFlush, MarkKind::Cr3Write);
    assert_eq!(marks, [(1, switch), (2, flush), (4, flush)]);
}

#[test]
fn lengths_that_make_no_timeline_are_refused() {
    let refused = |options| TimelineWatch::new(options).unwrap_err().to_string();
    assert!(refused(TimelineOptions { window: 0, ..options() }).starts_with("window: 0"));
    assert!(refused(TimelineOptions { bin: 0, ..options() }).starts_with("bin: 0"));
    assert!(refused(TimelineOptions { after: 45, ..options() }).contains("a multiple of the bin"));
    let many = watch(TimelineOptions { window: 1, ..options() }, 0).finish(MOST_WINDOWS + 1);
    assert!(many.unwrap_err().to_string().contains("give a longer one"));
}
