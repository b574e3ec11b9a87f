//! Numbers of results: whole ones exactly, others as they are.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A number of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// Exact; wider than any count, so that sums and differences stay so.
    Whole(i128),
    /// Finite.
    Real(f64),
}

impl Number {
    /// The number that `value` is, if it is one.
    pub(crate) fn of(value: &Value) -> Option<Number> {
        let number = value.as_number()?;
        let whole = number.as_u64().map(i128::from).or(number.as_i64().map(i128::from));
        whole.map(Number::Whole).or_else(|| number.as_f64().and_then(Number::finite))
    }

    /// The number that a field of CSV holds, if it holds one.
    pub(crate) fn parse(field: &str) -> Option<Number> {
        let whole = field.parse::<i64>().map(i128::from).or(field.parse::<u64>().map(i128::from));
        whole.ok().map(Number::Whole).or_else(|| field.parse().ok().and_then(Number::finite))
    }

    fn finite(number: f64) -> Option<Number> {
        number.is_finite().then_some(Number::Real(number))
    }

    pub(crate) fn real(self) -> f64 {
        match self {
            Number::Whole(number) => number as f64,
            Number::Real(number) => number,
        }
    }

    pub(crate) fn plus(self, other: Number) -> Number {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => Number::Whole(a.saturating_add(b)),
            (a, b) => Number::Real(a.real() + b.real()),
        }
    }

    pub(crate) fn minus(self, other: Number) -> Number {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => Number::Whole(a.saturating_sub(b)),
            (a, b) => Number::Real(a.real() - b.real()),
        }
    }

    /// How often `other` goes into it; `None` of 0.
    pub(crate) fn ratio_to(self, other: Number) -> Option<f64> {
        let other = other.real();
        (other != 0.0).then(|| self.real() / other).filter(|ratio| ratio.is_finite())
    }

    /// With its sign, also a plus, if `signed`; a comma between groups of three digits.
    pub(crate) fn text(self, signed: bool) -> String {
        let sign = match self.real() {
            number if number < 0.0 => "−",
            number if signed && number > 0.0 => "+",
            _ => "",
        };
        match self {
            Number::Whole(number) => {
                let magnitude = u64::try_from(number.unsigned_abs()).unwrap_or(u64::MAX);
                format!("{sign}{}", crate::numbers::grouped(magnitude))
            }
            Number::Real(number) => format!("{sign}{:.3}", number.abs()),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Number::Whole(number) => serializer.serialize_i128(number),
            Number::Real(number) => serializer.serialize_f64(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_where_floating_point_is_not() {
        let (a, b) = (Number::parse("18446744073709551615"), Number::parse("18446744073709551614"));
        assert_eq!(a.unwrap().minus(b.unwrap()), Number::Whole(1));
        assert_eq!(b.unwrap().minus(a.unwrap()).text(true), "−1");
    }

    #[test]
    fn what_is_no_finite_number_is_none() {
        for field in ["", "NaN", "inf", "0x10", "1,000", "idle"] {
            assert_eq!(Number::parse(field), None, "{field}");
        }
        assert_eq!(Number::parse("-3"), Some(Number::Whole(-3)));
        assert_eq!(Number::parse("2.5"), Some(Number::Real(2.5)));
    }

    #[test]
    fn nothing_is_a_multiple_of_nothing() {
        assert_eq!(Number::Whole(3).ratio_to(Number::Whole(0)), None);
        assert_eq!(Number::Whole(3).ratio_to(Number::Whole(2)), Some(1.5));
    }
}
