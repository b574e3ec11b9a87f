//! A look at a whole trace beforehand: which program runs in which address space.

use crate::addressing::Addressing;
use crate::capture_names::CaptureNames;
use crate::error::Error;
use crate::pipeline::for_each_batch;
use crate::who::Who;
use std::io::Read;
use strata_workloads::trace::{Batch, Definitions, Event, MachineState, TraceReader};

/// Follows who runs, and nothing else.
struct Survey {
    who: Who<CaptureNames>,
    addressing: Addressing,
    state: MachineState,
    tables: Definitions,
    /// By shape: number and privilege of its block.
    blocks: Vec<(u32, u8)>,
    /// Completed instructions, by shape and so far.
    completed: Vec<u16>,
    position: u64,
}

impl CaptureNames {
    /// Reads `trace` up to instruction `until` (exclusive) for the user code that runs in it, so
    /// that afterwards its functions are known at their first execution and not only when the
    /// stream has ended. A pass that follows calls needs that: what is a jump within a function
    /// and what one to another. Costs the decoding of the trace.
    ///
    /// # Errors
    /// If the trace is damaged. A truncated one is no failure here.
    pub fn learn<R: Read + Send>(self, trace: TraceReader<R>, until: u64) -> Result<Self, Error> {
        let layers_known = !trace.lacks().privilege;
        let (survey, _) = for_each_batch(
            trace,
            |state| {
                let mut survey = Survey {
                    who: Who::new(self),
                    addressing: Addressing::default(),
                    state,
                    tables: Definitions::default(),
                    blocks: Vec::new(),
                    completed: Vec::new(),
                    position: 0,
                };
                survey.who.set_layers_known(layers_known);
                survey.follow();
                survey
            },
            |survey, batch| {
                survey.batch(batch);
                survey.position < until
            },
        )?;
        let (_, mut names) = survey.who.settle(&survey.tables.blocks);
        names.begin_again();
        Ok(names)
    }
}

impl Survey {
    fn batch(&mut self, batch: &mut Batch) {
        self.tables.append(&mut batch.new);
        for shape in &self.tables.shapes[self.blocks.len()..] {
            let block = &self.tables.blocks[shape.block.index()];
            self.blocks.push((shape.block.index() as u32, block.privilege));
            self.completed.push(shape.completed);
        }
        let mut done = 0;
        for (before, event) in &batch.events {
            let before = (*before as usize).clamp(done, batch.shapes.len());
            self.executions(&batch.shapes[done..before]);
            done = before;
            self.event(event);
        }
        self.executions(&batch.shapes[done..]);
    }

    fn executions(&mut self, shapes: &[strata_workloads::trace::ShapeId]) {
        for shape in shapes {
            let (block, privilege) = self.blocks[shape.index()];
            let (state, addressing) = (&self.state, &mut self.addressing);
            let _ = self.who.of(block as usize, privilege, state, addressing, &self.tables);
            self.position += u64::from(self.completed[shape.index()]);
        }
    }

    fn event(&mut self, event: &Event) {
        self.state.apply(event);
        match *event {
            Event::Translation(id) => {
                let owners = self.addressing.owners_changed;
                self.addressing.tell(id, &self.state, &self.tables);
                if owners != self.addressing.owners_changed || self.addressing.space().is_none() {
                    self.who.follow(&self.state, &self.addressing);
                }
            }
            Event::Control { .. }
            | Event::Cpu { .. }
            | Event::VmRun { .. }
            | Event::VmExit { .. }
            | Event::Current(_) => self.follow(),
            _ => {}
        }
    }

    fn follow(&mut self) {
        self.addressing.follow(&self.state, &self.tables);
        self.who.follow(&self.state, &self.addressing);
    }
}
