//! The scenarios: which machine is booted, and which way the data of the measured transfer goes.

use std::fmt;
use std::str::FromStr;

/// What is captured: most scenarios are a path through the virtualized network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scenario {
    /// Guest → netback → bridge → e1000 → a server on the host.
    NetTx,
    /// The same connection with the data going into the guest.
    NetRx,
    /// Guest → netback → bridge → a server in dom0; nothing outside takes part.
    NetLocal,
    /// The same as `NetLocal` with a guest that the processor's SVM runs (PVH), and with xentrace.
    XenPvhSvm,
    /// A guest without an operating system under Linux' KVM, and with perf.
    KvmAmd,
}

/// What is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    /// Xen, a dom0 and a guest.
    Xen,
    /// Linux, with KVM in it.
    Kvm,
}

/// What the recorder does to the guest of a scenario, so that it runs in the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    /// The recorder's argument.
    pub(super) argument: &'static str,
    /// For the manifest.
    pub(super) description: &'static str,
}

/// QEMU 10 reports reads of CR2 and CR3 as reads of CR0 (exit code 0), which Xen intercepts of
/// guests with nested paging; a page fault of the guest would then read a wrong address.
const CR0_READS: Patch = Patch {
    argument: "cr0-reads=direct",
    description: "the intercept of CR0 reads is cleared in the VMCB before each VMRUN, as QEMU \
                  reports reads of CR2 and CR3 as such",
};

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
    pub const ALL: [Scenario; 5] = [
        Scenario::NetTx,
        Scenario::NetRx,
        Scenario::NetLocal,
        Scenario::XenPvhSvm,
        Scenario::KvmAmd,
    ];

    /// The name on the command line and in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::NetTx => "xen-net-tx",
            Scenario::NetRx => "xen-net-rx",
            Scenario::NetLocal => "xen-net-local",
            Scenario::XenPvhSvm => "xen-pvh-svm",
            Scenario::KvmAmd => "kvm-amd",
        }
    }

    /// What is booted.
    pub(super) fn platform(self) -> Platform {
        if self == Scenario::KvmAmd { Platform::Kvm } else { Platform::Xen }
    }

    /// Whether the guest runs by the processor's virtualization extensions; the machine then
    /// traces its exits as well.
    pub(super) fn has_exits(self) -> bool {
        matches!(self, Scenario::XenPvhSvm | Scenario::KvmAmd)
    }

    /// The emulated processor.
    pub(super) fn cpu_model(self) -> &'static str {
        match self {
            // On models of another maker Xen leaves CR4.PGE off for paravirtual guests, so that
            // the global bit would have no effect.
            Scenario::NetTx | Scenario::NetRx | Scenario::NetLocal => "core2duo,-vmx",
            // Without random numbers, which would differ from capture to capture, and without
            // what the emulator does not do for a nested guest.
            Scenario::XenPvhSvm => "EPYC,+svm,+npt,-monitor,-rdtscp,-rdrand,-rdseed",
            Scenario::KvmAmd => "EPYC,+svm,+npt,-monitor,-rdrand,-rdseed",
        }
    }

    /// What the recorder changes in the guest.
    pub(super) fn patch(self) -> Option<Patch> {
        (self == Scenario::XenPvhSvm).then_some(CR0_READS)
    }

    /// Whether two captures with the same versions are equal to the byte: nothing outside the
    /// emulator takes part in the recording.
    pub fn is_deterministic(self) -> bool {
        !self.uses_host()
    }

    /// Whether a server on the host is at the other end.
    pub(super) fn uses_host(self) -> bool {
        matches!(self, Scenario::NetTx | Scenario::NetRx)
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
        let error = "xen-disk".parse::<Scenario>().expect_err("there is no such scenario");
        assert!(error.contains("xen-net-local") && error.contains("kvm-amd"), "{error}");
    }

    #[test]
    fn only_the_receiving_scenario_turns_the_data_round() {
        assert!(Scenario::NetRx.iperf_command(5201, "-n 4M").ends_with(" -R"));
        assert!(Scenario::NetTx.iperf_command(7, "-n 4M").contains("-c 10.0.2.2 -p 7 -n 4M"));
        assert!(Scenario::NetLocal.iperf_command(7, "-t 1").contains("-c 10.0.2.15"));
    }
}
