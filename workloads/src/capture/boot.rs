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
use super::scenario::{COLLECTOR_ADDRESS, IPERF_PORT};
use super::{
    CaptureError, Progress, Request, kvm_boot, recorder, remove_if_there, tools, xen_boot,
};

/// One instruction takes 2^3 ns of virtual time, so that the recorder's slowness does not show in
/// what the guests do.
pub(super) const ICOUNT_SHIFT: u32 = 3;

/// Time limits, generous for a busy machine of CI. The recording has none as long as it proceeds.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
const STALL_LIMIT: Duration = Duration::from_secs(120);
const COLLECT_LIMIT: Duration = Duration::from_secs(300);
const END_LIMIT: Duration = Duration::from_secs(120);

/// What is booted, and how its stages are told apart.
pub(super) struct Plan {
    /// The file given to the emulator as the kernel.
    pub(super) kernel: &'static str,
    /// That kernel's command line.
    pub(super) options: String,
    /// The initial RAM file system.
    pub(super) image: &'static str,
    /// What differs from capture to capture, appended to it.
    pub(super) settings: Archive,
    /// What else the emulator loads, in front of the image.
    pub(super) before_image: String,
    /// What runs between the markers.
    pub(super) command: String,
    /// From power-on to the recording.
    pub(super) stages: &'static [Stage],
    /// Who runs the measured command.
    pub(super) measures: &'static str,
    /// Who sends the files.
    pub(super) sends: &'static str,
}

/// A stage of a boot.
pub(super) struct Stage {
    /// What goes on.
    pub(super) what: &'static str,
    /// What is said at its end.
    pub(super) until: &'static str,
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

impl Boot<'_> {
    /// The hypervisor's command line; empty where the kernel is the hypervisor.
    pub(super) fn xen_options(&self) -> String {
        let more = &self.request.xen_options;
        self.images.facts.xen.as_ref().map_or_else(String::new, |_| xen_boot::xen_options(more))
    }

    /// The command line of a domain's kernel.
    pub(super) fn linux_options(&self, domain: u16) -> String {
        let more = &self.request.linux_options;
        match self.images.facts.xen {
            Some(_) => xen_boot::linux_options(domain, more),
            None => kvm_boot::linux_options(more),
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
        let plan = match &self.images.facts.xen {
            Some(xen) => xen_boot::plan(self, xen, port),
            None => kvm_boot::plan(self.request),
        };
        let image = self.image(&plan)?;
        let trace = self.folder.join("trace.strata.partial");
        let collected = self.folder.join("collected.tar");
        let ram = ram_file(self.request.machine_memory_mib(), self.folder)?;

        let mut qemu = Command::new(tools::QEMU);
        qemu.args(self.arguments(&plan, &image, ram.path(), &trace, &collected));
        let mut emulator = Emulator::start(qemu, &self.folder.join("logs"))?;
        let instructions = stages(&plan, &mut emulator, &collected, ram, progress)?;
        drop(server);

        let bytes = fs::read(&collected).on("read", &collected)?;
        remove_if_there(&collected)?;
        let whole = self.folder.join("trace.strata");
        fs::rename(&trace, &whole).on("find the recorder's trace", &trace)?;
        Ok(Recorded { collected: bytes, instructions, guest_command: plan.command })
    }

    fn arguments(
        &self,
        plan: &Plan,
        image: &Path,
        ram: &Path,
        trace: &Path,
        collected: &Path,
    ) -> Vec<String> {
        let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
        let memory = self.request.machine_memory_mib();
        let layout = self.images.facts.xen.as_ref().map(|xen| &xen.layout);
        let scenario = self.request.scenario;
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
            ("-cpu", scenario.cpu_model().to_owned()),
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
            ("-kernel", self.images.file(plan.kernel).to_string_lossy().into_owned()),
            ("-append", plan.options.clone()),
            ("-initrd", format!("{}{}", plan.before_image, path(image))),
            (
                "-plugin",
                recorder::plugin_option(
                    self.recorder,
                    trace,
                    ram,
                    self.request.level,
                    layout,
                    scenario.patch(),
                ),
            ),
        ];
        words
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value])
            .filter(|word| !word.is_empty())
            .collect()
    }

    /// The image with this capture's settings appended; the kernel unpacks one archive after the
    /// other.
    fn image(&self, plan: &Plan) -> Result<TempPath, CaptureError> {
        // Removed when the boot is over, whatever came of it.
        let image = TempPath::try_from_path(self.folder.join(plan.image))
            .on("place the image in", self.folder)?;
        fs::copy(self.images.file(plan.image), &image).on("write", &image)?;
        let mut file = fs::OpenOptions::new().append(true).open(&image).on("open", &image)?;
        file.write_all(&plan.settings.to_bytes()).on("write", &image)?;
        Ok(image)
    }
}

/// Follows the guests through the stages; returns the number of instructions recorded.
fn stages(
    plan: &Plan,
    emulator: &mut Emulator,
    collected: &Path,
    ram: tempfile::NamedTempFile,
    progress: &mut dyn Progress,
) -> Result<Option<u64>, CaptureError> {
    let mut ram = Some(ram);
    for stage in plan.stages {
        progress.stage(stage.what);
        emulator.begin(stage.what, BOOT_LIMIT);
        emulator.wait_for(|event| event.says(stage.until))?;
        // Emulator and recorder have it open: nothing is left behind however this ends.
        drop(ram.take());
        progress.note(&emulator.took());
    }

    progress.stage("recording");
    emulator.begin("recording", STALL_LIMIT);
    let status = format!("{} status ", plan.measures);
    let ended = emulator.wait_for_with_progress(|event| match event {
        Event::Recorded { instructions, bytes } => {
            progress.recorded(*instructions, *bytes);
            (false, true)
        }
        Event::Domain(_) => (event.says(&status), false),
    })?;
    if !ended.ends_with("status 0") {
        return Err(emulator.failed(&format!("the measured command failed ({ended})")));
    }
    progress.note(&emulator.took());

    progress.stage("collecting symbols");
    emulator.begin("collecting symbols", COLLECT_LIMIT);
    let said = emulator.wait_for(|event| event.says(&format!("{} sending ", plan.sends)))?;
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

/// Shell assignments, exported, so that a command of the user's sees them too.
pub(super) fn settings(pairs: &[(&str, &str)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', r"'\''")))
        .collect()
}

/// Options side by side, without empty ones.
pub(super) fn join(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
