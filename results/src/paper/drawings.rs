//! Each figure from what was found, or the reason why there is none.

use super::flows::PaperFlows;
use super::over_time::{after, caches, following, snippet, whole};
use super::specs::{Spec, spec};
use super::sweeps::{CachePoint, TlbPoint, cache_figure, cache_points, global_figure, tlb_figure};
use super::{
    DrawnFigure, FigureSource, PaperCapture, PaperFigure, PaperSweeps, life, method, sweeps, tables,
};
use crate::error::Error;
use crate::profile_report::ProfileReport;
use std::ops::Range;
use strata_sim::{LifeChoice, LifeReport, MarkKind, Stage, Timeline};

/// Share of a life's length that Figure 11 (a) shows before and after it.
const AROUND: u64 = 5;
/// Instructions that it shows where there is no life.
const SNIPPET: u64 = 500_000;

/// Figures 3 to 10.
pub(super) fn of_calls(
    capture: &PaperCapture,
    flows: Result<&PaperFlows, &String>,
) -> Result<Vec<PaperFigure>, Error> {
    let source = |number| FigureSource::new(&capture.report, number);
    let annotated = || flows.map_err(String::clone)?.annotated.as_ref().map_err(String::clone);
    let stage = |stage: Stage| {
        let found = flows.map_err(String::clone)?.stages.iter().find(|(of, _)| *of == stage);
        found.map_or(Err(String::new()), |(_, flow)| flow.as_ref().map_err(String::clone))
    };
    let returns = capture.calls.as_ref().ok().map(|calls| &calls.returns);
    let mut figures = vec![
        figure("3", annotated(), |flow| tables::annotated(&source("3"), flow))?,
        figure("4", annotated(), |flow| tables::counted_flow(&source("4"), flow))?,
        figure("5", Ok(()), |()| method::figure(&source("5"), returns))?,
        figure("6", median_life(capture), |(lives, number)| {
            life::figure(&source("6"), lives, number)
        })?,
    ];
    for (number, of) in ["7", "8", "9", "10"].into_iter().zip(Stage::ALL) {
        let title = spec(number).title;
        let draw = |flow| tables::flow(&source(number), title, flow);
        figures.push(figure(number, stage(of), draw)?);
    }
    Ok(figures)
}

/// The life that Figure 6 shows.
fn median_life(capture: &PaperCapture) -> Result<(&LifeReport, usize), String> {
    let lives = capture.lives.as_ref().map_err(String::clone)?;
    let chosen = lives.choose(LifeChoice::Median).map_err(|error| error.to_string())?;
    Ok((lives, chosen))
}

/// Figures 11 and 12.
pub(super) fn over_time(capture: &PaperCapture) -> Result<Vec<PaperFigure>, Error> {
    let source = |number| FigureSource::new(&capture.report, number);
    let timeline =
        || -> Result<&Timeline, String> { capture.timeline.as_ref().map_err(String::clone) };
    let show = match median_life(capture) {
        Ok((lives, number)) => {
            let life = &lives.lives[number];
            let around = life.elapsed() / AROUND;
            life.begin.saturating_sub(around)..life.end + around
        }
        Err(_) => middle(&capture.report),
    };
    let events = |kind: MarkKind| {
        let timeline = timeline()?;
        after(timeline, kind).map(|after| (timeline, after)).ok_or_else(|| {
            format!("there is no {kind} in this capture that enough instructions follow")
        })
    };
    let follows = |number, kind, event| {
        figure(number, events(kind), |(timeline, after)| {
            following(&source(number), timeline, after, event)
        })
    };
    Ok(vec![
        figure("11a", timeline(), |timeline| snippet(&source("11a"), timeline, &show))?,
        figure("11b", timeline(), |timeline| whole(&source("11b"), timeline))?,
        follows("11c", MarkKind::VmSwitch, "a VM switch")?,
        follows("11d", MarkKind::GrantUnmap, "a grant destroy")?,
        figure("12", timeline(), |timeline| caches(&source("12"), timeline))?,
    ])
}

/// The middle of a capture.
fn middle(report: &ProfileReport) -> Range<u64> {
    let middle = report.profile.total.instructions / 2;
    middle.saturating_sub(SNIPPET / 2)..middle + SNIPPET / 2
}

/// Figures 13 to 17.
pub(super) fn of_sizes(capture: &PaperCapture) -> Result<Vec<PaperFigure>, Error> {
    type Swept<'s, P> = Result<(&'s PaperSweeps, Vec<P>), String>;
    fn l2(sweeps: &PaperSweeps) -> Swept<'_, CachePoint> {
        Ok((sweeps, cache_points(sweeps.l2.as_ref().map_err(String::clone)?)))
    }
    fn tlbs(sweeps: &PaperSweeps) -> Swept<'_, TlbPoint> {
        Ok((sweeps, sweeps::tlb_points(sweeps.tlbs.as_ref().map_err(String::clone)?)))
    }
    let receive = || capture.receive.as_ref().map_err(String::clone);
    let cache = |number, swept: Swept<'_, CachePoint>| {
        figure(number, swept, |(sweeps, points)| {
            cache_figure(&FigureSource::new(&sweeps.report, number), &points)
        })
    };
    let tlb = |number, swept: Swept<'_, TlbPoint>| {
        figure(number, swept, |(sweeps, points)| {
            tlb_figure(&FigureSource::new(&sweeps.report, number), &points)
        })
    };
    Ok(vec![
        cache("13", l2(&capture.sweeps))?,
        tlb("14", tlbs(&capture.sweeps))?,
        cache("15", receive().and_then(l2))?,
        tlb("16", receive().and_then(tlbs))?,
        figure("17", tlbs(&capture.sweeps), |(sweeps, points)| {
            global_figure(&FigureSource::new(&sweeps.report, "17"), &points)
        })?,
    ])
}

/// Draws a figure from what there is; what there is none of keeps its reason.
fn figure<T>(
    number: &'static str,
    from: Result<T, String>,
    draw: impl FnOnce(T) -> Result<DrawnFigure, Error>,
) -> Result<PaperFigure, Error> {
    let outcome = match from {
        Ok(from) => Ok(draw(from)?),
        Err(why) => Err(why),
    };
    let Spec { title, paper, command, .. } = *spec(number);
    Ok(PaperFigure { number, title, paper, command, outcome })
}
