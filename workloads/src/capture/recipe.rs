//! The recipes of the images: files of `workloads/xen` and `workloads/kvm`, compiled in so that an
//! installed `strata` has them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::scenario::Platform;

/// First program of dom0.
pub(super) const DOM0_INIT: &str = include_str!("../../xen/dom0-init.sh");
/// First program of the guest.
pub(super) const GUEST_INIT: &str = include_str!("../../xen/guest-init.sh");
/// Shared by all first programs.
pub(super) const COMMON: &str = include_str!("../../xen/common.sh");
/// Puts the guest's interface on the bridge.
pub(super) const VIF_BRIDGE: &str = include_str!("../../xen/vif-bridge.sh");
/// The guest's configuration, with `@NAME@` to be filled in.
pub(super) const GUEST_CONFIG: &str = include_str!("../../xen/guest.cfg");
/// Source of `strata-mark`.
pub(super) const MARKER: &str = include_str!("../../xen/marker.S");
/// What goes into Xen's images.
const XEN: &str = include_str!("../../xen/recipe.toml");

/// First program of the machine with KVM.
pub(super) const KVM_INIT: &str = include_str!("../../kvm/init.sh");
/// Source of `strata-guest`, a guest and the program that runs it.
pub(super) const KVM_GUEST: &str = include_str!("../../kvm/guest.c");
/// What goes into its image.
const KVM: &str = include_str!("../../kvm/recipe.toml");

/// `recipe.toml`: packages, programs and kernel modules of the images.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Recipe {
    pub(super) packages: Packages,
    /// By the image's name.
    image: BTreeMap<String, Contents>,
}

/// Which packages the images come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Packages {
    /// A pattern with one `*` for the version; absent where the kernel is the hypervisor.
    pub(super) hypervisor: Option<String>,
    /// The package that depends on the current kernel's.
    pub(super) kernel: String,
    /// Packages of programs.
    pub(super) tools: Vec<String>,
}

/// What one image holds besides busybox and the marker program.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Contents {
    /// Absolute paths.
    pub(super) programs: Vec<String>,
    /// Names in the hypervisor tools' own folder.
    #[serde(default)]
    pub(super) xen_programs: Vec<String>,
    /// Kernel modules; those they depend on come with them.
    pub(super) modules: Vec<String>,
}

impl Recipe {
    /// The recipe compiled in.
    pub(super) fn built_in(platform: Platform) -> Recipe {
        toml::from_str(text(platform)).expect("the compiled-in recipes are tested to parse")
    }

    /// What an image holds.
    pub(super) fn image(&self, name: &str) -> &Contents {
        self.image.get(name).expect("the compiled-in recipes are tested to have their images")
    }

    /// A hash over everything that shapes the images apart from the packages.
    pub(super) fn hash_into(platform: Platform, hasher: &mut blake3::Hasher) {
        let own: &[&str] = match platform {
            Platform::Xen => &[DOM0_INIT, GUEST_INIT, VIF_BRIDGE],
            Platform::Kvm => &[KVM_INIT, KVM_GUEST],
        };
        for part in own.iter().chain(&[COMMON, MARKER, text(platform)]) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
}

fn text(platform: Platform) -> &'static str {
    match platform {
        Platform::Xen => XEN,
        Platform::Kvm => KVM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_recipes_have_what_their_images_are_built_from() {
        let xen = Recipe::built_in(Platform::Xen);
        assert!(xen.image("guest").modules.iter().any(|module| module == "xen-netfront"));
        assert!(xen.image("dom0").xen_programs.iter().any(|program| program == "xentrace"));
        assert!(xen.packages.hypervisor.is_some());
        let kvm = Recipe::built_in(Platform::Kvm);
        assert!(kvm.image("linux").modules.iter().any(|module| module == "kvm-amd"));
        assert_eq!(kvm.packages.hypervisor, None);
    }
}
