//! Which entries an event drops: a predicate for each event.
//!
//! Architectural rules after the Intel SDM, volume 3, 4.10.4 and 28.3 (June 2016), and the AMD APM,
//! volume 2, 5.5 and 15.16.

use strata_cachemodel::{Broadcast, TagScheme, Vendor, WhatIf};

use crate::events::{
    Context, Event, PAE, PCIDE, PE, PG, PGE, PKE, PSE, SMEP, Tags, Where, bit, changes, falls,
    rises,
};

/// What an event would drop from a TLB or a paging-structure cache.
pub(crate) struct Candidate<'a> {
    pub(crate) tags: Tags,
    /// Whether it is one of those that translate this address.
    pub(crate) serves: &'a dyn Fn(u64) -> bool,
    /// First address of what it covers.
    pub(crate) start: u64,
    /// A paging-structure entry: INVLPG does not ask for its address.
    pub(crate) structure: bool,
}

impl Candidate<'_> {
    fn serves(&self, va: u64) -> bool {
        (self.serves)(va)
    }

    /// Whether INVLPG of the address, which is canonical, names it.
    fn named(&self, va: u64) -> bool {
        self.structure || self.serves(va)
    }
}

impl Context {
    /// `self` is the context before the event.
    pub(crate) fn drops(&self, event: Event, entry: &Candidate<'_>) -> bool {
        match (self.scheme, event) {
            (_, Event::Reset | Event::SystemManagement) => true,
            _ if !self.succeeds(event) => false,
            (TagScheme::Architectural, _) => self.architecture_drops(event, entry),
            (TagScheme::None, _) => self.untagged_drops(event, entry),
            (TagScheme::WhatIf(what_if), _) => self.what_if_drops(what_if, event, entry),
        }
    }

    fn architecture_drops(&self, event: Event, entry: &Candidate<'_>) -> bool {
        let Tags { asid, pcid, global, .. } = entry.tags;
        let here = asid == self.place().0;
        let own = pcid == self.pcid();
        match event {
            Event::WriteCr3(value) => {
                let keeps = self.registers.pcide() && bit(value, 63);
                here && !keeps && !global && pcid == self.registers.pcid_of(value)
            }
            Event::TaskSwitch { cr3 } => here && cr3 != self.registers.cr3 && !global && pcid == 0,
            Event::WriteCr0(_) => here && self.mode_changes(event),
            Event::WriteCr4(value) => {
                let all = changes(self.registers.cr4, value, PGE) || self.all_pcids_go(event);
                here && (all || (self.mode_changes(event) && own))
            }
            Event::Invlpg(va) => {
                here && self.registers.is_canonical(va) && entry.named(va) && (own || global)
            }
            Event::PageFault(va) => here && entry.serves(va) && (own || global),
            Event::InvpcidAddress { va, pcid: named } => {
                here && !global && pcid == named && entry.serves(va)
            }
            Event::InvpcidSingle { pcid: named } => here && !global && pcid == named,
            Event::InvpcidAll => here,
            Event::InvpcidAllButGlobal => here && !global,
            _ => self.drops_of_guests(event, entry, true, own),
        }
    }

    /// What is said of guests, under schemes with tags for them and under those without.
    fn drops_of_guests(
        &self,
        event: Event,
        entry: &Candidate<'_>,
        tagged: bool,
        own: bool,
    ) -> bool {
        let Tags { asid, nested_root, global, .. } = entry.tags;
        let is_of = |named: u16| !tagged || asid == named;
        match event {
            Event::GuestEntry { asid: new, tlb_control, .. } => match (self.vendor, tlb_control) {
                (Vendor::Amd, 1) => true,
                (Vendor::Amd, 3) => is_of(new),
                (Vendor::Amd, 7) => is_of(new) && !global,
                (Vendor::Amd, _) => false,
                _ => new == 0 && is_of(0),
            },
            Event::GuestExit => self.vendor != Vendor::Amd && self.place().0 == 0 && is_of(0),
            Event::Invlpga { va, asid: named } => {
                is_of(named) && self.registers.is_canonical(va) && entry.named(va)
            }
            Event::Invlpgb(named) => self.broadcast_names(&named, entry, tagged),
            Event::Invvpid { kind, vpid, va } => match kind {
                0 => is_of(vpid) && entry.serves(va),
                1 => is_of(vpid),
                2 => !tagged || asid != 0,
                _ => is_of(vpid) && !global,
            },
            Event::Invept { kind: 1, root } => !tagged || nested_root == Some(root),
            Event::Invept { .. } => !tagged || nested_root.is_some(),
            Event::EptViolation { va, .. } => {
                let (here, root) = self.place();
                let usable = own || global;
                let of_context = !tagged || (asid == here && usable && nested_root == root);
                root.is_some() && of_context && va.is_some_and(|va| entry.serves(va))
            }
            _ => false,
        }
    }

    /// A guest can name no ASID but its own.
    fn broadcast_names(&self, named: &Broadcast, entry: &Candidate<'_>, tagged: bool) -> bool {
        let Tags { asid, pcid, global, .. } = entry.tags;
        let named_asid = if self.guest.is_some() { Some(self.place().0) } else { named.asid };
        let of_asid = !tagged || named_asid.is_none_or(|named| asid == named);
        let architectural = self.scheme == TagScheme::Architectural;
        let of_pcid = !architectural || global || named.pcid.is_none_or(|named| pcid == named);
        let serves_one = |first: u64| {
            let shift = named.stride.shift();
            let region = |va: u64| va << 7 >> 7 >> shift;
            let page = |number: u32| first.checked_add(u64::from(number) << shift);
            let within = |va: u64| !entry.structure && region(entry.start) == region(va);
            let names = |va: u64| entry.serves(va) || within(va);
            (0..named.pages).filter_map(page).any(names)
        };
        let of_address = named.va.is_none_or(serves_one) && !(entry.structure && named.final_only);
        of_asid && of_pcid && of_address && (named.global || !global)
    }

    /// A change of mode, besides PGE, that makes the vendor's processors drop anything.
    pub(crate) fn mode_changes(&self, event: Event) -> bool {
        let own_by_intel = match event {
            Event::WriteCr4(value) => {
                rises(self.registers.cr4, value, SMEP) || changes(self.registers.cr4, value, PAE)
            }
            _ => false,
        };
        self.all_pcids_go(event) || (self.vendor != Vendor::Amd && own_by_intel)
    }

    /// A change of mode, besides PGE, that makes the vendor's processors drop all entries.
    fn all_pcids_go(&self, event: Event) -> bool {
        let (cr0, cr4) = (self.registers.cr0, self.registers.cr4);
        match (self.vendor, event) {
            (Vendor::Intel, Event::WriteCr0(value)) => falls(cr0, value, PG),
            // SDM volume 2, MOV to control registers: an implementation's, not the architecture's.
            (Vendor::IntelP6, Event::WriteCr0(value)) => {
                changes(cr0, value, PG) || changes(cr0, value, PE)
            }
            (Vendor::Amd, Event::WriteCr0(value)) => changes(cr0, value, PG),
            (vendor, Event::WriteCr4(value)) => {
                let changed = |bit| changes(cr4, value, bit);
                falls(cr4, value, PCIDE)
                    || (vendor != Vendor::Intel && (changed(PSE) || changed(PAE)))
                    || (vendor == Vendor::Amd && rises(cr4, value, PKE))
            }
            _ => false,
        }
    }

    fn untagged_drops(&self, event: Event, entry: &Candidate<'_>) -> bool {
        match event {
            Event::WriteCr3(_) | Event::GuestEntry { .. } | Event::GuestExit => true,
            Event::TaskSwitch { cr3 } => cr3 != self.registers.cr3,
            Event::WriteCr4(value) => {
                changes(self.registers.cr4, value, PGE) || self.mode_changes(event)
            }
            _ => self.drops_what_is_named(event, entry, true, false),
        }
    }

    /// What the schemes that are no processor's have in common: explicit flushes of what they name.
    /// `present`: of the present tag; `tagged`: the scheme knows guests.
    fn drops_what_is_named(
        &self,
        event: Event,
        entry: &Candidate<'_>,
        present: bool,
        tagged: bool,
    ) -> bool {
        let Tags { asid, global, .. } = entry.tags;
        let here = !tagged || asid == self.place().0;
        match event {
            Event::WriteCr0(_) => here && self.mode_changes(event),
            Event::Invlpg(va) => {
                let page = self.registers.is_canonical(va) && entry.named(va);
                here && page && (present || (global && self.global_everywhere()))
            }
            Event::PageFault(va) => {
                let usable = present || (global && self.global_everywhere());
                here && entry.serves(va) && usable
            }
            Event::InvpcidAddress { va, .. } => here && entry.serves(va) && !global,
            Event::InvpcidSingle { .. } | Event::InvpcidAllButGlobal => here && !global,
            Event::InvpcidAll => here,
            _ => self.drops_of_guests(event, entry, tagged, true),
        }
    }

    /// Whether global entries are good under every tag.
    fn global_everywhere(&self) -> bool {
        self.what_if().is_some_and(|what_if| what_if.global_hypervisor)
    }

    fn what_if_drops(&self, what_if: WhatIf, event: Event, entry: &Candidate<'_>) -> bool {
        let tags = entry.tags;
        let tagged = what_if.vpid || what_if.pcid;
        let here = !tagged || tags.asid == self.place().0;
        let present = here
            && (!what_if.vpid || tags.domain == self.tag_domain)
            && (!what_if.pcid || tags.space == self.tag_space);
        let registers = &self.registers;
        let switch =
            |space, after_pair| self.switch_drops(what_if, self.place(), space, after_pair, tags);
        match event {
            Event::WriteCr3(value) if registers.pair.is_none() => match registers.stored(value) {
                same if same == registers.cr3 => present && !tags.global,
                new => switch(new, false),
            },
            Event::WriteCr3(_) => false,
            Event::WriteCr4(value) => {
                let ends = rises(registers.cr4, value, PGE);
                let all = self.mode_changes(event) || (ends && registers.pair != Some(true));
                (here && all) || (ends && switch(registers.cr3, true))
            }
            Event::TaskSwitch { cr3 } => {
                registers.pair.is_none() && cr3 != registers.cr3 && switch(cr3, false)
            }
            Event::GuestEntry { .. } | Event::GuestExit if !tagged => true,
            Event::GuestEntry { asid, guest_cr3, nested_root, .. } => {
                self.drops_of_guests(event, entry, true, true)
                    || self.switch_drops(what_if, (asid, nested_root), guest_cr3, false, tags)
            }
            Event::GuestExit => {
                let host = self.guest.expect("it takes place in a guest only").host;
                self.drops_of_guests(event, entry, true, true)
                    || self.switch_drops(what_if, (0, None), host.cr3, false, tags)
            }
            _ => self.drops_what_is_named(event, entry, present, tagged),
        }
    }

    /// The address space becomes `space`, in the host or the guest at `place`.
    fn switch_drops(
        &self,
        what_if: WhatIf,
        place: Where,
        space: u64,
        after_pair: bool,
        tags: Tags,
    ) -> bool {
        if what_if.pcid {
            return false;
        }
        if !what_if.vpid {
            return !tags.global;
        }
        let returns = self.spaces.get(&(self.domain, place)) == Some(&space);
        let of_domain = tags.domain == self.domain && tags.asid == place.0;
        let by_g_bit_after_pair = after_pair && !what_if.global_hypervisor;
        !returns && of_domain && (!tags.global || by_g_bit_after_pair)
    }
}
