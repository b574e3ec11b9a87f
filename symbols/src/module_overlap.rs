//! Modules that claim the same addresses.

use std::fmt;

/// Two modules whose code lies in one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleOverlap {
    /// The module that begins first.
    pub first: String,
    /// The module that begins inside it.
    pub second: String,
    /// First shared address.
    pub start: u64,
    /// First address behind the shared range, exclusive.
    pub end: u64,
}

impl fmt::Display for ModuleOverlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "modules {} and {} both claim {:#x}..{:#x}; their symbols come from different domains \
             or boots, take both from one",
            self.first, self.second, self.start, self.end
        )
    }
}

/// Overlaps among the code ranges of modules, each against the furthest-reaching one before it.
pub(crate) fn overlaps<'a>(mut ranges: Vec<(u64, u64, &'a str)>) -> Vec<ModuleOverlap> {
    ranges.sort_unstable();
    let mut found = Vec::new();
    let mut furthest: Option<(u64, &'a str)> = None;
    for (start, end, name) in ranges {
        if let Some((reach, owner)) = furthest
            && start < reach
        {
            found.push(ModuleOverlap {
                first: owner.to_owned(),
                second: name.to_owned(),
                start,
                end: end.min(reach),
            });
        }
        if furthest.is_none_or(|(reach, _)| reach < end) {
            furthest = Some((end, name));
        }
    }
    found
}

/// Whether the kernel lists pieces of memory all over the place under this name, rather than one
/// loaded module.
pub(crate) fn is_scattered(module: &str) -> bool {
    module == "bpf" || module.starts_with("__builtin__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_that_begins_inside_another_is_reported() {
        let found = overlaps(vec![(50, 60, "c"), (0, 100, "a"), (20, 30, "b"), (100, 110, "d")]);
        let named: Vec<_> = found.iter().map(|o| (&*o.first, &*o.second, o.start, o.end)).collect();
        assert_eq!(named, [("a", "b", 20, 30), ("a", "c", 50, 60)]);
        assert!(found[0].to_string().contains("modules a and b both claim 0x14..0x1e"));
    }
}
