//! What format a trace is of, by its first bytes.

use crate::error::Error;
use crate::text;
use crate::xentrace::{OldLayout, looks_new, looks_old};

/// Formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Of xentrace, either layout.
    Xentrace,
    /// Text of `perf script`.
    PerfScript,
    /// `perf.data`.
    PerfData,
    /// Text of `trace-cmd report`.
    TraceCmd,
    /// Text of `babeltrace2`, of an LTTng trace.
    Lttng,
    /// Of strata's recorder.
    Native,
}

/// Bytes that a guess is made from.
pub const BEGINNING: usize = 1 << 18;

impl Format {
    /// All of them.
    pub const ALL: [Format; 6] = [
        Format::Xentrace,
        Format::PerfScript,
        Format::PerfData,
        Format::TraceCmd,
        Format::Lttng,
        Format::Native,
    ];

    /// As `--from` names it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Xentrace => "xentrace",
            Format::PerfScript => "perf-script",
            Format::PerfData => "perf-data",
            Format::TraceCmd => "trace-cmd",
            Format::Lttng => "lttng",
            Format::Native => "native",
        }
    }

    /// The format of a file that begins so.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] if it is none of them.
    pub fn of(begin: &[u8]) -> Result<Format, Error> {
        Format::ALL
            .into_iter()
            .find(|format| format.suits(begin))
            .ok_or_else(|| Error::UnknownFormat { found: found(begin).to_owned() })
    }

    /// True if a file of it begins so.
    fn suits(self, begin: &[u8]) -> bool {
        let text = || match std::str::from_utf8(begin) {
            Ok(text) => text,
            // The last character may be cut.
            Err(error) => std::str::from_utf8(&begin[..error.valid_up_to()]).unwrap_or_default(),
        };
        match self {
            Format::Xentrace => looks_new(begin) || looks_old(begin).is_some(),
            Format::PerfData => begin.starts_with(b"PERFILE2") || begin.starts_with(b"2ELIFREP"),
            Format::Native => begin.starts_with(&strata_workloads::trace::MAGIC),
            Format::TraceCmd => text::looks_like_trace_cmd(text()),
            Format::PerfScript => text::looks_like_perf_script(text()),
            Format::Lttng => text::looks_like_babeltrace(text()),
        }
    }

    /// Makes sure that a file which begins so may be read as this format. Text is read whatever it
    /// is: what is no event in it is counted.
    ///
    /// # Errors
    /// [`Error::WrongFormat`] if it is of another.
    pub fn check(self, begin: &[u8]) -> Result<(), Error> {
        if begin.is_empty() || self.suits(begin) {
            return Ok(());
        }
        let (why, remedy) = match Format::of(begin) {
            Ok(other) => (
                format!("it looks like one of {}", other.name()),
                format!("take --from {}, or leave it out", other.name()),
            ),
            Err(_) => (
                format!("it looks like {}", found(begin)),
                "give the file that the tool wrote, unpacked".to_owned(),
            ),
        };
        Err(Error::WrongFormat { expected: self.name(), why, remedy })
    }
}

/// The layout of Xen 3.0 that a file has, if it is not of today's.
pub fn old_layout(begin: &[u8]) -> Option<OldLayout> {
    if looks_new(begin) { None } else { looks_old(begin) }
}

/// What a file of no known format looks like.
fn found(begin: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 9] = [
        (b"\x1f\x8b", "a gzip file; unpack it"),
        (b"\xfd7zXZ", "an xz file; unpack it"),
        (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it"),
        (b"PERFFILE", "a perf.data file of a version before 2.6.39"),
        (b"\x17\x08\x44tracing", "a trace.dat file; `trace-cmd report` writes it as text"),
        (b"\x75\xd1\x1d\x57", "an LTTng metadata file; `babeltrace2` writes the trace as text"),
        (b"\x57\x1d\xd1\x75", "an LTTng metadata file; `babeltrace2` writes the trace as text"),
        (b"\xc1\x1f\xfc\xc1", "an LTTng stream file; `babeltrace2` writes the trace as text"),
        (b"{", "JSON"),
    ];
    if begin.is_empty() {
        return "it is empty";
    }
    let known = KNOWN.iter().find(|(magic, _)| begin.starts_with(magic)).map(|known| known.1);
    let is_text = std::str::from_utf8(&begin[..begin.len().min(256)]).is_ok();
    known.unwrap_or(if is_text { "text without events" } else { "binary data" })
}
