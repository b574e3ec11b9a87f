//! Caches and TLBs: what the hardware does with an address.
//!
//! A [`Machine`] says which caches and TLBs there are; it is read from TOML or is a [`preset`],
//! and single values can be overridden. A [`Hierarchy`] is such a machine at work: references go
//! in, with the translation of each page they touch, as do the events that drop TLB entries; each
//! reference returns its [`Outcome`], and [`Counts`] add up.
//!
//! ```
//! use strata_cachemodel::{ControlEvent, Hierarchy, Machine, Mapping, PageSize, RefKind};
//!
//! let mut machine = Machine::load("vee07")?;
//! machine.set("l2.size", "4MiB")?;
//! let mut hierarchy = Hierarchy::new(&machine);
//!
//! let kernel = Mapping::new(0x1000, PageSize::Size2M).with_global(true);
//! let user = Mapping::new(0x2345, PageSize::Size4K);
//! hierarchy.access(RefKind::Fetch, 0xffff_8000_0000_0000, 4, kernel, None);
//! hierarchy.access(RefKind::Fetch, 0x40_0000, 4, user, None);
//! hierarchy.control(ControlEvent::WriteCr3(0x5000));
//! let kept = hierarchy.access(RefKind::Fetch, 0xffff_8000_0000_0000, 4, kernel, None);
//! let dropped = hierarchy.access(RefKind::Fetch, 0x40_0000, 4, user, None);
//! assert_eq!((kept.tlb_misses(), dropped.tlb_misses()), (0, 1));
//!
//! hierarchy.check_laws()?;
//! assert_eq!(hierarchy.counts().itlb.all.misses, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod caches;
mod counters;
mod counts;
mod error;
mod geometry;
mod hierarchy;
mod machine;
mod memory;
mod outcome;
mod page;
pub mod preset;
mod semantics;
mod size;
mod span;
mod translation;
mod translator;

pub use caches::{Actor, MissClass};
pub use counts::{
    Counts, DeviceCounts, LevelCounts, References, StlbCounts, Tally, TlbCounts, WalkCounts,
};
pub use error::{BrokenLaw, Error};
pub use geometry::{CacheGeometry, TlbGeometry, Ways};
pub use hierarchy::{
    Code, Hierarchy, Operand, RefKind, Reference, Run, TlbClassCounts, TlbClasses,
};
pub use machine::{
    AddressKind, CacheSpec, CostModel, EventDelivery, Inclusion, Level, Machine, Prefetcher,
    Replacement, Sharing, TagScheme, TlbArraySpec, TlbSpec, Vendor, WalkMemory, WalkSpec, WayMask,
    WhatIf, WritePolicy,
};
pub use memory::{CacheClasses, ClassCounts, LevelClasses};
pub use outcome::Outcome;
pub use page::{Mapping, PageSize, PhysAddr};
pub use semantics::Semantics;
pub use size::ByteSize;
pub use translation::{
    Broadcast, ControlEvent, ControlRegisters, FlushCause, FlushCounts, TlbMissClass,
};
pub use translator::{Identity, NestedWalk, PageWalk, TableWalk, Translator};
