//! Reading files of symbols: size limits, compression, and what a file that is not what was
//! asked for looks like.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// Most bytes taken from one file, after decompression. A large program with all its debugging
/// information fits; the limit stops a small compressed file from filling memory.
pub const INPUT_LIMIT_BYTES: u64 = 1 << 30;

const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Reads a file and decompresses it if it is zstd data, whatever its name.
///
/// # Errors
/// When it cannot be read, is damaged, or exceeds [`INPUT_LIMIT_BYTES`].
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    // One byte over the limit tells a file of exactly the limit from a larger one.
    file.take(INPUT_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    let name = path.display().to_string();
    if bytes.len() as u64 > INPUT_LIMIT_BYTES {
        return Err(Error::TooLarge { file: name, limit: INPUT_LIMIT_BYTES });
    }
    decompress(bytes, &name, INPUT_LIMIT_BYTES)
}

/// Decompresses zstd data; anything else comes back as it is.
///
/// # Errors
/// When the data is damaged or its contents exceed `limit` bytes.
pub fn decompress(bytes: Vec<u8>, file: &str, limit: u64) -> Result<Vec<u8>> {
    if !bytes.starts_with(ZSTD_MAGIC) {
        return Ok(bytes);
    }
    let failed = |source| Error::Decompress { file: file.to_owned(), source };
    let decoder = zstd::Decoder::new(bytes.as_slice()).map_err(failed)?;
    let mut contents = Vec::new();
    decoder.take(limit.saturating_add(1)).read_to_end(&mut contents).map_err(failed)?;
    if contents.len() as u64 > limit {
        return Err(Error::TooLarge { file: file.to_owned(), limit });
    }
    Ok(contents)
}

/// What [`foreign_kind`] calls the mappings of a process.
pub(crate) const MAPPINGS: &str = "a list of a process's mappings (/proc/PID/maps)";

/// What a file is by its first bytes, when that is certainly no text list of symbols.
pub(crate) fn foreign_kind(bytes: &[u8]) -> Option<&'static str> {
    const MAGICS: &[(&[u8], &str)] = &[
        (b"\x7fELF", "an ELF file"),
        (ZSTD_MAGIC, "zstd-compressed data"),
        (b"\x1f\x8b", "gzip-compressed data"),
        (b"\xfd7zXZ", "xz-compressed data"),
        (b"BZh", "bzip2-compressed data"),
        (b"!<arch>", "an archive or Debian package"),
    ];
    let magic = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic));
    if let Some((_, kind)) = magic {
        return Some(kind);
    }
    let head = &bytes[..bytes.len().min(4096)];
    if head.contains(&0) {
        return Some("binary data");
    }
    let first_line = head.split(|&byte| byte == b'\n').next().unwrap_or(head);
    let first_word = first_line.split(u8::is_ascii_whitespace).next()?;
    let is_hex = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_hexdigit);
    let dash = first_word.iter().position(|&byte| byte == b'-')?;
    (is_hex(&first_word[..dash]) && is_hex(&first_word[dash + 1..])).then_some(MAPPINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_and_plain_files_read_alike() {
        let text = b"ffffffff81000000 T _stext\n".repeat(100);
        let packed = zstd::encode_all(text.as_slice(), 3).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("plain", &text), ("packed.zst", &packed)] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read_file(&path).unwrap(), text);
        }
        assert!(matches!(
            decompress(packed.clone(), "p", text.len() as u64 - 1),
            Err(Error::TooLarge { .. })
        ));
        assert_eq!(decompress(packed.clone(), "p", text.len() as u64).unwrap(), text);
        let cut = packed[..packed.len() / 2].to_vec();
        let error = decompress(cut, "dom0.zst", 1 << 20).unwrap_err();
        assert!(error.to_string().starts_with("dom0.zst: cannot decompress"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_file(Path::new("/nonexistent/kallsyms")).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/kallsyms: "), "{error}");
    }
}
