//! The rules file that says which category a bit of time is of.

use crate::error::Error;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use strata_exits::{PortAccess, PortDirection, Scenario, VcpuState};
use strata_sim::{Function, Trigger};
use strata_symbols::fits_pattern;

/// Version of the layout.
const SCHEMA: u32 = 1;

/// Categories of time, two levels deep, as a file names them.
#[derive(Clone, Debug)]
pub struct Categories {
    /// The file as the user named it.
    pub(crate) path: PathBuf,
    /// What is put into categories, for titles.
    pub(crate) title: Option<String>,
    kind: CategoriesOf,
    /// What counts at all; empty for everything.
    total: Vec<Match>,
    pub(crate) categories: Vec<Category>,
}

/// What bits of time are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CategoriesOf {
    /// Time of vCPUs in an event trace.
    Exits,
    /// Instructions of functions in a capture.
    Code,
}

/// A category.
#[derive(Clone, Debug)]
pub(crate) struct Category {
    pub(crate) name: String,
    /// Whether its author says that it is not measured directly.
    pub(crate) derived: bool,
    /// Whether its time over its count means anything.
    pub(crate) average: bool,
    matches: Vec<Match>,
    pub(crate) parts: Vec<Category>,
}

/// A place in the categories: of the first level, and within it; behind the last for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) category: usize,
    pub(crate) part: usize,
}

/// What is asked of a bit of time: all that is given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct MatchRule {
    vcpus: Vec<String>,
    states: Vec<VcpuState>,
    reasons: Vec<String>,
    ports: Vec<u16>,
    direction: Option<PortDirection>,
    addresses: Vec<(u64, u64)>,
    scenarios: Vec<Scenario>,
    layers: Vec<String>,
    modules: Vec<String>,
    functions: Vec<String>,
}

/// The same, understood.
#[derive(Clone, Debug, Default)]
struct Match {
    rule: MatchRule,
    layers: Vec<Trigger>,
    modules: Vec<Trigger>,
    functions: Vec<Trigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    schema: u32,
    title: Option<String>,
    of: CategoriesOf,
    #[serde(default)]
    total: Vec<MatchRule>,
    #[serde(rename = "category")]
    categories: Vec<CategoryRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CategoryRule {
    name: String,
    #[serde(default)]
    derived: bool,
    #[serde(default = "yes")]
    average: bool,
    #[serde(rename = "match")]
    matches: Vec<MatchRule>,
    #[serde(default, rename = "part")]
    parts: Vec<CategoryRule>,
}

fn yes() -> bool {
    true
}

/// A bit of the time of vCPUs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeBit<'b> {
    pub(crate) vcpu: &'b str,
    pub(crate) state: VcpuState,
    pub(crate) reason: Option<&'b str>,
    pub(crate) port: Option<PortAccess>,
    pub(crate) address: Option<u64>,
    pub(crate) scenario: Option<Scenario>,
}

impl Categories {
    /// Reads a file's text; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Categories`] says what is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let wrong = |why: String| Error::Categories { path: path.to_owned(), why };
        let file: File =
            toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        if file.schema != SCHEMA {
            let found = file.schema;
            return Err(wrong(format!("schema: is {found}, this program reads {SCHEMA}")));
        }
        let understood = || -> Result<Self, String> {
            Ok(Categories {
                path: path.to_owned(),
                title: file.title,
                kind: file.of,
                total: matches(file.total, file.of, "total")?,
                categories: categories(file.categories, file.of, 0)?,
            })
        };
        understood().map_err(wrong)
    }

    /// What bits of time must be.
    pub fn of(&self) -> CategoriesOf {
        self.kind
    }

    /// Whether a rule asks for addresses.
    pub fn asks_for_addresses(&self) -> bool {
        let parts = self.categories.iter().flat_map(|category| &category.parts);
        let all = self.categories.iter().chain(parts).flat_map(|category| &category.matches);
        all.chain(&self.total).any(|rule| !rule.rule.addresses.is_empty())
    }

    /// The category that a bit is of; `None` if it does not count.
    pub(crate) fn place(&self, takes: impl Fn(&MatchTakes<'_>) -> bool) -> Option<Place> {
        let any = |all: &[Match]| all.iter().any(|one| takes(&MatchTakes(one)));
        if !self.total.is_empty() && !any(&self.total) {
            return None;
        }
        let first = |all: &[Category]| {
            all.iter().position(|category| any(&category.matches)).unwrap_or(all.len())
        };
        let category = first(&self.categories);
        let parts = self.categories.get(category).map_or(&[][..], |category| &category.parts);
        Some(Place { category, part: first(parts) })
    }
}

/// Asks of a rule whether it takes a bit.
pub(crate) struct MatchTakes<'m>(&'m Match);

impl MatchTakes<'_> {
    /// A bit of the time of vCPUs.
    pub(crate) fn time(&self, bit: &TimeBit<'_>) -> bool {
        let rule = &self.0.rule;
        let fits = |patterns: &[String], text: Option<&str>| {
            let is = |text| patterns.iter().any(|pattern| fits_pattern(pattern, text));
            patterns.is_empty() || text.is_some_and(is)
        };
        let in_range =
            |address| rule.addresses.iter().any(|(begin, end)| (*begin..*end).contains(&address));
        fits(&rule.vcpus, Some(bit.vcpu))
            && fits(&rule.reasons, bit.reason)
            && (rule.states.is_empty() || rule.states.contains(&bit.state))
            && (rule.ports.is_empty()
                || bit.port.is_some_and(|access| rule.ports.contains(&access.port)))
            && rule.direction.is_none_or(|direction| direction.is(bit.port))
            && (rule.addresses.is_empty() || bit.address.is_some_and(in_range))
            && (rule.scenarios.is_empty()
                || bit.scenario.is_some_and(|found| rule.scenarios.contains(&found)))
    }

    /// Instructions of a function.
    pub(crate) fn code(&self, function: &Function) -> bool {
        let any = |triggers: &[Trigger], function: &Function| {
            triggers.is_empty() || triggers.iter().any(|trigger| trigger.matches(function))
        };
        // A module is looked for as a function of its name would be.
        let module = || {
            let mut module = function.clone();
            if let Some(name) = &mut module.name {
                name.function.clone_from(&name.module);
            }
            module
        };
        any(&self.0.layers, function)
            && any(&self.0.functions, function)
            && (self.0.modules.is_empty() || any(&self.0.modules, &module()))
    }
}

fn categories(
    rules: Vec<CategoryRule>,
    of: CategoriesOf,
    level: usize,
) -> Result<Vec<Category>, String> {
    if rules.is_empty() && level == 0 {
        return Err("category: there are none".to_owned());
    }
    let mut all: Vec<Category> = Vec::new();
    for rule in rules {
        let name = rule.name;
        if name.is_empty() || all.iter().any(|category| category.name == name) {
            return Err(format!("category {name:?}: names must differ and not be empty"));
        }
        if rule.matches.is_empty() {
            return Err(format!(
                "category {name}: match: there are none; [{{}}] takes whatever is left"
            ));
        }
        if level > 0 && !rule.parts.is_empty() {
            return Err(format!("part {name}: parts have no parts of their own"));
        }
        let matches = matches(rule.matches, of, &name)?;
        let parts = categories(rule.parts, of, level + 1)?;
        let (derived, average) = (rule.derived, rule.average);
        all.push(Category { name, derived, average, matches, parts });
    }
    Ok(all)
}

fn matches(rules: Vec<MatchRule>, of: CategoriesOf, name: &str) -> Result<Vec<Match>, String> {
    rules.into_iter().map(|rule| rule.understood(of, name)).collect()
}

impl MatchRule {
    fn understood(self, of: CategoriesOf, name: &str) -> Result<Match, String> {
        let of_time = [
            ("vcpus", self.vcpus.is_empty()),
            ("states", self.states.is_empty()),
            ("reasons", self.reasons.is_empty()),
            ("ports", self.ports.is_empty()),
            ("direction", self.direction.is_none()),
            ("addresses", self.addresses.is_empty()),
            ("scenarios", self.scenarios.is_empty()),
        ];
        let of_code = [
            ("layers", self.layers.is_empty()),
            ("modules", self.modules.is_empty()),
            ("functions", self.functions.is_empty()),
        ];
        let (foreign, kind) = match of {
            CategoriesOf::Exits => (&of_code[..], "exits"),
            CategoriesOf::Code => (&of_time[..], "code"),
        };
        if let Some((key, _)) = foreign.iter().find(|(_, is_empty)| !is_empty) {
            return Err(format!("{name}: match: {key} does not go with of = \"{kind}\""));
        }
        if let Some((begin, end)) = self.addresses.iter().find(|(begin, end)| begin >= end) {
            return Err(format!(
                "{name}: match: addresses: {begin:#x} is not below {end:#x}; a range is [begin, end)"
            ));
        }
        let triggers = |texts: &[String], form: fn(&str) -> String| {
            let parsed = texts.iter().map(|text| form(text).parse::<Trigger>());
            parsed.collect::<Result<Vec<_>, _>>().map_err(|error| format!("{name}: match: {error}"))
        };
        Ok(Match {
            layers: triggers(&self.layers, |layer| format!("{layer}:*"))?,
            modules: triggers(&self.modules, str::to_owned)?,
            functions: triggers(&self.functions, str::to_owned)?,
            rule: self,
        })
    }
}
