//! Which phases the function on top of a path can be of, found once for each path.

use super::patterns::{Pattern, Patterns};
use super::rules::Rules;
use crate::calls::{PathId, Paths};
use crate::functions::Function;

/// What the function on top of a path is by the rules, whatever is below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Phases, a bit each.
    pub(super) phases: u32,
    /// It and what it calls belong to no phase.
    pub(super) is_outside: bool,
    pub(super) is_packet: bool,
    pub(super) is_grant: bool,
    pub(super) is_end: bool,
}

/// A path.
#[derive(Clone, Copy, Debug)]
struct Class {
    marks: Marks,
    /// The nearest path at or below it that is of a phase or outside.
    near: Option<PathId>,
}

/// What a pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Phase(usize),
    Outside,
    Packet,
    Grant,
    End,
}

/// A pattern and what it has taken.
struct Use {
    role: Role,
    pattern: Pattern,
    has_taken: bool,
}

/// Marks of all paths so far.
pub(super) struct Classes {
    uses: Vec<Use>,
    classes: Vec<Class>,
    /// For each function, the patterns whose last name takes it.
    of_function: Vec<Option<Box<[u16]>>>,
}

/// A pattern that took no function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Idle<'c> {
    /// Number of its phase; `None` of counted calls and of what is outside.
    pub(super) phase: Option<usize>,
    pub(super) pattern: &'c Pattern,
}

impl Classes {
    pub(super) fn new(rules: &Rules) -> Self {
        let mut uses = Vec::new();
        let mut add = |role, patterns: &Patterns| {
            uses.extend(patterns.iter().map(|pattern| {
                let pattern = pattern.clone();
                Use { role, pattern, has_taken: false }
            }));
        };
        for (i, phase) in rules.phases.iter().enumerate() {
            add(Role::Phase(i), &phase.functions);
        }
        add(Role::Outside, &rules.outside);
        add(Role::Packet, &rules.counts.packets);
        add(Role::Grant, &rules.counts.grants);
        add(Role::End, &rules.counts.ends);
        Classes { uses, classes: Vec::new(), of_function: Vec::new() }
    }

    /// What is on top of `path`.
    pub(super) fn marks(&self, PathId(path): PathId) -> Marks {
        self.classes[path as usize].marks
    }

    /// The nearest path at or below `path` that is of a phase or outside.
    pub(super) fn near(&self, PathId(path): PathId) -> Option<PathId> {
        self.classes[path as usize].near
    }

    /// Finds the marks of all paths up to `path`.
    pub(super) fn extend(&mut self, path: PathId, paths: &Paths, functions: &[Function]) {
        for number in self.classes.len() as u32..=path.0 {
            let id = PathId(number);
            let marks = self.find(id, paths, functions);
            let near = if marks.phases != 0 || marks.is_outside {
                Some(id)
            } else {
                paths[id].below.and_then(|below| self.near(below))
            };
            self.classes.push(Class { marks, near });
        }
    }

    fn find(&mut self, path: PathId, paths: &Paths, functions: &[Function]) -> Marks {
        let number = paths[path].function.0 as usize;
        if self.of_function.len() <= number {
            self.of_function.resize(number + 1, None);
        }
        let uses = &mut self.uses;
        let candidates = self.of_function[number].get_or_insert_with(|| {
            let takes = |(_, used): &(usize, &Use)| used.pattern.takes_function(&functions[number]);
            uses.iter().enumerate().filter(takes).map(|(i, _)| i as u16).collect()
        });
        let mut marks = Marks::default();
        for &i in candidates.iter() {
            let used = &mut uses[usize::from(i)];
            if !used.pattern.takes_callers(path, paths, functions) {
                continue;
            }
            used.has_taken = true;
            match used.role {
                Role::Phase(phase) => marks.phases |= 1 << phase,
                Role::Outside => marks.is_outside = true,
                Role::Packet => marks.is_packet = true,
                Role::Grant => marks.is_grant = true,
                Role::End => marks.is_end = true,
            }
        }
        marks
    }

    /// Patterns that took nothing.
    pub(super) fn idle(&self) -> impl Iterator<Item = Idle<'_>> {
        self.uses.iter().filter(|used| !used.has_taken).map(|used| {
            let phase = match used.role {
                Role::Phase(phase) => Some(phase),
                _ => None,
            };
            Idle { phase, pattern: &used.pattern }
        })
    }

    /// Whether any pattern of a phase took something.
    pub(super) fn has_run(&self, phase: usize) -> bool {
        self.uses.iter().any(|used| used.role == Role::Phase(phase) && used.has_taken)
    }
}
