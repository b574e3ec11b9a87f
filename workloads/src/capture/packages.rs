//! Debian packages: which versions there are now, fetched and unpacked without installing them.
//!
//! Nothing here needs root: `apt-get download` and `dpkg-deb -x` work for any user, and no
//! maintainer script runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::CaptureError;
use super::error::FileContext;
use super::program::{output_of, text_of};
use super::recipe::Recipe;
use crate::manifest::Package;

const UPDATE: &str =
    "if the lists of packages are old or missing, `sudo apt-get update` renews them";

/// The packages of one capture with the versions that are current.
#[derive(Debug)]
pub(super) struct PackageSet {
    /// The kernel's image package.
    pub(super) kernel: String,
    /// The hypervisor's package, where it is not the kernel.
    pub(super) hypervisor: Option<String>,
    /// Everything to fetch, by rising name.
    files: Vec<PackageFile>,
}

/// A package file as `apt-get download` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PackageFile {
    package: Package,
    file_name: String,
    bytes: u64,
}

impl PackageSet {
    /// Asks the package system which packages make up the recipe today.
    ///
    /// # Errors
    ///
    /// If a package does not exist here.
    pub(super) fn resolve(recipe: &Recipe) -> Result<PackageSet, CaptureError> {
        let hypervisor = recipe.packages.hypervisor.as_deref().map(newest_of).transpose()?;
        let mut programs = recipe.packages.tools.clone();
        if let Some(name) = &hypervisor {
            let version = name
                .strip_prefix("xen-hypervisor-")
                .and_then(|rest| rest.strip_suffix("-amd64"))
                .ok_or_else(|| CaptureError::Package {
                    name: name.clone(),
                    remedy: "its name should be xen-hypervisor-VERSION-amd64",
                })?;
            programs.push(format!("xen-utils-{version}"));
        }
        let kernel = dependencies(std::slice::from_ref(&recipe.packages.kernel))?
            .into_iter()
            .find(|name| name.starts_with("linux-image-"))
            .ok_or_else(|| CaptureError::Package {
                name: recipe.packages.kernel.clone(),
                remedy: UPDATE,
            })?;
        let mut names: BTreeSet<String> = programs.iter().cloned().collect();
        let mut unexplored = programs;
        while !unexplored.is_empty() {
            unexplored = dependencies(&unexplored)?
                .into_iter()
                .filter(|name| is_library(name) && names.insert(name.clone()))
                .collect();
        }
        names.insert(kernel.clone());
        names.extend(hypervisor.iter().flat_map(|name| [name.clone(), format!("{name}-dbg")]));
        Ok(PackageSet { kernel, hypervisor, files: files_of(&names)? })
    }

    /// Names and versions, by rising name.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Package> {
        self.files.iter().map(|file| &file.package)
    }

    /// The version of a package of the set.
    pub(super) fn version_of(&self, name: &str) -> Option<&str> {
        self.versions().find(|package| package.name == name).map(|package| &*package.version)
    }

    /// Fetches what is not in `folder` yet and returns how many packages and bytes that were.
    ///
    /// # Errors
    ///
    /// If a download fails.
    pub(super) fn fetch(&self, folder: &Path) -> Result<(usize, u64), CaptureError> {
        fs::create_dir_all(folder).on("create", folder)?;
        let missing: Vec<&PackageFile> = self
            .files
            .iter()
            .filter(|file| {
                fs::metadata(folder.join(&file.file_name))
                    .map_or(true, |metadata| metadata.len() != file.bytes)
            })
            .collect();
        if missing.is_empty() {
            return Ok((0, 0));
        }
        let unfinished = tempfile::tempdir_in(folder).on("create a folder in", folder)?;
        output_of(
            Command::new("apt-get")
                .arg("download")
                .args(missing.iter().map(|f| format!("{}={}", f.package.name, f.package.version)))
                .current_dir(unfinished.path()),
            UPDATE,
        )?;
        for file in &missing {
            let from = unfinished.path().join(&file.file_name);
            fs::rename(&from, folder.join(&file.file_name)).on("move into place", &from)?;
        }
        Ok((missing.len(), missing.iter().map(|file| file.bytes).sum()))
    }

    /// Unpacks all packages, fetched into `folder`, into one tree.
    ///
    /// # Errors
    ///
    /// If a package file is damaged or the disk is full.
    pub(super) fn unpack(&self, folder: &Path, tree: &Path) -> Result<(), CaptureError> {
        for file in &self.files {
            let package: PathBuf = folder.join(&file.file_name);
            output_of(
                Command::new("dpkg-deb").arg("-x").arg(&package).arg(tree),
                &format!(
                    "if the package file is damaged, remove {} and try again",
                    package.display()
                ),
            )?;
        }
        Ok(())
    }
}

/// Debian's names of library packages begin with `lib`, but for one old exception.
fn is_library(package: &str) -> bool {
    package.starts_with("lib") || package == "zlib1g"
}

/// The highest-numbered package that fits a name with one `*`.
fn newest_of(pattern: &str) -> Result<String, CaptureError> {
    let (before, after) = pattern.split_once('*').unwrap_or((pattern, ""));
    let names = text_of(Command::new("apt-cache").args(["pkgnames", before]), UPDATE)?;
    let middle = |name: &str| -> Option<Vec<u64>> {
        let middle = name.strip_prefix(before)?.strip_suffix(after)?;
        middle.split('.').map(|number| number.parse().ok()).collect()
    };
    names
        .lines()
        .filter_map(|name| Some((middle(name)?, name.to_owned())))
        .max()
        .map(|(_, name)| name)
        .ok_or(CaptureError::Package { name: pattern.to_owned(), remedy: UPDATE })
}

/// The packages that some packages directly depend on.
fn dependencies(packages: &[String]) -> Result<BTreeSet<String>, CaptureError> {
    let text = text_of(
        Command::new("apt-cache")
            .args(["depends", "--no-recommends", "--no-suggests", "--no-conflicts"])
            .args(["--no-breaks", "--no-replaces", "--no-enhances"])
            .args(packages),
        UPDATE,
    )?;
    Ok(parse_dependencies(&text))
}

fn parse_dependencies(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim_start_matches([' ', '|']);
            line.strip_prefix("Depends: ").or_else(|| line.strip_prefix("PreDepends: "))
        })
        // A name in angle brackets is provided by some other package.
        .filter(|name| !name.starts_with('<'))
        .map(|name| name.split(':').next().unwrap_or(name).to_owned())
        .collect()
}

/// What `apt-get download` would fetch.
fn files_of(names: &BTreeSet<String>) -> Result<Vec<PackageFile>, CaptureError> {
    let text =
        text_of(Command::new("apt-get").args(["download", "--print-uris"]).args(names), UPDATE)?;
    let mut files: Vec<PackageFile> = text.lines().filter_map(parse_uri_line).collect();
    files.sort();
    for name in names {
        if !files.iter().any(|file| file.package.name == *name) {
            return Err(CaptureError::Package { name: name.clone(), remedy: UPDATE });
        }
    }
    Ok(files)
}

/// A line is `'URI' NAME_VERSION_ARCH.deb BYTES HASH`; a colon in the version is written `%3a`.
fn parse_uri_line(line: &str) -> Option<PackageFile> {
    let mut words = line.strip_prefix('\'')?.split_once("' ")?.1.split(' ');
    let file_name = words.next()?;
    let bytes = words.next()?.parse().ok()?;
    let mut parts = file_name.strip_suffix(".deb")?.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(PackageFile {
        package: Package { name: name.to_owned(), version: version.replace("%3a", ":") },
        file_name: file_name.to_owned(),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_line_gives_name_version_and_size() {
        let line = "'http://mirror/pool/b/busybox-static_1.35.0-4+b1_amd64.deb' \
                    busybox-static_1%3a1.35.0-4+b1_amd64.deb 928188 SHA256:00";
        let file = parse_uri_line(line).unwrap();
        assert_eq!(file.package.name, "busybox-static");
        assert_eq!(file.package.version, "1:1.35.0-4+b1");
        assert_eq!(file.file_name, "busybox-static_1%3a1.35.0-4+b1_amd64.deb");
        assert_eq!(file.bytes, 928_188);
        assert_eq!(parse_uri_line("W: Download is performed unsandboxed"), None);
    }

    #[test]
    fn virtual_packages_and_their_providers_do_not_count_as_dependencies() {
        let text = "xen-utils-4.17\n  PreDepends: libc6\n |Depends: libxenmisc4.17\n  \
                    Depends: <python3:any>\n    python3\n  Depends: python3:any\n";
        let names: Vec<String> = parse_dependencies(text).into_iter().collect();
        assert_eq!(names, ["libc6", "libxenmisc4.17", "python3"]);
    }
}
