//! A replay of stretches of a trace at the same time, with exact results.
//!
//! Each thread takes the next stretch, replays it in front of half a machine that does not know its
//! past, and hands on what that counted and noted. In the order of the stream it is then settled
//! what was unsure, and the levels of cache below the first are run with what they are asked for:
//!
//! ```text
//!   thread 1   decode, half 0 ─┐   decode, half 2 ─┐ settle 2, levels below ─ …
//!   thread 2   decode, half 1 ─┴─ settle 0, 1, levels below ─ decode, half 3 ─ …
//! ```

mod sequel;

use crate::error::Error;
use crate::functions::{Name, Namer, Naming, Place};
use crate::profile::Profile;
use crate::replay::{Extent, Replay, Start, Stretch};
use sequel::Sequel;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use strata_cachemodel::{Hierarchy, Machine};
use strata_workloads::trace::{Batch, IndexedChunk, IndexedTrace};

/// The result of a replay in stretches.
#[derive(Debug)]
pub struct InStretches {
    /// What was counted.
    pub profile: Profile,
    /// Completed instructions up to where it was left.
    pub position: u64,
    /// Stretches, and how many of them had to be replayed again since their past made a difference
    /// that could not be put right.
    pub stretches: [usize; 2],
}

/// Why a trace cannot be replayed in stretches in front of `machine`; `None` if it can.
#[must_use]
pub fn why_not_in_stretches(machine: &Machine, trace: &IndexedTrace) -> Option<&'static str> {
    half_of(machine, trace).err()
}

/// The half of `machine` that stretches of `trace` begin with, or why there is none.
fn half_of(machine: &Machine, trace: &IndexedTrace) -> Result<Hierarchy, &'static str> {
    let lacks = trace.lacks();
    if lacks.fetches || lacks.lengths {
        return Err("the trace does not know its instructions");
    }
    let half = Hierarchy::upper_half(machine)
        .ok_or("levels below the first have an effect on it, or page walks go through them")?;
    if !half.can_forget_past() {
        return Err(
            "only first levels and TLBs that are LRU, the latter with one array, no second level \
             and no tags by domain alone, forget their past",
        );
    }
    Ok(half)
}

/// Replays `extent` of `trace` on so many threads. `progress` is told of instructions replayed, a
/// number at a time.
///
/// Equal to a [`Replay`] of the whole, for any number of threads.
///
/// # Errors
/// As [`Replay::finish`]; if the trace is damaged; and [`Error::Stretches`] where there is a
/// [reason](why_not_in_stretches) against it.
pub fn replay_in_stretches<N: Namer + Send>(
    trace: &IndexedTrace,
    machine: &Machine,
    namer: N,
    extent: &Extent,
    threads: usize,
    progress: impl Fn(u64) + Sync,
) -> Result<(InStretches, N), Error> {
    let half = half_of(machine, trace).map_err(|why| Error::Stretches { why })?;
    let threads = threads.max(1);
    let namer = Shared(Arc::new(Mutex::new(namer)));
    let stretches = cut(trace, extent, threads);
    let all = Stretches { trace, machine, half, namer: namer.clone(), stretches };
    let work = Work::default();
    let sequel = Mutex::new(Sequel::new(&all, threads)?);
    let workers = thread::scope(|scope| {
        let run = |number| {
            let (all, work, sequel, progress) = (&all, &work, &sequel, &progress);
            scope.spawn(move || {
                work.guarded(|| run_worker(number, all, work, sequel, threads, progress))
            })
        };
        let workers: Vec<_> = (0..threads).map(run).collect();
        let joined = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().map(joined).collect::<Result<Vec<_>, Error>>()
    })?;
    let sequel = sequel.into_inner().unwrap_or_else(PoisonError::into_inner);
    let result = sequel.finish(workers)?;
    drop(all);
    let namer = Arc::into_inner(namer.0).map(|namer| namer.into_inner());
    let Some(namer) = namer else { unreachable!("all who shared the names are gone") };
    Ok((result, namer.unwrap_or_else(PoisonError::into_inner)))
}

/// Names for several threads, which each ask for every block.
struct Shared<N>(Arc<Mutex<N>>);

impl<N> Clone for Shared<N> {
    fn clone(&self) -> Self {
        Shared(Arc::clone(&self.0))
    }
}

impl<N: Namer> Namer for Shared<N> {
    fn name(&mut self, place: &Place<'_>) -> Naming {
        lock(&self.0).name(place)
    }

    fn settle(&mut self, place: &Place<'_>) -> Option<Name> {
        lock(&self.0).settle(place)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stretch to be replayed.
#[derive(Clone, Debug)]
struct Cut {
    /// The chunk to begin with.
    chunk: usize,
    extent: Extent,
}

/// Stretches for each thread, so that all end at about the same time.
const STRETCHES_EACH: usize = 8;

/// Chunks of a stretch, each of which asks for some MB of lines until it is settled.
const MOST_CHUNKS: usize = 4;

/// Cuts a trace at its chunks, behind the first instruction of each: an interrupt just before it
/// belongs to it, and so to the stretch before.
fn cut(trace: &IndexedTrace, extent: &Extent, threads: usize) -> Vec<Cut> {
    let Range { start, end } = extent.range;
    let counted_from = start.saturating_add(extent.warm_up);
    let begins: Vec<u64> = trace.chunks().iter().map(|chunk| chunk.before.instructions).collect();
    // The last chunk that begins at or before the start has it.
    let first = begins.partition_point(|&begin| begin <= start).saturating_sub(1);
    let count = begins.partition_point(|&begin| begin < end).saturating_sub(first);
    let each = (count / (threads * STRETCHES_EACH)).clamp(1, MOST_CHUNKS);
    let mut cuts: Vec<Cut> = Vec::new();
    for (chunk, &begin) in begins.iter().enumerate().skip(first).step_by(each) {
        let from = if chunk == first { start } else { begin + 1 };
        if from >= end && !cuts.is_empty() {
            break;
        }
        if let Some(before) = cuts.last_mut() {
            if before.extent.range.start >= from {
                continue;
            }
            before.extent.range.end = from;
        }
        let warm_up = counted_from.saturating_sub(from);
        cuts.push(Cut { chunk, extent: Extent { range: from..end, warm_up } });
    }
    cuts
}

/// What all threads know.
struct Stretches<'t, N> {
    trace: &'t IndexedTrace,
    machine: &'t Machine,
    /// An empty half of the machine.
    half: Hierarchy,
    namer: Shared<N>,
    stretches: Vec<Cut>,
}

impl<N: Namer> Stretches<'_, N> {
    fn worker(&self) -> Worker<N> {
        Worker {
            replay: Replay::for_stretches(self.half.machine(), self.namer.clone(), self.trace),
            batch: Batch::default(),
            chunk: None,
        }
    }

    /// Replays stretch `number`.
    fn run(
        &self,
        worker: &mut Worker<N>,
        number: usize,
        start: Start,
        progress: impl Fn(u64),
    ) -> Result<Stretch, Error> {
        let Cut { chunk: first, ref extent } = self.stretches[number];
        let tables = self.trace.tables();
        let spaces = |chunk: usize| self.trace.known_tables(chunk).spaces as usize;
        let Worker { replay, batch, chunk: used } = worker;
        let mut chunk = self.trace.chunk_in(first, used.take())?;
        let before = first.checked_sub(1).map_or(0, spaces);
        replay.begin_stretch(chunk.head(), before, tables, extent.clone(), &self.half, start);
        let mut number = first;
        'chunks: loop {
            replay.set_spaces_defined(spaces(number));
            while chunk.read(batch)? {
                let before = replay.position();
                replay.stretch_batch(batch, tables);
                progress(replay.position() - before);
                if replay.is_done() {
                    break 'chunks;
                }
            }
            number += 1;
            if number == self.trace.chunks().len() {
                break;
            }
            chunk = self.trace.chunk_in(number, Some(chunk))?;
        }
        *used = Some(chunk);
        Ok(replay.end_stretch())
    }
}

/// What replays stretches one after the other.
struct Worker<N> {
    replay: Replay<Shared<N>>,
    batch: Batch,
    /// One that was read, for its memory.
    chunk: Option<IndexedChunk>,
}

/// A stretch that is yet to be settled, and whose it is.
struct Ready {
    worker: usize,
    stretch: Stretch,
    /// It began with its past.
    is_sure: bool,
}

/// Who does what.
#[derive(Default)]
struct Work {
    board: Mutex<Board>,
    changed: Condvar,
}

#[derive(Default)]
struct Board {
    /// The stretch that nobody has begun.
    next: usize,
    /// Stretches settled.
    settled: usize,
    ready: BTreeMap<usize, Ready>,
    /// A thread has given up.
    failed: bool,
}

/// Stretches that may wait to be settled, for each thread: each holds some MB.
const MOST_WAITING: usize = 3;

/// What a thread is to do next.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// Replay this stretch.
    Replay(usize),
    /// Settle what is there: until then there is no room.
    Settle,
    /// Stop.
    End,
}

impl Work {
    /// What comes next, once there is something.
    fn turn(&self, stretches: usize, threads: usize) -> Turn {
        let mut board = lock(&self.board);
        loop {
            if board.failed || board.next == stretches {
                return Turn::End;
            }
            if board.next < board.settled + MOST_WAITING * threads {
                board.next += 1;
                return Turn::Replay(board.next - 1);
            }
            // Whoever put it there may have found another about to stop settling.
            if board.ready.contains_key(&board.settled) {
                return Turn::Settle;
            }
            board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, number: usize, ready: Ready) {
        lock(&self.board).ready.insert(number, ready);
    }

    /// The next stretch to settle, if it is there.
    fn take(&self) -> Option<Ready> {
        let mut board = lock(&self.board);
        let next = board.settled;
        board.ready.remove(&next)
    }

    fn has_settled(&self) {
        lock(&self.board).settled += 1;
        self.changed.notify_all();
    }

    /// Does a thread's part; if it fails the others stop.
    fn guarded<T>(&self, part: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        struct Failing<'w>(&'w Work, bool);
        impl Drop for Failing<'_> {
            fn drop(&mut self) {
                if self.1 {
                    lock(&self.0.board).failed = true;
                    self.0.changed.notify_all();
                }
            }
        }
        let mut failing = Failing(self, true);
        let done = part()?;
        failing.1 = false;
        Ok(done)
    }
}

fn run_worker<N: Namer>(
    worker: usize,
    all: &Stretches<'_, N>,
    work: &Work,
    sequel: &Mutex<Sequel<'_, '_, N>>,
    threads: usize,
    progress: impl Fn(u64),
) -> Result<Replay<Shared<N>>, Error> {
    let mut own = all.worker();
    loop {
        let number = match work.turn(all.stretches.len(), threads) {
            Turn::Replay(number) => number,
            Turn::Settle => {
                settle(work, &mut lock(sequel))?;
                continue;
            }
            Turn::End => break,
        };
        let start = match sequel.try_lock() {
            Ok(mut sequel) => sequel.start_of(number),
            Err(_) => Start::Unknown,
        };
        let is_sure = !matches!(start, Start::Unknown);
        let stretch = all.run(&mut own, number, start, &progress)?;
        work.put(number, Ready { worker, stretch, is_sure });
        if let Ok(mut sequel) = sequel.try_lock() {
            settle(work, &mut sequel)?;
        }
    }
    settle(work, &mut lock(sequel))?;
    Ok(own.replay)
}

/// Settles what is there. Whoever put something in meanwhile and found this under way settles it
/// later.
fn settle<N: Namer>(work: &Work, sequel: &mut Sequel<'_, '_, N>) -> Result<(), Error> {
    while let Some(ready) = work.take() {
        sequel.add(ready)?;
        work.has_settled();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::Nameless;
    use strata_workloads::trace::MachineState;

    /// Put there by a thread that found another about to stop settling.
    #[test]
    fn who_finds_no_room_settles_what_is_there_instead_of_waiting() {
        let work = Work::default();
        for number in 0..MOST_WAITING {
            assert_eq!(work.turn(10, 1), Turn::Replay(number));
        }
        let machine = Machine::load("vee07").unwrap();
        let extent = Extent::default();
        let mut replay = Replay::new(&machine, Nameless, MachineState::default(), extent);
        work.put(0, Ready { worker: 0, stretch: replay.end_stretch(), is_sure: true });
        assert_eq!(work.turn(10, 1), Turn::Settle);
        assert!(work.take().is_some());
        work.has_settled();
        assert_eq!(work.turn(10, 1), Turn::Replay(MOST_WAITING));
    }
}
