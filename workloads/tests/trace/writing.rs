use super::flat::{read, write};
use super::made_up::stream;
use std::io::{self, Write};
use strata_workloads::trace::{
    AccessKind, Base, Batch, Block, BlockId, CodeSize, Event, Flow, MachineState, PageFlags,
    PageSize, Repeat, Shape, ShapeId, Slot, Space, SpaceId, StackEffect, TraceError, TraceWriter,
    Translation, TranslationId, Walk, WalkId, WriterOptions,
};

/// Takes this many bytes, then is full.
struct Disk {
    bytes: Vec<u8>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = buffer.len().min(self.room);
        self.bytes.extend_from_slice(&buffer[..taken]);
        self.room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_whole_chunks() {
    let bytes: Vec<u8> = (0..2500u32).map(|i| (i.wrapping_mul(2654435761) >> 24) as u8).collect();
    let made_up = stream(&bytes);
    let whole = write(&made_up).unwrap();
    let all = read(&whole[..]).0;
    for room in (0..whole.len()).step_by(13) {
        let mut disk = Disk { bytes: Vec::new(), room };
        let result = (|| {
            let mut writer = TraceWriter::create(&mut disk, made_up.options.clone())?;
            for batch in &made_up.batches {
                if let Err(error) = writer.write(&mut batch.clone()) {
                    // Nothing may follow the torn frame.
                    assert!(writer.write(&mut Batch::default()).is_err());
                    assert!(writer.finish().is_err());
                    return Err(error);
                }
            }
            writer.finish().map(|_| ())
        })();
        match result {
            Err(TraceError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            other => panic!("{room} bytes: {other:?}"),
        }
        assert_eq!(disk.bytes, whole[..room], "what was written before the disk was full");
        let (delivered, _, _) = read(&disk.bytes[..]);
        assert_eq!(delivered, all[..delivered.len()]);
    }
}

fn block() -> Block {
    Block {
        address: 0x1000,
        code_size: CodeSize::Bits64,
        privilege: 0,
        space: None,
        lengths: Box::new([3, 4]),
        code: Box::new([0x90; 7]),
    }
}

fn shape() -> Shape {
    let slot = Slot {
        instruction: 0,
        kind: AccessKind::Read,
        bytes: 8,
        modify: false,
        base: Base::Own,
        displacement: 0,
    };
    Shape {
        block: BlockId(0),
        completed: 2,
        interrupted: false,
        slots: Box::new([slot, Slot { instruction: 1, ..slot }]),
        repeat: None,
        flow: Flow::Other,
        stack: StackEffect::Moves(0),
    }
}

fn sound() -> Batch {
    let mut batch = Batch::default();
    batch.new.blocks.push(block());
    batch.new.shapes.push(shape());
    batch.new.spaces.push(Space::Paged { root: 0x1000 });
    batch.new.walks.push(Walk { tables: vec![1, 2, 3, 4] });
    batch.new.translations.push(Translation {
        space: SpaceId(0),
        page: 0x200,
        frame: 0x400,
        guest_frame: 0x400,
        size: PageSize::Size2M,
        flags: PageFlags::default(),
        walk: WalkId(0),
    });
    batch.event(Event::Translation(TranslationId(0)));
    batch.shapes.push(ShapeId(0));
    batch.addresses = vec![1, 2];
    batch
}

fn refusal(change: impl Fn(&mut Batch)) -> String {
    let mut writer = TraceWriter::create(Vec::new(), WriterOptions::default()).unwrap();
    let mut batch = sound();
    change(&mut batch);
    let Err(TraceError::Inconsistent(what)) = writer.write(&mut batch) else {
        panic!("it was taken")
    };
    assert!(writer.write(&mut Batch::default()).is_err(), "writing went on");
    let (trace, _) = writer.finish().unwrap();
    read(&trace[..]).2.unwrap();
    what
}

#[test]
fn what_no_reader_would_take_is_not_written() {
    let mut writer = TraceWriter::create(Vec::new(), WriterOptions::default()).unwrap();
    writer.write(&mut sound()).unwrap();
    let refusals = [
        (refusal(|b| b.new.blocks[0].lengths[0] = 0), "0 bytes"),
        (refusal(|b| b.new.blocks[0].lengths = Box::default()), "0 instructions"),
        (refusal(|b| b.new.blocks[0].code = Box::new([1])), "1 bytes of code"),
        (refusal(|b| b.new.blocks[0].privilege = 4), "privilege 4"),
        (refusal(|b| b.new.shapes[0].block = BlockId(1)), "block 1"),
        (refusal(|b| b.new.shapes[0].completed = 3), "past the 2 of block 0"),
        (refusal(|b| b.new.shapes[0].interrupted = true), "past the 2 of block 0"),
        (refusal(|b| b.new.shapes[0].slots[1].instruction = 2), "instruction 2"),
        (refusal(|b| b.new.shapes[0].slots.swap(0, 1)), "instruction 0 after 1"),
        (refusal(|b| b.new.shapes[0].slots[0].base = Base::Register(18)), "register 18"),
        (refusal(|b| b.new.shapes[0].slots[0].displacement = 1), "without a base"),
        (refusal(|b| b.new.shapes[0].slots[0].modify = true), "a read marked"),
        (refusal(|b| b.new.blocks[0].lengths = Box::new([3, 16])), "16 bytes"),
        (
            refusal(|b| b.new.shapes[0].repeat = Some(Repeat { slots: 3, backward: false })),
            "repeats 3 of its 2",
        ),
        (refusal(|b| b.new.walks[0].tables = vec![0; 6]), "6 levels"),
        (refusal(|b| b.new.translations[0].page = 0x201), "not aligned"),
        (refusal(|b| b.new.translations[0].frame = 1 << 52), "52 bits"),
        (refusal(|b| b.new.translations[0].guest_frame = 0x200), "without nested paging"),
        (refusal(|b| b.new.translations[0].space = SpaceId(1)), "space 1"),
        (refusal(|b| b.new.translations[0].walk = WalkId(1)), "walk 1"),
        (refusal(|b| b.shapes[0] = ShapeId(1)), "shape 1"),
        (refusal(|b| b.addresses.truncate(1)), "fewer addresses"),
        (refusal(|b| b.addresses.push(1)), "more addresses"),
        (refusal(|b| b.iterations.push(1)), "more addresses or iteration"),
        (refusal(|b| b.event(Event::Translation(TranslationId(1)))), "1 of 1"),
        (refusal(|b| b.event(Event::Cpu { number: 1024 })), "CPU 1024"),
        (
            refusal(|b| b.event(Event::Port { port: 1, bytes: 128, write: false, count: 1 })),
            "128 bytes",
        ),
        (
            refusal(|b| {
                b.new.shapes[0].repeat = Some(Repeat { slots: 2, backward: false });
                b.iterations.push(u64::MAX);
            }),
            "18446744073709551615 iterations",
        ),
        (
            refusal(|b| b.new.shapes[0].repeat = Some(Repeat { slots: 1, backward: false })),
            "fewer iteration counts",
        ),
    ];
    for (what, expected) in refusals {
        assert!(what.contains(expected), "{what:?} says nothing of {expected:?}");
    }
}

#[test]
fn options_that_no_reader_would_take_are_refused() {
    let cases = [
        WriterOptions { description: "x".repeat((1 << 20) + 1), ..WriterOptions::default() },
        WriterOptions {
            initial: MachineState { cpus: Vec::new(), cpu: 0 },
            ..WriterOptions::default()
        },
        WriterOptions {
            initial: MachineState { cpu: 1, ..MachineState::default() },
            ..WriterOptions::default()
        },
    ];
    for options in cases {
        let result = TraceWriter::create(Vec::new(), options).map(|_| ());
        assert!(matches!(result, Err(TraceError::Inconsistent(_))), "{result:?}");
    }
}

#[test]
fn the_digest_is_that_of_the_contents_whatever_the_compression() {
    let bytes: Vec<u8> = (0..3000u32).map(|i| (i.wrapping_mul(2246822519) >> 24) as u8).collect();
    let digest = |level, description: &str, change: usize| {
        let mut bytes = bytes.clone();
        bytes[change] ^= 1;
        let mut made_up = stream(&bytes);
        made_up.options.level = level;
        made_up.options.description = description.into();
        let mut writer = TraceWriter::create(Vec::new(), made_up.options).unwrap();
        for batch in &mut made_up.batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap().1.hash_text()
    };
    assert_eq!(digest(1, "one", 2000), digest(19, "two", 2000));
    assert_ne!(digest(1, "one", 2000), digest(1, "one", 2500));
    assert_eq!(digest(1, "one", 2000).len(), 32);
}

#[test]
fn a_stream_of_events_alone_is_cut_into_chunks_and_batches_too() {
    let mut writer =
        TraceWriter::create(io::sink(), WriterOptions { level: 1, ..WriterOptions::default() })
            .unwrap();
    let mut batch = Batch::default();
    for number in 0..1 << 16 {
        batch.event(Event::Hypercall { number, arguments: [u64::MAX / 3; 5] });
    }
    // 53 bytes each: 64 MiB are reached after 1.3 million.
    for _ in 0..25 {
        writer.write(&mut batch).unwrap();
    }
    assert!(writer.bytes() > 100, "nothing was written before the end");
}

#[test]
fn a_stream_that_completes_no_instruction_is_cut_into_chunks_too() {
    let options = WriterOptions { chunk_instructions: 100, ..WriterOptions::default() };
    let mut writer = TraceWriter::create(Vec::new(), options).unwrap();
    let mut batch = sound();
    batch.new.shapes[0] = Shape { completed: 0, interrupted: true, ..shape() };
    batch.new.shapes[0].slots[1].instruction = 0;
    batch.shapes = vec![ShapeId(0); 1000];
    batch.addresses = (0..2000).collect();
    writer.write(&mut batch).unwrap();
    let (trace, ending) = writer.finish().unwrap();
    assert_eq!((ending.totals.instructions, ending.totals.executions), (0, 1000));
    let mut reader = strata_workloads::trace::TraceReader::new(&trace[..]).unwrap();
    while reader.read(&mut batch).unwrap() {}
    assert_eq!(reader.chunks(), 5);
}
