//! A small copy of a capture: the symbols that its trace uses, and the trace packed tighter.

use crate::capture_names::{CaptureNames, FINGERPRINTS, NamesError};
use crate::error::Error;
use crate::pipeline::for_each_batch;
use crate::profile::Profile;
use crate::replay::{Extent, Replay};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use strata_cachemodel::Machine;
use strata_symbols::{
    DomainId, Layer, write_fingerprints, write_trimmed_image, write_trimmed_table,
};
use strata_workloads::manifest::{CaptureManifest, ManifestError};
use strata_workloads::trace::{Ending, TraceError, TraceReader, TraceWriter, WriterOptions};

/// Why a capture could not be trimmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrimError {
    /// The replay that finds out what is used failed.
    #[error(transparent)]
    Replay(#[from] Error),
    /// The symbols cannot be used.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// The manifest cannot be read or written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The trace cannot be read or written.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A file cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The symbols cannot be written.
    #[error(transparent)]
    Symbols(#[from] strata_symbols::Error),
}

/// How a capture is trimmed.
#[derive(Clone, Debug)]
pub struct TrimOptions {
    /// zstd level of trace and symbols, 1 to 22.
    pub level: i32,
    /// Keep the chunks of the first so many instructions; all if absent.
    pub instructions: Option<u64>,
}

/// What trimming came to.
#[derive(Clone, Debug)]
pub struct TrimReport {
    /// What the new trace says of itself.
    pub trace: Ending,
    /// Its size in bytes.
    pub trace_bytes: u64,
    /// Size of everything else in bytes.
    pub symbol_bytes: u64,
}

/// Writes a trimmed copy of the capture in `folder` to the new folder `out`.
///
/// # Errors
/// Fails if the capture cannot be read, `out` exists or cannot be written.
pub fn trim(folder: &Path, out: &Path, options: &TrimOptions) -> Result<TrimReport, TrimError> {
    let mut manifest = CaptureManifest::load(folder)?;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| TrimError::Io { path, source }
    };
    fs::create_dir(out).map_err(at(out))?;
    let trace = out.join(&manifest.trace);
    let ending = repack(&folder.join(&manifest.trace), &trace, options)?;
    let names = CaptureNames::open(folder, &manifest)?;
    let (profile, names) = replay_all(&trace, names)?;
    write_symbols(out, &mut manifest, &profile, &names, options.level)?;
    if options.instructions.is_some() {
        // They tell of the whole.
        manifest.events.clear();
    }
    for event_trace in &manifest.events {
        let (from, to) = (folder.join(event_trace), out.join(event_trace));
        let parent = to.parent().unwrap_or(out);
        fs::create_dir_all(parent).map_err(at(parent))?;
        fs::copy(&from, &to).map_err(at(&from))?;
    }
    manifest.instructions = Some(ending.totals.instructions);
    manifest.save(out)?;
    let trace_bytes = fs::metadata(&trace).map_err(at(&trace))?.len();
    let all = folder_bytes(out).map_err(at(out))?;
    Ok(TrimReport { trace: ending, trace_bytes, symbol_bytes: all - trace_bytes })
}

/// Sum of the sizes of all files in a folder, in bytes.
fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

fn repack(from: &Path, to: &Path, options: &TrimOptions) -> Result<Ending, TrimError> {
    let mut reader = TraceReader::open(from)?;
    let io = |source| TrimError::Io { path: to.to_owned(), source };
    let sink = BufWriter::new(File::create_new(to).map_err(io)?);
    let mut sink = Some(sink);
    let mut writer: Option<TraceWriter<BufWriter<File>>> = None;
    let mut batch = Default::default();
    while reader.read(&mut batch)? {
        let head = reader.chunk_head();
        let enough = options
            .instructions
            .is_some_and(|limit| head.is_some_and(|head| head.before.instructions >= limit));
        if enough {
            break;
        }
        if let (Some(sink), Some(head)) = (sink.take(), head) {
            let settings = WriterOptions {
                level: options.level,
                description: reader.description().to_owned(),
                lacks: reader.lacks(),
                initial: head.state.clone(),
                ..WriterOptions::default()
            };
            writer = Some(TraceWriter::create(sink, settings)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&mut batch)?;
        }
    }
    match writer {
        Some(writer) => Ok(writer.finish()?.1),
        None => Err(TraceError::Empty.into()),
    }
}

fn replay_all(trace: &Path, names: CaptureNames) -> Result<(Profile, CaptureNames), TrimError> {
    let machine = Machine::load("vee07").unwrap_or_else(|e| unreachable!("a built-in preset: {e}"));
    let (replay, _) = for_each_batch(
        TraceReader::open(trace)?,
        |state| Replay::new(&machine, names, state, Extent::default()),
        |replay, batch| {
            replay.batch(batch);
            true
        },
    )?;
    Ok(replay.finish()?)
}

/// Functions that ran, by layer.
fn used(profile: &Profile) -> BTreeMap<Layer, Vec<u64>> {
    let mut used: BTreeMap<Layer, Vec<u64>> = BTreeMap::new();
    for row in &profile.rows {
        if let Some(name) = &row.function.name {
            used.entry(row.function.layer).or_default().push(name.address);
        }
    }
    used
}

fn write_symbols(
    out: &Path,
    manifest: &mut CaptureManifest,
    profile: &Profile,
    names: &CaptureNames,
    level: i32,
) -> Result<(), TrimError> {
    let used = used(profile);
    let of = |layer: Layer| used.get(&layer).into_iter().flatten().copied();
    let mut list = Vec::new();
    if let Some(hypervisor) = &mut manifest.hypervisor {
        let all = of(Layer::Hypervisor).chain(of(Layer::Idle));
        write_trimmed_table(names.symbols().hypervisor(), all, &mut list)?;
        hypervisor.map = "symbols/xen.map.zst".into();
        write_packed(&out.join(&hypervisor.map), &list, level)?;
    }
    let fingerprints = names.fingerprints(manifest);
    for domain in &mut manifest.domains {
        let id = DomainId(domain.id);
        let Some(symbols) = names.symbols().domain(id) else { continue };
        list.clear();
        write_trimmed_table(symbols.kernel(), of(Layer::Kernel(id)), &mut list)?;
        domain.kallsyms = format!("symbols/dom{}.kallsyms.zst", domain.id);
        // The list has sizes of its own.
        domain.modules = None;
        write_packed(&out.join(&domain.kallsyms), &list, level)?;
        let mut kept = Vec::new();
        for elf in &domain.elf_files {
            let print = format!("dom{}:{}", domain.id, elf.path);
            // What never ran needs no names.
            if !fingerprints.iter().any(|fingerprint| fingerprint.name == print) {
                continue;
            }
            let Some(image) = symbols.images().iter().find(|image| image.path() == elf.path) else {
                continue;
            };
            let mut addresses = Vec::new();
            for (_, space) in symbols.spaces() {
                for placement in space.placements() {
                    if placement.image.as_ref().is_some_and(|i| i.path() == elf.path) {
                        let inside = of(Layer::User(id))
                            .filter(|a| (placement.start..placement.end).contains(a));
                        addresses.extend(inside.map(|a| placement.bias.to_image(a)));
                    }
                }
            }
            list.clear();
            write_trimmed_image(image, addresses, &mut list)?;
            let mut elf = elf.clone();
            elf.file = format!("symbols/dom{}/{}.zst", domain.id, kept.len());
            write_packed(&out.join(&elf.file), &list, level)?;
            kept.push(elf);
        }
        domain.elf_files = kept;
    }
    list.clear();
    write_fingerprints(&fingerprints, &mut list)?;
    write_packed(&out.join(format!("{FINGERPRINTS}.zst")), &list, level)
}

fn write_packed(path: &Path, text: &[u8], level: i32) -> Result<(), TrimError> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut packed = zstd::Encoder::new(File::create_new(path)?, level)?;
        packed.write_all(text)?;
        packed.finish()?.flush()
    };
    write().map_err(|source| TrimError::Io { path: path.to_owned(), source })
}
