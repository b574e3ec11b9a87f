//! Whether the parts of a `perf.data` file lie within it: what reads it takes their places on trust.

use crate::error::Error;
use std::io::{Read, Seek, SeekFrom};

/// Bytes of `struct perf_file_header` (tools/perf/util/header.h): magic, sizes of header and
/// attribute, three parts, 256 bits of features.
const HEAD: usize = 8 + 8 + 8 + 3 * 16 + 32;
/// The first part: attributes, then data, then types of events.
const PARTS: usize = 24;
const FEATURES: usize = PARTS + 3 * 16;
/// The first version of an attribute (`PERF_ATTR_SIZE_VER0`).
const LEAST_ATTRIBUTE: u64 = 64;

/// Makes sure that every part lies within the file, and goes back to its begin.
///
/// # Errors
/// [`Error::PerfData`] if one does not; those of the system.
pub(crate) fn check_parts(input: &mut (impl Read + Seek)) -> Result<(), Error> {
    let damaged = |what: &str| Err(Error::PerfData(format!("{what} goes beyond its end")));
    let end = input.seek(SeekFrom::End(0))?;
    input.seek(SeekFrom::Start(0))?;
    let mut head = [0; HEAD];
    if end < HEAD as u64 {
        return damaged("its head");
    }
    input.read_exact(&mut head)?;
    // Written by a machine of the other byte order, the magic is reversed.
    let is_big = head.starts_with(b"2ELIFREP");
    let number = |bytes: &[u8]| {
        let bytes = bytes.first_chunk().copied().unwrap_or_default();
        if is_big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    };
    let fits = |part: &[u8]| number(part).checked_add(number(&part[8..])).filter(|to| *to <= end);
    if number(&head[16..]) < LEAST_ATTRIBUTE {
        return Err(Error::PerfData("its attributes are shorter than any".to_owned()));
    }
    let mut data_end = 0;
    for (part, what) in ["its attributes", "its data", "its types of events"].iter().enumerate() {
        match fits(&head[PARTS + 16 * part..]) {
            Some(to) if part == 1 => data_end = to,
            Some(_) => {}
            None => return damaged(what),
        }
    }
    input.seek(SeekFrom::Start(data_end))?;
    let features: u32 = head[FEATURES..].iter().map(|byte| byte.count_ones()).sum();
    let mut place = [0; 16];
    for _ in 0..features {
        if input.read_exact(&mut place).is_err() {
            return damaged("its list of features");
        }
        if fits(&place).is_none() {
            return damaged("one of its features");
        }
    }
    input.seek(SeekFrom::Start(0))?;
    Ok(())
}
