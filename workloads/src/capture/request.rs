//! What is asked for.

use std::path::PathBuf;

use super::CaptureError;
use super::scenario::{Platform, Scenario};

/// What iperf3 transfers if nothing is said.
pub const BYTES: &str = "4M";
/// Memory of the guest, in MiB, if nothing is said.
pub const MEMORY_MIB: u32 = 192;

/// dom0 unpacks about 110 MB of image and runs Xen's daemons.
pub(super) const DOM0_MEMORY_MIB: u32 = 640;
/// For Xen itself and the devices.
const XEN_MEMORY_MIB: u32 = 192;
/// Linux with KVM unpacks about 50 MB of image and keeps perf's files in memory.
const KVM_MEMORY_MIB: u32 = 640;
/// Above this the emulated PC splits its RAM around the PCI hole, and a position in the RAM file
/// is no physical address any more.
const MACHINE_LIMIT_MIB: u32 = 3072;
const MOST_GUEST_MEMORY_MIB: u32 = MACHINE_LIMIT_MIB - DOM0_MEMORY_MIB - XEN_MEMORY_MIB;

/// What to capture, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path that the data takes.
    pub scenario: Scenario,
    /// The capture folder to make.
    pub out: PathBuf,
    /// Replace an earlier capture of that name.
    pub force: bool,
    /// The recorder; looked for beside the running program if absent.
    pub recorder: Option<PathBuf>,
    /// What runs between the markers, instead of the scenario's own command.
    pub guest_command: Option<String>,
    /// How much iperf3 transfers, as its `-n` takes it, such as `4M`; [`BYTES`] if absent.
    pub bytes: Option<String>,
    /// The guest's memory in MiB; [`MEMORY_MIB`] if absent.
    pub memory_mib: Option<u32>,
    /// Added to the hypervisor's command line.
    pub xen_options: String,
    /// Added to the kernels' command lines.
    pub linux_options: String,
    /// Emulated CPUs.
    pub cpus: u32,
    /// Compression level of the trace.
    pub level: i32,
    /// Where images are kept.
    pub cache: PathBuf,
    /// Keep also what the hypervisor and its tools logged inside.
    pub keep_logs: bool,
    /// The command line, for the manifest.
    pub command_line: Vec<String>,
}

impl Request {
    /// Memory of the guest, in MiB.
    pub(super) fn guest_memory_mib(&self) -> u32 {
        self.memory_mib.unwrap_or(MEMORY_MIB)
    }

    /// The emulated machine's RAM, in MiB.
    pub(super) fn machine_memory_mib(&self) -> u32 {
        match self.scenario.platform() {
            Platform::Xen => DOM0_MEMORY_MIB + XEN_MEMORY_MIB + self.guest_memory_mib(),
            Platform::Kvm => KVM_MEMORY_MIB,
        }
    }

    /// Checks the settings that need no look at the machine.
    ///
    /// # Errors
    ///
    /// Naming the option, the value and the limit.
    pub(super) fn check(&self) -> Result<(), CaptureError> {
        let wrong = |message: String| Err(CaptureError::Settings(message));
        if self.scenario.platform() == Platform::Kvm {
            let given = [
                ("--bytes", self.bytes.is_some()),
                ("--memory", self.memory_mib.is_some()),
                ("--xen-options", !self.xen_options.is_empty()),
            ];
            if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
                return wrong(format!(
                    "{option}: {} has no Xen, and its guest is a program of fixed size that \
                     transfers nothing; leave it out",
                    self.scenario
                ));
            }
        } else if self.guest_memory_mib() < 96 || self.guest_memory_mib() > MOST_GUEST_MEMORY_MIB {
            return wrong(format!(
                "--memory {}: the guest takes from 96 to {MOST_GUEST_MEMORY_MIB} MiB",
                self.guest_memory_mib(),
            ));
        }
        if self.cpus != 1 {
            return wrong(format!(
                "--cpus {}: QEMU does not tell a recorder which of several emulated CPUs \
                 executes, so that a capture has one",
                self.cpus
            ));
        }
        if let Some(bytes) = &self.bytes {
            let amount = bytes.trim_end_matches(['K', 'M', 'G']);
            if amount.is_empty() || bytes.len() > amount.len() + 1 || amount.parse::<u64>().is_err()
            {
                return wrong(format!(
                    "--bytes {bytes}: a number with K, M or G after it, such as 4M"
                ));
            }
        }
        for (option, value) in
            [("--xen-options", &self.xen_options), ("--linux-options", &self.linux_options)]
        {
            if value.contains(['"', '\'', '\n', '@']) {
                return wrong(format!(
                    "{option} {value}: quotes, @ and line ends cannot be passed on"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            scenario: Scenario::NetLocal,
            out: "out".into(),
            force: false,
            recorder: None,
            guest_command: None,
            bytes: None,
            memory_mib: None,
            xen_options: String::new(),
            linux_options: String::new(),
            cpus: 1,
            level: 6,
            cache: "cache".into(),
            keep_logs: false,
            command_line: Vec::new(),
        }
    }

    fn error(request: &Request) -> String {
        request.check().expect_err("a setting is wrong").to_string()
    }

    #[test]
    fn the_usual_settings_pass() {
        for scenario in Scenario::ALL {
            assert!(Request { scenario, ..request() }.check().is_ok(), "{scenario}");
        }
        for bytes in ["1", "256K", "10M", "1G"] {
            let asked = Request { bytes: Some(bytes.to_owned()), ..request() };
            assert!(asked.check().is_ok(), "{bytes}");
        }
    }

    #[test]
    fn a_setting_out_of_range_is_named_with_its_limit() {
        let large = Request { memory_mib: Some(9000), ..request() };
        assert!(error(&large).contains("96 to 2240 MiB"));
        assert!(error(&Request { cpus: 2, ..request() }).starts_with("--cpus 2:"));
        for bytes in ["", "M", "4MB", "4 M", "-1", "x"] {
            let message = error(&Request { bytes: Some(bytes.to_owned()), ..request() });
            assert!(message.starts_with("--bytes"), "{bytes}: {message}");
        }
    }

    #[test]
    fn what_a_scenario_has_no_use_for_is_refused() {
        let kvm = || Request { scenario: Scenario::KvmAmd, ..request() };
        let given = [
            ("--bytes", Request { bytes: Some("4M".to_owned()), ..kvm() }),
            ("--memory", Request { memory_mib: Some(192), ..kvm() }),
            ("--xen-options", Request { xen_options: "sync_console".to_owned(), ..kvm() }),
        ];
        for (option, asked) in given {
            assert!(error(&asked).starts_with(&format!("{option}: kvm-amd has no Xen")));
        }
    }

    #[test]
    fn options_that_would_break_out_of_a_configuration_are_refused() {
        for options in ["a\"b", "a'b", "a\nb", "@MEMORY@"] {
            let message = error(&Request { linux_options: options.to_owned(), ..request() });
            assert!(message.starts_with("--linux-options"), "{message}");
        }
    }
}
