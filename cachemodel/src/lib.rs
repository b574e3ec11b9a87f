//! Caches and TLBs: what the hardware does with an address.
//!
//! A [`Machine`] says which caches and TLBs there are; it is read from TOML or is a [`preset`],
//! and single values can be overridden. A [`Hierarchy`] is such a machine at work: references go
//! in, with the translation of each page they touch, as do the events that drop TLB entries; each
//! reference returns its [`Outcome`], and [`Counts`] add up.
//!
//! ```
//! use strata_cachemodel::{
//!     ControlEvent, Hierarchy, Machine, Mapping, PageSize, RefKind, Translator,
//! };
//!
//! /// A kernel in the upper half, on global large pages, and a program below.
//! struct Pages;
//!
//! impl Translator for Pages {
//!     fn mapping(&mut self, va: u64) -> Mapping {
//!         if va >> 63 == 1 {
//!             Mapping::new(0x1000, PageSize::Size2M).with_global(true)
//!         } else {
//!             Mapping::new(0x2345, PageSize::Size4K)
//!         }
//!     }
//! }
//!
//! let mut machine = Machine::load("vee07")?;
//! machine.set("l2.size", "4MiB")?;
//! let mut hierarchy = Hierarchy::new(&machine);
//! let mut fetch = |hierarchy: &mut Hierarchy, va| {
//!     hierarchy.access(RefKind::Fetch, va, 4, &mut Pages).tlb_misses
//! };
//! let (kernel, user) = (0xffff_8000_0000_0000, 0x40_0000);
//! assert_eq!([kernel, user].map(|va| fetch(&mut hierarchy, va)), [1, 1]);
//! hierarchy.control(ControlEvent::WriteCr3(0x5000));
//! assert_eq!([kernel, user].map(|va| fetch(&mut hierarchy, va)), [0, 1]);
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
mod replacement;
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
    Code, Hierarchy, LowerHalf, LowerHalves, LowerPart, Near, Notes, Operand, Past, Progress,
    RefKind, Reference, Run, Settled, Stream, TlbClassCounts, TlbClasses, Unsettled,
};
pub use machine::{
    AddressKind, CacheSpec, CostModel, EventDelivery, Inclusion, Level, Machine, Prefetcher,
    Replacement, Sharing, TagScheme, TlbArraySpec, TlbSpec, Vendor, WalkMemory, WalkSpec, WayMask,
    WhatIf, WritePolicy,
};
pub use memory::{CacheClasses, ClassCounts, LevelClasses, Request};
pub use outcome::Outcome;
pub use page::{Mapping, PageSize, PhysAddr};
pub use semantics::Semantics;
pub use size::ByteSize;
pub use translation::{
    Broadcast, ControlEvent, ControlRegisters, FlushCause, FlushCounts, SizedCounts, TlbMissClass,
    TlbSizes,
};
pub use translator::{Identity, NestedWalk, PageWalk, TableWalk, Translator};
