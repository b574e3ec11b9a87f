use super::*;
use crate::calls::{Link, PathId};
use crate::counters::Tally;
use crate::functions::{FunctionId, Name};
use proptest::prelude::*;
use strata_symbols::{DomainId, Layer};
use strata_workloads::trace::MachineState;

/// A stream of visits made by hand.
#[derive(Default)]
struct Stream {
    paths: Paths,
    functions: Vec<Function>,
    graph: CallGraph,
    total: Counters,
}

impl Stream {
    fn function(&mut self, layer: Layer, name: &str) -> FunctionId {
        let name = Name { module: "m".into(), function: name.into(), address: 0x1000 };
        self.functions.push(Function { layer, name: Some(name) });
        FunctionId(self.functions.len() as u32 - 1)
    }

    fn visit(&mut self, path: PathId, arrival: Arrival, instructions: u64) {
        let itlb = Tally { accesses: instructions, misses: instructions / 3 };
        self.count(path, arrival, Counters { instructions, itlb, ..Counters::default() });
    }

    fn count(&mut self, path: PathId, arrival: Arrival, counters: Counters) {
        self.count_from(0, path, arrival, counters);
    }

    fn count_from(&mut self, address: u64, path: PathId, arrival: Arrival, counters: Counters) {
        let (at, cpu, stack_pointer) = (self.total.instructions, 0, 0);
        self.total += &counters;
        let visit = Visit { at, path, arrival, cpu, address, stack_pointer, counters };
        let state = MachineState::default();
        let scene = Scene { paths: &self.paths, functions: &self.functions, state: &state };
        self.graph.visit(&visit, &scene);
    }

    fn tree(self) -> CallTree {
        let tree = self.graph.into_tree(&self.paths, &self.functions);
        tree.check(&self.total).unwrap();
        tree
    }
}

/// `main;write;grant` in the frames' names, with calls, exclusive and inclusive instructions.
fn lines(tree: &CallTree) -> Vec<(String, u64, u64, u64)> {
    let name = |node: &CallNode| tree.function(node).name.clone().unwrap().function;
    let line = |(id, node): (NodeId, &CallNode)| {
        let mut frames: Vec<_> = tree.frames(id).map(|(_, node)| name(node)).collect();
        frames.reverse();
        let costs = (node.exclusive.instructions, node.inclusive.instructions);
        (frames.join(";"), node.calls, costs.0, costs.1)
    };
    tree.iter().map(line).collect()
}

fn line(path: &str, calls: u64, exclusive: u64, inclusive: u64) -> (String, u64, u64, u64) {
    (path.to_owned(), calls, exclusive, inclusive)
}

const USER: Layer = Layer::User(DomainId(1));
const KERNEL: Layer = Layer::Kernel(DomainId(1));

/// `main` makes two system calls; the second reaches the hypervisor, where one function takes the
/// place of another.
fn gates() -> Stream {
    let mut s = Stream::default();
    let main = s.function(USER, "main");
    let write = s.function(KERNEL, "write");
    let grant = s.function(Layer::Hypervisor, "grant");
    let copy = s.function(Layer::Hypervisor, "copy");
    let main = s.paths.on(None, Link::Start, main);
    let write = s.paths.on(Some(main), Link::Syscall, write);
    let grant = s.paths.on(Some(write), Link::Hypercall, grant);
    let copy = s.paths.on(Some(write), Link::Tail, copy);
    s.visit(main, Arrival::Start, 5);
    s.visit(write, Arrival::Syscall, 7);
    s.visit(main, Arrival::Resumed, 1);
    s.visit(write, Arrival::Syscall, 10);
    s.visit(grant, Arrival::Hypercall, 100);
    s.visit(copy, Arrival::Tail, 30);
    s.visit(write, Arrival::Resumed, 2);
    s.visit(main, Arrival::Resumed, 1);
    s
}

#[test]
fn a_path_costs_itself_and_what_it_calls_through_gates_and_tail_calls() {
    let expected = [
        line("main", 0, 7, 156),
        line("main;write", 2, 19, 149),
        line("main;write;grant", 1, 100, 100),
        line("main;write;copy", 1, 30, 30),
    ];
    assert_eq!(lines(&gates().tree()), expected);
}

#[test]
fn one_layer_keeps_its_callers_without_their_costs() {
    let tree = gates().tree();
    let hypervisor = tree.of_layers(&[Layer::Hypervisor]);
    assert_eq!(hypervisor.total().instructions, 130);
    assert_eq!(lines(&hypervisor)[1], line("main;write", 2, 0, 130));
    let user = tree.of_layers(&[USER]);
    assert_eq!(lines(&user), [line("main", 0, 7, 7)]);
    assert!(tree.of_layers(&[Layer::Idle]).nodes().is_empty());
}

#[test]
fn what_is_folded_counts_as_its_callers_own() {
    let folded = gates().tree().folded(|_, node| node.depth < 3);
    assert_eq!(lines(&folded), [line("main", 0, 7, 156), line("main;write", 2, 149, 149)]);
    let roots = gates().tree().folded(|_, _| false);
    assert_eq!(lines(&roots), [line("main", 0, 156, 156)]);
}

#[test]
fn numbers_that_settle_to_one_function_become_one_path() {
    let mut s = Stream::default();
    let [first, second] = [0, 1].map(|_| s.function(USER, "main"));
    let [low, high] = ["low", "high"].map(|name| s.function(USER, name));
    let one = s.paths.on(None, Link::Start, first);
    let other = s.paths.on(None, Link::Interrupt, second);
    let called = s.paths.on(Some(one), Link::Call, low);
    let jumped = s.paths.on(Some(other), Link::Tail, low);
    let apart = s.paths.on(Some(other), Link::Call, high);
    for path in [one, other, called, jumped, apart] {
        s.visit(path, Arrival::Call, 10);
    }
    let expected =
        [line("main", 2, 20, 50), line("main;low", 2, 20, 20), line("main;high", 1, 10, 10)];
    assert_eq!(lines(&s.tree()), expected);
}

#[test]
fn running_on_into_the_first_byte_is_a_call_and_into_the_middle_is_none() {
    let mut s = Stream::default();
    let entry = s.function(KERNEL, "entry");
    let entry = s.paths.on(None, Link::Syscall, entry);
    for address in [0x1000, 0x1008] {
        s.count_from(address, entry, Arrival::FallThrough, counters(address));
    }
    assert_eq!(s.tree().nodes()[0].calls, 1);
}

#[test]
fn paths_on_which_nothing_was_counted_are_left_out() {
    let mut s = gates();
    let before = s.function(USER, "before");
    let before = s.paths.on(None, Link::Start, before);
    let called = s.function(USER, "called");
    let called = s.paths.on(Some(before), Link::Call, called);
    let inside = s.function(USER, "inside");
    s.paths.on(Some(called), Link::Call, inside);
    assert_eq!(lines(&gates().tree()).len(), 4);
    s.visit(called, Arrival::Return, 3);
    let tree = s.tree();
    assert_eq!(lines(&tree)[4..], [line("before", 0, 0, 3), line("before;called", 0, 3, 3)]);
}

#[test]
fn recursion_counts_once_by_function_and_by_call() {
    let mut s = Stream::default();
    let [even, odd] = ["even", "odd"].map(|name| s.function(USER, name));
    let mut top = s.paths.on(None, Link::Start, even);
    s.visit(top, Arrival::Call, 1);
    for turn in 1..6 {
        top = s.paths.on(Some(top), Link::Call, if turn % 2 == 0 { even } else { odd });
        s.visit(top, Arrival::Call, 1);
    }
    let tree = s.tree();
    assert_eq!(tree.recursion_levels(), [1, 1, 2, 2, 3, 3]);
    let costs = tree.by_function();
    let numbers = |cost: &FunctionCost| {
        (cost.calls, cost.exclusive.instructions, cost.inclusive.instructions)
    };
    assert_eq!(costs.iter().map(numbers).collect::<Vec<_>>(), [(3, 3, 6), (3, 3, 5)]);
    let arcs = tree.arcs();
    let numbers = |arc: &CallArc| (arc.caller, arc.callee, arc.calls, arc.inclusive.instructions);
    let numbers: Vec<_> = arcs.iter().map(numbers).collect();
    assert_eq!(numbers, [(even, odd, 3, 5), (odd, even, 2, 4)]);
}

#[test]
fn a_root_in_the_middle_takes_all_that_is_above_it() {
    let tree = gates().tree();
    let named = |name: &'static str| {
        move |function: &Function| function.name.as_ref().is_some_and(|n| n.function == name)
    };
    let write = tree.rooted_at(named("write"));
    let expected = [
        line("write", 2, 19, 149),
        line("write;grant", 1, 100, 100),
        line("write;copy", 1, 30, 30),
    ];
    assert_eq!(lines(&write), expected);
    assert!(tree.rooted_at(named("absent")).nodes().is_empty());
}

#[test]
fn a_counter_that_does_not_sum_up_is_named() {
    let tree = gates().tree();
    let mut total = tree.total();
    total.levels[1].writes.misses += 1;
    let error = tree.check(&total).unwrap_err().to_string();
    assert!(error.contains("l2 write misses sum to 0"), "{error}");
}

/// Counters that are all different.
fn counters(seed: u64) -> Counters {
    let mut next = seed;
    let mut number = || {
        next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        next >> 40
    };
    let mut tally = || {
        let misses = number();
        Tally { accesses: misses + number(), misses }
    };
    let mut out = Counters { itlb: tally(), dtlb: tally(), stlb: tally(), ..Counters::default() };
    for level in 0..3 {
        let counts = &mut out.levels[level];
        (counts.instructions, counts.reads, counts.writes) = (tally(), tally(), tally());
        out.walk_levels[level] = tally();
    }
    out.instructions = number();
    out.rep_iterations = number();
    out.walks = number();
    out.exits = number();
    out.device = number();
    out.stale = number();
    out
}

proptest! {
    /// Each step calls one of five functions, two of which settle to the same, or goes back.
    #[test]
    fn exclusive_sums_to_the_total_and_inclusive_is_exclusive_with_the_children(
        steps in prop::collection::vec((0u32..8, any::<u64>()), 1..300)
    ) {
        let mut s = Stream::default();
        for name in ["a", "b", "c", "d", "a"] {
            s.function(USER, name);
        }
        let mut stack = vec![s.paths.on(None, Link::Start, FunctionId(0))];
        for (step, seed) in steps {
            let arrival = match step {
                0..5 => {
                    let path = s.paths.on(stack.last().copied(), Link::Call, FunctionId(step));
                    stack.push(path);
                    Arrival::Call
                }
                _ => {
                    stack.truncate(stack.len().max(2) - 1);
                    Arrival::Return
                }
            };
            s.count(stack[stack.len() - 1], arrival, counters(seed));
        }
        let total = s.total;
        let paths = s.paths.len();
        let tree = s.tree();
        prop_assert_eq!(tree.total(), total);
        prop_assert!(tree.nodes().len() <= paths);
        let (children, roots) = tree.children();
        for (id, node) in tree.iter() {
            let mut sum = node.exclusive;
            let mut names = Vec::new();
            for &child in &children[id.0 as usize] {
                sum += &tree[child].inclusive;
                prop_assert!(!names.contains(&tree[child].function), "two equal paths");
                names.push(tree[child].function);
            }
            prop_assert_eq!(sum, node.inclusive);
        }
        let mut sum = Counters::default();
        for root in roots {
            sum += &tree[root].inclusive;
        }
        prop_assert_eq!(sum, total);
        // By function: self sums to the total, inclusive is that of all paths it is on.
        let mut sum = Counters::default();
        for cost in tree.by_function() {
            sum += &cost.exclusive;
            let mut on_stack = Counters::default();
            for (id, node) in tree.iter() {
                if tree.frames(id).any(|(_, frame)| frame.function == cost.function) {
                    on_stack += &node.exclusive;
                }
            }
            prop_assert_eq!(on_stack, cost.inclusive);
        }
        prop_assert_eq!(sum, total);
        for arc in tree.arcs() {
            let mut on_stack = Counters::default();
            for (id, node) in tree.iter() {
                let frames: Vec<_> = tree.frames(id).map(|(_, frame)| frame.function).collect();
                if frames.windows(2).any(|pair| pair == [arc.callee, arc.caller]) {
                    on_stack += &node.exclusive;
                }
            }
            prop_assert_eq!(on_stack, arc.inclusive);
        }
        prop_assert_eq!(tree.folded(|_, node| node.depth < 4).total(), total);
    }
}
