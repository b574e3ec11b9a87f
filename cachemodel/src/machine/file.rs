//! The text form of a machine, and the check that one can be built.

use serde::{Deserialize, Serialize};

use super::cache_spec::{
    AddressKind, CacheFile, CacheSpec, Inclusion, Prefetcher, Sharing, WritePolicy,
};
use super::cost::CostModel;
use super::tag_scheme::{TagScheme, Vendor};
use super::tlb_spec::{TlbFile, TlbSpec};
use super::walk_spec::{MAX_WALK_CACHE, WalkMemory, WalkSpec};
use super::{EventDelivery, Level, Machine};
use crate::error::Error;
use crate::semantics::Semantics;

/// Well-typed but not yet checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct MachineFile {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    semantics: Semantics,
    #[serde(default)]
    event_delivery: EventDelivery,
    #[serde(default)]
    tags: TagScheme,
    #[serde(default)]
    vendor: Vendor,
    #[serde(default = "one")]
    cpus: u16,
    #[serde(default = "seed")]
    seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l1: Option<CacheFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l1i: Option<CacheFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l1d: Option<CacheFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l2: Option<CacheFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l2i: Option<CacheFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l2d: Option<CacheFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l3: Option<CacheFile>,
    itlb: TlbFile,
    dtlb: TlbFile,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stlb: Option<TlbFile>,
    #[serde(default)]
    walk: WalkSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cost: Option<CostModel>,
}

fn one() -> u16 {
    1
}

fn seed() -> u64 {
    1
}

fn refused(key: impl Into<String>, rule: impl Into<String>, got: impl ToString) -> Error {
    Error::Geometry { key: key.into(), rule: rule.into(), got: got.to_string() }
}

/// A level from its unified or its two split sections.
fn level(
    number: usize,
    unified: Option<CacheFile>,
    instruction: Option<CacheFile>,
    data: Option<CacheFile>,
) -> Result<Option<Level>, Error> {
    let name = format!("l{number}");
    match (unified, instruction, data) {
        (None, None, None) => Ok(None),
        (Some(cache), None, None) => Ok(Some(Level::Unified(CacheSpec::from_file(&name, cache)?))),
        (None, Some(instruction), Some(data)) => Ok(Some(Level::Split {
            instruction: CacheSpec::from_file(&format!("{name}i"), instruction)?,
            data: CacheSpec::from_file(&format!("{name}d"), data)?,
        })),
        (Some(_), _, _) => Err(refused(
            &name,
            format!("either one section [{name}] or both [{name}i] and [{name}d]"),
            "all of them",
        )),
        _ => {
            Err(refused(&name, format!("both [{name}i] and [{name}d], or [{name}]"), "one of two"))
        }
    }
}

impl TryFrom<MachineFile> for Machine {
    type Error = Error;

    fn try_from(file: MachineFile) -> Result<Self, Error> {
        let first = level(1, file.l1, file.l1i, file.l1d)?
            .ok_or_else(|| refused("l1", "sections [l1i] and [l1d], or [l1]", "none"))?;
        let second = level(2, file.l2, file.l2i, file.l2d)?;
        let third = level(3, file.l3, None, None)?;
        if third.is_some() && second.is_none() {
            return Err(refused("l3", "behind a second level [l2]", "no [l2]"));
        }
        let machine = Self {
            levels: std::iter::once(first).chain(second).chain(third).collect(),
            itlb: TlbSpec::from_file("itlb", file.itlb)?,
            dtlb: TlbSpec::from_file("dtlb", file.dtlb)?,
            stlb: file.stlb.map(|stlb| TlbSpec::from_file("stlb", stlb)).transpose()?,
            name: file.name,
            description: file.description,
            semantics: file.semantics,
            event_delivery: file.event_delivery,
            tags: file.tags,
            vendor: file.vendor,
            cpus: file.cpus,
            seed: file.seed,
            walk: file.walk,
            cost: file.cost,
        };
        machine.check()?;
        Ok(machine)
    }
}

impl Machine {
    fn check(&self) -> Result<(), Error> {
        if self.cpus == 0 || self.cpus > Self::MAX_CPUS {
            return Err(refused("cpus", format!("from 1 to {}", Self::MAX_CPUS), self.cpus));
        }
        if i64::try_from(self.seed).is_err() {
            return Err(refused("seed", format!("at most {}", i64::MAX), self.seed));
        }
        for (above, pair) in self.levels.windows(2).enumerate() {
            check_neighbours(above + 1, &pair[0], &pair[1])?;
        }
        for (name, cache) in self.levels[0].caches(1) {
            if cache.inclusion() != Inclusion::NonInclusive {
                let rule = "left out: nothing is above the first level";
                return Err(refused(format!("{name}.inclusion"), rule, "a value"));
            }
        }
        for (index, level) in self.levels.iter().enumerate() {
            for (name, cache) in level.caches(index + 1) {
                self.check_sharing(&name, cache.sharing())?;
                let virtual_address = [cache.index(), cache.tag()].contains(&AddressKind::Virtual);
                if virtual_address && self.cpus > 1 {
                    let rule = "physical where there are several CPUs, which find each other's \
                                copies by physical address";
                    let key = if cache.index() == AddressKind::Virtual { "index" } else { "tag" };
                    return Err(refused(format!("{name}.{key}"), rule, "virtual"));
                }
                let exclusive = cache.inclusion() == Inclusion::Exclusive;
                if exclusive && cache.prefetcher() != Prefetcher::None {
                    let rule = format!("\"none\", as {name} is exclusive");
                    return Err(refused(format!("{name}.prefetch"), rule, "a prefetcher"));
                }
                if exclusive && self.semantics == Semantics::Cachegrind {
                    let rule = "none that is exclusive, as cachegrind semantics know none";
                    return Err(refused(format!("{name}.inclusion"), rule, "exclusive"));
                }
            }
        }
        self.check_nesting()?;
        if self.walk.memory == WalkMemory::L2 && self.levels.len() < 2 {
            return Err(refused("walk.memory", "\"l1d\" or \"off\" without a second level", "l2"));
        }
        let walk = &self.walk;
        let caches = [
            ("pml5-cache", walk.pml5_cache),
            ("pml4-cache", walk.pml4_cache),
            ("pdpte-cache", walk.pdpte_cache),
            ("pde-cache", walk.pde_cache),
            ("nested-cache", walk.nested_cache),
        ];
        for (key, entries) in caches {
            if entries > MAX_WALK_CACHE {
                let rule = format!("at most {MAX_WALK_CACHE} entries");
                return Err(refused(format!("walk.{key}"), rule, entries));
            }
        }
        for (key, cycles) in self.cost.iter().flat_map(CostModel::values) {
            if !(0.0..=1e9).contains(&cycles) {
                return Err(refused(format!("cost.{key}"), "from 0 to 1e9 cycles", cycles));
            }
        }
        Ok(())
    }

    /// Caches of a level serve whole caches of the level above.
    fn check_nesting(&self) -> Result<(), Error> {
        for (index, pair) in self.levels.windows(2).enumerate().skip(1) {
            for (name, lower) in pair[1].caches(index + 2) {
                for (_, upper) in pair[0].caches(index + 1) {
                    let lower_groups = lower.sharing().groups(self.cpus);
                    let holds_all = |group: &Vec<u16>| {
                        lower_groups.iter().any(|whole| group.iter().all(|cpu| whole.contains(cpu)))
                    };
                    if !upper.sharing().groups(self.cpus).iter().all(holds_all) {
                        let rule = "groups that consist of whole groups of the level above";
                        let got = format!("{lower_groups:?}");
                        return Err(refused(format!("{name}.shared"), rule, got));
                    }
                }
            }
        }
        Ok(())
    }

    fn check_sharing(&self, name: &str, sharing: &Sharing) -> Result<(), Error> {
        let Sharing::Groups(groups) = sharing else { return Ok(()) };
        let mut named: Vec<u16> = groups.iter().flatten().copied().collect();
        named.sort_unstable();
        if named == (0..self.cpus).collect::<Vec<_>>() {
            return Ok(());
        }
        let rule = format!("groups that name each CPU from 0 to {} once", self.cpus - 1);
        Err(refused(format!("{name}.shared"), rule, format!("{groups:?}")))
    }
}

/// What must hold between a level and the one below it.
fn check_neighbours(number: usize, above: &Level, below: &Level) -> Result<(), Error> {
    if above.is_unified() && !below.is_unified() {
        let key = format!("l{}", number + 1);
        return Err(refused(key, "unified below a unified level", "split"));
    }
    for (name, lower) in below.caches(number + 1) {
        let served: Vec<_> = above
            .caches(number)
            .filter(|(upper, _)| below.is_unified() || upper.ends_with(&name[name.len() - 1..]))
            .collect();
        for (upper_name, upper) in served {
            if lower.line_bytes() < upper.line_bytes() {
                let rule =
                    format!("at least {upper_name}.line-size = {} bytes", upper.line_bytes());
                return Err(refused(format!("{name}.line-size"), rule, lower.line_bytes()));
            }
            if lower.inclusion() != Inclusion::Exclusive {
                continue;
            }
            if lower.line_bytes() != upper.line_bytes() {
                let rule = format!(
                    "{upper_name}.line-size = {} bytes, as {name} is exclusive",
                    upper.line_bytes()
                );
                return Err(refused(format!("{name}.line-size"), rule, lower.line_bytes()));
            }
            if upper.write_policy() == WritePolicy::Through {
                let rule = format!("\"back\", as {name} is exclusive");
                return Err(refused(format!("{upper_name}.write"), rule, "through"));
            }
        }
    }
    Ok(())
}

impl From<Machine> for MachineFile {
    fn from(machine: Machine) -> Self {
        let section = |number: usize, name: &str| {
            let level = machine.levels.get(number - 1)?;
            let (_, cache) = level.caches(number).find(|(known, _)| known == name)?;
            Some(cache.to_file())
        };
        Self {
            l1: section(1, "l1"),
            l1i: section(1, "l1i"),
            l1d: section(1, "l1d"),
            l2: section(2, "l2"),
            l2i: section(2, "l2i"),
            l2d: section(2, "l2d"),
            l3: section(3, "l3"),
            itlb: machine.itlb.to_file(),
            dtlb: machine.dtlb.to_file(),
            stlb: machine.stlb.as_ref().map(TlbSpec::to_file),
            name: machine.name,
            description: machine.description,
            semantics: machine.semantics,
            event_delivery: machine.event_delivery,
            tags: machine.tags,
            vendor: machine.vendor,
            cpus: machine.cpus,
            seed: machine.seed,
            walk: machine.walk,
            cost: machine.cost,
        }
    }
}
