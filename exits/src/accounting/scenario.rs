//! The scenarios of DORSAL's talk: which way an exit takes.

use super::interval::Interval;
use serde::Deserialize;

/// Which way an exit takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The hypervisor handles it alone.
    Host,
    /// An interrupt of the host caused it, or came within.
    Interrupt,
    /// The guest's process handles it in user space (QEMU, or another VMM).
    UserSpace,
}

impl Scenario {
    /// The scenario of an exit: user space before interrupt before the rest. An exit may be both;
    /// that is counted apart.
    pub fn of(interval: &Interval) -> Scenario {
        if interval.userspace {
            Scenario::UserSpace
        } else if interval.interrupted {
            Scenario::Interrupt
        } else {
            Scenario::Host
        }
    }

    /// As the talk calls it.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Host => "VM -> Host -> VM",
            Scenario::Interrupt => "VM -> Interrupt -> Host -> VM",
            Scenario::UserSpace => "VM -> QEMU -> Host -> VM",
        }
    }
}
