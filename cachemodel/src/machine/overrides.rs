//! Values of a machine changed one by one, by their dotted keys.

use super::file::MachineFile;
use crate::error::Error;

/// Keys outside sections, then the sections.
const ROOT: [&str; 20] = [
    "name",
    "description",
    "semantics",
    "event-delivery",
    "tags",
    "vendor",
    "cpus",
    "seed",
    "l1",
    "l1i",
    "l1d",
    "l2",
    "l2i",
    "l2d",
    "l3",
    "itlb",
    "dtlb",
    "stlb",
    "walk",
    "cost",
];
const CACHE: [&str; 12] = [
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
const TLB: [&str; 6] = ["entries", "ways", "replacement", "pages", "2m", "1g"];
const TLB_ARRAY: [&str; 3] = ["entries", "ways", "replacement"];
const WALK: [&str; 6] =
    ["memory", "pml5-cache", "pml4-cache", "pdpte-cache", "pde-cache", "nested-cache"];
const COST: [&str; 7] = ["base-cpi", "memory", "l2", "l3", "stlb", "walk", "exit"];

/// What a table of a machine file may hold.
enum Keys {
    /// These, of which the first so many have no default.
    Named(&'static [&'static str], usize),
    /// The layers and domains of a partition.
    Anyone,
}

impl Keys {
    /// `None` if machine files have no table at this path.
    fn at(path: &[&str]) -> Option<Self> {
        Some(match path {
            [] => Self::Named(&ROOT, 0),
            ["l1" | "l1i" | "l1d" | "l2" | "l2i" | "l2d" | "l3"] => Self::Named(&CACHE, 3),
            ["l1" | "l1i" | "l1d" | "l2" | "l2i" | "l2d" | "l3", "partition"] => Self::Anyone,
            ["itlb" | "dtlb" | "stlb"] => Self::Named(&TLB, 2),
            ["itlb" | "dtlb" | "stlb", "2m" | "1g"] => Self::Named(&TLB_ARRAY, 2),
            ["walk"] => Self::Named(&WALK, 0),
            ["cost"] => Self::Named(&COST, 2),
            _ => return None,
        })
    }

    fn has(&self, key: &str) -> bool {
        match self {
            Self::Named(keys, _) => keys.contains(&key),
            Self::Anyone => !key.is_empty(),
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
        for (key, value) in &overrides {
            insert(&mut root, key, value)?;
        }
        for (key, _) in &overrides {
            let parts: Vec<&str> = key.split('.').collect();
            (1..parts.len()).try_for_each(|depth| check_complete(&root, &parts[..depth]))?;
        }
        serde_path_to_error::deserialize(toml::Value::Table(root)).map_err(|error| {
            let path = error.path().to_string();
            let reason = error.inner().message().to_owned();
            let is_within = |key: &str| {
                path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
            };
            match overrides.iter().rfind(|(key, _)| is_within(key)) {
                Some((key, value)) => {
                    Error::BadValue { key: (*key).to_owned(), value: (*value).to_owned(), reason }
                }
                None => Error::Parse(format!("{path}: {reason}")),
            }
        })
    }
}

/// Puts a value at its dotted key, which must be one that machines have.
fn insert(root: &mut toml::Table, key: &str, value: &str) -> Result<(), Error> {
    let parts: Vec<&str> = key.split('.').collect();
    let (last, path) = parts.split_last().expect("split gives at least one part");
    let is_known = Keys::at(path).is_some_and(|keys| keys.has(last));
    if !is_known || Keys::at(&parts).is_some() {
        return Err(unknown_key(key, &parts));
    }
    let mut table = root;
    for part in path {
        let inside = table.entry(*part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = inside.as_table_mut().expect("what has keys is a table");
    }
    let is_text = matches!(parts[..], ["name" | "description"] | [_, "partition", _]);
    let value = if is_text { toml::Value::String(value.to_owned()) } else { scalar(key, value)? };
    table.insert((*last).to_owned(), value);
    Ok(())
}

/// Names the keys of the innermost table that the key could be in.
fn unknown_key(key: &str, parts: &[&str]) -> Error {
    let depth = (0..=parts.len())
        .rev()
        .find(|&depth| Keys::at(&parts[..depth]).is_some())
        .expect("the root is a table");
    let path = &parts[..depth];
    let prefix: String = path.iter().map(|part| format!("{part}.")).collect();
    let known = match Keys::at(path) {
        Some(Keys::Named(keys, _)) => {
            let mut keys: Vec<_> = keys.iter().map(|name| format!("{prefix}{name}")).collect();
            keys.sort();
            keys.join(", ")
        }
        _ => format!("{prefix} with a layer or domain, as in {prefix}dom0"),
    };
    Error::UnknownKey { key: key.to_owned(), known }
}

/// Whether the table at this path, which an override may have added, has all that has no default.
fn check_complete(root: &toml::Table, path: &[&str]) -> Result<(), Error> {
    let Some(Keys::Named(keys, required)) = Keys::at(path) else { return Ok(()) };
    let table = path.iter().try_fold(root, |table, part| table.get(*part)?.as_table());
    let missing: Vec<String> = keys[..required]
        .iter()
        .filter(|key| table.is_none_or(|table| !table.contains_key(**key)))
        .map(|key| format!("{}.{key}", path.join(".")))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Incomplete { section: path.join("."), missing: missing.join(", ") })
}

/// An override comes without TOML's quotes: what reads as a number, a switch or a list is one.
fn scalar(key: &str, text: &str) -> Result<toml::Value, Error> {
    if let Ok(number) = text.parse() {
        return Ok(toml::Value::Integer(number));
    }
    if text.parse::<u64>().is_ok() {
        return Err(Error::BadValue {
            key: key.to_owned(),
            value: text.to_owned(),
            reason: format!("numbers go up to {}", i64::MAX),
        });
    }
    let as_toml = || {
        let looks_like_toml = matches!(text, "true" | "false")
            || text.starts_with('[')
            || text.parse::<f64>().is_ok();
        let table = looks_like_toml.then(|| format!("value = {text}").parse::<toml::Table>().ok());
        table.flatten()?.remove("value")
    };
    Ok(as_toml().unwrap_or_else(|| toml::Value::String(text.to_owned())))
}
