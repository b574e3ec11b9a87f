//! The writer's thread: takes full batches, gives empty ones back.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use strata_workloads::trace::{Batch, Totals, TraceError, TraceWriter, WriterOptions};

/// Batches that may wait for the writer. With the emulator's batch size this bounds the memory of
/// the queue to some ten megabytes; a full queue makes the emulator wait.
const QUEUE: usize = 16;

/// A running writer.
pub struct Output {
    batches: SyncSender<Batch>,
    emptied: Receiver<Batch>,
    bytes: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    thread: JoinHandle<Result<Totals, TraceError>>,
}

/// What a whole trace came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Counts in the trace.
    pub totals: Totals,
    /// Its size.
    pub bytes: u64,
}

impl Output {
    /// Starts a writer into `sink`.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start<W: Write + Send + 'static>(sink: W, options: WriterOptions) -> io::Result<Self> {
        let (batches, waiting) = sync_channel(QUEUE);
        let (give_back, emptied) = sync_channel(QUEUE + 1);
        let bytes = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(AtomicBool::new(false));
        let sink = Counting { sink, bytes: Arc::clone(&bytes) };
        let flag = Arc::clone(&failed);
        let thread = std::thread::Builder::new().name("strata-writer".into()).spawn(move || {
            let result = write(sink, options, &waiting, &give_back);
            if result.is_err() {
                flag.store(true, Ordering::Release);
            }
            result
        })?;
        Ok(Output { batches, emptied, bytes, failed, thread })
    }

    /// Hands `batch` over and returns an empty one. Waits while the queue is full. Once the writer
    /// has failed, what is handed over is dropped.
    pub fn send(&self, batch: Batch) -> Batch {
        if let Err(refused) = self.batches.send(batch) {
            let mut batch = refused.0;
            batch.clear();
            return batch;
        }
        self.emptied.try_recv().unwrap_or_default()
    }

    /// True when nothing more is being written.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until all is written and ends the trace.
    ///
    /// # Errors
    /// What the writer failed with, whenever that was.
    pub fn finish(self) -> Result<Written, TraceError> {
        drop(self.batches);
        let result = self
            .thread
            .join()
            .map_err(|_| TraceError::Io(io::Error::other("the writer's thread panicked")))?;
        Ok(Written { totals: result?, bytes: self.bytes.load(Ordering::Relaxed) })
    }
}

fn write<W: Write>(
    sink: W,
    options: WriterOptions,
    waiting: &Receiver<Batch>,
    give_back: &SyncSender<Batch>,
) -> Result<Totals, TraceError> {
    let mut writer = TraceWriter::create(sink, options)?;
    while let Ok(mut batch) = waiting.recv() {
        writer.write(&mut batch)?;
        batch.clear();
        // The recorder takes one back for each that it sends, so there is room; when it has gone,
        // the batch may go too.
        drop(give_back.try_send(batch));
    }
    let (_, ending) = writer.finish()?;
    Ok(ending.totals)
}

struct Counting<W> {
    sink: W,
    bytes: Arc<AtomicU64>,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(buffer)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_workloads::trace::Event;

    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let room = self.0.min(buffer.len());
            if room == 0 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.0 -= room;
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_reported_and_never_blocks_the_recorder() {
        let options = WriterOptions { chunk_instructions: 1, ..WriterOptions::default() };
        let output = Output::start(Full(200), options).unwrap();
        let mut batch = Batch::default();
        for number in 0..10_000 {
            batch.event(Event::Marker { number });
            batch = output.send(batch);
        }
        let error = output.finish().unwrap_err();
        let storage_full = io::ErrorKind::StorageFull;
        assert!(matches!(&error, TraceError::Io(e) if e.kind() == storage_full), "{error}");
    }

    #[test]
    fn batches_come_back_empty() {
        let output = Output::start(io::sink(), WriterOptions::default()).unwrap();
        let mut batch = Batch::default();
        for number in 0..100 {
            assert!(batch.is_empty());
            batch.event(Event::Marker { number });
            batch = output.send(batch);
        }
        assert!(!output.has_failed());
        let written = output.finish().unwrap();
        assert_eq!(written.totals.events, 100);
        assert!(written.bytes > 0);
    }
}
