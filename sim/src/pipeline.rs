//! Decoding beside the model: one thread reads batches, another consumes them.

use crate::error::Error;
use std::io::Read;
use std::sync::mpsc::sync_channel;
use strata_workloads::trace::{Batch, Ending, MachineState, TraceError, TraceReader};

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

/// Reads `reader` to its end on a thread of its own. `begin` gets the machine's state at the start
/// and makes the consumer; `consume` gets each batch in turn and returns false to stop early.
///
/// # Errors
/// Fails if the trace is damaged. A truncated one is no failure: the report says so.
pub fn for_each_batch<R: Read + Send, T>(
    mut reader: TraceReader<R>,
    begin: impl FnOnce(MachineState) -> T,
    mut consume: impl FnMut(&mut T, &mut Batch) -> bool,
) -> Result<(T, ReadReport), Error> {
    std::thread::scope(|scope| {
        let (full, batches) = sync_channel::<(Batch, Option<MachineState>)>(BATCHES);
        let (empty, spares) = sync_channel::<Batch>(BATCHES + 2);
        let decoder = scope.spawn(move || -> Result<ReadReport, TraceError> {
            let mut first = true;
            let mut truncated = None;
            loop {
                let mut batch = spares.try_recv().unwrap_or_default();
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
                if full.send((batch, state)).is_err() {
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
        for (mut batch, state) in &batches {
            if let Some(begin) = begin.take() {
                consumer = Some(begin(state.unwrap_or_default()));
            }
            let more = consumer.as_mut().is_some_and(|consumer| consume(consumer, &mut batch));
            if !more {
                break;
            }
            // A full channel only means that enough spares are waiting.
            let _ = empty.try_send(batch);
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
