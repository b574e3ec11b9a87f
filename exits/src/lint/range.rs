//! Numbers as printed: each stands for all that are rounded to it.

use std::fmt;
use std::ops::{Add, Div, Mul, Sub};

/// All numbers from the one to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
}

/// Largest relative error of arithmetic here, by which ranges that touch may seem apart.
const SLACK: f64 = 1e-9;

impl Range {
    /// One number.
    pub(super) fn exact(number: f64) -> Self {
        Range { low: number, high: number }
    }

    /// A number as printed, such as `62.61` or `4499`: half a unit of its last digit to either
    /// side. `4-8` is from the one to the other. `None` for what is no number.
    pub(super) fn printed(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('%').trim_end();
        let plain = |text: &str| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let is_number = !digits.is_empty()
                && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let number: f64 = is_number.then(|| text.parse().ok())??;
            let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            let half = 0.5 * 10f64.powi(-(decimals as i32));
            Some(Range { low: number - half, high: number + half })
        };
        match text.get(1..).and_then(|rest| rest.find('-')) {
            Some(at) => {
                let (from, to) = (plain(&text[..=at])?, plain(&text[at + 2..])?);
                Some(Range { low: from.middle(), high: to.middle() })
            }
            None => plain(text),
        }
    }

    /// Half way between its ends.
    pub fn middle(self) -> f64 {
        (self.low + self.high) / 2.0
    }

    fn slack(self, other: Range) -> f64 {
        let ends = [self.low, self.high, other.low, other.high];
        SLACK * ends.into_iter().map(f64::abs).fold(0.0, f64::max)
    }

    /// True if a number is in both.
    pub(super) fn meets(self, other: Range) -> bool {
        let slack = self.slack(other);
        self.low <= other.high + slack && other.low <= self.high + slack
    }

    /// Whether all, or none, are at most those of `other`; `None` if some are.
    pub(super) fn is_at_most(self, other: Range) -> Option<bool> {
        let slack = self.slack(other);
        if self.high <= other.low + slack {
            Some(true)
        } else if self.low > other.high + slack {
            Some(false)
        } else {
            None
        }
    }

    fn over(self, other: Range, of: impl Fn(f64, f64) -> f64) -> Range {
        let all = [
            of(self.low, other.low),
            of(self.low, other.high),
            of(self.high, other.low),
            of(self.high, other.high),
        ];
        let low = all.into_iter().fold(f64::INFINITY, f64::min);
        Range { low, high: all.into_iter().fold(f64::NEG_INFINITY, f64::max) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As many digits as tell the ends apart.
        let width = (self.high - self.low).abs();
        let decimals = if width > 0.0 { (2.0 - width.log10()).ceil().clamp(0.0, 6.0) } else { 4.0 };
        let decimals = decimals as usize;
        if width == 0.0 {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{:.decimals$} to {:.decimals$}", self.low, self.high)
        }
    }
}

impl Add for Range {
    type Output = Range;

    fn add(self, other: Range) -> Range {
        Range { low: self.low + other.low, high: self.high + other.high }
    }
}

impl Sub for Range {
    type Output = Range;

    fn sub(self, other: Range) -> Range {
        Range { low: self.low - other.high, high: self.high - other.low }
    }
}

impl Mul for Range {
    type Output = Range;

    fn mul(self, other: Range) -> Range {
        self.over(other, |a, b| a * b)
    }
}

impl Div for Range {
    type Output = Range;

    /// By a range with zero in it: everything.
    fn div(self, other: Range) -> Range {
        if other.low <= 0.0 && other.high >= 0.0 {
            return Range { low: f64::NEG_INFINITY, high: f64::INFINITY };
        }
        self.over(other, |a, b| a / b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_number_stands_for_all_that_are_rounded_to_it() {
        let printed = |text| Range::printed(text).map(|range| (range.low, range.high));
        assert_eq!(printed("2.5%"), Some((2.45, 2.55)));
        assert_eq!(printed("4499"), Some((4498.5, 4499.5)));
        assert_eq!(printed("4-8"), Some((4.0, 8.0)));
        for text in ["", "-", "a", "1.2.3", "1e5", "N/A", "4-", "--"] {
            assert_eq!(printed(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_keeps_all_numbers() {
        let (a, b) = (Range { low: 1.0, high: 2.0 }, Range { low: -1.0, high: 3.0 });
        assert_eq!(a + b, Range { low: 0.0, high: 5.0 });
        assert_eq!(a - b, Range { low: -2.0, high: 3.0 });
        assert_eq!(a * b, Range { low: -2.0, high: 6.0 });
        assert_eq!((a / b).high, f64::INFINITY);
        assert_eq!(a / Range::exact(2.0), Range { low: 0.5, high: 1.0 });
    }
}
