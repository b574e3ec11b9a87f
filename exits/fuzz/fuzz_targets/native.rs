//! Native traces: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_exits::{Account, Accounting, Native};

fuzz_target!(|data: &[u8]| {
    if let Ok(mut source) = Native::new(data) {
        let account = Account::new(Accounting::default()).expect("without edges");
        let _ = account.run(&mut source);
    }
});
