//! The manifest of a capture folder, `capture.toml`: what was recorded, on what, and which symbols
//! belong to whom.
//!
//! A capture folder holds
//!
//! ```text
//! capture.toml          this manifest
//! trace.strata          the instruction stream
//! symbols/xen.map       Xen's symbols (text, `address type name`)
//! symbols/domN.kallsyms.zst   /proc/kallsyms of domain N, modules included
//! symbols/domN.modules  /proc/modules
//! symbols/domN.maps     /proc/PID/maps of the processes seen in domain N
//! symbols/elf/domN/…    the programs and libraries those processes had mapped
//! events/               event traces made inside, and what their own tools made of them
//! logs/                 consoles and what the emulator said
//! ```
//!
//! Every path in the manifest is relative to the folder and uses `/`. A name that ends in `.zst` is
//! compressed with zstd.
//!
//! ```
//! use strata_workloads::manifest::{CaptureManifest, ManifestError};
//!
//! let text = "schema = 99\n";
//! let error = CaptureManifest::from_toml(text, "demo/capture.toml".as_ref()).unwrap_err();
//! assert!(matches!(error, ManifestError::Schema { found: 99, .. }));
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of `capture.toml` written here, and the newest one understood.
pub const SCHEMA: u32 = 1;

/// The name of the manifest in a capture folder.
pub const FILE_NAME: &str = "capture.toml";

/// Why a manifest could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The folder has no manifest.
    #[error(
        "{folder}: no {FILE_NAME} in it, so it is not a capture folder; `strata capture` makes one"
    )]
    Missing {
        /// The folder looked at.
        folder: PathBuf,
    },
    /// The file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what a manifest looks like.
    #[error("{path}: not a valid capture manifest: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        message: String,
    },
    /// The file was written by a newer program.
    #[error("{path}: schema {found}, but this program reads up to {SCHEMA}: use a newer strata")]
    Schema {
        /// The file.
        path: PathBuf,
        /// The version it names.
        found: u32,
    },
    /// A path in the manifest leads out of the capture folder.
    #[error(
        "{path}: {field} is {value:?}, which leads out of the capture folder; paths in a manifest are relative"
    )]
    Outside {
        /// The manifest.
        path: PathBuf,
        /// Which entry.
        field: String,
        /// The offending path.
        value: String,
    },
}

/// An address in a manifest, written as a hexadecimal string because TOML integers are signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(pub u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Address)
            .ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "{text:?} is not an address: expected 0x and up to 16 hexadecimal digits"
                ))
            })
    }
}

/// What one capture is: the whole of `capture.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CaptureManifest {
    /// Version of this file, [`SCHEMA`].
    pub schema: u32,
    /// The scenario's name, such as `xen-net-tx`.
    pub scenario: String,
    /// The command line that made the capture.
    pub command: Vec<String>,
    /// The command that ran in the guest between the markers.
    pub guest_command: String,
    /// The trace, relative to the folder.
    pub trace: String,
    /// Instructions recorded, as the recorder said; absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    /// Whether a second capture with the same versions gives the same bytes.
    pub deterministic: bool,
    /// Changes the recorder made to the running guest; empty for an untouched one.
    #[serde(default)]
    pub patches: Vec<String>,
    /// Event traces that tools inside made meanwhile, and what these tools print of them, relative
    /// to the folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// What the measured command printed that is worth keeping (iperf3's result lines).
    #[serde(default)]
    pub result: Vec<String>,
    /// The emulated machine.
    pub machine: Machine,
    /// The hypervisor; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// The domains, dom0 first.
    #[serde(default, rename = "domain")]
    pub domains: Vec<Domain>,
    /// Packages the images were built from.
    #[serde(default, rename = "package")]
    pub packages: Vec<Package>,
    /// Images that were booted.
    #[serde(default, rename = "image")]
    pub images: Vec<Image>,
}

/// The emulated machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Machine {
    /// The emulator's version line.
    pub qemu: String,
    /// The processor model given to it.
    pub cpu_model: String,
    /// Emulated CPUs.
    pub cpus: u32,
    /// RAM of the whole machine in MiB.
    pub memory_mib: u32,
    /// `-icount shift=N`: one instruction takes 2^N virtual nanoseconds.
    pub icount_shift: u32,
    /// The hypervisor's command line.
    pub xen_options: String,
    /// Linux' command line, dom0's.
    pub linux_options: String,
}

/// The hypervisor's symbols and where the recorder found the running vCPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hypervisor {
    /// `xen`.
    pub name: String,
    /// Its version as the package says.
    pub version: String,
    /// The symbol map, relative to the folder.
    pub map: String,
    /// GNU build id of the hypervisor that ran, in hexadecimal, equal to the symbol file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// What the recorder was told about Xen's structures.
    pub layout: XenLayout,
}

/// Where Xen keeps what tells which vCPU runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct XenLayout {
    /// Virtual address of `per_cpu(curr_vcpu)` of CPU 0.
    pub curr_vcpu: Address,
    /// Distance in bytes from the end of the hypervisor stack down to `cpu_info.current_vcpu`.
    pub current: u32,
    /// Offset of `domain` in `struct vcpu`, in bytes.
    pub vcpu_domain: u32,
    /// Offset of `vcpu_id` in `struct vcpu`, in bytes.
    pub vcpu_id: u32,
    /// Offset of `domain_id` in `struct domain`, in bytes.
    pub domain_id: u32,
}

/// One domain: its kernel's symbols and its processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Domain {
    /// Xen's domain id.
    pub id: u16,
    /// Its name, such as `dom0`.
    pub name: String,
    /// Its kernel's release, such as `6.1.0-13-amd64`.
    pub kernel: String,
    /// Its `/proc/kallsyms`, relative to the folder.
    pub kallsyms: String,
    /// GNU build id of the kernel that ran, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_build_id: Option<String>,
    /// Its `/proc/modules` (where each module ends), relative to the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<String>,
    /// The kernel's command line.
    #[serde(default)]
    pub linux_options: String,
    /// Processes seen while the workload ran, before and after the recording. Address space
    /// randomisation is off, so that a program's addresses hold for each of its runs.
    #[serde(default, rename = "process")]
    pub processes: Vec<Process>,
    /// The program files that the processes had mapped.
    #[serde(default, rename = "elf")]
    pub elf_files: Vec<ElfFile>,
}

/// A process and the code it had mapped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Process {
    /// Process id in its domain; 0 for a program too short-lived to be seen running.
    pub pid: u32,
    /// Its command line, words separated by spaces.
    pub command: String,
    /// Its executable mappings by rising address.
    #[serde(default, rename = "mapping")]
    pub mappings: Vec<Mapping>,
}

/// One executable mapping of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mapping {
    /// First address.
    pub start: Address,
    /// Last address, exclusive.
    pub end: Address,
    /// Offset in the file of the first address, in bytes.
    pub offset: Address,
    /// The file's path in the guest, or a name such as `[vdso]`.
    pub path: String,
}

/// A program file of a domain, copied from the image that was booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ElfFile {
    /// Its path in the guest, as in [`Mapping::path`].
    pub path: String,
    /// The copy, relative to the folder; `.zst` means compressed with zstd.
    pub file: String,
    /// GNU build id in hexadecimal, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// BLAKE3 of the uncompressed file, in hexadecimal.
    pub blake3: String,
}

/// A package the images were built from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version as the package system writes it.
    pub version: String,
}

/// A file that was booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Image {
    /// What it is: `xen`, `vmlinux`, `dom0.cpio`, …
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 in hexadecimal.
    pub blake3: String,
}

impl CaptureManifest {
    /// Reads the manifest of a capture folder.
    ///
    /// # Errors
    ///
    /// If the folder has none, or it is unreadable, malformed or of a newer schema.
    pub fn load(folder: &Path) -> Result<CaptureManifest, ManifestError> {
        let path = folder.join(FILE_NAME);
        let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ManifestError::Missing { folder: folder.to_path_buf() },
            _ => ManifestError::Io { path: path.clone(), source },
        })?;
        Self::from_toml(&text, &path)
    }

    /// Reads a manifest from its text; `path` only names it in errors.
    ///
    /// # Errors
    ///
    /// If it is malformed, of a newer schema, or names files outside its folder.
    pub fn from_toml(text: &str, path: &Path) -> Result<CaptureManifest, ManifestError> {
        /// Read first, so that a newer schema is named as such and not by its unknown fields.
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let syntax = |error: toml::de::Error| ManifestError::Syntax {
            path: path.to_path_buf(),
            message: error.to_string(),
        };
        let version: Version = toml::from_str(text).map_err(syntax)?;
        if version.schema > SCHEMA {
            return Err(ManifestError::Schema { path: path.to_path_buf(), found: version.schema });
        }
        let manifest: CaptureManifest = toml::from_str(text).map_err(syntax)?;
        manifest.check_paths(path)?;
        Ok(manifest)
    }

    /// Writes the manifest into a capture folder, replacing the one there.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ManifestError> {
        let path = folder.join(FILE_NAME);
        let text = toml::to_string(self).map_err(|error| ManifestError::Syntax {
            path: path.clone(),
            message: error.to_string(),
        })?;
        fs::write(&path, text).map_err(|source| ManifestError::Io { path, source })
    }

    /// The domain of an id.
    pub fn domain(&self, id: u16) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.id == id)
    }

    /// A capture may come from someone else: none of its paths may reach outside its folder.
    fn check_paths(&self, manifest: &Path) -> Result<(), ManifestError> {
        let trace = [("trace".to_owned(), &self.trace)];
        let map = self.hypervisor.iter().map(|h| ("hypervisor.map".to_owned(), &h.map));
        let kallsyms =
            self.domains.iter().map(|d| (format!("kallsyms of {}", d.name), &d.kallsyms));
        let modules = self.domains.iter().filter_map(|d| {
            d.modules.as_ref().map(|file| (format!("modules of {}", d.name), file))
        });
        let elf = self.domains.iter().flat_map(|d| {
            d.elf_files.iter().map(|e| (format!("elf {} of {}", e.path, d.name), &e.file))
        });
        let events = self.events.iter().map(|file| ("events".to_owned(), file));
        let symbols = map.chain(kallsyms).chain(modules).chain(elf);
        for (field, value) in trace.into_iter().chain(events).chain(symbols) {
            let inside = Path::new(value)
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_)));
            if !inside || value.is_empty() {
                return Err(ManifestError::Outside {
                    path: manifest.to_path_buf(),
                    field,
                    value: value.clone(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> CaptureManifest {
        CaptureManifest {
            schema: SCHEMA,
            scenario: "xen-net-local".into(),
            command: vec!["strata".into(), "capture".into()],
            guest_command: "iperf3 -c 10.0.2.15 -n 4M".into(),
            trace: "trace.strata".into(),
            instructions: Some(49_907_008),
            deterministic: true,
            patches: vec![],
            events: vec!["events/xentrace.bin".into()],
            result: vec!["[  5] 0.00-1.00 sec \"4 MBytes\"".into()],
            machine: Machine {
                qemu: "10.0.2".into(),
                cpu_model: "core2duo,-vmx".into(),
                cpus: 1,
                memory_mib: 1024,
                icount_shift: 3,
                xen_options: "xpti=off".into(),
                linux_options: "nokaslr".into(),
            },
            hypervisor: Some(Hypervisor {
                name: "xen".into(),
                version: "4.17".into(),
                map: "symbols/xen.map".into(),
                build_id: None,
                layout: XenLayout {
                    curr_vcpu: Address(0xffff_82d0_4057_a8f8),
                    current: 56,
                    vcpu_domain: 16,
                    vcpu_id: 0,
                    domain_id: 0,
                },
            }),
            domains: vec![Domain {
                id: 0,
                name: "dom0".into(),
                kernel: "6.1.0".into(),
                kallsyms: "symbols/dom0.kallsyms.zst".into(),
                kernel_build_id: None,
                modules: Some("symbols/dom0.modules".into()),
                linux_options: String::new(),
                processes: vec![Process {
                    pid: 1,
                    command: "/bin/sh /init".into(),
                    mappings: vec![Mapping {
                        start: Address(0x40_1000),
                        end: Address(0x40_2000),
                        offset: Address(0x1000),
                        path: "/bin/busybox".into(),
                    }],
                }],
                elf_files: vec![],
            }],
            packages: vec![Package { name: "iperf3".into(), version: "3.12".into() }],
            images: vec![],
        }
    }

    #[test]
    fn a_saved_manifest_loads_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        example().save(folder.path()).unwrap();
        assert_eq!(CaptureManifest::load(folder.path()).unwrap(), example());
    }

    #[test]
    fn a_folder_without_a_manifest_is_no_capture() {
        let folder = tempfile::tempdir().unwrap();
        let error = CaptureManifest::load(folder.path()).unwrap_err();
        assert!(error.to_string().contains("not a capture folder"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let mut text = toml::to_string(&example()).unwrap();
        text.insert_str(0, "colour = \"red\"\n");
        let error = CaptureManifest::from_toml(&text, Path::new("x/capture.toml")).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("colour") && message.contains("x/capture.toml"), "{message}");
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for path in ["../trace.strata", "/etc/passwd", "symbols/../../x", ""] {
            let text = toml::to_string(&CaptureManifest { trace: path.into(), ..example() });
            let error = CaptureManifest::from_toml(&text.unwrap(), Path::new("c.toml"));
            assert!(matches!(error, Err(ManifestError::Outside { .. })), "{path} was accepted");
        }
    }

    #[test]
    fn an_address_that_is_no_number_is_refused() {
        let text = toml::to_string(&example()).unwrap().replace("0x401000", "four");
        let error = CaptureManifest::from_toml(&text, Path::new("c.toml")).unwrap_err();
        assert!(error.to_string().contains("\"four\" is not an address"), "{error}");
    }
}
