//! A statistical profile beside the exact counts of the same replay (Xenoprof, VEE 2005).

mod hardware;
mod written;

pub use hardware::{HardwareProfile, HardwareRow};

use crate::error::Error;
use crate::profile_report::ProfileReport;
use crate::selection::By;
use statrs::distribution::{ContinuousCDF, Normal};
use std::collections::BTreeMap;
use strata_sim::{Function, SampledEvent, Sampling};
use strata_symbols::Layer;

/// Share of the probability that confidence intervals cover.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// Which rows of a statistical profile are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleSelection {
    /// What a row stands for; lines are functions here.
    pub by: By,
    /// Most rows shown, those with the most samples.
    pub top: Option<usize>,
    /// Layers to show; all if empty.
    pub layers: Vec<Layer>,
}

/// Samples and exact counts of one layer, module or function.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRow {
    /// Layer, and with it the domain.
    pub layer: Layer,
    /// Module; `None` where it is not known, and by layer.
    pub module: Option<String>,
    /// Function; `None` where it is not known, and by layer or module.
    pub function: Option<String>,
    /// Address of the function's first instruction.
    pub address: Option<u64>,
    /// Samples.
    pub samples: u64,
    /// Exact number of the events.
    pub events: f64,
    /// Completed instructions.
    pub instructions: u64,
    /// Per cent of the samples, with the ends of the interval that covers the true share.
    pub share: f64,
    /// Ends of Wilson's interval for the share, in per cent.
    pub interval: [f64; 2],
    /// Exact share of the events, in per cent.
    pub exact_share: f64,
    /// Per cent that a profile by hardware says.
    pub hardware: Option<f64>,
}

impl SampleRow {
    /// Whether the exact share lies in the interval.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        let [low, high] = self.interval;
        (low..=high).contains(&self.exact_share)
    }

    /// Percentage points that the samples are off.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.share - self.exact_share
    }
}

/// A statistical profile, and how far it is from the exact one.
#[derive(Clone, Debug)]
pub struct SampleReport {
    report: ProfileReport,
    sampling: Sampling,
    /// Name of the event, as the command line has it.
    event: &'static str,
    selection: SampleSelection,
    /// All rows, those with the most samples first.
    rows: Vec<SampleRow>,
    /// All events, exactly.
    events: f64,
    hardware: Option<(HardwareProfile, Overlap)>,
}

/// How a profile by hardware agrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlap {
    /// Sum of the lesser share of each function, in per cent: 100 is agreement.
    pub percent: f64,
    /// Per cent of the hardware's profile in functions that the replay has not met.
    pub unmatched: f64,
}

type Key = (Layer, Option<String>, Option<String>, Option<u64>);

fn key(function: &Function, by: By) -> Key {
    let layer = function.layer;
    let Some(name) = &function.name else { return (layer, None, None, None) };
    match by {
        By::Layer => (layer, None, None, None),
        By::Module => (layer, Some(name.module.clone()), None, None),
        By::Function | By::Line => {
            (layer, Some(name.module.clone()), Some(name.function.clone()), Some(name.address))
        }
    }
}

impl SampleReport {
    /// The samples of `report`, taken of the event that is called `event`.
    ///
    /// # Errors
    /// [`Error::NoSamples`] for a replay that took none, and where nothing is left to tell of.
    pub fn new(
        mut report: ProfileReport,
        event: &'static str,
        selection: SampleSelection,
        hardware: Option<HardwareProfile>,
    ) -> Result<Self, Error> {
        let sampling =
            report.profile.sampling.take().ok_or(Error::NoSamples { event, events: 0 })?;
        let machine = &report.profile.machine;
        let count = |counters| sampling.options.event.count(counters, machine).unwrap_or_default();
        let events = count(&report.profile.total);
        if sampling.taken == 0 {
            return Err(Error::NoSamples { event, events: events as u64 });
        }
        let mut sums: BTreeMap<Key, (u64, f64, u64)> = BTreeMap::new();
        for row in &report.profile.rows {
            let sum = sums.entry(key(&row.function, selection.by)).or_default();
            sum.1 += count(&row.counters);
            sum.2 += row.counters.instructions;
        }
        for (function, samples) in &sampling.samples {
            sums.entry(key(function, selection.by)).or_default().0 += samples;
        }
        let z = Normal::standard().inverse_cdf(f64::midpoint(1.0, CONFIDENCE));
        let rows = sums.into_iter().map(|(key, (samples, exact, instructions))| {
            let (layer, module, function, address) = key;
            let [low, high] = wilson(samples as f64, sampling.taken as f64, z);
            SampleRow {
                layer,
                module,
                function,
                address,
                samples,
                events: exact,
                instructions,
                share: 100.0 * samples as f64 / sampling.taken as f64,
                interval: [100.0 * low, 100.0 * high],
                exact_share: if events > 0.0 { 100.0 * exact / events } else { 0.0 },
                hardware: None,
            }
        });
        let mut rows: Vec<SampleRow> = rows.collect();
        // Stable: what compares equal stays in the order of layer, module and name.
        rows.sort_by(|a, b| b.samples.cmp(&a.samples).then(b.events.total_cmp(&a.events)));
        let hardware = hardware.map(|profile| {
            let overlap = profile.lay_beside(&mut rows);
            (profile, overlap)
        });
        rows.retain(|row| row.samples > 0 || row.events > 0.0);
        Ok(SampleReport { report, sampling, event, selection, rows, events, hardware })
    }

    /// All rows, those with the most samples first.
    #[must_use]
    pub fn rows(&self) -> &[SampleRow] {
        &self.rows
    }

    /// Rows of the layers asked for, at most so many as were.
    fn shown(&self) -> impl Iterator<Item = &SampleRow> {
        let wanted = |row: &&SampleRow| {
            self.selection.layers.is_empty() || self.selection.layers.contains(&row.layer)
        };
        self.rows.iter().filter(wanted).take(self.selection.top.unwrap_or(usize::MAX))
    }

    /// Rows whose exact share lies in their interval.
    fn inside(&self) -> usize {
        self.rows.iter().filter(|row| row.is_inside()).count()
    }

    /// Half the sum of all differences of shares: per cent of the samples that are elsewhere than the
    /// events were (total variation distance).
    #[must_use]
    pub fn distance(&self) -> f64 {
        self.rows.iter().map(|row| row.error().abs()).sum::<f64>() / 2.0
    }

    /// The row whose share is furthest off.
    fn worst(&self) -> Option<&SampleRow> {
        self.rows.iter().max_by(|a, b| a.error().abs().total_cmp(&b.error().abs()))
    }

    /// Unit of the exact numbers.
    fn unit(&self) -> &'static str {
        match self.sampling.options.event {
            SampledEvent::Instructions => "instructions",
            SampledEvent::Misses(_) => "misses",
            SampledEvent::Cycles => "estimated cycles",
        }
    }
}

/// Wilson's interval for a share of which `part` of `whole` were seen.
fn wilson(part: f64, whole: f64, z: f64) -> [f64; 2] {
    let share = part / whole;
    let z2 = z * z / whole;
    let middle = (share + z2 / 2.0) / (1.0 + z2);
    let half = z / (1.0 + z2) * (share * (1.0 - share) / whole + z2 / (4.0 * whole)).sqrt();
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_is_that_of_the_textbook() {
        // Wilson 1927 by Brown, Cai and DasGupta (2001), section 3.1.1: 0 of 10 and 5 of 10.
        let [low, high] = wilson(0.0, 10.0, 1.96);
        assert_eq!((low, (high * 1e4).round()), (0.0, 2775.0));
        let [low, high] = wilson(5.0, 10.0, 1.96);
        assert_eq!(((low * 1e4).round(), (high * 1e4).round()), (2366.0, 7634.0));
    }
}
