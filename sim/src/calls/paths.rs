//! The tree of all paths of calls.

use crate::functions::FunctionId;
use rustc_hash::FxHashMap;

/// A path, numbered in order of first visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathId(pub u32);

/// How a frame came onto the one below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Link {
    /// What is below is not known, or nothing is.
    Start,
    /// CALL.
    Call,
    /// A jump in the place of call and return.
    Tail,
    /// System call.
    Syscall,
    /// Hypercall.
    Hypercall,
    /// Exception, charged to what raised it.
    Exception,
    /// External interrupt. It has nothing to do with what it interrupts, so nothing is below.
    Interrupt,
}

/// A function on top of what is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// What is below.
    pub below: Option<PathId>,
    /// How it came there.
    pub link: Link,
    /// The function on top.
    pub function: FunctionId,
    /// Number of frames, this one included.
    pub depth: u32,
}

/// All paths. Takes memory in proportion to the number of distinct ones.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    paths: Vec<Path>,
    /// By path, what came on top of it last: it often does again.
    latest: Vec<Option<(Link, FunctionId, PathId)>>,
    numbers: FxHashMap<(Option<PathId>, Link, FunctionId), PathId>,
}

impl Paths {
    /// Frames beyond this depth are not told apart: recursion without end stays finite.
    pub const MOST_FRAMES: u32 = 1024;

    /// The path of `function` on top of `below`. Of [`Paths::MOST_FRAMES`] frames on, it takes the
    /// place of the frame on top.
    pub fn on(&mut self, below: Option<PathId>, link: Link, function: FunctionId) -> PathId {
        let too_deep = |path: &Path| path.depth >= Self::MOST_FRAMES;
        let below = match below {
            Some(id) if too_deep(&self[id]) => self[id].below,
            other => other,
        };
        if let Some(PathId(number)) = below
            && let Some((of_link, of_function, known)) = self.latest[number as usize]
            && (of_link, of_function) == (link, function)
        {
            return known;
        }
        let id = self.number_of(below, link, function);
        if let Some(PathId(number)) = below {
            self.latest[number as usize] = Some((link, function, id));
        }
        id
    }

    fn number_of(&mut self, below: Option<PathId>, link: Link, function: FunctionId) -> PathId {
        if let Some(&known) = self.numbers.get(&(below, link, function)) {
            return known;
        }
        let id = PathId(self.paths.len() as u32);
        let depth = below.map_or(0, |below| self[below].depth) + 1;
        self.paths.push(Path { below, link, function, depth });
        self.latest.push(None);
        self.numbers.insert((below, link, function), id);
        id
    }

    /// Appends paths that others have found, in order.
    pub(crate) fn extend(&mut self, more: &[Path]) {
        for path in more {
            let id = PathId(self.paths.len() as u32);
            self.numbers.insert((path.below, path.link, path.function), id);
            self.paths.push(*path);
            self.latest.push(None);
        }
    }

    /// Number of paths.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// All paths, each after those below it.
    pub fn iter(&self) -> impl Iterator<Item = (PathId, &Path)> {
        self.paths.iter().enumerate().map(|(number, path)| (PathId(number as u32), path))
    }

    /// The frames of a path, the one on top first.
    pub fn frames(&self, top: PathId) -> impl Iterator<Item = &Path> {
        std::iter::successors(Some(&self[top]), |path| path.below.map(|below| &self[below]))
    }
}

impl std::ops::Index<PathId> for Paths {
    type Output = Path;

    fn index(&self, PathId(number): PathId) -> &Path {
        &self.paths[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_function_on_the_same_path_is_one_path_and_frames_come_top_first() {
        let mut paths = Paths::default();
        let [main, write, grant] = [1, 2, 3].map(FunctionId);
        let below = paths.on(None, Link::Start, main);
        let above = paths.on(Some(below), Link::Call, write);
        let top = paths.on(Some(above), Link::Hypercall, grant);
        assert_eq!(paths.on(Some(below), Link::Call, write), above);
        assert_ne!(paths.on(Some(below), Link::Tail, write), above);
        let functions: Vec<_> = paths.frames(top).map(|path| path.function).collect();
        assert_eq!(functions, [grant, write, main]);
        assert_eq!((paths[top].depth, paths.len()), (3, 4));
    }

    #[test]
    fn recursion_without_end_stays_finite() {
        let mut paths = Paths::default();
        let mut top = paths.on(None, Link::Start, FunctionId(0));
        for turn in 0..100_000 {
            top = paths.on(Some(top), Link::Call, FunctionId(turn % 2));
        }
        assert!(paths.len() < 3 * Paths::MOST_FRAMES as usize);
        assert_eq!(paths[top].depth, Paths::MOST_FRAMES);
    }
}
