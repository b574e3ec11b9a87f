//! The example in the format's document, byte for byte.

use super::flat::{Item, read};
use super::naive;
use strata_workloads::trace::{
    AccessKind, Base, Batch, Block, BlockId, CodeSize, CpuState, Descriptor, Event, Flow,
    IDLE_DOMAIN, MachineState, PageFlags, PageSize, STACK_POINTER, Shape, ShapeId, Slot, Space,
    SpaceId, StackEffect, TraceWriter, Translation, TranslationId, Vcpu, Walk, WalkId,
    WriterOptions,
};

const DOCUMENT: &str = include_str!("../../../docs/trace-format.md");

fn batch() -> Batch {
    let slot = Slot {
        instruction: 0,
        kind: AccessKind::Read,
        bytes: 8,
        modify: false,
        base: Base::Register(7),
        displacement: 8,
    };
    let mut batch = Batch::default();
    batch.new.blocks.push(Block {
        address: 0xffff_82d0_4020_0000,
        code_size: CodeSize::Bits64,
        privilege: 0,
        space: None,
        lengths: Box::new([4, 1]),
        // mov rax,[rdi+8]; ret
        code: Box::new([0x48, 0x8b, 0x47, 0x08, 0xc3]),
    });
    batch.new.shapes.push(Shape {
        block: BlockId(0),
        completed: 2,
        interrupted: false,
        slots: Box::new([
            slot,
            Slot { instruction: 1, base: Base::Register(STACK_POINTER), displacement: 0, ..slot },
        ]),
        repeat: None,
        flow: Flow::Return,
        stack: StackEffect::Moves(8),
    });
    batch.new.spaces.push(Space::Paged { root: 0x7000 });
    batch.new.walks.push(Walk { tables: vec![7, 8, 9] });
    batch.new.translations.push(Translation {
        space: SpaceId(0),
        page: 0xf_fff8_2d04_0200,
        frame: 0x1200,
        guest_frame: 0x1200,
        size: PageSize::Size2M,
        flags: PageFlags { global: true, executable: true, ..PageFlags::default() },
        walk: WalkId(0),
    });
    batch.event(Event::Marker { number: 1 });
    batch.event(Event::Translation(TranslationId(0)));
    batch.shapes = vec![ShapeId(0); 3];
    batch.addresses = vec![0x1008, 0x8000, 0x1008, 0x8008, 0x1018, 0x8010];
    batch
}

fn trace() -> Vec<u8> {
    // Every field has a value of its own, so that no column is worth compressing.
    let cpu = CpuState {
        cr0: 0x8005_0033,
        cr3: 0x7000,
        cr4: 0x6a0,
        efer: 0xd01,
        gdt: Descriptor { base: 0x5000, limit: 0x7f, selector: 0 },
        idt: Descriptor { base: 0x6000, limit: 0xfff, selector: 0 },
        task: Descriptor { base: 0x5080, limit: 0x67, selector: 0x40 },
        current: Vcpu { pointer: 0x9000, domain: IDLE_DOMAIN, number: 3 },
        loaded: Vcpu { pointer: 0xa000, domain: 1, number: 2 },
        stack_pointer: 0x8000,
        guest: None,
        halted: false,
        tsc: 12345,
        nanoseconds: 54321,
    };
    let options = WriterOptions {
        description: "example".into(),
        initial: MachineState { cpus: vec![cpu], cpu: 0 },
        ..WriterOptions::default()
    };
    let mut writer = TraceWriter::create(Vec::new(), options).unwrap();
    writer.write(&mut batch()).unwrap();
    writer.finish().unwrap().0
}

/// The bytes in the document: hexadecimal up to the semicolon of each line.
fn documented() -> Vec<u8> {
    let (_, example) = DOCUMENT.split_once("<!-- the bytes -->").unwrap();
    let fence = example.split("```").nth(1).unwrap();
    fence
        .lines()
        .skip(1)
        .filter_map(|line| line.split(';').next())
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn the_documents_example_is_what_the_writer_writes() {
    let trace = trace();
    let hex: Vec<String> = trace.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(documented(), trace, "the writer gives {}", hex.join(" "));
}

#[test]
fn the_documents_example_reads_as_it_says() {
    let items = naive::decode(&documented()).items;
    let execution = |addresses: [u64; 2], stack_pointer| Item::Execution {
        shape: ShapeId(0),
        addresses: addresses.into(),
        iterations: None,
        stack_pointer,
    };
    let expected = [
        Item::Event(Event::Marker { number: 1 }),
        Item::Event(Event::Translation(TranslationId(0))),
        execution([0x1008, 0x8000], 0x8000),
        execution([0x1008, 0x8008], 0x8008),
        execution([0x1018, 0x8010], 0x8010),
    ];
    assert_eq!(items, expected);
    assert_eq!(read(&documented()[..]).0, expected);
}
