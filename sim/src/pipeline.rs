//! Decoding beside the model: one thread reads batches, another consumes them.

use crate::error::Error;
use std::io::Read;
use std::sync::mpsc::sync_channel;
use strata_workloads::trace::{Batch, Definitions, Ending, MachineState, TraceError, TraceReader};

/// Batches in flight. Two keep both threads busy; more smooth out chunks that decode slowly.
const BATCHES: usize = 6;

/// How reading a trace went.
#[derive(Debug)]
pub struct ReadReport {
    /// What the trace says of itself at its end; absent if that was not reached.
    pub ending: Option<Ending>,
    /// Digest of the contents read.
    pub hash: [u8; 16],
    /// Instructions in all chunks read.
    pub instructions: u64,
    /// Present when the trace ends before its end mark; all that is whole was delivered.
    pub truncated: Option<TraceError>,
}

/// What is found of a stream on the thread that decodes it, ahead of what consumes it.
pub trait Ahead: Send {
    /// What is found in one batch.
    type Found: Default + Send;

    /// The stream begins in this state.
    fn begin(&mut self, state: &MachineState);

    /// Replaces `found` by what the next batch tells. `tables` are all definitions of the stream so
    /// far.
    fn batch(&mut self, batch: &Batch, tables: &Definitions, found: &mut Self::Found);
}

/// Nothing.
struct Nothing;

impl Ahead for Nothing {
    type Found = ();

    fn begin(&mut self, _: &MachineState) {}

    fn batch(&mut self, _: &Batch, _: &Definitions, (): &mut ()) {}
}

/// Reads `reader` to its end on a thread of its own. `begin` gets the machine's state at the start
/// and makes the consumer; `consume` gets each batch in turn and returns false to stop early.
///
/// # Errors
/// Fails if the trace is damaged. A truncated one is no failure: the report says so.
pub fn for_each_batch<R: Read + Send, T>(
    reader: TraceReader<R>,
    begin: impl FnOnce(MachineState) -> T,
    mut consume: impl FnMut(&mut T, &mut Batch) -> bool,
) -> Result<(T, ReadReport), Error> {
    let consume = |consumer: &mut T, batch: &mut Batch, (): &()| consume(consumer, batch);
    for_each_batch_behind(reader, &mut Nothing, begin, consume)
}

/// The same with something that runs ahead: it sees each batch as soon as it is decoded, on the
/// decoding thread, and `consume` gets what it found there.
///
/// # Errors
/// As [`for_each_batch`].
pub fn for_each_batch_behind<R: Read + Send, A: Ahead, T>(
    mut reader: TraceReader<R>,
    ahead: &mut A,
    begin: impl FnOnce(MachineState) -> T,
    mut consume: impl FnMut(&mut T, &mut Batch, &A::Found) -> bool,
) -> Result<(T, ReadReport), Error> {
    std::thread::scope(|scope| {
        let (full, batches) = sync_channel::<(Batch, A::Found, Option<MachineState>)>(BATCHES);
        let (empty, spares) = sync_channel::<(Batch, A::Found)>(BATCHES + 2);
        let decoder = scope.spawn(move || -> Result<ReadReport, TraceError> {
            let mut first = true;
            let mut truncated = None;
            loop {
                let (mut batch, mut found) = spares.try_recv().unwrap_or_default();
                match reader.read(&mut batch) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error @ TraceError::Truncated { .. }) => {
                        truncated = Some(error);
                        break;
                    }
                    Err(error) => return Err(error),
                }
                let state =
                    first.then(|| reader.chunk_head().map(|head| head.state.clone())).flatten();
                first = false;
                if let Some(state) = &state {
                    ahead.begin(state);
                }
                ahead.batch(&batch, reader.tables(), &mut found);
                if full.send((batch, found, state)).is_err() {
                    // The consumer has seen enough.
                    break;
                }
            }
            Ok(ReadReport {
                ending: reader.ending().copied(),
                hash: reader.hash_so_far(),
                instructions: reader.totals().instructions,
                truncated,
            })
        });
        let mut begin = Some(begin);
        let mut consumer = None;
        for (mut batch, found, state) in &batches {
            if let Some(begin) = begin.take() {
                consumer = Some(begin(state.unwrap_or_default()));
            }
            let more =
                consumer.as_mut().is_some_and(|consumer| consume(consumer, &mut batch, &found));
            if !more {
                break;
            }
            // A full channel only means that enough spares are waiting.
            let _ = empty.try_send((batch, found));
        }
        drop(batches);
        let report = decoder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let consumer = match (consumer, begin) {
            (Some(consumer), _) => consumer,
            (None, Some(begin)) => begin(MachineState::default()),
            (None, None) => unreachable!("the consumer is made where `begin` is taken"),
        };
        Ok((consumer, report))
    })
}
