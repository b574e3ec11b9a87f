//! Traces of xentrace in today's layout: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_exits::{Account, Accounting, Xentrace};

fuzz_target!(|data: &[u8]| {
    if let Ok(mut source) = Xentrace::new(data) {
        let account = Account::new(Accounting::default()).expect("without edges");
        let _ = account.run(&mut source);
    }
});
