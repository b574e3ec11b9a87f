//! Text of babeltrace2: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_exits::{Account, Accounting, Babeltrace};

fuzz_target!(|data: &[u8]| {
    let account = Account::new(Accounting::default()).expect("without edges");
    let _ = account.run(&mut Babeltrace::new(data));
});
