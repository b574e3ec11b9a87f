//! A stretch of the stream in columns, as it goes from a source to its sinks.

use super::block::{Block, Shape, ShapeId};
use super::event::Event;
use super::page::{Space, Translation, Walk};

/// Definitions, each numbered by its position since the start of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    /// Blocks.
    pub blocks: Vec<Block>,
    /// Shapes of blocks.
    pub shapes: Vec<Shape>,
    /// Address spaces.
    pub spaces: Vec<Space>,
    /// Page-table walks.
    pub walks: Vec<Walk>,
    /// Translations, in the order in which the stream tells them.
    pub translations: Vec<Translation>,
}

impl Definitions {
    /// True when nothing is defined.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
            && self.shapes.is_empty()
            && self.spaces.is_empty()
            && self.walks.is_empty()
            && self.translations.is_empty()
    }

    /// Appends `more`, leaving it empty but with its memory.
    pub fn append(&mut self, more: &mut Definitions) {
        self.blocks.append(&mut more.blocks);
        self.shapes.append(&mut more.shapes);
        self.spaces.append(&mut more.spaces);
        self.walks.append(&mut more.walks);
        self.translations.append(&mut more.translations);
    }
}

/// Block executions and events in order, in columns.
///
/// Execution `i` has shape `shapes[i]`. Its addresses follow one another in `addresses`, one for
/// each slot of its shape; a shape with a [`Repeat`](super::Repeat) has in addition one number in
/// `iterations`, and the addresses of its repeated slots are those of the first iteration (with no
/// iteration the shape has no such slots).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Definitions first used in this batch.
    pub new: Definitions,
    /// Shape of each execution.
    pub shapes: Vec<ShapeId>,
    /// Virtual addresses, one for each slot of each execution.
    pub addresses: Vec<u64>,
    /// Number of iterations of each execution whose shape repeats.
    pub iterations: Vec<u64>,
    /// Stack pointer at the start of each execution, as far as it is known (0 before the first
    /// that is). Filled by readers; a writer ignores it.
    pub stack_pointers: Vec<u64>,
    /// Events, each with the index of the execution it comes before (at the end: the number of
    /// executions), ascending.
    pub events: Vec<(u32, Event)>,
}

impl Batch {
    /// Empties all columns and keeps their memory.
    pub fn clear(&mut self) {
        self.new = Definitions::default();
        self.shapes.clear();
        self.addresses.clear();
        self.iterations.clear();
        self.stack_pointers.clear();
        self.events.clear();
    }

    /// Appends an event after the executions so far.
    pub fn event(&mut self, event: Event) {
        self.events.push((self.shapes.len() as u32, event));
    }

    /// True when it holds neither executions nor events.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty() && self.events.is_empty()
    }
}
