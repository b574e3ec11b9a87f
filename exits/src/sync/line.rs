//! Host times as a linear function of guest times.

use serde::Serialize;

/// Two clocks of one machine differ in rate by less: as much as Linux lets NTP turn a clock
/// (`MAXFREQ` of include/linux/timex.h, 500 parts per million).
pub(crate) const MOST_DRIFT: f64 = 500e-6;

/// A guest's clock on its host's: `host = host_reference + ratio × (guest − guest_reference) +
/// drift × (guest − guest_reference) + shift`, in ticks of each trace, rounded.
///
/// Times are large, and what the clocks differ by is small: kept apart, neither loses digits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    /// A time in the middle of the guest's trace.
    pub guest_reference: u64,
    /// The host's time then, without `shift`. Below 0, the host's clock was not started yet.
    pub host_reference: i128,
    /// Host ticks that a guest tick takes, by the units of the clocks.
    pub ratio: f64,
    /// What is added to that, by the clocks' rates.
    pub drift: f64,
    /// Host ticks.
    pub shift: f64,
}

impl Line {
    /// The guest's clock is the host's plus `offset`, modulo 2⁶⁴.
    pub fn of_offset(offset: u64) -> Line {
        let host_reference = -i128::from(offset.cast_signed());
        Line { guest_reference: 0, host_reference, ratio: 1.0, drift: 0.0, shift: 0.0 }
    }

    /// The host's time at a guest's.
    pub fn host(&self, guest: u64) -> i128 {
        let elapsed = i128::from(guest) - i128::from(self.guest_reference);
        // A ratio of 1 is exact however long the trace is.
        let whole =
            if self.ratio == 1.0 { elapsed } else { (self.ratio * elapsed as f64).round() as i128 };
        self.host_reference + whole + (self.drift * elapsed as f64 + self.shift).round() as i128
    }

    /// a and b of `host = a × guest + b`, b rounded.
    pub fn coefficients(&self) -> (f64, i128) {
        (self.ratio + self.drift, self.host(0))
    }
}
