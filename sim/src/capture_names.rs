//! Names from the symbols of a capture folder.

use crate::functions::{Name, Namer, Naming, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use strata_symbols::{
    AddressSpaceId, Agreement, BuildId, DomainId, DomainSymbols, EntryCheck, ExecutedCode,
    Fingerprint, Frame, KERNEL_TOLERANCE, Layer, LoadBias, MachineSymbols, Mapping,
    NamedFingerprint, ProcessMaps, SymbolSource, UserImage, Verdict, read_file, read_fingerprints,
    read_kallsyms_with_modules, read_proc_modules, read_symbol_list,
};
use strata_workloads::manifest::{self, CaptureManifest};
use strata_workloads::trace::SpaceId;

/// File of a capture folder with the fingerprints of the code that ran.
pub const FINGERPRINTS: &str = "symbols/fingerprints";

/// Why a capture's symbols cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamesError {
    /// A file could not be read or makes no sense.
    #[error("symbols of {whose}: {source}; make the capture again, or replay with --no-symbols")]
    Unusable {
        /// `xen`, `dom0`, a path.
        whose: String,
        /// What is wrong.
        source: strata_symbols::Error,
    },
    /// The symbols are of another build than the code that ran.
    #[error(
        "symbols of {whose} do not belong to this trace: {differed} of {compared} lines of code that ran are not the expected ones, first at {first:#x}; put the symbols of the build that ran in place (`strata capture` fetches them), or replay with --no-symbols"
    )]
    Wrong {
        /// `xen`, `dom0-kernel`, a path.
        whose: String,
        /// Lines of 64 bytes that differ.
        differed: u64,
        /// Lines compared.
        compared: u64,
        /// Address of the first.
        first: u64,
    },
    /// Calls do not land where functions begin.
    #[error(
        "symbols of {whose} do not belong to this trace: only {at_start} of {calls} functions called are ones by these symbols; put the symbols of the build that ran in place (`strata capture` fetches them), or replay with --no-symbols"
    )]
    Misplaced {
        /// `hypervisor`, `dom0-kernel`, …
        whose: String,
        /// Targets of calls at the first byte of a symbol.
        at_start: u64,
        /// Targets of calls.
        calls: u64,
    },
}

/// Names of everything in a capture.
///
/// Hypervisor and kernels are named as their code is met. Which program runs in an address space
/// is found from the code bytes that ran in it, once the stream has ended, or beforehand by
/// [`learn`](Self::learn).
pub struct CaptureNames {
    symbols: MachineSymbols,
    fingerprints: Vec<NamedFingerprint>,
    /// Code that ran, of each layer; user code by address space.
    code: BTreeMap<(Layer, AddressSpaceId), ExecutedCode>,
    /// Blocks of user code, for the fingerprints of programs.
    user_blocks: Vec<(DomainId, AddressSpaceId, u64, Box<[u8]>)>,
    /// Where direct calls of the hypervisor and of kernels go.
    call_targets: BTreeMap<Layer, BTreeSet<u64>>,
    /// The programs of all address spaces are known.
    identified: bool,
    /// Names of user code say the line.
    lines: bool,
}

const NO_SPACE: AddressSpaceId = AddressSpaceId(u64::MAX);

impl CaptureNames {
    /// Reads the symbols that `manifest` names in `folder`.
    ///
    /// # Errors
    /// Names the file that is missing or makes no sense.
    pub fn open(folder: &Path, manifest: &CaptureManifest) -> Result<Self, NamesError> {
        let hypervisor = match &manifest.hypervisor {
            Some(hypervisor) => SymbolSource::XenMap
                .open(&find(folder, &hypervisor.map))
                .map_err(unusable(&hypervisor.name))?,
            None => Default::default(),
        };
        let path = find(folder, FINGERPRINTS);
        let fingerprints = if path.exists() {
            let bytes = read_file(&path).map_err(unusable("the fingerprints"))?;
            read_fingerprints(&bytes, &path.display().to_string())
                .map_err(unusable("the fingerprints"))?
        } else {
            Vec::new()
        };
        let mut symbols = MachineSymbols::new(hypervisor);
        for domain in &manifest.domains {
            let read = read_domain(folder, domain, &fingerprints)?;
            symbols.add_domain(DomainId(domain.id), read);
        }
        Ok(CaptureNames {
            symbols,
            fingerprints,
            code: BTreeMap::new(),
            user_blocks: Vec::new(),
            call_targets: BTreeMap::new(),
            identified: false,
            lines: false,
        })
    }

    /// The symbols, with every address space identified that a replay has met.
    pub fn symbols(&self) -> &MachineSymbols {
        &self.symbols
    }

    /// Code that ran in a kernel or the hypervisor, or in a user address space.
    pub fn code(&self) -> impl Iterator<Item = (Layer, AddressSpaceId, &ExecutedCode)> {
        self.code.iter().map(|(&(layer, space), code)| (layer, space, code))
    }

    fn identify(&mut self) {
        if std::mem::replace(&mut self.identified, true) {
            return;
        }
        for (&(layer, space), code) in &self.code {
            if let Layer::User(domain) = layer
                && let Some(domain) = self.symbols.domain_mut(domain)
            {
                domain.identify(space, code);
            }
        }
    }

    /// The frames at a place of user code, innermost first, where its line is known.
    fn line_at(&self, place: &Place<'_>, space: AddressSpaceId) -> Option<String> {
        let Layer::User(domain) = place.layer else { return None };
        let symbols = self.symbols.domain(domain).filter(|_| self.lines)?;
        let placement = symbols.space(space)?.placement(place.address)?;
        let frames = placement.image.as_ref()?.frames(placement.bias.to_image(place.address));
        let is_known = frames.iter().any(|frame| frame.line.is_some());
        is_known.then(|| frames.iter().map(frame_text).collect::<Vec<_>>().join(" in "))
    }

    /// Takes note of a program's code that ran.
    pub(crate) fn add_user_code(
        &mut self,
        domain: DomainId,
        space: Option<SpaceId>,
        address: u64,
        code: &[u8],
    ) {
        let space = user_space(space);
        self.code.entry((Layer::User(domain), space)).or_default().add(address, code);
    }

    /// Forgets what ran, but not which programs the address spaces are of.
    pub(crate) fn begin_again(&mut self) {
        self.identify();
        self.code.clear();
        self.user_blocks.clear();
        self.call_targets.clear();
    }

    /// From now on names of user code say the line of source code and the calls inlined there,
    /// where debugging information tells them: `turn (sum.c:3) in sum (sum.c:14)`. Each line is
    /// then a name of its own. To be called after [`learn`](Self::learn), without which a name
    /// goes for a whole block.
    pub fn tell_lines(&mut self) {
        self.lines = true;
    }

    /// Compares the code that ran with the fingerprints that came with the symbols, and looks
    /// whether calls land where functions begin.
    ///
    /// # Errors
    /// [`NamesError::Wrong`] or [`NamesError::Misplaced`] if the symbols of a kernel or of the
    /// hypervisor are of another build.
    pub fn check(&self) -> Result<(), NamesError> {
        for (layer, targets) in &self.call_targets {
            let table = match layer {
                Layer::Kernel(domain) => self.symbols.domain(*domain).map(DomainSymbols::kernel),
                _ => Some(self.symbols.hypervisor()),
            };
            let Some(table) = table.filter(|table| !table.is_empty()) else { continue };
            let check = EntryCheck::of(table, targets.iter().copied());
            if check.fits() == Some(false) {
                let calls = check.at_start + check.inside + check.unnamed;
                let (whose, at_start) = (layer.to_string(), check.at_start);
                return Err(NamesError::Misplaced { whose, at_start, calls });
            }
        }
        for print in &self.fingerprints {
            let Some(layer) = kernel_layer(&print.name) else { continue };
            let Some(code) = self.code.get(&(layer, NO_SPACE)) else { continue };
            let agreement = print.fingerprint.check(code, 0, u64::MAX, LoadBias(0));
            if agreement.verdict(KERNEL_TOLERANCE) == Verdict::Different {
                return Err(wrong(&print.name, &agreement));
            }
        }
        Ok(())
    }

    /// What is wrong with the images of programs, or with modules of a kernel, a sentence each.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self
            .symbols
            .domains()
            .flat_map(|(_, domain)| domain.spaces())
            .flat_map(|(_, space)| space.rejected())
            .map(ToString::to_string)
            .collect();
        for (id, domain) in self.symbols.domains() {
            let overlaps = domain.kernel().overlaps().iter();
            complaints.extend(overlaps.map(|overlap| format!("{}: {overlap}", Layer::Kernel(id))));
        }
        if self.lines {
            let images = self.symbols.domains().flat_map(|(_, domain)| domain.images());
            complaints.extend(images.filter_map(|image| {
                let problem = image.lines_problem()?;
                let path = image.path();
                Some(format!("{path}: its debugging information is damaged ({problem}), so that its lines are not known; copy the file again"))
            }));
        }
        complaints.sort();
        complaints.dedup();
        complaints
    }

    /// Fingerprints of all code that ran, to keep beside trimmed symbols.
    pub fn fingerprints(&self, manifest: &CaptureManifest) -> Vec<NamedFingerprint> {
        let mut prints = self.kernel_fingerprints(manifest);
        let mut images: BTreeMap<String, (Option<BuildId>, ExecutedCode)> = BTreeMap::new();
        for (domain, space, address, code) in &self.user_blocks {
            let symbols = self.symbols.domain(*domain);
            let placement =
                symbols.and_then(|d| d.space(*space)).and_then(|s| s.placement(*address));
            let Some((placement, image)) = placement.and_then(|p| Some((p, p.image.as_ref()?)))
            else {
                continue;
            };
            let print = images.entry(image_print(*domain, image.path())).or_default();
            print.0 = image.build_id().cloned();
            print.1.add(placement.bias.to_image(*address), code);
        }
        prints.extend(images.into_iter().map(|(name, (build_id, code))| NamedFingerprint {
            name,
            build_id,
            fingerprint: Fingerprint::of(&code, 0, u64::MAX, LoadBias(0)),
        }));
        prints
    }

    fn kernel_fingerprints(&self, manifest: &CaptureManifest) -> Vec<NamedFingerprint> {
        self.code
            .iter()
            .filter_map(|(&(layer, _), code)| {
                let build_id = match layer {
                    Layer::Hypervisor => manifest.hypervisor.as_ref()?.build_id.as_deref(),
                    Layer::Kernel(domain) => manifest.domain(domain.0)?.kernel_build_id.as_deref(),
                    _ => return None,
                };
                Some(NamedFingerprint {
                    name: layer.to_string(),
                    build_id: build_id.and_then(BuildId::from_hex),
                    fingerprint: Fingerprint::of(code, 0, u64::MAX, LoadBias(0)),
                })
            })
            .collect()
    }
}

/// The name under which the fingerprint of a domain's program is kept.
fn image_print(domain: DomainId, path: &str) -> String {
    format!("dom{}:{path}", domain.0)
}

/// The layer whose code a fingerprint of this name is of; `None` for programs.
fn kernel_layer(name: &str) -> Option<Layer> {
    name.parse().ok().filter(|layer| matches!(layer, Layer::Hypervisor | Layer::Kernel(_)))
}

fn wrong(whose: &str, agreement: &Agreement) -> NamesError {
    NamesError::Wrong {
        whose: whose.to_owned(),
        differed: agreement.differed,
        compared: agreement.matched + agreement.differed,
        first: agreement.first_difference.unwrap_or(0),
    }
}

fn unusable(whose: &str) -> impl FnOnce(strata_symbols::Error) -> NamesError {
    let whose = whose.to_owned();
    move |source| NamesError::Unusable { whose, source }
}

/// The file of this name, or its compressed form where only that exists.
fn find(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name);
    let compressed = folder.join(format!("{name}.zst"));
    if !plain.exists() && compressed.exists() { compressed } else { plain }
}

fn read_domain(
    folder: &Path,
    domain: &manifest::Domain,
    fingerprints: &[NamedFingerprint],
) -> Result<DomainSymbols, NamesError> {
    let path = find(folder, &domain.kallsyms);
    let file = path.display().to_string();
    let read = || {
        let bytes = read_file(&path)?;
        let Some(modules) = &domain.modules else {
            return SymbolSource::Kallsyms.read(&bytes, &file);
        };
        if let Ok(list) = read_symbol_list(&bytes, &file) {
            return Ok(list);
        }
        let modules = find(folder, modules);
        let ranges = read_proc_modules(&read_file(&modules)?, &modules.display().to_string())?;
        read_kallsyms_with_modules(&bytes, &file, &ranges)
    };
    let mut symbols = DomainSymbols::new(read().map_err(unusable(&domain.name))?);
    for elf in &domain.elf_files {
        let path = find(folder, &elf.file);
        let read = || UserImage::read(&read_file(&path)?, &path.display().to_string(), &elf.path);
        let image = read().map_err(unusable(&elf.path))?;
        let print = image_print(DomainId(domain.id), &elf.path);
        let print = fingerprints.iter().find(|fingerprint| fingerprint.name == print);
        symbols.add_image(match print {
            Some(print) => image.with_fingerprint(print.fingerprint.clone()),
            None => image,
        });
    }
    for process in &domain.processes {
        symbols.add_process(ProcessMaps {
            pid: process.pid,
            name: process.command.clone(),
            mappings: process.mappings.iter().map(mapping).collect(),
        });
    }
    Ok(symbols)
}

fn mapping(mapping: &manifest::Mapping) -> Mapping {
    Mapping {
        start: mapping.start.0,
        end: mapping.end.0,
        readable: true,
        writable: false,
        executable: true,
        shared: false,
        offset: mapping.offset.0,
        device: String::new(),
        inode: 0,
        path: Some(mapping.path.clone()),
        deleted: false,
    }
}

fn space_of(place: &Place<'_>) -> AddressSpaceId {
    match place.layer {
        Layer::User(_) => user_space(place.space),
        _ => NO_SPACE,
    }
}

fn user_space(space: Option<SpaceId>) -> AddressSpaceId {
    space.map_or(NO_SPACE, |space| AddressSpaceId(u64::from(space.0)))
}

impl Namer for CaptureNames {
    fn name(&mut self, place: &Place<'_>) -> Naming {
        let space = space_of(place);
        self.code.entry((place.layer, space)).or_default().add(place.address, place.code);
        match place.layer {
            Layer::User(_) if self.identified => {
                let name = look_up(&self.symbols, place, space);
                Naming::Known(match self.line_at(place, space) {
                    Some(line) => name.map(|name| Name { function: line, ..name }),
                    None => name,
                })
            }
            Layer::User(domain) => {
                self.user_blocks.push((domain, space, place.address, place.code.into()));
                Naming::Later
            }
            Layer::Unknown => Naming::Known(None),
            layer => {
                if let Some(target) = call_target(place) {
                    // The idle vCPU runs the hypervisor's code.
                    let owner = if layer == Layer::Idle { Layer::Hypervisor } else { layer };
                    self.call_targets.entry(owner).or_default().insert(target);
                }
                Naming::Known(look_up(&self.symbols, place, space))
            }
        }
    }

    fn settle(&mut self, place: &Place<'_>) -> Option<Name> {
        self.identify();
        look_up(&self.symbols, place, space_of(place))
    }

    fn name_data(&self, owner: Layer, space: Option<SpaceId>, address: u64) -> Option<Name> {
        let found = self.symbols.lookup_data(owner, user_space(space), address)?;
        let object = found.symbol?.display_name().into_owned();
        Some(Name { module: found.module.to_owned(), function: object, address: found.start })
    }
}

/// `function (file:line)`, of the file the last part of its path.
fn frame_text(frame: &Frame) -> String {
    let function = frame.function.as_deref().unwrap_or("unknown");
    let file = frame.file.as_deref().and_then(|file| file.rsplit('/').next());
    match (file, frame.line) {
        (Some(file), Some(line)) => format!("{function} ({file}:{line})"),
        _ => function.to_owned(),
    }
}

/// Where a direct near call (E8 and a 32-bit displacement) goes.
fn call_target(place: &Place<'_>) -> Option<u64> {
    let [0xe8, a, b, c, d, ..] = *place.code else { return None };
    let displacement = i64::from(i32::from_le_bytes([a, b, c, d]));
    Some(place.address.wrapping_add(5).wrapping_add(displacement as u64))
}

fn look_up(symbols: &MachineSymbols, place: &Place<'_>, space: AddressSpaceId) -> Option<Name> {
    let found = symbols.lookup(place.layer, space, place.address)?;
    let function = match &found.symbol {
        Some(symbol) => symbol.display_name().into_owned(),
        // A stripped program: its name is all there is.
        None => format!("[{}]", found.module),
    };
    Some(Name { module: found.module.to_owned(), function, address: found.start })
}
