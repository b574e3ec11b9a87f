//! What can be wrong with a source of symbols, in words that name file, place and remedy.

use std::path::PathBuf;

/// Result of this crate's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// Why symbols could not be had. Each message names the file, what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read or written.
    #[error("{}: {source}; check that the file exists and may be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// Writing a list of symbols or fingerprints failed.
    #[error(
        "cannot write the {what}: {source}; check that the disk has room and the folder may be written"
    )]
    Write {
        /// What was being written.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The file has no bytes, or nothing but white space.
    #[error("{file}: the file is empty, expected {expected}; make it again: {remedy}")]
    Empty {
        /// The file.
        file: String,
        /// The kind of content that was looked for.
        expected: &'static str,
        /// How such a file is made.
        remedy: &'static str,
    },

    /// The file is well-formed as far as one can tell, but is something else.
    #[error("{file}: this is {found}, expected {expected}; {remedy}")]
    WrongKind {
        /// The file.
        file: String,
        /// What it looks like.
        found: &'static str,
        /// The kind of content that was looked for.
        expected: &'static str,
        /// What to do.
        remedy: &'static str,
    },

    /// The kernel hid its addresses from the reader of `/proc/kallsyms`.
    #[error(
        "{file}: all {symbols} addresses are zero, because the kernel hides them; run `sysctl \
         kernel.kptr_restrict=0` as root in that domain and copy /proc/kallsyms again"
    )]
    AddressesHidden {
        /// The file.
        file: String,
        /// Number of symbols seen, all of them without address.
        symbols: u64,
    },

    /// The file was read but names nothing.
    #[error("{file}: no symbols found; {remedy}")]
    NoSymbols {
        /// The file.
        file: String,
        /// What to do.
        remedy: &'static str,
    },

    /// One line of a text file is not what it should be.
    #[error("{file}:{line}: expected {expected}, got `{found}`; {remedy}")]
    Line {
        /// The file.
        file: String,
        /// 1-based number of the line.
        line: u64,
        /// What belongs there.
        expected: &'static str,
        /// The beginning of what is there.
        found: String,
        /// What to do.
        remedy: &'static str,
    },

    /// An ELF file is damaged or of a sort that is not handled.
    #[error("{file}: damaged or unsupported ELF file: {reason}; copy the file again")]
    Elf {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },

    /// A compressed file does not decompress.
    #[error("{file}: cannot decompress: {source}; the file is damaged or cut short, copy it again")]
    Decompress {
        /// The file.
        file: String,
        /// What the decompressor said.
        source: std::io::Error,
    },

    /// The file is larger, perhaps only after decompression, than is reasonable.
    #[error(
        "{file}: more than {limit} bytes after decompression, which is more than any file of \
         symbols; check that it is the right file"
    )]
    TooLarge {
        /// The file.
        file: String,
        /// The limit, in bytes.
        limit: u64,
    },

    /// A mapping cannot come from the image that it names.
    #[error(
        "{image}: no loaded segment holds file offset {offset:#x}, which is mapped at \
         {address:#x}; the image is not the file that was running, copy it again from that domain"
    )]
    Unmappable {
        /// The image's name.
        image: String,
        /// Offset in the file, in bytes.
        offset: u64,
        /// Where it is mapped.
        address: u64,
    },

    /// Two builds are named alike.
    #[error(
        "{file}: build id {found} differs from {expected}, that of {other}; these are different \
         builds, use the files of one and the same"
    )]
    BuildIdMismatch {
        /// The file.
        file: String,
        /// Its build id.
        found: String,
        /// What it was compared with.
        other: String,
        /// The build id of that.
        expected: String,
    },

    /// A word that names no layer.
    #[error(
        "unknown layer `{0}`; layers are hypervisor, idle, unknown, and domN-kernel and domN-user \
         with N from 0 to 65535, such as dom0-kernel"
    )]
    UnknownLayer(String),
}

/// The first `limit` characters of a line, with control characters made visible, for messages.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 60;
    let mut shown: String = text.chars().take(LIMIT).flat_map(char::escape_debug).collect();
    if text.chars().nth(LIMIT).is_some() {
        shown.push('…');
    }
    shown
}
