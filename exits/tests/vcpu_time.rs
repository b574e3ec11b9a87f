//! The time of vCPUs in slices: nothing lost, nothing twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;
use strata_exits::{
    Account, Accounting, ExitReport, Kind, PerfData, PerfScript, Source, VcpuSlices, VcpuState,
    VcpuTime, Xentrace,
};

fn unpacked(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let mut bytes = Vec::new();
    liblzma::read::XzDecoder::new(&fs::read(path).unwrap()[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

/// First and last entry or exit of each vCPU.
type Spans = BTreeMap<String, (u64, u64)>;

fn sliced(mut source: impl Source) -> (VcpuSlices, ExitReport, Spans) {
    let mut account = Account::new(Accounting::default()).unwrap();
    let mut time = VcpuTime::new(false);
    let mut spans = BTreeMap::new();
    while let Some(event) = source.next_event().unwrap() {
        let interval = account.event(&event);
        time.event(&event, interval.as_ref());
        if matches!(event.kind, Kind::Entry | Kind::Exit { .. }) {
            let span = spans.entry(event.vcpu.unwrap()).or_insert((event.time, event.time));
            span.1 = span.1.max(event.time);
        }
    }
    let named = |(vcpu, span)| (source.vcpus().name(vcpu).to_string(), span);
    let spans = spans.into_iter().map(named).collect();
    let report = account.finish(&source).unwrap();
    (time.finish(&report, &source), report, spans)
}

#[test]
fn slices_of_a_vcpu_sum_to_the_time_from_its_first_to_its_last_entry_or_exit() {
    let xen = unpacked("xen-pvh-svm/xentrace.bin.xz");
    let kvm = Cursor::new(unpacked("kvm-svm/perf.data.xz"));
    for (slices, report, spans) in
        [sliced(Xentrace::new(&xen[..]).unwrap()), sliced(PerfData::new(kvm).unwrap())]
    {
        assert!(!spans.is_empty());
        let mut exits = 0;
        for (vcpu, (first, last)) in spans {
            let own = slices.exits.iter().filter(|slice| slice.vcpu == vcpu);
            let within: u64 =
                own.clone().map(|slice| slice.handling + slice.blocked.0 + slice.preempted.0).sum();
            let others = slices.others.iter().filter(|slice| slice.vcpu == vcpu);
            assert_eq!(
                within + others.map(|slice| slice.time).sum::<u64>(),
                last - first,
                "{vcpu}"
            );
            exits += own.map(|slice| slice.exits).sum::<u64>();
        }
        let total = &report.total;
        assert_eq!(exits, total.durations.count());
        let sum = |get: fn(&strata_exits::ExitSlice) -> u64| -> u64 {
            slices.exits.iter().map(get).sum()
        };
        assert_eq!(sum(|slice| slice.blocked.0), total.blocked);
        assert_eq!(sum(|slice| slice.preempted.0), total.preempted);
        // The time in the guest is that of the account of vCPUs, made another way.
        for row in report.vcpus.iter().filter(|row| row.times.guest > 0) {
            let guest = slices.others.iter().find(|slice| {
                slice.vcpu == row.name.to_string() && slice.state == VcpuState::Guest
            });
            assert_eq!(guest.unwrap().time, row.times.guest);
        }
    }
}

#[test]
fn vcpus_without_exits_have_the_times_of_their_states() {
    let (slices, report, _) =
        sliced(Xentrace::new(&unpacked("xen-pv/xentrace.bin.xz")[..]).unwrap());
    assert!(slices.exits.is_empty());
    let of = |vcpu: &str, state: VcpuState| -> u64 {
        let own = slices.others.iter().filter(|s| s.vcpu == vcpu && s.state == state);
        own.map(|slice| slice.time).sum()
    };
    for row in &report.vcpus {
        let stays = |state| row.run_states.stays(state).total();
        let vcpu = row.name.to_string();
        use strata_exits::RunState::{Blocked, Offline, Runnable, Running};
        assert_eq!(of(&vcpu, VcpuState::Running), stays(Running));
        assert_eq!(of(&vcpu, VcpuState::Preempted), stays(Runnable));
        assert_eq!(of(&vcpu, VcpuState::Blocked), stays(Blocked) + stays(Offline));
    }
}

#[test]
fn what_lies_between_an_exit_without_entry_and_the_next_is_unknown() {
    // Guest 100 to 110 µs, an exit to 113, guest to 120, an exit without an entry, another at 150
    // to 151: of 51 µs 17 are the guest's, 4 of exits, 30 nobody knows of.
    let text = "\
q 7/8 [000] 1.000100: kvm:kvm_entry: vcpu 0, rip 0x10
q 7/8 [000] 1.000110: kvm:kvm_exit: vcpu 0 reason CPUID rip 0x12 info1 0x0 info2 0x0
q 7/8 [000] 1.000113: kvm:kvm_entry: vcpu 0, rip 0x14
q 7/8 [000] 1.000120: kvm:kvm_exit: vcpu 0 reason CPUID rip 0x16 info1 0x0 info2 0x0
q 7/8 [000] 1.000150: kvm:kvm_exit: vcpu 0 reason CPUID rip 0x16 info1 0x0 info2 0x0
q 7/8 [000] 1.000151: kvm:kvm_entry: vcpu 0, rip 0x18
";
    let (slices, ..) = sliced(PerfScript::new(text.as_bytes()));
    let states: Vec<_> = slices.others.iter().map(|s| (s.state, s.time, s.count)).collect();
    let expected = [(VcpuState::Guest, 17_000, Some(2)), (VcpuState::Unknown, 30_000, None)];
    assert_eq!(states, expected);
    let exits: Vec<_> = slices.exits.iter().map(|s| (s.exits, s.handling)).collect();
    assert_eq!(exits, [(2, 4_000)]);
}
