use super::flat::{Follower, Item, append, expected, read, write};
use super::made_up::stream;
use super::naive;
use proptest::prelude::*;
use std::io::Write;
use std::path::Path;
use strata_workloads::trace::{
    Batch, Definitions, Event, IndexedTrace, Interrupt, Lacks, ShapeId, TableSizes, TraceReader,
    TraceWriter,
};

pub(crate) fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..60),
        4 => proptest::collection::vec(any::<u8>(), 200..3000),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_pipe_delivers_what_was_written(bytes in any_bytes()) {
        let made_up = stream(&bytes);
        let (items, definitions) = expected(&made_up);
        let trace = write(&made_up).unwrap();
        let (read_items, read_definitions, end) = read(&trace[..]);
        end.unwrap();
        prop_assert_eq!(read_definitions, definitions);
        prop_assert_eq!(read_items, items);
    }

    #[test]
    fn a_decoder_written_from_the_document_agrees(bytes in any_bytes()) {
        let made_up = stream(&bytes);
        let (items, definitions) = expected(&made_up);
        let trace = write(&made_up).unwrap();
        let decoded = naive::decode(&trace);
        prop_assert_eq!(decoded.description, "made up");
        prop_assert_eq!(decoded.lacks, made_up.options.lacks.bits());
        prop_assert_eq!(decoded.definitions, definitions);
        prop_assert_eq!(decoded.items, items);
        prop_assert!(decoded.whole);
    }

    #[test]
    fn chunks_are_read_in_any_order(bytes in any_bytes(), order in any::<u64>()) {
        let made_up = stream(&bytes);
        let (items, definitions) = expected(&made_up);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&write(&made_up).unwrap()).unwrap();
        let trace = IndexedTrace::open(file.path()).unwrap();
        prop_assert_eq!(trace.tables(), &definitions);
        prop_assert_eq!(trace.ending().tables, TableSizes::of(&definitions));
        let count = trace.chunks().len();
        let mut chunks: Vec<Option<Vec<Item>>> = vec![None; count];
        for i in 0..count {
            // A stride without a common factor visits each chunk once.
            let stride = (1 + order as usize % count..).find(|s| gcd(*s, count) == 1).unwrap();
            let number = (i * stride + order as usize % count) % count;
            let mut chunk = trace.chunk(number).unwrap();
            prop_assert_eq!(&trace.head(number).unwrap(), chunk.head());
            let (mut batch, mut here) = (Batch::default(), Vec::new());
            while chunk.read(&mut batch).unwrap() {
                prop_assert!(batch.new.is_empty());
                append(&mut here, &batch, &definitions.shapes);
            }
            chunks[number] = Some(here);
        }
        let all: Vec<Item> = chunks.into_iter().flatten().flatten().collect();
        prop_assert_eq!(all, items);
    }

    #[test]
    fn an_outline_is_the_same_without_addresses(bytes in any_bytes(), split in any::<usize>()) {
        let made_up = stream(&bytes);
        let (items, _) = expected(&made_up);
        let bytes = write(&made_up).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let trace = IndexedTrace::open(file.path()).unwrap();
        let mut reader = TraceReader::new(&bytes[..]).unwrap();
        let (mut begun, mut known) = (0, Vec::new());
        while reader.read(&mut Batch::default()).unwrap() {
            if reader.chunks() > begun {
                begun = reader.chunks();
                known.push(TableSizes::of(reader.tables()));
            }
        }
        let count = trace.chunks().len();
        prop_assert_eq!((0..count).map(|n| trace.known_tables(n)).collect::<Vec<_>>(), known);
        let mut found = Vec::new();
        let split = split % (count + 1);
        for part in [0..split, split..count] {
            let mut outline = trace.outline(part.clone()).unwrap();
            let mut numbers = part;
            prop_assert!(!outline.read(&mut Batch::default()).unwrap());
            while let Some((number, head)) = outline.next_chunk().unwrap() {
                prop_assert_eq!(Some(number), numbers.next());
                prop_assert_eq!(head, &trace.head(number).unwrap());
                let mut batch = Batch::default();
                while outline.read(&mut batch).unwrap() {
                    found.extend(outline_of(&batch));
                }
            }
            prop_assert_eq!(numbers.next(), None);
        }
        let wanted: Vec<_> = items.iter().map(outlined).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn every_chunk_begins_with_the_state_that_the_events_before_it_lead_to(bytes in any_bytes()) {
        let made_up = stream(&bytes);
        let trace = write(&made_up).unwrap();
        let mut reader = TraceReader::new(&trace[..]).unwrap();
        let mut follower = Follower { state: made_up.options.initial };
        let (mut batch, mut all) = (Batch::default(), Definitions::default());
        let mut chunks = 0;
        while reader.read(&mut batch).unwrap() {
            all.append(&mut batch.new);
            if reader.chunks() > chunks {
                chunks = reader.chunks();
                prop_assert_eq!(&reader.chunk_head().unwrap().state, &follower.state);
            }
            let mut items = Vec::new();
            append(&mut items, &batch, &all.shapes);
            for item in items {
                match item {
                    Item::Event(event) => follower.state.apply(&event),
                    Item::Execution { shape, addresses, iterations, .. } => {
                        let shape = &all.shapes[shape.index()];
                        follower.execute(shape, &addresses, iterations.unwrap_or_default());
                    }
                }
            }
            if let Some(state) = reader.state() {
                prop_assert_eq!(&state, &follower.state);
            }
        }
    }

    #[test]
    fn heads_and_end_hold_the_totals(bytes in any_bytes()) {
        let made_up = stream(&bytes);
        let (items, definitions) = expected(&made_up);
        let trace = write(&made_up).unwrap();
        let mut reader = TraceReader::new(&trace[..]).unwrap();
        while reader.read(&mut Batch::default()).unwrap() {}
        let totals = reader.ending().unwrap().totals;
        let mut counted = strata_workloads::trace::Totals::default();
        for item in &items {
            match item {
                Item::Event(_) => counted.events += 1,
                Item::Execution { shape, iterations, .. } => {
                    let shape = &definitions.shapes[shape.index()];
                    let repeated = shape.repeat.map_or(0, |r| u64::from(r.slots));
                    let iterations = iterations.unwrap_or_default();
                    counted.executions += 1;
                    counted.instructions += u64::from(shape.completed);
                    counted.rep_iterations += iterations;
                    counted.data_accesses +=
                        shape.slots.len() as u64 - repeated + repeated * iterations;
                }
            }
        }
        prop_assert_eq!(totals, counted);
        prop_assert_eq!(reader.totals(), counted);
        prop_assert_eq!(reader.offset(), trace.len() as u64);
        prop_assert_eq!(reader.stored_sizes().total(), trace.len() as u64);
    }

    #[test]
    fn batches_and_chunks_of_any_size_hold_the_same_stream(bytes in any_bytes(), size in 1u64..5000) {
        let made_up = stream(&bytes);
        let mut other = made_up.clone();
        other.options.chunk_instructions = size;
        other.batches = made_up.batches.iter().flat_map(one_execution_each(&made_up)).collect();
        let (one, one_tables, _) = read(&write(&made_up).unwrap()[..]);
        let (two, two_tables, _) = read(&write(&other).unwrap()[..]);
        prop_assert_eq!(one, two);
        prop_assert_eq!(one_tables, two_tables);
    }
}

/// Splits batches into ones of a single execution or event.
fn one_execution_each(made_up: &super::made_up::MadeUp) -> impl Fn(&Batch) -> Vec<Batch> + use<> {
    let shapes: Vec<_> = made_up.batches.iter().flat_map(|b| b.new.shapes.clone()).collect();
    move |batch| {
        let mut small = vec![Batch { new: batch.new.clone(), ..Batch::default() }];
        let with_stacks = Batch { stack_pointers: vec![0; batch.shapes.len()], ..batch.clone() };
        let mut items = Vec::new();
        append(&mut items, &with_stacks, &shapes);
        for item in items {
            let mut one = Batch::default();
            match item {
                Item::Event(event) => one.event(event),
                Item::Execution { shape, addresses, iterations, .. } => {
                    one.shapes.push(shape);
                    one.addresses = addresses;
                    one.iterations.extend(iterations);
                }
            }
            small.push(one);
        }
        small
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[test]
fn every_kind_of_event_and_code_occurs_in_made_up_streams() {
    use std::collections::BTreeSet;
    let mut events = BTreeSet::new();
    let mut codes = BTreeSet::new();
    let mut random = 1u64;
    for _ in 0..40 {
        let bytes: Vec<u8> = (0..3000)
            .map(|_| {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (random >> 56) as u8
            })
            .collect();
        let decoded = naive::decode(&write(&stream(&bytes)).unwrap());
        codes.extend(decoded.codes);
        for item in &decoded.items {
            if let Item::Event(event) = item {
                let name = format!("{event:?}");
                events.insert(name.split([' ', '(']).next().unwrap().to_owned());
            }
        }
    }
    assert_eq!(events.len(), 27, "{events:?}");
    let all: BTreeSet<u8> = (0..20).chain([33, 34, 35, 40, 41]).collect();
    assert_eq!(codes, all);
}

#[test]
fn a_trace_of_version_1_is_read_and_lacks_nothing() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/xen-net-tx/trace.strata"));
    assert_eq!(std::fs::read(path).unwrap()[8..12], [1, 0, 0, 0]);
    assert!(IndexedTrace::open(path).unwrap().lacks().is_nothing());
    let mut reader = TraceReader::open(path).unwrap();
    assert!(reader.lacks().is_nothing());
    assert!(reader.read(&mut Batch::default()).unwrap());
}

#[test]
fn what_a_stream_lacks_may_be_known_at_its_end_only() {
    let made_up = stream(&[7; 400]);
    let before = write(&made_up).unwrap();
    let lacks = Lacks { fetches: true, sizes: true, ..Lacks::NOTHING };
    let sink = std::io::Cursor::new(Vec::new());
    let mut writer = TraceWriter::create(sink, made_up.options.clone()).unwrap();
    for batch in &made_up.batches {
        writer.write(&mut batch.clone()).unwrap();
    }
    let (mut sink, ending) = writer.finish_lacking(lacks).unwrap();
    assert_eq!(std::io::Seek::stream_position(&mut sink).unwrap(), before.len() as u64);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(sink.get_ref()).unwrap();
    let indexed = IndexedTrace::open(file.path()).unwrap();
    assert_eq!((indexed.lacks(), *indexed.ending()), (lacks, ending));
    let reader = TraceReader::new(&sink.get_ref()[..]).unwrap();
    assert_eq!((reader.lacks(), reader.description()), (lacks, "made up"));
    assert_eq!(sink.get_ref()[31..], before[31..]);
}

/// What an outline keeps of an item: the shape, or the event without what the stack pointer was.
fn outlined(item: &Item) -> (Option<ShapeId>, Option<Event>) {
    match item {
        Item::Execution { shape, .. } => (Some(*shape), None),
        Item::Event(event) => (None, Some(without_stack(event))),
    }
}

fn without_stack(event: &Event) -> Event {
    match event {
        Event::Interrupt(interrupt) => {
            Event::Interrupt(Interrupt { stack_before: 0, ..*interrupt })
        }
        Event::StackPointer { .. } => Event::StackPointer { value: 0 },
        other => other.clone(),
    }
}

fn outline_of(batch: &Batch) -> Vec<(Option<ShapeId>, Option<Event>)> {
    assert!(batch.addresses.is_empty() && batch.stack_pointers.is_empty());
    let mut all = Vec::new();
    let mut events = batch.events.iter().peekable();
    for (index, shape) in batch.shapes.iter().map(Some).chain([None]).enumerate() {
        while let Some((_, event)) = events.next_if(|(before, _)| *before as usize <= index) {
            all.push((None, Some(without_stack(event))));
        }
        all.extend(shape.map(|shape| (Some(*shape), None)));
    }
    all
}
