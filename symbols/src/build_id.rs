//! The name that the linker gave a build, and the ELF notes that carry it.

use std::fmt;

/// A GNU build id: what tells one build of a program, kernel or hypervisor from another.
///
/// Written as lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId(Box<[u8]>);

/// Longest accepted, in bytes. SHA-1 build ids have 20, none seen has more than 64.
const LONGEST: usize = 64;
/// Note type of a build id, under the owner `GNU`.
const NT_GNU_BUILD_ID: u32 = 3;

impl BuildId {
    /// A build id of these bytes; none for no bytes or more than 64.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=LONGEST).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// Reads hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let bytes: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
            .collect();
        Self::new(&bytes?)
    }

    /// Finds the build id among ELF notes: the contents of a note section or segment, or of
    /// `/sys/kernel/notes`, whose kernel is the one that runs. Little-endian, 4-byte aligned.
    pub fn from_notes(mut notes: &[u8]) -> Option<Self> {
        while let Some((header, rest)) = notes.split_first_chunk::<12>() {
            let word = |at: usize| {
                header[at..at + 4].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
            };
            let (name_size, size, kind) = (word(0) as usize, word(4) as usize, word(8));
            let name = rest.get(..name_size)?;
            let rest = rest.get(name_size.checked_next_multiple_of(4)?..)?;
            let description = rest.get(..size)?;
            if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
                return Self::new(description);
            }
            notes = rest.get(size.checked_next_multiple_of(4)?..)?;
        }
        None
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::BuildId;

    fn note(kind: u32, name: &[u8], description: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [name.len() as u32, description.len() as u32, kind] {
            bytes.extend(word.to_le_bytes());
        }
        for part in [name, description] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let mut notes = note(6, b"Linux\0", b"6.1");
        notes.extend(note(3, b"Xen\0", &[9]));
        notes.extend(note(3, b"GNU\0", &[0xe4, 0xf1, 0x8d, 0x9d, 0x01]));
        let id = BuildId::from_notes(&notes).unwrap();
        assert_eq!(id.to_string(), "e4f18d9d01");
        assert_eq!(BuildId::from_hex("e4f18d9d01"), Some(id));
        assert_eq!(BuildId::from_notes(&notes[..notes.len() - 4]), None);
    }

    #[test]
    fn text_that_is_no_build_id_is_refused() {
        for text in ["", "abc", "+1", "zz", "é0", &"00".repeat(65)] {
            assert_eq!(BuildId::from_hex(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn random_notes_never_panic(bytes: Vec<u8>) {
            let _ = BuildId::from_notes(&bytes);
        }
    }
}
