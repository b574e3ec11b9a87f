//! What each event drops by the processor's manual: the scheme `architectural`.
//!
//! SDM is the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3, in the
//! edition of June 2016 (325384-059US); later ones renumber its chapters 4 (paging) and 28 (VPID
//! and EPT), and their text of 4.10.4.1 and 28.3.3.1 (there 29.4.3.1) has the same rules. APM is
//! the AMD64 Architecture Programmer's Manual, volume 2 (24593). Only what the manual demands is
//! dropped: hardware may always drop more.
//!
//! Where it is silent the reading is taken that drops more. Readings are:
//! - that SMEP and PAE take global entries made under the current PCID along, and that VM entries
//!   without VPIDs, INVVPID 0 and INVEPT take global ones along: the text says all, and names global
//!   ones as excepted where they are;
//! - that a page fault drops global entries of other PCIDs, and that an SMI does on Intel what it
//!   does on AMD;
//! - that the AMD manual's "entire TLB" at changes of CR0 and CR4 is that of the current ASID, as its
//!   15.16.1 says of events in guests; that INVLPGA is for all PCIDs; that TLB control 3 takes
//!   global entries along, which Xen and Linux rely on; that TLB control drops guest-physical
//!   translations of the ASID, as Linux has it.
//!
//! The operands of INVLPGB are as Linux and SVSM use them; volume 3 of the APM was not read. Nor was
//! an edition of SDM volume 2 that has CR3's bit 63 among the causes of #GP without PCIDs.

use super::event::{Broadcast, ControlEvent};
use super::flush::{
    Flush, FlushCause, Globals, Nested, PageRange, Roots, Structures, TagFilter, Vpids,
};
use super::processor::Running;
use super::registers::{
    CR0_PE, CR0_PG, CR3_NO_FLUSH, CR4_PAE, CR4_PCIDE, CR4_PKE, CR4_PSE, CR4_SMEP, root,
};
use crate::machine::Vendor;

/// What an event that changes `before` to `after` drops.
pub(super) fn flush(
    vendor: Vendor,
    event: ControlEvent,
    before: &Running,
    after: &Running,
) -> Option<Flush> {
    let current = of_vpid(before.vpid);
    let own = TagFilter { space: Some(before.registers.pcid().into()), ..current };
    match event {
        ControlEvent::WriteCr0(_) => {
            let changed = before.registers.cr0 ^ after.registers.cr0;
            let drops = match vendor {
                // SDM 4.10.4.1: MOV to CR0 that changes PG from 1 to 0.
                Vendor::Intel => before.registers.cr0 & changed & CR0_PG != 0,
                // SDM volume 2, MOV to control registers: of PE and PG, either way.
                Vendor::IntelP6 => changed & (CR0_PE | CR0_PG) != 0,
                // APM 5.5.3: a change of PG, either way.
                Vendor::Amd => changed & CR0_PG != 0,
            };
            drops.then(|| Flush::all_of(current, FlushCause::PagingMode))
        }
        ControlEvent::WriteCr3(value) => {
            // SDM 4.10.4.1, APM 5.5.1. Without PCIDs: entries of PCID 000H that are not global.
            // With PCIDs: those of the PCID in the operand, the new one; none if bit 63 is set. A
            // value equal to the old one makes no exception.
            let new = TagFilter { space: Some(after.registers.pcid().into()), ..current };
            let same = before.registers.cr3 == after.registers.cr3;
            let cause = if same { FlushCause::Cr3SameValue } else { FlushCause::Cr3Write };
            (value & CR3_NO_FLUSH == 0).then(|| Flush::non_global_of(new, cause))
        }
        ControlEvent::WriteCr4(_) => write_cr4(vendor, before, after, current),
        // SDM 7.3 and 4.10.4.1: a task switch that changes CR3. No PCIDs in 32-bit mode.
        ControlEvent::TaskSwitch { .. } => {
            (before.registers.cr3 != after.registers.cr3).then(|| {
                let space = TagFilter { space: Some(0), ..current };
                Flush::non_global_of(space, FlushCause::Other)
            })
        }
        // SDM 4.10.4.1: the page in the current PCID, global entries of it in any, and all
        // paging-structure caches of the PCID. An address that is not canonical: nothing (volume
        // 2, INVLPG). APM 5.5.3 agrees.
        ControlEvent::Invlpg(va) => before.registers.is_canonical(va).then(|| Flush {
            structures: Structures::All,
            ..pages(own, PageRange::of(va), FlushCause::Invlpg)
        }),
        // SDM 4.10.4.1: the page in the current PCID, global or not. A global entry made under
        // another PCID goes too, or the fault could occur again: a reading.
        ControlEvent::PageFault(va) => Some(pages(own, PageRange::of(va), FlushCause::PageFault)),
        ControlEvent::InvpcidAddress { va, pcid } => {
            let tags = TagFilter { space: Some(pcid.into()), ..current };
            let page = pages(tags, PageRange::of(va), FlushCause::Invpcid);
            Some(Flush { globals: Globals::Stay, ..page })
        }
        ControlEvent::InvpcidSingle { pcid } => {
            let tags = TagFilter { space: Some(pcid.into()), ..current };
            Some(Flush::non_global_of(tags, FlushCause::Invpcid))
        }
        ControlEvent::InvpcidAll => Some(Flush::all_of(current, FlushCause::Invpcid)),
        ControlEvent::InvpcidAllButGlobal => {
            Some(Flush::non_global_of(current, FlushCause::Invpcid))
        }
        ControlEvent::GuestEntry { tlb_control, .. } => match vendor {
            Vendor::Intel | Vendor::IntelP6 => vpid_disabled(after.vpid),
            Vendor::Amd => tlb_control_flush(tlb_control, after.vpid),
        },
        ControlEvent::GuestExit => match vendor {
            Vendor::Intel | Vendor::IntelP6 => vpid_disabled(before.vpid),
            // APM 15.16: #VMEXIT by itself drops nothing.
            Vendor::Amd => None,
        },
        // APM 15.16.2: as INVLPG, in the ASID named. Of which PCID it does not say: of all.
        ControlEvent::Invlpga { va, asid } => before.registers.is_canonical(va).then(|| Flush {
            structures: Structures::All,
            ..pages(of_vpid(asid), PageRange::of(va), FlushCause::Invlpg)
        }),
        ControlEvent::Invlpgb(broadcast) => Some(invlpgb(broadcast, before.vpid)),
        ControlEvent::Invvpid { kind, vpid, va } => invvpid(kind, vpid, va, before),
        ControlEvent::Invept { kind, root: pointer } => {
            // SDM 28.3.3.1: guest-physical and combined mappings, of all VPIDs and PCIDs. No
            // exception is made for global ones.
            let tags = match kind {
                1 => TagFilter { root: Roots::Is(root(pointer)), ..TagFilter::ANY },
                2 => TagFilter { root: Roots::Nested, ..TagFilter::ANY },
                _ => return None,
            };
            let combined = Flush::all_of(tags, FlushCause::GuestFlush);
            Some(Flush { nested: Nested::Of(tags), ..combined })
        }
        ControlEvent::EptViolation { gpa, va } => before.root.map(|root| {
            let nested = match vendor {
                Vendor::Intel | Vendor::IntelP6 => {
                    TagFilter { root: Roots::Is(root), ..TagFilter::ANY }
                }
                Vendor::Amd => current,
            };
            // SDM 28.3.3.1: guest-physical mappings of the address; if it was the translation of a
            // linear one, also combined mappings of that, of the current VPID, PCID and root.
            let range = va.map_or(PageRange::NONE, PageRange::of);
            Flush {
                nested: Nested::Page { tags: nested, frame: gpa >> 12 },
                ..pages(TagFilter { root: Roots::Is(root), ..own }, range, FlushCause::GuestFlush)
            }
        }),
        // SDM 4.11.1, table 9-1; APM 5.5.3: an SMI, RSM and writes of MTRRs drop everything. Intel
        // does not say so of SMIs, but they end paging: a reading.
        ControlEvent::Reset | ControlEvent::SystemManagement => {
            Some(Flush::everything(FlushCause::Other))
        }
        // SDM 28.3.3: VMXON and VMXOFF need not drop anything.
        ControlEvent::VmxOperation | ControlEvent::Domain(_) => None,
    }
}

fn of_vpid(vpid: u16) -> TagFilter {
    TagFilter { vpid: Vpids::Is(vpid), ..TagFilter::ANY }
}

/// The pages in a range, global ones too.
fn pages(tags: TagFilter, range: PageRange, cause: FlushCause) -> Flush {
    Flush { pages: Some(range), ..Flush::all_of(tags, cause) }
}

fn write_cr4(
    vendor: Vendor,
    before: &Running,
    after: &Running,
    current: TagFilter,
) -> Option<Flush> {
    // SDM 4.10.4.1, APM 5.5.3: a change of PGE, either way.
    if before.registers.global_pages() != after.registers.global_pages() {
        return Some(Flush::all_of(current, FlushCause::PgeChange));
    }
    paging_mode(vendor, before, after)
}

/// What changes of other bits of CR4 than PGE drop.
pub(super) fn paging_mode(vendor: Vendor, before: &Running, after: &Running) -> Option<Flush> {
    let current = of_vpid(before.vpid);
    let changed = before.registers.cr4 ^ after.registers.cr4;
    let set = changed & after.registers.cr4;
    let cleared = changed & before.registers.cr4;
    let all = match vendor {
        // SDM 4.10.4.1: PCIDE from 1 to 0.
        Vendor::Intel => cleared & CR4_PCIDE != 0,
        // SDM volume 2, MOV to control registers: also a change of PAE or PSE.
        Vendor::IntelP6 => cleared & CR4_PCIDE != 0 || changed & (CR4_PAE | CR4_PSE) != 0,
        // APM 5.5.3: also a change of PAE or PSE, and PKE from 0 to 1.
        Vendor::Amd => {
            cleared & CR4_PCIDE != 0 || changed & (CR4_PAE | CR4_PSE) != 0 || set & CR4_PKE != 0
        }
    };
    if all {
        return Some(Flush::all_of(current, FlushCause::PagingMode));
    }
    // SDM 4.10.4.1: a change of PAE, SMEP from 0 to 1: all of the current PCID, where the text
    // makes no exception for global entries.
    let own = vendor != Vendor::Amd && (changed & CR4_PAE != 0 || set & CR4_SMEP != 0);
    own.then(|| {
        let pcid = before.registers.pcid();
        let tags = TagFilter { space: Some(pcid.into()), ..current };
        let globals = Globals::GoIfMadeUnder(pcid);
        Flush { globals, ..Flush::all_of(tags, FlushCause::PagingMode) }
    })
}

/// SDM 28.3.3.1: VM entries and exits with VPIDs disabled drop linear and combined mappings of VPID
/// 0000H, of all PCIDs and roots; no exception is made for global ones. With VPIDs: nothing.
fn vpid_disabled(vpid: u16) -> Option<Flush> {
    (vpid == 0).then(|| Flush::all_of(of_vpid(0), FlushCause::GuestSwitch))
}

/// APM 15.16.1, table 15-9: VMCB.TLB_CONTROL. The ASID tags guest-physical translations as well
/// (15.16), so they go with it.
fn tlb_control_flush(tlb_control: u8, asid: u16) -> Option<Flush> {
    let tags = of_vpid(asid);
    let cause = FlushCause::GuestFlush;
    let nested = Nested::Of(tags);
    match tlb_control {
        1 => Some(Flush::everything(cause)),
        3 => Some(Flush { nested, ..Flush::all_of(tags, cause) }),
        7 => Some(Flush { nested, ..Flush::non_global_of(tags, cause) }),
        _ => None,
    }
}

/// APM volume 3, INVLPGB; Linux arch/x86/include/asm/tlb.h. In a guest hardware puts the guest's
/// ASID in place of the operand's.
fn invlpgb(broadcast: Broadcast, vpid: u16) -> Flush {
    let asid = if vpid == 0 { broadcast.asid } else { Some(vpid) };
    let guests = TagFilter { vpid: asid.map_or(Vpids::Any, Vpids::Is), ..TagFilter::ANY };
    let tags = TagFilter { space: broadcast.pcid.map(u64::from), ..guests };
    let range = |va| PageRange::strided(va, broadcast.pages, broadcast.stride);
    Flush {
        tags,
        globals: if broadcast.global { Globals::Go } else { Globals::Stay },
        pages: broadcast.va.map(range),
        structures: if broadcast.final_only { Structures::Stay } else { Structures::ForPages },
        nested: if broadcast.nested { Nested::Of(guests) } else { Nested::Stay },
        cause: FlushCause::Invlpg,
    }
}

/// SDM 28.3.3.1 and chapter 30, INVVPID. Type 3 alone excepts global entries.
fn invvpid(kind: u8, vpid: u16, va: u64, running: &Running) -> Option<Flush> {
    let cause = FlushCause::GuestFlush;
    let fails = match kind {
        0 => vpid == 0 || !running.registers.is_canonical(va),
        1 | 3 => vpid == 0,
        _ => false,
    };
    match kind {
        _ if fails => None,
        0 => Some(pages(of_vpid(vpid), PageRange::of(va), cause)),
        1 => Some(Flush::all_of(of_vpid(vpid), cause)),
        2 => Some(Flush::all_of(TagFilter { vpid: Vpids::Guests, ..TagFilter::ANY }, cause)),
        3 => Some(Flush::non_global_of(of_vpid(vpid), cause)),
        _ => None,
    }
}
