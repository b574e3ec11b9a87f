//! The file that names probes and phases.

use super::watch::{EventName, Wanted, Watch, Watched};
use crate::accounting::Interval;
use crate::error::Error;
use crate::event::{Isa, PortDirection};
use crate::names;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use strata_symbols::{did_you_mean, near_names};

/// Version of the layout.
const SCHEMA: u32 = 1;

/// Most probes that a file may have.
const MOST_PROBES: usize = 64;

/// Probes and phases, checked: each time between two probes that follow each other is of one phase
/// at most.
#[derive(Clone, Debug)]
pub struct Phases {
    /// What is broken down, for titles.
    pub title: Option<String>,
    pub(super) taken: Taken,
    pub(super) probes: Vec<Probe>,
    pub(super) names: Vec<String>,
    /// For each time between two probes its phase; what is of none is the rest.
    pub(super) owners: Vec<Option<usize>>,
    watch: Watch,
}

/// A probe as the engine sees it.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) name: String,
    pub(super) sight: Sight,
    pub(super) when: When,
    pub(super) on: On,
    /// Whether a later occurrence takes the place of the first.
    pub(super) last: bool,
}

/// How a probe is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Every trace tells it.
    At(At),
    /// By a record that the reader looks for.
    Record,
}

/// What every trace tells of an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum At {
    /// The guest is left.
    Exit,
    /// It goes on.
    Entry,
    /// The host's scheduler takes the CPU from the vCPU.
    SwitchedOut,
    /// It gives one to it.
    SwitchedIn,
}

/// Where a probe is, seen from the exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum When {
    /// In the guest, before the exit.
    BeforeExit,
    /// From the exit to the entry.
    #[default]
    InExit,
    /// In the guest, behind the entry.
    AfterEntry,
}

/// Whose records a probe may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum On {
    /// Of the vCPU that exited, or its thread.
    #[default]
    Vcpu,
    /// Of whatever runs on the CPU of the exit.
    Cpu,
    /// Of any CPU.
    Any,
}

/// Which exits are broken down.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// Empty for all.
    reasons: Vec<(Isa, u32)>,
    /// Empty for all.
    ports: Vec<u16>,
    direction: Option<PortDirection>,
}

impl Taken {
    /// The numberings under which an exit is taken: none if it is not, several only if the trace
    /// does not tell its own.
    pub(super) fn takes(&self, interval: &Interval) -> impl Iterator<Item = Isa> {
        let port = interval.port;
        let by_port =
            self.ports.is_empty() || port.is_some_and(|access| self.ports.contains(&access.port));
        let by_direction = self.direction.is_none_or(|direction| direction.is(port));
        let (isa, reason) = (interval.isa, interval.reason);
        let under =
            move |of: &(Isa, u32)| Some(of.1) == reason && (isa == Isa::Unsaid || isa == of.0);
        let any = self.reasons.is_empty().then_some(Isa::Unsaid);
        let all = any.into_iter().chain(self.reasons.iter().copied().filter(under).map(|of| of.0));
        all.filter(move |_| by_port && by_direction)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    schema: u32,
    title: Option<String>,
    #[serde(default)]
    exits: TakenRule,
    #[serde(rename = "probe")]
    probes: Vec<ProbeRule>,
    #[serde(rename = "phase")]
    phases: Vec<PhaseRule>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TakenRule {
    #[serde(default)]
    reasons: Vec<String>,
    #[serde(default)]
    ports: Vec<u16>,
    direction: Option<PortDirection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ProbeRule {
    name: String,
    at: Option<At>,
    event: Option<EventName>,
    #[serde(default, rename = "where")]
    conditions: BTreeMap<String, Wanted>,
    #[serde(default)]
    when: When,
    #[serde(default)]
    on: On,
    #[serde(default)]
    last: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PhaseRule {
    name: String,
    parts: Vec<(String, String)>,
}

impl Phases {
    /// Reads a file's text; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Rules`] says what is wrong: TOML, a name, or phases that overlap.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let wrong = |why: String| Error::Rules { path: path.to_owned(), why };
        let file: File =
            toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        Phases::check(file, path.to_owned()).map_err(wrong)
    }

    /// What a reader must look for.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    fn check(file: File, place: PathBuf) -> Result<Self, String> {
        if file.schema != SCHEMA {
            return Err(format!("schema: is {}, this program reads {SCHEMA}", file.schema));
        }
        if !(2..=MOST_PROBES).contains(&file.probes.len()) {
            let there = file.probes.len();
            return Err(format!("probe: there are {there}, there must be 2 to {MOST_PROBES}"));
        }
        let mut watch = Watch { place, records: Vec::new() };
        let mut probes: Vec<Probe> = Vec::new();
        for rule in file.probes {
            let before = probes.last().map_or(When::BeforeExit, |probe| probe.when);
            if rule.when < before {
                return Err(format!(
                    "probe {}: when: probes stand in the order in which an exit passes them: \
                     before-exit, in-exit, after-entry",
                    rule.name
                ));
            }
            if rule.name.is_empty() || probes.iter().any(|probe| probe.name == rule.name) {
                return Err(format!("probe {:?}: names must differ and not be empty", rule.name));
            }
            probes.push(rule.probe(probes.len() as u16, &mut watch)?);
        }
        if probes.iter().all(|probe| probe.when != When::InExit) {
            return Err("probe: at least one must be in-exit".to_owned());
        }
        let owners = owners(&file.phases, &probes)?;
        let names = file.phases.into_iter().map(|phase| phase.name).collect();
        Ok(Phases { title: file.title, taken: file.exits.taken()?, probes, names, owners, watch })
    }
}

impl TakenRule {
    fn taken(self) -> Result<Taken, String> {
        let mut reasons = Vec::new();
        for name in &self.reasons {
            let found = names::reasons_called(name);
            if found.is_empty() {
                let near = near_names(&name.to_uppercase(), names::reason_names());
                let near = did_you_mean(&near).unwrap_or_else(|| {
                    "names are those that `strata exits --by reason` shows".to_owned()
                });
                return Err(format!("exits.reasons: \"{name}\" is no exit reason; {near}"));
            }
            reasons
                .extend(found.into_iter().filter(|of| !reasons.contains(of)).collect::<Vec<_>>());
        }
        Ok(Taken { reasons, ports: self.ports, direction: self.direction })
    }
}

impl ProbeRule {
    fn probe(self, number: u16, watch: &mut Watch) -> Result<Probe, String> {
        let ProbeRule { name, at, event, conditions, when, on, last } = self;
        let sight = match (at, event) {
            (Some(at), None) => {
                if when != When::InExit || on != On::Vcpu || !conditions.is_empty() {
                    return Err(format!(
                        "probe {name}: `at` names what happens to the vCPU in the exit; when, on \
                         and where go with `event`"
                    ));
                }
                Sight::At(at)
            }
            (None, Some(event)) => {
                if on == On::Cpu && when != When::InExit {
                    return Err(format!(
                        "probe {name}: on = \"cpu\" is the CPU of an exit and goes with in-exit; \
                         take \"vcpu\" or \"any\""
                    ));
                }
                let conditions = conditions.into_iter().collect();
                watch.records.push(Watched { number, probe: name.clone(), event, conditions });
                Sight::Record
            }
            _ => {
                return Err(format!(
                    "probe {name}: it must have either `at` (exit, entry, switched-out, \
                     switched-in) or `event`"
                ));
            }
        };
        Ok(Probe { name, sight, when, on, last })
    }
}

/// For each time between two probes that follow each other its phase.
fn owners(phases: &[PhaseRule], probes: &[Probe]) -> Result<Vec<Option<usize>>, String> {
    let mut owners: Vec<Option<usize>> = vec![None; probes.len() - 1];
    let place = |phase: &PhaseRule, name: &str| {
        probes.iter().position(|probe| probe.name == name).ok_or_else(|| {
            let all: Vec<&str> = probes.iter().map(|probe| probe.name.as_str()).collect();
            format!("phase {}: there is no probe {name}; there are {}", phase.name, all.join(", "))
        })
    };
    for (number, phase) in phases.iter().enumerate() {
        let name = &phase.name;
        if name.is_empty() || phases[..number].iter().any(|before| before.name == *name) {
            return Err(format!("phase {name:?}: names must differ and not be empty"));
        }
        if phase.parts.is_empty() {
            return Err(format!("phase {name}: parts: there are none"));
        }
        for (from, to) in &phase.parts {
            let (begin, end) = (place(phase, from)?, place(phase, to)?);
            if begin >= end {
                return Err(format!(
                    "phase {name}: probe {from} does not come before {to} in the list of probes"
                ));
            }
            for (at, owner) in owners.iter_mut().enumerate().take(end).skip(begin) {
                if let Some(other) = owner.replace(number) {
                    let (from, to) = (&probes[at].name, &probes[at + 1].name);
                    return Err(format!(
                        "phases {} and {name} both have the time from probe {from} to {to}; each \
                         time is of one phase",
                        phases[other].name
                    ));
                }
            }
        }
    }
    Ok(owners)
}
