//! Events that concern TLBs, and the registers they change.

mod counting;

use std::collections::HashMap;

pub(crate) use strata_cachemodel::ControlEvent as Event;
use strata_cachemodel::{Machine, Mapping, TagScheme, Vendor, WhatIf};

use crate::counts::Flushes;

/// What an entry was made under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tags {
    /// VPID or ASID, 0 outside guests.
    pub(crate) asid: u16,
    pub(crate) nested_root: Option<u64>,
    pub(crate) pcid: u16,
    /// What-if tags.
    pub(crate) domain: u16,
    pub(crate) space: u64,
    pub(crate) global: bool,
}

/// The control registers that a guest or the host uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) cr0: u64,
    pub(crate) cr3: u64,
    pub(crate) cr4: u64,
    /// CR4.PGE was cleared and not yet set again; whether a new CR3 came since.
    pub(crate) pair: Option<bool>,
}

/// ASID (or VPID) and nested root: 0 and none in the host.
pub(crate) type Where = (u16, Option<u64>);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Guest {
    pub(crate) asid: u16,
    pub(crate) nested_root: Option<u64>,
    pub(crate) host: Registers,
}

/// Everything that decides what an event drops and what a look-up may use, for one CPU.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) scheme: TagScheme,
    pub(crate) vendor: Vendor,
    pub(crate) registers: Registers,
    pub(crate) guest: Option<Guest>,
    guests: HashMap<u16, Registers>,
    /// Who runs, as the hypervisor says.
    pub(crate) domain: u16,
    /// The what-if tags in use.
    pub(crate) tag_domain: u16,
    pub(crate) tag_space: u64,
    /// The address space that each domain, in the host or a guest, had when it was the tag last.
    pub(crate) spaces: HashMap<(u16, Where), u64>,
}

pub(crate) const CR3_KEEP: u64 = 1 << 63;
pub(crate) const PE: u32 = 0;
pub(crate) const PG: u32 = 31;
pub(crate) const PSE: u32 = 4;
pub(crate) const PAE: u32 = 5;
const LA57: u32 = 12;
pub(crate) const PGE: u32 = 7;
pub(crate) const PCIDE: u32 = 17;
pub(crate) const SMEP: u32 = 20;
pub(crate) const PKE: u32 = 22;

/// Long mode as kernels run it.
const LONG_MODE: Registers =
    Registers { cr0: 1 << PG | 1, cr3: 0, cr4: 1 << PAE | 1 << PGE, pair: None };

pub(crate) fn bit(register: u64, bit: u32) -> bool {
    register >> bit & 1 == 1
}

/// Whether a write of `after` over `before` sets the bit, or clears it.
pub(crate) fn rises(before: u64, after: u64, which: u32) -> bool {
    !bit(before, which) && bit(after, which)
}

pub(crate) fn falls(before: u64, after: u64, which: u32) -> bool {
    rises(after, before, which)
}

pub(crate) fn changes(before: u64, after: u64, which: u32) -> bool {
    bit(before, which) != bit(after, which)
}

impl Registers {
    pub(crate) fn pcide(&self) -> bool {
        bit(self.cr4, PCIDE)
    }

    pub(crate) fn pcid_of(&self, cr3: u64) -> u16 {
        if self.pcide() { (cr3 % 4096) as u16 } else { 0 }
    }

    /// CR3 as a write of `value` leaves it.
    pub(crate) fn stored(&self, value: u64) -> u64 {
        if self.pcide() { value & !CR3_KEEP } else { value }
    }

    /// Whether the processor refuses with #GP, so that nothing happens.
    fn faults(&self, event: Event) -> bool {
        match event {
            Event::WriteCr0(value) => falls(self.cr0, value, PG) && self.pcide(),
            Event::WriteCr3(value) => bit(value, 63) && !self.pcide(),
            Event::WriteCr4(value) => rises(self.cr4, value, PCIDE) && self.cr3 & 0xfff != 0,
            Event::InvpcidAddress { va, pcid } => {
                !self.is_canonical(va) || (pcid != 0 && !self.pcide())
            }
            Event::InvpcidSingle { pcid } => pcid != 0 && !self.pcide(),
            _ => false,
        }
    }

    pub(crate) fn is_canonical(&self, va: u64) -> bool {
        let unused = if bit(self.cr4, LA57) { 7 } else { 16 };
        (va << unused).cast_signed() >> unused == va.cast_signed()
    }
}

impl Context {
    pub(crate) fn new(machine: &Machine) -> Self {
        Self {
            scheme: machine.tags(),
            vendor: machine.vendor(),
            registers: LONG_MODE,
            guest: None,
            guests: HashMap::new(),
            domain: 0,
            tag_domain: 0,
            tag_space: LONG_MODE.cr3,
            spaces: HashMap::from([((0, (0, None)), LONG_MODE.cr3)]),
        }
    }

    /// States the registers, as at the start of a stream.
    pub(crate) fn set_registers(&mut self, cr0: u64, cr3: u64, cr4: u64) {
        self.registers = Registers { cr0, cr3, cr4, pair: None };
        self.become_tag(cr3);
    }

    fn become_tag(&mut self, space: u64) {
        self.tag_domain = self.domain;
        self.tag_space = space;
        self.spaces.insert((self.domain, self.place()), space);
    }

    /// Whether a what-if scheme cannot tell entries of guests from those of the host.
    fn drops_all_at_entry(&self) -> bool {
        self.what_if().is_some_and(|what_if| !what_if.vpid && !what_if.pcid)
    }

    pub(crate) fn what_if(&self) -> Option<WhatIf> {
        match self.scheme {
            TagScheme::WhatIf(what_if) => Some(what_if),
            _ => None,
        }
    }

    /// Tags of an entry made now for a page with these attributes.
    pub(crate) fn tags(&self, mapping: Mapping) -> Tags {
        let by_g_bit = mapping.is_global() && bit(self.registers.cr4, PGE);
        let nothing =
            Tags { asid: 0, nested_root: None, pcid: 0, domain: 0, space: 0, global: false };
        match self.scheme {
            TagScheme::None => nothing,
            TagScheme::Architectural => Tags {
                asid: self.place().0,
                nested_root: self.place().1,
                pcid: self.pcid(),
                global: by_g_bit,
                ..nothing
            },
            TagScheme::WhatIf(WhatIf { global_hypervisor, vpid, pcid }) => Tags {
                asid: if vpid || pcid { self.place().0 } else { 0 },
                nested_root: if vpid || pcid { self.place().1 } else { None },
                domain: if vpid { self.tag_domain } else { 0 },
                space: if pcid { self.tag_space } else { 0 },
                global: match (global_hypervisor, pcid) {
                    (true, _) => mapping.is_hypervisor(),
                    (false, true) => false,
                    (false, false) => by_g_bit,
                },
                ..nothing
            },
        }
    }

    /// Whether an entry with these tags translates in the present context.
    pub(crate) fn may_use(&self, tags: &Tags) -> bool {
        let present = self.tags(Mapping::identity(0));
        let here = (tags.asid, tags.nested_root) == (present.asid, present.nested_root);
        let own =
            (tags.pcid, tags.domain, tags.space) == (present.pcid, present.domain, present.space);
        let global = match self.scheme {
            // The G bit is good within the domain.
            TagScheme::WhatIf(what_if) => what_if.global_hypervisor && tags.global,
            _ => tags.global,
        };
        here && (own || global)
    }

    pub(crate) fn place(&self) -> Where {
        self.guest.map_or((0, None), |guest| (guest.asid, guest.nested_root))
    }

    pub(crate) fn pcid(&self) -> u16 {
        self.registers.pcid_of(self.registers.cr3)
    }

    /// Whether the event does anything at all.
    pub(crate) fn takes_place(&self, event: Event) -> bool {
        let possible = match event {
            Event::GuestEntry { asid, .. } => asid != 0 || self.vendor != Vendor::Amd,
            Event::GuestExit => self.guest.is_some(),
            _ => true,
        };
        possible && !self.registers.faults(event)
    }

    /// Whether INVVPID or INVEPT of this type and operands succeeds.
    pub(crate) fn succeeds(&self, event: Event) -> bool {
        match event {
            Event::Invvpid { kind, vpid, va } => match kind {
                0 => vpid != 0 && self.registers.is_canonical(va),
                1 | 3 => vpid != 0,
                other => other == 2,
            },
            Event::Invept { kind, .. } => matches!(kind, 1 | 2),
            _ => true,
        }
    }

    /// The event's effect on all but the TLBs.
    pub(crate) fn apply(&mut self, event: Event, counts: &mut Flushes) {
        self.count(event, counts);
        match event {
            Event::WriteCr0(value) => self.registers.cr0 = value,
            Event::WriteCr3(value) => self.load_cr3(self.registers.stored(value)),
            Event::TaskSwitch { cr3 } if cr3 != self.registers.cr3 => self.load_cr3(cr3),
            Event::WriteCr4(value) => self.write_cr4(value),
            Event::Domain(domain) => self.domain = domain,
            Event::GuestEntry { asid, guest_cr3, nested_root, .. } => {
                let host = self.leave_guest().unwrap_or(self.registers);
                self.guest = Some(Guest { asid, nested_root, host });
                let remembered = self.guests.get(&asid).copied().unwrap_or(LONG_MODE);
                self.registers = Registers { cr3: guest_cr3, ..remembered };
                self.become_tag(guest_cr3);
            }
            Event::Reset => {
                self.guest = None;
                self.guests.clear();
                self.registers = Registers { cr0: 0x6000_0010, cr3: 0, cr4: 0, pair: None };
                self.become_tag(0);
            }
            Event::GuestExit => {
                self.registers = self.leave_guest().expect("it takes place in a guest only");
                self.become_tag(self.registers.cr3);
            }
            _ => {}
        }
    }

    /// Remembers the guest's registers; returns the host's.
    fn leave_guest(&mut self) -> Option<Registers> {
        let guest = self.guest.take()?;
        self.guests.insert(guest.asid, self.registers);
        Some(guest.host)
    }

    fn load_cr3(&mut self, cr3: u64) {
        let new = cr3 != self.registers.cr3;
        self.registers.cr3 = cr3;
        match &mut self.registers.pair {
            Some(switched) => *switched |= new,
            None if new => self.become_tag(cr3),
            None => {}
        }
    }

    fn write_cr4(&mut self, value: u64) {
        let before = std::mem::replace(&mut self.registers.cr4, value);
        if falls(before, value, PGE) {
            self.registers.pair = Some(false);
        }
        if rises(before, value, PGE) && self.registers.pair.take() == Some(true) {
            self.become_tag(self.registers.cr3);
        }
    }
}
