//! What `kvm-amd` boots: Linux, whose KVM then runs a guest.

use super::archive::Archive;
use super::boot::{Plan, Stage, join, settings};
use super::request::Request;
use super::scenario::{COLLECTOR_ADDRESS, DOM0_ADDRESS};

const STAGES: &[Stage] = &[
    Stage { what: "booting Linux", until: "linux up" },
    Stage { what: "warming up", until: "linux recording" },
];

/// What runs between the markers: 150 rounds of six or seven exits on each of two vCPUs.
const COMMAND: &str = "strata-guest 150";

/// The kernel's command line; `more` is added.
pub(super) fn linux_options(more: &str) -> String {
    let usual = "console=ttyS0 nokaslr norandmaps pti=off mitigations=off net.ifnames=0 quiet \
                 tsc=reliable panic=1 oops=panic";
    join(&[usual, more])
}

/// What is booted.
pub(super) fn plan(request: &Request) -> Plan {
    let command = request.guest_command.clone().unwrap_or_else(|| COMMAND.to_owned());
    let mut settings_of_linux = Archive::default();
    settings_of_linux.file(
        "etc/strata/capture.conf",
        0o644,
        settings(&[
            ("ADDRESS", DOM0_ADDRESS),
            ("COLLECTOR", COLLECTOR_ADDRESS),
            ("COMMAND", &command),
        ]),
    );
    Plan {
        kernel: "vmlinux",
        options: linux_options(&request.linux_options),
        image: "linux.cpio",
        settings: settings_of_linux,
        before_image: String::new(),
        command,
        stages: STAGES,
        measures: "linux",
        sends: "linux",
    }
}
