//! Inputs of lines of text.

use super::error::{ImportError, Place};
use super::input::Input;

/// No trace has longer lines; more is something else.
const MAX_LINE: usize = 1 << 16;

/// Lines, without their ends.
pub(crate) struct Lines {
    input: Input,
    number: u64,
    offset: u64,
    /// Begins in one piece of the input and ends in another.
    split: Vec<u8>,
}

impl Lines {
    /// # Errors
    /// If the input is empty or cannot be read.
    pub(crate) fn new(mut input: Input) -> Result<Self, ImportError> {
        if input.fill().map_err(|error| ImportError::Input { bytes: 0, error })?.is_empty() {
            return Err(ImportError::Empty);
        }
        Ok(Lines { input, number: 1, offset: 0, split: Vec::new() })
    }

    /// Gives each line in turn to `take`, with its place.
    ///
    /// # Errors
    /// What `take` says, or if the input fails, has a line beyond 64 KiB, or ends within a line: its
    /// last number may be cut short.
    pub(crate) fn each(
        mut self,
        mut take: impl FnMut(&[u8], Place) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        loop {
            let offset = self.offset;
            let bytes =
                self.input.fill().map_err(|error| ImportError::Input { bytes: offset, error })?;
            if bytes.is_empty() {
                break;
            }
            let mut rest = bytes;
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let place = Place::Line(self.number);
                if self.split.is_empty() {
                    take(trimmed(&rest[..end]), place)?;
                } else {
                    self.split.extend_from_slice(&rest[..end]);
                    take(trimmed(&self.split), place)?;
                    self.split.clear();
                }
                rest = &rest[end + 1..];
                self.number += 1;
            }
            if self.split.len() + rest.len() > MAX_LINE {
                let what = format!("a line of more than {MAX_LINE} bytes");
                return Err(ImportError::Unsupported { place: Place::Line(self.number), what });
            }
            self.split.extend_from_slice(rest);
            let read = bytes.len();
            self.offset += read as u64;
            self.input.consume(read);
        }
        if trimmed(&self.split).is_empty() {
            return Ok(());
        }
        let what = "the last line has no end; if it is whole, end it with a newline";
        Err(ImportError::CutOff { place: Place::Line(self.number), what: what.into() })
    }
}

/// Without a carriage return and blanks at the end.
fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

/// A hexadecimal number of at most 64 bits, with or without `0x`, at the start of `text`; with what
/// follows it.
pub(crate) fn hexadecimal(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = match text {
        [b'0', b'x' | b'X', rest @ ..] => rest,
        _ => text,
    };
    let mut value = 0u64;
    let mut count = 0;
    for &byte in digits {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => break,
        };
        if value >> 60 != 0 {
            return None;
        }
        value = value << 4 | u64::from(digit);
        count += 1;
    }
    (count > 0).then(|| (value, &digits[count..]))
}

/// A decimal number that is all of `text`.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A line as an error shows it.
pub(crate) fn quoted(line: &[u8]) -> String {
    const SHOWN: usize = 60;
    let shown = line[..line.len().min(SHOWN)].escape_ascii();
    format!("`{shown}{}`", if line.len() > SHOWN { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_they_end_and_fit_in_64_bits() {
        assert_eq!(hexadecimal(b"0401ab70,3"), Some((0x0401_ab70, &b",3"[..])));
        assert_eq!(hexadecimal(b"0xffffffffffffffff"), Some((u64::MAX, &b""[..])));
        assert_eq!(hexadecimal(b"00000000000000000000001 x"), Some((1, &b" x"[..])));
        assert_eq!(hexadecimal(b"10000000000000000"), None);
        assert_eq!(hexadecimal(b",3"), None);
        assert_eq!(hexadecimal(b"0x"), None);
        assert_eq!(decimal(b"65536"), Some(65536));
        assert_eq!((decimal(b""), decimal(b"1a"), decimal(b"-1")), (None, None, None));
        assert_eq!(decimal(b"18446744073709551616"), None);
    }

    #[test]
    fn lines_come_whole_whatever_pieces_the_input_comes_in() {
        let text: String = (0..100_000).map(|i| format!("{i:x}\r\n")).collect();
        let mut seen = 0u64;
        let lines = Lines::new(Input::from_reader(std::io::Cursor::new(text)).unwrap()).unwrap();
        lines
            .each(|line, place| {
                assert_eq!(hexadecimal(line), Some((seen, &b""[..])));
                seen += 1;
                assert_eq!(place, Place::Line(seen));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, 100_000);
    }
}
