//! The text form of a machine, and the check that one can be built.

use serde::{Deserialize, Serialize};

use super::cache_spec::{CacheFile, CacheSpec, Inclusion, Sharing, WritePolicy};
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

/// Sections that a machine may lack; an override may add one.
const OPTIONAL_SECTIONS: [&str; 9] = ["l1", "l1i", "l1d", "l2", "l2i", "l2d", "l3", "stlb", "cost"];
/// Keys of the sections above.
const CACHE_KEYS: [&str; 12] = [
    "size",
    "ways",
    "line-size",
    "replacement",
    "index",
    "tag",
    "write",
    "write-allocate",
    "inclusion",
    "prefetch",
    "shared",
    "partition",
];
const TLB_KEYS: [&str; 6] = ["entries", "ways", "replacement", "pages", "2m", "1g"];
const COST_KEYS: [&str; 7] = ["base-cpi", "l2", "l3", "memory", "stlb", "walk", "exit"];

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
            }
        }
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

impl MachineFile {
    /// Goes by way of the TOML table, so that every key of a file can be overridden.
    pub(super) fn with<'a>(
        &self,
        overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut root =
            toml::Table::try_from(self).expect("a machine consists of tables and scalars");
        let overrides: Vec<_> = overrides.into_iter().collect();
        let start = root.clone();
        for (key, value) in &overrides {
            insert(&mut root, key, value)?;
        }
        root.try_into().map_err(|error: toml::de::Error| {
            // Whichever override first makes it fail is to blame.
            let mut partly = start;
            for (key, value) in overrides {
                if insert(&mut partly, key, value).is_ok()
                    && let Err(error) = partly.clone().try_into::<Self>()
                {
                    return Error::BadValue {
                        key: key.to_owned(),
                        value: value.to_owned(),
                        reason: error.message().to_owned(),
                    };
                }
            }
            Error::Parse(error.to_string())
        })
    }
}

/// Puts a value at its dotted key, which must be one that machines have.
fn insert(root: &mut toml::Table, key: &str, value: &str) -> Result<(), Error> {
    let parts: Vec<&str> = key.split('.').collect();
    let (last, path) = parts.split_last().expect("split gives at least one part");
    let mut table = root;
    for (depth, part) in path.iter().enumerate() {
        let unknown = unknown_key(key, &parts[..depth], table);
        let may_be_added = if depth == 0 {
            OPTIONAL_SECTIONS.contains(part)
        } else {
            matches!(*part, "2m" | "1g" | "partition")
        };
        if !table.contains_key(*part) && may_be_added {
            table.insert((*part).to_owned(), toml::Value::Table(toml::Table::new()));
        }
        table = match table.get_mut(*part) {
            Some(toml::Value::Table(inside)) => inside,
            _ => return Err(unknown),
        };
    }
    let known = match (path.first(), table.get(*last)) {
        (_, Some(toml::Value::Table(inside))) => {
            return Err(unknown_key(key, &parts, inside));
        }
        (_, Some(_)) => true,
        (None, None) => false,
        (Some(_), None) if path.last() == Some(&"partition") => true,
        (Some(section), None) => keys_of(section).contains(last),
    };
    if !known {
        return Err(unknown_key(key, path, table));
    }
    table.insert((*last).to_owned(), scalar(value));
    Ok(())
}

/// Keys that a section can have besides those it has.
fn keys_of(section: &str) -> &'static [&'static str] {
    match section {
        "itlb" | "dtlb" | "stlb" => &TLB_KEYS,
        "cost" => &COST_KEYS,
        _ if OPTIONAL_SECTIONS.contains(&section) => &CACHE_KEYS,
        _ => &[],
    }
}

fn unknown_key(key: &str, path: &[&str], table: &toml::Table) -> Error {
    let mut names: Vec<String> = table.keys().cloned().collect();
    let more = match path {
        [] => &OPTIONAL_SECTIONS[..],
        [section, ..] => keys_of(section),
    };
    names.extend(more.iter().map(|name| (*name).to_owned()));
    names.sort();
    names.dedup();
    let prefix = if path.is_empty() { String::new() } else { format!("{}.", path.join(".")) };
    let known: Vec<_> = names.iter().map(|name| format!("{prefix}{name}")).collect();
    Error::UnknownKey { key: key.to_owned(), known: known.join(", ") }
}

/// An override comes without TOML's quotes: what reads as a number, a switch or a list is one.
fn scalar(text: &str) -> toml::Value {
    if let Ok(number) = text.parse() {
        return toml::Value::Integer(number);
    }
    let as_toml = || {
        let looks_like_toml = matches!(text, "true" | "false")
            || text.starts_with('[')
            || text.parse::<f64>().is_ok();
        let table = looks_like_toml.then(|| format!("value = {text}").parse::<toml::Table>().ok());
        table.flatten()?.remove("value")
    };
    as_toml().unwrap_or_else(|| toml::Value::String(text.to_owned()))
}
