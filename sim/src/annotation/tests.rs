use super::*;
use crate::calls::{Link, Paths};
use crate::counters::{Level, Tally};
use crate::functions::{Function, FunctionId, Name};
use strata_workloads::trace::MachineState;

/// A stream told by hand: `tell` is control going somewhere for some instructions.
pub(crate) struct Story {
    pub(crate) paths: Paths,
    pub(crate) functions: Vec<Function>,
    pub(crate) annotation: Annotation,
    at: u64,
    state: MachineState,
}

impl Story {
    pub(crate) fn new(attribution: Attribution) -> Self {
        Story {
            paths: Paths::default(),
            functions: Vec::new(),
            annotation: Annotation::new(attribution, Kept::Counters).unwrap(),
            at: 0,
            state: MachineState::default(),
        }
    }

    fn function(&mut self, layer: Layer, name: &str) -> FunctionId {
        let known = self.functions.iter().position(|function| {
            function.layer == layer && function.name.as_ref().is_some_and(|n| n.function == name)
        });
        let number = known.unwrap_or_else(|| {
            let address = 0x1000 * self.functions.len() as u64;
            let name = Name { module: "m".into(), function: name.into(), address };
            self.functions.push(Function { layer, name: Some(name) });
            self.functions.len() - 1
        });
        FunctionId(number as u32)
    }

    /// A visit to a path, written as `layer:bottom>…>top`.
    pub(crate) fn tell(&mut self, arrival: Arrival, path: &str, instructions: u64) {
        self.tell_on(0, arrival, path, instructions);
    }

    pub(crate) fn tell_on(&mut self, cpu: u16, arrival: Arrival, path: &str, instructions: u64) {
        self.tell_at(cpu, arrival, path, 0, instructions);
    }

    /// At an offset from the first byte of the function.
    fn tell_at(&mut self, cpu: u16, arrival: Arrival, path: &str, offset: u64, instructions: u64) {
        let (layer, frames) = path.split_once(':').unwrap();
        let layer: Layer = layer.parse().unwrap();
        let mut top = None;
        for name in frames.split('>') {
            let function = self.function(layer, name);
            let link = if top.is_none() { Link::Start } else { Link::Call };
            top = Some(self.paths.on(top, link, function));
        }
        let path = top.unwrap();
        let visit = Visit {
            at: self.at,
            path,
            arrival,
            cpu,
            address: 0x1000 * u64::from(self.paths[path].function.0) + offset,
            stack_pointer: 0,
            counters: lawful(instructions),
        };
        self.at += instructions;
        let scene = Scene { paths: &self.paths, functions: &self.functions, state: &self.state };
        self.annotation.visit(&visit, &scene);
    }

    /// Each row's function and instructions, and the rows.
    pub(crate) fn end(self) -> (Vec<(String, u64)>, Entries) {
        let entries = self.annotation.finish().unwrap();
        let rows = entries.iter().map(|entry| {
            let entry = entry.unwrap();
            let function = &self.functions[self.paths[entry.path].function.0 as usize];
            (function.name.clone().unwrap().function, entry.counters.instructions)
        });
        (rows.collect(), entries)
    }
}

/// Counters that keep all laws: half of the instructions read, a tenth misses.
fn lawful(instructions: u64) -> Counters {
    let tally = |accesses| Tally { accesses, misses: accesses / 10 };
    let (fetches, reads) = (tally(instructions), tally(instructions / 2));
    let asked = |above: Tally| Tally { accesses: above.misses, misses: above.misses / 2 };
    let mut counters = Counters {
        instructions,
        itlb: Tally { accesses: instructions, misses: instructions / 20 },
        dtlb: Tally { accesses: reads.accesses, misses: 0 },
        ..Counters::default()
    };
    counters.levels[0] = Level { instructions: fetches, reads, ..Level::default() };
    counters.levels[1] =
        Level { instructions: asked(fetches), reads: asked(reads), ..Level::default() };
    counters
}

/// `main` calls `send` twice, which calls `copy`; the second time an interrupt comes in between.
fn packets(attribution: Attribution) -> Story {
    let mut story = Story::new(attribution);
    story.tell(Arrival::Start, "dom1-user:main", 100);
    story.tell(Arrival::Call, "dom1-user:main>send", 20);
    story.tell(Arrival::Call, "dom1-user:main>send>copy", 7);
    story.tell(Arrival::Return, "dom1-user:main>send", 3);
    story.tell(Arrival::Return, "dom1-user:main", 50);
    story.tell(Arrival::Call, "dom1-user:main>send", 21);
    story.tell(Arrival::Interrupt, "hypervisor:do_IRQ", 40);
    story.tell(Arrival::Resumed, "dom1-user:main>send", 4);
    story.tell(Arrival::Return, "dom1-user:main", 60);
    story
}

fn rows(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn a_row_holds_what_its_function_did_also_after_what_it_called_returned() {
    let (told, _) = packets(Attribution::Function).end();
    let expected =
        [("main", 210), ("send", 23), ("copy", 7), ("send", 21), ("do_IRQ", 40), ("send", 4)];
    assert_eq!(told, rows(&expected));
}

#[test]
fn until_the_next_row_a_row_holds_whatever_ran() {
    let (told, entries) = packets(Attribution::UntilNext).end();
    let expected =
        [("main", 100), ("send", 20), ("copy", 60), ("send", 21), ("do_IRQ", 40), ("send", 64)];
    assert_eq!(told, rows(&expected));
    let starts: Vec<u64> = entries.iter().map(|entry| entry.unwrap().at).collect();
    let ends = starts.iter().skip(1).copied().chain([305]);
    for ((start, end), (_, count)) in starts.iter().zip(ends).zip(&told) {
        assert_eq!(end - start, *count);
    }
}

#[test]
fn rows_sum_to_the_stream_and_keep_every_identity() {
    for attribution in [Attribution::Function, Attribution::UntilNext] {
        let (told, entries) = packets(attribution).end();
        assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), 305);
        for entry in entries.iter() {
            crate::Figure4::of(&entry.unwrap().counters).check(0).unwrap();
        }
    }
}

#[test]
fn lagging_rows_hold_the_counts_of_the_row_before_and_the_first_none() {
    let (told, entries) = packets(Attribution::UntilNext).end();
    let late: Vec<u64> =
        lagging(entries.iter()).map(|entry| entry.unwrap().counters.instructions).collect();
    let mut expected: Vec<u64> = told.iter().map(|(_, count)| *count).collect();
    expected.rotate_right(1);
    expected[0] = 0;
    assert_eq!(late, expected);
}

#[test]
fn a_function_left_before_the_stream_has_a_row_when_it_is_first_returned_to() {
    let mut story = Story::new(Attribution::Function);
    story.tell(Arrival::Start, "hypervisor:f", 5);
    story.tell(Arrival::Return, "hypervisor:g", 6);
    story.tell(Arrival::Return, "hypervisor:h", 7);
    story.tell(Arrival::Call, "hypervisor:h>f", 1);
    story.tell(Arrival::Return, "hypervisor:h", 2);
    let (told, _) = story.end();
    assert_eq!(told, rows(&[("f", 5), ("g", 6), ("h", 9), ("f", 1)]));
}

#[test]
fn each_cpu_goes_on_with_its_own_row() {
    let mut story = Story::new(Attribution::UntilNext);
    story.tell_on(0, Arrival::Start, "hypervisor:a", 1);
    story.tell_on(1, Arrival::Start, "hypervisor:b", 10);
    story.tell_on(0, Arrival::Return, "hypervisor:c", 100);
    story.tell_on(1, Arrival::Return, "hypervisor:d", 1000);
    let (told, _) = story.end();
    assert_eq!(told, rows(&[("a", 101), ("b", 1010)]));
}

#[test]
fn a_jump_into_the_middle_of_a_function_goes_on_with_it() {
    let mut story = Story::new(Attribution::Function);
    story.tell(Arrival::Start, "hypervisor:f", 5);
    story.tell_at(0, Arrival::FallThrough, "hypervisor:f.cold", 8, 6);
    story.tell_at(0, Arrival::FallThrough, "hypervisor:f", 0x20, 7);
    story.tell(Arrival::FallThrough, "hypervisor:g", 9);
    story.tell(Arrival::Call, "hypervisor:g>thunk", 1);
    story.tell_at(0, Arrival::Call, "hypervisor:g>thunk", 5, 1);
    story.tell(Arrival::ReturnAsJump, "hypervisor:g>h", 4);
    let (told, _) = story.end();
    assert_eq!(told, rows(&[("f", 12), ("f.cold", 6), ("g", 9), ("thunk", 2), ("h", 4)]));
}

#[test]
fn until_the_next_row_a_thunk_is_part_of_what_jumps_through_it() {
    for (attribution, expected) in [
        (Attribution::UntilNext, rows(&[("f", 5), ("g", 10)])),
        (Attribution::Function, rows(&[("f", 7), ("g", 7), ("__x86_return_thunk", 1)])),
    ] {
        let mut story = Story::new(attribution);
        story.tell(Arrival::Start, "hypervisor:f", 5);
        story.tell(Arrival::Call, "hypervisor:f>g", 7);
        story.tell(Arrival::Tail, "hypervisor:f>g>__x86_return_thunk", 1);
        story.tell(Arrival::Return, "hypervisor:f", 2);
        let (told, _) = story.end();
        assert_eq!(told, expected);
    }
}
