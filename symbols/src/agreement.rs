//! How well code that ran agrees with what an image or a fingerprint says should be there.

/// Largest share of differing lines under which user code counts as the same. Files of programs
/// are not patched when loaded; the little room is for debuggers' breakpoints and for address
/// spaces whose number a second process used.
pub const USER_TOLERANCE: f64 = 0.02;

/// Largest share of differing lines under which kernel or hypervisor code counts as the same
/// build. Both patch their own text (alternatives for the processor found, paravirtual calls,
/// static keys, mitigations, tracing), so that two boots of one build differ.
pub const KERNEL_TOLERANCE: f64 = 0.25;

/// A comparison, counted in 64-byte lines of code of which at least a byte ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Lines whose bytes are the expected ones.
    pub matched: u64,
    /// Lines with another byte.
    pub differed: u64,
    /// Lines about which nothing is known.
    pub unknown: u64,
    /// Where the first differing line ran.
    pub first_difference: Option<u64>,
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The code is that of the image.
    Same,
    /// It is not: another build, another program, or a wrong load address.
    Different,
    /// Nothing could be compared.
    Unknown,
}

impl Agreement {
    /// The verdict if at most a share of `tolerance` of the compared lines may differ
    /// ([`USER_TOLERANCE`], [`KERNEL_TOLERANCE`]).
    pub fn verdict(&self, tolerance: f64) -> Verdict {
        let compared = self.matched + self.differed;
        if compared == 0 {
            Verdict::Unknown
        } else if self.differed as f64 <= tolerance * compared as f64 {
            Verdict::Same
        } else {
            Verdict::Different
        }
    }

    pub(crate) fn count(&mut self, address: u64, outcome: Option<bool>) {
        match outcome {
            None => self.unknown += 1,
            Some(true) => self.matched += 1,
            Some(false) => {
                self.differed += 1;
                let first = self.first_difference.get_or_insert(address);
                *first = address.min(*first);
            }
        }
    }

    /// Net evidence, to rank candidates by.
    pub(crate) fn score(&self) -> i64 {
        self.matched as i64 - self.differed as i64
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.differed += other.differed;
        self.unknown += other.unknown;
        self.first_difference =
            self.first_difference.into_iter().chain(other.first_difference).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_depends_on_the_share_that_differs() {
        let of = |matched, differed| Agreement { matched, differed, ..Agreement::default() };
        assert_eq!(of(0, 0).verdict(USER_TOLERANCE), Verdict::Unknown);
        assert_eq!(of(98, 2).verdict(USER_TOLERANCE), Verdict::Same);
        assert_eq!(of(97, 3).verdict(USER_TOLERANCE), Verdict::Different);
        assert_eq!(of(97, 3).verdict(KERNEL_TOLERANCE), Verdict::Same);
        assert_eq!(of(0, 1).verdict(KERNEL_TOLERANCE), Verdict::Different);
    }

    #[test]
    fn the_lowest_differing_address_is_kept() {
        let mut agreement = Agreement::default();
        for (address, outcome) in [(9, Some(false)), (3, Some(false)), (1, Some(true)), (2, None)] {
            agreement.count(address, outcome);
        }
        assert_eq!(agreement.first_difference, Some(3));
        assert_eq!((agreement.matched, agreement.differed, agreement.unknown), (1, 2, 1));
    }
}
