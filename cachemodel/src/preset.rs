//! Machines that come with the crate, one TOML file each; the files state their sources.

use crate::error::Error;
use crate::machine::Machine;

/// Each in the file of its name.
macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../presets/", $name, ".toml")))),*]
    };
}

const PRESETS: [(&str, &str); 9] = presets![
    "vee07",
    "peer",
    "netburst",
    "k8",
    "core2",
    "nehalem",
    "skylake-sp",
    "icelake-sp",
    "zen4",
];

/// Names of the presets, the default first.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// Text of a preset with its comments, as a start for a machine of one's own.
#[must_use]
pub fn source(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The preset of this name.
///
/// # Errors
/// [`Error::UnknownMachine`], listing those there are.
pub fn named(name: &str) -> Result<Machine, Error> {
    find(name).ok_or_else(|| Error::UnknownMachine {
        name: name.to_owned(),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

pub(crate) fn find(name: &str) -> Option<Machine> {
    source(name).map(|text| Machine::from_toml(text).expect("presets are checked by a test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_machine_of_its_own_name() {
        for name in names() {
            let machine = Machine::from_toml(source(name).unwrap()).unwrap();
            assert_eq!(machine.name(), name);
        }
    }
}
