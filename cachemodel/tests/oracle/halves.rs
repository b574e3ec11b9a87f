//! A machine in two halves does what the whole one does.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use strata_cachemodel::{Counts, Hierarchy, LowerHalf, Machine, Outcome, RefKind, Translator};

/// Both halves, and what the whole machine did.
pub(crate) struct Halves {
    pub(crate) upper: Hierarchy,
    lower: LowerHalf,
    /// What the upper half said of each reference, and then the lower one too.
    found: Vec<Outcome>,
    expected: Vec<Outcome>,
}

impl Halves {
    pub(crate) fn of(machine: &Machine) -> Option<Self> {
        Some(Self {
            upper: Hierarchy::upper_half(machine)?,
            lower: LowerHalf::new(machine)?,
            found: Vec::new(),
            expected: Vec::new(),
        })
    }

    pub(crate) fn access<T: Translator>(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u32,
        translator: &mut T,
        whole: Outcome,
    ) {
        self.upper.set_charge(self.found.len() as u32);
        self.found.push(self.upper.access(kind, va, bytes, translator));
        self.expected.push(whole);
    }

    /// Runs the lower half up to where the upper one is.
    pub(crate) fn compare(&mut self, whole: Counts) -> TestCaseResult {
        let found = &mut self.found;
        self.lower.run(&self.upper.take_requests(), |charge, _, outcome| {
            let all = &mut found[charge as usize];
            for level in 0..all.accesses.len() {
                all.accesses[level] += outcome.accesses[level];
                all.misses[level] += outcome.misses[level];
            }
        });
        prop_assert_eq!(&self.found, &self.expected);
        let mut both = self.upper.counts();
        both += self.lower.counts();
        prop_assert_eq!(both, whole);
        Ok(())
    }
}

const SEMANTICS: [&str; 4] =
    ["per-reference", "split-writeback", "split-demand-only", "first-byte"];

/// Small machines of which all but the policies of caches is as plain as in `vee07`.
pub(crate) fn plain_machines() -> impl Strategy<Value = Machine> {
    let cache = || (1_u64..6, prop::sample::select([1_u64, 2, 3, 4, 8].as_slice()));
    let tlb = || (1_u64..4, 1_u64..7);
    let policy = || prop_oneof![3 => Just("lru"), 1 => prop::sample::select(crate::machines::POLICIES.as_slice())];
    let rules = (
        prop::sample::select(SEMANTICS.as_slice()),
        prop::sample::select(crate::machines::SCHEMES.as_slice()),
        prop::sample::select(crate::machines::VENDORS.as_slice()),
        1_usize..4,
    );
    let caches = ([cache(), cache(), cache(), cache()], [policy(), policy(), policy()]);
    (caches, [tlb(), tlb()], rules).prop_map(|((caches, policies), tlbs, rules)| {
        let (semantics, tags, vendor, depth) = rules;
        let mut text = format!(
            "name = \"plain\"\nsemantics = \"{semantics}\"\ntags = \"{tags}\"\nvendor = \"{vendor}\"\n"
        );
        for (number, name) in ["l1i", "l1d", "l2", "l3"].iter().enumerate().take(depth + 1) {
            let (sets, ways) = caches[number];
            // Fetches and data of level 1 have one policy.
            let policy = policies[number.saturating_sub(1)];
            let bytes = sets * ways * 64;
            text += &format!(
                "[{name}]\nsize = {bytes}\nways = {ways}\nline-size = 64\nreplacement = \"{policy}\"\n"
            );
        }
        for (name, (sets, ways)) in ["itlb", "dtlb"].iter().zip(tlbs) {
            text += &format!("[{name}]\nentries = {}\nways = {ways}\n", sets * ways);
        }
        Machine::from_toml(&text).unwrap()
    })
}

proptest! {
    #[test]
    fn plain_machines_have_halves(machine in plain_machines()) {
        prop_assert!(Halves::of(&machine).is_some());
    }
}
