//! All replays that the figures of the paper are drawn from.

use crate::capture_input::{CaptureInput, hex};
use crate::quantity::Span;
use crate::replaying::{Replaying, Traced};
use crate::talk::TalkArgs;
use anyhow::{Context, anyhow, bail};
use std::thread;
use strata_cachemodel::Machine;
use strata_results::{
    PaperCalls, PaperCapture, PaperSweeps, ProfileReport, Provenance, SweepRow, Symbols,
};
use strata_sim::{
    Annotation, Attribution, Direction, Extent, Kept, LifeReport, Lives, Nameless, Names,
    NamesError, Replay, Rules, Setting, SweepAxis, SweepGrid, SweepPlan, SweepPoint, Sweeping,
    Timeline, TimelineOptions, TimelineWatch, for_each_batch,
};

/// The paper's sizes, and those around them (Figures 13 to 17).
const L2_SIZES: &str = "512KiB..32MiB";
const TLB_ENTRIES: &str = "16..1024";
/// What TLB entries may be tagged with, besides what the machine does.
const TAGS: [&str; 4] = ["none", "architectural", "global-hypervisor", "vpid"];

/// Length of the windows that time is told in, in instructions; of long captures there are this
/// many.
const WINDOW: u64 = 1_000;
const WINDOWS: u64 = 200_000;

/// What is replayed for the figures.
pub(crate) struct Reproducing<'i> {
    pub(crate) machine: Machine,
    pub(crate) capture: &'i CaptureInput,
    /// One in which the guest receives, or why there is none.
    pub(crate) receive: Result<&'i CaptureInput, String>,
    pub(crate) allow_truncated: bool,
    pub(crate) talk: TalkArgs,
}

/// Names, calls and lives of a capture.
struct Followed {
    report: ProfileReport,
    calls: Result<PaperCalls, String>,
    lives: Result<LifeReport, String>,
}

/// Machines to sweep, or why they cannot be.
type Axis = Result<Vec<(Setting, Machine)>, String>;

impl Reproducing<'_> {
    /// Replays everything, two captures side by side.
    ///
    /// # Errors
    /// If a trace is damaged, or a law is broken.
    pub(crate) fn run(&self) -> anyhow::Result<PaperCapture> {
        let (followed, rest) = thread::scope(|scope| {
            let rest = scope.spawn(|| -> anyhow::Result<_> {
                let (timeline, sweeps) = self.over_time_and_swept(self.capture)?;
                let receive = match &self.receive {
                    Ok(input) => Ok(self.swept(input, None)?.1),
                    Err(why) => Err(why.clone()),
                };
                Ok((timeline, sweeps, receive))
            });
            let followed = self.followed();
            (followed, rest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let Followed { report, calls, lives } = followed?;
        let (timeline, mut sweeps, mut receive) = rest?;
        if is_receiving(self.capture) {
            // Under their numbers, its sweeps are others.
            let why = format!(
                "{}: here the guest receives, and its sweep is drawn as Figure 15 or 16; a capture \
                 of xen-net-tx gives this figure",
                self.capture.name
            );
            let nothing =
                PaperSweeps { report: sweeps.report.clone(), l2: Err(why.clone()), tlbs: Err(why) };
            let swept = std::mem::replace(&mut sweeps, nothing);
            if receive.is_err() {
                receive = Ok(swept);
            }
        }
        Ok(PaperCapture { report, calls, lives, timeline, sweeps, receive })
    }

    fn replaying(&self, symbols: bool) -> Replaying {
        Replaying {
            what: if symbols { "following calls" } else { "replaying" },
            threads: None,
            machine: self.machine.clone(),
            span: Span { from: 0, to: None },
            warm_up: 0,
            symbols,
            allow_truncated: self.allow_truncated,
            classify: false,
            data: None,
            talk: self.talk,
        }
    }

    /// Follows calls, where there are names.
    fn followed(&self) -> anyhow::Result<Followed> {
        let input = self.capture;
        let without = |why: String| {
            let report = self.replaying(false).run(input)?;
            Ok(Followed { report, calls: Err(why.clone()), lives: Err(why) })
        };
        if input.folder.is_none() {
            return without(format!(
                "{}: a bare trace has no names, by which functions are found; give the capture \
                 folder",
                input.place()
            ));
        }
        let direction = if is_receiving(input) { Direction::Rx } else { Direction::Tx };
        let lives = Lives::new(Rules::xen_net(direction));
        let rows = Annotation::new(Attribution::UntilNext, Kept::Counters)?;
        let Traced { tracer: (rows, lives), record, report } =
            match self.replaying(true).trace(input, (rows, lives)) {
                Err(error) if error.downcast_ref::<NamesError>().is_some() => {
                    return without(format!("{error:#}"));
                }
                traced => traced?,
            };
        let lives = lives
            .finish(&record.paths, &record.functions, &report.profile.total)
            .map_err(|error| format!("{}: {error}", input.place()));
        let calls = PaperCalls {
            entries: rows.finish()?,
            names: Names::new(record.paths, record.functions),
            returns: record.returns,
        };
        Ok(Followed { report, calls: Ok(calls), lives })
    }

    /// Misses over time, and sweeps, from one reading of the trace.
    fn over_time_and_swept(
        &self,
        input: &CaptureInput,
    ) -> anyhow::Result<(Result<Timeline, String>, PaperSweeps)> {
        let length = input.expected_instructions().unwrap_or(0);
        let window = WINDOW.max(length / WINDOWS);
        let options = TimelineOptions { window, ..TimelineOptions::default() };
        let (timeline, sweeps) = self.swept(input, Some(TimelineWatch::new(options)?))?;
        let timeline = timeline.ok_or_else(|| {
            format!(
                "{}: the trace has no instructions, over which misses could be told",
                input.place()
            )
        });
        Ok((timeline, sweeps))
    }

    /// Sweeps, and misses over time where those are watched.
    fn swept(
        &self,
        input: &CaptureInput,
        mut time: Option<TimelineWatch>,
    ) -> anyhow::Result<(Option<Timeline>, PaperSweeps)> {
        let l2 = self.axis(&[SweepAxis::l2_sizes(L2_SIZES)?]);
        let tlbs =
            self.axis(&[SweepAxis::tlb_entries(TLB_ENTRIES)?, SweepAxis::tags(&self.tags())?]);
        // The machine itself comes first.
        let of = |axis: &Axis| axis.as_ref().map_or(0, Vec::len);
        let (l2_points, tlb_points) = (1..1 + of(&l2), 1 + of(&l2)..1 + of(&l2) + of(&tlbs));
        let mut machines = vec![self.machine.clone()];
        for (_, machine) in [&l2, &tlbs].into_iter().filter_map(|axis| axis.as_ref().ok()).flatten()
        {
            machines.push(machine.clone());
        }
        let mut counted: Vec<Option<SweepPoint>> = machines.iter().map(|_| None).collect();
        let mut provenance = Provenance::default();
        let mut timeline = None;
        for make_plan in [SweepPlan::new, SweepPlan::one_by_one] {
            let missing: Vec<usize> =
                (0..machines.len()).filter(|&number| counted[number].is_none()).collect();
            let plan = make_plan(&machines, &missing, false);
            plan.texts().iter().for_each(|text| self.talk.detail(text));
            for pass in plan.passes() {
                let what = if time.is_some() { "watching time, sweeping" } else { "sweeping" };
                let found = self.pass(input, what, time.take(), |state, lacks| {
                    Sweeping::new(pass, state, lacks)
                })?;
                timeline = timeline.or(found.timeline);
                provenance = found.provenance;
                for (number, point) in
                    found.sweeping.finish(&machines).with_context(|| input.place())?
                {
                    counted[number] = Some(point);
                }
            }
        }
        let point = |number: usize| {
            counted[number].as_ref().context("each machine is in a pass of one of the plans")
        };
        let report = ProfileReport { profile: point(0)?.profile(self.machine.clone()), provenance };
        let rows = |axis: Axis, points: std::ops::Range<usize>| -> anyhow::Result<_> {
            let Ok(axis) = axis else { return Ok(axis.map(|_| Vec::new())) };
            let rows = points
                .zip(axis)
                .map(|(number, (set, machine))| Ok(SweepRow::new(set, machine, point(number)?)));
            Ok(Ok(rows.collect::<anyhow::Result<Vec<_>>>()?))
        };
        let (l2, tlbs) = (rows(l2, l2_points)?, rows(tlbs, tlb_points)?);
        Ok((timeline, PaperSweeps { report, l2, tlbs }))
    }

    fn tags(&self) -> String {
        let own = self.machine.tags().to_string();
        let mut tags: Vec<&str> = TAGS.to_vec();
        if !tags.contains(&own.as_str()) {
            tags.push(&own);
        }
        tags.join(",")
    }

    /// Machines that differ in these from the one that was asked for.
    fn axis(&self, axes: &[SweepAxis]) -> Axis {
        let grid = SweepGrid::new(axes.to_vec()).map_err(|error| error.to_string())?;
        grid.machines(&self.machine)
            .map_err(|error| format!("machine {} cannot be swept so: {error}", self.machine.name()))
    }

    fn pass(
        &self,
        input: &CaptureInput,
        what: &'static str,
        time: Option<TimelineWatch>,
        sweeping: impl FnOnce(
            &strata_workloads::trace::MachineState,
            strata_workloads::trace::Lacks,
        ) -> Sweeping,
    ) -> anyhow::Result<Pass> {
        let (reader, _) = input.reader()?;
        let lacks = reader.lacks();
        let expected = match self.talk.shows_progress() && !lacks.fetches {
            true => input.expected_instructions(),
            false => None,
        };
        let bar = self.talk.progress(what, expected);
        let result = for_each_batch(
            reader,
            |state| {
                let sweeping = sweeping(&state, lacks);
                let watching = time.filter(|_| !lacks.fetches).map(|time| {
                    let mut replay = Replay::new(&self.machine, Nameless, state, Extent::default());
                    replay.set_lacks(lacks);
                    replay.watch_time(time);
                    replay
                });
                (sweeping, watching)
            },
            |(sweeping, watching), batch| {
                if let Some(replay) = watching {
                    // Each takes the definitions that are new.
                    let new = batch.new.clone();
                    replay.batch(batch);
                    batch.new = new;
                }
                sweeping.batch(batch);
                bar.set_position(sweeping.position());
                true
            },
        );
        bar.finish_and_clear();
        let ((sweeping, watching), read) = result.with_context(|| input.place())?;
        if let (Some(why), false) = (&read.truncated, self.allow_truncated) {
            return Err(anyhow!(
                "{}: {why}, or --allow-truncated replays it as it is",
                input.place()
            ));
        }
        if sweeping.position() == 0 && !lacks.fetches {
            bail!("{}: the trace holds no instructions; record it again", input.place());
        }
        let timeline = match watching {
            Some(replay) => replay.finish().with_context(|| input.place())?.0.timeline,
            None => None,
        };
        let provenance = Provenance {
            source: input.name.clone(),
            trace_hash: Some(hex(&read.hash)),
            truncated: read.truncated.as_ref().map(ToString::to_string),
            manifest: input.folder.as_ref().map(|(_, manifest)| manifest.clone()),
            symbols: Symbols::NotNeeded,
            lacks,
            ..Provenance::default()
        };
        Ok(Pass { sweeping, timeline, provenance })
    }
}

/// A reading of a trace that has ended.
struct Pass {
    sweeping: Sweeping,
    timeline: Option<Timeline>,
    provenance: Provenance,
}

/// Whether a capture is of a guest that receives.
pub(crate) fn is_receiving(input: &CaptureInput) -> bool {
    input.folder.as_ref().is_some_and(|(_, manifest)| manifest.scenario.ends_with("-rx"))
}
