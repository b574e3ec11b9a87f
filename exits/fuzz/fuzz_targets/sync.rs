//! Traces of a guest and its host as text, the one behind the other: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_exits::{Guest, Host, Method, Source, SyncOptions, TraceCmd, Unit, synchronize};

fuzz_target!(|data: &[u8]| {
    let middle = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let (host, guest) = data.split_at(middle);
    let (mut source, mut runs) = (TraceCmd::new(host), Host::default());
    while let Ok(Some(event)) = source.next_event() {
        runs.event(&event);
    }
    let Ok(guest) = Guest::read(guest, None, true) else { return };
    for (method, ratio) in [(None, None), (Some(Method::Intervals), Some(2.0))] {
        let options = SyncOptions { method, ratio, ..SyncOptions::default() };
        if let Ok(synced) = synchronize((&runs, source.vcpus(), Unit::Cycles), &guest, &options) {
            let check = synced.check;
            let all = check.inside + check.violations + check.uncovered + synced.without_vcpu;
            assert_eq!(all, guest.events.len() as u64);
            for event in &guest.events {
                synced.place(event.cpu, event.time);
            }
        }
    }
});
