use super::flat::{Item, fetch, imported, read, refusal, write};
use strata_workloads::import::Format;
use strata_workloads::trace::Flow;

/// An instruction as ChampSim's tracer writes it.
#[derive(Clone, Copy, Default)]
struct Instruction {
    address: u64,
    branch: u8,
    taken: u8,
    destinations: [u8; 2],
    sources: [u8; 4],
    written: [u64; 2],
    read: [u64; 4],
}

impl Instruction {
    fn at(address: u64) -> Self {
        Instruction { address, ..Instruction::default() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.address.to_le_bytes().to_vec();
        out.extend([self.branch, self.taken]);
        out.extend(self.destinations);
        out.extend(self.sources);
        out.extend(self.written.iter().chain(&self.read).flat_map(|word| word.to_le_bytes()));
        assert_eq!(out.len(), 64);
        out
    }

    /// The record of the CloudSuite traces.
    fn wide(&self) -> Vec<u8> {
        let mut out = self.address.to_le_bytes().to_vec();
        out.extend([self.branch, self.taken]);
        out.extend(self.destinations);
        out.extend([0, 0]);
        out.extend(self.sources);
        out.resize(24, 0);
        let written = [self.written[0], self.written[1], 0, 0];
        out.extend(written.iter().chain(&self.read).flat_map(|word| word.to_le_bytes()));
        out.extend([1, 2]);
        out.resize(96, 0);
        out
    }
}

const STACK_POINTER: u8 = 6;
const FLAGS: u8 = 25;
const INSTRUCTION_POINTER: u8 = 26;

fn program() -> Vec<Instruction> {
    let call = Instruction {
        branch: 1,
        taken: 1,
        destinations: [INSTRUCTION_POINTER, STACK_POINTER],
        sources: [INSTRUCTION_POINTER, STACK_POINTER, 0, 0],
        written: [0x7ff0, 0],
        ..Instruction::at(0x1008)
    };
    let ret = Instruction {
        branch: 1,
        taken: 1,
        destinations: [INSTRUCTION_POINTER, STACK_POINTER],
        sources: [STACK_POINTER, 0, 0, 0],
        read: [0x7ff0, 0, 0, 0],
        ..Instruction::at(0x2003)
    };
    let untaken = Instruction {
        branch: 1,
        destinations: [INSTRUCTION_POINTER, 0],
        sources: [INSTRUCTION_POINTER, FLAGS, 0, 0],
        ..Instruction::at(0x100d)
    };
    // Jumps over two bytes: that is not its length.
    let taken = Instruction { taken: 1, ..Instruction { address: 0x100f, ..untaken } };
    vec![
        Instruction { read: [0x8000, 0x9000, 0, 0], ..Instruction::at(0x1000) },
        Instruction { read: [0xa000, 0, 0, 0], written: [0xa000, 0], ..Instruction::at(0x1003) },
        call,
        Instruction::at(0x2000),
        ret,
        untaken,
        taken,
        Instruction::at(0x1013),
    ]
}

fn expected(lengths: [u8; 8]) -> Vec<Item> {
    let [a, b, c, d, e, f, g, h] = lengths;
    vec![
        fetch(0x1000, a),
        read(0x8000, 0),
        read(0x9000, 0),
        fetch(0x1003, b),
        read(0xa000, 0),
        write(0xa000, 0),
        fetch(0x1008, c),
        write(0x7ff0, 0),
        fetch(0x2000, d),
        fetch(0x2003, e),
        read(0x7ff0, 0),
        fetch(0x100d, f),
        fetch(0x100f, g),
        fetch(0x1013, h),
    ]
}

#[test]
fn reads_come_before_writes_and_lengths_from_what_follows() {
    let stream: Vec<u8> = program().iter().flat_map(Instruction::bytes).collect();
    let (native, report) = imported(Format::ChampSim, stream).unwrap();
    assert_eq!(native.items, expected([3, 5, 1, 3, 1, 2, 1, 1]));
    assert_eq!(report.counted.fetches_without_length, 4);
    assert!(native.lacks.sizes && native.lacks.lengths && native.lacks.modifies);
    let flows: Vec<Flow> = native.tables.shapes.iter().map(|shape| shape.flow).collect();
    assert_eq!(flows, [Flow::Call, Flow::Return, Flow::Other, Flow::Other]);
}

#[test]
fn a_length_once_shown_holds_for_later_executions() {
    let again = [Instruction::at(0x1000), Instruction::at(0x5000)];
    let stream: Vec<u8> = program().iter().chain(&again).flat_map(Instruction::bytes).collect();
    let (native, _) = imported(Format::ChampSim, stream).unwrap();
    assert_eq!(native.items[14..], [fetch(0x1000, 3), fetch(0x5000, 1)]);
}

#[test]
fn the_wide_records_hold_the_same() {
    let stream: Vec<u8> = program().iter().flat_map(Instruction::wide).collect();
    let (native, _) = imported(Format::ChampSimCloudSuite, stream).unwrap();
    assert_eq!(native.items, expected([3, 5, 1, 3, 1, 2, 1, 1]));
}

#[test]
fn records_of_the_other_size_are_noticed() {
    let wide: Vec<u8> = program().iter().flat_map(Instruction::wide).collect();
    let said = refusal(Format::ChampSim, wide);
    assert!(said.contains("record 2 (byte 128)") && said.contains("of 96"), "{said}");
    let narrow: Vec<u8> = program().iter().flat_map(Instruction::bytes).collect();
    let said = refusal(Format::ChampSimCloudSuite, narrow.repeat(2));
    assert!(said.contains("record") && said.contains("of 64 bytes"), "{said}");
    let marks = Instruction { branch: 2, ..Instruction::at(0x1000) };
    assert!(refusal(Format::ChampSim, marks.bytes()).contains("not 0 or 1"));
}

#[test]
fn a_stream_that_ends_within_a_record_was_cut_off() {
    let mut stream: Vec<u8> = program().iter().flat_map(Instruction::bytes).collect();
    stream.truncate(64 * 7 + 63);
    let said = refusal(Format::ChampSim, stream);
    assert!(said.contains("record 7 (byte 448)") && said.contains("cut off"), "{said}");
}
