//! Making a whole trace of what is whole in a damaged one.

use super::batch::Batch;
use super::error::TraceError;
use super::event::{ControlRegister, DescriptorTable, Event, GapReason};
use super::index::Ending;
use super::page::TranslationId;
use super::reader::TraceReader;
use super::state::{CpuState, Descriptor, MachineState};
use super::writer::{TraceWriter, WriterOptions};
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

/// What a salvage kept.
#[derive(Debug)]
pub struct SalvageReport {
    /// What the new trace says of itself.
    pub kept: Ending,
    /// Size of the new trace in bytes.
    pub bytes: u64,
    /// Damaged chunks that were left out, each replaced by a [`Gap`](Event::Gap).
    pub gaps: u64,
    /// Instructions in those chunks.
    pub lost_instructions: u64,
    /// What was wrong first; `None` if the input is whole.
    pub first_error: Option<TraceError>,
    /// Why nothing more could be kept, if that is not where the input ends.
    pub last_error: Option<TraceError>,
}

/// Writes what is whole of the trace `input` as a trace of its own to `output`, which must not
/// exist. A damaged chunk between whole ones becomes a gap; after other damage nothing can be kept,
/// since what follows cannot be understood.
///
/// # Errors
/// Fails if `output` exists, if reading or writing fails, or with the input's own error if nothing
/// of it is whole. Then nothing is left under the name `output`.
pub fn salvage(input: &Path, output: &Path) -> Result<SalvageReport, TraceError> {
    if output.try_exists()? {
        let message = format!("{} exists; name a new file", output.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message).into());
    }
    let reader = TraceReader::open(input)?;
    let unfinished = Unfinished::create(output)?;
    let sink = BufWriter::with_capacity(1 << 20, unfinished.file.try_clone()?);
    let report = copy(reader, sink)?;
    unfinished.finish(output)?;
    Ok(report)
}

/// A file under a name of its own until it is whole.
struct Unfinished {
    path: PathBuf,
    file: File,
    finished: bool,
}

impl Unfinished {
    fn create(output: &Path) -> io::Result<Self> {
        let mut path = output.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let file = File::create_new(&path)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        Ok(Unfinished { path, file, finished: false })
    }

    fn finish(mut self, output: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, output)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // The error that led here is the one to report.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn copy(
    mut reader: TraceReader<BufReader<File>>,
    sink: BufWriter<File>,
) -> Result<SalvageReport, TraceError> {
    let mut sink = Some(sink);
    let mut writer: Option<TraceWriter<BufWriter<File>>> = None;
    let mut batch = Batch::default();
    let (mut gaps, mut lost_instructions, mut resumed) = (0, 0, false);
    let (mut first_error, mut last_error) = (None, None);
    loop {
        match reader.read(&mut batch) {
            Ok(true) => {}
            Ok(false) => break,
            Err(TraceError::Io(error)) => return Err(error.into()),
            Err(error) => {
                resumed = reader.resume();
                let (TraceError::Truncated { .. } | TraceError::Damaged { .. }) = error else {
                    return Err(error);
                };
                match first_error {
                    None => first_error = Some(error),
                    Some(_) if !resumed => last_error = Some(error),
                    Some(_) => {}
                }
                if resumed {
                    continue;
                }
                break;
            }
        }
        if let Some(sink) = sink.take() {
            let options = WriterOptions {
                description: reader.description().to_owned(),
                lacks: reader.lacks(),
                initial: reader.chunk_head().map(|head| head.state.clone()).unwrap_or_default(),
                ..WriterOptions::default()
            };
            writer = Some(TraceWriter::create(sink, options)?);
        }
        let Some(writer) = &mut writer else { continue };
        if std::mem::take(&mut resumed) {
            let mut gap = Batch { new: std::mem::take(&mut batch.new), ..Batch::default() };
            let Some(lost) = bridge(&reader, writer, &mut gap, lost_instructions) else {
                let what =
                    "what follows the damage runs in a nested guest that was not seen to start";
                last_error =
                    Some(TraceError::Damaged { offset: reader.offset(), what: what.into() });
                break;
            };
            writer.write(&mut gap)?;
            gaps += 1;
            lost_instructions += lost;
        }
        writer.write(&mut batch)?;
    }
    let writer = match (writer, first_error.take()) {
        (Some(writer), error) => {
            first_error = error;
            writer
        }
        (None, Some(error)) => return Err(error),
        (None, None) => {
            let sink = sink.expect("no writer has taken it");
            let (description, lacks) = (reader.description().to_owned(), reader.lacks());
            let options = WriterOptions { description, lacks, ..WriterOptions::default() };
            TraceWriter::create(sink, options)?
        }
    };
    let (sink, kept) = writer.finish()?;
    let file = sink.into_inner().map_err(io::IntoInnerError::into_error)?;
    let bytes = file.metadata()?.len();
    Ok(SalvageReport { kept, bytes, gaps, lost_instructions, first_error, last_error })
}

/// Fills `gap` with the events that lead from where `writer` is to where `reader` went on; returns
/// the number of instructions between. `None` if no events lead there.
fn bridge(
    reader: &TraceReader<BufReader<File>>,
    writer: &TraceWriter<BufWriter<File>>,
    gap: &mut Batch,
    lost_before: u64,
) -> Option<u64> {
    let head = reader.chunk_head()?;
    let known = writer.totals().instructions + lost_before;
    let lost = head.before.instructions.checked_sub(known)?;
    gap.event(Event::Gap { reason: GapReason::Damaged, instructions: lost });
    for id in writer.told()..head.tables.translations {
        gap.event(Event::Translation(TranslationId(id)));
    }
    let mut state = writer.state();
    for event in events_between(&state, &head.state) {
        state.apply(&event);
        gap.event(event);
    }
    (state == head.state).then_some(lost)
}

/// Events that lead from one state to another, as far as such can: not into a nested guest or out
/// of one.
fn events_between(from: &MachineState, to: &MachineState) -> Vec<Event> {
    let mut events = Vec::new();
    for (number, cpu) in to.cpus.iter().enumerate() {
        let before = from.cpus.get(number).copied().unwrap_or_default();
        let changes = cpu_events(&before, cpu);
        if !changes.is_empty() || number >= from.cpus.len() {
            events.push(Event::Cpu { number: number as u16 });
            events.extend(changes);
        }
    }
    events.push(Event::Cpu { number: to.cpu });
    events
}

fn cpu_events(from: &CpuState, to: &CpuState) -> Vec<Event> {
    use ControlRegister::{Cr0, Cr3, Cr4, Efer};
    use DescriptorTable::{Global, Interrupt, Task};
    let mut events = Vec::new();
    let mut tell = |differs: bool, event: Event| {
        if differs {
            events.push(event);
        }
    };
    for (register, before, value) in [
        (Cr0, from.cr0, to.cr0),
        (Cr4, from.cr4, to.cr4),
        (Efer, from.efer, to.efer),
        (Cr3, from.active_cr3(), to.active_cr3()),
    ] {
        tell(before != value, Event::Control { register, value });
    }
    for (table, before, after) in
        [(Global, from.gdt, to.gdt), (Interrupt, from.idt, to.idt), (Task, from.task, to.task)]
    {
        let Descriptor { base, limit, selector } = after;
        tell(before != after, Event::Descriptor { table, selector, base, limit });
    }
    tell(from.current != to.current, Event::Current(to.current));
    tell(from.loaded != to.loaded, Event::Loaded(to.loaded));
    tell(from.tsc != to.tsc, Event::Tsc { value: to.tsc });
    tell(from.nanoseconds != to.nanoseconds, Event::Time { nanoseconds: to.nanoseconds });
    tell(from.halted != to.halted, if to.halted { Event::Halt } else { Event::Wake });
    tell(from.stack_pointer != to.stack_pointer, Event::StackPointer { value: to.stack_pointer });
    events
}
