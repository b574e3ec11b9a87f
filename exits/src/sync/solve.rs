//! The linear problem: a line through all intervals, or past as few of them as can be.

use super::line::MOST_DRIFT;
use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOutcome, Variable};

/// What a guest event asks of the line: at `at`, in −1 to 1 over the guest's trace, from `low` to
/// `high`, in host ticks beside the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) at: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// A line beside the reference: `slope × at + shift`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Beside {
    pub(super) slope: f64,
    pub(super) shift: f64,
}

impl Beside {
    fn value(self, at: f64) -> f64 {
        self.slope * at + self.shift
    }

    /// How far a bound is kept; negative if it is not.
    pub(super) fn room(self, bound: &Bound) -> f64 {
        let value = self.value(bound.at);
        (value - bound.low).min(bound.high - value)
    }
}

/// Bounds given to the solver at a time: few decide, and they are found by solving for some, and
/// adding those that the solution breaks most.
const PART: usize = 48;
/// Times that more are added.
const ROUNDS: usize = 60;
/// Host ticks that are as good as none.
const NOTHING: f64 = 1e-3;
/// Room that is given up for a drift smaller by one tick over half of the trace.
const FOR_LESS_DRIFT: f64 = 1e-3;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// The most room on both sides; where no line keeps all bounds, the least that one is broken by.
    Room,
    /// The least shift of those lines that keep all bounds.
    Least,
    /// The largest.
    Most,
    /// The least sum of what bounds are broken by.
    Sum,
}

/// The line, and its room; `None` if there is none. `half` is half of the guest's trace in host ticks.
pub(super) fn solve(bounds: &[Bound], half: f64, aim: Aim) -> Option<(Beside, f64)> {
    let mut chosen: Vec<usize> = start(bounds);
    let mut is_chosen = vec![false; bounds.len()];
    chosen.iter().for_each(|&number| is_chosen[number] = true);
    for _ in 0..ROUNDS {
        let part = chosen.iter().map(|&number| &bounds[number]);
        let (line, room) = solve_part(part, half * MOST_DRIFT, aim)?;
        // With a sum, what is broken among the chosen is paid for already.
        let wanted = if aim == Aim::Sum { 0.0 } else { room };
        let mut broken: Vec<(f64, usize)> = bounds
            .iter()
            .enumerate()
            .filter(|&(number, _)| !is_chosen[number])
            .map(|(number, bound)| (line.room(bound) - wanted, number))
            .filter(|&(room, _)| room < -NOTHING)
            .collect();
        if broken.is_empty() {
            return Some((line, room));
        }
        // More at a time as they are more, so that the rounds do.
        let count = broken.len().min(PART.max(chosen.len()));
        broken.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0));
        for &(_, number) in &broken[..count] {
            is_chosen[number] = true;
            chosen.push(number);
        }
    }
    None
}

/// Bounds to begin with: spread over the trace, and of each stretch the narrowest.
fn start(bounds: &[Bound]) -> Vec<usize> {
    let stretch = bounds.len().div_ceil(PART).max(1);
    let stretches = bounds.chunks(stretch).enumerate();
    let width = |bound: &Bound| bound.high - bound.low;
    stretches
        .filter_map(|(number, part)| {
            let narrowest =
                (0..part.len()).min_by(|&a, &b| width(&part[a]).total_cmp(&width(&part[b])));
            narrowest.map(|at| number * stretch + at)
        })
        .collect()
}

fn solve_part<'b>(
    bounds: impl Iterator<Item = &'b Bound>,
    most_slope: f64,
    aim: Aim,
) -> Option<(Beside, f64)> {
    let anything = (f64::NEG_INFINITY, f64::INFINITY);
    let direction = match aim {
        Aim::Room | Aim::Most => OptimizationDirection::Maximize,
        Aim::Least | Aim::Sum => OptimizationDirection::Minimize,
    };
    let mut problem = Problem::new(direction);
    let slope = problem.add_var(0.0, (-most_slope, most_slope));
    let shift_counts = if matches!(aim, Aim::Least | Aim::Most) { 1.0 } else { 0.0 };
    let shift = problem.add_var(shift_counts, anything);
    let room = match aim {
        Aim::Room => problem.add_var(1.0, anything),
        _ => problem.add_var(0.0, (0.0, 0.0)),
    };
    if matches!(aim, Aim::Room | Aim::Sum) {
        // The drift's size, so that the least of as good ones is taken.
        let cost = if aim == Aim::Room { -FOR_LESS_DRIFT } else { FOR_LESS_DRIFT };
        let size = problem.add_var(cost, (0.0, most_slope));
        for sign in [1.0, -1.0] {
            let terms: [(Variable, f64); 2] = [(size, 1.0), (slope, sign)];
            problem.add_constraint(terms, ComparisonOp::Ge, 0.0);
        }
    }
    for bound in bounds {
        let mut low = vec![(slope, bound.at), (shift, 1.0), (room, -1.0)];
        let mut high = vec![(slope, bound.at), (shift, 1.0), (room, 1.0)];
        if aim == Aim::Sum {
            let broken = problem.add_var(1.0, (0.0, f64::INFINITY));
            low.push((broken, 1.0));
            high.push((broken, -1.0));
        }
        problem.add_constraint(low, ComparisonOp::Ge, bound.low);
        problem.add_constraint(high, ComparisonOp::Le, bound.high);
    }
    // Without a limit of time it is never interrupted.
    let SolveOutcome::Solution(solution) = problem.solve().ok()? else { return None };
    let line = Beside { slope: solution[slope], shift: solution[shift] };
    let found = (line.slope.is_finite() && line.shift.is_finite()).then_some(line)?;
    Some((found, solution[room]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a grid of lines around it.
        #[test]
        fn the_room_is_the_most_there_is(
            bounds in prop::collection::vec((-1.0..1.0f64, -50.0..50.0f64, 1.0..200.0f64), 2..60)
        ) {
            let bounds: Vec<Bound> = bounds
                .into_iter()
                .map(|(at, low, width)| Bound { at, low, high: low + width })
                .collect();
            let (line, room) = solve(&bounds, 1e6, Aim::Room).unwrap();
            let worst = |line: Beside| bounds.iter().map(|b| line.room(b)).fold(f64::MAX, f64::min);
            prop_assert!((worst(line) - room).abs() < 0.01, "{} and {room}", worst(line));
            for slope in -20..=20 {
                for shift in -20..=20 {
                    let (slope, shift) = (f64::from(slope) * 2.0, f64::from(shift) * 2.0);
                    let other = Beside { slope: line.slope + slope, shift: line.shift + shift };
                    if other.slope.abs() <= 500.0 {
                        let gain = FOR_LESS_DRIFT * (line.slope.abs() - other.slope.abs()).max(0.0);
                        prop_assert!(worst(other) <= room + gain + 0.01 + FOR_LESS_DRIFT * 500.0);
                    }
                }
            }
        }

        #[test]
        fn what_is_broken_is_the_least_sum(
            bounds in prop::collection::vec((-1.0..1.0f64, -50.0..50.0f64, 1.0..30.0f64), 2..40)
        ) {
            let bounds: Vec<Bound> = bounds
                .into_iter()
                .map(|(at, low, width)| Bound { at, low, high: low + width })
                .collect();
            let (line, _) = solve(&bounds, 1e6, Aim::Sum).unwrap();
            let sum = |line: Beside| -> f64 {
                bounds.iter().map(|bound| (-line.room(bound)).max(0.0)).sum()
            };
            let price = FOR_LESS_DRIFT * 1000.0;
            for slope in -30..=30 {
                for shift in -30..=30 {
                    let other = Beside {
                        slope: line.slope + f64::from(slope) * 1.5,
                        shift: line.shift + f64::from(shift) * 1.5,
                    };
                    if other.slope.abs() <= 500.0 {
                        prop_assert!(sum(line) <= sum(other) + price, "{} > {}", sum(line), sum(other));
                    }
                }
            }
        }
    }

    #[test]
    fn a_line_through_nothing_is_none() {
        assert_eq!(solve(&[], 1.0, Aim::Least), None);
    }
}
