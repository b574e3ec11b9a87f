//! The recipe of the images: files of `workloads/xen`, compiled in so that an installed `strata`
//! has them.

use serde::Deserialize;

/// First program of dom0.
pub(super) const DOM0_INIT: &str = include_str!("../../xen/dom0-init.sh");
/// First program of the guest.
pub(super) const GUEST_INIT: &str = include_str!("../../xen/guest-init.sh");
/// Shared by both.
pub(super) const COMMON: &str = include_str!("../../xen/common.sh");
/// Puts the guest's interface on the bridge.
pub(super) const VIF_BRIDGE: &str = include_str!("../../xen/vif-bridge.sh");
/// The guest's configuration, with `@NAME@` to be filled in.
pub(super) const GUEST_CONFIG: &str = include_str!("../../xen/guest.cfg");
/// Source of `strata-mark`.
pub(super) const MARKER: &str = include_str!("../../xen/marker.S");
/// What goes into the images.
pub(super) const RECIPE: &str = include_str!("../../xen/recipe.toml");

/// `recipe.toml`: packages, programs and kernel modules of the images.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Recipe {
    pub(super) packages: Packages,
    pub(super) dom0: Contents,
    pub(super) guest: Contents,
}

/// Which packages the images come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Packages {
    /// A pattern with one `*` for the version.
    pub(super) hypervisor: String,
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
    pub(super) fn built_in() -> Recipe {
        toml::from_str(RECIPE).expect("the compiled-in recipe is tested to parse")
    }

    /// A hash over everything that shapes the images apart from the packages.
    pub(super) fn hash_into(hasher: &mut blake3::Hasher) {
        for part in [DOM0_INIT, GUEST_INIT, COMMON, VIF_BRIDGE, MARKER, RECIPE] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_recipe_parses() {
        let recipe = Recipe::built_in();
        assert!(recipe.guest.modules.iter().any(|module| module == "xen-netfront"));
    }
}
