//! How deep a path is, as seen from another.

use crate::calls::{Link, PathId, Paths};
use rustc_hash::FxHashMap;

/// Depths relative to the path that a flow begins at.
pub(super) struct Depths<'p> {
    paths: &'p Paths,
    root: PathId,
    depth: i64,
    known: FxHashMap<PathId, i64>,
}

impl<'p> Depths<'p> {
    pub(super) fn new(paths: &'p Paths, first: PathId) -> Self {
        let depth = i64::from(paths[first].depth);
        Depths { paths, root: root_of(paths, first), depth, known: FxHashMap::default() }
    }

    /// Of a path that begins with the same frame: frames more than the first one has. Of any
    /// other: frames above the last that was entered otherwise than by call.
    pub(super) fn of(&mut self, path: PathId) -> i64 {
        let (paths, root, depth) = (self.paths, self.root, self.depth);
        *self.known.entry(path).or_insert_with(|| {
            if root_of(paths, path) == root {
                return i64::from(paths[path].depth) - depth;
            }
            let called = |link: Link| matches!(link, Link::Call | Link::Tail);
            paths.frames(path).take_while(|frame| called(frame.link)).count() as i64
        })
    }
}

fn root_of(paths: &Paths, path: PathId) -> PathId {
    let mut root = path;
    while let Some(below) = paths[root].below {
        root = below;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::FunctionId;

    #[test]
    fn depth_counts_from_the_first_row_on_its_stack_and_from_the_gate_on_others() {
        let mut paths = Paths::default();
        let [main, write, copy, irq, handler] = [0, 1, 2, 3, 4].map(FunctionId);
        let main = paths.on(None, Link::Start, main);
        let first = paths.on(Some(main), Link::Syscall, write);
        let copy = paths.on(Some(first), Link::Call, copy);
        let irq = paths.on(None, Link::Interrupt, irq);
        let handler = paths.on(Some(irq), Link::Call, handler);
        let mut depths = Depths::new(&paths, first);
        let all = [main, first, copy, irq, handler].map(|path| depths.of(path));
        assert_eq!(all, [-1, 0, 1, 0, 1]);
    }
}
