//! `ref64`: one reference in each 8 bytes.
//!
//! Little-endian; bits 0–47 the address, 48–55 the size in bytes, 56–57 the kind (0 read, 1 write,
//! 2 instruction fetch), 58 the write half of a read-modify-write; the others are 0. Addresses are
//! taken as they are: bit 47 is not extended.

use super::builder::Builder;
use super::error::ImportError;
use super::input::Input;
use super::records::Records;
use super::{FormatImport, OF_ONE_PROGRAM, Taken};
use crate::trace::{AccessKind, Lacks};
use std::io::{Seek, Write};

const ADDRESS: u64 = (1 << 48) - 1;

pub(super) struct Ref64;

impl FormatImport for Ref64 {
    const NAME: &str = "ref64";
    const LACKS: Lacks = OF_ONE_PROGRAM;

    fn run<W: Write + Seek>(
        input: Input,
        builder: &mut Builder<W>,
        taken: &mut Taken<'_>,
    ) -> Result<(), ImportError> {
        Records::<8>::new(input)?.each(|record, place| {
            let word = u64::from_le_bytes(*record);
            let (address, size) = (word & ADDRESS, (word >> 48) as u8);
            taken.tick();
            match word >> 56 {
                2 => builder.fetch(address, size),
                0 => builder.data(AccessKind::Read, address, size.into(), false),
                1 => builder.data(AccessKind::Write, address, size.into(), false),
                5 => builder.data(AccessKind::Write, address, size.into(), true),
                kind => {
                    let what = match kind {
                        3 => "kind 3, which is neither read, write nor fetch".to_owned(),
                        4 | 6 => "a read or fetch marked as the write of a modify".to_owned(),
                        _ => format!("bits 59 to 63 are {:#x}, not 0", word >> 59),
                    };
                    Err(ImportError::Malformed { place, what, format: Self::NAME })
                }
            }
        })
    }
}
