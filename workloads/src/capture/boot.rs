//! One boot of the workload: settings into the images, the emulator's command line, and the stages
//! from power-on to the collected symbols.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempPath;

use super::archive::Archive;
use super::emulator::{Emulator, Event};
use super::error::FileContext;
use super::host::{HostServer, ram_file};
use super::images::Images;
use super::recorder;
use super::scenario::{COLLECTOR_ADDRESS, DOM0_ADDRESS, GUEST_ADDRESS, HOST_ADDRESS, IPERF_PORT};
use super::{CaptureError, Progress, Request, recipe, remove_if_there, tools};

/// The emulated processor. On models of another maker Xen leaves CR4.PGE off for paravirtual
/// guests, so that the global bit would have no effect.
pub(super) const CPU_MODEL: &str = "core2duo,-vmx";
/// One instruction takes 2^3 ns of virtual time, so that the recorder's slowness does not show in
/// what the guests do.
pub(super) const ICOUNT_SHIFT: u32 = 3;

/// dom0 unpacks about 110 MB of image and runs Xen's daemons.
const DOM0_MEMORY_MIB: u32 = 640;
/// For Xen itself and the devices.
const XEN_MEMORY_MIB: u32 = 192;
/// Above this the emulated PC splits its RAM around the PCI hole, and a position in the RAM file
/// is no physical address any more.
const MACHINE_LIMIT_MIB: u32 = 3072;

/// Time limits, generous for a busy machine of CI. The recording has none as long as it proceeds.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
const GUEST_LIMIT: Duration = Duration::from_secs(300);
const STALL_LIMIT: Duration = Duration::from_secs(120);
const COLLECT_LIMIT: Duration = Duration::from_secs(300);
const END_LIMIT: Duration = Duration::from_secs(120);

/// The emulated machine's RAM for a request, in MiB.
pub(super) fn machine_memory_mib(request: &Request) -> u32 {
    DOM0_MEMORY_MIB + XEN_MEMORY_MIB + request.memory_mib
}

/// Checks the settings that need no look at the machine.
///
/// # Errors
///
/// Naming the option, the value and the limit.
pub(super) fn check(request: &Request) -> Result<(), CaptureError> {
    let wrong = |message: String| Err(CaptureError::Settings(message));
    if request.memory_mib < 96 || machine_memory_mib(request) > MACHINE_LIMIT_MIB {
        return wrong(format!(
            "--memory {}: the guest takes from 96 to {} MiB",
            request.memory_mib,
            MACHINE_LIMIT_MIB - DOM0_MEMORY_MIB - XEN_MEMORY_MIB
        ));
    }
    if request.cpus != 1 {
        return wrong(format!(
            "--cpus {}: QEMU does not tell a recorder which of several emulated CPUs executes, so \
             that a capture has one",
            request.cpus
        ));
    }
    let amount = request.bytes.trim_end_matches(['K', 'M', 'G']);
    if amount.is_empty() || request.bytes.len() > amount.len() + 1 || amount.parse::<u64>().is_err()
    {
        return wrong(format!(
            "--bytes {}: a number with K, M or G after it, such as 4M",
            request.bytes
        ));
    }
    for (option, value) in
        [("--xen-options", &request.xen_options), ("--linux-options", &request.linux_options)]
    {
        if value.contains(['"', '\'', '\n', '@']) {
            return wrong(format!("{option} {value}: quotes, @ and line ends cannot be passed on"));
        }
    }
    Ok(())
}

/// A boot about to happen.
pub(super) struct Boot<'a> {
    pub(super) request: &'a Request,
    pub(super) images: &'a Images,
    pub(super) recorder: &'a Path,
    /// The working folder of the capture.
    pub(super) folder: &'a Path,
}

/// What a boot gave, beside the trace.
pub(super) struct Recorded {
    /// The files the domains sent, a tar.
    pub(super) collected: Vec<u8>,
    /// As the recorder said.
    pub(super) instructions: Option<u64>,
    /// What ran between the markers.
    pub(super) guest_command: String,
}

/// The kernels' command lines.
#[derive(Debug)]
pub(super) struct LinuxOptions {
    pub(super) dom0: String,
    pub(super) guest: String,
}

impl Boot<'_> {
    /// The hypervisor's command line.
    pub(super) fn xen_options(&self) -> String {
        // Serialised page-table isolation, PCID and speculation barriers off: the emulated
        // processor has none of what they guard against.
        let memory = format!("dom0_mem={DOM0_MEMORY_MIB}M,max:{DOM0_MEMORY_MIB}M");
        join(&[
            "console=com1 com1=115200,8n1 loglvl=info guest_loglvl=info",
            &memory,
            "dom0_max_vcpus=1 dom0_vcpus_pin xpti=off pcid=off spec-ctrl=no noreboot",
            &self.request.xen_options,
        ])
    }

    /// The kernels' command lines.
    pub(super) fn linux_options(&self) -> LinuxOptions {
        // With `norandmaps` a program has the same addresses each time it runs: what the census
        // sees in the warm-up holds for the recorded run.
        let common = "console=hvc0 nokaslr norandmaps pti=off mitigations=off";
        let more = &self.request.linux_options;
        LinuxOptions {
            dom0: join(&[common, "nopku net.ifnames=0 loglevel=4", more]),
            guest: join(&[common, "quiet tsc=reliable panic=1 oops=panic", more]),
        }
    }

    /// Boots, records and collects.
    ///
    /// # Errors
    ///
    /// If a stage fails or takes too long, or the emulator ends early.
    pub(super) fn run(&self, progress: &mut dyn Progress) -> Result<Recorded, CaptureError> {
        let scenario = self.request.scenario;
        let server =
            if scenario.uses_host() { Some(HostServer::start(self.folder)?) } else { None };
        let port = server.as_ref().map_or(IPERF_PORT, |server| server.port);
        let amount = format!("-n {}", self.request.bytes);
        let command = self
            .request
            .guest_command
            .clone()
            .unwrap_or_else(|| scenario.iperf_command(port, &amount));
        let warm_up = match self.request.guest_command {
            Some(_) => command.clone(),
            // A second of virtual time: long enough to be seen by the census.
            None => scenario.iperf_command(port, "-t 1"),
        };
        let image = self.dom0_image(port, &command, &warm_up)?;
        let trace = self.folder.join("trace.strata.partial");
        let collected = self.folder.join("collected.tar");
        let ram = ram_file(machine_memory_mib(self.request), self.folder)?;

        progress.stage("booting Xen and dom0");
        let mut qemu = Command::new(tools::QEMU);
        qemu.args(self.arguments(&image, ram.path(), &trace, &collected));
        let mut emulator = Emulator::start(qemu, &self.folder.join("logs"))?;
        let instructions = self.stages(&mut emulator, &collected, ram, progress)?;
        drop(server);

        let bytes = fs::read(&collected).on("read", &collected)?;
        remove_if_there(&collected)?;
        let whole = self.folder.join("trace.strata");
        fs::rename(&trace, &whole).on("find the recorder's trace", &trace)?;
        Ok(Recorded { collected: bytes, instructions, guest_command: command })
    }

    /// Follows the guests through the stages; returns the number of instructions recorded.
    fn stages(
        &self,
        emulator: &mut Emulator,
        collected: &Path,
        ram: tempfile::NamedTempFile,
        progress: &mut dyn Progress,
    ) -> Result<Option<u64>, CaptureError> {
        emulator.begin("booting Xen and dom0", BOOT_LIMIT);
        emulator.wait_for(|event| event.says("dom0 up"))?;
        // Emulator and recorder have it open: nothing is left behind however this ends.
        drop(ram);
        progress.note(&emulator.took());

        progress.stage("starting the guest");
        emulator.begin("starting the guest", GUEST_LIMIT);
        emulator.wait_for(|event| event.says("dom1 up"))?;
        progress.note(&emulator.took());

        progress.stage("warming up");
        emulator.begin("warming up", GUEST_LIMIT);
        emulator.wait_for(|event| event.says("dom1 recording"))?;
        progress.note(&emulator.took());

        progress.stage("recording");
        emulator.begin("recording", STALL_LIMIT);
        let ended = emulator.wait_for_with_progress(|event| match event {
            Event::Recorded { instructions, bytes } => {
                progress.recorded(*instructions, *bytes);
                (false, true)
            }
            Event::Domain(_) => (event.says("dom1 status "), false),
        })?;
        if !ended.ends_with("status 0") {
            return Err(emulator.failed(&format!("the measured command failed ({ended})")));
        }
        progress.note(&emulator.took());

        progress.stage("collecting symbols");
        emulator.begin("collecting symbols", COLLECT_LIMIT);
        let said = emulator.wait_for(|event| event.says("dom0 sending "))?;
        let size: u64 = said.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        emulator.wait_until(|| fs::metadata(collected).is_ok_and(|file| file.len() >= size))?;
        progress.note(&emulator.took());

        progress.stage("finishing the trace");
        emulator.begin("finishing the trace", END_LIMIT);
        let recording = emulator.end()?;
        if !recording.armed {
            return Err(emulator.failed("the recorder saw no marker from the guest"));
        }
        progress.note(&emulator.took());
        Ok(recording.instructions)
    }

    fn arguments(&self, image: &Path, ram: &Path, trace: &Path, collected: &Path) -> Vec<String> {
        let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
        let memory = machine_memory_mib(self.request);
        let layout = &self.images.facts.layout;
        let console = self.folder.join("logs/console.log");
        let words = [
            ("-nodefaults", String::new()),
            ("-no-user-config", String::new()),
            ("-no-reboot", String::new()),
            ("-display", "none".to_owned()),
            ("-machine", "pc,memory-backend=ram0".to_owned()),
            (
                "-object",
                format!(
                    "memory-backend-file,id=ram0,size={memory}M,share=on,mem-path={}",
                    path(ram)
                ),
            ),
            ("-m", memory.to_string()),
            ("-accel", "tcg,thread=single".to_owned()),
            ("-cpu", CPU_MODEL.to_owned()),
            ("-smp", self.request.cpus.to_string()),
            ("-icount", format!("shift={ICOUNT_SHIFT},sleep=off")),
            ("-rtc", "base=2026-01-01T00:00:00,clock=vm".to_owned()),
            ("-chardev", format!("file,id=console,path={}", path(&console))),
            ("-serial", "chardev:console".to_owned()),
            ("-chardev", format!("file,id=collector,path={}", path(collected))),
            (
                "-netdev",
                format!(
                    "user,id=n0,ipv6=off,guestfwd=tcp:{COLLECTOR_ADDRESS}:7000-chardev:collector"
                ),
            ),
            ("-device", "e1000,netdev=n0".to_owned()),
            ("-kernel", self.images.file("xen").to_string_lossy().into_owned()),
            ("-append", self.xen_options()),
            (
                "-initrd",
                format!(
                    "{} {},{}",
                    path(&self.images.file("vmlinux")),
                    self.linux_options().dom0.replace(',', ",,"),
                    path(image)
                ),
            ),
            (
                "-plugin",
                recorder::plugin_option(self.recorder, trace, ram, self.request.level, layout),
            ),
        ];
        words
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value])
            .filter(|word| !word.is_empty())
            .collect()
    }

    /// dom0's image with this capture's settings appended; the kernel unpacks one archive after
    /// the other.
    fn dom0_image(
        &self,
        port: u16,
        command: &str,
        warm_up: &str,
    ) -> Result<TempPath, CaptureError> {
        let scenario = self.request.scenario;
        let facts = &self.images.facts;
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
                ("COMMAND", command),
                ("WARM_UP", warm_up),
            ]),
        );
        let config = recipe::GUEST_CONFIG
            .replace("@MEMORY@", &self.request.memory_mib.to_string())
            .replace("@VCPUS@", "1")
            .replace("@LINUX@", &self.linux_options().guest);
        let mut dom0 = Archive::default();
        dom0.file("etc/strata/guest-settings.cpio", 0o644, guest.to_bytes());
        dom0.file("etc/xen/guest.cfg", 0o644, config);
        dom0.file(
            "etc/strata/capture.conf",
            0o644,
            settings(&[
                ("XEN_PROGRAMS", &facts.xen_programs),
                ("XEN_LIBRARIES", &facts.xen_libraries),
                ("DOM0_ADDRESS", DOM0_ADDRESS),
                ("COLLECTOR", COLLECTOR_ADDRESS),
                ("OUTSIDE", if scenario.uses_host() { "yes" } else { "no" }),
                ("SERVER", if scenario.uses_host() { "host" } else { "dom0" }),
            ]),
        );
        // Removed when the boot is over, whatever came of it.
        let image = TempPath::try_from_path(self.folder.join("dom0.cpio"))
            .on("place the image in", self.folder)?;
        fs::copy(self.images.file("dom0.cpio"), &image).on("write", &image)?;
        let mut file = fs::OpenOptions::new().append(true).open(&image).on("open", &image)?;
        file.write_all(&dom0.to_bytes()).on("write", &image)?;
        Ok(image)
    }
}

/// Shell assignments, exported, so that a command of the user's sees them too.
fn settings(pairs: &[(&str, &str)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', r"'\''")))
        .collect()
}

fn join(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Scenario;

    fn request() -> Request {
        Request {
            scenario: Scenario::NetLocal,
            out: "out".into(),
            force: false,
            recorder: None,
            guest_command: None,
            bytes: "4M".to_owned(),
            memory_mib: 192,
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
        check(request).unwrap_err().to_string()
    }

    #[test]
    fn the_usual_settings_pass() {
        assert!(check(&request()).is_ok());
        for bytes in ["1", "256K", "10M", "1G"] {
            assert!(check(&Request { bytes: bytes.to_owned(), ..request() }).is_ok(), "{bytes}");
        }
    }

    #[test]
    fn a_setting_out_of_range_is_named_with_its_limit() {
        assert!(error(&Request { memory_mib: 9000, ..request() }).contains("96 to 2240 MiB"));
        assert!(error(&Request { cpus: 2, ..request() }).starts_with("--cpus 2:"));
        for bytes in ["", "M", "4MB", "4 M", "-1", "x"] {
            let message = error(&Request { bytes: bytes.to_owned(), ..request() });
            assert!(message.starts_with("--bytes"), "{bytes}: {message}");
        }
    }

    #[test]
    fn options_that_would_break_out_of_a_configuration_are_refused() {
        for options in ["a\"b", "a'b", "a\nb", "@MEMORY@"] {
            let message = error(&Request { linux_options: options.to_owned(), ..request() });
            assert!(message.starts_with("--linux-options"), "{message}");
        }
    }

    #[test]
    fn settings_survive_the_shell_whatever_is_in_them() {
        let text = settings(&[("COMMAND", r#"echo 'it'"'"'s' $HOME "x" \ `id`"#)]);
        let shown = Command::new("sh")
            .args(["-c", &format!("{text}printf %s \"$COMMAND\"")])
            .output()
            .unwrap();
        let said = String::from_utf8(shown.stdout).unwrap();
        assert_eq!(said, r#"echo 'it'"'"'s' $HOME "x" \ `id`"#);
    }
}
