//! Text of trace-cmd report: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_exits::{Account, Accounting, TraceCmd};

fuzz_target!(|data: &[u8]| {
    let account = Account::new(Accounting::default()).expect("without edges");
    let _ = account.run(&mut TraceCmd::new(data));
});
