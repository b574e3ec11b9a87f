//! Numbers of instructions on the command line: `5M`, `200k..3M`.

/// A number, with `k`, `M` or `G` for thousands, millions and billions.
pub(crate) fn quantity(text: &str) -> Result<u64, String> {
    let expected =
        || format!("`{text}` is not a number of instructions such as 250000, 250k, 1.5M or 1G");
    let (digits, factor) = match text.strip_suffix(['k', 'K', 'M', 'G']) {
        None => (text, 1),
        Some(digits) if text.ends_with('M') => (digits, 1_000_000),
        Some(digits) if text.ends_with('G') => (digits, 1_000_000_000),
        Some(digits) => (digits, 1_000),
    };
    let digits = digits.replace('_', "");
    let (whole, decimals) = digits.split_once('.').unwrap_or((&digits, "0"));
    // Digits only: `parse` takes a sign, too.
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) {
        return Err(expected());
    }
    let too_large = || format!("`{text}` does not fit in 64 bits");
    let number: u64 = whole.parse().map_err(|_| expected())?;
    let number = number.checked_mul(factor).ok_or_else(too_large)?;
    // Zeros at the end say nothing; the other decimals are whole instructions or none.
    let decimals = decimals.trim_end_matches('0');
    let mut unit = factor;
    let mut part = 0;
    for digit in decimals.bytes() {
        if unit % 10 != 0 {
            return Err(format!("`{text}` is not a whole number of instructions"));
        }
        unit /= 10;
        part += u64::from(digit - b'0') * unit;
    }
    number.checked_add(part).ok_or_else(too_large)
}

/// Instructions from the first (0-based) up to, and without, the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first.
    pub(crate) from: u64,
    /// One past the last; `None` is the end of the trace.
    pub(crate) to: Option<u64>,
}

/// `A..B`, `A..` or `..B`.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    let Some((from, to)) = text.split_once("..") else {
        return Err(format!("`{text}` is not a range such as 5M..20M, 5M.. or ..20M"));
    };
    let from = if from.is_empty() { 0 } else { quantity(from)? };
    let to = if to.is_empty() { None } else { Some(quantity(to)?) };
    if to.is_some_and(|to| to <= from) {
        return Err(format!("`{text}` is an empty range: its end must be above its start"));
    }
    Ok(Span { from, to })
}

/// A number of rows; `None` stands for all.
pub(crate) fn rows(text: &str) -> Result<RowLimit, String> {
    match text {
        "all" => Ok(RowLimit(None)),
        _ => text
            .parse()
            .map(|rows| RowLimit(Some(rows)))
            .map_err(|_| format!("`{text}` is not a number of rows, nor `all`")),
    }
}

/// A share of a whole.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.trim_end_matches('%').trim_end().parse().ok();
    share
        .filter(|share| (0.0..=100.0).contains(share))
        .ok_or_else(|| format!("`{text}` is not a share in per cent, from 0 to 100"))
}

/// How many rows of a table to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowLimit(pub(crate) Option<usize>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_decimal() {
        let numbers = ["7", "250k", "5M", "1G", "1_000"].map(quantity);
        assert_eq!(numbers, [Ok(7), Ok(250_000), Ok(5_000_000), Ok(1_000_000_000), Ok(1000)]);
    }

    #[test]
    fn decimals_are_taken_where_they_are_whole_instructions() {
        let numbers = ["10.2M", "1.234k", "0.5G", "1.50k", "2.0", "18446744073709551.615k"];
        let expected = [10_200_000, 1234, 500_000_000, 1500, 2, u64::MAX];
        assert_eq!(numbers.map(quantity), expected.map(Ok));
        assert_eq!(span("10.2M.."), Ok(Span { from: 10_200_000, to: None }));
        assert_eq!(span("0.5k..1.5k"), Ok(Span { from: 500, to: Some(1500) }));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "M",
            "-1",
            "5MiB",
            "1.5",
            "1.2345k",
            ".5M",
            "1.M",
            "1.+5M",
            "1.5.5M",
            "99999999999999999999",
            "18446744073709551615k",
            "18446744073709551.616k",
        ] {
            assert!(quantity(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_share_is_a_number_from_0_to_100() {
        assert_eq!(["0", "2.5", "100 %"].map(percent), [Ok(0.0), Ok(2.5), Ok(100.0)]);
        for text in ["", "-1", "101", "NaN", "half"] {
            assert!(percent(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_range_may_be_open_at_either_end_but_not_empty() {
        assert_eq!(span("5M..20M"), Ok(Span { from: 5_000_000, to: Some(20_000_000) }));
        assert_eq!(span("1k.."), Ok(Span { from: 1000, to: None }));
        assert_eq!(span("..9"), Ok(Span { from: 0, to: Some(9) }));
        for text in ["5", "9..9", "9..1", "..0", "a..b"] {
            assert!(span(text).is_err(), "{text} was accepted");
        }
    }
}
