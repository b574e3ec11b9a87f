use super::flat::{Item, fetch, imported, modify, read, refusal, write};
use proptest::prelude::*;
use strata_workloads::import::Format;
use strata_workloads::trace::{ControlRegister, Event, Flow, GapReason, PageSize, Space};

// Types of records and of markers, by the numbers of DynamoRIO's trace_entry.h.
const READ: u16 = 0;
const WRITE: u16 = 1;
const PREFETCH: u16 = 2;
const INSTR: u16 = 10;
const DIRECT_CALL: u16 = 14;
const RETURN: u16 = 16;
const BUNDLE: u16 = 17;
const THREAD: u16 = 22;
const PID: u16 = 24;
const HEADER: u16 = 25;
const FOOTER: u16 = 26;
const MARKER: u16 = 28;
const NO_FETCH: u16 = 29;
const ENCODING: u16 = 47;
const TAKEN_JUMP: u16 = 48;
const TIMESTAMP: u16 = 2;
const CPU_ID: u16 = 3;
const FILETYPE: u16 = 9;
const WINDOW_ID: u16 = 14;
const PHYSICAL_ADDRESS: u16 = 15;
const VIRTUAL_ADDRESS: u16 = 17;
const PAGE_SIZE: u16 = 18;
const SYSCALL: u16 = 25;
const SYSCALL_TRACE_START: u16 = 27;
const SYSCALL_TRACE_END: u16 = 28;
const CORE_IDLE: u16 = 33;

type Entry = (u16, u16, u64);

fn bytes(entries: &[Entry]) -> Vec<u8> {
    let entry = |&(kind, size, value): &Entry| {
        let mut out = [0; 12];
        out[..2].copy_from_slice(&kind.to_le_bytes());
        out[2..4].copy_from_slice(&size.to_le_bytes());
        out[4..].copy_from_slice(&value.to_le_bytes());
        out
    };
    entries.iter().flat_map(entry).collect()
}

/// A whole stream of one thread of process 7 around `entries`.
fn stream(entries: &[Entry]) -> Vec<u8> {
    let mut all = vec![(HEADER, 0, 7), (THREAD, 4, 70), (PID, 4, 7)];
    all.extend(entries);
    all.push((FOOTER, 0, 0));
    bytes(&all)
}

fn control(register: ControlRegister, value: u64) -> Event {
    Event::Control { register, value }
}

/// The address space of process 7.
const PROCESS_7: Event = Event::Control { register: ControlRegister::Cr3, value: 8 << 12 };

proptest! {
    #[test]
    fn a_replay_of_the_native_trace_makes_the_same_references(
        references in proptest::collection::vec((0u8..4, any::<u64>(), any::<u16>(), 1u8..=15), 1..300)
    ) {
        let mut entries = Vec::new();
        let mut items = Vec::new();
        for (kind, address, bytes, length) in references {
            match kind {
                0 => {
                    entries.push((INSTR, u16::from(length), address));
                    items.push(fetch(address, length));
                }
                1 => {
                    entries.push((READ, bytes, address));
                    items.push(read(address, bytes));
                }
                2 => {
                    entries.push((WRITE, bytes, address));
                    items.push(write(address, bytes));
                }
                _ => entries.push((NO_FETCH, u16::from(length), address)),
            }
        }
        let (native, _) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
        prop_assert_eq!(native.references(), items);
    }

    #[test]
    fn any_records_are_taken_or_refused(
        entries in proptest::collection::vec((0u16..52, 0u16..60, any::<u64>()), 0..100)
    ) {
        let _ = imported(Format::Drmemtrace, stream(&entries));
    }
}

#[test]
fn each_iteration_of_a_rep_refers_without_a_fetch() {
    let mut entries = vec![(INSTR, 3, 0x1000), (INSTR, 2, 0x1003)];
    let mut expected = vec![fetch(0x1000, 3), fetch(0x1003, 2)];
    for i in 0..500 {
        if i > 0 {
            entries.push((NO_FETCH, 2, 0x1003));
        }
        entries.extend([(READ, 8, 0x8000 + 8 * i), (WRITE, 8, 0x9000 + 8 * i)]);
        expected.extend([read(0x8000 + 8 * i, 8), write(0x9000 + 8 * i, 8)]);
    }
    entries.push((INSTR, 1, 0x1005));
    expected.push(fetch(0x1005, 1));
    let (native, report) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    assert_eq!(native.references(), expected);
    assert_eq!(report.ending.totals.instructions, 3);
    assert_eq!(report.ending.tables.shapes, 3);
    let last = &native.tables.shapes[1];
    assert_eq!(native.tables.blocks[last.block.index()].address, 0x1003);
}

#[test]
fn an_instruction_of_no_size_only_places_the_data_behind_it() {
    let entries = [(INSTR, 0, 0x1000), (READ, 4, 0x8000)];
    let (native, report) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    assert_eq!(native.references(), [read(0x8000, 4)]);
    assert_eq!(report.ending.totals.instructions, 0);
    assert_eq!(native.tables.blocks[0].address, 0x1000);
}

#[test]
fn encodings_are_the_code_and_hold_until_told_anew() {
    // mov rax,[rdi+8]; jmp back; later xor eax,eax in the place of the first.
    let entries = [
        (ENCODING, 4, 0x0847_8b48),
        (INSTR, 4, 0x1000),
        (READ, 8, 0x8000),
        (ENCODING, 2, 0xfaeb),
        (TAKEN_JUMP, 2, 0x1004),
        (INSTR, 4, 0x1000),
        (READ, 8, 0x8008),
        (TAKEN_JUMP, 2, 0x1004),
        (ENCODING, 2, 0xc031),
        (INSTR, 2, 0x1000),
    ];
    let (native, report) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    assert!(!native.lacks.code);
    let codes: Vec<&[u8]> = native.tables.blocks.iter().map(|block| &block.code[..]).collect();
    assert_eq!(codes, [&[0x48, 0x8b, 0x47, 0x08, 0xeb, 0xfa][..], &[0x31, 0xc0]]);
    assert_eq!(report.ending.totals.executions, 3);
    // An encoding of ten bytes comes in two records.
    let long = [(ENCODING, 8, 0x3322_1100_dead_b848), (ENCODING, 2, 0x5544), (INSTR, 10, 0x1000)];
    let (native, _) = imported(Format::Drmemtrace, stream(&long)).unwrap();
    assert_eq!(native.tables.blocks[0].code.len(), 10);
    let (native, _) = imported(Format::Drmemtrace, stream(&[(INSTR, 4, 0x1000)])).unwrap();
    assert!(native.lacks.code);
}

#[test]
fn the_code_tells_which_writes_modify() {
    // add [rdi],eax; movsd
    let entries = [
        (ENCODING, 2, 0x0701),
        (INSTR, 2, 0x1000),
        (READ, 4, 0x8000),
        (WRITE, 4, 0x8000),
        (ENCODING, 1, 0xa5),
        (INSTR, 1, 0x1002),
        (READ, 4, 0x9000),
        (WRITE, 4, 0xa000),
        (INSTR, 2, 0x1000),
        (READ, 4, 0x8000),
        (WRITE, 4, 0x8000),
    ];
    let (native, report) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    let once = [fetch(0x1000, 2), read(0x8000, 4), modify(0x8000, 4)];
    let other = [fetch(0x1002, 1), read(0x9000, 4), write(0xa000, 4)];
    assert_eq!(native.references(), [&once[..], &other, &once].concat());
    assert_eq!((report.counted.modifies, report.lacks.modifies), (2, false));
    let (_, report) = imported(Format::Drmemtrace, stream(&[(INSTR, 2, 0x1000)])).unwrap();
    assert!(report.lacks.modifies);
}

#[test]
fn encodings_of_another_architecture_are_no_x86_code() {
    let entries = [(MARKER, FILETYPE, 0x208), (ENCODING, 4, 0xd503_201f), (INSTR, 4, 0x1000)];
    let (native, _) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    assert!(native.lacks.code && native.tables.blocks[0].code.is_empty());
}

#[test]
fn code_of_another_length_than_its_instruction_is_refused() {
    let said = refusal(Format::Drmemtrace, stream(&[(ENCODING, 2, 0xc031), (INSTR, 3, 0x1000)]));
    assert!(said.contains("2 bytes of code for an instruction of 3 bytes"), "{said}");
}

#[test]
fn calls_and_returns_end_blocks_behind_their_data() {
    let entries = [
        (INSTR, 4, 0x1000),
        (DIRECT_CALL, 5, 0x1004),
        (WRITE, 8, 0x7ff8),
        (INSTR, 1, 0x1009),
        (RETURN, 1, 0x100a),
        (READ, 8, 0x7ff8),
        (INSTR, 1, 0x100b),
    ];
    let (native, _) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    let flows: Vec<Flow> = native.tables.shapes.iter().map(|shape| shape.flow).collect();
    assert_eq!(flows, [Flow::Call, Flow::Return, Flow::Other]);
    assert_eq!(native.tables.shapes[0].slots.len(), 1);
}

#[test]
fn a_process_is_an_address_space_and_a_switch_a_write_of_cr3() {
    let entries = [
        (INSTR, 1, 0x1000),
        (THREAD, 4, 71),
        (INSTR, 1, 0x1001),
        (THREAD, 4, 80),
        (PID, 4, 8),
        (INSTR, 1, 0x1000),
        (THREAD, 4, 70),
        (INSTR, 1, 0x1002),
    ];
    let (native, report) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    let expected = [
        Item::Event(PROCESS_7),
        fetch(0x1000, 1),
        // A thread without a process of its own goes on in that of the thread before.
        fetch(0x1001, 1),
        Item::Event(control(ControlRegister::Cr3, 9 << 12)),
        fetch(0x1000, 1),
        Item::Event(PROCESS_7),
        fetch(0x1002, 1),
    ];
    assert_eq!(native.items, expected);
    assert!(!report.lacks.contexts && report.lacks.translations && report.lacks.events);
}

#[test]
fn page_markers_become_translations_in_the_address_space_of_the_process() {
    let entries = [
        (MARKER, PAGE_SIZE, 4096),
        (MARKER, PHYSICAL_ADDRESS, 0x12_3000),
        (MARKER, VIRTUAL_ADDRESS, 0x1000),
        (INSTR, 1, 0x1000),
        (MARKER, PHYSICAL_ADDRESS, 0x12_3000),
        (MARKER, VIRTUAL_ADDRESS, 0x1000),
        (INSTR, 1, 0x1001),
        (MARKER, PHYSICAL_ADDRESS, 0x45_6000),
        (MARKER, VIRTUAL_ADDRESS, 0x1000),
        (INSTR, 1, 0x1002),
        (MARKER, PAGE_SIZE, 2 << 20),
        (MARKER, PHYSICAL_ADDRESS, 0x4000_1234),
        (MARKER, VIRTUAL_ADDRESS, 0xffff_8000_0000_1234),
        (READ, 1, 0xffff_8000_0000_1234),
    ];
    let (native, report) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    assert_eq!(native.tables.spaces, [Space::Paged { root: 8 << 12 }]);
    let told: Vec<_> =
        native.tables.translations.iter().map(|t| (t.page, t.frame, t.size)).collect();
    let expected = [
        (1, 0x123, PageSize::Size4K),
        (1, 0x456, PageSize::Size4K),
        (0xf_fff8_0000_0000, 0x4_0000, PageSize::Size2M),
    ];
    assert_eq!(told, expected);
    assert!(!report.lacks.translations && report.lacks.walks);
    let registers: Vec<_> = native
        .events()
        .iter()
        .map(|event| match event {
            Event::Control { register, .. } => *register,
            other => panic!("{other:?}"),
        })
        .collect();
    use ControlRegister::{Cr0, Cr3, Cr4, Efer};
    assert_eq!(registers, [Cr4, Efer, Cr3, Cr0]);
}

#[test]
fn pages_that_contradict_their_translation_are_refused() {
    let pages = |bytes, physical, virtual_address| {
        refusal(
            Format::Drmemtrace,
            stream(&[
                (MARKER, PAGE_SIZE, bytes),
                (MARKER, PHYSICAL_ADDRESS, physical),
                (MARKER, VIRTUAL_ADDRESS, virtual_address),
            ]),
        )
    };
    let said = pages(2 << 20, 0x1000, 0);
    assert!(said.contains("cannot be in pages of 2097152 bytes"), "{said}");
    for bytes in [0, 1, 5000, 65536, u64::MAX] {
        assert!(pages(bytes, 0, 0).contains("pages of"), "{bytes}");
    }
    let alone = refusal(Format::Drmemtrace, stream(&[(MARKER, VIRTUAL_ADDRESS, 0x1000)]));
    assert!(alone.contains("without the physical one"), "{alone}");
}

#[test]
fn cpus_are_numbered_as_they_appear_and_each_learns_its_address_space() {
    let entries = [
        (MARKER, CPU_ID, 12),
        (INSTR, 1, 0x1000),
        (MARKER, CPU_ID, u64::MAX),
        (INSTR, 1, 0x1001),
        (MARKER, CPU_ID, 3),
        (INSTR, 1, 0x1002),
        (MARKER, CPU_ID, 12),
        (INSTR, 1, 0x1003),
    ];
    let (native, report) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    let expected = [
        Item::Event(PROCESS_7),
        fetch(0x1000, 1),
        fetch(0x1001, 1),
        Item::Event(Event::Cpu { number: 1 }),
        Item::Event(PROCESS_7),
        fetch(0x1002, 1),
        Item::Event(Event::Cpu { number: 0 }),
        fetch(0x1003, 1),
    ];
    assert_eq!(native.items, expected);
    assert!(report.notes[0].contains("2 CPUs"), "{:?}", report.notes);
    let many: Vec<Entry> = (0..1025).map(|cpu| (MARKER, CPU_ID, cpu)).collect();
    assert!(refusal(Format::Drmemtrace, stream(&many)).contains("more than 1024 CPUs"));
}

#[test]
fn markers_with_a_native_event_become_it_and_kernel_code_is_privileged() {
    let entries = [
        (MARKER, TIMESTAMP, 1000),
        (INSTR, 2, 0x1000),
        (MARKER, SYSCALL, 39),
        (MARKER, SYSCALL_TRACE_START, 39),
        (INSTR, 1, 0xffff_8000_0000_0000),
        (MARKER, SYSCALL_TRACE_END, 39),
        (MARKER, TIMESTAMP, 1007),
        (MARKER, CORE_IDLE, 0),
        (MARKER, CORE_IDLE, 0),
        (INSTR, 1, 0x1002),
        (MARKER, WINDOW_ID, 0),
        (MARKER, WINDOW_ID, 1),
        (INSTR, 1, 0x1003),
    ];
    let (native, _) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    let expected = [
        PROCESS_7,
        Event::Syscall { number: 39 },
        Event::Time { nanoseconds: 7000 },
        Event::Halt,
        Event::Wake,
        Event::Gap { reason: GapReason::Disarmed, instructions: 0 },
    ];
    assert_eq!(native.events(), expected);
    let privileges: Vec<u8> = native.tables.blocks.iter().map(|block| block.privilege).collect();
    assert_eq!(privileges, [3, 0, 3, 3]);
    assert!(!native.lacks.privilege);
}

#[test]
fn what_a_native_trace_cannot_hold_is_counted_and_what_was_filtered_is_noted() {
    let entries = [
        (MARKER, FILETYPE, 0x40 | 0x80),
        (INSTR, 2, 0x1000),
        (PREFETCH, 1, 0x8000),
        (18, 64, 0x1000),
        (MARKER, 4, 1),
    ];
    let (native, report) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    assert_eq!(native.references(), [fetch(0x1000, 2)]);
    assert_eq!(report.left_out.values().copied().collect::<Vec<_>>(), [1, 1, 1]);
    assert!(report.notes[0].contains("fetches that hit a filter"), "{:?}", report.notes);
}

#[test]
fn a_bundle_is_the_instructions_behind_the_last() {
    let entries = [(INSTR, 2, 0x1000), (BUNDLE, 3, 0x0005_0304)];
    let (native, _) = imported(Format::Drmemtrace, stream(&entries)).unwrap();
    let expected = [fetch(0x1000, 2), fetch(0x1002, 4), fetch(0x1006, 3), fetch(0x1009, 5)];
    assert_eq!(native.references(), expected);
}

#[test]
fn other_versions_widths_and_stages_are_told_apart() {
    let said = refusal(Format::Drmemtrace, bytes(&[(HEADER, 0, 8), (FOOTER, 0, 0)]));
    assert!(said.contains("version 8") && said.contains("1 to 7"), "{said}");
    let said = refusal(Format::Drmemtrace, bytes(&[(HEADER, 0, 7 | 28 << 32), (FOOTER, 0, 0)]));
    assert!(said.contains("32-bit programs"), "{said}");
    let said = refusal(Format::Drmemtrace, bytes(&[(INSTR, 3, 0x1000)]));
    assert!(said.contains("raw2trace"), "{said}");
    let said = refusal(Format::Drmemtrace, stream(&[(60, 0, 0)]));
    assert!(said.contains("record 3 (byte 36): a record of type 60"), "{said}");
    let said = refusal(Format::Drmemtrace, stream(&[(INSTR, 256, 0x1000)]));
    assert!(said.contains("an instruction of 256 bytes"), "{said}");
}

#[test]
fn a_stream_without_its_footer_was_cut_off() {
    let whole = stream(&[(INSTR, 1, 0x1000); 20]);
    for length in (12..whole.len()).step_by(5) {
        let said = refusal(Format::Drmemtrace, &whole[..length]);
        assert!(said.contains("cut off"), "{length}: {said}");
    }
}
