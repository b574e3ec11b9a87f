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

/// The feature that describes events (`HEADER_EVENT_DESC`).
const EVENT_DESC: usize = 12;

fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn is_set(head: &[u8; HEAD], feature: usize) -> bool {
    head[FEATURES + feature / 8] >> (feature % 8) & 1 == 1
}

/// Whether all events that the feature says it describes are in it: how many, the size of an attribute, and
/// of each the attribute, how many ids, a name behind its length, and the ids.
fn events_fit(mut bytes: &[u8]) -> bool {
    let mut skip = |count: usize| -> Option<&[u8]> {
        let (skipped, rest) = bytes.split_at_checked(count)?;
        bytes = rest;
        Some(skipped)
    };
    let small = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let mut walk = || -> Option<()> {
        let count = small(skip(4)?);
        let attribute = small(skip(4)?);
        for _ in 0..count {
            // None takes nothing, so that this ends with the bytes.
            skip(attribute as usize)?;
            let ids = small(skip(4)?);
            let name = small(skip(4)?);
            skip(name as usize)?;
            skip(ids as usize * 8)?;
        }
        Some(())
    };
    walk().is_some()
}

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
    if head.starts_with(b"2ELIFREP") {
        return Err(Error::PerfData(
            "it is of a big-endian machine, which has no KVM of x86".to_owned(),
        ));
    }
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
    // What reads those makes room for as many ids as they say.
    if number(&head[PARTS + 40..]) > 0 && !is_set(&head, EVENT_DESC) {
        return Err(Error::PerfData("it describes its events as perf no longer does".to_owned()));
    }
    input.seek(SeekFrom::Start(data_end))?;
    let features: u32 = head[FEATURES..].iter().map(|byte| byte.count_ones()).sum();
    let before: u32 = (0..EVENT_DESC).map(|bit| u32::from(is_set(&head, bit))).sum();
    let (mut place, mut events) = ([0; 16], None);
    for feature in 0..features {
        if input.read_exact(&mut place).is_err() {
            return damaged("its list of features");
        }
        if fits(&place).is_none() {
            return damaged("one of its features");
        }
        if is_set(&head, EVENT_DESC) && feature == before {
            events = Some((number(&place), number(&place[8..])));
        }
    }
    if let Some((from, size)) = events {
        input.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        input.take(size).read_to_end(&mut bytes)?;
        if !events_fit(&bytes) {
            return damaged("its list of events");
        }
    }
    input.seek(SeekFrom::Start(0))?;
    Ok(())
}
