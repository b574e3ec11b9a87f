//! What callgrind counted, from its file (format: Valgrind manual, "Callgrind Format
//! Specification"; the parts that version 1 without compressed names and positions uses).

use std::collections::BTreeMap;

/// Instructions and calls of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Instructions of its own code.
    pub(crate) own: u64,
    /// Instructions from its outermost calls to their ends, of all functions.
    pub(crate) inclusive: u64,
    /// Times that it was called, jumps in the place of calls included.
    pub(crate) calls: u64,
}

/// What callgrind calls the function that calls `main`, or here `begin`: the program's entry.
const ENTRY: &str = "(below main)";

/// What a file of callgrind's says.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Its functions, by name.
    pub(crate) functions: BTreeMap<String, Counts>,
    /// Instructions of a function at a line, inlined ones at their own; 0 where it knows none.
    pub(crate) lines: BTreeMap<(String, u32), u64>,
    /// Instructions in all.
    pub(crate) total: u64,
}

/// Reads a file of callgrind's.
pub(crate) fn read(text: &str) -> Counted {
    let mut lines: BTreeMap<(String, u32), u64> = BTreeMap::new();
    let mut functions: BTreeMap<String, Counts> = BTreeMap::new();
    let (mut function, mut callee, mut total) = (String::new(), String::new(), 0);
    let mut is_call = false;
    for line in text.lines() {
        let number = |word: &str| word.parse::<u64>().expect("a count");
        if let Some(name) = line.strip_prefix("fn=") {
            name.clone_into(&mut function);
        } else if let Some(name) = line.strip_prefix("cfn=") {
            name.clone_into(&mut callee);
        } else if let Some(call) = line.strip_prefix("calls=") {
            let count = number(call.split(' ').next().expect("a count of calls"));
            functions.entry(plain(&callee).0).or_default().calls += count;
            is_call = true;
        } else if let Some(sum) = line.strip_prefix("totals: ") {
            total = number(sum);
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let (at, cost) = line.split_once(' ').expect("a line and its cost");
            let cost = number(cost);
            let (name, is_outermost) = plain(&function);
            let counts = functions.entry(name.clone()).or_default();
            // A line after `calls=` is what the call cost in all.
            if !std::mem::take(&mut is_call) {
                counts.own += cost;
                *lines.entry((name, number(at) as u32)).or_default() += cost;
            }
            if is_outermost {
                counts.inclusive += cost;
            }
        }
    }
    Counted { functions, lines, total }
}

/// The name without callgrind's mark of a call below another of the same function, `'2`, and
/// whether it has none.
fn plain(name: &str) -> (String, bool) {
    match name.split_once('\'') {
        Some((name, _)) => (name.to_owned(), false),
        None if name == ENTRY => ("_start".to_owned(), true),
        None => (name.to_owned(), true),
    }
}
