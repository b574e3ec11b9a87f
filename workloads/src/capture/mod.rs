//! The making of captures: boots the real workload in QEMU, records it and gathers the symbols.
//!
//! [`run`] is the whole of `strata capture`: from nothing but a Debian machine with QEMU to a
//! finished capture folder. The guests are described in `workloads/xen`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod archive;
mod boot;
mod census;
mod collected;
mod emulator;
mod error;
mod folder;
mod host;
mod images;
mod kernel_image;
mod kernel_modules;
mod libraries;
mod packages;
mod program;
mod recipe;
mod recorder;
mod scenario;
mod symbol_files;
mod tools;
mod xen_layout;

use std::path::{Path, PathBuf};

pub use error::{CaptureError, MissingTool};
pub use scenario::Scenario;

use crate::manifest::{CaptureManifest, Hypervisor, Machine, SCHEMA};
use boot::Boot;
use error::FileContext;
use folder::OutputFolder;
use images::Images;

/// Tells a person how far a capture is.
pub trait Progress {
    /// A stage begins.
    fn stage(&mut self, what: &str);
    /// Something worth a line within the stage.
    fn note(&mut self, what: &str);
    /// So much is recorded: instructions, and bytes of the trace.
    fn recorded(&mut self, instructions: u64, bytes: u64);
}

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
    /// What the guest runs between the markers, instead of iperf3.
    pub guest_command: Option<String>,
    /// How much iperf3 transfers, as its `-n` takes it, such as `4M`.
    pub bytes: String,
    /// The guest's memory in MiB.
    pub memory_mib: u32,
    /// Added to the hypervisor's command line.
    pub xen_options: String,
    /// Added to both kernels' command lines.
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

/// The cache that is used when none is named: `$XDG_CACHE_HOME/strata` or `~/.cache/strata`.
pub fn default_cache() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("strata"))
}

/// Makes a capture and returns its manifest.
///
/// # Errors
///
/// If this machine lacks something, a package cannot be fetched, a guest fails, or the folder is
/// taken. What was made until then stays in `OUT.partial`, for its logs.
pub fn run(
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<CaptureManifest, CaptureError> {
    progress.stage("checking this machine");
    boot::check(request)?;
    let recorder = recorder::find(request.recorder.as_deref())?;
    let qemu = tools::check(request.scenario)?;
    let out = OutputFolder::prepare(&request.out, request.force)?;
    let images = Images::prepare(&request.cache, progress)?;

    let boot = Boot { request, images: &images, recorder: &recorder, folder: out.path() };
    let recorded = boot.run(progress)?;

    progress.stage("writing the capture folder");
    let options = boot.linux_options();
    let domains = collected::unpack(&recorded.collected, request.keep_logs.then(|| out.path()))?;
    let result = domains.iter().find(|d| d.id == 1).map(|d| d.result_lines()).unwrap_or_default();
    let map = symbol_files::copy_hypervisor_map(&images, out.path())?;
    let mut described = Vec::new();
    for domain in &domains {
        let mut entry = symbol_files::write(domain, &images, out.path())?;
        entry.linux_options =
            if domain.id == 0 { options.dom0.clone() } else { options.guest.clone() };
        described.push(entry);
    }
    let manifest = CaptureManifest {
        schema: SCHEMA,
        scenario: request.scenario.name().to_owned(),
        command: request.command_line.clone(),
        guest_command: recorded.guest_command,
        trace: "trace.strata".to_owned(),
        instructions: recorded.instructions,
        deterministic: request.scenario.is_deterministic(),
        patches: Vec::new(),
        result,
        machine: Machine {
            qemu,
            cpu_model: boot::CPU_MODEL.to_owned(),
            cpus: request.cpus,
            memory_mib: boot::machine_memory_mib(request),
            icount_shift: boot::ICOUNT_SHIFT,
            xen_options: boot.xen_options(),
            linux_options: options.dom0,
        },
        hypervisor: Some(Hypervisor {
            name: "xen".to_owned(),
            version: images.facts.xen_version.clone(),
            map,
            build_id: images.facts.xen_build_id.clone(),
            layout: images.facts.layout,
        }),
        domains: described,
        packages: images.facts.packages.clone(),
        images: images.facts.images.clone(),
    };
    manifest.save(out.path())?;
    out.finish()?;
    Ok(manifest)
}

/// Removes a file that may not be there.
fn remove_if_there(path: &Path) -> Result<(), CaptureError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).on("remove", path),
        _ => Ok(()),
    }
}
