//! What lies where in one user address space.

use std::fmt;
use std::sync::Arc;

use crate::agreement::{Agreement, USER_TOLERANCE, Verdict};
use crate::executed_code::{ExecutedCode, LINE_BYTES};
use crate::image_search;
use crate::load_bias::LoadBias;
use crate::place::Place;
use crate::proc_maps::{Mapping, ProcessMaps};
use crate::user_image::{UserImage, file_name};

/// An image in an address space.
#[derive(Clone, Debug)]
pub struct Placement {
    /// First address.
    pub start: u64,
    /// First address behind, exclusive.
    pub end: u64,
    /// Name of the module: the image's, or what the kernel calls the mapping (`[vdso]`).
    pub module: String,
    /// The image; none where only the mapping's name is known.
    pub image: Option<Arc<UserImage>>,
    /// Where it is loaded.
    pub bias: LoadBias,
    /// How the code that ran compares with the image.
    pub agreement: Agreement,
}

/// An image that should have been there, had the executed code not been other than the image's.
#[derive(Clone, Debug)]
pub struct RejectedPlacement {
    /// Path of the image.
    pub path: String,
    /// Name of the process whose mappings say that the image is there.
    pub process: String,
    /// Where it was said to be loaded.
    pub bias: LoadBias,
    /// What the comparison found; empty when the mapping does not fit the file at all.
    pub agreement: Agreement,
}

impl fmt::Display for RejectedPlacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, process, bias, agreement } = self;
        write!(f, "{path} is mapped by {process} at load bias {bias}, but ")?;
        match agreement.first_difference {
            Some(address) => write!(
                f,
                "{} of {} compared lines of executed code differ, first at {address:#x}; ",
                agreement.differed,
                agreement.differed + agreement.matched
            )?,
            None => write!(f, "the file has nothing to load at the mapped offset; ")?,
        }
        write!(f, "it is another build of the file or a wrong load address")
    }
}

/// Names for the code of one user address space.
///
/// Made by [`identify`](Self::identify) from the code that ran there; a CR3 value names no
/// process, so that executed bytes are what ties mappings and images to an address space.
#[derive(Clone, Debug, Default)]
pub struct AddressSpaceSymbols {
    /// By address, disjoint.
    placements: Vec<Placement>,
    process: Option<(u32, String)>,
    rejected: Vec<RejectedPlacement>,
    unplaced_lines: u64,
}

impl AddressSpaceSymbols {
    /// Finds out which images lie where.
    ///
    /// 1. The process whose mappings agree best with the executed code, counting matched less
    ///    differing lines, gives its images; those that disagree are rejected.
    /// 2. Code that is left is searched for in all images, whatever the mappings say: processes
    ///    come and go while a capture runs, and mappings are seldom copied at the right moment.
    ///
    /// Nothing is guessed: without agreement there is no placement. Processes with equal mappings
    /// (a program and its forked child) give the same names; the first is reported.
    pub fn identify(
        images: &[Arc<UserImage>],
        processes: &[ProcessMaps],
        code: &ExecutedCode,
    ) -> Self {
        let mut space = Self::default();
        let best = processes
            .iter()
            .map(|process| (process, Candidates::of(process, images, code)))
            .filter(|(_, candidates)| candidates.total.matched > 0 && candidates.total.score() > 0)
            .reduce(
                |best, next| {
                    if next.1.total.score() > best.1.total.score() { next } else { best }
                },
            );
        if let Some((process, candidates)) = best {
            space.process = Some((process.pid, process.name.clone()));
            space.rejected = candidates.rejected;
            candidates.placements.into_iter().for_each(|placement| space.insert(placement));
        }
        let mut left = code.without(|line| space.covers(line));
        while let Some(placement) = best_search_result(images, &left) {
            let before = space.placements.len();
            space.insert(placement);
            if space.placements.len() == before {
                break;
            }
            left = left.without(|line| space.covers(line));
        }
        space.unplaced_lines = left.line_count() as u64;
        space
    }

    /// An address space whose images are known beforehand, checked against nothing.
    pub fn from_placements(
        placements: impl IntoIterator<Item = (Arc<UserImage>, LoadBias)>,
    ) -> Self {
        let mut space = Self::default();
        for (image, bias) in placements {
            space.insert(placement(&image, bias, Agreement::default()));
        }
        space
    }

    /// Adds a placement unless another has part of its addresses.
    fn insert(&mut self, placement: Placement) {
        let at = self.placements.partition_point(|other| other.end <= placement.start);
        let is_free = self.placements.get(at).is_none_or(|next| placement.end <= next.start);
        if is_free && placement.start < placement.end {
            self.placements.insert(at, placement);
        }
    }

    /// Whether a placement has a part of the line of code.
    fn covers(&self, line: u64) -> bool {
        let at = self.placements.partition_point(|placement| placement.end <= line);
        self.placements
            .get(at)
            .is_some_and(|placement| placement.start < line.saturating_add(LINE_BYTES))
    }

    /// What an address of code is called. O(log n).
    pub fn lookup(&self, address: u64) -> Option<Place<'_>> {
        self.place(address, false)
    }

    /// What an address of data is called. O(log n).
    pub fn lookup_data(&self, address: u64) -> Option<Place<'_>> {
        self.place(address, true)
    }

    fn place(&self, address: u64, data: bool) -> Option<Place<'_>> {
        let placement = self.placement(address)?;
        let hit = placement.image.as_deref().and_then(|image| {
            let image_address = placement.bias.to_image(address);
            let symbols = image.symbols();
            if data { symbols.lookup_data(image_address) } else { symbols.lookup(image_address) }
        });
        Some(match hit {
            Some(hit) => Place::of_hit(hit, placement.bias),
            None => Place::of_module(&placement.module, placement.start, address),
        })
    }

    /// What lies at an address.
    pub fn placement(&self, address: u64) -> Option<&Placement> {
        let at = self.placements.partition_point(|placement| placement.end <= address);
        self.placements.get(at).filter(|placement| placement.start <= address)
    }

    /// All placements, by address.
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// Number and name of the process whose mappings fit.
    pub fn process(&self) -> Option<(u32, &str)> {
        self.process.as_ref().map(|(pid, name)| (*pid, name.as_str()))
    }

    /// Images that the process maps, but whose code is not what ran: wrong files or wrong load
    /// addresses, to be reported.
    pub fn rejected(&self) -> &[RejectedPlacement] {
        &self.rejected
    }

    /// 64-byte lines of executed code that no image was found for.
    pub fn unplaced_lines(&self) -> u64 {
        self.unplaced_lines
    }
}

/// What the mappings of a process come to.
#[derive(Default)]
struct Candidates {
    placements: Vec<Placement>,
    rejected: Vec<RejectedPlacement>,
    total: Agreement,
}

impl Candidates {
    fn of(process: &ProcessMaps, images: &[Arc<UserImage>], code: &ExecutedCode) -> Self {
        let mut candidates = Self::default();
        let mut seen: Vec<(&str, LoadBias)> = Vec::new();
        for mapping in process.mappings.iter().filter(|mapping| mapping.executable) {
            let Some(path) = mapping.path.as_deref() else { continue };
            let Some(image) = image_of_path(images, path) else {
                candidates.placements.push(nameplate(path, mapping));
                continue;
            };
            let reject = |bias, agreement| RejectedPlacement {
                path: path.to_owned(),
                process: process.name.clone(),
                bias,
                agreement,
            };
            let Ok(bias) = image.load_bias(mapping) else {
                let bias = LoadBias(mapping.start.wrapping_sub(mapping.offset));
                candidates.rejected.push(reject(bias, Agreement::default()));
                continue;
            };
            // An image split into several executable mappings is placed once.
            if seen.contains(&(path, bias)) {
                continue;
            }
            seen.push((path, bias));
            let agreement = image.check(code, bias);
            candidates.total.add(&agreement);
            if agreement.verdict(USER_TOLERANCE) == Verdict::Different {
                candidates.rejected.push(reject(bias, agreement));
            } else {
                candidates.placements.push(placement(image, bias, agreement));
            }
        }
        candidates
    }
}

fn placement(image: &Arc<UserImage>, bias: LoadBias, agreement: Agreement) -> Placement {
    let extent = image.extent();
    let start = bias.to_memory(extent.start);
    Placement {
        start,
        end: start.saturating_add(extent.end - extent.start),
        module: image.name().to_owned(),
        image: Some(Arc::clone(image)),
        bias,
        agreement,
    }
}

/// A placement that knows a name only.
fn nameplate(path: &str, mapping: &Mapping) -> Placement {
    Placement {
        start: mapping.start,
        end: mapping.end,
        module: file_name(path).to_owned(),
        image: None,
        bias: LoadBias(mapping.start),
        agreement: Agreement::default(),
    }
}

/// The image of a mapped path. `/usr/lib` and `/lib` are one folder on merged systems.
fn image_of_path<'a>(images: &'a [Arc<UserImage>], path: &str) -> Option<&'a Arc<UserImage>> {
    let merged = |path: &'_ str| path.strip_prefix("/usr").unwrap_or(path).to_owned();
    images
        .iter()
        .find(|image| image.path() == path)
        .or_else(|| images.iter().find(|image| merged(image.path()) == merged(path)))
}

/// The image that explains most of the code, at the place where it does.
fn best_search_result(images: &[Arc<UserImage>], code: &ExecutedCode) -> Option<Placement> {
    if code.is_empty() {
        return None;
    }
    let found = images.iter().filter_map(|image| {
        let (bias, agreement) = image_search::find_bias(image, code)?;
        Some(placement(image, bias, agreement))
    });
    found.reduce(
        |best, next| {
            if next.agreement.score() > best.agreement.score() { next } else { best }
        },
    )
}
