//! Traces of Linux as text.

mod babeltrace;
mod lines;
mod linux;
mod records;

pub use babeltrace::Babeltrace;
pub use linux::{PerfScript, TraceCmd};

use crate::coverage::Coverage;
use crate::detect::Format;
use crate::error::Error;
use std::io::Read;

pub(crate) use babeltrace::looks_like_babeltrace;
pub(crate) use linux::{looks_like_perf_script, looks_like_trace_cmd};
pub(crate) use records::TextRecord;

/// Gives `take` every record of a text of that format; `None` if that is none of text.
pub(crate) fn each_record(
    input: impl Read,
    format: Format,
    take: impl FnMut(&TextRecord<'_>),
) -> Option<Result<Coverage, Error>> {
    Some(match format {
        Format::PerfScript => records::each_record(input, linux::Tool::Perf, take),
        Format::TraceCmd => records::each_record(input, linux::Tool::TraceCmd, take),
        Format::Lttng => records::each_record(input, babeltrace::Lttng::default(), take),
        Format::Xentrace | Format::PerfData | Format::Native => return None,
    })
}

/// A number as Linux prints it: `0x1f`, `31`.
pub(crate) fn number(text: &str) -> Option<u64> {
    let text = text.trim_matches(|c: char| c == ',' || c == ';');
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok().or_else(|| text.parse::<i64>().ok().map(|number| number as u64)),
    }
}

/// Nanoseconds of `12.345678` with any number of decimals, by point or comma.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once(['.', ','])?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let parts: u64 = fraction.parse().ok()?;
    let parts = parts * 10u64.pow(9 - fraction.len() as u32);
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_any_number_of_decimals_and_either_mark() {
        assert_eq!(nanoseconds("3.709895"), Some(3_709_895_000));
        assert_eq!(nanoseconds("3.709895297"), Some(3_709_895_297));
        assert_eq!(nanoseconds("3,5"), Some(3_500_000_000));
        for text in ["", "3", "3.", ".5", "3.x", "3.1234567890", "99999999999999999999.0"] {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(["0x10", "16,", "-1"].map(number), [Some(16), Some(16), Some(u64::MAX)]);
        assert_eq!(number("coffee"), None);
    }
}
