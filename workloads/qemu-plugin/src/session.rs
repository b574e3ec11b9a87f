//! From arming to the end of a recording: translations, the machine's state at the start, turns of
//! several CPUs, the writer.

use crate::blocks::{Index, NONE};
use crate::cpu::{Cpu, Parked};
use crate::host::{Host, RSP, Register};
use crate::output::{Output, Written};
use crate::recorder::{Phase, Recorder};
use crate::xen;
use std::io::Write;
use std::time::{Duration, Instant};
use strata_workloads::trace::{
    Block, CodeSize, ControlRegister, CpuState, DescriptorTable, Event, MachineState, TraceError,
    WriterOptions,
};

/// Where a trace goes.
pub struct Destination {
    /// Takes the bytes.
    pub sink: Box<dyn Write + Send>,
    /// zstd level.
    pub level: i32,
    /// Free text for the header.
    pub description: String,
}

/// What goes with a recording as a whole.
#[derive(Default)]
pub struct Session {
    pub(crate) destination: Option<Destination>,
    began: Option<Began>,
}

struct Began {
    cpu_time: u64,
    cpu_time_last: u64,
    said: Instant,
}

const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A block as the emulator translated it.
#[derive(Clone, Copy, Debug)]
pub struct Translated<'a> {
    /// Linear address.
    pub address: u64,
    /// Length of each instruction.
    pub lengths: &'a [u8],
    /// Code bytes.
    pub code: &'a [u8],
}

impl<H: Host> Recorder<H> {
    /// Gets ready to record into `destination` from the next block on.
    pub fn arm(&mut self, destination: Destination) {
        self.session.destination = Some(destination);
        self.phase = Phase::Armed;
    }

    /// VMRUN begins, or the instruction behind it.
    pub fn enters_guest(&mut self, enters: bool) {
        self.within_guest = enters;
    }

    /// Whether the registers are a guest's, which are not to be taken for the machine's.
    pub(crate) fn awaits_exit(&self) -> bool {
        self.within_guest && self.phase != Phase::Recording
    }

    /// The number of a block that the emulator is translating, and the frame its code is in.
    pub fn translate(&mut self, translated: Translated<'_>) -> (Index, u32) {
        let protected = self.host.register(Register::Cr0) & 1 != 0;
        let selector = self.host.register(Register::CodeSegment);
        let block = Block {
            address: translated.address,
            code_size: self.code_size(selector, translated),
            privilege: if protected { selector as u8 & 3 } else { 0 },
            space: None,
            lengths: translated.lengths.into(),
            code: translated.code.into(),
        };
        let frame = self.frame_of(translated.address);
        (self.blocks.intern(block), frame)
    }

    /// Width of the code that is being translated.
    fn code_size(&mut self, selector: u64, translated: Translated<'_>) -> CodeSize {
        let paging = self.paging_registers();
        if paging.is_real_mode() {
            return CodeSize::Bits16;
        }
        let segment = (selector, paging.efer & (1 << 10) != 0);
        let Translated { lengths, code, .. } = translated;
        let (memory, gdt) = (self.host.memory(), self.now.gdt.base);
        self.now.widths.of(segment, lengths, code, || {
            crate::pages::read_u64(memory, &paging, gdt.wrapping_add(selector & 0xfff8))
        })
    }

    /// Begins the recording on `cpu`, whose registers become the initial state.
    pub(crate) fn begin(&mut self, cpu: u32) {
        self.run_on(cpu);
        self.phase = Phase::Recording;
        self.introduce();
        let number = self.now.number as usize;
        let mut cpus = vec![CpuState::default(); number + 1];
        cpus[number] = self.state();
        let initial = MachineState { cpus, cpu: number as u16 };
        if let Some(verifier) = &mut self.verifier {
            verifier.begin(initial.clone());
        }
        let Some(destination) = self.session.destination.take() else { return };
        let options = WriterOptions {
            level: destination.level,
            description: destination.description,
            initial,
            ..WriterOptions::default()
        };
        match Output::start(destination.sink, options) {
            Ok(output) => self.output = Some(output),
            Err(error) => {
                self.host.say(&format!("error: the writer's thread cannot be started: {error}"));
                self.phase = Phase::Done;
                self.host.request_stop();
            }
        }
        let cpu_time = self.host.cpu_time();
        let began = Began { cpu_time, cpu_time_last: cpu_time, said: Instant::now() };
        self.session.began = Some(began);
    }

    /// Reads the registers of a CPU that the stream does not know yet.
    fn introduce(&mut self) {
        self.now.introduced = true;
        let paging = self.paging_registers();
        self.now.set_paging(paging);
        self.read_gates(&paging);
        self.find_watched();
        if let (Some(layout), Some(watched)) = (&self.xen, self.now.watched) {
            let vcpu = |at| xen::vcpu(self.host.memory(), &paging, layout, at);
            let (current, loaded) = (vcpu(watched.current), vcpu(watched.loaded));
            self.now.current = current.unwrap_or_default();
            self.now.loaded = loaded.unwrap_or_default();
        }
    }

    /// Finds where Xen keeps who runs, once it has set the CPU up.
    pub(crate) fn find_watched(&mut self) {
        if let Some(layout) = &self.xen {
            let task = self.now.task.base;
            self.now.watched = xen::watched(self.host.memory(), &self.now.paging, layout, task);
        }
    }

    fn state(&self) -> CpuState {
        let Cpu { paging, gdt, idt, task, current, loaded, .. } = &self.now;
        CpuState {
            cr0: paging.cr0,
            cr3: paging.cr3,
            cr4: paging.cr4,
            efer: paging.efer,
            gdt: *gdt,
            idt: *idt,
            task: *task,
            current: *current,
            loaded: *loaded,
            stack_pointer: self.host.register(RSP),
            ..CpuState::default()
        }
    }

    /// Makes `cpu` the one that executes. The open execution of the one before is closed: it runs
    /// on only after this one's turn.
    pub(crate) fn run_on(&mut self, cpu: u32) {
        if cpu == self.now.number {
            return;
        }
        if self.open != NONE {
            self.park();
        }
        let next = match self.parked.iter().position(|parked| parked.number == cpu) {
            Some(at) => self.parked.swap_remove(at),
            None => Cpu::new(cpu),
        };
        self.parked.push(std::mem::replace(&mut self.now, next));
        if self.phase != Phase::Recording {
            return;
        }
        self.batch.event(Event::Cpu { number: cpu as u16 });
        if !self.now.introduced {
            self.introduce();
            let state = self.state();
            for (register, value) in [
                (ControlRegister::Cr0, state.cr0),
                (ControlRegister::Cr3, state.cr3),
                (ControlRegister::Cr4, state.cr4),
                (ControlRegister::Efer, state.efer),
            ] {
                self.batch.event(Event::Control { register, value });
            }
            for table in
                [DescriptorTable::Global, DescriptorTable::Interrupt, DescriptorTable::Task]
            {
                self.tell_table(table);
            }
            self.batch.event(Event::Current(state.current));
            self.batch.event(Event::Loaded(state.loaded));
            self.batch.event(Event::StackPointer { value: state.stack_pointer });
        }
    }

    fn park(&mut self) {
        let begun = self.begun_of_open(self.host.begun(self.now.number));
        let count = self.blocks.hot(self.open).count;
        let repeating = begun == count && self.blocks.cold(self.open).repeat.is_some();
        let parked = if repeating {
            let alone = self.blocks.last_instruction(self.open);
            Parked { block: alone, begun: 1, repeating }
        } else {
            Parked { block: self.open, begun, repeating }
        };
        self.close(begun - u16::from(repeating), repeating);
        self.now.parked_after = Some(parked);
    }

    /// Hands the batch to the writer. The open execution must have no accesses yet.
    pub(crate) fn flush(&mut self) {
        if let Some(verifier) = &mut self.verifier {
            verifier.catch_up(&self.batch);
            verifier.batch_ends();
        }
        let Some(output) = &self.output else {
            self.batch.clear();
            return;
        };
        let batch = std::mem::take(&mut self.batch);
        self.batch = output.send(batch);
        let failed = output.has_failed();
        let bytes = output.bytes();
        if let Some(began) = &mut self.session.began
            && began.said.elapsed() >= PROGRESS_EVERY
        {
            began.said = Instant::now();
            began.cpu_time_last = self.host.cpu_time();
            self.host.say(&format!("progress {} {bytes}", self.counts.instructions));
        }
        if failed {
            self.host.request_stop();
        }
    }

    /// Ends the recording and waits for the writer. With `here`, this is the thread that executes.
    ///
    /// # Errors
    /// What the writer failed with. The trace is then whole up to its last chunk.
    pub fn stop(&mut self, here: bool) -> Result<Ended, TraceError> {
        self.close_open();
        let was = std::mem::replace(&mut self.phase, Phase::Done);
        if was == Phase::Recording {
            self.flush();
        }
        let began = self.session.began.take();
        let cpu_time = began.map_or(0, |began| {
            let now = if here { self.host.cpu_time() } else { began.cpu_time_last };
            now.saturating_sub(began.cpu_time)
        });
        let written = self.output.take().map(Output::finish).transpose()?;
        Ok(Ended { written: written.unwrap_or_default(), cpu_time })
    }

    /// Closes the open execution where it is.
    pub(crate) fn close_open(&mut self) {
        if self.open != NONE {
            let begun = self.begun_of_open(self.host.begun(self.now.number));
            self.close(begun, false);
        }
    }

    /// What is to be said of how well the recording went, a line each.
    pub fn findings(&self) -> Vec<String> {
        let counts = self.counts;
        let (blocks, shapes) = self.blocks.defined();
        let mut lines = vec![
            format!(
                "{} accesses re-assigned after device retranslation, {} unmatched",
                counts.reassigned, counts.unmatched
            ),
            format!(
                "{blocks} blocks, {shapes} shapes, {} interrupts, {} accesses of the network card \
                 to memory",
                counts.interrupts, counts.dma
            ),
            format!(
                "{} transfers unexplained, {} accesses to unmapped pages, {} shapes with an access \
                 that no operand accounts for, {} executions at another address than translated",
                counts.unexplained, counts.unmapped, self.blocks.unaccounted, counts.moved
            ),
        ];
        if let Some((mnemonic, address)) = self.blocks.unaccounted_example {
            lines.push(format!("the last such access was by {mnemonic:?} at {address:#x}"));
        }
        if counts.physical > 0 {
            lines.push(format!(
                "{} accesses of VMRUN, VMLOAD and VMSAVE to their VMCB left out: they are by \
                 physical address",
                counts.physical
            ));
        }
        lines.extend(self.verifier.as_ref().map(|verifier| verifier.to_string()));
        lines
    }
}

/// A recording that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The trace.
    pub written: Written,
    /// CPU time of the executing thread in nanoseconds.
    pub cpu_time: u64,
}
