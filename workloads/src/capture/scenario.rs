//! The scenarios: which way the data of the measured transfer goes.

use std::fmt;
use std::str::FromStr;

/// A path through the virtualized network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scenario {
    /// Guest → netback → bridge → e1000 → a server on the host.
    NetTx,
    /// The same connection with the data going into the guest.
    NetRx,
    /// Guest → netback → bridge → a server in dom0; nothing outside takes part.
    NetLocal,
}

/// Address of dom0 on the emulated network.
pub(super) const DOM0_ADDRESS: &str = "10.0.2.15";
/// Address of the guest.
pub(super) const GUEST_ADDRESS: &str = "10.0.2.16";
/// The host's loopback, as QEMU's user network shows it.
pub(super) const HOST_ADDRESS: &str = "10.0.2.2";
/// An address that QEMU answers itself, writing into a file what it is sent.
pub(super) const COLLECTOR_ADDRESS: &str = "10.0.2.4";
/// iperf3's usual port, used by the server in dom0.
pub(super) const IPERF_PORT: u16 = 5201;

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 3] = [Scenario::NetTx, Scenario::NetRx, Scenario::NetLocal];

    /// The name on the command line and in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::NetTx => "xen-net-tx",
            Scenario::NetRx => "xen-net-rx",
            Scenario::NetLocal => "xen-net-local",
        }
    }

    /// Whether two captures with the same versions are equal to the byte: nothing outside the
    /// emulator takes part in the recording.
    pub fn is_deterministic(self) -> bool {
        !self.uses_host()
    }

    /// Whether a server on the host is at the other end.
    pub(super) fn uses_host(self) -> bool {
        self != Scenario::NetLocal
    }

    /// Where the guest's connection goes.
    pub(super) fn server_address(self) -> &'static str {
        if self.uses_host() { HOST_ADDRESS } else { DOM0_ADDRESS }
    }

    /// The transfer: `amount` is iperf3's, `-n 4M` or `-t 1`.
    pub(super) fn iperf_command(self, port: u16, amount: &str) -> String {
        let direction = if self == Scenario::NetRx { " -R" } else { "" };
        format!("iperf3 -c {} -p {port} {amount} -f m{direction}", self.server_address())
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Scenario, String> {
        Scenario::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
            format!("no scenario {name:?}; there are {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_scenario() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse(), Ok(scenario));
        }
        let error = "xen-disk".parse::<Scenario>().unwrap_err();
        assert!(error.contains("xen-net-local"), "{error}");
    }

    #[test]
    fn only_the_receiving_scenario_turns_the_data_round() {
        assert!(Scenario::NetRx.iperf_command(5201, "-n 4M").ends_with(" -R"));
        assert!(Scenario::NetTx.iperf_command(7, "-n 4M").contains("-c 10.0.2.2 -p 7 -n 4M"));
        assert!(Scenario::NetLocal.iperf_command(7, "-t 1").contains("-c 10.0.2.15"));
    }
}
