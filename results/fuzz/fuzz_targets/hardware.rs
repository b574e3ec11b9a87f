//! Tables of perf report and opreport: any answer, no panic, shares that are numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_results::HardwareProfile;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(profile) = HardwareProfile::parse(text, "table") {
        assert!(profile.rows.iter().all(|row| row.percent.is_finite()));
    }
});
