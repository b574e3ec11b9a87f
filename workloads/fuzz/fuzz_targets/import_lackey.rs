//! Any bytes as a stream of this format, packed or not.

#![no_main]

#[path = "../src/imported.rs"]
mod imported;

use libfuzzer_sys::fuzz_target;
use strata_workloads::import::Format;

fuzz_target!(|bytes: &[u8]| imported::hold(Format::Lackey, bytes));
