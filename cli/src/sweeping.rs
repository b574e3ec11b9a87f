//! A sweep's passes over a capture.

use crate::capture_input::{CaptureInput, hex};
use crate::sweep_rows::RowWriter;
use crate::talk::TalkArgs;
use anyhow::{Context, anyhow, bail};
use std::time::Instant;
use strata_cachemodel::Machine;
use strata_results::{SweepFolder, SweepRow};
use strata_sim::{Extent, Setting, SweepPass, SweepPlan, SweepPoint, Sweeping, for_each_batch};

/// A sweep under way.
pub(crate) struct SweepUnderWay {
    pub(crate) input: CaptureInput,
    pub(crate) points: Vec<(Setting, Machine)>,
    pub(crate) folder: Option<SweepFolder>,
    pub(crate) extent: Extent,
    pub(crate) allow_truncated: bool,
    pub(crate) talk: TalkArgs,
    pub(crate) writer: RowWriter,
}

impl SweepUnderWay {
    /// Counts every point that the folder does not have.
    ///
    /// # Errors
    /// If the trace cannot be replayed, a law is broken, or a point not be written.
    pub(crate) fn count_all(&mut self) -> anyhow::Result<()> {
        let machines: Vec<Machine> =
            self.points.iter().map(|(_, machine)| machine.clone()).collect();
        let mut missing = Vec::new();
        for (number, machine) in machines.iter().enumerate() {
            let found = self.folder.as_ref().map(|folder| folder.find(machine)).transpose()?;
            match found.flatten() {
                Some(point) => self.put(number, &point),
                None => missing.push(number),
            }
        }
        let (all, known) = (self.points.len(), self.points.len() - missing.len());
        if known > 0 {
            self.talk.note(&format!("{known} of {all} points were counted before"));
            self.take_provenance();
            self.writer.write()?;
        }
        let in_one_pass = self.input.trace.is_none();
        for make_plan in [SweepPlan::new, SweepPlan::one_by_one] {
            if missing.is_empty() {
                break;
            }
            let plan = make_plan(&machines, &missing, in_one_pass);
            plan.texts().iter().for_each(|text| self.talk.detail(text));
            for (number, pass) in plan.passes().iter().enumerate() {
                let done = all - missing.len();
                let what = format!(
                    "{done} of {all} points done, pass {} of {}",
                    number + 1,
                    plan.passes().len()
                );
                let found = self.pass(pass, what, &machines)?;
                for (point, counted) in &found {
                    if let Some(folder) = &self.folder {
                        folder.keep(&machines[*point], counted)?;
                    }
                    self.put(*point, counted);
                }
                missing.retain(|point| !found.iter().any(|(counted, _)| counted == point));
                self.writer.write()?;
            }
            if in_one_pass && !missing.is_empty() {
                bail!(
                    "{}: pages of this trace change their size or globality, so that its TLBs must \
                     be replayed one by one, for which it is read again; sweep a file instead",
                    self.input.place()
                );
            }
        }
        Ok(())
    }

    fn put(&mut self, number: usize, point: &SweepPoint) {
        let (set, machine) = &self.points[number];
        self.writer.put(number, SweepRow::new(set.clone(), machine.clone(), point));
    }

    /// What the trace says of itself without being replayed.
    fn take_provenance(&mut self) {
        let provenance = &mut self.writer.report.provenance;
        provenance.trace_hash = self.input.ending().map(|ending| ending.hash_text());
        if let Ok((reader, _)) = self.input.reader() {
            provenance.lacks = reader.lacks();
        }
    }

    fn pass(
        &mut self,
        pass: &SweepPass,
        what: String,
        machines: &[Machine],
    ) -> anyhow::Result<Vec<(usize, SweepPoint)>> {
        let started = Instant::now();
        let (reader, _) = self.input.reader()?;
        let lacks = reader.lacks();
        let expected = if self.talk.shows_progress() && !lacks.fetches {
            self.input.expected_instructions()
        } else {
            None
        };
        let bar = self.talk.progress(what, expected);
        let result = for_each_batch(
            reader,
            |state| Sweeping::over(pass, &state, lacks, &self.extent),
            |sweeping, batch| {
                sweeping.batch(batch);
                bar.set_position(sweeping.position());
                !sweeping.is_done()
            },
        );
        bar.finish_and_clear();
        let (sweeping, read) = result.with_context(|| self.input.place())?;
        // Reading runs ahead: what it met beyond the range depends on luck.
        let truncated = read.truncated.filter(|_| !sweeping.is_done());
        if let (Some(why), false) = (&truncated, self.allow_truncated) {
            return Err(anyhow!(
                "{}: {why}, or --allow-truncated replays it as it is",
                self.input.place()
            ));
        }
        let instructions = sweeping.position();
        if instructions == 0 && !lacks.fetches {
            bail!("{}: the trace holds no instructions; record it again", self.input.place());
        }
        let provenance = &mut self.writer.report.provenance;
        provenance.trace_hash = if sweeping.is_done() {
            // Not all was read.
            self.input.ending().map(|ending| ending.hash_text())
        } else {
            Some(hex(&read.hash))
        };
        provenance.truncated = truncated.as_ref().map(ToString::to_string);
        provenance.lacks = lacks;
        let points = sweeping.finish(machines).with_context(|| self.input.place())?;
        let seconds = started.elapsed().as_secs_f64();
        self.talk.detail(&format!(
            "{} points of {instructions} instructions in {seconds:.2} s",
            points.len()
        ));
        Ok(points)
    }
}
