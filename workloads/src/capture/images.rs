//! The images that are booted: built once from packages and kept in a cache.
//!
//! A cache entry's name is a hash over the package versions and the recipe, so that an entry never
//! changes. It is built in a folder beside it and renamed when it is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::archive::Archive;
use super::error::FileContext;
use super::kernel_image::{gunzip, vmlinux_of};
use super::kernel_modules::KernelModules;
use super::libraries::Libraries;
use super::packages::PackageSet;
use super::program::{output_of, text_of};
use super::recipe::{self, Contents, Recipe};
use super::{CaptureError, Progress, xen_layout};
use crate::manifest::{Image, Package, XenLayout};

/// Counted up whenever the same recipe gives other images.
const BUILDER: u32 = 1;

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
    /// The hypervisor package's version.
    pub(super) xen_version: String,
    /// The hypervisor's GNU build id.
    pub(super) xen_build_id: Option<String>,
    /// Folder of the hypervisor's tools in dom0.
    pub(super) xen_programs: String,
    /// Folders of their libraries, separated by colons.
    pub(super) xen_libraries: String,
    /// What the recorder must know of the hypervisor.
    pub(super) layout: XenLayout,
    /// Packages used.
    #[serde(rename = "package")]
    pub(super) packages: Vec<Package>,
    /// The files booted.
    #[serde(rename = "image")]
    pub(super) images: Vec<Image>,
}

impl Images {
    /// The entry for the packages that are current, built if the cache does not have it.
    ///
    /// # Errors
    ///
    /// If packages cannot be resolved or fetched, or the cache cannot be written.
    pub(super) fn prepare(
        cache: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Images, CaptureError> {
        fs::create_dir_all(cache).on("create", cache)?;
        progress.stage("resolving package versions");
        let recipe = Recipe::built_in();
        let packages = PackageSet::resolve(&recipe)?;
        let folder = cache.join(key(&packages));
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
        Builder { recipe: &recipe, packages: &packages, out: unfinished.path() }.build(&debs)?;
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

    /// A file of the entry: `xen`, `vmlinux`, `dom0.cpio`, `xen.map`.
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
fn key(packages: &PackageSet) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&BUILDER.to_le_bytes());
    Recipe::hash_into(&mut hasher);
    for package in packages.versions() {
        hasher.update(format!("{}={}\n", package.name, package.version).as_bytes());
    }
    format!("xen-{}", &hasher.finalize().to_hex()[..16])
}

/// Makes one cache entry.
struct Builder<'a> {
    recipe: &'a Recipe,
    packages: &'a PackageSet,
    out: &'a Path,
}

impl Builder<'_> {
    fn build(&self, debs: &Path) -> Result<(), CaptureError> {
        let work = tempfile::tempdir_in(self.out).on("create a folder in", self.out)?;
        let tree = work.path();
        self.packages.unpack(debs, tree)?;

        let release = self
            .packages
            .kernel
            .strip_prefix("linux-image-")
            .unwrap_or(&self.packages.kernel)
            .to_owned();
        let kernel = tree.join(format!("boot/vmlinuz-{release}"));
        let vmlinux = vmlinux_of(&fs::read(&kernel).on("read", &kernel)?, &kernel)?;
        let (xen, layout, xen_build_id) = self.hypervisor(tree)?;

        let libraries = Libraries::of_tree(tree)?;
        let modules = KernelModules::of_tree(tree, &release)?;
        let marker = assemble_marker(tree)?;
        let xen_programs = self.xen_programs(tree)?;

        let mut guest = self.base(tree, &libraries, &marker, &modules, &self.recipe.guest)?;
        guest.file("init", 0o755, recipe::GUEST_INIT);
        let mut dom0 = self.base(tree, &libraries, &marker, &modules, &self.recipe.dom0)?;
        for program in &self.recipe.dom0.xen_programs {
            libraries.add_program(&format!("{xen_programs}/{program}"), &mut dom0)?;
        }
        dom0.file("init", 0o755, recipe::DOM0_INIT);
        dom0.file("etc/xen/scripts/vif-bridge", 0o755, recipe::VIF_BRIDGE);
        dom0.link_if_free("var/run", "../run");
        dom0.link_if_free("var/lock", "../run/lock");
        for folder in ["var/lib/xen", "var/lib/xenstored", "var/log/xen"] {
            dom0.folder(folder);
        }
        for (name, archive) in [("dom0", &dom0), ("dom1", &guest)] {
            self.keep_elf_files(name, archive)?;
        }
        dom0.file("boot/guest.cpio", 0o644, guest.to_bytes());
        dom0.file("boot/vmlinux", 0o644, vmlinux.as_slice());

        self.write("vmlinux", &vmlinux)?;
        self.write("xen", &xen)?;
        dom0.save(&self.out.join("dom0.cpio"))?;
        let mut images = Vec::new();
        for name in ["xen", "vmlinux", "dom0.cpio"] {
            let path = self.out.join(name);
            let bytes = fs::read(&path).on("read", &path)?;
            images.push(Image {
                name: name.to_owned(),
                bytes: bytes.len() as u64,
                blake3: blake3::hash(&bytes).to_hex().to_string(),
            });
        }
        let facts = Facts {
            kernel_release: release,
            xen_version: self
                .packages
                .version_of(&self.packages.hypervisor)
                .unwrap_or_default()
                .to_owned(),
            xen_build_id,
            xen_programs,
            xen_libraries: libraries.private_folders().into_iter().collect::<Vec<_>>().join(":"),
            layout,
            packages: self.packages.versions().cloned().collect(),
            images,
        };
        let text = toml::to_string(&facts).expect("facts are plain strings and numbers");
        self.write("images.toml", text.as_bytes())
    }

    /// What both images hold.
    fn base(
        &self,
        tree: &Path,
        libraries: &Libraries,
        marker: &[u8],
        modules: &KernelModules,
        contents: &Contents,
    ) -> Result<Archive, CaptureError> {
        let mut archive = Archive::with_base();
        let busybox = ["/usr/bin/busybox", "/bin/busybox"]
            .into_iter()
            .find(|path| tree.join(&path[1..]).is_file())
            .unwrap_or("/bin/busybox");
        libraries.add_program(busybox, &mut archive)?;
        for program in &contents.programs {
            libraries.add_program(program, &mut archive)?;
        }
        let applets = text_of(
            Command::new(tree.join(&busybox[1..])).arg("--list"),
            "captures are made on x86-64 Linux",
        )?;
        for applet in applets.lines() {
            archive.link_if_free(&format!("usr/bin/{applet}"), "busybox");
        }
        archive.file("usr/bin/strata-mark", 0o755, marker);
        let mut list = String::new();
        for module in modules.with_dependencies(&contents.modules)? {
            list.push_str(&module.path);
            list.push('\n');
            archive.file(&module.path, 0o644, module.bytes);
        }
        archive.file("etc/strata/modules", 0o644, list);
        archive.file("etc/strata/common.sh", 0o644, recipe::COMMON);
        archive.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n");
        archive.file("etc/group", 0o644, "root:x:0:\n");
        archive.file("etc/hosts", 0o644, "127.0.0.1 localhost\n");
        Ok(archive)
    }

    /// The hypervisor's ELF, its layout and build id; copies its symbols into the entry.
    fn hypervisor(
        &self,
        tree: &Path,
    ) -> Result<(Vec<u8>, XenLayout, Option<String>), CaptureError> {
        let name = self.packages.hypervisor.trim_start_matches("xen-hypervisor-");
        let image = tree.join(format!("boot/xen-{name}.gz"));
        let xen = gunzip(&fs::read(&image).on("read", &image)?, &image)?;
        let symbols = tree.join(format!("usr/lib/debug/boot/xen-syms-{name}"));
        let map = symbols.with_file_name(format!("xen-syms-{name}.map"));
        let with_symbols = fs::read(&symbols).on("read", &symbols)?;
        let version = self.packages.version_of(&self.packages.hypervisor).unwrap_or(name);
        let layout = xen_layout::derive(&with_symbols, version)?;
        let build_id = build_id(&with_symbols);
        if let Some(id) = &build_id
            && !contains(&xen, id)
        {
            return Err(CaptureError::Content {
                path: symbols,
                problem: "its build id is not that of the hypervisor image".to_owned(),
            });
        }
        self.write("xen.map", &fs::read(&map).on("read", &map)?)?;
        Ok((xen, layout, build_id.map(|id| hexadecimal(&id))))
    }

    /// The folder of the hypervisor's tools, absolute in the image.
    fn xen_programs(&self, tree: &Path) -> Result<String, CaptureError> {
        let library = tree.join("usr/lib");
        fs::read_dir(&library)
            .on("read", &library)?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| name.starts_with("xen-"))
            .find(|name| library.join(name).join("bin/xl").is_file())
            .map(|name| format!("/usr/lib/{name}/bin"))
            .ok_or_else(|| CaptureError::Content {
                path: library,
                problem: "no xen-VERSION/bin/xl in the hypervisor's tools".to_owned(),
            })
    }

    /// Keeps the program files beside the image, so that a capture can copy those that ran.
    fn keep_elf_files(&self, domain: &str, archive: &Archive) -> Result<(), CaptureError> {
        for (path, bytes) in archive.elf_files() {
            let file = self.out.join("elf").join(domain).join(&path[1..]);
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder).on("create", folder)?;
            }
            fs::write(&file, bytes).on("write", &file)?;
        }
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CaptureError> {
        let path = self.out.join(name);
        fs::write(&path, bytes).on("write", &path)
    }
}

/// Assembles `strata-mark` in a folder.
fn assemble_marker(folder: &Path) -> Result<Vec<u8>, CaptureError> {
    let (source, program) = (folder.join("strata-mark.S"), folder.join("strata-mark"));
    fs::write(&source, recipe::MARKER).on("write", &source)?;
    output_of(
        Command::new("cc")
            .args(["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-s", "-o"])
            .arg(&program)
            .arg(&source),
        "a C compiler for x86-64 is needed, such as gcc",
    )?;
    fs::read(&program).on("read", &program)
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

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_program_holds_the_marker_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let program = assemble_marker(folder.path()).unwrap();
        assert!(contains(&program, &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x54, 0x53]));
        for (arguments, status) in [(&["1"][..], 0), (&["65535"], 0), (&[], 2), (&["x"], 2)] {
            let ended = Command::new(folder.path().join("strata-mark")).args(arguments).status();
            assert_eq!(ended.unwrap().code(), Some(status), "strata-mark {arguments:?}");
        }
    }

    #[test]
    fn the_build_id_of_a_program_is_found() {
        let bytes = fs::read("/bin/sh").unwrap();
        assert_eq!(build_id(&bytes).map(|id| id.len()), Some(20));
        assert_eq!(build_id(b"no ELF"), None);
    }
}
