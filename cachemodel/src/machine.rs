//! A machine: its caches, its TLBs, and the rules by which they are driven.

mod cache_spec;
mod cost;
mod file;
mod overrides;
mod parts;
mod replacement;
mod tag_scheme;
mod tlb_spec;
mod walk_spec;

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use cache_spec::{
    AddressKind, CacheSpec, Inclusion, Prefetcher, Sharing, WayMask, WritePolicy,
};
pub use cost::CostModel;
pub use replacement::Replacement;
pub use tag_scheme::{TagScheme, Vendor, WhatIf};
pub use tlb_spec::{TlbArraySpec, TlbSpec};
pub use walk_spec::{WalkMemory, WalkSpec};

use crate::error::Error;
use crate::preset;
use crate::semantics::Semantics;
use file::MachineFile;

/// Whether the memory accesses of interrupt and exception delivery are part of the replay.
///
/// QEMU does not show them, so a replay makes them from the event itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventDelivery {
    /// The frame's stores and the descriptor reads are made at replay.
    #[default]
    Synthesised,
    /// They are left out.
    Off,
}

impl fmt::Display for EventDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Synthesised => "synthesised",
            Self::Off => "off",
        })
    }
}

/// One level of the cache hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// One cache for instructions and data.
    Unified(CacheSpec),
    /// A cache for instructions and one for data.
    Split {
        /// For instruction fetches.
        instruction: CacheSpec,
        /// For data.
        data: CacheSpec,
    },
}

impl Level {
    /// The cache that instruction fetches go through.
    #[must_use]
    pub fn instruction(&self) -> &CacheSpec {
        match self {
            Self::Unified(cache) | Self::Split { instruction: cache, .. } => cache,
        }
    }

    /// The cache that data goes through.
    #[must_use]
    pub fn data(&self) -> &CacheSpec {
        match self {
            Self::Unified(cache) | Self::Split { data: cache, .. } => cache,
        }
    }

    /// Whether instructions and data share one cache.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        matches!(self, Self::Unified(_))
    }

    /// Its caches with their names in machine files, as in `l1i` and `l1d`, or `l2`.
    pub fn caches(&self, number: usize) -> impl Iterator<Item = (String, &CacheSpec)> {
        let (first, second) = match self {
            Self::Unified(cache) => ((format!("l{number}"), cache), None),
            Self::Split { instruction, data } => {
                ((format!("l{number}i"), instruction), Some((format!("l{number}d"), data)))
            }
        };
        std::iter::once(first).chain(second)
    }
}

/// A machine that can exist: every size in it has been checked.
///
/// Written as TOML, one section for each structure; see the files in `presets/`. Serialises to the
/// same keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "MachineFile", into = "MachineFile")]
pub struct Machine {
    name: String,
    description: String,
    semantics: Semantics,
    event_delivery: EventDelivery,
    tags: TagScheme,
    vendor: Vendor,
    cpus: u16,
    seed: u64,
    /// Level 1 first; at least one.
    levels: Vec<Level>,
    itlb: TlbSpec,
    dtlb: TlbSpec,
    stlb: Option<TlbSpec>,
    walk: WalkSpec,
    cost: Option<CostModel>,
}

impl Machine {
    /// Most levels of cache.
    pub const MAX_LEVELS: usize = 3;
    /// Most CPUs.
    pub const MAX_CPUS: u16 = 64;

    /// Reads a machine description.
    ///
    /// # Errors
    /// [`Error::Parse`] with line and column for what is not such a description (an unknown key, a
    /// missing section), [`Error::Geometry`] for a machine that cannot exist.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let file: MachineFile =
            toml::from_str(text).map_err(|error| Error::Parse(error.to_string()))?;
        file.try_into()
    }

    /// The preset of this name or, where there is none, the machine in the file of this path.
    ///
    /// # Errors
    /// As [`Machine::from_toml`] with the file's name in front; [`Error::UnknownMachine`] and
    /// [`Error::Unreadable`] when there is nothing to read.
    pub fn load(name_or_path: &str) -> Result<Self, Error> {
        if let Some(machine) = preset::find(name_or_path) {
            return Ok(machine);
        }
        let path = Path::new(name_or_path);
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::UnknownMachine {
                name: name_or_path.to_owned(),
                known: preset::names().collect::<Vec<_>>().join(", "),
            },
            _ => Error::Unreadable { path: path.to_owned(), source },
        })?;
        Self::from_toml(&text)
            .map_err(|source| Error::InFile { path: path.to_owned(), source: Box::new(source) })
    }

    /// Changes one value, as in `set("l2.size", "4MiB")`.
    ///
    /// # Errors
    /// As [`Machine::with_overrides`]; the machine is then unchanged.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        *self = self.with_overrides([(key, value)])?;
        Ok(())
    }

    /// A machine with these values changed. Only the whole is checked, so that values which
    /// belong together (`l2.size=3MiB`, `l2.ways=12`) may come in any order.
    ///
    /// # Errors
    /// [`Error::UnknownKey`], [`Error::BadValue`] or [`Error::Geometry`].
    pub fn with_overrides<'a>(
        &self,
        overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        MachineFile::from(self.clone()).with(overrides)?.try_into()
    }

    /// Short name, as in `--machine`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One line on what the machine is; empty where its file has none.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What counts as an access.
    #[must_use]
    pub fn semantics(&self) -> Semantics {
        self.semantics
    }

    /// Whether a replay makes the accesses of interrupt delivery.
    #[must_use]
    pub fn event_delivery(&self) -> EventDelivery {
        self.event_delivery
    }

    /// What TLB entries are tagged with.
    #[must_use]
    pub fn tags(&self) -> TagScheme {
        self.tags
    }

    /// Whose rules of invalidation hold.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Number of CPUs, each with a first level and TLBs of its own.
    #[must_use]
    pub fn cpus(&self) -> u16 {
        self.cpus
    }

    /// Start of the pseudo-random numbers that random replacement draws.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The levels of cache, level 1 first.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// What instruction fetches go through first.
    #[must_use]
    pub fn l1i(&self) -> &CacheSpec {
        self.levels[0].instruction()
    }

    /// What data goes through first.
    #[must_use]
    pub fn l1d(&self) -> &CacheSpec {
        self.levels[0].data()
    }

    /// Second level, where there is one.
    #[must_use]
    pub fn l2(&self) -> Option<&Level> {
        self.levels.get(1)
    }

    /// Third level, where there is one.
    #[must_use]
    pub fn l3(&self) -> Option<&Level> {
        self.levels.get(2)
    }

    /// Instruction TLB.
    #[must_use]
    pub fn itlb(&self) -> &TlbSpec {
        &self.itlb
    }

    /// Data TLB.
    #[must_use]
    pub fn dtlb(&self) -> &TlbSpec {
        &self.dtlb
    }

    /// Second-level TLB for instructions and data, where there is one.
    #[must_use]
    pub fn stlb(&self) -> Option<&TlbSpec> {
        self.stlb.as_ref()
    }

    /// What page walks do.
    #[must_use]
    pub fn walk(&self) -> &WalkSpec {
        &self.walk
    }

    /// What events cost, where the machine says so.
    #[must_use]
    pub fn cost(&self) -> Option<&CostModel> {
        self.cost.as_ref()
    }
}
