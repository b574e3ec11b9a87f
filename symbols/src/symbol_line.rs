//! The line that all text lists of symbols share: `ADDRESS [SIZE] TYPE NAME…`.

use std::borrow::Cow;

use crate::error::{Error, Result, excerpt};
use crate::input::foreign_kind;
use crate::symbol::{Binding, SymbolKind};

/// What a kind of text list is called in messages, and how it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListKind {
    pub(crate) name: &'static str,
    pub(crate) line: &'static str,
    pub(crate) remedy: &'static str,
}

/// One line, split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SymbolLine<'a> {
    pub(crate) address: u64,
    pub(crate) size: Option<u64>,
    pub(crate) letter: char,
    /// What follows the type letter, without white space around it.
    pub(crate) rest: &'a str,
}

impl<'a> SymbolLine<'a> {
    /// Splits a line; none when it is not of this form. The address may begin with `0x`.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let (address, rest) = word(line)?;
        let address =
            u64::from_str_radix(address.strip_prefix("0x").unwrap_or(address), 16).ok()?;
        let (second, rest) = word(rest)?;
        let (size, letter, rest) = if second.len() == 1 {
            (None, second, rest)
        } else {
            let (letter, rest) = word(rest)?;
            (Some(u64::from_str_radix(second, 16).ok()?), letter, rest)
        };
        let rest = rest.trim();
        let mut letters = letter.chars();
        let letter = letters.next()?;
        (letters.next().is_none() && !rest.is_empty()).then_some(Self {
            address,
            size,
            letter,
            rest,
        })
    }
}

/// The first word and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// What an `nm` type letter says; none for undefined and debugging symbols.
pub(crate) fn classify(letter: char) -> Option<(SymbolKind, Binding)> {
    Some(match letter {
        'T' | 'i' | 'I' => (SymbolKind::Code, Binding::Global),
        'W' | 'w' => (SymbolKind::Code, Binding::Weak),
        't' => (SymbolKind::Code, Binding::Local),
        'A' | 'B' | 'C' | 'D' | 'G' | 'R' | 'S' | 'u' => (SymbolKind::Data, Binding::Global),
        'V' | 'v' => (SymbolKind::Data, Binding::Weak),
        'a' | 'b' | 'c' | 'd' | 'g' | 'r' | 's' => (SymbolKind::Data, Binding::Local),
        _ => return None,
    })
}

/// The type letter that [`classify`] reads back.
pub(crate) fn letter(kind: SymbolKind, binding: Binding) -> char {
    match (kind, binding) {
        (SymbolKind::Code, Binding::Global) => 'T',
        (SymbolKind::Code, Binding::Weak) => 'W',
        (SymbolKind::Code, Binding::Local) => 't',
        (SymbolKind::Data, Binding::Global) => 'D',
        (SymbolKind::Data, Binding::Weak) => 'V',
        (SymbolKind::Data, Binding::Local) => 'd',
    }
}

/// The lines of a text file that are not blank, with their 1-based numbers. Bytes that are no
/// UTF-8 are replaced, so that one odd name does not cost the file.
///
/// # Errors
/// When the file is empty or certainly no text list of symbols.
pub(crate) fn lines<'a>(
    bytes: &'a [u8],
    file: &str,
    kind: &ListKind,
) -> Result<impl Iterator<Item = (u64, Cow<'a, str>)>> {
    check_not_empty(bytes, file, kind)?;
    if let Some(found) = foreign_kind(bytes) {
        return Err(wrong_kind(file, found, kind));
    }
    Ok((1..)
        .zip(bytes.split(|&byte| byte == b'\n'))
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(number, line)| (number, String::from_utf8_lossy(line))))
}

/// Refuses a file of nothing but white space.
pub(crate) fn check_not_empty(bytes: &[u8], file: &str, kind: &ListKind) -> Result<()> {
    if bytes.trim_ascii().is_empty() {
        return Err(Error::Empty {
            file: file.to_owned(),
            expected: kind.name,
            remedy: kind.remedy,
        });
    }
    Ok(())
}

/// The file is something else.
pub(crate) fn wrong_kind(file: &str, found: &'static str, kind: &ListKind) -> Error {
    Error::WrongKind { file: file.to_owned(), found, expected: kind.name, remedy: kind.remedy }
}

/// A line is not what it should be.
pub(crate) fn bad_line(file: &str, number: u64, line: &str, kind: &ListKind) -> Error {
    Error::Line {
        file: file.to_owned(),
        line: number,
        expected: kind.line,
        found: excerpt(line),
        remedy: kind.remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_nm_kallsyms_and_xen_split_alike() {
        let plain = SymbolLine::parse("ffffffff81000000 T _stext").unwrap();
        assert_eq!((plain.address, plain.size, plain.letter), (0xffff_ffff_8100_0000, None, 'T'));
        let module = SymbolLine::parse("ffffffffc0201000 t xennet_open\t[xen_netfront]\r").unwrap();
        assert_eq!(module.rest, "xennet_open\t[xen_netfront]");
        let sized = SymbolLine::parse("0000000000001139 0000000000000016 T main").unwrap();
        assert_eq!((sized.size, sized.rest), (Some(0x16), "main"));
        let xen = SymbolLine::parse("0xffff82d040200008 t head.o#multiboot1_header").unwrap();
        assert_eq!(xen.address, 0xffff_82d0_4020_0008);
    }

    #[test]
    fn other_lines_do_not_split() {
        for line in [
            "",
            "ffffffff81000000",
            "ffffffff81000000 T",
            "ffffffff81000000 T ",
            "xyz T name",
            "1ffffffffffffffff T name",
            "10 20 30 name",
            "10 zz T name",
            "                 U puts",
        ] {
            assert_eq!(SymbolLine::parse(line), None, "{line}");
        }
    }

    #[test]
    fn every_letter_written_reads_back() {
        for kind in [SymbolKind::Code, SymbolKind::Data] {
            for binding in [Binding::Global, Binding::Weak, Binding::Local] {
                assert_eq!(classify(letter(kind, binding)), Some((kind, binding)));
            }
        }
    }
}
