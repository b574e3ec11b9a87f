//! The file that keeps fingerprints beside trimmed symbols.
//!
//! ```text
//! # strata-fingerprints 1
//! image xen 151b373fd64b321593bf987fd923cd10dabadac4     name, and build id or -
//! ffff82d040201180 ffffffff00000000 1a2b3c4d             line address, executed bytes, CRC-32
//! ```
//!
//! Numbers are hexadecimal. A line covers 64 bytes; bit `i` of the mask stands for its byte `i`.
//! A line may be there several times, once for each run that executed other parts of it. Addresses
//! are image addresses, and memory addresses for kernels and hypervisor. The checksum is
//! that of the executed bytes of the line, in order.

use std::io::{self, Write};

use crate::build_id::BuildId;
use crate::error::{Error, Result};
use crate::executed_code::LINE_BYTES;
use crate::fingerprint::{Fingerprint, LinePrint};
use crate::list_text::{escape, unescape};
use crate::symbol_line::{self, ListKind};

const HEADER: &str = "# strata-fingerprints 1";

const KIND: ListKind = ListKind {
    name: "a file of fingerprints",
    line: "`# strata-fingerprints 1`, `image NAME BUILD-ID` or `ADDRESS MASK CRC32`",
    remedy: "read it with the version of strata that wrote it, or make it again from the capture",
};

/// A fingerprint and what it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFingerprint {
    /// What it is of: the path of a program or library, or a name such as `xen`, `dom0-kernel`.
    pub name: String,
    /// Which build ran, where known.
    pub build_id: Option<BuildId>,
    /// The executed code.
    pub fingerprint: Fingerprint,
}

impl NamedFingerprint {
    /// Refuses symbols of another build than the one that ran. Where either side does not say which
    /// build it is there is nothing to compare. `file` names the symbols in messages.
    ///
    /// # Errors
    /// When both build ids are known and differ.
    pub fn check_build(&self, symbols: Option<&BuildId>, file: &str) -> Result<()> {
        match (&self.build_id, symbols) {
            (Some(ran), Some(symbols)) if ran != symbols => Err(Error::BuildIdMismatch {
                file: file.to_owned(),
                found: symbols.to_string(),
                other: self.name.clone(),
                expected: ran.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// Writes fingerprints as [`read_fingerprints`] reads them.
///
/// # Errors
/// When writing fails.
pub fn write_fingerprints(prints: &[NamedFingerprint], to: &mut impl Write) -> Result<()> {
    let mut write = || -> io::Result<()> {
        writeln!(to, "{HEADER}")?;
        for print in prints {
            let build_id = print.build_id.as_ref().map_or("-".to_owned(), BuildId::to_string);
            writeln!(to, "image {} {build_id}", escape(&print.name))?;
            for line in print.fingerprint.lines() {
                writeln!(to, "{:016x} {:016x} {:08x}", line.address, line.mask, line.crc32)?;
            }
        }
        Ok(())
    };
    write().map_err(|source| Error::Write { what: "fingerprints", source })
}

/// Reads fingerprints. `file` names the input in messages.
///
/// # Errors
/// When it is empty, of another kind or version, or a line is malformed.
pub fn read_fingerprints(bytes: &[u8], file: &str) -> Result<Vec<NamedFingerprint>> {
    let mut prints: Vec<(String, Option<BuildId>, Vec<LinePrint>)> = Vec::new();
    let mut is_first = true;
    for (number, line) in symbol_line::lines(bytes, file, &KIND)? {
        let understood = if std::mem::take(&mut is_first) {
            (line.trim_end() == HEADER).then_some(())
        } else if let Some(image) = line.strip_prefix("image ") {
            image_line(image).map(|(name, build_id)| prints.push((name, build_id, Vec::new())))
        } else {
            prints.last_mut().zip(code_line(&line)).map(|((_, _, lines), print)| lines.push(print))
        };
        understood.ok_or_else(|| symbol_line::bad_line(file, number, &line, &KIND))?;
    }
    let named = prints.into_iter().map(|(name, build_id, lines)| NamedFingerprint {
        name,
        build_id,
        fingerprint: lines.into_iter().collect(),
    });
    Ok(named.collect())
}

fn image_line(text: &str) -> Option<(String, Option<BuildId>)> {
    let (name, build_id) = text.trim_end().split_once(' ')?;
    let build_id = match build_id {
        "-" => None,
        hex => Some(BuildId::from_hex(hex)?),
    };
    Some((unescape(name).into_owned(), build_id))
}

fn code_line(line: &str) -> Option<LinePrint> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let mask = u64::from_str_radix(words.next()?, 16).ok()?;
    let crc32 = u32::from_str_radix(words.next()?, 16).ok()?;
    // An empty line would agree with anything.
    let is_sound = mask != 0 && address.is_multiple_of(LINE_BYTES) && words.next().is_none();
    is_sound.then_some(LinePrint { address, mask, crc32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executed_code::ExecutedCode;
    use crate::load_bias::LoadBias;

    #[test]
    fn fingerprints_read_back_as_written() {
        let mut code = ExecutedCode::new();
        code.add(0xffff_82d0_4020_1190, &[0x90; 300]);
        let fingerprint = Fingerprint::of(&code, 0, u64::MAX, LoadBias(0));
        let prints = [
            NamedFingerprint {
                name: "xen".to_owned(),
                build_id: BuildId::from_hex("151b373f"),
                fingerprint,
            },
            NamedFingerprint {
                name: "/opt/a program".to_owned(),
                build_id: None,
                fingerprint: Fingerprint::default(),
            },
        ];
        let mut text = Vec::new();
        write_fingerprints(&prints, &mut text).unwrap();
        assert_eq!(read_fingerprints(&text, "f").unwrap(), prints);
    }

    #[test]
    fn symbols_of_another_build_are_refused_by_name() {
        let print = NamedFingerprint {
            name: "xen".to_owned(),
            build_id: BuildId::from_hex("0a"),
            fingerprint: Fingerprint::default(),
        };
        let error = print.check_build(BuildId::from_hex("0b").as_ref(), "xen.map").unwrap_err();
        assert!(error.to_string().starts_with("xen.map: build id 0b differs from 0a"), "{error}");
        assert!(print.check_build(BuildId::from_hex("0a").as_ref(), "xen.map").is_ok());
        assert!(print.check_build(None, "xen.map").is_ok());
    }

    #[test]
    fn broken_files_are_refused_by_line() {
        for (text, place) in [
            ("# strata-fingerprints 2\n", "f:1:"),
            ("# strata-fingerprints 1\n10 ff 0\n", "f:2:"),
            ("# strata-fingerprints 1\nimage a -\n10 ff\n", "f:3:"),
            ("# strata-fingerprints 1\nimage a xyz\n", "f:2:"),
            ("# strata-fingerprints 1\nimage a -\n40 0 0\n", "f:3:"),
            ("# strata-fingerprints 1\nimage a -\n41 1 0\n", "f:3:"),
        ] {
            let error = read_fingerprints(text.as_bytes(), "f").unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
        }
    }
}
