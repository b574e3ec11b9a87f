//! A native trace as the references that a replay of it makes, one by one.

use std::io::Cursor;
use strata_workloads::import::{Format, ImportError, ImportOptions, ImportReport, Input, import};
use strata_workloads::trace::{AccessKind, Batch, Definitions, Event, Lacks, TraceReader, check};

/// One reference, or what happened between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Fetch { address: u64, length: u8 },
    Data { write: bool, address: u64, bytes: u16, modify: bool },
    Event(Event),
}

/// A native trace taken apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Native {
    pub(crate) items: Vec<Item>,
    pub(crate) tables: Definitions,
    pub(crate) lacks: Lacks,
}

impl Native {
    /// The references without the events.
    pub(crate) fn references(&self) -> Vec<Item> {
        self.items.iter().filter(|item| !matches!(item, Item::Event(_))).cloned().collect()
    }

    /// The events alone, translations aside.
    pub(crate) fn events(&self) -> Vec<Event> {
        let event = |item: &Item| match item {
            Item::Event(Event::Translation(_)) => None,
            Item::Event(event) => Some(event.clone()),
            _ => None,
        };
        self.items.iter().filter_map(event).collect()
    }
}

/// Takes a native trace apart; it must be sound.
pub(crate) fn take_apart(trace: &[u8]) -> Native {
    let report = check(TraceReader::new(trace).unwrap(), |_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let mut reader = TraceReader::new(trace).unwrap();
    let mut native = Native { lacks: reader.lacks(), ..Native::default() };
    let mut batch = Batch::default();
    while reader.read(&mut batch).unwrap() {
        native.tables.append(&mut batch.new);
        let mut events = batch.events.iter().peekable();
        let mut addresses = batch.addresses.iter();
        for (i, id) in batch.shapes.iter().enumerate() {
            while let Some((_, event)) = events.next_if(|(before, _)| *before as usize <= i) {
                native.items.push(Item::Event(event.clone()));
            }
            let shape = &native.tables.shapes[id.index()];
            let block = &native.tables.blocks[shape.block.index()];
            let mut slots = shape.slots.iter().peekable();
            for (number, &length) in block.lengths.iter().enumerate() {
                if number < usize::from(shape.completed) {
                    let address = block.instruction_address(number);
                    native.items.push(Item::Fetch { address, length });
                }
                while let Some(slot) = slots.next_if(|slot| usize::from(slot.instruction) == number)
                {
                    native.items.push(Item::Data {
                        write: slot.kind == AccessKind::Write,
                        address: *addresses.next().unwrap(),
                        bytes: slot.bytes,
                        modify: slot.modify,
                    });
                }
            }
            assert_eq!(slots.next(), None);
        }
        native.items.extend(events.map(|(_, event)| Item::Event(event.clone())));
    }
    native
}

/// Imports `bytes` and takes the result apart.
pub(crate) fn imported(
    format: Format,
    bytes: impl Into<Vec<u8>>,
) -> Result<(Native, ImportReport), ImportError> {
    let input = Input::from_reader(Cursor::new(bytes.into())).unwrap();
    let out = Cursor::new(Vec::new());
    let options = ImportOptions { level: 1, ..ImportOptions::default() };
    let (out, report) = import(format, input, out, &options, |_| ())?;
    assert_eq!(out.get_ref().len() as u64, report.bytes);
    let native = take_apart(out.get_ref());
    assert_eq!(native.lacks, report.lacks);
    let references = native.items.iter().filter(|item| !matches!(item, Item::Event(_))).count();
    assert_eq!(references as u64, report.counted.references());
    Ok((native, report))
}

/// What an import of `bytes` complains of.
pub(crate) fn refusal(format: Format, bytes: impl Into<Vec<u8>>) -> String {
    match imported(format, bytes) {
        Ok((_, report)) => panic!("it was taken: {report:?}"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn fetch(address: u64, length: u8) -> Item {
    Item::Fetch { address, length }
}

pub(crate) fn read(address: u64, bytes: u16) -> Item {
    Item::Data { write: false, address, bytes, modify: false }
}

pub(crate) fn write(address: u64, bytes: u16) -> Item {
    Item::Data { write: true, address, bytes, modify: false }
}

pub(crate) fn modify(address: u64, bytes: u16) -> Item {
    Item::Data { write: true, address, bytes, modify: true }
}
