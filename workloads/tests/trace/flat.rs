//! A stream as a list of what happened, whatever batches it came in.

use std::io::Read;
use strata_workloads::trace::{
    Base, Batch, Definitions, Event, MachineState, STACK_POINTER, Shape, ShapeId, StackEffect,
    TraceError, TraceReader, TraceWriter,
};

use super::made_up::MadeUp;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Execution { shape: ShapeId, addresses: Vec<u64>, iterations: Option<u64>, stack_pointer: u64 },
    Event(Event),
}

/// Appends the contents of `batch`, as a reader delivers them.
pub(crate) fn append(items: &mut Vec<Item>, batch: &Batch, shapes: &[Shape]) {
    assert_eq!(batch.shapes.len(), batch.stack_pointers.len());
    let mut events = batch.events.iter().peekable();
    let (mut addresses, mut iterations) = (batch.addresses.iter(), batch.iterations.iter());
    for (i, &id) in batch.shapes.iter().enumerate() {
        while let Some((_, event)) = events.next_if(|(before, _)| *before as usize <= i) {
            items.push(Item::Event(event.clone()));
        }
        let shape = &shapes[id.index()];
        items.push(Item::Execution {
            shape: id,
            addresses: addresses.by_ref().take(shape.slots.len()).copied().collect(),
            iterations: shape.repeat.and_then(|_| iterations.next().copied()),
            stack_pointer: batch.stack_pointers[i],
        });
    }
    items.extend(events.map(|(_, event)| Item::Event(event.clone())));
    assert_eq!((addresses.next(), iterations.next()), (None, None), "columns left over");
}

/// Follows the machine as the document says, without any of the codec.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    pub(crate) state: MachineState,
}

impl Follower {
    /// The stack pointer at the start of an execution of `shape`; leaves the one after it in the
    /// state.
    pub(crate) fn execute(&mut self, shape: &Shape, addresses: &[u64], iterations: u64) -> u64 {
        let mut stack = self.state.running().stack_pointer;
        for (slot, address) in shape.slots.iter().zip(addresses) {
            if slot.base == Base::Register(STACK_POINTER) {
                stack = address.wrapping_sub(slot.displacement as u64);
            }
        }
        let before = stack;
        if let StackEffect::Moves(bytes) = shape.stack {
            stack = stack.wrapping_add(bytes as u64);
        }
        if let Some(repeat) = shape.repeat {
            let first = shape.slots.len() - usize::from(repeat.slots);
            for slot in &shape.slots[first..] {
                if slot.base == Base::Register(STACK_POINTER) {
                    let moved = iterations.wrapping_mul(u64::from(slot.bytes));
                    stack = if repeat.backward {
                        stack.wrapping_sub(moved)
                    } else {
                        stack.wrapping_add(moved)
                    };
                }
            }
        }
        self.state.running_mut().stack_pointer = stack;
        before
    }
}

/// What a reader must deliver of `stream`, and all its definitions.
pub(crate) fn expected(stream: &MadeUp) -> (Vec<Item>, Definitions) {
    let mut all = Definitions::default();
    let mut items = Vec::new();
    for batch in &stream.batches {
        all.append(&mut batch.new.clone());
        let mut with_stacks = batch.clone();
        with_stacks.stack_pointers = vec![0; batch.shapes.len()];
        append(&mut items, &with_stacks, &all.shapes);
    }
    let mut follower = Follower { state: stream.options.initial.clone() };
    for item in &mut items {
        match item {
            Item::Event(event) => follower.state.apply(event),
            Item::Execution { shape, addresses, iterations, stack_pointer } => {
                let shape = &all.shapes[shape.index()];
                *stack_pointer = follower.execute(shape, addresses, iterations.unwrap_or_default());
            }
        }
    }
    (items, all)
}

/// The trace of `stream`.
pub(crate) fn write(stream: &MadeUp) -> Result<Vec<u8>, TraceError> {
    let mut writer = TraceWriter::create(Vec::new(), stream.options.clone())?;
    for batch in &stream.batches {
        writer.write(&mut batch.clone())?;
    }
    Ok(writer.finish()?.0)
}

/// All that `input` delivers, and how it ended.
pub(crate) fn read(input: impl Read) -> (Vec<Item>, Definitions, Result<(), TraceError>) {
    let mut items = Vec::new();
    let mut all = Definitions::default();
    let mut reader = match TraceReader::new(input) {
        Ok(reader) => reader,
        Err(error) => return (items, all, Err(error)),
    };
    let mut batch = Batch::default();
    loop {
        match reader.read(&mut batch) {
            Ok(true) => {
                all.append(&mut batch.new);
                append(&mut items, &batch, &all.shapes);
            }
            Ok(false) => return (items, all, Ok(())),
            Err(error) => return (items, all, Err(error)),
        }
    }
}
