//! Kernel modules and the order to load them in, read from the modules themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use goblin::elf::Elf;

use super::CaptureError;
use super::error::FileContext;
use super::kernel_image::read_module;

/// The modules of one kernel, by name.
#[derive(Debug)]
pub(super) struct KernelModules {
    by_name: BTreeMap<String, PathBuf>,
    folder: PathBuf,
}

/// A module in an image.
#[derive(Debug)]
pub(super) struct Module {
    /// Absolute path in the image.
    pub(super) path: String,
    /// The uncompressed module.
    pub(super) bytes: Vec<u8>,
}

impl KernelModules {
    /// Looks through the modules of a kernel in an unpacked tree.
    ///
    /// # Errors
    ///
    /// If there are none for that release.
    pub(super) fn of_tree(tree: &Path, release: &str) -> Result<KernelModules, CaptureError> {
        let folder = [tree.join("usr/lib/modules"), tree.join("lib/modules")]
            .into_iter()
            .map(|folder| folder.join(release))
            .find(|folder| folder.is_dir())
            .ok_or_else(|| CaptureError::Content {
                path: tree.join("lib/modules"),
                problem: format!("the kernel package has no modules for {release}"),
            })?;
        let mut by_name = BTreeMap::new();
        collect(&folder, &mut by_name)?;
        Ok(KernelModules { by_name, folder })
    }

    /// The modules named, each after those it depends on.
    ///
    /// # Errors
    ///
    /// If a module does not exist or is not an ELF file.
    pub(super) fn with_dependencies(&self, names: &[String]) -> Result<Vec<Module>, CaptureError> {
        let mut modules = Vec::new();
        let mut seen = Vec::new();
        for name in names {
            self.add(name, &mut modules, &mut seen)?;
        }
        Ok(modules)
    }

    fn add(
        &self,
        name: &str,
        modules: &mut Vec<Module>,
        seen: &mut Vec<String>,
    ) -> Result<(), CaptureError> {
        let name = name.replace('-', "_");
        if seen.contains(&name) {
            return Ok(());
        }
        seen.push(name.clone());
        let source = self.by_name.get(&name).ok_or_else(|| CaptureError::Content {
            path: self.folder.clone(),
            problem: format!("the kernel has no module {name}"),
        })?;
        let bytes = read_module(source)?;
        for dependency in dependencies(&bytes, source)? {
            self.add(&dependency, modules, seen)?;
        }
        modules.push(Module { path: format!("/usr/lib/strata/{name}.ko"), bytes });
        Ok(())
    }
}

fn collect(folder: &Path, by_name: &mut BTreeMap<String, PathBuf>) -> Result<(), CaptureError> {
    for entry in fs::read_dir(folder).on("read", folder)? {
        let entry = entry.on("read", folder)?;
        let path = entry.path();
        if entry.file_type().on("read", &path)?.is_dir() {
            collect(&path, by_name)?;
        } else if let Some((name, _)) = entry
            .file_name()
            .to_string_lossy()
            .split_once(".ko")
            .filter(|(_, end)| matches!(*end, "" | ".xz" | ".zst" | ".gz"))
        {
            by_name.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

/// The `depends=` entry of a module's `.modinfo` section.
fn dependencies(bytes: &[u8], path: &Path) -> Result<Vec<String>, CaptureError> {
    let content = |problem: String| CaptureError::Content { path: path.to_path_buf(), problem };
    let elf = Elf::parse(bytes).map_err(|error| content(format!("not a module: {error}")))?;
    let information = elf
        .section_headers
        .iter()
        .find(|section| elf.shdr_strtab.get_at(section.sh_name) == Some(".modinfo"))
        .and_then(|section| bytes.get(section.file_range()?))
        .ok_or_else(|| content("not a module: it has no .modinfo".to_owned()))?;
    Ok(information
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix("depends="))
        .flat_map(|list| list.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_module_is_named() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("lib/modules/6.1.0")).unwrap();
        let modules = KernelModules::of_tree(tree.path(), "6.1.0").unwrap();
        let error = modules.with_dependencies(&["no-such".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("no module no_such"), "{error}");
        assert!(KernelModules::of_tree(tree.path(), "6.2.0").is_err());
    }

    #[test]
    fn an_elf_file_without_module_information_is_no_module() {
        let program = std::env::current_exe().unwrap();
        let error = dependencies(&fs::read(&program).unwrap(), &program).unwrap_err();
        assert!(error.to_string().contains("not a module"), "{error}");
    }
}
