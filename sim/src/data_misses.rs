//! The data side: which pages and objects the misses are on.

use crate::counters::Counters;
use crate::error::Error;
use crate::functions::{Name, Namer};
use rustc_hash::FxHashMap;
use std::ops::AddAssign;
use strata_cachemodel::{Outcome, RefKind};
use strata_symbols::{DomainId, Layer};
use strata_workloads::trace::{Definitions, MachineState, Space, SpaceId};

/// Data misses of each structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataMisses {
    /// Of each level of cache, level 1 first.
    pub levels: [u64; 3],
    /// Of the DTLB.
    pub dtlb: u64,
    /// Of the second-level TLB.
    pub stlb: u64,
}

impl DataMisses {
    /// True if there are none.
    pub fn is_nothing(&self) -> bool {
        *self == DataMisses::default()
    }
}

impl AddAssign<&DataMisses> for DataMisses {
    fn add_assign(&mut self, more: &DataMisses) {
        for (sum, more) in self.levels.iter_mut().zip(more.levels) {
            *sum += more;
        }
        self.dtlb += more.dtlb;
        self.stlb += more.stlb;
    }
}

/// How finely the data side is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataGrain {
    /// By virtual page of 4 KiB.
    Page,
    /// By object, where symbols of data say what lies where.
    Object,
}

/// A page, or an object, and the misses of one layer on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRow {
    /// Who missed.
    pub layer: Layer,
    /// Whose memory it is: the hypervisor's and each kernel's addresses are the same in all address
    /// spaces.
    pub owner: Layer,
    /// Root of the address space's tables, where the memory is a program's.
    pub root: Option<u64>,
    /// Address of the page; of objects, the object's; `None` for what no object is known of.
    pub address: Option<u64>,
    /// The object.
    pub object: Option<Name>,
    /// The misses.
    pub misses: DataMisses,
}

/// All data misses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSide {
    /// How finely it is told apart.
    pub grain: DataGrain,
    /// One row for each layer and page or object.
    pub rows: Vec<DataRow>,
}

/// Where data lies: who misses, whose it is, and in which address space if that matters.
type Key = (Layer, Layer, Option<SpaceId>, u64);

/// Collects data misses. Its memory grows with the number of pages, or of 8-byte words, missed on.
#[derive(Debug)]
pub(crate) struct DataWatch {
    grain: DataGrain,
    misses: FxHashMap<Key, DataMisses>,
    /// Who acts, and where.
    layer: Layer,
    space: Option<SpaceId>,
    domain: DomainId,
    virtualized: bool,
}

/// Addresses that Xen keeps for itself in every guest (xen/arch/x86/include/asm/config.h,
/// HYPERVISOR_VIRT_START to HYPERVISOR_VIRT_END).
const XEN: std::ops::Range<u64> = 0xffff_8000_0000_0000..0xffff_8800_0000_0000;

impl DataWatch {
    pub(crate) fn new(grain: DataGrain) -> Self {
        DataWatch {
            grain,
            misses: FxHashMap::default(),
            layer: Layer::Unknown,
            space: None,
            domain: DomainId(0),
            virtualized: false,
        }
    }

    /// What follows is done by `layer`.
    pub(crate) fn announce(&mut self, layer: Layer, space: Option<SpaceId>, state: &MachineState) {
        let cpu = state.running();
        self.layer = layer;
        self.space = space;
        self.domain = DomainId(cpu.current.domain);
        self.virtualized = cpu.current.pointer != 0 && cpu.guest.is_none();
    }

    /// A reference that was not simply a hit.
    #[inline]
    pub(crate) fn add(&mut self, kind: RefKind, va: u64, outcome: &Outcome) {
        if kind == RefKind::Fetch {
            return;
        }
        let misses = DataMisses {
            levels: outcome.misses.map(u64::from),
            dtlb: u64::from(outcome.tlb_misses),
            stlb: u64::from(outcome.stlb_misses),
        };
        if !misses.is_nothing() {
            *self.misses.entry(self.key(va)).or_default() += &misses;
        }
    }

    fn key(&self, va: u64) -> Key {
        let owner = if va >> 63 == 0 {
            Layer::User(self.domain)
        } else if self.virtualized && XEN.contains(&va) {
            Layer::Hypervisor
        } else {
            Layer::Kernel(self.domain)
        };
        // A stream that does not say who runs does not say whose memory it is either.
        let owner = if self.layer == Layer::Unknown { Layer::Unknown } else { owner };
        let space =
            if matches!(owner, Layer::User(_) | Layer::Unknown) { self.space } else { None };
        let place = match self.grain {
            DataGrain::Page => va & !0xfff,
            DataGrain::Object => va & !7,
        };
        (self.layer, owner, space, place)
    }

    pub(crate) fn clear(&mut self) {
        self.misses.clear();
    }

    /// The rows, with the names that `namer` knows.
    pub(crate) fn settle(self, namer: &impl Namer, tables: &Definitions) -> DataSide {
        let root = |space: SpaceId| match tables.spaces.get(space.index()) {
            Some(Space::Paged { root } | Space::Guest { root, .. }) => Some(*root),
            _ => None,
        };
        let mut rows: FxHashMap<_, DataMisses> = FxHashMap::default();
        for ((layer, owner, space, place), misses) in self.misses {
            let (address, object) = match self.grain {
                DataGrain::Page => (Some(place), None),
                DataGrain::Object => {
                    let object = namer.name_data(owner, space, place);
                    (object.as_ref().map(|object| object.address), object)
                }
            };
            let space = if address.is_some() { space } else { None };
            *rows.entry((layer, owner, space.and_then(root), address, object)).or_default() +=
                &misses;
        }
        let mut rows: Vec<DataRow> = rows
            .into_iter()
            .map(|((layer, owner, root, address, object), misses)| DataRow {
                layer,
                owner,
                root,
                address,
                object,
                misses,
            })
            .collect();
        rows.sort_by_key(|row| (row.layer, row.owner, row.root, row.address));
        DataSide { grain: self.grain, rows }
    }
}

impl DataSide {
    /// Sum over all rows.
    pub fn total(&self) -> DataMisses {
        let mut total = DataMisses::default();
        for row in &self.rows {
            total += &row.misses;
        }
        total
    }

    /// Holds the rows against what the functions missed.
    ///
    /// # Errors
    /// [`Error::Sum`] names the first structure that differs.
    pub(crate) fn check(&self, total: &Counters) -> Result<(), Error> {
        let sum = self.total();
        let misses = total.levels.map(|level| level.data().misses);
        let levels = ["l1", "l2", "l3"].into_iter().zip(sum.levels).zip(misses);
        let caches = levels.map(|((name, sum), total)| (name, sum, total));
        for (name, sum, total) in caches.chain([("dtlb", sum.dtlb, total.dtlb.misses)]) {
            if sum != total {
                let counter = format!("data misses of {name} by address");
                return Err(Error::Sum { counter, sum, total });
            }
        }
        Ok(())
    }
}
