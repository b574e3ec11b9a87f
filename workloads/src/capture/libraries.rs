//! The shared libraries that programs need, found by what their ELF files name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use goblin::elf::Elf;

use super::CaptureError;
use super::archive::Archive;
use super::error::FileContext;

/// The C library loads this one by name when a thread ends.
const LOADED_AT_RUN_TIME: &str = "libgcc_s.so.1";

/// All shared libraries of an unpacked tree, by file name.
#[derive(Debug)]
pub(super) struct Libraries {
    tree: PathBuf,
    by_name: BTreeMap<String, PathBuf>,
}

impl Libraries {
    /// Looks through a tree.
    ///
    /// # Errors
    ///
    /// If a folder cannot be read.
    pub(super) fn of_tree(tree: &Path) -> Result<Libraries, CaptureError> {
        let mut by_name = BTreeMap::new();
        for top in ["lib", "lib64", "usr/lib", "usr/lib64"] {
            let top = tree.join(top);
            if top.is_dir() {
                collect(&top, &mut by_name)?;
            }
        }
        Ok(Libraries { tree: tree.to_path_buf(), by_name })
    }

    /// Adds a program of the tree, by its absolute path, with all libraries it needs.
    ///
    /// # Errors
    ///
    /// If the program or one of the libraries is not in the tree.
    pub(super) fn add_program(
        &self,
        path: &str,
        archive: &mut Archive,
    ) -> Result<(), CaptureError> {
        let source = self.tree.join(path.trim_start_matches('/'));
        let bytes = fs::read(&source).on("read", &source)?;
        let mut wanted = needed(&bytes, &source)?;
        archive.file(path, 0o755, bytes);
        if !wanted.is_empty() && self.by_name.contains_key(LOADED_AT_RUN_TIME) {
            wanted.insert(LOADED_AT_RUN_TIME.to_owned());
        }
        while let Some(name) = wanted.pop_first() {
            // The dynamic loader is named by its full path.
            let file_name = name.rsplit('/').next().unwrap_or(&name);
            let library = self.by_name.get(file_name).ok_or_else(|| CaptureError::Content {
                path: source.clone(),
                problem: format!("needs the library {name}, which is in none of the packages"),
            })?;
            let place = match name.starts_with('/') {
                true => name.clone(),
                false => {
                    let inside = library.strip_prefix(&self.tree).unwrap_or(library);
                    format!("/{}", inside.display())
                }
            };
            if !archive.contains(&place) {
                let bytes = fs::read(library).on("read", library)?;
                wanted.extend(needed(&bytes, library)?);
                archive.file(&place, 0o755, bytes);
            }
        }
        Ok(())
    }

    /// The folders, as absolute paths in the image, that hold libraries outside the loader's own
    /// search path.
    pub(super) fn private_folders(&self) -> BTreeSet<String> {
        self.by_name
            .values()
            .filter_map(|path| path.strip_prefix(&self.tree).ok()?.parent())
            .map(|folder| format!("/{}", folder.display()))
            .filter(|folder| folder.contains("/xen-"))
            .collect()
    }
}

fn collect(folder: &Path, by_name: &mut BTreeMap<String, PathBuf>) -> Result<(), CaptureError> {
    for entry in fs::read_dir(folder).on("read", folder)? {
        let entry = entry.on("read", folder)?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type().on("read", &path)?;
        if kind.is_dir() && name != "modules" {
            collect(&path, by_name)?;
        } else if name.contains(".so") && fs::metadata(&path).is_ok_and(|m| m.is_file()) {
            by_name.insert(name, path);
        }
    }
    Ok(())
}

/// Names of the libraries, and the path of the dynamic loader, that an ELF file asks for.
fn needed(bytes: &[u8], path: &Path) -> Result<BTreeSet<String>, CaptureError> {
    let elf = Elf::parse(bytes).map_err(|error| CaptureError::Content {
        path: path.to_path_buf(),
        problem: format!("not an ELF file: {error}"),
    })?;
    Ok(elf.libraries.iter().copied().chain(elf.interpreter).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_its_libraries_and_its_loader() {
        // The test program itself is a dynamically linked program at hand.
        let program = std::env::current_exe().unwrap();
        let bytes = fs::read(&program).unwrap();
        let wanted = needed(&bytes, &program).unwrap();
        assert!(wanted.iter().any(|name| name.starts_with("libc.so")), "{wanted:?}");
        assert!(wanted.iter().any(|name| name.starts_with("/lib")), "{wanted:?}");
    }

    #[test]
    fn a_missing_library_is_named() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("usr/bin")).unwrap();
        fs::copy(std::env::current_exe().unwrap(), tree.path().join("usr/bin/tool")).unwrap();
        let libraries = Libraries::of_tree(tree.path()).unwrap();
        let error = libraries.add_program("/usr/bin/tool", &mut Archive::default()).unwrap_err();
        assert!(error.to_string().contains("which is in none of the packages"), "{error}");
    }
}
