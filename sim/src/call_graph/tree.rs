//! The tree of paths by function.

use crate::calls::Paths;
use crate::counters::Counters;
use crate::functions::{Function, FunctionId};
use rustc_hash::{FxHashMap, FxHashSet};
use strata_symbols::Layer;

/// A node of a [`CallTree`], numbered so that callers come before what they call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A path: a function on top of its callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallNode {
    /// The path below; `None` where nothing is, or nothing is known.
    pub caller: Option<NodeId>,
    /// The function on top, in the tree's own list.
    pub function: FunctionId,
    /// Number of frames, this one included.
    pub depth: u32,
    /// How often control entered it: by call, jump in place of one, system call, hypercall,
    /// exception, interrupt, or from another context. What had been entered before the stream
    /// began has none.
    pub calls: u64,
    /// What happened while the function was on top.
    pub exclusive: Counters,
    /// The same with all that it called.
    pub inclusive: Counters,
}

/// All paths of calls with what they cost. No two nodes have the same functions below them.
#[derive(Clone, Debug, Default)]
pub struct CallTree {
    functions: Vec<Function>,
    nodes: Vec<CallNode>,
}

impl CallTree {
    /// The tree of `paths` with calls and exclusive counters of each. Paths that differ only in
    /// numbers that turned out to be one function, or in how a frame came there, are merged; those
    /// on which nothing was counted, as before the range, are left out.
    pub(super) fn new(
        paths: &Paths,
        functions: &[Function],
        costs: impl Iterator<Item = (u64, Counters)>,
    ) -> Self {
        let (functions, merged) = distinct(functions);
        let mut tree = Builder::new(functions);
        let mut nodes: Vec<NodeId> = Vec::with_capacity(paths.len());
        for ((_, path), (calls, exclusive)) in paths.iter().zip(costs) {
            let caller = path.below.map(|below| nodes[below.0 as usize]);
            let node = tree.on(caller, merged[path.function.0 as usize]);
            tree.add(node, calls, &exclusive);
            nodes.push(node);
        }
        let tree = tree.finish();
        let nothing = Counters::default();
        tree.of_nodes(|node| node.calls > 0 || node.exclusive != nothing)
    }

    /// All nodes, callers before what they call.
    pub fn nodes(&self) -> &[CallNode] {
        &self.nodes
    }

    /// All nodes with their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &CallNode)> {
        self.nodes.iter().enumerate().map(|(number, node)| (NodeId(number as u32), node))
    }

    /// All functions, each once.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function on top of a node.
    pub fn function(&self, node: &CallNode) -> &Function {
        &self.functions[node.function.0 as usize]
    }

    /// A node and its callers, the one on top first.
    pub fn frames(&self, top: NodeId) -> impl Iterator<Item = (NodeId, &CallNode)> {
        std::iter::successors(Some((top, &self[top])), |(_, node)| {
            node.caller.map(|caller| (caller, &self[caller]))
        })
    }

    /// Sum over all nodes.
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        for node in &self.nodes {
            total += &node.exclusive;
        }
        total
    }

    /// What each node calls, in order of first call; last, the nodes without a caller.
    pub fn children(&self) -> (Vec<Vec<NodeId>>, Vec<NodeId>) {
        let mut children = vec![Vec::new(); self.nodes.len()];
        let mut roots = Vec::new();
        for (id, node) in self.iter() {
            match node.caller {
                Some(caller) => children[caller.0 as usize].push(id),
                None => roots.push(id),
            }
        }
        (children, roots)
    }

    /// What happened in these layers only; other layers stay as callers.
    pub fn of_layers(&self, layers: &[Layer]) -> CallTree {
        self.of_nodes(|node| layers.contains(&self.function(node).layer))
    }

    /// The nodes that are wanted, on top of their callers without the costs of those.
    fn of_nodes(&self, wanted: impl Fn(&CallNode) -> bool) -> CallTree {
        let mut needed = vec![false; self.nodes.len()];
        for (id, node) in self.iter().rev() {
            needed[id.0 as usize] |= wanted(node);
            if let (true, Some(caller)) = (needed[id.0 as usize], node.caller) {
                needed[caller.0 as usize] = true;
            }
        }
        let nothing = Counters::default();
        self.rebuilt(|id, node, caller| {
            let place = needed[id.0 as usize].then_some(Place { caller, fold: false })?;
            Some((place, if wanted(node) { &node.exclusive } else { &nothing }))
        })
    }

    /// What happened in and under the functions that `is_root` chooses, as if nothing were below
    /// them. Where one of them calls itself or another, it stays below the outermost.
    pub fn rooted_at(&self, is_root: impl Fn(&Function) -> bool) -> CallTree {
        self.rebuilt(|_, node, caller| {
            let inside = caller.is_some() || is_root(self.function(node));
            inside.then_some((Place { caller, fold: false }, &node.exclusive))
        })
    }

    /// The same without the nodes that `keep` refuses and all that they call: what happened there
    /// counts as their caller's own. Nodes without a caller stay.
    pub fn folded(&self, keep: impl Fn(NodeId, &CallNode) -> bool) -> CallTree {
        // A refused node stands for the kept one below it, and so does all that it calls.
        let mut refused = FxHashSet::default();
        self.rebuilt(|id, node, caller| {
            let below = node.caller.is_some_and(|below| refused.contains(&below));
            let fold = caller.is_some() && (below || !keep(id, node));
            if fold {
                refused.insert(id);
            }
            Some((Place { caller, fold }, &node.exclusive))
        })
    }

    /// Puts each node where `place` says, on top of where its caller went.
    fn rebuilt<'a>(
        &'a self,
        mut place: impl FnMut(NodeId, &'a CallNode, Option<NodeId>) -> Option<(Place, &'a Counters)>,
    ) -> CallTree {
        let mut tree = Builder::new(self.functions.clone());
        let mut moved: Vec<Option<NodeId>> = Vec::with_capacity(self.nodes.len());
        for (id, node) in self.iter() {
            let caller = node.caller.and_then(|caller| moved[caller.0 as usize]);
            let target = place(id, node, caller).map(|(place, exclusive)| match place {
                Place { caller: Some(caller), fold: true } => {
                    tree.add(caller, 0, exclusive);
                    caller
                }
                Place { caller, .. } => {
                    let target = tree.on(caller, node.function);
                    tree.add(target, node.calls, exclusive);
                    target
                }
            });
            moved.push(target);
        }
        tree.finish()
    }
}

impl std::ops::Index<NodeId> for CallTree {
    type Output = CallNode;

    fn index(&self, NodeId(number): NodeId) -> &CallNode {
        &self.nodes[number as usize]
    }
}

/// Where a node goes.
struct Place {
    caller: Option<NodeId>,
    /// Into its caller rather than onto it.
    fold: bool,
}

/// A tree under way.
struct Builder {
    tree: CallTree,
    numbers: FxHashMap<(Option<NodeId>, FunctionId), NodeId>,
}

impl Builder {
    fn new(functions: Vec<Function>) -> Self {
        let tree = CallTree { functions, nodes: Vec::new() };
        Builder { tree, numbers: FxHashMap::default() }
    }

    /// The node of `function` called by `caller`.
    fn on(&mut self, caller: Option<NodeId>, function: FunctionId) -> NodeId {
        let Builder { tree, numbers } = self;
        *numbers.entry((caller, function)).or_insert_with(|| {
            let depth = caller.map_or(0, |caller| tree[caller].depth) + 1;
            tree.nodes.push(CallNode {
                caller,
                function,
                depth,
                calls: 0,
                exclusive: Counters::default(),
                inclusive: Counters::default(),
            });
            NodeId(tree.nodes.len() as u32 - 1)
        })
    }

    fn add(&mut self, node: NodeId, calls: u64, exclusive: &Counters) {
        let node = &mut self.tree.nodes[node.0 as usize];
        node.calls += calls;
        node.exclusive += exclusive;
    }

    /// Sums up from the leaves.
    fn finish(self) -> CallTree {
        let mut tree = self.tree;
        for node in &mut tree.nodes {
            node.inclusive = node.exclusive;
        }
        for index in (0..tree.nodes.len()).rev() {
            if let Some(caller) = tree.nodes[index].caller {
                let inclusive = tree.nodes[index].inclusive;
                tree.nodes[caller.0 as usize].inclusive += &inclusive;
            }
        }
        tree
    }
}

/// Each function once, and the number in that list of each one given.
fn distinct(functions: &[Function]) -> (Vec<Function>, Vec<FunctionId>) {
    let mut numbers: FxHashMap<&Function, FunctionId> = FxHashMap::default();
    let mut list = Vec::new();
    let merged = functions.iter().map(|function| {
        *numbers.entry(function).or_insert_with(|| {
            list.push(function.clone());
            FunctionId(list.len() as u32 - 1)
        })
    });
    let merged = merged.collect();
    (list, merged)
}
