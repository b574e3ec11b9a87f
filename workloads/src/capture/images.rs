//! The images that are booted: built once from packages and kept in a cache.
//!
//! A cache entry's name is a hash over the package versions and the recipe, so that an entry never
//! changes. It is built in a folder beside it and renamed when it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::builder::Builder;
use super::error::FileContext;
use super::packages::PackageSet;
use super::recipe::Recipe;
use super::scenario::Platform;
use super::{CaptureError, Progress};
use crate::manifest::{Image, Package, XenLayout};

/// Counted up whenever the same recipe gives other images.
const BUILDER: u32 = 2;

/// A whole cache entry.
#[derive(Debug)]
pub(super) struct Images {
    folder: PathBuf,
    /// What it was built from.
    pub(super) facts: Facts,
}

/// What is known of a cache entry, kept in it as `images.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Facts {
    /// The kernel's release, as `uname -r` says.
    pub(super) kernel_release: String,
    /// Absent where the kernel is the hypervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) xen: Option<XenFacts>,
    /// Packages used.
    #[serde(rename = "package")]
    pub(super) packages: Vec<Package>,
    /// The files booted.
    #[serde(rename = "image")]
    pub(super) images: Vec<Image>,
}

/// What is known of the hypervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct XenFacts {
    /// The package's version.
    pub(super) version: String,
    /// Its GNU build id.
    pub(super) build_id: Option<String>,
    /// Folder of its tools in dom0.
    pub(super) programs: String,
    /// Folders of their libraries, separated by colons.
    pub(super) libraries: String,
    /// What the recorder must know of it.
    pub(super) layout: XenLayout,
}

impl Images {
    /// The entry for the packages that are current, built if the cache does not have it.
    ///
    /// # Errors
    ///
    /// If packages cannot be resolved or fetched, or the cache cannot be written.
    pub(super) fn prepare(
        platform: Platform,
        cache: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Images, CaptureError> {
        fs::create_dir_all(cache).on("create", cache)?;
        progress.stage("resolving package versions");
        let recipe = Recipe::built_in(platform);
        let packages = PackageSet::resolve(&recipe)?;
        let folder = cache.join(key(platform, &packages));
        if let Some(images) = Images::open(&folder)? {
            progress.note(&format!("images from the cache, {}", folder.display()));
            return Ok(images);
        }
        let debs = cache.join("packages");
        progress.stage("fetching packages");
        let (count, bytes) = packages.fetch(&debs)?;
        progress.note(&format!("{count} packages fetched, {:.1} MB", bytes as f64 / 1e6));

        progress.stage("building images");
        let unfinished = tempfile::Builder::new()
            .prefix(".building-")
            .tempdir_in(cache)
            .on("create a folder in", cache)?;
        let builder = Builder { recipe: &recipe, packages: &packages, out: unfinished.path() };
        let facts = builder.build(&debs)?;
        let text = toml::to_string(&facts).expect("facts are plain strings and numbers");
        builder.write("images.toml", text.as_bytes())?;
        // Another capture may have finished the same entry meanwhile; its content is the same.
        if fs::rename(unfinished.path(), &folder).is_err() && !folder.is_dir() {
            return Err(CaptureError::File {
                action: "move the finished images to",
                path: folder.clone(),
                source: std::io::Error::last_os_error(),
            });
        }
        Images::open(&folder)?.ok_or_else(|| CaptureError::Content {
            path: folder.clone(),
            problem: "the finished images have no images.toml".to_owned(),
        })
    }

    fn open(folder: &Path) -> Result<Option<Images>, CaptureError> {
        let path = folder.join("images.toml");
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).on("read", &path)?;
        let facts = toml::from_str(&text).map_err(|error| CaptureError::Content {
            path,
            problem: format!("{error}; remove the folder, it will be built again"),
        })?;
        Ok(Some(Images { folder: folder.to_path_buf(), facts }))
    }

    /// A file of the entry: `vmlinux`, and `xen`, `xen.map` and `dom0.cpio`, or `linux.cpio`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The copy of a program file that domain `domain` had at `path`.
    pub(super) fn elf(&self, domain: u16, path: &str) -> Option<PathBuf> {
        let inside = path.strip_prefix('/')?;
        let normal = Path::new(inside)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        let file = self.folder.join(format!("elf/dom{domain}")).join(inside);
        (normal && file.is_file()).then_some(file)
    }
}

/// The name of the cache entry.
fn key(platform: Platform, packages: &PackageSet) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&BUILDER.to_le_bytes());
    Recipe::hash_into(platform, &mut hasher);
    for package in packages.versions() {
        hasher.update(format!("{}={}\n", package.name, package.version).as_bytes());
    }
    let name = match platform {
        Platform::Xen => "xen",
        Platform::Kvm => "kvm",
    };
    format!("{name}-{}", &hasher.finalize().to_hex()[..16])
}

/// The GNU build id of an ELF file.
pub(super) fn build_id(bytes: &[u8]) -> Option<Vec<u8>> {
    let elf = goblin::elf::Elf::parse(bytes).ok()?;
    let by_section = elf.iter_note_sections(bytes, None).into_iter().flatten();
    let by_segment = elf.iter_note_headers(bytes).into_iter().flatten();
    by_section
        .chain(by_segment)
        .filter_map(Result::ok)
        .find(|note| note.n_type == goblin::elf::note::NT_GNU_BUILD_ID && note.name == "GNU")
        .map(|note| note.desc.to_vec())
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_id_of_a_program_is_found() {
        let bytes = fs::read("/bin/sh").unwrap();
        assert_eq!(build_id(&bytes).map(|id| id.len()), Some(20));
        assert_eq!(build_id(b"no ELF"), None);
    }
}
