//! When the stream is told of translations.

use super::machine::{
    JUMP, LOAD, Machine, NOP, PRESENT, RET, ROOT, STORE_RAX, USER, WRITABLE, handler, load, store,
};
use crate::host::{RAX, Register};
use strata_workloads::trace::{ControlRegister, Event};

/// mov %rax, %cr3; mov %rax, %cr4
const TO_CR3: &[u8] = &[0x0f, 0x22, 0xd8];
const TO_CR4: &[u8] = &[0x0f, 0x22, 0xe0];
/// invlpg (%rax)
const INVLPG: &[u8] = &[0x0f, 0x01, 0x38];

#[test]
fn each_page_is_told_once_before_its_first_use() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, RET]);
    machine.run(a, &[load(0, 8, 0x5000), load(1, 8, 0x6000)]);
    assert_eq!(machine.told(), 3, "code and two data pages");
    machine.run(a, &[load(0, 8, 0x5008), load(1, 8, 0x6008)]);
    assert_eq!(machine.told(), 3);
    machine.finish();
    let all_first = machine.recorder.batch.events.iter().all(|(before, _)| *before == 0);
    assert!(all_first, "{:?}", machine.recorder.batch.events);
}

#[test]
fn an_access_across_pages_tells_both() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, RET]);
    machine.run(a, &[load(0, 8, 0x5ffc), load(1, 8, 0x5000)]);
    assert_eq!(machine.told(), 3);
    let pages: Vec<u64> = machine.recorder.batch.new.translations.iter().map(|t| t.page).collect();
    assert_eq!(pages, [1, 5, 6]);
}

#[test]
fn a_block_across_pages_tells_both() {
    let mut machine = Machine::new();
    let a = machine.block(0x1fff, &[LOAD, RET]);
    machine.run(a, &[]);
    assert_eq!(machine.told(), 2);
}

#[test]
fn a_changed_attribute_is_told_after_invlpg() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    let flush = machine.block(0x1005, &[INVLPG]);
    machine.run(a, &[load(0, 8, 0x5000)]);
    machine.map(0x5000, 0x5000 | PRESENT | USER);
    machine.run(a, &[load(0, 8, 0x5000)]);
    assert_eq!(machine.told(), 2, "nobody said that it changed");
    machine.set(RAX, 0x5123);
    machine.run(flush, &[]);
    machine.run(a, &[load(0, 8, 0x5000)]);
    assert_eq!(machine.told(), 3);
    assert!(!machine.recorder.batch.new.translations[2].flags.writable);
    assert_eq!(machine.events(), [(3, Event::Invlpg { address: 0x5123 })]);
}

#[test]
fn an_unchanged_page_is_not_told_again_after_a_flush() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, TO_CR3]);
    machine.set(RAX, ROOT);
    for _ in 0..3 {
        machine.run(a, &[load(0, 8, 0x5000)]);
    }
    assert_eq!(machine.told(), 2);
    assert_eq!(machine.events().len(), 2, "the last CR3 write is still open");
}

#[test]
fn writes_to_cr3_and_cr4_make_it_look_again() {
    for code in [TO_CR3, TO_CR4] {
        let mut machine = Machine::new();
        let a = machine.block(0x1000, &[LOAD, code]);
        machine.set(RAX, if code == TO_CR3 { ROOT } else { 0xa0 });
        machine.run(a, &[load(0, 8, 0x5000)]);
        machine.map(0x5000, 0x5000 | PRESENT);
        machine.run(a, &[load(0, 8, 0x5000)]);
        assert_eq!(machine.told(), 3, "{code:x?}");
    }
}

#[test]
fn a_write_that_faults_is_not_told() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[TO_CR4]);
    let fault = machine.block(handler(13), &[NOP]);
    machine.set(RAX, 0xffff_ffff);
    machine.run(a, &[]);
    machine.frame(Some(0), 0x1000);
    machine.run(fault, &[]);
    machine.finish();
    let events = machine.events();
    assert!(matches!(events[..], [(1, Event::Interrupt(_))]), "{events:?}");
    assert_eq!(machine.recorder.now.paging.cr4, 0x20);
}

#[test]
fn a_store_to_a_page_told_as_read_only_looks_again() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, STORE_RAX, JUMP]);
    machine.map(0x5000, 0x5000 | PRESENT | USER);
    machine.run(a, &[load(0, 8, 0x5000), store(1, 8, 0x6000)]);
    // Allowing more needs no invalidation.
    machine.map(0x5000, 0x5000 | PRESENT | USER | WRITABLE);
    machine.run(a, &[load(0, 8, 0x5000), store(1, 8, 0x5000)]);
    assert_eq!(machine.told(), 4);
    assert!(machine.recorder.batch.new.translations[3].flags.writable);
}

#[test]
fn a_page_fault_makes_it_look_at_the_page_again() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    let fault = machine.block(handler(14), &[NOP]);
    machine.run(a, &[load(0, 8, 0x5000)]);
    machine.run_part(a, 1, &[]);
    machine.frame(Some(4), 0x1000);
    machine.set(Register::Cr2, 0x5000);
    machine.run(fault, &[]);
    let before = machine.told();
    machine.map(0x5000, 0x9000 | PRESENT | USER);
    machine.run(a, &[load(0, 8, 0x5000)]);
    assert_eq!(machine.told(), before + 1);
}

#[test]
fn delivery_tells_the_pages_it_touches() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[NOP, RET]);
    let timer = machine.block(handler(0xfa), &[NOP]);
    machine.run(a, &[load(1, 8, 0x7_0000)]);
    machine.frame(None, 0x4000);
    machine.run(timer, &[]);
    let mut pages: Vec<u64> =
        machine.recorder.batch.new.translations.iter().map(|t| t.page).collect();
    pages.sort_unstable();
    // Code, GDT, task segment, gate, stack; then the handler.
    for page in [0x1, 0x83, 0x82, 0x80, 0x6f, 0x93] {
        assert!(pages.contains(&page), "{page:#x} in {pages:x?}");
    }
}

#[test]
fn memory_beyond_ram_is_a_device() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    machine.map(0x5000, 0xfee0_0000 | PRESENT | WRITABLE);
    machine.run(a, &[load(0, 8, 0x5080)]);
    let translation = machine.recorder.batch.new.translations[1];
    assert!(translation.flags.device);
    assert_eq!(translation.frame, 0xfee00);
}

#[test]
fn a_page_that_is_not_mapped_is_counted() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    machine.map(0x5000, 0);
    machine.run(a, &[load(0, 8, 0x5080)]);
    assert_eq!(machine.recorder.counts.unmapped, 1);
}

#[test]
fn control_registers_are_told_with_their_values() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[NOP, TO_CR3]);
    machine.set(RAX, ROOT | 1 << 63);
    machine.run(a, &[]);
    machine.finish();
    let written = Event::Control { register: ControlRegister::Cr3, value: ROOT | 1 << 63 };
    assert_eq!(machine.events(), [(1, written)]);
    assert_eq!(machine.recorder.now.paging.cr3, ROOT);
}
