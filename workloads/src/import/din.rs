//! `din`: the text format of Dinero III and IV, `label address` on each line.
//!
//! Labels: 0 read, 1 write, 2 instruction fetch, 3 escape, 4 escape and flush. The address is
//! hexadecimal; what follows it is a comment. Sizes are not in it.

use super::builder::Builder;
use super::error::{ImportError, Place};
use super::input::Input;
use super::lines::{Lines, hexadecimal, quoted};
use super::{FormatImport, OF_ONE_PROGRAM, Taken};
use crate::trace::{AccessKind, Event, Lacks};
use std::io::{Seek, Write};

pub(super) struct Din;

impl FormatImport for Din {
    const NAME: &str = "din";
    const LACKS: Lacks = Lacks { sizes: true, lengths: true, modifies: true, ..OF_ONE_PROGRAM };

    fn run<W: Write + Seek>(
        input: Input,
        builder: &mut Builder<W>,
        taken: &mut Taken<'_>,
    ) -> Result<(), ImportError> {
        Lines::new(input)?.each(|line, place| {
            taken.tick();
            let line = line.trim_ascii_start();
            let (label, rest) = match line {
                [] => return Ok(()),
                [label, rest @ ..] if !rest.first().is_some_and(|c| c.is_ascii_alphanumeric()) => {
                    (label, rest)
                }
                _ => return Err(malformed(place, line)),
            };
            let address = || {
                hexadecimal(rest.trim_ascii_start())
                    .filter(|(_, after)| after.first().is_none_or(u8::is_ascii_whitespace))
                    .map(|(address, _)| address)
                    .ok_or_else(|| malformed(place, line))
            };
            match label {
                b'0' => builder.data(AccessKind::Read, address()?, 0, false),
                b'1' => builder.data(AccessKind::Write, address()?, 0, false),
                b'2' => builder.fetch(address()?, 0),
                b'3' => {
                    taken.leave_out("escape records (label 3)");
                    Ok(())
                }
                b'4' => builder.event(Event::CacheFlush),
                _ => Err(malformed(place, line)),
            }
        })
    }
}

fn malformed(place: Place, line: &[u8]) -> ImportError {
    let what =
        format!("{} is not a label from 0 to 4 and a hexadecimal address of 64 bits", quoted(line));
    ImportError::Malformed { place, what, format: Din::NAME }
}
