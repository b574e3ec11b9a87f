//! What must be on this machine before a capture, each with the line that installs it.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::program::text_of;
use super::scenario::Scenario;
use super::{CaptureError, MissingTool};

/// The first QEMU whose plugins can read registers and physical addresses as needed.
const QEMU_MAJOR: u32 = 10;
/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";

/// Checks everything and returns the emulator's version.
///
/// # Errors
///
/// Naming all that is missing, not only the first.
pub(super) fn check(scenario: Scenario) -> Result<String, CaptureError> {
    if !is_on_path("apt-get") {
        return Err(CaptureError::Tools(vec![MissingTool {
            what: "apt-get (fetches the guests' packages): not found".to_owned(),
            remedy: format!(
                "captures are made from Debian packages: run strata on Debian 12 or later, a \
                 container will do, with gcc, iperf3 and {QEMU} {QEMU_MAJOR} or later"
            ),
        }]));
    }
    let mut missing = Vec::new();
    let mut need = |program: &str, why: &str, package: &str| {
        if !is_on_path(program) {
            missing.push(MissingTool {
                what: format!("{program} ({why}): not found"),
                remedy: remedy(&install_line(package)),
            });
        }
    };
    need("apt-cache", "tells the packages' versions", "apt");
    need("dpkg-deb", "unpacks them", "dpkg");
    need("cc", "assembles the marker program", "gcc");
    if scenario.uses_host() {
        need("iperf3", "is the other end of the transfer", "iperf3");
    }
    let qemu = match emulator_version() {
        Ok(version) => version,
        Err(what) => {
            missing.push(MissingTool { what, remedy: remedy(&emulator_install_line()) });
            String::new()
        }
    };
    if missing.is_empty() { Ok(qemu) } else { Err(CaptureError::Tools(missing)) }
}

/// Whether a program can be started by its name.
pub(super) fn is_on_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// The version if it will do, else what is wrong.
fn emulator_version() -> Result<String, String> {
    if !is_on_path(QEMU) {
        return Err(format!("{QEMU} {QEMU_MAJOR} or later (runs the guests): not found"));
    }
    let said = text_of(Command::new(QEMU).arg("--version"), "").map_err(|e| e.to_string())?;
    let version = parse_version(&said)
        .ok_or_else(|| format!("{QEMU}: cannot read its version from {said:?}"))?;
    let major: u32 = version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if major < QEMU_MAJOR {
        return Err(format!("{QEMU} {QEMU_MAJOR} or later (runs the guests): found {version}"));
    }
    let help = text_of(Command::new(QEMU).arg("-help"), "").map_err(|e| e.to_string())?;
    if !help.contains("\n-plugin ") {
        return Err(format!(
            "{QEMU} with plugins (the recorder is one): {version} has them disabled"
        ));
    }
    Ok(version.to_owned())
}

/// `QEMU emulator version 10.0.2 (Debian 1:10.0.2…)` → `10.0.2 (Debian 1:10.0.2…)`.
fn parse_version(said: &str) -> Option<&str> {
    said.lines().next()?.split_once("version ").map(|(_, version)| version.trim())
}

fn remedy(install: &str) -> String {
    format!("install it with `{install}`")
}

fn install_line(package: &str) -> String {
    format!("sudo apt-get install --no-install-recommends {package}")
}

/// On Debian 12 a new enough emulator is among the backports, which may have to be enabled.
fn emulator_install_line() -> String {
    const PACKAGE: &str = "qemu-system-x86";
    let codename = os_release("VERSION_CODENAME").unwrap_or_default();
    let known = text_of(Command::new("apt-cache").args(["madison", PACKAGE]), "");
    emulator_install_line_for(&codename, &known.unwrap_or_default())
}

/// `known` is what `apt-cache madison` says: `package | version | source` for each version.
fn emulator_install_line_for(codename: &str, known: &str) -> String {
    let install = "sudo apt-get install --no-install-recommends";
    let backports = format!("{codename}-backports");
    let new_enough: Vec<&str> = known
        .lines()
        .filter(|line| {
            let version = line.split('|').nth(1).unwrap_or_default().trim();
            let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
            upstream.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0) >= QEMU_MAJOR
        })
        .collect();
    match new_enough.iter().find(|line| !line.contains(&backports)).or(new_enough.first()) {
        Some(line) if line.contains(&backports) => {
            format!("{install} -t {backports} qemu-system-x86")
        }
        Some(_) => format!("{install} qemu-system-x86"),
        // The mirror is taken from the machine's own sources.
        None if !codename.is_empty() => format!(
            "awk -v RS= 'NR==1' /etc/apt/sources.list.d/debian.sources | \
             sed 's/^Suites:.*/Suites: {backports}/' | \
             sudo tee /etc/apt/sources.list.d/backports.sources && sudo apt-get update && \
             {install} -t {backports} qemu-system-x86"
        ),
        None => format!("{install} qemu-system-x86"),
    }
}

fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string(PathBuf::from("/etc/os-release")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_follows_the_word() {
        let said = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright\n";
        assert_eq!(parse_version(said), Some("10.0.2 (Debian 1:10.0.2+ds-2)"));
        assert_eq!(parse_version("nothing of the kind"), None);
    }

    #[test]
    fn the_install_line_fits_what_the_machine_can_get() {
        let stable = " qemu-system-x86 | 1:7.2+dfsg-7 | http://x/debian bookworm/main";
        let backport = " qemu-system-x86 | 1:10.0.2+ds-2 | http://x/debian bookworm-backports/main";
        let newer = " qemu-system-x86 | 1:10.1.0 | http://x/debian trixie/main";
        let line = |known: &[&str]| emulator_install_line_for("bookworm", &known.join("\n"));
        assert!(line(&[stable]).contains("backports.sources"), "backports not enabled yet");
        assert!(line(&[stable, backport]).starts_with("sudo apt-get"));
        assert!(line(&[stable, backport]).contains("-t bookworm-backports"));
        assert!(!line(&[newer]).contains("backports"));
    }
}
