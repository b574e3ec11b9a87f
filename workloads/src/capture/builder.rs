//! Builds the files of one cache entry from unpacked packages.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::archive::Archive;
use super::error::FileContext;
use super::images::{Facts, XenFacts, build_id, hexadecimal};
use super::kernel_image::{gunzip, vmlinux_of};
use super::kernel_modules::KernelModules;
use super::libraries::Libraries;
use super::packages::PackageSet;
use super::program::text_of;
use super::recipe::{self, Contents, Recipe};
use super::{CaptureError, own_programs, xen_layout};
use crate::manifest::{Image, XenLayout};

/// Makes one cache entry.
pub(super) struct Builder<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) packages: &'a PackageSet,
    /// Where its files go.
    pub(super) out: &'a Path,
}

/// What all images of an entry are made from.
struct Parts<'a> {
    /// The unpacked packages.
    tree: &'a Path,
    vmlinux: Vec<u8>,
    modules: KernelModules,
    libraries: Libraries,
    marker: Vec<u8>,
}

impl Builder<'_> {
    /// Unpacks the packages, fetched into `debs`, and makes the files that are booted.
    ///
    /// # Errors
    ///
    /// If a package lacks something, or a file cannot be written.
    pub(super) fn build(&self, debs: &Path) -> Result<Facts, CaptureError> {
        let work = tempfile::tempdir_in(self.out).on("create a folder in", self.out)?;
        let tree = work.path();
        self.packages.unpack(debs, tree)?;

        let kernel = &self.packages.kernel;
        let release = kernel.strip_prefix("linux-image-").unwrap_or(kernel).to_owned();
        let image = tree.join(format!("boot/vmlinuz-{release}"));
        let parts = Parts {
            tree,
            vmlinux: vmlinux_of(&fs::read(&image).on("read", &image)?, &image)?,
            modules: KernelModules::of_tree(tree, &release)?,
            libraries: Libraries::of_tree(tree)?,
            marker: own_programs::marker(tree)?,
        };
        self.write("vmlinux", &parts.vmlinux)?;
        let (xen, names): (_, &[&str]) = match &self.packages.hypervisor {
            Some(name) => (Some(self.xen(&parts, name)?), &["xen", "vmlinux", "dom0.cpio"]),
            None => {
                self.kvm(&parts)?;
                (None, &["vmlinux", "linux.cpio"])
            }
        };
        let mut images = Vec::new();
        for name in names {
            let path = self.out.join(name);
            let bytes = fs::read(&path).on("read", &path)?;
            images.push(Image {
                name: (*name).to_owned(),
                bytes: bytes.len() as u64,
                blake3: blake3::hash(&bytes).to_hex().to_string(),
            });
        }
        let packages = self.packages.versions().cloned().collect();
        Ok(Facts { kernel_release: release, xen, packages, images })
    }

    /// The hypervisor, and the image of dom0 with that of its guest in it.
    fn xen(&self, parts: &Parts<'_>, package: &str) -> Result<XenFacts, CaptureError> {
        let (layout, build_id) = self.hypervisor(parts.tree, package)?;
        let programs = xen_programs(parts.tree)?;
        let mut guest = self.base(parts, self.recipe.image("guest"))?;
        guest.file("init", 0o755, recipe::GUEST_INIT);
        let mut dom0 = self.base(parts, self.recipe.image("dom0"))?;
        for program in &self.recipe.image("dom0").xen_programs {
            parts.libraries.add_program(&format!("{programs}/{program}"), &mut dom0)?;
        }
        dom0.file("init", 0o755, recipe::DOM0_INIT);
        dom0.file("etc/xen/scripts/vif-bridge", 0o755, recipe::VIF_BRIDGE);
        dom0.link_if_free("var/run", "../run");
        dom0.link_if_free("var/lock", "../run/lock");
        for folder in ["var/lib/xen", "var/lib/xenstored", "var/log/xen"] {
            dom0.folder(folder);
        }
        self.keep_elf_files("dom0", &dom0)?;
        self.keep_elf_files("dom1", &guest)?;
        dom0.file("boot/guest.cpio", 0o644, guest.to_bytes());
        dom0.file("boot/vmlinux", 0o644, parts.vmlinux.as_slice());
        dom0.save(&self.out.join("dom0.cpio"))?;
        let folders = parts.libraries.private_folders();
        Ok(XenFacts {
            version: self.packages.version_of(package).unwrap_or_default().to_owned(),
            build_id,
            programs,
            libraries: folders.into_iter().collect::<Vec<_>>().join(":"),
            layout,
        })
    }

    /// The image of the machine with KVM.
    fn kvm(&self, parts: &Parts<'_>) -> Result<(), CaptureError> {
        let mut linux = self.base(parts, self.recipe.image("linux"))?;
        linux.file("usr/bin/strata-guest", 0o755, own_programs::kvm_guest(parts.tree)?);
        linux.file("init", 0o755, recipe::KVM_INIT);
        self.keep_elf_files("dom0", &linux)?;
        linux.save(&self.out.join("linux.cpio"))
    }

    /// What all images hold.
    fn base(&self, parts: &Parts<'_>, contents: &Contents) -> Result<Archive, CaptureError> {
        let Parts { tree, libraries, .. } = parts;
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
        archive.file("usr/bin/strata-mark", 0o755, parts.marker.as_slice());
        let mut list = String::new();
        for module in parts.modules.with_dependencies(&contents.modules)? {
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

    /// Writes the hypervisor's ELF and symbols into the entry; its layout and build id.
    fn hypervisor(
        &self,
        tree: &Path,
        package: &str,
    ) -> Result<(XenLayout, Option<String>), CaptureError> {
        let name = package.trim_start_matches("xen-hypervisor-");
        let image = tree.join(format!("boot/xen-{name}.gz"));
        let xen = gunzip(&fs::read(&image).on("read", &image)?, &image)?;
        let symbols = tree.join(format!("usr/lib/debug/boot/xen-syms-{name}"));
        let map = symbols.with_file_name(format!("xen-syms-{name}.map"));
        let with_symbols = fs::read(&symbols).on("read", &symbols)?;
        let version = self.packages.version_of(package).unwrap_or(name);
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
        self.write("xen", &xen)?;
        Ok((layout, build_id.map(|id| hexadecimal(&id))))
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

    /// Writes a file of the entry.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CaptureError> {
        let path = self.out.join(name);
        fs::write(&path, bytes).on("write", &path)
    }
}

/// The folder of the hypervisor's tools, absolute in the image.
fn xen_programs(tree: &Path) -> Result<String, CaptureError> {
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

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
