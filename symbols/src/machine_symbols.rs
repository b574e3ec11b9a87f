//! Names for every layer of a virtualized machine.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::address_space::AddressSpaceSymbols;
use crate::executed_code::ExecutedCode;
use crate::layer::{DomainId, Layer};
use crate::load_bias::LoadBias;
use crate::place::Place;
use crate::proc_maps::ProcessMaps;
use crate::symbol_table::SymbolTable;
use crate::user_image::UserImage;

/// An address space of a domain, as the trace tells them apart: usually the CR3 value without its
/// low bits. Opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressSpaceId(pub u64);

/// Names for one domain: its kernel and its programs.
#[derive(Clone, Debug, Default)]
pub struct DomainSymbols {
    kernel: SymbolTable,
    images: Vec<Arc<UserImage>>,
    processes: Vec<ProcessMaps>,
    spaces: HashMap<AddressSpaceId, AddressSpaceSymbols>,
}

impl DomainSymbols {
    /// A domain with this kernel; an empty table where its symbols are not known.
    pub fn new(kernel: SymbolTable) -> Self {
        Self { kernel, ..Self::default() }
    }

    /// Adds a program or library that lies in the domain.
    pub fn add_image(&mut self, image: impl Into<Arc<UserImage>>) {
        self.images.push(image.into());
    }

    /// Adds the mappings of a process that ran in the domain.
    pub fn add_process(&mut self, process: ProcessMaps) {
        self.processes.push(process);
    }

    /// Finds out from the user code that ran in an address space which images lie where in it,
    /// and remembers it for look-ups. See [`AddressSpaceSymbols::identify`].
    pub fn identify(&mut self, space: AddressSpaceId, code: &ExecutedCode) -> &AddressSpaceSymbols {
        let found = AddressSpaceSymbols::identify(&self.images, &self.processes, code);
        self.set_space(space, found)
    }

    /// States what lies where in an address space.
    pub fn set_space(
        &mut self,
        space: AddressSpaceId,
        symbols: AddressSpaceSymbols,
    ) -> &AddressSpaceSymbols {
        let place = self.spaces.entry(space).or_default();
        *place = symbols;
        place
    }

    /// The symbols of the kernel and its modules.
    pub fn kernel(&self) -> &SymbolTable {
        &self.kernel
    }

    /// The programs and libraries.
    pub fn images(&self) -> &[Arc<UserImage>] {
        &self.images
    }

    /// What is known of an address space.
    pub fn space(&self, space: AddressSpaceId) -> Option<&AddressSpaceSymbols> {
        self.spaces.get(&space)
    }

    /// All identified address spaces, in no particular order.
    pub fn spaces(&self) -> impl Iterator<Item = (AddressSpaceId, &AddressSpaceSymbols)> {
        self.spaces.iter().map(|(&id, space)| (id, space))
    }
}

/// Names for the whole machine: hypervisor, and kernel and programs of each domain.
///
/// Domains run the same kernel at the same addresses with different modules, and every process has
/// its own view of user addresses. A name is therefore asked for by layer, address space and
/// address.
///
/// ```
/// use strata_symbols::{DomainId, DomainSymbols, Layer, MachineSymbols};
/// use strata_symbols::{AddressSpaceId, read_kallsyms, read_xen_map};
///
/// let xen = read_xen_map(b"0xffff82d040201190 T lstar_enter\n", "xen-syms.map")?;
/// let mut machine = MachineSymbols::new(xen);
/// for (domain, module) in [(0, "xen_netback"), (1, "xen_netfront")] {
///     let kallsyms = format!("ffffffffc0201000 t rx_poll\t[{module}]\n");
///     let kernel = read_kallsyms(kallsyms.as_bytes(), "kallsyms")?;
///     machine.add_domain(DomainId(domain), DomainSymbols::new(kernel));
/// }
/// let space = AddressSpaceId(0x1000);
/// let module_of = |domain| {
///     machine.lookup(Layer::Kernel(DomainId(domain)), space, 0xffff_ffff_c020_1010).map(|p| p.module)
/// };
/// assert_eq!(module_of(0), Some("xen_netback"));
/// assert_eq!(module_of(1), Some("xen_netfront"));
/// # Ok::<(), strata_symbols::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MachineSymbols {
    hypervisor: SymbolTable,
    domains: BTreeMap<DomainId, DomainSymbols>,
}

impl MachineSymbols {
    /// A machine with this hypervisor; an empty table where there is none or its symbols are not
    /// known.
    pub fn new(hypervisor: SymbolTable) -> Self {
        Self { hypervisor, domains: BTreeMap::new() }
    }

    /// Adds a domain, in place of one of the same number.
    pub fn add_domain(&mut self, id: DomainId, domain: DomainSymbols) -> &mut DomainSymbols {
        let place = self.domains.entry(id).or_default();
        *place = domain;
        place
    }

    /// The symbols of the hypervisor.
    pub fn hypervisor(&self) -> &SymbolTable {
        &self.hypervisor
    }

    /// A domain.
    pub fn domain(&self, id: DomainId) -> Option<&DomainSymbols> {
        self.domains.get(&id)
    }

    /// A domain, to add to.
    pub fn domain_mut(&mut self, id: DomainId) -> Option<&mut DomainSymbols> {
        self.domains.get_mut(&id)
    }

    /// All domains, by number.
    pub fn domains(&self) -> impl Iterator<Item = (DomainId, &DomainSymbols)> {
        self.domains.iter().map(|(&id, domain)| (id, domain))
    }

    /// What an address of code is called. The address space matters to user layers only. The idle
    /// vCPU runs the hypervisor's code. O(log n); ask once per block, not per execution.
    pub fn lookup(&self, layer: Layer, space: AddressSpaceId, address: u64) -> Option<Place<'_>> {
        match self.table(layer) {
            Some(table) => Some(Place::of_hit(table.lookup(address)?, LoadBias(0))),
            None => self.user_space(layer, space)?.lookup(address),
        }
    }

    /// What an address of data is called, as [`lookup`](Self::lookup). `layer` is the one that the
    /// data belongs to.
    pub fn lookup_data(
        &self,
        layer: Layer,
        space: AddressSpaceId,
        address: u64,
    ) -> Option<Place<'_>> {
        match self.table(layer) {
            Some(table) => Some(Place::of_hit(table.lookup_data(address)?, LoadBias(0))),
            None => self.user_space(layer, space)?.lookup_data(address),
        }
    }

    /// The table of a layer that has one for all its address spaces.
    fn table(&self, layer: Layer) -> Option<&SymbolTable> {
        match layer {
            Layer::Hypervisor | Layer::Idle => Some(&self.hypervisor),
            Layer::Kernel(domain) => Some(&self.domains.get(&domain)?.kernel),
            Layer::User(_) | Layer::Unknown => None,
        }
    }

    fn user_space(&self, layer: Layer, space: AddressSpaceId) -> Option<&AddressSpaceSymbols> {
        match layer {
            Layer::User(domain) => self.domains.get(&domain)?.space(space),
            _ => None,
        }
    }
}
