//! A capture replayed into a report, as `replay` and `reproduce` do it.

use crate::capture_input::{CaptureInput, hex};
use crate::quantity::Span;
use crate::talk::TalkArgs;
use anyhow::{Context, anyhow, bail};
use std::any::Any;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Instant;
use strata_cachemodel::Machine;
use strata_results::{ProfileReport, Provenance, Symbols};
use strata_sim::{
    CallFollower, CallRecord, CaptureNames, DataGrain, Extent, Nameless, Namer, Profile,
    ReadReport, Replay, Sampler, SamplingOptions, TimelineOptions, TimelineWatch, Tracer,
    for_each_batch, for_each_batch_behind, replay_in_stretches, why_not_in_stretches,
};
use strata_workloads::trace::{IndexedTrace, Lacks};

/// How to replay.
#[derive(Clone, Debug)]
pub(crate) struct Replaying {
    /// The machine.
    pub(crate) machine: Machine,
    /// What is said to be done.
    pub(crate) what: &'static str,
    /// Instructions to replay.
    pub(crate) span: Span,
    /// Instructions that warm the caches.
    pub(crate) warm_up: u64,
    /// Use the capture's symbols.
    pub(crate) symbols: bool,
    /// Take a trace that ends early for what is whole of it.
    pub(crate) allow_truncated: bool,
    /// Say of each miss why.
    pub(crate) classify: bool,
    /// Collect what data misses are on.
    pub(crate) data: Option<DataGrain>,
    /// Threads to replay on; one for each processor if it is not said.
    pub(crate) threads: Option<NonZeroUsize>,
    /// What is said.
    pub(crate) talk: TalkArgs,
}

impl Replaying {
    /// Replays `input`.
    ///
    /// # Errors
    /// If the trace or its symbols are unusable, or a law is broken.
    pub(crate) fn run(&self, input: &CaptureInput) -> anyhow::Result<ProfileReport> {
        Ok(self.run_with(input, Besides::default())?.0)
    }

    /// Replays `input` with the lines of source code where they are known.
    ///
    /// # Errors
    /// As [`Replaying::run`].
    pub(crate) fn run_by_line(&self, input: &CaptureInput) -> anyhow::Result<ProfileReport> {
        Ok(self.run_with(input, Besides { lines: true, ..Besides::default() })?.0)
    }

    /// Replays `input` with its calls followed, and tells `tracer` of every visit.
    ///
    /// # Errors
    /// As [`Replaying::run`].
    pub(crate) fn trace<T: Tracer>(
        &self,
        input: &CaptureInput,
        tracer: T,
    ) -> anyhow::Result<Traced<T>> {
        let besides = Besides { tracer: Some(Box::new(tracer)), ..Besides::default() };
        let (report, traced) = self.run_with(input, besides)?;
        let (tracer, record) = traced.context("a replay with a tracer gives it back")?;
        let tracer: Box<dyn Any> = tracer;
        let tracer = tracer.downcast().map_err(|_| anyhow!("the tracer came back as another"))?;
        Ok(Traced { tracer: *tracer, record, report })
    }

    /// Replays `input`, without names, and notes when misses and events happen.
    ///
    /// # Errors
    /// As [`Replaying::run`], and for lengths that make no timeline.
    pub(crate) fn run_over_time(
        &self,
        input: &CaptureInput,
        options: TimelineOptions,
    ) -> anyhow::Result<ProfileReport> {
        let time = Some(TimelineWatch::new(options)?);
        let nameless = Replaying { symbols: false, ..self.clone() };
        let besides = Besides { time, ..Besides::default() };
        let (mut report, _) = nameless.run_with(input, besides)?;
        report.provenance.symbols = Symbols::NotNeeded;
        Ok(report)
    }

    /// Replays `input` and takes samples of it.
    ///
    /// # Errors
    /// As [`Replaying::run`], and for samples that cannot be taken.
    pub(crate) fn run_sampled(
        &self,
        input: &CaptureInput,
        options: SamplingOptions,
    ) -> anyhow::Result<ProfileReport> {
        let sampler = Some(Sampler::new(options, &self.machine)?);
        Ok(self.run_with(input, Besides { sampler, ..Besides::default() })?.0)
    }

    fn run_with(
        &self,
        input: &CaptureInput,
        besides: Besides,
    ) -> anyhow::Result<(ProfileReport, Option<Calls>)> {
        let (driven, symbols) = match &input.folder {
            Some((folder, manifest)) if self.symbols => {
                let mut names = CaptureNames::open(folder, manifest)?;
                if besides.tracer.is_some() || besides.lines {
                    // Calls can be followed only between functions that are known, and a block of
                    // several lines be split only where it is met.
                    let until = self.span.to.unwrap_or(u64::MAX);
                    let learned = match input.indexed() {
                        Some(trace) => names.learn_indexed(&trace, until),
                        None => names.learn(input.reader()?.0, until),
                    };
                    names = learned.with_context(|| input.place())?;
                }
                if besides.lines {
                    names.tell_lines();
                }
                let driven = self.drive(input, names, besides)?;
                driven.names.check()?;
                let complaints = driven.names.complaints();
                (driven.without_names(), Symbols::Used { complaints })
            }
            Some(_) => (self.drive(input, Nameless, besides)?, Symbols::Off),
            None => (self.drive(input, Nameless, besides)?, Symbols::None),
        };
        let Driven { profile, calls, read, stopped, lacks, .. } = driven;
        // Reading runs ahead of the replay: what it met beyond the range depends on luck.
        let truncated = read.truncated.filter(|_| !stopped);
        if let (Some(why), false) = (&truncated, self.allow_truncated) {
            return Err(anyhow!(
                "{}: {why}, or --allow-truncated replays it as it is",
                input.place()
            ));
        }
        let trace_hash = if stopped {
            input.ending().map(|ending| ending.hash_text())
        } else {
            Some(hex(&read.hash))
        };
        let report = ProfileReport {
            profile,
            provenance: Provenance {
                source: input.name.clone(),
                trace_hash,
                from: self.span.from,
                to: self.span.to,
                warm_up: self.warm_up,
                truncated: truncated.map(|why| why.to_string()),
                manifest: input.folder.as_ref().map(|(_, manifest)| manifest.clone()),
                symbols,
                lacks,
            },
        };
        Ok((report, calls))
    }

    fn drive<N: Namer + Send>(
        &self,
        input: &CaptureInput,
        names: N,
        besides: Besides,
    ) -> anyhow::Result<Driven<N>> {
        let started = Instant::now();
        let Besides { tracer, time, sampler, lines: _ } = besides;
        let extent = Extent {
            range: self.span.from..self.span.to.unwrap_or(u64::MAX),
            warm_up: self.warm_up,
        };
        if tracer.is_none()
            && time.is_none()
            && sampler.is_none()
            && let Some(trace) = self.trace_for_stretches(input, &extent)
        {
            return self.drive_in_stretches(input, &trace, names, &extent);
        }
        let (reader, _) = input.reader()?;
        let lacks = reader.lacks();
        if lacks.fetches && (self.span != Span { from: 0, to: None } || self.warm_up > 0) {
            bail!(
                "{}: the trace has no instructions to count, so that there are no ranges of it; \
                 replay all of it, without --range and --warm-up",
                input.place()
            );
        }
        let expected = match self.span.to {
            Some(to) => Some(to),
            // Progress is counted in instructions.
            None if lacks.fetches => None,
            None if self.talk.shows_progress() => input.expected_instructions(),
            None => None,
        };
        let bar = self.talk.progress(self.what, expected);
        let (driven, replayed) = match tracer {
            Some(tracer) => {
                let mut follower = CallFollower::new(names, lacks, extent.clone());
                let result = for_each_batch_behind(
                    reader,
                    &mut follower,
                    |state| {
                        let replay = Replay::traced(&self.machine, state, extent, tracer);
                        self.set_up(replay, lacks)
                    },
                    |replay, batch, course| {
                        replay.batch_along(batch, course);
                        bar.set_position(replay.position());
                        !replay.is_done()
                    },
                );
                bar.finish_and_clear();
                let (replay, read) = result.with_context(|| input.place())?;
                holds_something(&replay, &read, input, lacks)?;
                let (replayed, stopped) = (replay.position(), replay.is_done());
                let traced = replay.finish_traced(follower).with_context(|| input.place())?;
                let (profile, names, tracer, record) = traced;
                let calls = Some((tracer, record));
                (Driven { profile, calls, read, stopped, lacks, names }, replayed)
            }
            None => {
                let result = for_each_batch(
                    reader,
                    |state| {
                        let replay = Replay::new(&self.machine, names, state, extent);
                        let mut replay = self.set_up(replay, lacks);
                        if let Some(time) = time {
                            replay.watch_time(time);
                        }
                        if let Some(sampler) = sampler {
                            replay.sample(sampler);
                        }
                        replay
                    },
                    |replay, batch| {
                        replay.batch(batch);
                        bar.set_position(replay.position());
                        !replay.is_done()
                    },
                );
                bar.finish_and_clear();
                let (replay, read) = result.with_context(|| input.place())?;
                holds_something(&replay, &read, input, lacks)?;
                let (replayed, stopped) = (replay.position(), replay.is_done());
                let (profile, names) = replay.finish().with_context(|| input.place())?;
                (Driven { profile, calls: None, read, stopped, lacks, names }, replayed)
            }
        };
        self.tell_speed(replayed, started);
        Ok(driven)
    }

    /// The trace by its index, if it can be replayed in stretches.
    fn trace_for_stretches(&self, input: &CaptureInput, extent: &Extent) -> Option<IndexedTrace> {
        if self.classify || self.data.is_some() {
            return None;
        }
        let trace = input.indexed()?;
        if let Some(why) = why_not_in_stretches(&self.machine, &trace) {
            self.talk.detail(&format!("replayed from end to end, not in stretches: {why}"));
            return None;
        }
        // What is wrong with a range is told by who reads it.
        let counted_from = extent.range.start.saturating_add(extent.warm_up);
        (counted_from < trace.ending().totals.instructions).then_some(trace)
    }

    fn drive_in_stretches<N: Namer + Send>(
        &self,
        input: &CaptureInput,
        trace: &IndexedTrace,
        names: N,
        extent: &Extent,
    ) -> anyhow::Result<Driven<N>> {
        let started = Instant::now();
        let ending = *trace.ending();
        let last = extent.range.end.min(ending.totals.instructions);
        let length = last.saturating_sub(extent.range.start);
        let bar = self.talk.progress(self.what, Some(length));
        let threads = self.threads.or(available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let progress = |instructions| bar.inc(instructions);
        let result = replay_in_stretches(trace, &self.machine, names, extent, threads, progress);
        bar.finish_and_clear();
        let (found, names) = result.with_context(|| input.place())?;
        let [stretches, repeated] = found.stretches;
        self.talk.detail(&format!(
            "{stretches} stretches on {threads} threads, {repeated} of them replayed again"
        ));
        self.tell_speed(found.position.min(last) - extent.range.start, started);
        let read = ReadReport {
            ending: Some(ending),
            hash: ending.hash,
            instructions: ending.totals.instructions,
            truncated: None,
        };
        let profile = found.profile;
        let lacks = trace.lacks();
        Ok(Driven { profile, calls: None, read, stopped: false, lacks, names })
    }

    fn tell_speed(&self, instructions: u64, started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        self.talk.detail(&format!(
            "{instructions} instructions in {seconds:.2} s, {:.0} million each second",
            instructions as f64 / seconds / 1e6
        ));
    }

    /// Makes a replay ready for its first batch.
    fn set_up<N: Namer>(&self, mut replay: Replay<N>, lacks: Lacks) -> Replay<N> {
        replay.set_lacks(lacks);
        if self.classify {
            replay.classify();
        }
        if let Some(grain) = self.data {
            replay.watch_data(grain);
        }
        replay
    }
}

/// Whether anything was replayed at all.
fn holds_something<N: Namer>(
    replay: &Replay<N>,
    read: &ReadReport,
    input: &CaptureInput,
    lacks: Lacks,
) -> anyhow::Result<()> {
    if replay.position() > 0 || lacks.fetches {
        return Ok(());
    }
    if let Some(why) = &read.truncated {
        bail!("{}: {why}", input.place());
    }
    bail!("{}: the trace holds no instructions; record it again", input.place());
}

/// What is done in a replay besides counting.
#[derive(Default)]
struct Besides {
    /// Is told of visits.
    tracer: Option<Box<dyn Tracer>>,
    /// Lines of source code are told apart.
    lines: bool,
    /// Notes when misses and events happen.
    time: Option<TimelineWatch>,
    /// Takes samples.
    sampler: Option<Sampler>,
}

/// What a replay that followed calls has found besides.
type Calls = (Box<dyn Tracer>, CallRecord);

/// A replay whose calls were followed.
pub(crate) struct Traced<T> {
    /// What was told of the visits.
    pub(crate) tracer: T,
    /// Paths, functions, and how well returns could be followed.
    pub(crate) record: CallRecord,
    /// Machine, provenance and totals.
    pub(crate) report: ProfileReport,
}

/// A replay that has ended.
struct Driven<N> {
    profile: Profile,
    calls: Option<Calls>,
    read: ReadReport,
    /// It reached the end of its range before that of the trace.
    stopped: bool,
    lacks: Lacks,
    names: N,
}

impl<N> Driven<N> {
    fn without_names(self) -> Driven<Nameless> {
        let Driven { profile, calls, read, stopped, lacks, names: _ } = self;
        Driven { profile, calls, read, stopped, lacks, names: Nameless }
    }
}
