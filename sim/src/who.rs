//! Whose each block is, wherever it runs.

use crate::addressing::Addressing;
use crate::functions::{Function, Functions, Namer, Segment};
use crate::layers::layer_of;
use rustc_hash::FxHashMap;
use strata_symbols::Layer;
use strata_workloads::trace::{Block, Definitions, IDLE_DOMAIN, MachineState, SpaceId};

/// All that a block's owner depends on besides the block itself, by the block's privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Circumstances {
    hypervisor: bool,
    guest: bool,
    /// Where it matters which.
    domain: Option<u16>,
    /// Of user code.
    space: Option<SpaceId>,
    /// Changes when pages change hands.
    owners: u64,
}

/// The row of a block where it ran last.
#[derive(Clone, Copy, Debug)]
struct Last {
    circumstances: u32,
    row: u32,
}

const NEVER: Last = Last { circumstances: u32::MAX, row: 0 };

/// Stands for a block that is several functions' one after the other.
const SPLIT: u32 = u32::MAX;

/// Who an execution is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charged {
    /// The row of one function.
    Row(usize),
    /// Several functions' rows: [`Who::segments`] tells which.
    Split,
}

/// Finds the function that a block belongs to and remembers it.
pub(crate) struct Who<N> {
    functions: Functions<N>,
    numbers: FxHashMap<Circumstances, u32>,
    /// The present circumstances, by privilege level.
    present: [u32; 4],
    /// Two for each block, the later one first: much code runs in two domains by turns.
    last: Vec<[Last; 2]>,
    layers_known: bool,
}

impl<N: Namer> Who<N> {
    pub(crate) fn new(namer: N) -> Self {
        Who {
            functions: Functions::new(namer),
            numbers: FxHashMap::default(),
            present: [0; 4],
            last: Vec::new(),
            layers_known: true,
        }
    }

    /// Whether the stream knows privilege levels, without which there are no layers.
    pub(crate) fn set_layers_known(&mut self, known: bool) {
        self.layers_known = known;
    }

    /// Takes note of a change of who runs, of the address space, or of whose pages are whose.
    pub(crate) fn follow(&mut self, state: &MachineState, addressing: &Addressing) {
        let cpu = state.running();
        for privilege in 0..4 {
            let hypervisor = cpu.current.pointer != 0;
            let own_ring = privilege == 0 && hypervisor && cpu.guest.is_none();
            let idle = cpu.current.domain == IDLE_DOMAIN;
            let ring_3 = privilege == 3;
            let circumstances = Circumstances {
                hypervisor,
                guest: cpu.guest.is_some(),
                domain: (!own_ring || idle).then_some(cpu.current.domain),
                space: if ring_3 { addressing.space() } else { None },
                owners: if ring_3 { addressing.owners_changed } else { 0 },
            };
            let next = self.numbers.len() as u32;
            self.present[privilege] = *self.numbers.entry(circumstances).or_insert(next);
        }
    }

    /// The present circumstances, by privilege level: while they are the same, a block is charged to
    /// the same row.
    #[inline]
    pub(crate) fn present(&self) -> [u32; 4] {
        self.present
    }

    /// Every function seen, by row.
    pub(crate) fn functions(&self) -> &[Function] {
        self.functions.all()
    }

    /// Who an execution of `block`, number `index`, is charged to.
    #[inline(always)]
    pub(crate) fn of(
        &mut self,
        index: usize,
        privilege: u8,
        state: &MachineState,
        addressing: &mut Addressing,
        tables: &Definitions,
    ) -> Charged {
        let present = self.present[usize::from(privilege & 3)];
        let row = match self.last.get(index) {
            Some([last, _]) if last.circumstances == present => last.row,
            _ => self.find(index, present, state, addressing, tables),
        };
        if row == SPLIT { Charged::Split } else { Charged::Row(row as usize) }
    }

    #[inline(never)]
    fn find(
        &mut self,
        index: usize,
        circumstances: u32,
        state: &MachineState,
        addressing: &mut Addressing,
        tables: &Definitions,
    ) -> u32 {
        if let Some(last) = self.last.get_mut(index) {
            last.swap(0, 1);
            if last[0].circumstances == circumstances {
                return last[0].row;
            }
        }
        let segments = self.segments(index, state, addressing, tables);
        let row = if segments.len() > 1 { SPLIT } else { segments[0].function.0 };
        if self.last.len() <= index {
            self.last.resize(tables.blocks.len(), [NEVER; 2]);
        }
        self.last[index][0] = Last { circumstances, row };
        row
    }

    /// The functions that a block is made of where it runs now, in order.
    pub(crate) fn segments(
        &mut self,
        index: usize,
        state: &MachineState,
        addressing: &mut Addressing,
        tables: &Definitions,
    ) -> &[Segment] {
        let block = &tables.blocks[index];
        let layer = if self.layers_known {
            layer_now(block, state, addressing, tables)
        } else {
            Layer::Unknown
        };
        self.functions.of(index, block, layer, addressing.space())
    }

    pub(crate) fn settle(self, blocks: &[Block]) -> (Vec<Function>, N) {
        self.functions.settle(blocks)
    }
}

fn layer_now(
    block: &Block,
    state: &MachineState,
    addressing: &mut Addressing,
    tables: &Definitions,
) -> Layer {
    // Only ring 3 is shared by kernels and programs.
    let guest_kernel = block.privilege == 3 && addressing.page(block.address, tables).guest_kernel;
    layer_of(block, state, guest_kernel)
}
