//! The `symbols` folder of a capture.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use goblin::elf::Elf;
use goblin::elf::program_header::{PF_X, PT_LOAD};

use super::CaptureError;
use super::collected::DomainFiles;
use super::error::FileContext;
use super::images::{Images, build_id, hexadecimal};
use crate::manifest::{Address, Domain, ElfFile, Mapping, Process};

/// Symbols are text, compressed once and read often.
const LEVEL: i32 = 19;
/// The marker program is over before a census could see it.
const MARKER: &str = "/usr/bin/strata-mark";

/// Copies the hypervisor's symbol map; returns its path in the capture folder.
///
/// # Errors
///
/// If it cannot be copied.
pub(super) fn copy_hypervisor_map(images: &Images, folder: &Path) -> Result<String, CaptureError> {
    let name = "symbols/xen.map";
    let target = folder.join(name);
    make_parent(&target)?;
    fs::copy(images.file("xen.map"), &target).on("write", &target)?;
    Ok(name.to_owned())
}

/// Writes one domain's symbols and program files and describes them.
///
/// # Errors
///
/// If a file cannot be read or written.
pub(super) fn write(
    domain: &DomainFiles,
    images: &Images,
    folder: &Path,
) -> Result<Domain, CaptureError> {
    let name = domain.name;
    let kallsyms = format!("symbols/{name}.kallsyms.zst");
    let modules = format!("symbols/{name}.modules");
    make_parent(&folder.join(&kallsyms))?;
    compress(domain.file("kallsyms"), &folder.join(&kallsyms))?;
    let path = folder.join(&modules);
    fs::write(&path, domain.file("modules")).on("write", &path)?;
    let path = folder.join(format!("symbols/{name}.maps"));
    fs::write(&path, domain.file("processes")).on("write", &path)?;

    let mut processes = domain.processes();
    if let Some(file) = images.elf(domain.id, MARKER) {
        let bytes = fs::read(&file).on("read", &file)?;
        processes.insert(0, unseen_process(MARKER, &bytes));
    }
    let paths: BTreeSet<&str> = processes
        .iter()
        .flat_map(|process| &process.mappings)
        .map(|mapping| &*mapping.path)
        .collect();
    let mut elf_files = Vec::new();
    for path in paths {
        // Names in brackets, such as [vdso], are no files.
        let Some(source) = images.elf(domain.id, path) else { continue };
        let bytes = fs::read(&source).on("read", &source)?;
        let file = format!("symbols/elf/{name}{path}.zst");
        let target = folder.join(&file);
        make_parent(&target)?;
        compress(&bytes, &target)?;
        elf_files.push(ElfFile {
            path: path.to_owned(),
            file,
            build_id: build_id(&bytes).map(|id| hexadecimal(&id)),
            blake3: blake3::hash(&bytes).to_hex().to_string(),
        });
    }
    Ok(Domain {
        id: domain.id,
        name: name.to_owned(),
        kernel: domain.text("release").trim().to_owned(),
        kallsyms,
        kernel_build_id: domain.kernel_build_id().map(|id| hexadecimal(&id)),
        modules: Some(modules),
        linux_options: String::new(),
        processes,
        elf_files,
    })
}

/// A program at fixed addresses that ran too briefly to be seen: its mappings are in its file.
fn unseen_process(path: &str, bytes: &[u8]) -> Process {
    let mappings = Elf::parse(bytes).map_or_else(
        |_| Vec::new(),
        |elf| {
            elf.program_headers
                .iter()
                .filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_X != 0)
                .map(|header| Mapping {
                    start: Address(header.p_vaddr & !0xfff),
                    end: Address((header.p_vaddr + header.p_memsz).next_multiple_of(0x1000)),
                    offset: Address(header.p_offset & !0xfff),
                    path: path.to_owned(),
                })
                .collect()
        },
    );
    Process { pid: 0, command: path.to_owned(), mappings }
}

/// Writes the event traces that a domain sent; returns their paths in the capture folder.
///
/// # Errors
///
/// If one cannot be written.
pub(super) fn write_events(
    domain: &DomainFiles,
    folder: &Path,
) -> Result<Vec<String>, CaptureError> {
    let mut names = Vec::new();
    for (name, bytes) in domain.events() {
        let target = folder.join(name);
        make_parent(&target)?;
        fs::write(&target, bytes).on("write", &target)?;
        names.push(name.to_owned());
    }
    Ok(names)
}

fn compress(bytes: &[u8], target: &Path) -> Result<(), CaptureError> {
    let compressed = zstd::stream::encode_all(bytes, LEVEL).on("compress", target)?;
    fs::write(target, compressed).on("write", target)
}

fn make_parent(path: &Path) -> Result<(), CaptureError> {
    path.parent().map_or(Ok(()), |folder| fs::create_dir_all(folder).on("create", folder))
}
