//! A sweep as a figure: misses over the values of a parameter.

use super::{SweepReport, SweepRow};
use crate::error::Error;
use crate::line_chart::{Axis, ChartSource, Labels, LineChart, Panel, Scale, Series};
use crate::structure::Structure;
use strata_cachemodel::ByteSize;
use strata_sim::SweepAxis;

/// The parameter over which the misses of a sweep are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct FigureAxis {
    /// Which of the sweep's axes.
    number: usize,
    /// Its values.
    at: Vec<f64>,
    is_bytes: bool,
}

/// Points of a grid, of which the last axis changes fastest.
struct Grid {
    sizes: Vec<usize>,
}

impl Grid {
    /// Distance of points that are neighbours along an axis.
    fn stride(&self, axis: usize) -> usize {
        self.sizes[axis + 1..].iter().product()
    }

    /// Which value of an axis a point has.
    fn value(&self, point: usize, axis: usize) -> usize {
        point / self.stride(axis) % self.sizes[axis]
    }

    fn points(&self) -> std::ops::Range<usize> {
        0..self.sizes.iter().product()
    }

    /// Whether `of` differs somewhere between points that differ in this axis only.
    fn matters<T: PartialEq>(&self, axis: usize, of: impl Fn(usize) -> T) -> bool {
        let mut inner = self.points().filter(|&point| self.value(point, axis) > 0);
        inner.any(|point| of(point) != of(point - self.stride(axis)))
    }
}

/// Numbers and sizes; `None` if one of them is neither.
fn numbers(values: &[String]) -> Option<Vec<f64>> {
    let number = |value: &String| value.parse().ok().map(|ByteSize(number)| number as f64);
    values.iter().map(number).collect()
}

impl FigureAxis {
    /// Axis `number` of a sweep; `None` if it has not several numbers.
    fn of(number: usize, axis: &SweepAxis) -> Option<Self> {
        let at = numbers(axis.values()).filter(|at| at.len() > 1)?;
        let has_unit = axis.values().iter().any(|value| value.parse::<u64>().is_err());
        let is_bytes = has_unit || axis.keys().all(|key| key.ends_with("size"));
        Some(FigureAxis { number, at, is_bytes })
    }

    fn axis(&self, name: String) -> Axis {
        let is_power = |number: f64| number.log2().fract() == 0.0;
        let positive = self.at.iter().all(|&number| number > 0.0);
        let doubles = positive && (self.is_bytes || self.at.iter().all(|&at| is_power(at)));
        Axis {
            scale: if doubles { Scale::Log2 } else { Scale::Linear },
            labels: if self.is_bytes { Labels::Bytes } else { Labels::Number },
            from_zero: false,
            ..Axis::linear(name, "")
        }
    }
}

/// What an axis is called.
fn name_of(axis: &SweepAxis) -> String {
    axis.keys().collect::<Vec<_>>().join(" and ")
}

impl SweepReport {
    /// The axis of the parameter `over`, or else the first with several numbers.
    ///
    /// # Errors
    /// [`Error::NoFigureAxis`] if it has not several numbers, or none has;
    /// [`Error::UnknownName`] for a parameter that is not swept.
    pub fn figure_axis(&self, over: Option<&str>) -> Result<FigureAxis, Error> {
        let mut axes = self.axes.iter().enumerate();
        let names = || self.keys().collect::<Vec<_>>().join(", ");
        let Some(over) = over else {
            let first = axes.find_map(|(number, axis)| FigureAxis::of(number, axis));
            return first.ok_or_else(|| Error::NoFigureAxis { given: names() });
        };
        let (number, axis) =
            axes.find(|(_, axis)| axis.keys().any(|key| key == over)).ok_or_else(|| {
                Error::UnknownName {
                    given: over.to_owned(),
                    what: "swept parameter",
                    known: names(),
                }
            })?;
        FigureAxis::of(number, axis).ok_or_else(|| Error::NoFigureAxis { given: over.to_owned() })
    }

    /// Misses over an axis, for each thousand instructions where these are known: a panel for each
    /// structure that the axis makes a difference to, in it a line for each combination of the
    /// other axes' values that make one. `rows` are those of all points, in order.
    ///
    /// # Errors
    /// [`Error::NothingSelected`] if rows are missing.
    pub fn figure(&self, over: &FigureAxis, rows: &[SweepRow]) -> Result<LineChart, Error> {
        let grid = Grid { sizes: self.axes.iter().map(|axis| axis.values().len()).collect() };
        let (true, Some(any)) = (rows.len() == grid.points().len(), rows.first()) else {
            return Err(Error::NothingSelected { what: "counts of all points".to_owned() });
        };
        let known = self.structures().into_iter().filter(|&s| self.known().structure(s));
        let known: Vec<Structure> = known.collect();
        let matters = |structure: &Structure| {
            grid.matters(over.number, |point| misses(&rows[point], *structure))
        };
        let mut shown: Vec<Structure> = known.iter().copied().filter(matters).collect();
        if shown.is_empty() {
            // That nothing changes is a result too.
            shown = known;
        }
        let panels = shown.into_iter().map(|structure| self.panel(structure, over, &grid, rows));
        let name = name_of(&self.axes[over.number]);
        let manifest = self.provenance.manifest.as_ref();
        let command = manifest.map(|manifest| manifest.guest_command.clone());
        let subtitle: Vec<String> =
            command.into_iter().chain(self.of_stream(any).extent()).collect();
        Ok(LineChart {
            title: format!("Misses over {name}, {}", self.provenance.title()),
            subtitle: subtitle.join("; "),
            x: over.axis(name),
            panels: panels.collect(),
            lanes: Vec::new(),
            source: ChartSource {
                machine: self.machine.name().to_owned(),
                trace_hash: self.provenance.trace_hash.clone(),
            },
        })
    }

    fn panel(
        &self,
        structure: Structure,
        over: &FigureAxis,
        grid: &Grid,
        rows: &[SweepRow],
    ) -> Panel {
        let is_rate = self.known().instructions();
        let (unit, y_of): (&str, fn(&SweepRow, u64) -> f64) = if is_rate {
            ("per 1000 instr.", |row, misses| {
                1000.0 * misses as f64 / row.profile.total.instructions as f64
            })
        } else {
            ("", |_, misses| misses as f64)
        };
        let others: Vec<usize> = (0..self.axes.len()).filter(|&axis| axis != over.number).collect();
        let telling = |axis: &&usize| grid.matters(**axis, |point| misses(&rows[point], structure));
        let telling: Vec<usize> = others.iter().filter(telling).copied().collect();
        let is_start = |point: &usize| {
            let at_first = |axis: usize| telling.contains(&axis) || grid.value(*point, axis) == 0;
            (0..self.axes.len()).all(at_first)
        };
        let line = |start: usize| {
            let points = over.at.iter().enumerate().filter_map(|(number, &x)| {
                let row = &rows[start + number * grid.stride(over.number)];
                Some((x, y_of(row, misses(row, structure)?)))
            });
            let mut points: Vec<(f64, f64)> = points.collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            let parts = telling.iter().map(|&axis| {
                short_text(&self.axes[axis], &self.axes[axis].values()[grid.value(start, axis)])
            });
            let name = parts.collect::<Vec<_>>().join(", ");
            Series::line(if name.is_empty() { structure.label().to_owned() } else { name }, points)
        };
        let series = grid.points().filter(is_start).map(line).collect();
        Panel { y: Axis::linear(format!("{} misses", structure.label()), unit), series }
    }
}

/// Misses of a structure; `None` where the machine has none.
fn misses(row: &SweepRow, structure: Structure) -> Option<u64> {
    let is_there = Structure::of(&row.profile.machine).contains(&structure);
    is_there.then(|| structure.tally(&row.profile.total).misses)
}

/// A value as a legend tells it: tag schemes speak for themselves.
fn short_text(axis: &SweepAxis, value: &str) -> String {
    let keys: Vec<&str> = axis.keys().collect();
    match keys.as_slice() {
        ["tags"] => value.to_owned(),
        [only] => format!("{only} {value}"),
        // What is set together ends alike: itlb.entries and dtlb.entries.
        several => format!("{} {value}", several[0].rsplit('.').next().unwrap_or(several[0])),
    }
}

#[cfg(test)]
mod tests;
