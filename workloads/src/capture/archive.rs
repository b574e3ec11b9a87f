//! Initial RAM file systems as `newc` archives, written without ever making the files: device
//! nodes and root's ownership need no privilege in an archive.
//!
//! The same contents give the same bytes: entries are sorted, times are zero.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use cpio::newc;

use super::CaptureError;
use super::error::FileContext;

/// What an archive entry is.
#[derive(Clone, Debug)]
enum Entry {
    Folder,
    File { mode: u32, bytes: Vec<u8> },
    Link { target: String },
    Device { mode: u32, major: u32, minor: u32 },
}

/// An archive being put together.
///
/// Programs and libraries lie below `/usr`; `/bin`, `/sbin`, `/lib` and `/lib64` are links there,
/// so that each file has one name.
#[derive(Clone, Debug, Default)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
}

/// Where a file of the image lies, with the links of the top folder followed; no leading slash.
pub(super) fn canonical(path: &str) -> String {
    let path = path.trim_start_matches('/');
    match path.split('/').next() {
        Some("bin" | "sbin" | "lib" | "lib64") => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}

impl Archive {
    /// An archive with the folders and devices that any Linux needs to start.
    pub(super) fn with_base() -> Archive {
        let mut archive = Archive::default();
        for link in ["bin", "sbin", "lib", "lib64"] {
            archive.entries.insert(link.to_owned(), Entry::Link { target: format!("usr/{link}") });
            archive.folder(&format!("usr/{link}"));
        }
        for folder in ["proc", "sys", "dev", "run", "tmp", "root", "mnt", "var/log", "var/lib"] {
            archive.folder(folder);
        }
        for (name, mode, major, minor) in [("console", 0o600, 5, 1), ("null", 0o666, 1, 3)] {
            archive.entries.insert(format!("dev/{name}"), Entry::Device { mode, major, minor });
        }
        archive
    }

    /// Adds a folder and those above it.
    pub(super) fn folder(&mut self, path: &str) {
        let path = canonical(path);
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            self.entries.entry(path[..end].to_owned()).or_insert(Entry::Folder);
        }
    }

    /// Adds a file, with the folders above it.
    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.place(path, Entry::File { mode, bytes: bytes.into() });
    }

    /// Adds a symbolic link unless the name is taken.
    pub(super) fn link_if_free(&mut self, path: &str, target: &str) {
        if !self.contains(path) {
            self.place(path, Entry::Link { target: target.to_owned() });
        }
    }

    /// Whether a path is in it.
    pub(super) fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(&canonical(path))
    }

    /// The ELF files in it: absolute path and content.
    pub(super) fn elf_files(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File { bytes, .. } if bytes.starts_with(b"\x7fELF") => {
                Some((format!("/{path}"), bytes.as_slice()))
            }
            _ => None,
        })
    }

    fn place(&mut self, path: &str, entry: Entry) {
        let path = canonical(path);
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
        self.entries.insert(path, entry);
    }

    /// Writes it to a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(super) fn save(&self, path: &Path) -> Result<(), CaptureError> {
        let file = fs::File::create(path).on("create", path)?;
        let mut out = io::BufWriter::with_capacity(1 << 20, file);
        self.write(&mut out).and_then(|()| out.flush()).on("write", path)
    }

    /// The archive as bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes).expect("writing to memory does not fail");
        bytes
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        const FOLDER: u32 = 0o040_000;
        const FILE: u32 = 0o100_000;
        const LINK: u32 = 0o120_000;
        const DEVICE: u32 = 0o020_000;
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            let header = newc::Builder::new(path).ino(number).nlink(1);
            let (header, bytes): (_, &[u8]) = match entry {
                Entry::Folder => (header.mode(FOLDER | 0o755).nlink(2), &[]),
                Entry::File { mode, bytes } => (header.mode(FILE | mode), bytes),
                Entry::Link { target } => (header.mode(LINK | 0o777), target.as_bytes()),
                Entry::Device { mode, major, minor } => {
                    (header.mode(DEVICE | mode).rdev_major(*major).rdev_minor(*minor), &[])
                }
            };
            let size = u32::try_from(bytes.len()).map_err(|_| {
                io::Error::other(format!("{path}: 4 GiB is the limit of the archive format"))
            })?;
            let mut writer = header.write(&mut *out, size);
            writer.write_all(bytes)?;
            writer.finish()?;
        }
        newc::trailer(&mut *out)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_back_in_order() {
        let mut archive = Archive::with_base();
        archive.file("/bin/tool", 0o755, "abc");
        let bytes = archive.to_bytes();
        let mut rest = bytes.as_slice();
        let mut names = Vec::new();
        loop {
            let reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push((reader.entry().name().to_owned(), reader.entry().file_size()));
            rest = reader.finish().unwrap();
        }
        assert!(names.contains(&("usr/bin/tool".to_owned(), 3)));
        assert!(names.contains(&("bin".to_owned(), 7)));
        let position = |name: &str| names.iter().position(|(n, _)| n == name).unwrap();
        assert!(position("usr") < position("usr/bin"), "a folder comes before what is in it");
    }

    #[test]
    fn the_same_contents_give_the_same_bytes() {
        let build = |names: [&str; 2]| {
            let mut archive = Archive::default();
            names.iter().for_each(|name| archive.file(name, 0o644, *name));
            archive.to_bytes()
        };
        assert_eq!(build(["a/x", "b"]), build(["a/x", "b"]));
        assert_eq!(build(["a/x", "b"]).len() % 4, 0, "archives are appended to each other");
    }

    #[test]
    fn files_of_merged_folders_have_one_name() {
        assert_eq!(canonical("/bin/sh"), "usr/bin/sh");
        assert_eq!(canonical("/lib64/ld.so"), "usr/lib64/ld.so");
        assert_eq!(canonical("/library/x"), "library/x");
    }
}
