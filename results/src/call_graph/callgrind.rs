//! Callgrind's profile format (Valgrind manual, "Callgrind Format Specification", version 1).
//!
//! The object of a function is its module, its file its layer: `fl=hypervisor ob=xen`. Positions
//! are unknown: line 0. Recursion is written as callgrind's `--separate-recs` writes it, `f'2` being
//! `f` when it is on the stack a second time. So each function of the file is on a path once at
//! most, and what it calls sums to its inclusive cost exactly. A function `(machine)` calls whatever
//! has no caller: inclusive costs are those of incoming calls, and everything has one.

use super::{UNNAMED, module_of, name_of, weights};
use crate::metric::Metric;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use strata_cachemodel::Machine;
use strata_sim::{CallTree, Function, FunctionId};

/// A function for the n-th time on its path; `None` is the machine.
type Place = Option<(FunctionId, u32)>;

/// What one place calls another for.
struct Call {
    count: u64,
    costs: Vec<u64>,
}

/// What happened at one place.
struct Body {
    own: Vec<u64>,
    calls: BTreeMap<Place, Call>,
}

/// The tree as a profile of these events.
pub(super) fn write(tree: &CallTree, events: &[Metric], machine: &Machine, title: &str) -> String {
    let bodies = bodies(tree, events, machine);
    let mut totals = vec![0; events.len()];
    for body in bodies.values() {
        add(&mut totals, &body.own);
    }
    let mut out = String::from("# callgrind format\nversion: 1\n");
    let _ = writeln!(out, "creator: strata {}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "cmd: {}", title.replace(char::is_control, " "));
    out.push_str("positions: line\n");
    for event in events {
        let _ = writeln!(out, "event: {} : {}", event.event(), event.title());
    }
    let names: Vec<String> = events.iter().map(|event| event.event()).collect();
    let _ = writeln!(out, "events: {}", names.join(" "));
    let _ = writeln!(out, "summary: {}", spaced(&totals));
    let mut names = Names::new(tree);
    for (place, body) in &bodies {
        let (object, file, function) = names.of(*place);
        let _ = write!(out, "\nob={object}\nfl={file}\nfn={function}\n0 {}\n", spaced(&body.own));
        for (callee, call) in &body.calls {
            let (object, file, function) = names.of(*callee);
            let _ = write!(out, "cob={object}\ncfi={file}\ncfn={function}\n");
            // Readers take a call that never happened for none; one before the stream is one.
            let _ = write!(out, "calls={} 0\n0 {}\n", call.count.max(1), spaced(&call.costs));
        }
    }
    let _ = writeln!(out, "\ntotals: {}", spaced(&totals));
    out
}

fn bodies(tree: &CallTree, events: &[Metric], machine: &Machine) -> BTreeMap<Place, Body> {
    let own: Vec<_> =
        events.iter().map(|&event| weights::own_costs(tree, event, machine)).collect();
    let inclusive: Vec<_> = own.iter().map(|own| weights::inclusive_costs(tree, own)).collect();
    let levels = tree.recursion_levels();
    let empty = || Body { own: vec![0; events.len()], calls: BTreeMap::new() };
    let mut bodies: BTreeMap<Place, Body> = BTreeMap::new();
    for (id, node) in tree.iter() {
        let index = id.0 as usize;
        let place = Some((node.function, levels[index]));
        let costs = |of: &[Vec<u64>]| of.iter().map(|costs| costs[index]).collect::<Vec<u64>>();
        add(&mut bodies.entry(place).or_insert_with(empty).own, &costs(&own));
        let caller = node.caller.map(|caller| (tree[caller].function, levels[caller.0 as usize]));
        let calls = &mut bodies.entry(caller).or_insert_with(empty).calls;
        let call =
            calls.entry(place).or_insert_with(|| Call { count: 0, costs: vec![0; events.len()] });
        call.count += node.calls;
        add(&mut call.costs, &costs(&inclusive));
    }
    bodies
}

fn add(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

fn spaced(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// Names of functions, files and objects, each written out where it first stands and by its number
/// from there on. Functions that would read the same in one layer get their module, and if that
/// is the same too their address.
struct Names<'t> {
    functions: &'t [Function],
    texts: Vec<String>,
    numbers: [HashMap<String, usize>; 3],
}

impl<'t> Names<'t> {
    fn new(tree: &'t CallTree) -> Self {
        let functions = tree.functions();
        let mut same: HashMap<_, u32> = HashMap::new();
        let mut alike: HashMap<_, u32> = HashMap::new();
        for function in functions {
            *same.entry((function.layer, name_of(function))).or_default() += 1;
            let key = (function.layer, name_of(function), module_of(function));
            *alike.entry(key).or_default() += 1;
        }
        let text = |function: &Function| {
            let (name, module) = (name_of(function), module_of(function));
            let mut text = name.replace(char::is_control, " ");
            if let (Some(module), true) = (module, same[&(function.layer, name)] > 1) {
                let _ = write!(text, " [{module}");
                if alike[&(function.layer, name, Some(module))] > 1 {
                    let address = function.name.as_ref().map_or(0, |name| name.address);
                    let _ = write!(text, "@{address:#x}");
                }
                text.push(']');
            }
            text
        };
        Names {
            functions,
            texts: functions.iter().map(text).collect(),
            numbers: Default::default(),
        }
    }

    /// Object, file and function of a place.
    fn of(&mut self, place: Place) -> (String, String, String) {
        let Some((id, level)) = place else {
            return self.written("(machine)", "(machine)", "(machine)");
        };
        let index = id.0 as usize;
        let object = module_of(&self.functions[index]).unwrap_or(UNNAMED);
        let file = self.functions[index].layer.to_string();
        let text = &self.texts[index];
        let function = if level > 1 { format!("{text}'{level}") } else { text.clone() };
        self.written(object, &file, &function)
    }

    fn written(&mut self, object: &str, file: &str, function: &str) -> (String, String, String) {
        let [objects, files, functions] = &mut self.numbers;
        // A function's number stands for one name, whatever file it is in.
        let functions = compressed(functions, function);
        (compressed(objects, object), compressed(files, file), functions)
    }
}

/// `(3) name` at first, then `(3)`.
fn compressed(numbers: &mut HashMap<String, usize>, name: &str) -> String {
    let next = numbers.len() + 1;
    match numbers.get(name) {
        Some(number) => format!("({number})"),
        None => {
            numbers.insert(name.to_owned(), next);
            format!("({next}) {name}")
        }
    }
}

#[cfg(test)]
mod tests;
