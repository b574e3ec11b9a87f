//! Numbers as people read them.

/// With a comma between groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What stands where a number is not known or has no meaning.
pub(crate) const NOT_AVAILABLE: &str = "–";

/// A share of a whole in per cent with one decimal.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    share_percent(part, whole)
        .map_or_else(|| NOT_AVAILABLE.to_owned(), |percent| format!("{percent:.1}"))
}

/// A share of a whole in per cent, with as many decimals as it takes to tell nearly all from all and
/// little from nothing.
pub(crate) fn telling_percent(part: u64, whole: u64) -> String {
    let Some(share) = share_percent(part, whole) else { return NOT_AVAILABLE.to_owned() };
    if part == 0 || part == whole {
        return format!("{share:.0}");
    }
    let precise = |decimals: usize| format!("{share:.decimals$}");
    let is_telling = |text: &String| text.parse() != Ok(0.0) && text.parse() != Ok(100.0);
    // 64-bit numbers differ in the twentieth digit at the latest, doubles earlier.
    (1..=13).map(precise).find(is_telling).unwrap_or_else(|| precise(13))
}

/// A share of a whole in per cent; `None` of nothing.
pub(crate) fn share_percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// A share in per cent with two decimals.
pub(crate) fn fine_percent(share: Option<f64>) -> String {
    share.map_or_else(|| NOT_AVAILABLE.to_owned(), |share| format!("{share:.2}"))
}

/// A count that may not be known.
pub(crate) fn grouped_if(number: Option<u64>) -> String {
    number.map_or_else(|| NOT_AVAILABLE.to_owned(), grouped)
}

/// A rate with two decimals, with one from a hundred on.
pub(crate) fn rate(value: Option<f64>) -> String {
    match value {
        None => NOT_AVAILABLE.to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// `1 transfer`, `2 transfers`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The same of a noun with a plural of its own: `1 switch`, `2 switches`.
pub(crate) fn counted_as(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A name of at most `width` characters; a longer one loses its end.
pub(crate) fn shortened(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        let texts = [0, 999, 1000, 49_907_008, u64::MAX].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "49,907,008", "18,446,744,073,709,551,615"]);
    }

    #[test]
    fn a_share_of_nothing_is_not_available() {
        assert_eq!((percent(1, 8), percent(0, 0)), ("12.5".to_owned(), NOT_AVAILABLE.to_owned()));
        assert_eq!(rate(None), NOT_AVAILABLE);
    }

    #[test]
    fn nearly_all_is_not_rounded_to_all_nor_little_to_nothing() {
        assert_eq!(telling_percent(1_460_813, 1_460_842), "99.998");
        assert_eq!(telling_percent(7, 8), "87.5");
        assert_eq!(telling_percent(1, 1_000_000), "0.0001");
        assert_eq!(
            [(0, 3), (3, 3)].map(|(part, whole)| telling_percent(part, whole)),
            ["0", "100"]
        );
        assert_eq!(telling_percent(0, 0), NOT_AVAILABLE);
        assert_ne!(telling_percent(u64::MAX - 1, u64::MAX), "100");
    }

    #[test]
    fn long_names_lose_their_end_and_short_ones_nothing() {
        assert_eq!(shortened("skb_clone", 9), "skb_clone");
        assert_eq!(shortened("skb_clone_sk", 9), "skb_clon…");
    }
}
