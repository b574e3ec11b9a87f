//! What Xen's scenarios boot: the hypervisor, dom0, and the guest that dom0 starts.

use super::archive::Archive;
use super::boot::{Boot, Plan, Stage, join, settings};
use super::images::XenFacts;
use super::recipe;
use super::request::{BYTES, DOM0_MEMORY_MIB};
use super::scenario::{COLLECTOR_ADDRESS, DOM0_ADDRESS, GUEST_ADDRESS, HOST_ADDRESS};

const STAGES: &[Stage] = &[
    Stage { what: "booting Xen and dom0", until: "dom0 up" },
    Stage { what: "starting the guest", until: "dom1 up" },
    Stage { what: "warming up", until: "dom1 recording" },
];

/// The hypervisor's command line; `more` is added.
pub(super) fn xen_options(more: &str) -> String {
    // Serialised page-table isolation, PCID and speculation barriers off: the emulated processor
    // has none of what they guard against.
    let memory = format!("dom0_mem={DOM0_MEMORY_MIB}M,max:{DOM0_MEMORY_MIB}M");
    join(&[
        "console=com1 com1=115200,8n1 loglvl=info guest_loglvl=info",
        &memory,
        "dom0_max_vcpus=1 dom0_vcpus_pin xpti=off pcid=off spec-ctrl=no noreboot",
        more,
    ])
}

/// The command line of a domain's kernel; `more` is added.
pub(super) fn linux_options(domain: u16, more: &str) -> String {
    // With `norandmaps` a program has the same addresses each time it runs: what the census sees
    // in the warm-up holds for the recorded run.
    let common = "console=hvc0 nokaslr norandmaps pti=off mitigations=off";
    match domain {
        0 => join(&[common, "nopku net.ifnames=0 loglevel=4", more]),
        _ => join(&[common, "quiet tsc=reliable panic=1 oops=panic", more]),
    }
}

/// What is booted; iperf3's server listens on `port`.
pub(super) fn plan(boot: &Boot<'_>, xen: &XenFacts, port: u16) -> Plan {
    let request = boot.request;
    let scenario = request.scenario;
    let (command, warm_up) = match &request.guest_command {
        Some(command) => (command.clone(), command.clone()),
        None => {
            let amount = format!("-n {}", request.bytes.as_deref().unwrap_or(BYTES));
            // A second of virtual time: long enough to be seen by the census.
            let warm_up = scenario.iperf_command(port, "-t 1");
            (scenario.iperf_command(port, &amount), warm_up)
        }
    };
    let path = |name: &str| boot.images.file(name).to_string_lossy().replace(',', ",,");
    let options = linux_options(0, &request.linux_options).replace(',', ",,");
    let yes = |holds: bool| if holds { "yes" } else { "no" };
    let mut guest = Archive::default();
    guest.file(
        "etc/strata/capture.conf",
        0o644,
        settings(&[
            ("DOM0_ADDRESS", DOM0_ADDRESS),
            ("GUEST_ADDRESS", GUEST_ADDRESS),
            ("GATEWAY", if scenario.uses_host() { HOST_ADDRESS } else { DOM0_ADDRESS }),
            ("SERVER", scenario.server_address()),
            ("PORT", &port.to_string()),
            ("COMMAND", &command),
            ("WARM_UP", &warm_up),
            ("EVENTS", yes(scenario.has_exits())),
        ]),
    );
    let config = recipe::GUEST_CONFIG
        .replace("@TYPE@", if scenario.has_exits() { "pvh" } else { "pv" })
        .replace("@MEMORY@", &request.guest_memory_mib().to_string())
        .replace("@VCPUS@", "1")
        .replace("@LINUX@", &linux_options(1, &request.linux_options));
    let mut dom0 = Archive::default();
    dom0.file("etc/strata/guest-settings.cpio", 0o644, guest.to_bytes());
    dom0.file("etc/xen/guest.cfg", 0o644, config);
    dom0.file(
        "etc/strata/capture.conf",
        0o644,
        settings(&[
            ("XEN_PROGRAMS", &xen.programs),
            ("XEN_LIBRARIES", &xen.libraries),
            ("DOM0_ADDRESS", DOM0_ADDRESS),
            ("COLLECTOR", COLLECTOR_ADDRESS),
            ("OUTSIDE", yes(scenario.uses_host())),
            ("SERVER", if scenario.uses_host() { "host" } else { "dom0" }),
            ("EVENTS", yes(scenario.has_exits())),
        ]),
    );
    Plan {
        kernel: "xen",
        options: xen_options(&request.xen_options),
        image: "dom0.cpio",
        settings: dom0,
        before_image: format!("{} {options},", path("vmlinux")),
        command,
        stages: STAGES,
        measures: "dom1",
        sends: "dom0",
    }
}
