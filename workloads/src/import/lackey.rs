//! `lackey`: what `valgrind --tool=lackey --trace-mem=yes` prints.
//!
//! `I  address,size` is an instruction fetch, ` L address,size` a load, ` S address,size` a store
//! and ` M address,size` a modify, which is a read and a write; addresses are hexadecimal, sizes
//! decimal. Valgrind's own messages begin with `==`, `--` or `**` and a process number.

use super::builder::Builder;
use super::error::{ImportError, Place};
use super::input::Input;
use super::lines::{Lines, decimal, hexadecimal, quoted};
use super::{FormatImport, OF_ONE_PROGRAM, Taken};
use crate::trace::{AccessKind, Lacks};
use std::io::{Seek, Write};

pub(super) struct Lackey;

impl FormatImport for Lackey {
    const NAME: &str = "lackey";
    const LACKS: Lacks = OF_ONE_PROGRAM;

    fn run<W: Write + Seek>(
        input: Input,
        builder: &mut Builder<W>,
        taken: &mut Taken<'_>,
    ) -> Result<(), ImportError> {
        Lines::new(input)?.each(|line, place| {
            taken.tick();
            let (kind, rest) = match line {
                [b'I', b' ', b' ', rest @ ..] => (b'I', rest),
                [b' ', kind @ (b'L' | b'S' | b'M'), b' ', rest @ ..] => (*kind, rest),
                [] => return Ok(()),
                _ if is_message(line) => {
                    taken.leave_out("lines of valgrind's own messages");
                    return Ok(());
                }
                _ => return Err(malformed(place, line)),
            };
            let Some((address, [b',', size @ ..])) = hexadecimal(rest) else {
                return Err(malformed(place, line));
            };
            let Some(size) = decimal(size) else { return Err(malformed(place, line)) };
            if kind == b'I' {
                let Ok(length) = u8::try_from(size) else {
                    let what = format!("an instruction of {size} bytes, more than 255");
                    return Err(ImportError::Malformed { place, what, format: Self::NAME });
                };
                return builder.fetch(address, length);
            }
            let Ok(bytes) = u16::try_from(size) else {
                let what = format!("a reference of {size} bytes, more than 65535");
                return Err(ImportError::Malformed { place, what, format: Self::NAME });
            };
            match kind {
                b'L' => builder.data(AccessKind::Read, address, bytes, false),
                b'S' => builder.data(AccessKind::Write, address, bytes, false),
                _ => {
                    builder.data(AccessKind::Read, address, bytes, false)?;
                    builder.data(AccessKind::Write, address, bytes, true)
                }
            }
        })
    }
}

/// `==123== …`, `--123-- …` or `**123** …`.
fn is_message(line: &[u8]) -> bool {
    let [a, b, rest @ ..] = line else { return false };
    if a != b || !b"=-*".contains(a) {
        return false;
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest[digits..].starts_with(&[*a, *a])
}

fn malformed(place: Place, line: &[u8]) -> ImportError {
    let what = format!("{} is neither a reference nor a message of valgrind", quoted(line));
    ImportError::Malformed { place, what, format: Lackey::NAME }
}
