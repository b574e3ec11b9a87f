//! The line of two clocks, from where the host ran the guest.

use super::line::{Line, MOST_DRIFT};
use super::solve::{Aim, Beside, Bound, solve};
use crate::error::Error;

/// A stretch in which the host ran a vCPU: entry and exit, both included.
pub type Run = (u64, u64);

/// An event of a guest, on the vCPU of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Place of the vCPU's runs.
    pub vcpu: usize,
    /// The guest's time.
    pub time: u64,
}

/// How a line holds: each guest event must be within a run of its vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Events within a run.
    pub inside: u64,
    /// Events between runs.
    pub violations: u64,
    /// Host ticks from the worst of them to the nearest run.
    pub largest: u64,
    /// Events before the first run of their vCPU or behind its last: the host's trace does not tell.
    pub uncovered: u64,
}

impl Check {
    /// Adds one event, by how far it is from the nearest run; `None` outside of the host's trace.
    pub(crate) fn add(&mut self, distance: Option<u64>) {
        match distance {
            None => self.uncovered += 1,
            Some(0) => self.inside += 1,
            Some(distance) => {
                self.violations += 1;
                self.largest = self.largest.max(distance);
            }
        }
    }

    /// Share of violations among the events that the host's trace tells of.
    pub fn share(&self) -> Option<f64> {
        let told = self.inside + self.violations;
        (told > 0).then(|| self.violations as f64 / told as f64)
    }
}

/// A line, and how certain it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The line.
    pub line: Line,
    /// Host ticks that the line may be moved down and up at the guest's reference with all events in
    /// their runs; `None` where some are not.
    pub certain: Option<(f64, f64)>,
}

/// Pairs of an event and a run that the first guess looks at.
const PAIRS: usize = 1 << 19;
/// Events that it looks at.
const FEWEST: usize = 16;
const MOST: usize = 1000;
/// Guesses that are compared.
const GUESSES: usize = 16;
/// Events by which they are.
const SAMPLE: usize = 20_000;
/// Drifts that are guessed at, up to [`MOST_DRIFT`].
const DRIFTS: [f64; 9] = [0.0, -1e-4, 1e-4, -2e-4, 2e-4, -3e-4, 3e-4, -4e-4, 4e-4];
/// Times that events are given to runs anew.
const ROUNDS: usize = 6;

/// The run nearest to a time, among ascending ones that do not overlap; `None` outside of all.
pub(crate) fn nearest(runs: &[Run], time: i128) -> Option<(Run, u64)> {
    let (first, last) = (runs.first()?, runs.last()?);
    if time < i128::from(first.0) || time > i128::from(last.1) {
        return None;
    }
    let behind = runs.partition_point(|run| i128::from(run.0) <= time);
    // The first begins before it.
    let run = runs[behind.max(1) - 1];
    let past = time - i128::from(run.1);
    if past <= 0 {
        return Some((run, 0));
    }
    match runs.get(behind) {
        Some(next) if i128::from(next.0) - time < past => {
            Some((*next, (i128::from(next.0) - time) as u64))
        }
        _ => Some((run, past as u64)),
    }
}

/// How a line holds for all events. `points` tell which runs each is to be in.
pub fn check(line: &Line, points: &[Point], runs: &[Vec<Run>]) -> Check {
    let mut check = Check::default();
    for point in points {
        let found = nearest(&runs[point.vcpu], line.host(point.time));
        check.add(found.map(|(_, distance)| distance));
    }
    check
}

/// The line that puts events, ascending by time, into runs of their vCPUs. A guest tick takes about
/// `ratio` host ticks.
///
/// First drift and shift are guessed: of those at which the most of up to 1000 events in the middle fall
/// into runs, the ones with the most events of the whole. From there on more and more events are given to the run that they are in or nearest to, and the linear
/// problem solved: the line with the most room on both sides or, where no line is within all runs, with
/// the least sum of distances.
///
/// # Errors
/// [`Error::Sync`] without events or runs, or if no line can be found.
pub fn fit(points: &[Point], runs: &[Vec<Run>], ratio: f64) -> Result<Fit, Error> {
    let sync = |why: &str| Error::Sync { why: why.to_owned() };
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Err(sync("the guest's trace has no events on a vCPU that the host's tells of"));
    };
    let guest_reference = first.time + (last.time - first.time) / 2;
    let Some(host_reference) = runs.iter().flatten().map(|run| run.0).min() else {
        return Err(sync(
            "the host's trace has no entry followed by an exit; record kvm_entry and kvm_exit",
        ));
    };
    let mut line = Line {
        guest_reference,
        host_reference: i128::from(host_reference),
        ratio,
        drift: 0.0,
        shift: 0.0,
    };
    let all_runs: usize = runs.iter().map(Vec::len).sum();
    let count = (PAIRS / all_runs.max(1)).clamp(FEWEST, MOST).min(points.len());
    let mut from = (points.len() - count) / 2;
    let mut to = from + count;
    let sample: Vec<Point> =
        points.iter().copied().step_by(points.len().div_ceil(SAMPLE)).collect();
    let mut best = (check(&line, &sample, runs).inside, line);
    // Without drift first; the others are worth their time only where events are left over.
    for drift in DRIFTS {
        if best.0 == sample.len() as u64 {
            break;
        }
        let drifting = Line { drift, ..line };
        for shift in guesses(&points[from..to], runs, &drifting) {
            let host_reference = line.host_reference + i128::from(shift);
            let moved = Line { host_reference, ..drifting };
            let inside = check(&moved, &sample, runs).inside;
            if inside > best.0 {
                best = (inside, moved);
            }
        }
    }
    line = best.1;
    let half = (last.time - first.time).max(2) as f64 / 2.0;
    loop {
        let room = settle(&mut line, &points[from..to], runs, half)
            .ok_or_else(|| sync("no line of the two clocks can be found; is it the same guest?"))?;
        if from == 0 && to == points.len() {
            let room = take_ends(&mut line, points, runs, half).unwrap_or(room);
            let certain = (room >= 0.0).then(|| certain(&line, points, runs, half)).flatten();
            return Ok(Fit { line, certain });
        }
        let more = to - from;
        from = from.saturating_sub(more.div_ceil(2));
        to = (to + more).min(points.len());
    }
}

/// Shifts at which the most events fall into runs: middles of the longest stretches of them.
fn guesses(points: &[Point], runs: &[Vec<Run>], line: &Line) -> Vec<i64> {
    let mut ends: Vec<(i64, bool)> = Vec::new();
    for point in points {
        let time = line.host(point.time);
        let shift = |host: u64| i64::try_from(i128::from(host) - time).unwrap_or(i64::MAX);
        for run in &runs[point.vcpu] {
            ends.extend([(shift(run.0), false), (shift(run.1), true)]);
        }
    }
    // Where one run ends and another begins, both hold.
    ends.sort_unstable();
    let (mut now, mut most) = (0usize, 0);
    let mut found: Vec<(i64, i64)> = Vec::new();
    for (number, &(shift, is_end)) in ends.iter().enumerate() {
        if is_end {
            now -= 1;
            continue;
        }
        now += 1;
        if now < most {
            continue;
        }
        if now > most {
            most = now;
            found.clear();
        }
        let until = ends.get(number + 1).map_or(shift, |next| next.0);
        found.push((shift, until));
    }
    found.sort_unstable_by_key(|&(from, to)| std::cmp::Reverse(to.saturating_sub(from)));
    found.truncate(GUESSES);
    found.into_iter().map(|(from, to)| from + to.saturating_sub(from) / 2).collect()
}

/// What events ask of a line beside `line`: those within the host's trace, or outside by at most
/// `beyond` ticks.
fn bounds(line: &Line, points: &[Point], runs: &[Vec<Run>], half: f64, beyond: u64) -> Vec<Bound> {
    let reference = Line { drift: 0.0, shift: 0.0, ..*line };
    let bound = |point: &Point| {
        let (its, time) = (&runs[point.vcpu], line.host(point.time));
        let (first, last) = (its.first()?, its.last()?);
        let (begin, end) = (i128::from(first.0), i128::from(last.1));
        let is_near = time >= begin - i128::from(beyond) && time <= end + i128::from(beyond);
        let (run, _) = nearest(its, time.clamp(begin, end)).filter(|_| is_near)?;
        let beside = reference.host(point.time);
        let elapsed = point.time as f64 - line.guest_reference as f64;
        let (low, high) = (i128::from(run.0) - beside, i128::from(run.1) - beside);
        Some(Bound { at: elapsed / half, low: low as f64, high: high as f64 })
    };
    points.iter().filter_map(bound).collect()
}

/// Solves for the line, and gives events to runs anew, until they stay; its room.
fn settle(line: &mut Line, points: &[Point], runs: &[Vec<Run>], half: f64) -> Option<f64> {
    let mut last = bounds(line, points, runs, half, 0);
    let mut room = 0.0;
    for _ in 0..ROUNDS {
        // Nothing to go by here: farther on there may be.
        if last.is_empty() {
            return Some(-1.0);
        }
        let ratio_half = half * line.ratio;
        let (mut found, its_room) = solve(&last, ratio_half, Aim::Room)?;
        room = its_room;
        if room < 0.0 {
            found = solve(&last, ratio_half, Aim::Sum)?.0;
            // That touches some bounds: the middle of what the kept ones leave is better.
            let kept: Vec<Bound> =
                last.iter().copied().filter(|bound| found.room(bound) > -1.0).collect();
            if let Some((middle, true)) =
                solve(&kept, ratio_half, Aim::Room).map(|(line, room)| (line, room >= 0.0))
            {
                found = middle;
            }
        }
        let Beside { slope, shift } = found;
        *line = Line { drift: slope / half, shift, ..*line };
        let next = bounds(line, points, runs, half, 0);
        if next == last {
            break;
        }
        last = next;
    }
    Some(room)
}

/// Takes also events into runs that are outside of the host's trace by less than the clocks may have
/// drifted, if all fit then; the room.
fn take_ends(line: &mut Line, points: &[Point], runs: &[Vec<Run>], half: f64) -> Option<f64> {
    let ratio_half = half * line.ratio;
    let beyond = (ratio_half * MOST_DRIFT) as u64;
    let all = bounds(line, points, runs, half, beyond);
    if all.len() == bounds(line, points, runs, half, 0).len() {
        return None;
    }
    let (Beside { slope, shift }, room) =
        solve(&all, ratio_half, Aim::Room).filter(|found| found.1 >= 0.0)?;
    *line = Line { drift: slope / half, shift, ..*line };
    Some(room)
}

/// How far the line may be moved down and up in the middle.
fn certain(line: &Line, points: &[Point], runs: &[Vec<Run>], half: f64) -> Option<(f64, f64)> {
    let bounds = bounds(line, points, runs, half, 0);
    let at = |aim: Aim| Some(solve(&bounds, half * line.ratio, aim)?.0.shift);
    Some((at(Aim::Least)? - line.shift, at(Aim::Most)? - line.shift))
}
