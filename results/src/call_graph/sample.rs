//! A call graph made by hand: two domains and Xen, recursion, names that need care.

use super::CallGraphReport;
use crate::profile_report::ProfileReport;
use crate::provenance::Provenance;
use strata_cachemodel::Machine;
use strata_sim::{
    Arrival, CallGraph, CallTree, Counters, Extent, Function, FunctionId, Link, Name, Nameless,
    PathId, Paths, Replay, ReturnReport, Scene, Tracer, Visit,
};
use strata_symbols::{DomainId, Layer};
use strata_workloads::trace::MachineState;

const USER: Layer = Layer::User(DomainId(1));
const KERNEL: Layer = Layer::Kernel(DomainId(1));
const BACK: Layer = Layer::Kernel(DomainId(0));

/// Layer, module, name, address.
const FUNCTIONS: [(Layer, &str, &str, u64); 9] = [
    (USER, "iperf", "main", 0x401000),
    (USER, "libc.so.6", "write", 0x7f00_0000),
    (KERNEL, "vmlinux", "tcp_sendmsg", 0xffff_ffff_8100_0000),
    (Layer::Hypervisor, "xen", "do_grant_table_op", 0xffff_82d0_4020_0000),
    (BACK, "vmlinux", "net_rx_action", 0xffff_ffff_8180_0000),
    // A static function of which two modules have one each.
    (BACK, "bridge", "init", 0xffff_ffff_c000_0000),
    (BACK, "e1000e", "init", 0xffff_ffff_c010_0000),
    (USER, "app", "<[u8; 8] as core::fmt::Debug>::fmt \"x\\y\"", 0x402000),
    (USER, "app", "fib(unsigned int) & <more> 8", 0x403000),
];

/// Functions on each path, the outermost first, and instructions of a visit of it.
const PATHS: [(&[usize], u64); 14] = [
    (&[0], 11),
    (&[0, 1], 13),
    (&[0, 1, 2], 1000),
    (&[0, 1, 2, 3], 5000),
    (&[0, 7], 70),
    (&[0, 7, 8], 80),
    (&[0, 7, 8, 8], 81),
    (&[0, 7, 8, 8, 8], 82),
    (&[0, 7, 8, 8, 8, 1], 3),
    (&[4], 400),
    (&[4, 5], 50),
    (&[4, 6], 60),
    (&[4, 6, 5], 6),
    (&[3], 300),
];

fn functions() -> Vec<Function> {
    let function = |&(layer, module, function, address): &(Layer, &str, &str, u64)| {
        let name = Name { module: module.to_owned(), function: function.to_owned(), address };
        Function { layer, name: Some(name) }
    };
    let mut functions: Vec<Function> = FUNCTIONS.iter().map(function).collect();
    functions.push(Function { layer: Layer::Idle, name: None });
    functions
}

/// Its paths.
pub(super) fn tree() -> CallTree {
    let (mut paths, functions, state) = (Paths::default(), functions(), MachineState::default());
    let mut graph = CallGraph::new();
    let mut visit = |paths: &Paths, path: PathId, instructions: u64| {
        let mut counters =
            Counters { instructions, walks: instructions / 9, ..Counters::default() };
        counters.levels[0].instructions.misses = instructions / 7;
        counters.levels[1].instructions.misses = instructions / 11;
        counters.itlb.misses = instructions % 5;
        let (at, cpu, address, stack_pointer) = (0, 0, 0, 0);
        let arrival = Arrival::Call;
        let visit = Visit { at, path, arrival, cpu, address, stack_pointer, counters };
        graph.visit(&visit, &Scene { paths, functions: &functions, state: &state });
    };
    for (frames, instructions) in PATHS {
        let mut top = None;
        for &frame in frames {
            let link = if top.is_none() { Link::Start } else { Link::Call };
            top = Some(paths.on(top, link, FunctionId(frame as u32)));
        }
        if let Some(path) = top {
            visit(&paths, path, instructions);
        }
    }
    let idle = paths.on(None, Link::Start, FunctionId(FUNCTIONS.len() as u32));
    visit(&paths, idle, 2000);
    graph.into_tree(&paths, &functions)
}

/// The same with a report of a replay of nothing.
pub(super) fn report(machine: &str) -> CallGraphReport {
    let machine = Machine::load(machine).unwrap();
    let replay = Replay::new(&machine, Nameless, MachineState::default(), Extent::default());
    let (mut profile, _) = replay.finish().unwrap();
    let tree = tree();
    profile.total = tree.total();
    let provenance = Provenance { source: "sample".to_owned(), ..Provenance::default() };
    let report = ProfileReport { profile, provenance };
    CallGraphReport {
        tree,
        returns: ReturnReport { matched: 7, unwound: 1, ..ReturnReport::default() },
        report,
    }
}
