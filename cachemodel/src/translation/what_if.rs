//! Tags that hardware could have, and the difference of a switch and an explicit flush.

use rustc_hash::FxHashMap;

use super::event::ControlEvent;
use super::flush::{Flush, FlushCause, Nested, TagFilter, Vpids};
use super::manual;
use super::processor::Running;
use super::scheme::{Flushes, marked_if, untagged};
use super::tags::{GlobalPages, Owner};
use crate::machine::{Vendor, WhatIf};

/// What runs, as the tags see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    domain: u16,
    /// CR3 of the address space.
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
    /// The pair that the host was in when it entered the guest.
    host_pair: Option<Pair>,
    /// Pairs that guests were in when they exited, by VPID or ASID.
    guest_pairs: FxHashMap<u16, Pair>,
    switches: u64,
    explicit_flushes: u64,
}

impl WhatIfTags {
    pub(super) fn new(parts: WhatIf) -> Self {
        Self {
            parts,
            tag: Tag { domain: 0, space: 0 },
            domain: 0,
            pair: None,
            last: FxHashMap::default(),
            host_pair: None,
            guest_pairs: FxHashMap::default(),
            switches: 0,
            explicit_flushes: 0,
        }
    }

    /// Whether nothing depends on which address space a domain ran in when it ran last.
    pub(super) fn forgets(&self) -> bool {
        !self.parts.vpid || self.parts.pcid
    }

    /// Whether all but that is the same.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let what = |tags: &Self| (tags.parts, tags.tag, tags.domain, tags.pair, tags.host_pair);
        what(self) == what(other) && self.guest_pairs == other.guest_pairs
    }

    /// Switches and explicit flushes so far.
    pub(super) fn counted(&self) -> (u64, u64) {
        (self.switches, self.explicit_flushes)
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
        match (global_hypervisor, pcid) {
            (true, _) => (own, anybody, GlobalPages::Hypervisor),
            (false, true) => (own, anybody, GlobalPages::Never),
            (false, false) => {
                (own, Owner { domain, ..anybody }, marked_if(running.registers.global_pages()))
            }
        }
    }

    /// Registers were stated: they are those of the domain that runs, outside any pair.
    pub(super) fn follow(&mut self, running: &Running) {
        self.pair = None;
        self.take_tag(running);
    }

    pub(super) fn flush(
        &mut self,
        vendor: Vendor,
        event: ControlEvent,
        by_manual: Option<Flush>,
        before: &Running,
        after: &Running,
    ) -> Flushes {
        let one = match event {
            ControlEvent::Domain(domain) => {
                self.domain = domain;
                None
            }
            ControlEvent::WriteCr3(_) => self.load_cr3(before, after, true),
            ControlEvent::TaskSwitch { .. } => self.load_cr3(before, after, false),
            ControlEvent::WriteCr0(_) => {
                let flush = by_manual.map(|flush| Flush::all_of(self.here(before), flush.cause));
                self.explicit(flush)
            }
            ControlEvent::WriteCr4(_) => return self.write_cr4(vendor, before, after),
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
            ControlEvent::GuestEntry { .. } => {
                return self.enter_guest(by_manual, before, after);
            }
            ControlEvent::GuestExit => return self.exit_guest(by_manual, before, after),
            ControlEvent::EptViolation { .. } => by_manual.map(|flush| self.retagged(flush)),
            ControlEvent::Reset => {
                self.pair = None;
                self.guest_pairs.clear();
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
        self.explicit_flushes += u64::from(flush.is_some());
        flush
    }

    fn load_cr3(&mut self, before: &Running, after: &Running, same_flushes: bool) -> Option<Flush> {
        let is_new = before.registers.cr3 != after.registers.cr3;
        if let Some(pair) = &mut self.pair {
            pair.switches |= is_new;
            return None;
        }
        if is_new {
            return self.switch(after, false);
        }
        let flush = Flush::non_global_of(self.present(before), FlushCause::Cr3SameValue);
        self.explicit(same_flushes.then_some(flush))
    }

    fn write_cr4(&mut self, vendor: Vendor, before: &Running, after: &Running) -> Flushes {
        let all = |cause| Flush::all_of(self.here(before), cause);
        let by_mode = manual::paging_mode(vendor, before, after).map(|flush| all(flush.cause));
        let by_pair = all(FlushCause::PgeChange);
        let by_mode = self.explicit(by_mode);
        match (before.registers.global_pages(), after.registers.global_pages()) {
            (true, false) => {
                self.pair = Some(Pair { switches: false });
                [by_mode, None]
            }
            (false, true) => match self.pair.take() {
                Some(Pair { switches: true }) => [by_mode, self.switch(after, true)],
                _ => [by_mode, self.explicit(Some(by_pair))],
            },
            _ => [by_mode, None],
        }
    }

    fn switch(&mut self, after: &Running, by_pair: bool) -> Option<Flush> {
        self.switches += 1;
        let had_it = self.take_tag(after);
        self.leave_behind(after, had_it, by_pair, FlushCause::Cr3Write)
    }

    /// The tag becomes that of what runs now. Returns whether the address space is the one it had.
    fn take_tag(&mut self, running: &Running) -> bool {
        let space = running.registers.cr3;
        self.tag = Tag { domain: self.domain, space };
        let place = (self.domain, running.vpid, running.root);
        self.last.insert(place, space) == Some(space)
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
        if !vpid || pcid || had_it {
            return None;
        }
        let tags = TagFilter { domain: Some(self.tag.domain), ..self.here(after) };
        Some(if by_pair && !global_hypervisor {
            Flush::all_of(tags, cause)
        } else {
            Flush::non_global_of(tags, cause)
        })
    }

    fn enter_guest(
        &mut self,
        by_manual: Option<Flush>,
        before: &Running,
        after: &Running,
    ) -> Flushes {
        if by_manual.is_some_and(|flush| flush.cause == FlushCause::GuestFlush) {
            self.explicit(by_manual);
        }
        if before.is_guest {
            self.remember_guest(before);
        } else {
            self.host_pair = self.pair;
        }
        self.pair = self.guest_pairs.get(&after.vpid).copied();
        self.pass(by_manual, after)
    }

    fn exit_guest(
        &mut self,
        by_manual: Option<Flush>,
        before: &Running,
        after: &Running,
    ) -> Flushes {
        self.remember_guest(before);
        self.pair = self.host_pair.take();
        self.pass(by_manual, after)
    }

    fn remember_guest(&mut self, before: &Running) {
        match self.pair {
            Some(pair) => self.guest_pairs.insert(before.vpid, pair),
            None => self.guest_pairs.remove(&before.vpid),
        };
    }

    /// To a guest or from it.
    fn pass(&mut self, by_manual: Option<Flush>, after: &Running) -> Flushes {
        let had_it = self.take_tag(after);
        let cause = FlushCause::GuestSwitch;
        if self.has_tags() {
            let left = self.leave_behind(after, had_it, false, cause);
            return [by_manual.map(|flush| self.retagged(flush)), left];
        }
        // Nothing tells host and guest apart.
        let nested = by_manual.map_or(Nested::Stay, |flush| flush.nested);
        [Some(Flush { nested, ..Flush::all_of(TagFilter::ANY, cause) }), None]
    }
}
