//! Traces in the layout of Xen 3.0: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_exits::{Account, Accounting, OldLayout, OldXentrace};

fuzz_target!(|data: &[u8]| {
    for (long, by_vcpu) in [(false, false), (true, false), (true, true)] {
        let account = Account::new(Accounting::default()).expect("without edges");
        let _ = account.run(&mut OldXentrace::new(data, OldLayout { long, by_vcpu }));
    }
});
