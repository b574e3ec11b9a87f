//! Which machine is modelled.

use strata_cachemodel::{Machine, preset};

/// Which machine is modelled.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MachineArgs {
    #[arg(long, value_name = "NAME|FILE", default_value = "vee07", help = machine_help())]
    machine: String,
    /// Change one parameter of the machine, as in l2.size=4MiB; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

/// What `--machine` takes.
pub(crate) fn machine_help() -> String {
    let names: Vec<_> = preset::names().collect();
    format!("A machine file in TOML, or a preset: {}", names.join(", "))
}

impl MachineArgs {
    /// The machine.
    ///
    /// # Errors
    /// If there is none of that name, or it cannot exist.
    pub(crate) fn load(&self) -> anyhow::Result<Machine> {
        let machine = Machine::load(&self.machine)?;
        let pairs = self.set.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Ok(machine.with_overrides(pairs)?)
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| format!("`{text}` is not of the form KEY=VALUE, such as l2.size=4MiB"))
}
