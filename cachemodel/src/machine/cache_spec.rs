//! One cache of a machine: its geometry and its rules.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::replacement::Replacement;
use crate::error::Error;
use crate::geometry::{CacheGeometry, Ways};
use crate::size::ByteSize;

/// Which address a cache uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressKind {
    /// The physical one.
    #[default]
    Physical,
    /// The virtual one.
    Virtual,
}

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WritePolicy {
    /// It stays here until the line goes.
    #[default]
    Back,
    /// It also goes to the next level at once.
    Through,
}

/// What a level holds of what the levels above it hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inclusion {
    /// Anything: it is filled along with them, and what it drops they keep.
    #[default]
    NonInclusive,
    /// All of it: what it drops they drop too.
    Inclusive,
    /// What the level above dropped: it is filled by that level's victims only, and a line that
    /// hits moves up.
    Exclusive,
}

/// What is fetched before it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefetcher {
    /// Nothing.
    #[default]
    None,
    /// On a demand miss, the line behind it.
    NextLine,
    /// The line one stride ahead of a load or store that repeats a stride.
    Stride,
}

/// Who shares one copy of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sharing {
    /// All CPUs.
    #[default]
    All,
    /// Nobody: each CPU has its own.
    Private,
    /// The CPUs of each group, numbered from 0.
    Groups(Vec<Vec<u16>>),
}

impl Sharing {
    /// The CPUs of each copy, of `cpus` in all.
    #[must_use]
    pub fn groups(&self, cpus: u16) -> Vec<Vec<u16>> {
        match self {
            Self::All => vec![(0..cpus).collect()],
            Self::Private => (0..cpus).map(|cpu| vec![cpu]).collect(),
            Self::Groups(groups) => groups.clone(),
        }
    }
}

/// A set of ways, of the first 64 of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WayMask(pub u64);

impl FromStr for WayMask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a list of ways from 0 to 63 such as \"0-3\" or \"0,2,5\"");
        let mut mask = 0_u64;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u32>().ok().filter(|&way| way < 64);
            let (Some(first), Some(last)) = (number(first), number(last)) else {
                return Err(wrong());
            };
            if first > last {
                return Err(wrong());
            }
            mask |= (u64::MAX >> (63 - (last - first))) << first;
        }
        Ok(Self(mask))
    }
}

impl fmt::Display for WayMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut first_part = true;
        while rest != 0 {
            let first = rest.trailing_zeros();
            let length = (!(rest >> first)).trailing_zeros();
            if !first_part {
                f.write_str(",")?;
            }
            first_part = false;
            match length {
                1 => write!(f, "{first}")?,
                _ => write!(f, "{first}-{}", first + length - 1)?,
            }
            rest &= !((u64::MAX >> (64 - length)) << first);
        }
        Ok(())
    }
}

impl Serialize for WayMask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WayMask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// An override of a single way, `l2.partition.dom0=3`, reads as a number.
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a list of ways such as \"0-3\" or \"0,2,5\"")]
        enum List {
            Text(String),
            Way(u64),
        }
        match List::deserialize(deserializer)? {
            List::Text(text) => text,
            List::Way(way) => way.to_string(),
        }
        .parse()
        .map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "\"all\", \"private\", or groups of CPUs such as [[0, 1], [2, 3]]")]
enum SharingText {
    Word(SharingWord),
    Groups(Vec<Vec<u16>>),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SharingWord {
    All,
    Private,
}

impl Serialize for Sharing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => SharingText::Word(SharingWord::All),
            Self::Private => SharingText::Word(SharingWord::Private),
            Self::Groups(groups) => SharingText::Groups(groups.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sharing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match SharingText::deserialize(deserializer)? {
            SharingText::Word(SharingWord::All) => Self::All,
            SharingText::Word(SharingWord::Private) => Self::Private,
            SharingText::Groups(groups) => Self::Groups(groups),
        })
    }
}

/// One cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSpec {
    geometry: CacheGeometry,
    rules: CacheRules,
}

/// All of a cache but its geometry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CacheRules {
    replacement: Replacement,
    index: AddressKind,
    tag: AddressKind,
    write: WritePolicy,
    write_allocate: bool,
    inclusion: Inclusion,
    prefetch: Prefetcher,
    shared: Sharing,
    partition: BTreeMap<String, WayMask>,
}

impl Default for CacheRules {
    fn default() -> Self {
        Self {
            replacement: Replacement::default(),
            index: AddressKind::default(),
            tag: AddressKind::default(),
            write: WritePolicy::default(),
            write_allocate: true,
            inclusion: Inclusion::default(),
            prefetch: Prefetcher::default(),
            shared: Sharing::default(),
            partition: BTreeMap::new(),
        }
    }
}

/// A cache as a machine file states it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CacheFile {
    size: ByteSize,
    ways: Ways,
    line_size: ByteSize,
    #[serde(default)]
    replacement: Replacement,
    #[serde(default)]
    index: AddressKind,
    #[serde(default)]
    tag: AddressKind,
    #[serde(default)]
    write: WritePolicy,
    #[serde(default = "yes")]
    write_allocate: bool,
    #[serde(default)]
    inclusion: Inclusion,
    #[serde(default)]
    prefetch: Prefetcher,
    #[serde(default)]
    shared: Sharing,
    #[serde(default)]
    partition: BTreeMap<String, WayMask>,
}

fn yes() -> bool {
    true
}

impl CacheSpec {
    /// A cache of this geometry: LRU, physical, write-back, write-allocate, non-inclusive, without
    /// prefetcher or partition, shared by all CPUs.
    #[must_use]
    pub fn new(geometry: CacheGeometry) -> Self {
        Self { geometry, rules: CacheRules::default() }
    }

    pub(crate) fn from_file(name: &str, file: CacheFile) -> Result<Self, Error> {
        let wrong = |field: &str, rule: &str, got: String| Error::Geometry {
            key: format!("{name}.{field}"),
            rule: rule.to_owned(),
            got,
        };
        let geometry = CacheGeometry::new(name, file.size.0, file.ways, file.line_size.0)?;
        let ways = geometry.ways();
        if !file.partition.is_empty() && ways > 64 {
            return Err(wrong("ways", "at most 64 where ways are partitioned", ways.to_string()));
        }
        for (who, mask) in &file.partition {
            if ways < 64 && mask.0 >> ways != 0 {
                let rule = format!("among ways 0 to {}", ways - 1);
                return Err(wrong(&format!("partition.{who}"), &rule, mask.to_string()));
            }
        }
        let rules = CacheRules {
            replacement: file.replacement,
            index: file.index,
            tag: file.tag,
            write: file.write,
            write_allocate: file.write_allocate,
            inclusion: file.inclusion,
            prefetch: file.prefetch,
            shared: file.shared,
            partition: file.partition,
        };
        Ok(Self { geometry, rules })
    }

    /// Size, ways and lines.
    #[must_use]
    pub fn geometry(&self) -> &CacheGeometry {
        &self.geometry
    }

    /// Capacity in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.geometry.size_bytes()
    }

    /// Bytes of a line, a power of two.
    #[must_use]
    pub fn line_bytes(&self) -> u64 {
        self.geometry.line_bytes()
    }

    /// Lines of a set.
    #[must_use]
    pub fn ways(&self) -> usize {
        self.geometry.ways()
    }

    /// Number of sets.
    #[must_use]
    pub fn sets(&self) -> u64 {
        self.geometry.sets()
    }

    /// How victims are chosen.
    #[must_use]
    pub fn replacement(&self) -> Replacement {
        self.rules.replacement
    }

    /// Which address finds the set.
    #[must_use]
    pub fn index(&self) -> AddressKind {
        self.rules.index
    }

    /// Which address is compared.
    #[must_use]
    pub fn tag(&self) -> AddressKind {
        self.rules.tag
    }

    /// Whether writes also go on at once.
    #[must_use]
    pub fn write_policy(&self) -> WritePolicy {
        self.rules.write
    }

    /// Whether a write that misses fetches the line.
    #[must_use]
    pub fn write_allocates(&self) -> bool {
        self.rules.write_allocate
    }

    /// What it holds of the levels above.
    #[must_use]
    pub fn inclusion(&self) -> Inclusion {
        self.rules.inclusion
    }

    /// What it fetches ahead.
    #[must_use]
    pub fn prefetcher(&self) -> Prefetcher {
        self.rules.prefetch
    }

    /// Which CPUs share it; without meaning at level 1, which each CPU has for itself.
    #[must_use]
    pub fn sharing(&self) -> &Sharing {
        &self.rules.shared
    }

    /// The ways that each layer (`dom0-kernel`) or domain (`dom0`, `hypervisor`) may fill; whoever
    /// is not named fills any.
    #[must_use]
    pub fn partition(&self) -> &BTreeMap<String, WayMask> {
        &self.rules.partition
    }

    pub(crate) fn to_file(&self) -> CacheFile {
        let rules = self.rules.clone();
        CacheFile {
            size: ByteSize(self.size_bytes()),
            ways: self.geometry.ways_as_written(),
            line_size: ByteSize(self.line_bytes()),
            replacement: rules.replacement,
            index: rules.index,
            tag: rules.tag,
            write: rules.write,
            write_allocate: rules.write_allocate,
            inclusion: rules.inclusion,
            prefetch: rules.prefetch,
            shared: rules.shared,
            partition: rules.partition,
        }
    }
}

/// `32KiB, 64 sets of 8 ways, 64-byte lines`, and what is not the usual.
impl fmt::Display for CacheSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.rules;
        write!(f, "{}", self.geometry)?;
        let mut unusual = Vec::new();
        if rules.replacement != Replacement::Lru {
            unusual.push(rules.replacement.to_string());
        }
        let virtual_parts = [(rules.index, "virtually indexed"), (rules.tag, "virtually tagged")];
        unusual.extend(
            virtual_parts
                .iter()
                .filter(|(kind, _)| *kind == AddressKind::Virtual)
                .map(|(_, text)| (*text).to_owned()),
        );
        if rules.write == WritePolicy::Through {
            unusual.push("write-through".to_owned());
        }
        if !rules.write_allocate {
            unusual.push("no write-allocate".to_owned());
        }
        match rules.inclusion {
            Inclusion::NonInclusive => {}
            Inclusion::Inclusive => unusual.push("inclusive".to_owned()),
            Inclusion::Exclusive => unusual.push("exclusive".to_owned()),
        }
        match rules.prefetch {
            Prefetcher::None => {}
            Prefetcher::NextLine => unusual.push("next-line prefetch".to_owned()),
            Prefetcher::Stride => unusual.push("stride prefetch".to_owned()),
        }
        unusual.extend(rules.partition.iter().map(|(who, ways)| format!("{who} in ways {ways}")));
        for part in unusual {
            write!(f, ", {part}")?;
        }
        Ok(())
    }
}
