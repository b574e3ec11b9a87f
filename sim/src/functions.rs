//! Who executes: functions, found once for each block and place it runs in.

use rustc_hash::FxHashMap;
use strata_symbols::Layer;
use strata_workloads::trace::{Block, SpaceId};

/// Where a piece of code is executed.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Layer, and with it the domain.
    pub layer: Layer,
    /// Address space; decides for user code only.
    pub space: Option<SpaceId>,
    /// Virtual address of the instruction.
    pub address: u64,
    /// Its code bytes and those that follow in its block, where the trace has them.
    pub code: &'a [u8],
}

/// What a place is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// `xen`, `vmlinux`, a kernel module, a program or a library.
    pub module: String,
    /// The function.
    pub function: String,
    /// Address of its first instruction.
    pub address: u64,
}

/// An answer to the question what code is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Its name; `None` where nothing is known of it.
    Known(Option<Name>),
    /// To be asked again by [`Namer::settle`] when the stream has ended: which program an address
    /// space belongs to is only seen from the code that ran in it.
    Later,
}

/// Knows what code is called.
pub trait Namer {
    /// The name of the code at a place. Asked once for each block and place it runs in.
    fn name(&mut self, place: &Place<'_>) -> Naming;

    /// The name of the code at a place whose name was left for [later](Naming::Later); asked after
    /// the last call of [`name`](Self::name).
    fn settle(&mut self, place: &Place<'_>) -> Option<Name> {
        match self.name(place) {
            Naming::Known(name) => name,
            Naming::Later => None,
        }
    }

    /// The object at an address of data that belongs to `owner`, where one is known. Asked after
    /// the last call of [`settle`](Self::settle).
    fn name_data(&self, owner: Layer, space: Option<SpaceId>, address: u64) -> Option<Name> {
        let _ = (owner, space, address);
        None
    }
}

/// Knows no names at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nameless;

impl Namer for Nameless {
    fn name(&mut self, _: &Place<'_>) -> Naming {
        Naming::Known(None)
    }
}

/// A function of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Layer, and with it the domain.
    pub layer: Layer,
    /// Its name; `None` for all code of the layer whose name is not known.
    pub name: Option<Name>,
}

/// A function, numbered in order of first execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(pub u32);

/// Where a block runs, as far as its name depends on it: the layer, for user code the space too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Context {
    layer: Layer,
    space: Option<SpaceId>,
}

impl Context {
    fn new(layer: Layer, space: Option<SpaceId>) -> Self {
        let space = if matches!(layer, Layer::User(_)) { space } else { None };
        Context { layer, space }
    }
}

/// Part of a block that belongs to one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of its first instruction in the block (0-based).
    pub first: u16,
    /// The function.
    pub function: FunctionId,
}

/// A range in the list of all segments.
#[derive(Clone, Copy, Debug)]
struct Segments {
    start: u32,
    count: u32,
}

/// Finds functions by block and remembers them.
pub struct Functions<N> {
    namer: N,
    functions: Vec<Function>,
    by_function: FxHashMap<Function, FunctionId>,
    segments: Vec<Segment>,
    /// The place each block ran in last; most run in one only.
    recent: Vec<Option<(Context, Segments)>>,
    found: FxHashMap<(u32, Context), Segments>,
    /// Blocks whose names are settled at the end, each with a function of its own until then.
    unsettled: Vec<(FunctionId, u32, Context)>,
}

impl<N: Namer> Functions<N> {
    /// None known yet.
    pub fn new(namer: N) -> Self {
        Functions {
            namer,
            functions: Vec::new(),
            by_function: FxHashMap::default(),
            segments: Vec::new(),
            recent: Vec::new(),
            found: FxHashMap::default(),
            unsettled: Vec::new(),
        }
    }

    /// Every function seen, by number.
    pub fn all(&self) -> &[Function] {
        &self.functions
    }

    /// Settles what was left for later. Returns the function of each number, in which several
    /// numbers can now be one function, and what knew the names.
    pub fn settle(mut self, blocks: &[Block]) -> (Vec<Function>, N) {
        for &(id, index, context) in &self.unsettled {
            let block = &blocks[index as usize];
            let place = Place {
                layer: context.layer,
                space: context.space,
                address: block.address,
                code: &block.code,
            };
            self.functions[id.0 as usize].name = self.namer.settle(&place);
        }
        (self.functions, self.namer)
    }

    /// The functions that `block`, number `index`, is made of where it runs now, in order.
    #[inline]
    pub fn of(
        &mut self,
        index: usize,
        block: &Block,
        layer: Layer,
        space: Option<SpaceId>,
    ) -> &[Segment] {
        let context = Context::new(layer, space);
        let segments = match self.recent.get(index) {
            Some(Some((last, segments))) if *last == context => *segments,
            _ => self.find(index, block, context),
        };
        let start = segments.start as usize;
        &self.segments[start..start + segments.count as usize]
    }

    #[cold]
    fn find(&mut self, index: usize, block: &Block, context: Context) -> Segments {
        let key = (index as u32, context);
        let segments = match self.found.get(&key) {
            Some(&segments) => segments,
            None => {
                let segments = self.name_block(index, block, context);
                self.found.insert(key, segments);
                segments
            }
        };
        if self.recent.len() <= index {
            self.recent.resize(index + 1, None);
        }
        self.recent[index] = Some((context, segments));
        segments
    }

    fn name_block(&mut self, index: usize, block: &Block, context: Context) -> Segments {
        let start = self.segments.len();
        let (mut address, mut offset) = (block.address, 0);
        for (i, &length) in block.lengths.iter().enumerate() {
            let code = block.code.get(offset..).unwrap_or(&[]);
            let place = Place { layer: context.layer, space: context.space, address, code };
            let id = match self.namer.name(&place) {
                Naming::Known(name) => self.intern(Function { layer: context.layer, name }),
                Naming::Later => {
                    let id = FunctionId(self.functions.len() as u32);
                    self.functions.push(Function { layer: context.layer, name: None });
                    self.unsettled.push((id, index as u32, context));
                    self.segments.push(Segment { first: 0, function: id });
                    break;
                }
            };
            if self.segments[start..].last().is_none_or(|last| last.function != id) {
                self.segments.push(Segment { first: i as u16, function: id });
            }
            address = address.wrapping_add(u64::from(length));
            offset += usize::from(length);
        }
        Segments { start: start as u32, count: (self.segments.len() - start) as u32 }
    }

    fn intern(&mut self, function: Function) -> FunctionId {
        if let Some(&id) = self.by_function.get(&function) {
            return id;
        }
        let id = FunctionId(self.functions.len() as u32);
        self.functions.push(function.clone());
        self.by_function.insert(function, id);
        id
    }
}
