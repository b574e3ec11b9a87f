//! Tag schemes: which tags entries have, and what an event drops under each.

use super::counts::FlushCounts;
use super::event::ControlEvent;
use super::flush::{Flush, FlushCause, Nested, TagFilter};
use super::processor::Running;
use super::tags::{Context, GlobalPages, Owner, OwnerTable};
use super::what_if::WhatIfTags;
use crate::machine::{Machine, TagScheme, Vendor};

/// Flushes of one event, to be done in this order.
pub(super) type Flushes = [Option<Flush>; 2];

/// What entries are tagged with.
#[derive(Debug, Clone)]
pub(super) enum Scheme {
    None,
    Architectural,
    WhatIf(WhatIfTags),
}

impl Scheme {
    pub(super) fn new(machine: &Machine) -> Self {
        Self::with_tags(machine.tags())
    }

    pub(super) fn with_tags(tags: TagScheme) -> Self {
        match tags {
            TagScheme::None => Self::None,
            TagScheme::Architectural => Self::Architectural,
            TagScheme::WhatIf(parts) => Self::WhatIf(WhatIfTags::new(parts)),
        }
    }

    /// What an event drops that has changed `before` to `after`, where the manual says `by_manual`.
    pub(super) fn flush(
        &mut self,
        vendor: Vendor,
        event: ControlEvent,
        by_manual: Option<Flush>,
        before: &Running,
        after: &Running,
    ) -> Flushes {
        match self {
            Self::None => [without_tags(event, by_manual, before == after), None],
            Self::Architectural => [by_manual, None],
            Self::WhatIf(tags) => tags.flush(vendor, event, by_manual, before, after),
        }
    }

    /// Counts of events with those that only the scheme tells apart.
    pub(super) fn complete(&self, mut counts: FlushCounts) -> FlushCounts {
        if let Self::WhatIf(tags) = self {
            (counts.switches, counts.explicit_flushes) = tags.counted();
        }
        counts
    }

    /// Registers were stated, not changed by an event.
    /// Whether what it does next depends on nothing but the registers and who runs.
    pub(super) fn forgets(&self) -> bool {
        match self {
            Self::None | Self::Architectural => true,
            Self::WhatIf(tags) => tags.forgets(),
        }
    }

    /// Whether both will do the same from here on, if they [forget](Self::forgets).
    pub(super) fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::WhatIf(tags), Self::WhatIf(others)) => tags.is_as(others),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    pub(super) fn follow(&mut self, running: &Running) {
        if let Self::WhatIf(tags) = self {
            tags.follow(running);
        }
    }

    /// Which entries can be used, and how new ones are tagged.
    pub(super) fn context(&self, running: &Running, owners: &mut OwnerTable) -> Context {
        let registers = &running.registers;
        let (own, global, global_pages) = match self {
            Self::None => {
                let anybody = Owner { space: Some(0), ..Owner::default() };
                (anybody, Owner::default(), GlobalPages::Never)
            }
            Self::Architectural => {
                let global = Owner { vpid: running.vpid, root: running.root, ..Owner::default() };
                let own = Owner { space: Some(registers.pcid().into()), ..global };
                (own, global, marked_if(registers.global_pages()))
            }
            Self::WhatIf(tags) => tags.owners(running),
        };
        Context {
            own: owners.number(own),
            global: owners.number(global),
            global_pages,
            pcid: registers.pcid(),
        }
    }
}

/// Whose nested translations are, under every scheme: an ASID tags guest-physical space (APM
/// 15.16), as the root does on Intel processors (SDM 28.3.1).
pub(super) fn nested_owner(running: &Running, vendor: Vendor) -> Owner {
    match vendor {
        Vendor::Intel | Vendor::IntelP6 => Owner { root: running.root, ..Owner::default() },
        Vendor::Amd => Owner { vpid: running.vpid, ..Owner::default() },
    }
}

pub(super) fn marked_if(global_pages: bool) -> GlobalPages {
    if global_pages { GlobalPages::Marked } else { GlobalPages::Never }
}

/// Without tags a load of CR3 drops everything, and all else drops of everybody what the manual
/// makes it drop of somebody.
fn without_tags(
    event: ControlEvent,
    by_manual: Option<Flush>,
    same_registers: bool,
) -> Option<Flush> {
    let cause = by_manual.map(|flush| flush.cause);
    let nested = by_manual.map_or(Nested::Stay, |flush| flush.nested);
    let everything = |cause| Some(Flush { nested, ..Flush::all_of(TagFilter::ANY, cause) });
    match event {
        ControlEvent::WriteCr3(_) if same_registers => everything(FlushCause::Cr3SameValue),
        ControlEvent::WriteCr3(_) => everything(FlushCause::Cr3Write),
        ControlEvent::GuestEntry { .. } | ControlEvent::GuestExit => {
            everything(cause.unwrap_or(FlushCause::GuestSwitch))
        }
        _ => by_manual.map(untagged),
    }
}

/// The same flush of entries without tags.
pub(super) fn untagged(flush: Flush) -> Flush {
    Flush { tags: TagFilter::ANY, ..flush }
}
