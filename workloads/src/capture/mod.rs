//! The making of captures: boots the real workload in QEMU, records it and gathers the symbols.
//!
//! [`run`] is the whole of `strata capture`: from nothing but a Debian machine with QEMU to a
//! finished capture folder. The guests are described in `workloads/xen`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod archive;
mod boot;
mod builder;
mod census;
mod collected;
mod emulator;
mod error;
mod folder;
mod host;
mod images;
mod kernel_image;
mod kernel_modules;
mod kvm_boot;
mod libraries;
mod own_programs;
mod packages;
mod program;
mod recipe;
mod recorder;
mod request;
mod scenario;
mod symbol_files;
mod tools;
mod xen_boot;
mod xen_layout;

use std::path::{Path, PathBuf};

pub use error::{CaptureError, MissingTool};
pub use request::{BYTES, MEMORY_MIB, Request};
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
    request.check()?;
    let recorder = recorder::find(request.recorder.as_deref())?;
    let qemu = tools::check(request.scenario)?;
    let out = OutputFolder::prepare(&request.out, request.force)?;
    let images = Images::prepare(request.scenario.platform(), &request.cache, progress)?;

    let boot = Boot { request, images: &images, recorder: &recorder, folder: out.path() };
    let recorded = boot.run(progress)?;

    progress.stage("writing the capture folder");
    let logs = request.keep_logs.then(|| out.path());
    let domains = collected::unpack(request.scenario.platform(), &recorded.collected, logs)?;
    // The last one ran the measured command.
    let result = domains.last().map(|domain| domain.result_lines()).unwrap_or_default();
    let hypervisor = match &images.facts.xen {
        Some(xen) => Some(Hypervisor {
            name: "xen".to_owned(),
            version: xen.version.clone(),
            map: symbol_files::copy_hypervisor_map(&images, out.path())?,
            build_id: xen.build_id.clone(),
            layout: xen.layout,
        }),
        None => None,
    };
    let mut described = Vec::new();
    let mut events = Vec::new();
    for domain in &domains {
        let mut entry = symbol_files::write(domain, &images, out.path())?;
        entry.linux_options = boot.linux_options(domain.id);
        described.push(entry);
        events.extend(symbol_files::write_events(domain, out.path())?);
    }
    let manifest = CaptureManifest {
        schema: SCHEMA,
        scenario: request.scenario.name().to_owned(),
        command: request.command_line.clone(),
        guest_command: recorded.guest_command,
        trace: "trace.strata".to_owned(),
        instructions: recorded.instructions,
        deterministic: request.scenario.is_deterministic(),
        patches: request.scenario.patch().iter().map(|p| p.description.to_owned()).collect(),
        events,
        result,
        machine: Machine {
            qemu,
            cpu_model: request.scenario.cpu_model().to_owned(),
            cpus: request.cpus,
            memory_mib: request.machine_memory_mib(),
            icount_shift: boot::ICOUNT_SHIFT,
            xen_options: boot.xen_options(),
            linux_options: boot.linux_options(0),
        },
        hypervisor,
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
