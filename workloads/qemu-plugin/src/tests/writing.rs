//! What comes out at the other end, and what happens when nothing more goes in.

use super::machine::{JUMP, LOAD, Machine, NOP, handler, load};
use crate::host::Register;
use crate::recorder::Phase;
use crate::session::Destination;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use strata_workloads::trace::{Batch, TraceError, TraceReader};

/// A sink that can be read afterwards, with room for so many bytes.
#[derive(Clone)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl Disk {
    fn of(room: usize) -> Self {
        Disk { bytes: Arc::default(), room }
    }
}

impl Write for Disk {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut bytes = self.bytes.lock().expect("no thread panicked");
        if bytes.len() + buffer.len() > self.room {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        bytes.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recording(disk: &Disk, limit: u64) -> Machine {
    let mut machine = Machine::with(None, limit);
    machine.recorder.phase = Phase::Waiting;
    let sink = Box::new(disk.clone());
    machine.recorder.arm(Destination { sink, level: 1, description: "a test".into() });
    machine
}

/// Runs `n` loops of two blocks of three instructions, with a fault in every hundredth.
fn busy(machine: &mut Machine, n: u64) {
    let a = machine.block(0x1000, &[LOAD, &[0xeb, 0x3b]]);
    let b = machine.block(0x1040, &[&[0xeb, 0xbe]]);
    let fault = machine.block(handler(14), &[&[0x48, 0xcf]]);
    for i in 0..n {
        if i % 100 == 99 {
            machine.run_part(a, 1, &[]);
            machine.frame(Some(0), 0x1000);
            machine.set(Register::Cr2, 0x5000);
            machine.run(fault, &[load(0, 8, 0x6_ffd8)]);
        }
        machine.run(a, &[load(0, 8, 0x5000 + i % 512 * 8)]);
        machine.run(b, &[]);
    }
}

#[test]
fn a_trace_reads_back_as_it_was_recorded() {
    let disk = Disk::of(usize::MAX);
    let mut machine = recording(&disk, 0);
    busy(&mut machine, 50_000);
    let ended = machine.recorder.stop(true).unwrap();
    let counted = machine.recorder.counts().instructions;
    assert_eq!(ended.written.totals.instructions, counted);
    let bytes = disk.bytes.lock().unwrap().clone();
    assert_eq!(ended.written.bytes, bytes.len() as u64);
    let mut reader = TraceReader::new(bytes.as_slice()).unwrap();
    let mut batch = Batch::default();
    while reader.read(&mut batch).unwrap() {}
    assert_eq!(reader.totals(), ended.written.totals);
    assert_eq!(reader.totals().instructions, 50_000 * 3 + 500);
    assert!(reader.tables().blocks.len() == 3 && reader.tables().shapes.len() == 4);
}

#[test]
fn a_full_disk_asks_for_an_end_and_is_told_of() {
    let disk = Disk::of(4000);
    let mut machine = recording(&disk, 0);
    busy(&mut machine, 2_000_000);
    assert!(machine.recorder.host.stops.get() > 0, "it asks to be stopped");
    let error = machine.recorder.stop(true).unwrap_err();
    assert!(matches!(error, TraceError::Io(_)), "{error}");
    assert_eq!(machine.recorder.phase(), Phase::Done);
    busy(&mut machine, 10);
    assert_eq!(machine.recorder.stop(true).unwrap().written.bytes, 0, "it stays stopped");
}

#[test]
fn a_limit_asks_for_an_end() {
    let disk = Disk::of(usize::MAX);
    let mut machine = recording(&disk, 60_000);
    busy(&mut machine, 10_000);
    assert_eq!(machine.recorder.host.stops.get(), 0);
    busy(&mut machine, 40_000);
    assert!(machine.recorder.host.stops.get() > 0);
}

#[test]
fn nothing_is_recorded_before_the_marker() {
    let mut machine = Machine::new();
    machine.recorder.phase = Phase::Waiting;
    let a = machine.block(0x1000, &[NOP, JUMP]);
    machine.run(a, &[]);
    machine.run(a, &[]);
    assert_eq!(machine.finish().len(), 0);
}
