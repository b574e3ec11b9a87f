//! What a stream cannot tell because its producer did not know it.

macro_rules! lacks {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        /// What the whole stream lacks: results that need it are not available, which is not the
        /// same as zero. A lack says nothing of a single reference: that a slot's size is unknown
        /// is told by the slot.
        ///
        /// A trace that a recorder made lacks nothing.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct Lacks {
            $($(#[$doc])* pub $name: bool,)*
        }

        impl Lacks {
            /// The bit mask in a trace's header.
            pub fn bits(self) -> u32 {
                $(u32::from(self.$name) << $bit)|*
            }

            /// From the bit mask in a trace's header; `None` if it has bits that no version
            /// defines.
            pub fn from_bits(bits: u32) -> Option<Self> {
                let lacks = Lacks { $($name: bits >> $bit & 1 != 0,)* };
                (lacks.bits() == bits).then_some(lacks)
            }

            /// What is lacking, each in a few words, in the order of the bits.
            pub fn texts(self) -> impl Iterator<Item = &'static str> {
                [$((self.$name, $text),)*].into_iter().filter(|&(lacks, _)| lacks).map(|(_, text)| text)
            }
        }
    };
}

lacks! {
    /// No instruction fetches: only data references are in the stream. Instructions were not
    /// counted either.
    fetches = 0, "instruction fetches";
    /// No data references: only instructions are in the stream.
    data = 1, "data references";
    /// The sizes of data references. Each touches its first byte as far as is known.
    sizes = 2, "sizes of data references";
    /// The lengths of instructions. Each fetch touches its first byte as far as is known; the
    /// lengths in blocks are the distance to the instruction that followed, or 1.
    lengths = 3, "lengths of instructions";
    /// The bytes of instructions.
    code = 4, "bytes of instructions";
    /// Which writes are the second half of a read-modify-write: none is marked, though there may
    /// be such.
    modifies = 5, "marks of read-modify-writes";
    /// Translations of pages: physical addresses are unknown.
    translations = 6, "page translations";
    /// The page-table pages that walks go through: the walks in the stream have no levels.
    walks = 7, "page tables";
    /// Privilege levels and code segments: those of blocks have no meaning.
    privilege = 8, "privilege levels";
    /// Who runs: CPUs, vCPUs and address spaces.
    contexts = 9, "contexts";
    /// Control events: writes of control registers, invalidations, interrupts, device transfers.
    events = 10, "control events";
}

impl Lacks {
    /// Nothing: what a trace of the recorder says.
    pub const NOTHING: Lacks = Lacks {
        fetches: false,
        data: false,
        sizes: false,
        lengths: false,
        code: false,
        modifies: false,
        translations: false,
        walks: false,
        privilege: false,
        contexts: false,
        events: false,
    };

    /// True when the stream has everything.
    pub fn is_nothing(self) -> bool {
        self == Lacks::NOTHING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lack_has_a_bit_and_a_text_of_its_own() {
        for bit in 0..11 {
            let lacks = Lacks::from_bits(1 << bit).unwrap();
            assert_eq!((lacks.bits(), lacks.texts().count()), (1 << bit, 1));
        }
        let all = Lacks::from_bits((1 << 11) - 1).unwrap();
        let mut texts: Vec<_> = all.texts().collect();
        texts.dedup();
        assert_eq!(texts.len(), 11);
        assert!(Lacks::NOTHING.is_nothing() && Lacks::NOTHING.texts().next().is_none());
    }

    #[test]
    fn bits_that_no_version_defines_are_no_lacks() {
        assert_eq!(Lacks::from_bits(1 << 11), None);
        assert_eq!(Lacks::from_bits(u32::MAX), None);
    }
}
