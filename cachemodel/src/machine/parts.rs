//! Parts of a machine, for telling what two machines have in common.

use super::{Machine, TagScheme};
use crate::preset;

impl Machine {
    /// The same machine without the levels of cache below the first.
    #[must_use]
    pub fn first_level_only(&self) -> Self {
        let mut machine = self.clone();
        machine.levels.truncate(1);
        machine
    }

    /// The same machine without what makes no difference to any count: its names and what its
    /// events cost.
    #[must_use]
    pub fn as_counted(&self) -> Self {
        Self { name: String::new(), description: String::new(), cost: None, ..self.clone() }
    }

    /// The same caches behind some TLBs that are the same for all machines.
    #[must_use]
    pub fn caches_only(&self) -> Self {
        let any = preset::find("vee07").expect("a built-in preset");
        Self { tags: TagScheme::None, itlb: any.itlb, dtlb: any.dtlb, stlb: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_differ_in_tlbs_have_the_same_caches() {
        let one = Machine::load("vee07").unwrap();
        let other = one
            .with_overrides([("dtlb.entries", "16"), ("tags", "vpid"), ("name", "other")])
            .unwrap();
        assert_eq!(one.as_counted().caches_only(), other.as_counted().caches_only());
        let larger = one.with_overrides([("l2.size", "4MiB")]).unwrap();
        assert_ne!(one.caches_only(), larger.caches_only());
        assert_eq!(one.first_level_only(), larger.first_level_only());
    }
}
