//! A machine: its caches, its TLBs, and the rules by which they are driven.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::geometry::{CacheGeometry, CacheSection, TlbGeometry, TlbSection};
use crate::preset;
use crate::semantics::Semantics;

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

/// What a TLB entry is tagged with, and so what a switch of address space drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TagScheme {
    /// The rules of the processor manual to the letter: the global bit and PCIDs.
    #[default]
    Architectural,
}

impl fmt::Display for TagScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Architectural => "architectural",
        })
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
    l1i: CacheGeometry,
    l1d: CacheGeometry,
    l2: CacheGeometry,
    itlb: TlbGeometry,
    dtlb: TlbGeometry,
}

/// The text form, well-typed but not yet checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MachineFile {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    semantics: Semantics,
    #[serde(default)]
    event_delivery: EventDelivery,
    #[serde(default)]
    tags: TagScheme,
    l1i: CacheSection,
    l1d: CacheSection,
    l2: CacheSection,
    itlb: TlbSection,
    dtlb: TlbSection,
}

impl TryFrom<MachineFile> for Machine {
    type Error = Error;

    fn try_from(file: MachineFile) -> Result<Self, Error> {
        let machine = Self {
            l1i: CacheGeometry::from_section("l1i", &file.l1i)?,
            l1d: CacheGeometry::from_section("l1d", &file.l1d)?,
            l2: CacheGeometry::from_section("l2", &file.l2)?,
            itlb: TlbGeometry::from_section("itlb", &file.itlb)?,
            dtlb: TlbGeometry::from_section("dtlb", &file.dtlb)?,
            name: file.name,
            description: file.description,
            semantics: file.semantics,
            event_delivery: file.event_delivery,
            tags: file.tags,
        };
        for (name, l1) in [("l1i", &machine.l1i), ("l1d", &machine.l1d)] {
            if machine.l2.line_bytes() < l1.line_bytes() {
                return Err(Error::Geometry {
                    key: "l2.line-size".to_owned(),
                    rule: format!("at least {name}.line-size = {} bytes", l1.line_bytes()),
                    got: machine.l2.line_bytes().to_string(),
                });
            }
        }
        Ok(machine)
    }
}

impl From<Machine> for MachineFile {
    fn from(machine: Machine) -> Self {
        Self {
            name: machine.name,
            description: machine.description,
            semantics: machine.semantics,
            event_delivery: machine.event_delivery,
            tags: machine.tags,
            l1i: machine.l1i.to_section(),
            l1d: machine.l1d.to_section(),
            l2: machine.l2.to_section(),
            itlb: machine.itlb.to_section(),
            dtlb: machine.dtlb.to_section(),
        }
    }
}

impl Machine {
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
        let mut file = MachineFile::from(self.clone());
        for (key, value) in overrides {
            file = file.with(key, value)?;
        }
        file.try_into()
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

    /// First-level instruction cache.
    #[must_use]
    pub fn l1i(&self) -> &CacheGeometry {
        &self.l1i
    }

    /// First-level data cache.
    #[must_use]
    pub fn l1d(&self) -> &CacheGeometry {
        &self.l1d
    }

    /// Second level, for instructions and data.
    #[must_use]
    pub fn l2(&self) -> &CacheGeometry {
        &self.l2
    }

    /// Instruction TLB.
    #[must_use]
    pub fn itlb(&self) -> &TlbGeometry {
        &self.itlb
    }

    /// Data TLB.
    #[must_use]
    pub fn dtlb(&self) -> &TlbGeometry {
        &self.dtlb
    }
}

impl MachineFile {
    /// Goes by way of the TOML table, so that every key of a file can be overridden and none needs
    /// to be listed here.
    fn with(&self, key: &str, value: &str) -> Result<Self, Error> {
        let mut root =
            toml::Table::try_from(self).expect("a machine consists of tables and scalars");
        let mut table = &mut root;
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            let known = || table.keys().cloned().collect::<Vec<_>>().join(", ");
            let unknown = |known| Error::UnknownKey { key: key.to_owned(), known };
            let is_last = parts.peek().is_none();
            match table.get(part) {
                Some(toml::Value::Table(inside)) if is_last => {
                    let keys: Vec<_> =
                        inside.keys().map(|inner| format!("{key}.{inner}")).collect();
                    return Err(unknown(keys.join(", ")));
                }
                Some(toml::Value::Table(_)) => {}
                Some(_) if is_last => {}
                _ => return Err(unknown(known())),
            }
            if is_last {
                table.insert(part.to_owned(), scalar(value));
                break;
            }
            table = table[part].as_table_mut().expect("matched as a table above");
        }
        root.try_into().map_err(|error: toml::de::Error| Error::BadValue {
            key: key.to_owned(),
            value: value.to_owned(),
            reason: error.message().to_owned(),
        })
    }
}

/// An override comes without TOML's quotes: what reads as a number is one.
fn scalar(text: &str) -> toml::Value {
    match text.parse() {
        Ok(number) => toml::Value::Integer(number),
        Err(_) => toml::Value::String(text.to_owned()),
    }
}
