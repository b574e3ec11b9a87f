//! What events drop, restated from `docs/models.md` and the manuals as one question of one entry.

use std::collections::HashMap;

use crate::machine::{Machine, TagScheme, Vendor, WhatIf};
use crate::page::Mapping;
use crate::translation::{Broadcast, ControlEvent as Event, ControlRegisters, FlushCause};

/// Everything that an entry could be tagged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tags {
    pub(super) asid: u16,
    pub(super) root: Option<u64>,
    pub(super) pcid: u16,
    pub(super) domain: u16,
    pub(super) space: u64,
    pub(super) global: bool,
}

#[derive(Debug, Clone, Copy)]
struct State {
    registers: ControlRegisters,
    pair: Option<bool>,
}

const LONG_MODE: State =
    State { registers: ControlRegisters { cr0: 0x8000_0001, cr3: 0, cr4: 0xa0 }, pair: None };

/// What one CPU runs.
#[derive(Debug, Clone)]
pub(super) struct Context {
    scheme: TagScheme,
    vendor: Vendor,
    now: State,
    /// ASID and nested root of the guest that runs, and what the host will come back to.
    guest: Option<(u16, Option<u64>, State)>,
    guests: HashMap<u16, State>,
    domain: u16,
    tag: (u16, u64),
    spaces: HashMap<(u16, u16, Option<u64>), u64>,
    pub(super) switches: u64,
    pub(super) explicit_flushes: u64,
}

const BIT_63: u64 = 1 << 63;

fn set(register: u64, bit: u32) -> bool {
    register >> bit & 1 == 1
}

fn frame_of_root(pointer: u64) -> u64 {
    pointer & 0x000f_ffff_ffff_f000
}

impl Context {
    pub(super) fn new(machine: &Machine) -> Self {
        Self {
            scheme: machine.tags(),
            vendor: machine.vendor(),
            now: LONG_MODE,
            guest: None,
            guests: HashMap::new(),
            domain: 0,
            tag: (0, 0),
            spaces: HashMap::from([((0, 0, None), 0)]),
            switches: 0,
            explicit_flushes: 0,
        }
    }

    pub(super) fn registers(&self) -> ControlRegisters {
        self.now.registers
    }

    /// States the registers of what runs, outside any pair.
    pub(super) fn set_registers(&mut self, registers: ControlRegisters) {
        self.now = State { registers, pair: None };
        self.take_tag();
    }

    pub(super) fn asid(&self) -> u16 {
        self.guest.map_or(0, |guest| guest.0)
    }

    pub(super) fn root(&self) -> Option<u64> {
        self.guest.and_then(|guest| guest.1)
    }

    fn pcide(&self) -> bool {
        set(self.now.registers.cr4, 17)
    }

    fn pcid_of(&self, cr3: u64) -> u16 {
        if self.pcide() { (cr3 % 4096) as u16 } else { 0 }
    }

    fn canonical(&self, va: u64) -> bool {
        let unused = if set(self.now.registers.cr4, 12) { 7 } else { 16 };
        (va << unused) as i64 >> unused == va as i64
    }

    fn what_if(&self) -> Option<WhatIf> {
        match self.scheme {
            TagScheme::WhatIf(parts) => Some(parts),
            _ => None,
        }
    }

    pub(super) fn tags_for(&self, mapping: Mapping) -> Tags {
        let (asid, root) = (self.asid(), self.root());
        let marked = mapping.is_global() && set(self.now.registers.cr4, 7);
        match self.scheme {
            TagScheme::None => Tags::default(),
            TagScheme::Architectural => {
                let pcid = self.pcid_of(self.now.registers.cr3);
                Tags { asid, root, pcid, global: marked, ..Tags::default() }
            }
            TagScheme::WhatIf(WhatIf { global_hypervisor, vpid, pcid }) => {
                let tagged = vpid || pcid;
                let g = if global_hypervisor { mapping.is_hypervisor() } else { marked && !pcid };
                Tags {
                    asid: if tagged { asid } else { 0 },
                    root: if tagged { root } else { None },
                    pcid: 0,
                    domain: if vpid { self.tag.0 } else { 0 },
                    space: if pcid { self.tag.1 } else { 0 },
                    global: g && (global_hypervisor || vpid),
                }
            }
        }
    }

    pub(super) fn may_use(&self, tags: &Tags) -> bool {
        let mine = self.tags_for(Mapping::identity(0));
        if (mine.asid, mine.root) != (tags.asid, tags.root) {
            return false;
        }
        match self.what_if() {
            Some(parts) if parts.global_hypervisor && tags.global => true,
            Some(_) => (mine.domain, mine.space) == (tags.domain, tags.space),
            None => tags.global || mine.pcid == tags.pcid,
        }
    }

    /// Whether the event happens at all.
    pub(super) fn happens(&self, event: Event) -> bool {
        let ControlRegisters { cr0, cr3, cr4 } = self.now.registers;
        match event {
            Event::WriteCr0(value) => !(set(cr0, 31) && !set(value, 31) && self.pcide()),
            Event::WriteCr3(value) => self.pcide() || !set(value, 63),
            Event::WriteCr4(value) => set(cr4, 17) || !set(value, 17) || cr3 % 4096 == 0,
            Event::InvpcidAddress { pcid, va } => (pcid == 0 || self.pcide()) && self.canonical(va),
            Event::InvpcidSingle { pcid } => pcid == 0 || self.pcide(),
            Event::GuestEntry { asid, .. } => asid != 0 || self.vendor != Vendor::Amd,
            Event::GuestExit => self.guest.is_some(),
            _ => true,
        }
    }

    /// Whether an entry goes; `serves` tells whether it is of the page of an address. `self` is
    /// what was before the event.
    pub(super) fn drops(
        &self,
        event: Event,
        tags: Tags,
        serves: &dyn Fn(u64) -> bool,
        is_structure: bool,
    ) -> bool {
        let by_manual = self.manual_drops(event, tags, serves, is_structure);
        match self.scheme {
            TagScheme::Architectural => by_manual,
            TagScheme::None => match event {
                Event::WriteCr3(_) | Event::GuestEntry { .. } | Event::GuestExit => true,
                _ => self.anybodys(event, tags, serves, is_structure),
            },
            TagScheme::WhatIf(parts) => {
                self.what_if_drops(parts, event, tags, serves, is_structure)
            }
        }
    }

    fn cr4_changes_mode(&self, value: u64) -> (bool, bool) {
        let old = self.now.registers.cr4;
        let changes = |bit| set(old, bit) != set(value, bit);
        let rises = |bit| !set(old, bit) && set(value, bit);
        let pcids_end = set(old, 17) && !set(value, 17);
        let all = match self.vendor {
            Vendor::Intel => pcids_end,
            Vendor::IntelP6 => pcids_end || changes(4) || changes(5),
            Vendor::Amd => pcids_end || changes(4) || changes(5) || rises(22),
        };
        (all, self.vendor != Vendor::Amd && (changes(5) || rises(20)))
    }

    fn cr0_changes_mode(&self, value: u64) -> bool {
        let old = self.now.registers.cr0;
        match self.vendor {
            Vendor::Intel => set(old, 31) && !set(value, 31),
            Vendor::IntelP6 => set(old, 31) != set(value, 31) || set(old, 0) != set(value, 0),
            Vendor::Amd => set(old, 31) != set(value, 31),
        }
    }

    fn manual_drops(
        &self,
        event: Event,
        tags: Tags,
        serves: &dyn Fn(u64) -> bool,
        is_structure: bool,
    ) -> bool {
        let registers = self.now.registers;
        let here = tags.asid == self.asid();
        let pcid = self.pcid_of(registers.cr3);
        let own = here && tags.pcid == pcid;
        let amd = self.vendor == Vendor::Amd;
        let invlpg = |va| self.canonical(va) && (is_structure || serves(va));
        match event {
            Event::WriteCr0(value) => here && self.cr0_changes_mode(value),
            Event::WriteCr3(value) => {
                let new = self.pcid_of(value);
                here && !tags.global && tags.pcid == new && !set(value, 63)
            }
            Event::WriteCr4(value) => {
                let (all, mine) = self.cr4_changes_mode(value);
                let pge = set(registers.cr4, 7) != set(value, 7);
                here && (pge || all) || own && mine
            }
            Event::TaskSwitch { cr3 } => {
                here && cr3 != registers.cr3 && tags.pcid == 0 && !tags.global
            }
            Event::Invlpg(va) => invlpg(va) && (own || here && tags.global),
            Event::PageFault(va) => serves(va) && (own || here && tags.global),
            Event::InvpcidAddress { va, pcid } => {
                here && tags.pcid == pcid && !tags.global && serves(va)
            }
            Event::InvpcidSingle { pcid } => here && tags.pcid == pcid && !tags.global,
            Event::InvpcidAll => here,
            Event::InvpcidAllButGlobal => here && !tags.global,
            Event::GuestEntry { asid, tlb_control, .. } if amd => match tlb_control {
                1 => true,
                3 => tags.asid == asid,
                7 => tags.asid == asid && !tags.global,
                _ => false,
            },
            Event::GuestEntry { asid, .. } => asid == 0 && tags.asid == 0,
            Event::GuestExit => !amd && self.asid() == 0 && tags.asid == 0,
            Event::Invlpga { va, asid } => tags.asid == asid && invlpg(va),
            Event::Invlpgb(broadcast) => {
                let asid = if self.asid() == 0 { broadcast.asid } else { Some(self.asid()) };
                asid.is_none_or(|asid| tags.asid == asid)
                    && broadcast.pcid.is_none_or(|pcid| tags.global || tags.pcid == pcid)
                    && invlpgb_names(broadcast, tags, serves, is_structure)
            }
            Event::Invvpid { kind, vpid, va } => {
                let named = vpid != 0 && tags.asid == vpid;
                match kind {
                    0 => named && self.canonical(va) && serves(va),
                    1 => named,
                    2 => tags.asid != 0,
                    3 => named && !tags.global,
                    _ => false,
                }
            }
            Event::Invept { kind: 1, root } => tags.root == Some(frame_of_root(root)),
            Event::Invept { kind, .. } => kind == 2 && tags.root.is_some(),
            Event::EptViolation { va, .. } => {
                let of_context = here && tags.root.is_some() && tags.root == self.root();
                of_context && (tags.pcid == pcid || tags.global) && va.is_some_and(serves)
            }
            Event::SystemManagement | Event::Reset => true,
            Event::Domain(_) | Event::VmxOperation => false,
        }
    }

    /// What goes of entries that are not told apart by guest or PCID: what is named of pages, or
    /// all but what the event spares as global.
    fn anybodys(
        &self,
        event: Event,
        tags: Tags,
        serves: &dyn Fn(u64) -> bool,
        is_structure: bool,
    ) -> bool {
        let invlpg = |va| self.canonical(va) && (is_structure || serves(va));
        match event {
            Event::WriteCr0(value) => self.cr0_changes_mode(value),
            Event::WriteCr4(value) => {
                let pge = set(self.now.registers.cr4, 7) != set(value, 7);
                let (all, mine) = self.cr4_changes_mode(value);
                pge || all || mine
            }
            Event::TaskSwitch { cr3 } => cr3 != self.now.registers.cr3,
            Event::Invlpg(va) | Event::Invlpga { va, .. } => invlpg(va),
            Event::PageFault(va) => serves(va),
            Event::InvpcidAddress { va, .. } => serves(va) && !tags.global,
            Event::InvpcidSingle { .. } | Event::InvpcidAllButGlobal => !tags.global,
            Event::Invlpgb(broadcast) => invlpgb_names(broadcast, tags, serves, is_structure),
            Event::Invvpid { kind, vpid, va } => match kind {
                0 => vpid != 0 && self.canonical(va) && serves(va),
                1 => vpid != 0,
                2 => true,
                3 => vpid != 0 && !tags.global,
                _ => false,
            },
            Event::Invept { kind, .. } => matches!(kind, 1 | 2),
            Event::EptViolation { va, .. } => self.root().is_some() && va.is_some_and(serves),
            Event::InvpcidAll | Event::SystemManagement | Event::Reset => true,
            _ => false,
        }
    }

    fn what_if_drops(
        &self,
        parts: WhatIf,
        event: Event,
        tags: Tags,
        serves: &dyn Fn(u64) -> bool,
        is_structure: bool,
    ) -> bool {
        let tagged = parts.vpid || parts.pcid;
        let here = !tagged || tags.asid == self.asid();
        let present = here
            && (!parts.vpid || tags.domain == self.tag.0)
            && (!parts.pcid || tags.space == self.tag.1);
        let all_tags = parts.global_hypervisor && tags.global;
        let here_or_everybody = here && (present || all_tags);
        match event {
            Event::WriteCr3(_) | Event::TaskSwitch { .. } if self.now.pair.is_some() => false,
            Event::WriteCr3(value) if value & !BIT_63 != self.now.registers.cr3 => {
                self.load_drops(parts, self.asid(), self.root(), value & !BIT_63, false, tags)
            }
            Event::WriteCr3(_) => present && !tags.global,
            Event::TaskSwitch { cr3 } => {
                cr3 != self.now.registers.cr3
                    && self.load_drops(parts, self.asid(), self.root(), cr3, false, tags)
            }
            Event::WriteCr0(value) => here && self.cr0_changes_mode(value),
            Event::WriteCr4(value) => {
                let (all, mine) = self.cr4_changes_mode(value);
                let ends = !set(self.now.registers.cr4, 7) && set(value, 7);
                let by_pair = if self.now.pair == Some(true) {
                    let cr3 = self.now.registers.cr3;
                    self.load_drops(parts, self.asid(), self.root(), cr3, true, tags)
                } else {
                    here
                };
                here && (all || mine) || ends && by_pair
            }
            Event::Invlpg(va) => {
                here_or_everybody && self.canonical(va) && (is_structure || serves(va))
            }
            Event::PageFault(va) => here_or_everybody && serves(va),
            Event::InvpcidAddress { .. }
            | Event::InvpcidSingle { .. }
            | Event::InvpcidAll
            | Event::InvpcidAllButGlobal => {
                here && self.anybodys(event, tags, serves, is_structure)
            }
            Event::GuestEntry { .. } | Event::GuestExit if !tagged => true,
            Event::GuestEntry { asid, guest_cr3, nested_root, .. } => {
                let root = nested_root.map(frame_of_root);
                self.manual_drops(event, tags, serves, is_structure)
                    || self.load_drops(parts, asid, root, guest_cr3, false, tags)
            }
            Event::GuestExit => {
                let host = self.guest.unwrap().2.registers.cr3;
                self.manual_drops(event, tags, serves, is_structure)
                    || self.load_drops(parts, 0, None, host, false, tags)
            }
            _ if !tagged => self.anybodys(event, tags, serves, is_structure),
            // These tags know no PCID: any is meant.
            Event::EptViolation { .. } => {
                let tags = Tags { pcid: self.pcid_of(self.now.registers.cr3), ..tags };
                self.manual_drops(event, tags, serves, is_structure)
            }
            Event::Invlpgb(broadcast) => {
                let any = Event::Invlpgb(Broadcast { pcid: None, ..broadcast });
                self.manual_drops(any, tags, serves, is_structure)
            }
            _ => self.manual_drops(event, tags, serves, is_structure),
        }
    }

    /// What goes when CR3 is loaded for this guest, or the host.
    fn load_drops(
        &self,
        parts: WhatIf,
        asid: u16,
        root: Option<u64>,
        space: u64,
        after_pair: bool,
        tags: Tags,
    ) -> bool {
        match parts {
            WhatIf { pcid: true, .. } => false,
            WhatIf { vpid: false, .. } => !tags.global,
            WhatIf { global_hypervisor, .. } => {
                let known = self.spaces.get(&(self.domain, asid, root)) == Some(&space);
                let globals = after_pair && !global_hypervisor;
                let of_tag = tags.asid == asid && tags.domain == self.domain;
                !known && of_tag && (!tags.global || globals)
            }
        }
    }

    /// The event's effect on all but the TLBs.
    pub(super) fn apply(&mut self, event: Event) {
        self.count(event);
        match event {
            Event::WriteCr0(value) => self.now.registers.cr0 = value,
            Event::WriteCr3(value) => self.load(value & !BIT_63),
            Event::TaskSwitch { cr3 } => self.load(cr3),
            Event::WriteCr4(value) => {
                let (was, is) = (set(self.now.registers.cr4, 7), set(value, 7));
                self.now.registers.cr4 = value;
                if was && !is {
                    self.now.pair = Some(false);
                }
                if !was && is && self.now.pair.take() == Some(true) {
                    self.take_tag();
                }
            }
            Event::Domain(domain) => self.domain = domain,
            Event::GuestEntry { asid, guest_cr3, nested_root, .. } => {
                let host = match self.guest {
                    Some((old, _, host)) => {
                        self.guests.insert(old, self.now);
                        host
                    }
                    None => self.now,
                };
                self.guest = Some((asid, nested_root.map(frame_of_root), host));
                self.now = self.guests.get(&asid).copied().unwrap_or(LONG_MODE);
                self.now.registers.cr3 = guest_cr3;
                self.take_tag();
            }
            Event::GuestExit => {
                let (asid, _, host) = self.guest.take().unwrap();
                self.guests.insert(asid, self.now);
                self.now = host;
                self.take_tag();
            }
            Event::Reset => {
                self.guest = None;
                self.guests.clear();
                let registers = ControlRegisters { cr0: 0x6000_0010, cr3: 0, cr4: 0 };
                self.now = State { registers, pair: None };
                self.take_tag();
            }
            _ => {}
        }
    }

    fn load(&mut self, cr3: u64) {
        let is_new = cr3 != self.now.registers.cr3;
        self.now.registers.cr3 = cr3;
        match &mut self.now.pair {
            Some(switches) => *switches |= is_new,
            None if is_new => self.take_tag(),
            None => {}
        }
    }

    fn take_tag(&mut self) {
        let space = self.now.registers.cr3;
        self.tag = (self.domain, space);
        self.spaces.insert((self.domain, self.asid(), self.root()), space);
    }

    fn count(&mut self, event: Event) {
        if self.what_if().is_none() {
            return;
        }
        let pair = self.now.pair;
        let old = self.now.registers;
        let (mut switches, mut explicit) = (false, 0);
        match event {
            Event::WriteCr3(value) if pair.is_none() => {
                switches = value & !BIT_63 != old.cr3;
                explicit = u64::from(!switches);
            }
            Event::TaskSwitch { cr3 } if pair.is_none() => switches = cr3 != old.cr3,
            Event::WriteCr0(value) => explicit = u64::from(self.cr0_changes_mode(value)),
            Event::WriteCr4(value) => {
                let (all, mine) = self.cr4_changes_mode(value);
                let ends = !set(old.cr4, 7) && set(value, 7);
                switches = ends && pair == Some(true);
                explicit = u64::from(all || mine) + u64::from(ends && !switches);
            }
            Event::Invlpg(va) | Event::Invlpga { va, .. } => {
                explicit = u64::from(self.canonical(va));
            }
            Event::InvpcidAddress { .. }
            | Event::InvpcidSingle { .. }
            | Event::InvpcidAll
            | Event::InvpcidAllButGlobal
            | Event::Invlpgb(_) => explicit = 1,
            Event::Invvpid { kind, vpid, va } => {
                let fails = match kind {
                    0 => vpid == 0 || !self.canonical(va),
                    1 | 3 => vpid == 0,
                    kind => kind > 3,
                };
                explicit = u64::from(!fails);
            }
            Event::Invept { kind, .. } => explicit = u64::from(matches!(kind, 1 | 2)),
            Event::GuestEntry { tlb_control, .. } => {
                let amd = self.vendor == Vendor::Amd;
                explicit = u64::from(amd && matches!(tlb_control, 1 | 3 | 7));
            }
            _ => {}
        }
        self.switches += u64::from(switches);
        self.explicit_flushes += explicit;
    }

    /// Kind of what the event does to an entry that it drops.
    pub(super) fn cause(&self, event: Event, tags: Tags) -> FlushCause {
        let old = self.now.registers;
        let what_if = self.what_if();
        match event {
            Event::WriteCr3(value) if value & !BIT_63 == old.cr3 => FlushCause::Cr3SameValue,
            Event::WriteCr3(_) => FlushCause::Cr3Write,
            Event::TaskSwitch { .. } if what_if.is_some() => FlushCause::Cr3Write,
            Event::WriteCr4(value) if set(old.cr4, 7) != set(value, 7) => {
                let (all, mine) = self.cr4_changes_mode(value);
                match (what_if, self.now.pair) {
                    (Some(_), _) if all || mine => FlushCause::PagingMode,
                    (Some(_), Some(true)) => FlushCause::Cr3Write,
                    _ => FlushCause::PgeChange,
                }
            }
            Event::WriteCr0(_) | Event::WriteCr4(_) => FlushCause::PagingMode,
            Event::Invlpg(_) | Event::Invlpga { .. } | Event::Invlpgb(_) => FlushCause::Invlpg,
            Event::InvpcidAddress { .. }
            | Event::InvpcidSingle { .. }
            | Event::InvpcidAll
            | Event::InvpcidAllButGlobal => FlushCause::Invpcid,
            Event::PageFault(_) => FlushCause::PageFault,
            Event::GuestEntry { tlb_control: 1 | 3 | 7, .. } if self.vendor == Vendor::Amd => {
                let tagged = what_if.is_none_or(|parts| parts.vpid || parts.pcid);
                let named = self.scheme == TagScheme::None
                    || tagged && self.manual_drops(event, tags, &|_| true, false);
                if named { FlushCause::GuestFlush } else { FlushCause::GuestSwitch }
            }
            Event::GuestEntry { .. } | Event::GuestExit => FlushCause::GuestSwitch,
            Event::Invvpid { .. } | Event::Invept { .. } | Event::EptViolation { .. } => {
                FlushCause::GuestFlush
            }
            _ => FlushCause::Other,
        }
    }
}

/// Whether an INVLPGB, wherever it is for, names an entry's page.
fn invlpgb_names(
    broadcast: Broadcast,
    tags: Tags,
    serves: &dyn Fn(u64) -> bool,
    is_structure: bool,
) -> bool {
    let stays = if is_structure { broadcast.final_only } else { tags.global && !broadcast.global };
    let stride = 1u64 << broadcast.stride.shift();
    let pages = u64::from(broadcast.pages) * (stride / 4096);
    let names = |va: u64| (0..pages).any(|n| serves(va / stride * stride + n * 4096));
    !stays && broadcast.va.is_none_or(names)
}
