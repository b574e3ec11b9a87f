//! Scales, ticks and what is written at them.

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it measures.
    pub name: String,
    /// Unit; empty for a plain number.
    pub unit: String,
    /// How values are spread over it.
    pub scale: Scale,
    /// How values are written at its ticks.
    pub labels: Labels,
    /// Whether zero is on it even if no value is near.
    pub from_zero: bool,
}

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// Each doubling is as long; ticks at powers of two.
    Log2,
    /// Each factor of ten is as long; ticks at powers of ten.
    Log10,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// With k, M, G where that is round: `2.5M`.
    Number,
    /// Bytes with binary prefixes: `512 KiB`.
    Bytes,
}

/// Ticks that a person still reads.
const TICKS: f64 = 7.0;

impl Axis {
    /// A linear axis from zero.
    pub fn linear(name: impl Into<String>, unit: impl Into<String>) -> Self {
        let (name, unit) = (name.into(), unit.into());
        Axis { name, unit, scale: Scale::Linear, labels: Labels::Number, from_zero: true }
    }

    /// An axis of powers of two.
    pub fn doubling(name: impl Into<String>, unit: impl Into<String>, labels: Labels) -> Self {
        let (name, unit) = (name.into(), unit.into());
        Axis { name, unit, scale: Scale::Log2, labels, from_zero: false }
    }

    /// Name and unit.
    pub(super) fn title(&self) -> String {
        if self.unit.is_empty() {
            self.name.clone()
        } else {
            format!("{} ({})", self.name, self.unit)
        }
    }
}

/// An axis with the range of what is drawn on it.
#[derive(Clone, Debug)]
pub(super) struct Ruler {
    scale: Scale,
    labels: Labels,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Ruler {
    /// Room for `values`, to the next tick at either end where `whole`.
    pub(super) fn new(axis: &Axis, values: impl Iterator<Item = f64>, whole: bool) -> Self {
        let fits = |&value: &f64| value.is_finite() && (axis.scale == Scale::Linear || value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(fits) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 1.0);
        }
        if axis.scale == Scale::Linear && axis.from_zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        let (low, high, ticks) = match axis.scale {
            Scale::Linear => linear(low, high, whole),
            Scale::Log2 => powers(low, high, 2.0),
            Scale::Log10 => powers(low, high, 10.0),
        };
        Ruler { scale: axis.scale, labels: axis.labels, low, high, ticks }
    }

    /// How far along the axis a value is, from 0 to 1; `None` if it has no place.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let along = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log2 | Scale::Log10 => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        along.is_finite().then_some(along)
    }

    /// Ticks with what is written at them.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        // All with the decimals that the distance between them needs.
        let step = match self.ticks.as_slice() {
            [first, second, ..] if self.scale == Scale::Linear => second - first,
            _ => 0.0,
        };
        let greatest = self.ticks.iter().fold(0.0_f64, |most, tick| most.max(tick.abs()));
        self.ticks.iter().map(move |&tick| {
            let text = match self.labels {
                Labels::Bytes => bytes(tick),
                Labels::Number if step > 0.0 => number(tick, greatest, step),
                // A power of two has no round prefix.
                Labels::Number if self.scale == Scale::Log2 => tick.to_string(),
                Labels::Number => number(tick, tick.abs(), 0.0),
            };
            (tick, text)
        })
    }
}

/// Range and ticks at multiples of 1, 2 or 5 times a power of ten.
fn linear(low: f64, high: f64, whole: bool) -> (f64, f64, Vec<f64>) {
    let (low, high) = if high > low { (low, high) } else { (low, low + low.abs().max(1.0)) };
    let rough = (high - low) / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = power * [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
    // A multiple that rounding has moved off its end is still at it.
    let slack = 1e-9;
    let (first, last) = if whole {
        ((low / step + slack).floor(), (high / step - slack).ceil())
    } else {
        ((low / step - slack).ceil(), (high / step + slack).floor())
    };
    let ticks = (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect();
    if whole { (first * step, last * step, ticks) } else { (low, high, ticks) }
}

/// Range and ticks at powers of `base`.
fn powers(low: f64, high: f64, base: f64) -> (f64, f64, Vec<f64>) {
    let slack = 1e-9;
    let first = (low.log(base) + slack).floor();
    let last = (high.log(base) - slack).ceil().max(first + 1.0);
    // Of very many every second, third, … is written.
    let every = ((last - first) / 12.0).ceil().max(1.0) as usize;
    let ticks = (0..=(last - first) as usize).step_by(every);
    let ticks = ticks.map(|i| base.powf(first + i as f64)).collect();
    (base.powf(first), base.powf(last), ticks)
}

/// A value with the prefix of the greatest beside it and the decimals that `step` needs.
fn number(value: f64, greatest: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let prefixes = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, prefix) =
        prefixes.into_iter().find(|&(unit, _)| greatest >= unit).unwrap_or((1.0, ""));
    let precise = if step > 0.0 { step / unit } else { value.abs() / unit };
    let decimals = (-precise.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize;
    format!("{:.decimals$}{prefix}", value / unit)
}

fn bytes(value: f64) -> String {
    let prefixes = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let of = |shift: i32| value / 2_f64.powi(shift);
    let (value, unit) = prefixes
        .into_iter()
        .map(|(shift, unit)| (of(shift), unit))
        .find(|&(value, _)| value >= 1.0)
        .unwrap_or((value, "B"));
    format!("{value} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        let ruler = Ruler::new(axis, values.iter().copied(), true);
        ruler.ticks().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let axis = Axis::linear("misses", "");
        assert_eq!(labels(&axis, &[3.0, 97.0]), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&axis, &[0.9e6, 2.4e6]), ["0", "0.5M", "1.0M", "1.5M", "2.0M", "2.5M"]);
        assert_eq!(
            labels(&axis, &[0.013]),
            ["0", "0.002", "0.004", "0.006", "0.008", "0.010", "0.012", "0.014"]
        );
    }

    #[test]
    fn powers_of_two_are_ticks_of_a_doubling_axis() {
        let sizes = Axis::doubling("L2", "", Labels::Bytes);
        let all = ["512 KiB", "1 MiB", "2 MiB", "4 MiB"];
        assert_eq!(labels(&sizes, &[524_288.0, 4_194_304.0]), all);
        let entries = Axis::doubling("entries", "", Labels::Number);
        assert_eq!(labels(&entries, &[256.0, 1024.0]), ["256", "512", "1024"]);
        let ruler = Ruler::new(&entries, [16.0, 64.0].into_iter(), true);
        assert!((ruler.place(32.0).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(ruler.place(0.0), None);
    }

    #[test]
    fn no_values_and_equal_values_still_make_an_axis() {
        for values in [&[][..], &[0.0], &[7.0, 7.0], &[f64::NAN]] {
            for axis in [Axis::linear("x", ""), Axis::doubling("x", "", Labels::Number)] {
                let ruler = Ruler::new(&axis, values.iter().copied(), true);
                assert!(ruler.ticks().count() >= 2, "{values:?}");
                assert!(ruler.place(ruler.high) == Some(1.0), "{values:?}");
            }
        }
    }
}
