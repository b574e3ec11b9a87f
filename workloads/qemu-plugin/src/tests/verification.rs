//! The recorder's check of itself.

use super::machine::{JUMP, LOAD, Machine, PRESENT, RET, load};
use crate::host::RSP;
use crate::verify::Verifier;

fn verified(machine: &mut Machine) -> String {
    machine.recorder.verify();
    machine.recorder.verifier.as_ref().expect("set by the test").to_string()
}

#[test]
fn a_stack_pointer_that_follows_from_the_stream_is_no_mismatch() {
    let mut machine = Machine::new();
    machine.recorder.verifier = Some(Verifier::default());
    let a = machine.block(0x1000, &[&[0x50], RET]);
    let b = machine.block(0x2000, &[&[0x50], JUMP]);
    machine.run(a, &[]);
    assert!(verified(&mut machine).contains("RSP 0, RIP 0, CR3 0, CPL 0, vCPU 0"));
    machine.run(b, &[]);
    assert!(verified(&mut machine).contains("RSP 0,"), "a push and a return");
    machine.run(a, &[]);
    assert!(verified(&mut machine).contains("RSP 1,"), "the register did not follow the push");
    machine.set(RSP, 0x1234);
    assert!(verified(&mut machine).contains("RSP is 0x1234"));
}

#[test]
fn a_translation_that_changed_unannounced_is_a_mismatch() {
    let mut machine = Machine::new();
    machine.recorder.verifier = Some(Verifier::default());
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    machine.run(a, &[load(0, 8, 0x5008)]);
    machine.recorder.verify_access(8, 0x5008);
    assert!(verified(&mut machine).contains("at 1 accesses: mismatches of the physical address 0"));
    machine.map(0x5000, 0x9000 | PRESENT);
    machine.recorder.verify_access(8, 0x5008);
    assert!(verified(&mut machine).contains("0x5008 is at Some(9008) but told at Some(5008)"));
}
