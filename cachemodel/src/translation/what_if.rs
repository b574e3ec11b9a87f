//! Tags that hardware could have, and the difference of a switch and an explicit flush.

use rustc_hash::FxHashMap;

use super::event::ControlEvent;
use super::flush::{Flush, FlushCause, Structures, TagFilter, Vpids};
use super::processor::Running;
use super::registers::CR3_NO_FLUSH;
use super::scheme::{Flushes, marked_if, untagged};
use super::tags::{GlobalPages, Owner};
use crate::machine::WhatIf;

/// Like no address space there is.
const NO_SPACE: u64 = u64::MAX;

/// What runs, as the tags see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    domain: u16,
    /// Root table.
    space: u64,
}

/// CR4.PGE was cleared and is yet to be set again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    /// Whether CR3 was written since, with a value that it did not have.
    switches: bool,
}

/// Whose address space is remembered: domain, VPID or ASID, nested root.
type Place = (u16, u16, Option<u64>);

/// Tags of the schemes `global-hypervisor`, `vpid`, `pcid` and their combinations.
#[derive(Debug, Clone)]
pub(super) struct WhatIfTags {
    parts: WhatIf,
    tag: Tag,
    /// The domain that runs; the tag follows it at the next load of CR3.
    domain: u16,
    pair: Option<Pair>,
    /// The address space that each tag had when it was the tag last.
    last: FxHashMap<Place, u64>,
    /// What is to come back when the guest exits.
    host: Option<(Tag, Option<Pair>)>,
    /// Pairs that guests were in when they exited, by VPID or ASID.
    guest_pairs: FxHashMap<u16, Pair>,
    /// Switches and explicit flushes so far.
    counted: (u64, u64),
}

impl WhatIfTags {
    pub(super) fn new(parts: WhatIf) -> Self {
        Self {
            parts,
            tag: Tag { domain: 0, space: 0 },
            domain: 0,
            pair: None,
            last: FxHashMap::default(),
            host: None,
            guest_pairs: FxHashMap::default(),
            counted: (0, 0),
        }
    }

    /// Switches and explicit flushes so far.
    pub(super) fn counted(&self) -> (u64, u64) {
        self.counted
    }

    /// Whether entries have tags besides being global.
    fn has_tags(&self) -> bool {
        self.parts.vpid || self.parts.pcid
    }

    /// Owners of entries that are not global and of those that are, and which are.
    pub(super) fn owners(&self, running: &Running) -> (Owner, Owner, GlobalPages) {
        let WhatIf { global_hypervisor, vpid, pcid } = self.parts;
        let anybody = match self.has_tags() {
            true => Owner { vpid: running.vpid, root: running.root, ..Owner::default() },
            false => Owner::default(),
        };
        let domain = vpid.then_some(self.tag.domain);
        let space = Some(if pcid { self.tag.space } else { 0 });
        let own = Owner { domain, space, ..anybody };
        if global_hypervisor {
            (own, anybody, GlobalPages::Hypervisor)
        } else if vpid {
            let global_pages = marked_if(running.registers.global_pages());
            (own, Owner { domain, ..anybody }, global_pages)
        } else {
            (own, anybody, GlobalPages::Never)
        }
    }

    /// Registers were stated: they are those of the domain that runs, outside any pair.
    pub(super) fn follow(&mut self, running: &Running) {
        self.pair = None;
        self.take_tag(running);
    }

    pub(super) fn flush(
        &mut self,
        event: ControlEvent,
        by_manual: Option<Flush>,
        before: &Running,
        after: &Running,
    ) -> Flushes {
        let everything = |cause| Flush::all_of(self.here(before), cause);
        let one = match event {
            ControlEvent::Domain(domain) => {
                self.domain = domain;
                None
            }
            ControlEvent::WriteCr3(value) => {
                self.write_cr3(before, after, value & CR3_NO_FLUSH != 0)
            }
            ControlEvent::TaskSwitch { .. } => self.write_cr3(before, after, true),
            ControlEvent::WriteCr4(_)
                if before.registers.global_pages() != after.registers.global_pages() =>
            {
                self.change_pge(before, after)
            }
            ControlEvent::WriteCr0(_) | ControlEvent::WriteCr4(_) => {
                let flush = by_manual.map(|flush| everything(flush.cause));
                self.explicit(flush)
            }
            ControlEvent::Invlpg(_) => {
                let flush = by_manual.map(|flush| Flush { tags: self.present(before), ..flush });
                self.explicit(flush)
            }
            ControlEvent::PageFault(_) => {
                by_manual.map(|flush| Flush { tags: self.present(before), ..flush })
            }
            ControlEvent::InvpcidAddress { .. }
            | ControlEvent::InvpcidSingle { .. }
            | ControlEvent::InvpcidAll
            | ControlEvent::InvpcidAllButGlobal => {
                // PCIDs say nothing about these tags: the flush is of all of them.
                let flush = by_manual.map(|flush| Flush { tags: self.here(before), ..flush });
                self.explicit(flush)
            }
            ControlEvent::GuestEntry { tlb_control, .. } => {
                return self.enter_guest(by_manual, tlb_control, before, after);
            }
            ControlEvent::GuestExit => self.exit_guest(by_manual, before),
            ControlEvent::EptViolation { .. } => by_manual.map(|flush| self.retagged(flush)),
            ControlEvent::Reset => {
                *self =
                    Self { domain: self.domain, counted: self.counted, ..Self::new(self.parts) };
                self.take_tag(after);
                by_manual
            }
            ControlEvent::SystemManagement | ControlEvent::VmxOperation => by_manual,
            ControlEvent::Invlpga { .. }
            | ControlEvent::Invlpgb(_)
            | ControlEvent::Invvpid { .. }
            | ControlEvent::Invept { .. } => {
                let flush = by_manual.map(|flush| self.retagged(flush));
                self.explicit(flush)
            }
        };
        [one, None]
    }

    /// All tags of the host or guest that runs.
    fn here(&self, running: &Running) -> TagFilter {
        let vpid = if self.has_tags() { Vpids::Is(running.vpid) } else { Vpids::Any };
        TagFilter { vpid, ..TagFilter::ANY }
    }

    /// The present tag, and global entries that it can use.
    fn present(&self, running: &Running) -> TagFilter {
        TagFilter {
            domain: self.parts.vpid.then_some(self.tag.domain),
            space: self.parts.pcid.then_some(self.tag.space),
            ..self.here(running)
        }
    }

    /// A flush that names guests, for tags that know no PCIDs.
    fn retagged(&self, flush: Flush) -> Flush {
        if !self.has_tags() {
            return untagged(flush);
        }
        Flush { tags: TagFilter { space: None, ..flush.tags }, ..flush }
    }

    fn explicit(&mut self, flush: Option<Flush>) -> Option<Flush> {
        self.counted.1 += u64::from(flush.is_some());
        flush
    }

    fn write_cr3(&mut self, before: &Running, after: &Running, keeps_same: bool) -> Option<Flush> {
        let is_new = before.registers.cr3 != after.registers.cr3;
        if let Some(pair) = &mut self.pair {
            pair.switches |= is_new;
            return None;
        }
        if is_new {
            return self.switch(after, false);
        }
        let flush = Flush::non_global_of(self.present(before), FlushCause::Cr3SameValue);
        self.explicit((!keeps_same).then_some(flush))
    }

    fn change_pge(&mut self, before: &Running, after: &Running) -> Option<Flush> {
        if before.registers.global_pages() {
            self.pair = Some(Pair { switches: false });
            return None;
        }
        match self.pair.take() {
            Some(Pair { switches: true }) => self.switch(after, true),
            _ => {
                let flush = Flush::all_of(self.here(before), FlushCause::PgeChange);
                self.explicit(Some(flush))
            }
        }
    }

    fn switch(&mut self, after: &Running, by_pair: bool) -> Option<Flush> {
        self.counted.0 += 1;
        let had_it = self.take_tag(after);
        self.leave_behind(after, had_it, by_pair, FlushCause::Cr3Write)
    }

    /// The tag becomes that of what runs now. Returns whether the address space is the one it had.
    fn take_tag(&mut self, running: &Running) -> bool {
        self.tag = Tag { domain: self.domain, space: running.registers.root() };
        let place = (self.domain, running.vpid, running.root);
        self.last.insert(place, self.tag.space) == Some(self.tag.space)
    }

    /// What a load of CR3 drops of the tag that it made the present one.
    fn leave_behind(
        &self,
        after: &Running,
        had_it: bool,
        by_pair: bool,
        cause: FlushCause,
    ) -> Option<Flush> {
        let WhatIf { global_hypervisor, vpid, pcid } = self.parts;
        if !self.has_tags() {
            return Some(Flush::non_global_of(TagFilter::ANY, cause));
        }
        if !vpid || had_it {
            return None;
        }
        let tags = TagFilter { domain: Some(self.tag.domain), ..self.here(after) };
        let globals_go = by_pair && !global_hypervisor;
        match (pcid, globals_go) {
            (false, false) => Some(Flush::non_global_of(tags, cause)),
            (false, true) => Some(Flush::all_of(tags, cause)),
            (true, false) => None,
            // Only global entries are of no address space.
            (true, true) => Some(Flush {
                structures: Structures::Stay,
                ..Flush::all_of(TagFilter { space: Some(NO_SPACE), ..tags }, cause)
            }),
        }
    }

    fn enter_guest(
        &mut self,
        by_manual: Option<Flush>,
        tlb_control: u8,
        before: &Running,
        after: &Running,
    ) -> Flushes {
        if tlb_control != 0 {
            self.explicit(by_manual);
        }
        match self.host {
            None => self.host = Some((self.tag, self.pair)),
            Some(_) => self.leave_guest(before),
        }
        self.pair = self.guest_pairs.get(&after.vpid).copied();
        let had_it = self.take_tag(after);
        if !self.has_tags() {
            return [Some(Flush::everything(FlushCause::GuestSwitch)), None];
        }
        [by_manual, self.leave_behind(after, had_it, false, FlushCause::GuestSwitch)]
    }

    fn exit_guest(&mut self, by_manual: Option<Flush>, before: &Running) -> Option<Flush> {
        self.leave_guest(before);
        if let Some((tag, pair)) = self.host.take() {
            self.tag = tag;
            self.pair = pair;
        }
        if self.has_tags() { by_manual } else { Some(Flush::everything(FlushCause::GuestSwitch)) }
    }

    fn leave_guest(&mut self, before: &Running) {
        match self.pair {
            Some(pair) => self.guest_pairs.insert(before.vpid, pair),
            None => self.guest_pairs.remove(&before.vpid),
        };
    }
}
